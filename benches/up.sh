#!/bin/bash
# How long `dagpkg up` takes from its start, with everything built, to a healthy Airflow, for a new service and again
# for the kept one; the memory of what is ours; the sizes of the programs. benches/by-hand.sh is the comparison.
# usage: benches/up.sh      (needs ./build.sh build and ./build.sh setup)
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
dagpkg=$repository/target/release/dagpkg
run=$(mktemp -d)
trap '[ -z "${up:-}" ] || { kill -INT "$up" 2>/dev/null && wait "$up"; } || true; rm -rf "$run"' EXIT

# healthy SINCE: Airflow's page, found by the service's own list of endpoints, reports heartbeats younger than that
healthy() {
    python3 - "$run/ports.json" "$1" <<'PYTHON' 2>/dev/null
import datetime, hashlib, json, sys, urllib.request
def get(url):
    return json.load(urllib.request.urlopen(url, timeout=5))
face = json.load(open(sys.argv[1]))["face"]
host, port = get(f"http://127.0.0.1:{face}/service/dagflow/v1/endpoints/webserver")["vip"].rsplit(":", 1)
a, b, c = hashlib.sha256(host.encode()).digest()[:3]
parts = get(f"http://127.{64 + a % 64}.{b}.{1 + c % 254}:{port}/api/v2/monitor/health")
since = datetime.datetime.fromtimestamp(float(sys.argv[2]), datetime.timezone.utc)
for part in ("scheduler", "dag_processor", "triggerer"):
    assert parts[part]["status"] == "healthy", part
    assert datetime.datetime.fromisoformat(parts[part][f"latest_{part}_heartbeat"]) > since, part
assert parts["metadatabase"]["status"] == "healthy"
PYTHON
}
start_up() {
    local since
    since=$(date +%s.%N)
    "$dagpkg" up "$repository" --run "$run" --set airflow.venv="$repository/run/airflow" \
        --set airflow.load_examples=true > "$run/screen" 2>&1 &
    up=$!
    until healthy "$since"; do
        kill -0 "$up" 2>/dev/null || { cat "$run/screen"; exit 1; }
        sleep 0.2
    done
    awk "BEGIN { printf \"%6.1f s  %s\n\", $(date +%s.%N) - $since, \"$1: healthy\" }"
}
memory() { awk -v what="$2" '/^VmRSS/ { printf "%8.1f MB resident  %s\n", $2 / 1024, what }' "/proc/$1/status"; }

uptime
start_up "new service"
memory "$up" "dagpkg up: embedded cluster, package service, repository"
for pid in $(pgrep -x dagpkg-schedule); do # the kernel keeps 15 characters of a name
    [[ $(readlink "/proc/$pid/cwd") != "$run"* ]] || memory "$pid" "dagpkg-scheduler"
done
stopped=$(date +%s.%N)
kill -INT "$up"
wait "$up"
awk "BEGIN { printf \"%6.1f s  stopped\n\", $(date +%s.%N) - $stopped }"
start_up "kept service"
uptime
for program in dagpkg dagpkg-scheduler dagpkg-bootstrap dcos-service-cli; do
    printf '%8.1f MB  %s\n' "$(stat -Lc %s "target/release/$program" | awk '{ print $1 / 1e6 }')" "$program"
done
