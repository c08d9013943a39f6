#!/usr/bin/env bash
# `make test`: every test there is, and one closing line that says what ran on what.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
tests/tools.sh build java jdk maven python

output=$(mktemp)
trap 'rm -f "$output"' EXIT
# The tests of a stage that passed, out of its `test result` lines.
passed() { awk '/^test result: ok\./ {n += $4} END {print n + 0}' "$output"; }

# A test that hangs is ended with its stage after WMS_STAGE_TIMEOUT seconds, and the stage fails; the
# lines before name it.
runner="['timeout', '--verbose', '--foreground', '--kill-after=10', '${WMS_STAGE_TIMEOUT:-1200}']"
limited=(--config "target.'cfg(all())'.runner=$runner")

cargo test "${limited[@]}" --locked --workspace --lib --bins 2>&1 | tee "$output"
unit=$(passed)
cargo test --locked --doc 2>&1 | tee "$output"
doc=$(passed)
cargo test "${limited[@]}" --locked --test it 2>&1 | tee "$output"
integration=$(sed -n 's/^integration: //p' "$output")

echo
echo "all passed: $unit unit and property tests, $doc documentation tests; integration: $integration"
