#!/usr/bin/env bash
# Starts the daemon, asks for everything that the zone has, and stops the daemon.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
config=$here/summoner.toml
summoner() { ${SUMMONER:-cargo run --quiet --release --} "$@"; }
ask() {
    echo "--- $*"
    summoner query "$@" --server 127.0.0.1:5353
}

coproc daemon { exec ${SUMMONER:-cargo run --quiet --release --} serve --config "$config"; }
trap 'kill "$daemon_PID" 2>/dev/null || true; wait' EXIT
# The daemon says "ready" last, when everything can be used.
while read -r line <&"${daemon[0]}"; do
    echo "$line"
    [ "$line" = ready ] && break
done
[ "${line:-}" = ready ]

ask jit.test MX | grep mail
ask somebody.users.jit.test TXT | grep page
ask web.jit.test HTTPS
ask www.jit.test
ask pool.jit.test
ask my-branch.pr.jit.test
summoner dnssec ds --config "$config" | grep ' 2 '
summoner ps --config "$config"
