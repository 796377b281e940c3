#!/bin/sh
# Runs inside the first virtual machine of scenarios/check.sh, whose root is the initramfs, and which has no modules.

. /guest/checks.sh

# line NAME VERDICT WORDS: what nsl check said of NAME.
line() {
    grep -E "^$2 +$1 " /var/said | grep -F -e "$3" || {
        cat /var/said
        return 1
    }
}

no_sandbox_starts() {
    mkdir -p /var
    status 1 nsl check >/var/said
    status 125 nsl run --network none -- true
    line root missing "modprobe overlay"
    line sandbox missing "modprobe overlay"
    line memfd ok ""
    line limits ok "memory, CPUs and processes"
    line ids unknown "not tried"
    is "$(tail -n 1 /var/said)" "nsl run does not work here: see what is missing"
}
# Nothing leads out of the first root of a machine (pivot_root(2)).
first_root_is_told() {
    status 125 nsl run --empty --network none -- true 2>/var/told
    grep "pivot to the new root: Invalid argument (hint: .*switch_root" /var/told
}

check "no sandbox starts, and it says why" no_sandbox_starts
check "the first root of a machine is told" first_root_is_told
summary
[ "$failed" = 0 ]
