#!/bin/sh
# Runs inside the virtual machine of scenarios/limits.sh, as the command of the machine's own PID 1, which is nsl-init; all
# it has is busybox, nsl and nsl-init. Nothing here waits without a bound.

. /guest/checks.sh
export PATH=/bin
top=/sys/fs/cgroup

sandbox="nsl run --empty -v /bin:/bin:ro --network none"
limited() { $sandbox "$@"; }

# What a sandbox with limits could leave: a cgroup, an enabled controller, a process.
groups() { find $top -type d -name 'nsl-*'; }
enabled() { cat $top/cgroup.subtree_control; }
# All but the machine's own init.
programs() { grep -xE 'nsl|nsl-guard|nsl-init|sleep' /proc/[0-9]*/comm 2>/dev/null | grep -v '^/proc/1/' || true; }
as_before() { [ -z "$(groups)$(programs)" ] && [ "$(enabled)" = "$enabled_before" ] && no_zombies; }
nothing_left() {
    until_true as_before >/dev/null || {
        echo "cgroups: $(groups); enabled: $(enabled); programs: $(programs); zombies: $(zombies)"
        return 1
    }
}

# once THING COMMAND...: the output of the command in /tmp/out, that on stderr in /tmp/err; its status is checked.
ran() {
    wanted=$1
    shift
    got=0
    "$@" >/tmp/out 2>/tmp/err || got=$?
    cat /tmp/err
    is "$got" "$wanted"
}
# One line, with all of these words.
told() {
    is "$(wc -l </tmp/err)" 1
    for words; do grep -qF -- "$words" /tmp/err || { echo "no '$words'"; return 1; }; done
}
quiet() { is "$(cat /tmp/err)" ""; }

# What runs in the background says "ready" there when all of it is.
is_ready() { grep -q ready /tmp/ready; }
# The file of the only sandbox's cgroup.
file() { cat "$(groups | head -n 1)/$1"; }
# The child of a process that has the name, or one of the names; nothing if there is none.
child() {
    for pid in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
        grep -qxE "$2" "/proc/$pid/comm" 2>/dev/null && echo "$pid" && return
    done
}
has_child() { [ "$(child "$1" "$2")" ]; }
# kill_hard PID...: counted.
kill_hard() {
    kill -9 "$@"
    for _; do echo killed >>/tmp/kills; done
}

# --- the machine ---------------------------------------------------------------------------------------------------

machine_has_controllers() {
    for name in memory cpu pids; do grep -qw $name $top/cgroup.controllers; done
}

# --- memory --------------------------------------------------------------------------------------------------------

memory_that_is_there_can_be_used() {
    ran 0 limited -m 32m -- dd if=/dev/zero of=/dev/null bs=8M count=2
}
memory_limit_kills_and_is_told() {
    ran 137 limited -m 32m -- dd if=/dev/zero of=/dev/null bs=100M count=1
    is "$(cat /tmp/err)" "nsl: the command was killed: it used more memory than --memory 32m allows"
}
memory_limit_holds_for_files_in_memory() {
    ran 137 limited -m 32m -- dd if=/dev/zero of=/file bs=1M count=100
    told "--memory 32m"
}
memory_limit_is_not_blamed_for_other_ends() {
    ran 137 limited -m 32m -- sh -c 'kill -9 $$'
    quiet
    ran 3 limited -m 32m -- sh -c 'dd if=/dev/zero of=/dev/null bs=100M count=1; exit 3'
    if grep nsl: /tmp/err; then return 1; fi
}
memory_too_small_for_a_start_is_told() {
    got=0
    limited -m 64k -- true >/tmp/out 2>/tmp/err || got=$?
    cat /tmp/err
    told "--memory 64k"
    [ $got = 137 ]
}
machine_without_memory_is_told() {
    # A limit of an outer cgroup is the one that is reached.
    echo +memory >$top/cgroup.subtree_control
    mkdir $top/outer
    echo 24M >$top/outer/memory.max
    echo +memory >$top/outer/cgroup.subtree_control
    mkdir $top/outer/shell
    result=0
    ran 137 sh -c "echo 0 >$top/outer/shell/cgroup.procs; exec $sandbox -m 64m -- dd if=/dev/zero of=/dev/null bs=48M count=1" ||
        result=1
    told "memory ran out outside of the sandbox" || result=1
    is "$(groups)" "" || result=1
    rmdir $top/outer/shell $top/outer
    echo -memory >$top/cgroup.subtree_control
    return $result
}

