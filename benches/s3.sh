#!/bin/bash
# How long it takes to publish a package with 200 MB of artifacts to a server for S3 on this machine, and again when all of
# it is there; the peak of memory; and, for comparison, the same files sent by another client (boto3). The server is in
# Python and has everything in memory: it is most of the time.
# usage: benches/s3.sh [PROGRAM]      (needs run/s3: ./build.sh test; PROGRAM: target/release/dagpkg unless given)
set -euo pipefail
cd "$(dirname "$0")/.."
dagpkg=$(realpath "${1:-target/release/dagpkg}")
python=$PWD/run/s3/bin/python
[ -x "$python" ] || { echo "no run/s3: run ./build.sh test" >&2; exit 1; }
work=$(mktemp -d)
trap '[ -z "${server:-}" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true; rm -rf "$work"' EXIT

: > "$work/log"
export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
"$python" -u -m moto.server -H 127.0.0.1 -p 0 > "$work/log" 2>&1 &
server=$!
until url=$(sed -n 's/.*Running on \(http[^ ]*\).*/\1/p' "$work/log") && [ -n "$url" ]; do sleep 0.1; done
export AWS_ENDPOINT_URL=$url

mkdir -p "$work/universe" "$work/artifacts"
echo '{"packagingVersion": "4.0", "name": "large", "version": "1", "tags": ["t"], "maintainer": "m@example.org",
    "description": "d"}' > "$work/universe/package.json"
echo '{"id": "large"}' > "$work/universe/marathon.json.mustache"
uris=
for i in 0 1 2 3; do
    head -c 50000000 /dev/urandom > "$work/artifacts/artifact$i.bin"
    uris+="\"a$i\": \"{{artifact-dir}}/artifact$i.bin\", "
done
echo "{\"assets\": {\"uris\": {${uris%, }}}}" > "$work/universe/resource.json"

# measured WHAT COMMAND...: time and peak of memory of a command
measured() {
    "$python" - "$@" <<'PYTHON'
import resource, subprocess, sys, time
start = time.monotonic()
done = subprocess.run(sys.argv[2:], capture_output=True, text=True)
seconds = time.monotonic() - start
if done.returncode:
    sys.exit(done.stderr)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{seconds:6.2f} s  {peak:6.1f} MB peak  {sys.argv[1]}")
PYTHON
}

for bucket in packages other; do
    "$python" tests/s3/client.py bucket "$bucket" \
        "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Principal\": \"*\", \"Action\": \"s3:GetObject\",
        \"Resource\": \"arn:aws:s3:::$bucket/*\"}]}" > /dev/null
done
measured "first publication" "$dagpkg" build aws "$work" --bucket packages
measured "second publication: nothing to send" "$dagpkg" build aws "$work" --bucket packages
cat > "$work/other.py" <<'PYTHON'
import boto3, pathlib, sys
client = boto3.client("s3")
for path in pathlib.Path(sys.argv[1]).iterdir():
    client.upload_file(str(path), "other", path.name)
PYTHON
measured "the same artifacts by boto3, one after the other" "$python" "$work/other.py" "$work/artifacts"
