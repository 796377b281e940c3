#!/bin/bash
# run.sh NSL NSL_INIT CACHE [SCENARIO...]: runs the scenarios, each in virtual machines of its own with Debian's kernel,
# busybox and these two programs, and tells what passed. The kernel's package is kept in CACHE, and is not installed.
set -euo pipefail

nsl=$1
init=$2
mkdir -p "$3"
cache=$(cd "$3" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
shift 3

fail() {
    echo "vm: $*" >&2
    exit 1
}

. "$here/kernel.sh"
. "$here/machine.sh"

passed=0
failed=0
# count PASSED FAILED
count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
    [ "$2" = 0 ] || show_console=yes
}

# check NAME COMMAND...: one line of result, and what the command said if it failed.
check() {
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "ok - $name"
        count 1 0
    else
        echo "not ok - $name"
        sed 's/^/# /' <<<"$said"
        count 0 1
    fi
}

work=$(mktemp -d "$cache/run.XXXXXX")
qemu=
trap '[ -z "$qemu" ] || kill -9 "$qemu" 2>/dev/null || true; rm -rf "$work"' EXIT
. "$here/disk.sh"
. "$here/modules.sh"
. "$here/debian.sh"
fetch_kernel
started=$SECONDS
for scenario in "$here"/scenarios/*.sh; do
    name=$(basename "$scenario" .sh)
    [ $# = 0 ] || [[ " $* " = *" $name "* ]] || continue
    console=$cache/$name.log
    show_console=
    echo "# $name"
    . "$scenario"
    if [ -n "$show_console" ]; then
        echo "vm: the console of the last machine of $name, kept in $console:"
        said
    fi
done
echo "vm: $passed passed, $failed failed"
echo "# in $((SECONDS - started)) s on $(basename "$kernel")"
[ "$failed" = 0 ] && [ "$passed" != 0 ] || fail "the tests in virtual machines failed"