# --- processes -----------------------------------------------------------------------------------------------------

pids_limit_counts_the_commands_processes() {
    ran 0 limited --pids-limit 1 -- true
    ran 0 limited --pids-limit 3 -- sh -c 'sleep 0.1 & sleep 0.1 & wait'
    ran 2 limited --pids-limit 2 -- sh -c 'sleep 0.1 & sleep 0.1 & wait'
    grep -q "can't fork" /tmp/err
    ran 0 limited --pids-limit -1 -- true
}
pids_limit_stops_a_fork_bomb() {
    # What it may use of the CPU is limited for the sake of the time that this takes.
    : >/tmp/ready
    $sandbox --pids-limit 50 --cpus 0.5 -- sh -c 'echo ready; bomb() { bomb | bomb & }; bomb; while :; do read -t 1 line </dev/zero; done' \
        >/tmp/ready 2>/dev/null &
    bomb=$!
    result=0
    until_true is_ready && until_true is_refused || result=1
    is "$(file pids.max)" 51 || result=1
    [ "$(file pids.current)" -le 51 ] || result=1
    # The machine goes on meanwhile.
    limited -- true || result=1
    kill $bomb
    wait $bomb || true
    return $result
}
# Was a fork, by the limit of the only sandbox?
is_refused() { file pids.events | grep -q '^max [1-9]'; }

# --- CPUs ----------------------------------------------------------------------------------------------------------

usage() { file cpu.stat | sed -n 's/^usage_usec //p'; }
# In microseconds.
now() { awk '{ printf "%d", $1 * 1000000 }' /proc/uptime; }
cpu_limit_holds() {
    : >/tmp/ready
    $sandbox --cpus 0.2 --timeout 60s -- sh -c 'echo ready; while :; do :; done' >/tmp/ready &
    until_true is_ready
    is "$(file cpu.max)" "20000 100000"
    sleep 1
    usage_before=$(usage) now_before=$(now)
    sleep 5
    share=$((($(usage) - usage_before) * 1000 / ($(now) - now_before)))
    kill $!
    wait $! || true
    echo "# with --cpus 0.2 a busy loop gets $share thousandths of a CPU" >/dev/console
    # The machine itself may have to wait for its time.
    [ $share -ge 100 ] && [ $share -le 260 ]
}

all_limits_at_once() {
    : >/tmp/ready
    $sandbox -m 32m --cpus 0.5 --pids-limit 20 -- sh -c 'trap : TERM; echo ready; sleep 1234 & wait
        dd if=/dev/zero of=/dev/null bs=100M count=1; kill -9 $$' >/tmp/ready 2>/tmp/err &
    until_true is_ready
    is "$(file memory.max) $(file memory.swap.max 2>/dev/null) $(file cpu.max) $(file pids.max)" "33554432 0 50000 100000 21" ||
        is "$(file memory.max)  $(file cpu.max) $(file pids.max)" "33554432  50000 100000 21"
    kill $!
    status 137 wait $!
    grep -qxF "nsl: the command was killed: it used more memory than --memory 32m allows" /tmp/err
}
inside_the_cgroup_is_the_root() {
    ran 0 limited -m 32m -- cat /proc/self/cgroup
    is "$(cat /tmp/out)" "0::/"
}

# --- nsl exec -----------------------------------------------------------------------------------------------------

