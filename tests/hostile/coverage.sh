#!/usr/bin/env bash
# Prints the line coverage of each decoder by its corpus and fresh hostile inputs; fails below 90 %.
#
#   tests/hostile/coverage.sh [INPUTS]     so many inputs each, 20000 if not said
#
# Lines are those of the files that read what comes from outside, without derived code and the functions
# named beside each file, which only write or show. Needs the compiler's own llvm tools. Our own crates are
# compiled once more, with counters, into the same target directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

INPUTS=${1:-20000}
LINES_MIN=90
# decoder:file, file-without=function|function
DECODERS=(
    "record:schema/src/record.rs schema/src/event/mod.rs=from schema/src/cbor.rs=schema_name|json_schema"
    "batch:schema/src/batch.rs schema/src/head.rs=fmt|signed_bytes engine/src/log/seal.rs"
    "wire:schema/src/wire/mod.rs=is_empty|names_digest schema/src/wire/frame.rs schema/src/wire/tagged.rs"
    "enrolment:schema/src/enrol.rs"
    "journal:engine/src/log/journal.rs=is_empty|has_room|content_len|append"
    "join-url:schema/src/join_url.rs"
    "act:schema/src/act.rs=user|page engine/src/counts/decide.rs"
    "server-act:schema/src/server_act.rs schema/src/json_line.rs=expecting"
    "page-log:edge/src/counts/page_log/reading.rs edge/src/counts/page_log/time.rs edge/src/counts/lines.rs"
    "page-log-format:edge/src/counts/page_log/format.rs"
    "rate-card:cloud/src/rates.rs=write|line|word"
)

llvm=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
for tool in llvm-profdata llvm-cov; do
    [[ -x $llvm/$tool ]] || {
        printf 'coverage: %s is missing; rustup component add llvm-tools\n' "$tool" >&2
        exit 1
    }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '#!/bin/sh\nexec "$@" -C instrument-coverage\n' >"$work/rustc"
chmod +x "$work/rustc"
RUSTC_WORKSPACE_WRAPPER=$work/rustc CARGO_PROFILE_RELEASE_STRIP=false LLVM_PROFILE_FILE=$work/build.profraw \
    cargo build --release --locked -p tallyroll-tests --bin fuzz
cp target/release/fuzz "$work/fuzz"

# Of `llvm-cov show`, "line| times|code": lines seen and lines, but for derived ones and those of a function left out.
COUNT='
{
    code = $0; sub(/^[^|]*\|[^|]*\|/, "", code)
    times = $2; gsub(/ /, "", times)
    match(code, /^ */); indent = RLENGTH
}
left_out { if (indent == margin && code ~ /^ *}/) left_out = 0; next }
without != "" && code ~ "fn (" without ")[(<]" { margin = indent; left_out = code !~ /}$/; next }
times == "" || code ~ /^ *#\[/ { next }
{ lines++; if (times != "0") seen++ }
END { print seen + 0, lines + 0 }
'
low=0
for entry in "${DECODERS[@]}"; do
    name=${entry%%:*}
    read -ra files <<<"${entry#*:}"
    LLVM_PROFILE_FILE=$work/$name.profraw "$work/fuzz" --decoder "$name" --inputs "$INPUTS" >/dev/null
    "$llvm/llvm-profdata" merge -sparse "$work/$name.profraw" -o "$work/$name.profdata"
    for entry in "${files[@]}"; do
        file=${entry%%=*} without=
        [[ $entry == *=* ]] && without=${entry#*=}
        read -r covered lines <<<"$("$llvm/llvm-cov" show "$work/fuzz" -instr-profile="$work/$name.profdata" \
            -show-instantiations=false "$PWD/$file" | awk -F'|' -v without="$without" "$COUNT")"
        [[ ${lines:-0} -gt 0 ]] || { printf 'coverage: no lines of %s\n' "$file" >&2; exit 1; }
        share=$((100 * covered / lines))
        printf '%-15s %-40s %4d of %4d lines, %3d %%\n' "$name" "$file" "$covered" "$lines" "$share"
        ((share >= LINES_MIN)) || low=1
    done
done
exit $((low ? 3 : 0))
