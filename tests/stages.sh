#!/bin/sh
# The stages of `make test`. One profile (dev: optimised a little, all assertions on), one target folder.
# Each stage prints its time and the time it is allowed; a stage that hangs is ended.
#
# A test program belongs to a stage by its name:
#   tests/interop*.rs         interop: against the real redis-server and recorded files
#   tests/differential.rs     the same, with random commands
#   tests/crash*.rs           crash: fork, kill and fault tests
#   tests/soak*.rs            none: `make soak`
#   tests/tidy.rs             tidy + unit
#   every other tests/*.rs    command + socket

set -u
cd "$(dirname "$0")/.." || exit 1
cargo=${CARGO:-cargo}
# A stage may take this many times its allowance before it is ended.
HANG_FACTOR=4
failed=

# programs PREFIX...: `--test x` for each tests/PREFIX*.rs
programs() {
    for prefix in "$@"; do
        for file in tests/"$prefix"*.rs; do
            [ -e "$file" ] && printf -- '--test %s ' "$(basename "$file" .rs)"
        done
    done
}

others() {
    for file in tests/*.rs; do
        case $(basename "$file" .rs) in
            tidy | interop* | differential | crash* | soak* | '*') ;;
            *) printf -- '--test %s ' "$(basename "$file" .rs)" ;;
        esac
    done
}

# stage NAME MINUTES COMMAND...
stage() {
    name=$1 minutes=$2
    shift 2
    echo "=== $name"
    begun=$(date +%s)
    timeout --kill-after=10 "$((minutes * HANG_FACTOR))m" "$@"
    status=$?
    seconds=$(($(date +%s) - begun))
    verdict=ok
    [ "$seconds" -gt "$((minutes * 60))" ] && verdict="ok, but over its time"
    [ "$status" -eq 0 ] || verdict="FAILED (status $status)" failed="$failed [$name]"
    [ "$status" -eq 124 ] && verdict="FAILED (ended after $seconds s)"
    echo "=== $name: $verdict, $seconds s of $((minutes * 60)) s"
}

# tests NAME MINUTES SELECTION: a stage of test programs, if there are any
tests() {
    if [ -z "$3" ]; then
        echo "=== $1: no test programs yet"
        return
    fi
    # shellcheck disable=SC2086 # the selection is a list of words
    stage "$1" "$2" $cargo test --no-fail-fast $3
}

stage "build" 5 $cargo test --no-run
# Without its programs nothing below can run.
[ -z "$failed" ] || exit 1
if [ "${CI:-}" = true ]; then
    stage "build without default features" 5 $cargo check --no-default-features
fi
tests "tidy + unit" 3 "--lib --bins --test tidy"
stage "documentation examples" 3 $cargo test --doc
tests "command + socket" 4 "$(others)"
tests "interop" 4 "$(programs interop differential)"
tests "crash" 4 "$(programs crash)"

if [ -n "$failed" ]; then
    echo "FAILED:$failed"
    exit 1
fi
echo "all stages passed"
