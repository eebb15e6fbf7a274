#!/bin/bash
# Fuzzes what reads text from outside: the template engine, options against a schema, service files.
# usage: fuzz/run.sh TARGET [RUNS [BYTES]]
# TARGET: template, options or service; RUNS: 1000000 unless given; BYTES: the longest input, 16384 unless given (short
# ones are tried many times as fast, and most mistakes need no more)
# Needs cargo-fuzz (cargo install --locked cargo-fuzz); the stable compiler will do. The sanitizers are left out: the
# project has no unsafe code, and without them four times as many inputs are tried. The corpus grows in fuzz/corpus/,
# from this repository's own files; an input that fails is kept in fuzz/artifacts/.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:?usage: fuzz/run.sh TARGET [RUNS]}
corpus=corpus/$target
mkdir -p "$corpus"
case $target in
    template)
        cp ../universe/marathon.json.mustache "$corpus/app"
        cp ../svc/svc.yml "$corpus/service"
        printf '%s\0%s' '{{#b}}{{^c.a}}{{{.}}}{{/c.a}}{{#asJson}}a{{/asJson}}{{/b}}{{=<% %>=}}<%c.a.b%>' \
            '{"a": "[{{b}}]", "b": [1.5, "x", [null]], "c": {"a": {"b": true}, "a.b": 1e9}}' > "$corpus/tags" ;;
    options)
        printf '%s\0%s\0%s' "$(cat ../universe/config.json)" '{"service": {"name": "x"}}' 'service.user=1' \
            > "$corpus/package"
        printf '%s\0%s\0%s' '{"properties": {"a": {"type": "integer", "default": 1, "maximum": 9, "multipleOf": 0.1},
            "b": {"properties": {"c": {"enum": [1, "x"]}, "d/~": {"pattern": "^a+$"}}, "required": ["c"],
            "additionalProperties": false}, "e": {"items": {"minLength": 2}, "uniqueItems": true}},
            "anyOf": [{"not": {}}, {"dependencies": {"a": ["b"]}}]}' \
            '{"a": 1e2, "b": {"d/~": "b", "u": null}, "e": ["é", "é"]}' 'b.c={"x": [1]}' > "$corpus/rules" ;;
    service)
        cp ../svc/svc.yml "$corpus/service"
        sed 's/{{#[^}]*}}//; s/{{\/[^}]*}}//; s/{{[^}]*}}*/7/' ../svc/svc.yml > "$corpus/rendered" ;;
    *) echo "there is no target $target" >&2; exit 2 ;;
esac
# what is tried is what the programs are built from
cp ../Cargo.lock .
exec cargo fuzz run --fuzz-dir . --sanitizer none --release "$target" "$corpus" -- \
    -runs="${2:-1000000}" -max_len="${3:-16384}" -timeout=20 -rss_limit_mb=2048 -dict="$target.dict" -print_final_stats=1
