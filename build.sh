#!/bin/bash
# Sets up, runs and tests the project from a clean clone. Needs a Rust toolchain (https://rustup.rs), a C compiler for
# it, and Python 3.11 or newer; everything else comes from crates.io and PyPI into target/ and run/.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
    cat <<'USAGE'
usage: ./build.sh COMMAND [ARGUMENT...]
  up       build the programs, prepare Airflow, then bring dagflow up on this machine; Ctrl-C stops it (dagpkg up)
  down     stop a dagflow that runs in the background (dagpkg down)
  test     prepare everything, then check format, lints and dependencies, and run all tests
  setup    only prepare Airflow and Postgres in run/airflow
  build    only build the programs (release), linked from target/release/
  local    build the programs, then the package into a folder (dagpkg build local; --out DIR)
  web      the same into the root of a web server (dagpkg build web; --root DIR --url URL)
  aws      the same into an S3 bucket (dagpkg build aws; S3_BUCKET and so on)
USAGE
}

say() { printf '%s\n' "$*" >&2; }
fail() { say "build.sh: $*"; exit 1; }

check_rust() {
    command -v cargo >/dev/null || fail "no cargo: install a Rust toolchain as https://rustup.rs says, then try again"
    command -v cc >/dev/null || fail "no C compiler (cc), which Rust links with: apt-get install gcc libc6-dev"
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    [ "$host" = "$target" ] || rustc --print target-libdir --target "$target" >/dev/null 2>&1 ||
        fail "the programs are built for $target, this machine is $host: rustup target add $target"
}

# The first interpreter that the lock file is for; /usr/bin first, for one in a private home is closed to other users.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} /usr/bin/python3.1{1,2,3,4} python3.1{1,2,3,4} python3; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 to 3.14 (looked for python3.11 and so on, and python3): apt-get install python3," \
        "or set PYTHON to the path of one"
}

# Airflow and Postgres, for `up` and for the tests.
setup_airflow() {
    python_environment run/airflow airflow/requirements.lock airflow "Airflow and Postgres, about 400 MB, a minute or two"
}

# A server for S3 and an independent client, for the tests only.
setup_s3() {
    python_environment run/s3 tests/s3/requirements.lock moto "a server for S3, about 140 MB"
}

# Makes a Python environment in FOLDER of exactly what LOCK holds, in which MODULE can be imported; SAID is what a person
# who waits is told. The file `complete` is written last and names what is in there: anything else is an older or
# half-made environment and is made anew.
python_environment() {
    local folder=$1 lock=$2 module=$3 said=$4 python want total
    python=$(find_python)
    want="$("$python" -VV | tr '\n' ' ') $(sha256sum "$lock" | cut -d' ' -f1) $PWD"
    [ "$(cat "$folder/complete" 2>/dev/null)" = "$want" ] && return
    total=$(grep -c '==' "$lock")
    say "$said: $total packages into $folder ($python)"
    rm -rf "$folder"
    mkdir -p run
    local pip
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv "$folder"
        pip=("$folder/bin/python" -m pip)
    else
        "$python" -m venv --without-pip "$folder"
        pip=("$folder/bin/python" "$("$python" airflow/fetch_pip.py "$folder")/pip")
    fi
    local install=("${pip[@]}" install --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r "$lock")
    if ! "${install[@]}" 2>"$folder/pip.errors" | show_progress "$total"; then
        cat "$folder/pip.errors" >&2
        fail "the packages of $lock could not be installed; the errors are above"
    fi
    "$folder/bin/python" -c "import $module" >/dev/null || fail "$module is installed in $folder, but cannot be imported"
    printf '%s\n' "$want" > "$folder/complete"
}

# Reads what pip says; shows one line that changes on a terminal, a line now and then elsewhere.
show_progress() {
    local line name count=0 tty=0
    [ -t 2 ] && tty=1
    while read -r line; do
        case $line in
            Collecting*)
                count=$((count + 1)) name=${line#Collecting }
                if [ $tty = 1 ]; then printf '\r\033[K  %d/%d %s' "$count" "$1" "${name%% *}" >&2
                elif [ $((count % 50)) = 0 ]; then say "  $count/$1"; fi ;;
            Installing\ collected*)
                if [ $tty = 1 ]; then printf '\r\033[K  unpacking and compiling' >&2; else say "  unpacking and compiling"; fi ;;
        esac
    done
    [ $tty = 0 ] || printf '\r\033[K' >&2
}

# The target is fixed in .cargo/config.toml (static binaries), so cargo puts the programs below its name.
build_programs() {
    local program
    check_rust
    say "dagpkg: building the programs (release)"
    cargo build --release --locked --bins
    mkdir -p target/release
    for program in dagpkg dagpkg-scheduler dagpkg-bootstrap dcos-service-cli; do
        ln -sfn "$built/$program" "target/release/$program"
    done
}

run_tests() {
    check_rust
    setup_airflow
    setup_s3
    say "format"
    cargo fmt --check
    say "lints"
    cargo clippy --locked --all-targets -- -D warnings
    if command -v cargo-deny >/dev/null; then
        say "dependencies"
        cargo deny --offline --locked check bans licenses sources
    else
        say "dependencies: not checked, cargo-deny is not installed (cargo install --locked cargo-deny)"
    fi
    # those that need run/airflow or run/s3 are marked `ignore`, so that plain `cargo test` works without it
    # those that need programs of others are marked so too, and have the program in their names
    PATH=$PATH:/usr/sbin
    local program skipped=()
    for program in nginx apache2 caddy; do
        command -v $program >/dev/null && continue
        say "tests with $program: left out, it is not installed (.ci/run says which Debian packages have all of them)"
        skipped+=(--skip $program)
    done
    if ! unshare -rm true 2>/dev/null; then
        say "tests with a mount namespace: left out, this user may not make one (unshare -rm)"
        skipped+=(--skip mount_namespace)
    fi
    say "tests"
    if command -v cargo-nextest >/dev/null; then
        exec cargo nextest run --locked --run-ignored all -- "${skipped[@]}"
    else
        exec cargo test --locked -- --include-ignored "${skipped[@]}"
    fi
}

target=x86_64-unknown-linux-gnu
built=$(realpath -m "${CARGO_TARGET_DIR:-target}")/$target/release
command=${1:-}
[ $# = 0 ] || shift
case $command in
    # the example DAGs make something to see; what the user sets comes later and wins
    up) build_programs; setup_airflow; exec target/release/dagpkg up --set airflow.load_examples=true "$@" ;;
    down) [ -x target/release/dagpkg ] || fail "nothing was built here, so nothing runs"; exec target/release/dagpkg down "$@" ;;
    test) run_tests ;;
    setup) setup_airflow ;;
    build) build_programs ;;
    local | web | aws) build_programs; exec target/release/dagpkg build "$command" "$@" ;;
    -h | --help | help) usage ;;
    *) usage >&2; exit 2 ;;
esac