# joined OPTIONS... -- CHECK: in a sandbox called web with these limits.
joined() {
    mkdir -p /var/log
    options=
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    # shellcheck disable=SC2086 # they are words
    $sandbox -d --name web $options -- sleep 1234 >/dev/null
    # Not as a condition: there the shell would ignore -e.
    set +e
    (set -e; "$@")
    result=$?
    set -e
    nsl rm -f web >/dev/null
    return $result
}
joined_memory() {
    ran 0 nsl exec web cat /proc/self/cgroup
    is "$(cat /tmp/out)" "0::/"
    is "$(file cgroup.procs | wc -l)" 2
    ran 137 nsl exec web dd if=/dev/zero of=/dev/null bs=100M count=1
    is "$(cat /tmp/err)" "nsl: the command was killed: the sandbox has used more memory than --memory allows"
    ran 137 nsl exec web sh -c 'kill -9 $$'
    quiet
    : >/tmp/ready
    nsl exec web sh -c 'echo ready; exec sleep 1234' >/tmp/ready 2>/tmp/err &
    until_true is_ready
    nsl stop web >/dev/null
    status 137 wait $!
    is "$(cat /tmp/err)" "nsl: the command was killed: the sandbox web has ended"
}
joined_processes() {
    ran 0 nsl exec web true
    ran 2 nsl exec web sh -c 'true & wait'
    grep -q "can't fork" /tmp/err
}
# Without room for its command, and without room for what watches over that.
joined_too_many() {
    ran 125 nsl exec web true
    told "cannot start a process" "--pids-limit" "needs room for two"
}
exec_is_within_the_limits() {
    joined -m 32m --cpus 0.5 -- joined_memory
    joined --pids-limit 3 -- joined_processes
}
exec_beyond_the_limit_of_processes_is_told() {
    joined --pids-limit 2 -- joined_too_many
    joined --pids-limit 1 -- joined_too_many
}

# --- the end -------------------------------------------------------------------------------------------------------

