# What a script inside a virtual machine checks with, in a shell that may be busybox's. The console gets a line for each
# check: "ok 3 - NAME (0.1 s)", or "not ok" and what was said. Nothing here waits without a bound.

failed=0
number=0
said=/tmp/said
start=$(date +%s)

# What a check must leave as it was; a script may say more.
nothing_left() { :; }

# check NAME FUNCTION: one line of result, and what the function said if it failed.
check() {
    number=$((number + 1))
    began=$(cut -d ' ' -f 1 /proc/uptime)
    # Not as a condition: there the shell would ignore -e.
    (set -e; "$2") >"$said" 2>&1
    if [ $? = 0 ]; then verdict=ok; else verdict="not ok"; fi
    took=$(awk "{ printf \"%.1f\", \$1 - $began }" /proc/uptime)
    leftover=$(nothing_left) || verdict="not ok"
    echo "$verdict $number - $1 ($took s)"
    [ "$verdict" = ok ] && return
    failed=$((failed + 1))
    [ -z "$leftover" ] || echo "# left behind: $leftover"
    sed 's/^/# /' "$said"
}

summary() { echo "# $((number - failed)) of $number checks passed in $(($(date +%s) - start)) s"; }

# until_true COMMAND...: within 10 seconds.
until_true() {
    deadline=$(($(date +%s) + 10))
    while [ "$(date +%s)" -lt $deadline ]; do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    echo "never came true: $*"
    return 1
}

# is WHAT WANTED
is() {
    if [ "$1" != "$2" ]; then
        echo "got:    '$1'"
        echo "wanted: '$2'"
        return 1
    fi
}

# status WANTED COMMAND...
status() {
    wanted=$1
    shift
    got=0
    "$@" || got=$?
    is "$got" "$wanted"
}

zombies() { grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null || true; }
no_zombies() { [ -z "$(zombies)" ]; }
