#!/usr/bin/env bash
# Starts the daemon, asks for the service's address, fetches its page, shows what runs, and stops the daemon.
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

address=$(summoner query hello.jit.test --server 127.0.0.1:5353)
echo "hello.jit.test is at $address"
page=$(fetch "$address")
grep -q unikernel <<<"$page"
grep -o '<h1>.*</h1>' <<<"$page"
summoner ps --config "$config"
summoner logs hello --config "$config"