failed_starts_leave_nothing() {
    ran 127 limited -m 32m -- no-such-command
    ran 125 limited -m 32m -w /no/where -- true
    ran 125 limited -m 32m -v /bin:/bin/busybox -- true
}
# moments NUMBER: so many, from none to somewhat longer than a start takes, in microseconds.
moments() {
    [ -s /tmp/start ] || {
        began=$(now)
        limited -m 32m --cpus 0.5 --pids-limit 20 -- true
        echo $((($(now) - began) * 5 / 4)) >/tmp/start
    }
    seq 0 $(($(cat /tmp/start) / $1)) "$(cat /tmp/start)"
}
killed_launcher_leaves_no_cgroup() {
    for moment in $(moments 40); do
        $sandbox -m 32m --cpus 0.5 --pids-limit 20 -- sleep 1234 &
        usleep $moment
        kill_hard $!
        wait $! || true
        nothing_left
    done
}
killed_init_leaves_no_cgroup() {
    for moment in $(moments 15); do
        $sandbox -m 32m --pids-limit 20 -- sleep 1234 2>/dev/null &
        until_true has_child $! 'nsl|nsl-init'
        usleep $moment
        kill_hard "$(child $! 'nsl|nsl-init')"
        wait $! || true
        nothing_left
    done
}
killed_guard_leaves_no_cgroup() {
    : >/tmp/ready
    $sandbox -m 32m -- sh -c 'trap "exit 5" TERM; echo ready; sleep 1234 & wait' >/tmp/ready &
    until_true is_ready
    kill_hard "$(child $! nsl-guard)"
    kill $!
    status 5 wait $!
}
# Both at any moment: at most what is empty stays, and goes with the next run.
launcher_and_guard_killed_at_any_moment_leave_what_is_swept() {
    for moment in $(moments 20); do
        $sandbox -m 32m --cpus 0.5 --pids-limit 20 -- sleep 1234 &
        launcher=$!
        usleep $moment
        # shellcheck disable=SC2046 # there may be none yet
        kill_hard $(child $launcher nsl-guard) $launcher
        wait $launcher || true
    done
    limited -m 32m --cpus 0.5 --pids-limit 20 -- true
}
is_empty() { grep -q '^populated 0' "$1/cgroup.events"; }
# Without both, it stays until the next run with limits.
what_two_kills_leave_is_swept_by_the_next() {
    for _ in 1 2 3 4 5; do
        : >/tmp/ready
        $sandbox -m 32m -- sh -c 'echo ready; sleep 1234' >/tmp/ready &
        launcher=$!
        until_true is_ready
        kill_hard "$(child $launcher nsl-guard)" $launcher
        wait $launcher || true
        left=$(groups)
        [ "$left" ]
        # Somebody who came from outside lives on in it.
        until_true is_empty "$left"
        sleep 1234 &
        echo $! >"$left/cgroup.procs"
        limited --pids-limit 9 -- true
        [ ! -e "$left" ]
        status 137 wait $!
        nothing_left
    done
}
# Also without another run, and then what lives stays.
what_two_kills_leave_is_removed_by_clean() {
    : >/tmp/ready
    $sandbox -m 32m -- sh -c 'trap "exit 5" TERM; echo ready; sleep 1234 & wait' >/tmp/ready &
    living=$!
    until_true is_ready
    group=$(groups)
    : >/tmp/ready
    $sandbox -m 32m -- sh -c 'echo ready; sleep 1234' >/tmp/ready &
    launcher=$!
    until_true is_ready
    kill_hard "$(child $launcher nsl-guard)" $launcher
    wait $launcher || true
    is "$(groups | wc -l)" 2
    said=$(nsl clean | head -n 1)
    left=$(groups)
    kill $living
    status 5 wait $living
    is "$said" "removed 1 cgroup of nsl that was killed"
    is "$left" "$group"
}
sandboxes_that_live_are_not_swept() {
    : >/tmp/ready
    $sandbox -m 32m -- sh -c 'trap "exit 5" TERM; echo ready; sleep 1234 & wait' >/tmp/ready &
    first=$!
    until_true is_ready
    for _ in 1 2 3; do limited -m 32m --cpus 0.5 -- true; done
    is "$(groups | wc -l)" 1
    # What the first one uses is still enabled.
    is "$(file memory.max)" 33554432
    kill $first
    status 5 wait $first
}
many_at_once_leave_nothing() {
    for _ in $(seq 5); do
        for _ in 1 2 3 4 5 6; do $sandbox -m 16m --cpus 0.5 --pids-limit 9 -- true & done
        for job in $(jobs -p); do wait "$job"; done
    done
}
is_cgroup_of_others() { mkdir -p $top/nsl-other $top/nsl-1.scope; }
cgroups_of_others_are_left_alone() {
    is_cgroup_of_others
    limited -m 32m -- true
    result=0
    [ -d $top/nsl-other ] && [ -d $top/nsl-1.scope ] || result=1
    rmdir $top/nsl-other $top/nsl-1.scope
    # With others there, what nsl enabled stays until it is alone with them gone.
    limited -m 32m -- true
    return $result
}
# In the caller's pipe nothing is held by the guard.
guard_keeps_nothing_of_the_callers() {
    : >/tmp/ready
    $sandbox -m 32m -- sh -c 'echo ready; sleep 1234' >/tmp/ready &
    until_true is_ready
    guard=$(child $! nsl-guard)
    is "$(ls /proc/$guard/fd | wc -l)" 2
    is "$(readlink /proc/$guard/cwd)" /
    is "$(awk '{ print $1 == $6 }' /proc/$guard/stat | tail -n 1)" 1
    awk '/^Private/ { sum += $2 } /^Rss/ { rss = $2 } END { print "# the guard has " sum " kB of its own, " rss " kB with what it shares" }' \
        /proc/$guard/smaps_rollup >/dev/console
    kill $!
    wait $! || true
}

# --- places --------------------------------------------------------------------------------------------------------

as_user() { su -s /bin/sh user -c "$1"; }

