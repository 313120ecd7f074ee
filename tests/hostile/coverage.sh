#!/usr/bin/env bash
# Prints the line coverage of each decoder by its corpus and fresh hostile inputs; fails below 90 %.
#
#   tests/hostile/coverage.sh [INPUTS]     so many inputs each, 20000 if not said
#
# Lines are those of the files that read what comes from outside; what only writes is in them too. Needs
# Debian's llvm-19. Our own crates are compiled once more, with counters, into the same target directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

INPUTS=${1:-20000}
LINES_MIN=90
# decoder → the files it is made of
DECODERS=(
    "record:schema/src/record.rs schema/src/event/mod.rs schema/src/cbor.rs"
    "batch:schema/src/batch.rs schema/src/head.rs engine/src/log/seal.rs engine/src/merge.rs"
    "wire:schema/src/wire/mod.rs schema/src/wire/frame.rs schema/src/wire/tagged.rs"
    "enrolment:schema/src/enrol.rs"
    "journal:engine/src/log/journal.rs"
    "join-url:schema/src/join_url.rs"
    "act:schema/src/act.rs engine/src/counts/decide.rs"
    "page-log:edge/src/counts/page_log/mod.rs edge/src/counts/page_log/reading.rs edge/src/counts/page_log/format.rs edge/src/counts/page_log/time.rs edge/src/counts/lines.rs"
)

for tool in llvm-profdata-19 llvm-cov-19; do
    command -v "$tool" >/dev/null || {
        printf 'coverage: %s is missing; install the Debian package llvm-19\n' "$tool" >&2
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

low=0
for entry in "${DECODERS[@]}"; do
    name=${entry%%:*}
    read -ra files <<<"${entry#*:}"
    LLVM_PROFILE_FILE=$work/$name.profraw "$work/fuzz" --decoder "$name" --inputs "$INPUTS" >/dev/null
    llvm-profdata-19 merge -sparse "$work/$name.profraw" -o "$work/$name.profdata"
    for file in "${files[@]}"; do
        # Columns: file, regions ×3, functions ×3, lines, missed lines, cover.
        read -r lines missed <<<"$(llvm-cov-19 report "$work/fuzz" -instr-profile="$work/$name.profdata" \
            "$PWD/$file" | awk '$1 == "TOTAL" { print $8, $9 }')"
        [[ ${lines:-0} -gt 0 ]] || { printf 'coverage: no lines of %s\n' "$file" >&2; exit 1; }
        covered=$((100 * (lines - missed) / lines))
        printf '%-10s %-45s %4d of %4d lines, %3d %%\n' "$name" "$file" $((lines - missed)) "$lines" "$covered"
        ((covered >= LINES_MIN)) || low=1
    done
done
exit $((low ? 3 : 0))
