#!/usr/bin/env bash
# Asks for four names, fetches four pages, and shows that three instances served them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
config=$here/summoner.toml
summoner() { ${SUMMONER:-cargo run --quiet --release --} "$@"; }
# What curl would do, on a machine that has none.
fetch() {
    exec 3<>"/dev/tcp/$1/80"
    printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" >&3
    cat <&3
    exec 3>&-
}

coproc daemon { exec ${SUMMONER:-cargo run --quiet --release --} serve --config "$config"; }
trap 'kill "$daemon_PID" 2>/dev/null || true; wait' EXIT
# The daemon says "ready" last, when everything can be used.
while read -r line <&"${daemon[0]}"; do
    echo "$line"
    [ "$line" = ready ] && break
done
[ "${line:-}" = ready ]

for name in shop.test www.shop.test api.shop.test blog.shop.test; do
    address=$(summoner query "$name" --server 127.0.0.1:5354)
    service=$(fetch "$address" | grep -o '<h1>.*</h1>')
    echo "$name at $address: $service"
done
listing=$(summoner ps --config "$config")
echo "$listing"
[ "$(grep -c running <<<"$listing")" = 3 ]