user_without_a_cgroup_is_told() {
    ran 125 as_user "$sandbox -m 32m -- true"
    told "cannot limit the memory" "the cgroup / is not yours to change" "hint: root can give you a cgroup"
}
# delegated SCRIPT: run by the user in a cgroup of his own, which it has for itself.
delegated() {
    sh -c "echo 0 >$top/user/cgroup.procs; exec su -s /bin/sh user -c '$1'"
}
give_user_a_cgroup() {
    echo +memory +cpu +pids >$top/cgroup.subtree_control
    mkdir -p $top/user
    chown 1000:1000 $top/user $top/user/cgroup.procs $top/user/cgroup.subtree_control
}
take_it_back() {
    rmdir $top/user
    echo -memory -cpu -pids >$top/cgroup.subtree_control
}
user_with_a_cgroup_has_limits() {
    give_user_a_cgroup
    result=0
    (
        set -e
        run="exec $sandbox -m 32m --cpus 0.5 --pids-limit 9 --"
        ran 137 delegated "$run dd if=/dev/zero of=/dev/null bs=100M count=1"
        told "--memory 32m"
        is "$(ls -d $top/user/*/ 2>/dev/null) $(cat $top/user/cgroup.subtree_control)" " "
        ran 42 delegated "$run sh -c \"exit 42\""
        quiet
        # In company it can't.
        ran 125 delegated "sleep 2 & $sandbox -m 32m -- true"
        told "the cgroup /user holds other processes as well"
        until_true is_empty $top/user
    ) || result=1
    take_it_back
    return $result
}
# From a cgroup beside that of the sandbox, not from outside.
user_executes_where_he_may() {
    give_user_a_cgroup
    mkdir -p /tmp/home
    chown 1000:1000 /tmp/home
    export XDG_RUNTIME_DIR=/tmp/home HOME=/tmp/home
    : >/tmp/ready
    delegated "exec $sandbox --name web -m 32m -- sh -c \"echo ready; exec sleep 1234\"" >/tmp/ready 2>&1 &
    set +e
    (
        set -e
        until_true is_ready
        until_true as_user "nsl inspect web | grep -q running"
        ran 125 as_user "nsl exec web true"
        told "start a process in the cgroup /user/nsl-" "use nsl exec where nsl run was started"
        mkdir $top/user/beside
        chown -R 1000:1000 $top/user/beside
        ran 0 sh -c "echo 0 >$top/user/beside/cgroup.procs; exec su -s /bin/sh user -c 'exec nsl exec web cat /proc/self/cgroup'"
        is "$(cat /tmp/out)" "0::/"
    )
    result=$?
    set -e
    # While there are others, what nsl has enabled stays.
    rmdir $top/user/beside || result=1
    as_user "nsl rm -f web" >/dev/null || result=1
    wait $! || true
    until_true user_left || result=1
    take_it_back
    return $result
}
user_left() { is_empty $top/user && [ -z "$(ls -d $top/user/*/ 2>/dev/null)$(cat $top/user/cgroup.subtree_control)" ]; }
killed_launcher_of_a_user_leaves_no_cgroup() {
    give_user_a_cgroup
    result=0
    for moment in $(moments 20); do
        sh -c "echo 0 >$top/user/cgroup.procs; exec su -s /bin/sh user -c 'exec $sandbox -m 32m --pids-limit 9 -- sleep 1234'" &
        usleep $moment
        kill_hard $!
        wait $! || true
        until_true user_left || { find $top/user -type d; result=1; break; }
    done
    take_it_back
    return $result
}
other_mounts_are_told() {
    ran 125 unshare -m sh -c "umount $top; $sandbox -m 32m -- true"
    told "cannot limit the memory: cgroup2 is not mounted" "hint: mount -t cgroup2"
    ran 125 unshare -m sh -c "mount -o remount,bind,ro $top; $sandbox --cpus 1 -- true"
    told "cannot limit the CPUs: cgroup2 is mounted read-only"
}
# nested STATUS OPTION SCRIPT: a sandbox with a limit, in a sandbox with OPTION where SCRIPT has been run.
nested() {
    # shellcheck disable=SC2086 # it may be none
    ran "$1" $sandbox --privileged $2 -- sh -c "$3; $sandbox --pids-limit 9 -- true"
}
nested_sandboxes_have_limits_where_they_can() {
    nested 125 "" :
    told "cannot limit the processes: cgroup2 is not mounted"
    nested 0 "" "mount -t cgroup2 cgroup2 $top"
    nested 125 "--pids-limit 50" "mount -t cgroup2 cgroup2 $top"
    told "cannot limit the processes: the cgroup / holds other processes as well"
    nested 0 "--pids-limit 50" "mount -t cgroup2 cgroup2 $top; mkdir $top/x; echo 1 >$top/x/cgroup.procs; echo 0 >$top/x/cgroup.procs"
}

