#!/bin/sh
# Prints cargo settings that make the fuzz targets link the C libraries (librdkafka, OpenSSL, zstd,
# zlib) that a build of the connector has compiled already: under fuzzing flags cargo would compile
# them all again, for minutes, and no target runs through them. Prints nothing where there is no
# such build; they are then compiled.
#
#     fuzz/reuse.sh TARGET_DIR TRIPLE > fuzz/.cargo/config.toml
set -eu
build=$1/debug/build

for library in rdkafka:rdkafka-sys openssl:openssl-sys zstd:zstd-sys z:libz-sys; do
    links=${library%%:*} package=${library#*:}
    output=$(ls -t "$build/$package"-*/output 2>/dev/null | head -n 1)
    [ -n "$output" ] || continue
    out=$(CDPATH='' cd -- "$(dirname -- "$output")" && pwd)/out
    [ -d "$out" ] || continue
    # The directory may have been moved since: what lies in it is named by its place now.
    sed -n 's/^cargo::\{0,1\}//p' "$output" |
        sed -E "s#(^|=)/[^=]*/$(basename "$(dirname "$out")")/out#\\1$out#" |
        awk -v links="$links" -v triple="$2" '
            function quoted(text) { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); return "\"" text "\"" }
            {
                at = index($0, "="); key = substr($0, 1, at - 1); value = substr($0, at + 1)
                if (key ~ /^rerun-if|^warning/) next
                if (key ~ /^rustc-(link-lib|link-search|cfg|check-cfg)$/) {
                    if (!((key, value) in seen)) list[key] = list[key] (list[key] == "" ? "" : ", ") quoted(value)
                    seen[key, value] = 1
                } else if (key !~ /^rustc-/) single[key] = value
            }
            END {
                print "[target." triple "." links "]"
                for (key in list) print key " = [" list[key] "]"
                for (key in single) print quoted(key) " = " quoted(single[key])
                print ""
            }'
done
