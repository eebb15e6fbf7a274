#!/bin/bash
# Starts the processes of dagflow without dagpkg, one after the other, each as soon as the one before is ready, and
# prints when each was ready, and the memory of all. What `dagpkg up` is measured against: same programs, same scripts.
# usage: benches/by-hand.sh [--keep]    (needs run/airflow: ./build.sh setup; --keep waits for Enter before the end)
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
work=$(mktemp -d)
chmod 755 "$work"
pids=()
stop() {
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill -TERM -- "-${pids[i]}" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do
        for _ in $(seq 300); do kill -0 -- "-$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

export MESOS_CONTAINER_IP=127.0.0.1 AIRFLOW_VENV=$repository/run/airflow
PORT_POSTGRESQL=$(free_port) PORT_WEBSERVER=$(free_port) PORT_LOGS=$(free_port)
export PORT_POSTGRESQL PORT_WEBSERVER PORT_LOGS
export ENDPOINT_POSTGRESQL_HOST=127.0.0.1 ENDPOINT_WEBSERVER_HOST=127.0.0.1 ENDPOINT_LOGS_HOST=127.0.0.1
export ENDPOINT_POSTGRESQL_PORT=$PORT_POSTGRESQL ENDPOINT_WEBSERVER_PORT=$PORT_WEBSERVER ENDPOINT_LOGS_PORT=$PORT_LOGS
POSTGRESQL_PASSWORD=$(random) AIRFLOW_ADMIN_PASSWORD=$(random) AIRFLOW_JWT_SECRET_1=$(random) AIRFLOW_JWT_SECRET_2=$(random)
AIRFLOW__CORE__FERNET_KEY=$(random) AIRFLOW_API_SECRET_1=$(random) AIRFLOW_API_SECRET_2=$(random)
export POSTGRESQL_PASSWORD AIRFLOW_ADMIN_PASSWORD AIRFLOW_JWT_SECRET_1 AIRFLOW_JWT_SECRET_2 AIRFLOW_API_SECRET_1 AIRFLOW_API_SECRET_2
export AIRFLOW__CORE__FERNET_KEY
export AIRFLOW_ADMIN_USER=admin AIRFLOW__CORE__EXECUTOR=LocalExecutor AIRFLOW__CORE__LOAD_EXAMPLES=True
export AIRFLOW__CORE__PARALLELISM=8 AIRFLOW__API__WORKERS=1

started=$(date +%s%N)
elapsed() { awk "BEGIN { printf \"%6.1f s\", ($(date +%s%N) - $started) / 1e9 }"; }

sandbox() { # sandbox NAME: a folder of its own for each process, as a Mesos agent gives it
    mkdir -p "$work/$1" "$work/postgresql-data" "$work/airflow-logs"
    ln -sfn "$work/postgresql-data" "$work/$1/postgresql-data"
    # as in svc.yml, the webserver doesn't share the folder: it reads logs over HTTP
    [ "$1" = webserver ] || ln -sfn "$work/airflow-logs" "$work/$1/airflow-logs"
    cd "$work/$1"
}
start() { # start NAME SCRIPT ARG...
    sandbox "$1"
    setsid sh "$repository/svc/$2" "${@:3}" > stdout 2> stderr &
    pids+=($!)
}
wait_until() { # wait_until NAME SCRIPT ARG...: runs the readiness check of svc.yml until it passes
    cd "$work/$1"
    for _ in $(seq 1200); do
        if sh "$repository/svc/$2" "${@:3}" > check 2>&1; then printf '%s  %s ready\n' "$(elapsed)" "$1"; return; fi
        kill -0 "${pids[-1]}" 2>/dev/null || { echo "$1 ended:"; tail -20 stdout stderr; exit 1; }
        sleep 0.2
    done
    echo "$1 did not become ready:"; cat check; tail -20 stderr; exit 1
}

uptime
start postgresql postgresql.sh serve
wait_until postgresql postgresql.sh ready
(sandbox initdb && sh "$repository/svc/airflow.sh" initdb > stdout 2> stderr) || { tail -20 "$work/initdb/stderr"; exit 1; }
printf '%s  initdb done\n' "$(elapsed)"
start scheduler airflow.sh scheduler
wait_until scheduler airflow.sh alive SchedulerJob
start dag-processor airflow.sh dag-processor
wait_until dag-processor airflow.sh alive DagProcessorJob
start triggerer airflow.sh triggerer
wait_until triggerer airflow.sh alive TriggererJob
start logs airflow.sh logs
wait_until logs airflow.sh answers "$PORT_LOGS" /docs
start webserver airflow.sh webserver
wait_until webserver airflow.sh healthy
for pid in "${pids[@]}"; do
    ps -o rss= -g "$pid" | awk -v pid="$pid" '{ sum += $1 } END { printf "%8.0f MB resident, %d processes, group %s\n", sum / 1024, NR, pid }'
done
uptime
if [ "${1:-}" = --keep ]; then
    printf 'http://127.0.0.1:%s  %s  %s\nEnter ends it. ' "$PORT_WEBSERVER" "$work" "$AIRFLOW_ADMIN_USER"
    read -r _
fi