# --- what it costs -------------------------------------------------------------------------------------------------

# took OPTIONS...: microseconds of five runs.
took() {
    began=$(now)
    for _ in 1 2 3 4 5; do limited "$@" -- true; done
    echo $(($(now) - began))
}
# In turn, so that what else the machine does falls on all.
start_is_measured() {
    plain=0 limited=0 prepared=0
    for _ in $(seq 8); do
        plain=$((plain + $(took)))
        limited=$((limited + $(took -m 32m --cpus 0.5 --pids-limit 20)))
        echo +memory +cpu +pids >$top/cgroup.subtree_control
        prepared=$((prepared + $(took -m 32m --cpus 0.5 --pids-limit 20)))
        echo -memory -cpu -pids >$top/cgroup.subtree_control
    done
    echo "# a run takes $((plain / 40000)) ms, with limits $((limited / 40000)) ms, $((prepared / 40000)) ms where the controllers are enabled" \
        >/dev/console
}
kernel_complained_of_nothing() {
    if dmesg | grep -E 'BUG:|WARNING:|Oops|segfault|general protection|unregister_netdevice'; then return 1; fi
}

: >/tmp/kills
enabled_before=$(enabled)
echo "# Linux $(uname -r), up since $(cut -d ' ' -f 1 /proc/uptime) s; enabled: '$enabled_before'"
check "the machine has the controllers" machine_has_controllers
check "memory within the limit can be used" memory_that_is_there_can_be_used
check "the limit of memory kills, and nsl tells so" memory_limit_kills_and_is_told
check "the limit of memory holds for files in memory" memory_limit_holds_for_files_in_memory
check "the limit of memory is not blamed for other ends" memory_limit_is_not_blamed_for_other_ends
check "too little memory for a start is told" memory_too_small_for_a_start_is_told
check "memory that ran out elsewhere is told" machine_without_memory_is_told
check "the limit of processes counts the command's" pids_limit_counts_the_commands_processes
check "the limit of processes stops a fork bomb" pids_limit_stops_a_fork_bomb
check "the limit of CPUs holds" cpu_limit_holds
check "all limits hold at once" all_limits_at_once
check "inside, the cgroup is the root" inside_the_cgroup_is_the_root
check "what nsl exec runs is within the limits" exec_is_within_the_limits
check "nsl exec beyond the limit of processes is told" exec_beyond_the_limit_of_processes_is_told
check "failed starts leave nothing" failed_starts_leave_nothing
check "a launcher killed at any moment leaves no cgroup" killed_launcher_leaves_no_cgroup
check "an init killed at any moment leaves no cgroup" killed_init_leaves_no_cgroup
check "a killed guard leaves no cgroup" killed_guard_leaves_no_cgroup
check "what two kills leave is swept by the next run" what_two_kills_leave_is_swept_by_the_next
check "what two kills leave is removed by nsl clean" what_two_kills_leave_is_removed_by_clean
check "launcher and guard killed at any moment leave what is swept" \
    launcher_and_guard_killed_at_any_moment_leave_what_is_swept
check "sandboxes that live are not swept" sandboxes_that_live_are_not_swept
check "many at once leave nothing" many_at_once_leave_nothing
check "cgroups of others are left alone" cgroups_of_others_are_left_alone
check "the guard keeps nothing of the caller's" guard_keeps_nothing_of_the_callers
check "a user without a cgroup of his own is told" user_without_a_cgroup_is_told
check "a user with a cgroup of his own has limits" user_with_a_cgroup_has_limits
check "a user executes commands in the cgroup of his sandbox where he may" user_executes_where_he_may
check "a killed launcher of a user leaves no cgroup" killed_launcher_of_a_user_leaves_no_cgroup
check "mounts that will not do are told" other_mounts_are_told
check "nested sandboxes have limits where they can" nested_sandboxes_have_limits_where_they_can
check "a start with limits is measured" start_is_measured
check "the kernel complained of nothing" kernel_complained_of_nothing
echo "# $(wc -l </tmp/kills) kills"
summary
[ "$failed" = 0 ]
