#!/usr/bin/env bash
# `make fuzz`: every fuzz target (or those named) over its corpus, bounded in time.
#
#     FUZZ_SECONDS=30        how long each target runs (0: until FUZZ_RUNS)
#     FUZZ_RUNS=2500000      how often each target runs at most (unset: until FUZZ_SECONDS)
#
# New inputs stay in fuzz/target/corpus; `fuzz/run.sh --keep` takes the best small ones of them into
# fuzz/corpus. An input that breaks a property is kept in fuzz/artifacts, and the run fails.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
tests/tools.sh build fuzz

triple=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p fuzz/.cargo
fuzz/reuse.sh "$target" "$triple" > fuzz/.cargo/config.toml.new
# Only a change is written: cargo would build everything again.
cmp -s fuzz/.cargo/config.toml.new fuzz/.cargo/config.toml ||
    cp fuzz/.cargo/config.toml.new fuzz/.cargo/config.toml
rm fuzz/.cargo/config.toml.new

cd fuzz
unset CARGO_TARGET_DIR
keep=
if [ "${1:-}" = --keep ]; then keep=yes; shift; fi
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)

# The coverage instrumentation runs on a stable compiler; a sanitizer would need a nightly one, and
# there is no unsafe code of ours to sanitize.
cargo fuzz build --sanitizer none

total=0
for name in "${targets[@]}"; do
    found=target/corpus/$name
    mkdir -p "$found" "artifacts/$name"
    if [ -n "$keep" ]; then
        # Set cover picks the input that covers most, then the one that adds most to it, …: of the
        # small ones the first forty are worth their place in the repository.
        chosen=target/chosen/$name
        rm -rf "$chosen" && mkdir -p "$chosen"
        "target/$triple/release/$name" -set_cover_merge=1 -max_len=400 -rss_limit_mb=2048 \
            "$chosen" "corpus/$name" "$found" > "target/$name.merge.log" 2>&1
        while read -r file; do
            [ -e "corpus/$name/$file" ] || cp "$chosen/$file" "corpus/$name/"
        done < <(ls -tr "$chosen" | head -n 40)
        echo "$name: $(ls "corpus/$name" | wc -l) inputs in the corpus"
        continue
    fi
    limits=(-max_total_time="${FUZZ_SECONDS:-30}")
    [ -z "${FUZZ_RUNS:-}" ] || limits+=(-runs="$FUZZ_RUNS")
    log=target/$name.log
    echo "fuzzing $name (${limits[*]})"
    # A single input may take no longer than ten seconds, and no more memory than 2 GiB.
    if ! "target/$triple/release/$name" "${limits[@]}" -max_len=8192 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="artifacts/$name/" \
        "$found" "corpus/$name" > "$log" 2>&1; then
        tail -n 40 "$log"
        echo "$name: a property does not hold; the input is in fuzz/artifacts/$name" >&2
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "  $runs executions, nothing found"
    total=$((total + runs))
done
[ -n "$keep" ] || echo "fuzz: $total executions of ${#targets[@]} targets without a finding"
