#!/bin/sh
# Runs inside the virtual machine of scenarios/sandboxes.sh, as the command of the machine's own PID 1, which is nsl-init; all it
# has is busybox, nsl and nsl-init. Nothing here waits without a bound.

. /guest/checks.sh
export PATH=/bin

# What a sandbox could leave: a device, a mount, a process. The kernel drops a device a moment after its namespace.
links() { (cd /sys/class/net && echo *); }
mounts() { wc -l </proc/self/mountinfo; }
# Programs that a sandbox runs; kernel threads have no command line.
programs() {
    for process in /proc/[0-9]*; do
        tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -E '^(nsl|nsl-init --boot|sleep 1234) ' || true
    done
}
as_before() {
    [ "$(links)" = "$links_before" ] && [ "$(mounts)" = "$mounts_before" ] && [ -z "$(programs)" ] && [ -z "$(zombies)" ]
}
nothing_left() {
    until_true as_before >/dev/null || {
        echo "links: $(links); mounts: $(mounts), were $mounts_before; programs: $(programs); zombies: $(zombies)"
        return 1
    }
}

# --- the machine ---------------------------------------------------------------------------------------------------

machine_runs_nsl_init() {
    is "$(readlink /proc/1/exe)" /bin/nsl-init
    is "$(awk '{ print $2 }' /proc/1/stat)" "(nsl-init)"
}
machine_has_cgroup2() {
    grep -q ' /sys/fs/cgroup .* cgroup2 ' /proc/self/mountinfo
    # As on a Debian with systemd, whose mounts are shared: what nsl mounts must not come back here.
    grep -q ' / / .* shared:' /proc/self/mountinfo
}
init_reaps_orphans_of_the_machine() {
    for _ in $(seq 20); do (sleep 0.01 &); done
    until_true no_zombies
}

# --- as root -------------------------------------------------------------------------------------------------------

isolated() { nsl run --network none -- "$@"; }

true_succeeds() { isolated true; }
status_is_forwarded() {
    status 42 isolated sh -c 'exit 42'
    status 143 isolated sh -c 'kill -TERM $$'
    status 127 isolated no-such-command
    status 126 isolated /etc/passwd
    status 125 nsl run --no-such-option true
}
command_is_alone() {
    is "$(isolated sh -c 'echo /proc/[0-9]*; hostname; cat /proc/self/cgroup')" "$(printf '/proc/1 /proc/2\nnsl\n0::/')"
    isolated cat /proc/1/comm | grep -q nsl-init
    for kind in cgroup ipc mnt net pid uts; do
        [ "$(isolated readlink /proc/self/ns/$kind)" != "$(readlink /proc/self/ns/$kind)" ]
    done
}
root_is_copied_on_write() {
    echo host >/var/kept
    is "$(isolated sh -c 'cat /var/kept; echo changed >/var/kept; cat /var/kept; rm -r /home; mkdir /home; ls /home; touch /new')" \
        "$(printf 'host\nchanged')"
    is "$(cat /var/kept)" host
    [ -d /home/user ] && [ ! -e /new ]
}
root_can_be_a_directory() {
    mkdir -p /var/root/bin
    cp /bin/busybox /var/root/bin
    ln -sf busybox /var/root/bin/sh
    is "$(nsl run --network none --rootfs /var/root -- sh -c 'echo /*')" "/bin /dev /etc /proc /sys"
}
volumes_are_seen() {
    mkdir -p /var/volume
    nsl run --network none -v /var/volume:/data -v /var/volume:/fixed:ro -- \
        sh -c 'echo written >/data/file && ! echo never 2>/dev/null >/fixed/file'
    is "$(cat /var/volume/file)" written
}
terminal_is_of_the_sandbox() {
    nsl run --network none -t -- sh -c 'tty; test -t 0 && test -t 1 && echo yes' </dev/ttyS0 >/var/terminal
    is "$(tr -d '\r' </var/terminal)" "$(printf '/dev/pts/0\nyes')"
}
signals_are_forwarded() {
    nsl run --network none -- sh -c 'trap "exit 7" USR1; echo ready; while :; do sleep 0.05; done' >/var/ready &
    until_true grep -q ready /var/ready
    kill -USR1 $!
    status 7 wait $!
}
network_has_addresses_and_a_route() {
    inside=$(nsl run -- sh -c 'ip -4 addr show; ip route')
    echo "$inside"
    echo "$inside" | grep -q 'inet 127.0.0.1/8'
    echo "$inside" | grep -q '^default via '
    # Busybox knows no way to ping without it.
    nsl run --cap-add NET_RAW -- sh -c 'ping -c 1 -W 5 $(ip route | sed -n "s/^default via \([0-9.]*\).*/\1/p")'
}

other_network() { [ "$(readlink /proc/$1/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
# A host beyond this one, which knows no way back to a sandbox: only what is masqueraded gets an answer.
network_reaches_beyond_the_host() {
    unshare -n sleep 30 &
    beyond=$!
    until_true other_network $beyond
    ip link add way type veth 2>/dev/null || ip link add way type veth peer name way-peer
    peer=$(cat /sys/class/net/way/iflink)
    for device in /sys/class/net/*; do
        if [ "$(cat "$device/ifindex")" = "$peer" ]; then peer=${device##*/}; break; fi
    done
    ip link set "$peer" netns $beyond
    ip address add 10.9.0.1/24 dev way
    ip link set way up
    nsenter -t $beyond -n ip link set "$peer" up
    nsenter -t $beyond -n ip address add 10.9.0.2/24 dev "$peer"
    nsenter -t $beyond -n nc -l -p 7000 -e echo hello &
    result=0
    is "$(nsl run -- sh -c 'for _ in 1 2 3 4 5; do nc -w 5 10.9.0.2 7000 </dev/null && exit; sleep 0.2; done')" hello || result=1
    kill -9 $beyond
    ip link delete way
    return $result
}

# The example that started nsl: a root in memory, a pair of devices, and TCP both ways.
example_of_the_article() {
    ports() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ':1B59 0*:0000 0A '; }
    nc -l -p 7001 -e echo from-host &
    until_true ports
    nsl run --empty -v /bin:/bin:ro --ip 192.168.1.2/24 --gateway 192.168.1.1 -- sh -c '
        nc -w 5 192.168.1.1 7001 </dev/null
        echo from-sandbox | nc -l -p 7002
        ls /
        exit 3' >/var/example &
    sandbox=$!
    got=
    for _ in $(seq 50); do
        got=$(nc -w 5 192.168.1.2 7002 </dev/null 2>/dev/null) && [ "$got" ] && break
        sleep 0.1
    done
    is "$got" from-sandbox
    status 3 wait $sandbox
    is "$(echo $(cat /var/example))" "from-host bin dev etc proc run sys tmp"
}
killed_launcher_leaves_nothing() {
    for network in veth none; do
        nsl run --network $network -- sh -c 'sleep 1234 & setsid sleep 1234 & echo ready; sleep 1234' >/var/ready &
        until_true grep -q ready /var/ready
        kill -9 $!
        status 137 wait $!
        nothing_left
        : >/var/ready
    done
}
many_leave_nothing() {
    for _ in $(seq 100); do
        isolated true
        nsl run -- true
    done
}

command_is_confined() {
    is "$(isolated awk '/^(NoNewPrivs|Seccomp):/ { print $2 }' /proc/self/status)" "$(printf '1\n2')"
    status 1 isolated sh -c '(echo x >/proc/sys/kernel/core_pattern) 2>/dev/null'
    status 1 isolated mount -t tmpfs none /home
}
# An older Landlock restricts what it can, and one is told of the rest.
landlock_restricts_what_it_can() {
    is "$(isolated_by_landlock sh -c 'cat /etc/passwd 2>/dev/null; echo x >/var/written && echo written' 2>/var/warning)" written
    case $(uname -r) in
        5.* | 6.1.*) grep -q "Landlock is older" /var/warning ;;
    esac
}
isolated_by_landlock() { nsl run --network none --landlock ro=/bin,rw=/var -- "$@"; }

# --- as an ordinary user -------------------------------------------------------------------------------------------

as_user() { su -s /bin/sh user -c "$1"; }

user_runs_a_command() {
    status 42 as_user "nsl run --network none -- sh -c 'exit 42'"
    is "$(as_user "nsl run --network none -- sh -c 'id -u; echo /proc/[0-9]*'")" "$(printf '1000\n/proc/1 /proc/2')"
}
user_writes_to_a_copy() {
    is "$(as_user "cd; nsl run --network none -- sh -c 'pwd; cat own; echo changed >own; cat own; rm -r folder; mkdir folder; ls folder'")" \
        "$(printf '/home/user\nown\nchanged')"
    is "$(cat /home/user/own)" own
    [ -e /home/user/folder/file ]
}
user_has_a_terminal() {
    chmod 666 /dev/ttyS0
    as_user "nsl run --network none -t -- tty </dev/ttyS0" >/var/terminal
    is "$(tr -d '\r' </var/terminal)" /dev/pts/0
}
killed_launcher_of_a_user_leaves_nothing() {
    : >/var/ready
    # shellcheck disable=SC2016
    # Not as_user: its process is to be nsl itself.
    su -s /bin/sh user -c 'exec nsl run --network none -- sh -c "echo ready; sleep 1234"' >/var/ready &
    until_true grep -q ready /var/ready
    kill -9 $!
    status 137 wait $!
}

# --- who is who ----------------------------------------------------------------------------------------------------

sandboxes_are_nested() {
    nested="nsl run --network none --nested"
    # As root it comes with ids of its own, which not every kernel can give here: see below.
    is "$($nested --userns host -- $nested -- nsl run --network none -- cat /proc/1/comm)" nsl-init
    is "$(as_user "$nested -- $nested -- nsl run --network none -- id -u")" 1000
}
# Those of a tmpfs can be since Linux 6.3.
owners_that_cannot_be_shifted_are_told() {
    if nsl run --network none --userns auto -- true 2>/var/told; then
        [ "$(uname -r | cut -d . -f 1-2 | tr . ' ' | awk '{ print $1 * 100 + $2 }')" -ge 603 ]
    else
        grep -q 'cannot shift the owners in /: Invalid argument (hint: ' /var/told
        status 125 nsl run --network none --nested -- true 2>/var/told
        grep -q 'hint: .*: use --userns host)' /var/told
    fi
}
# The kernel's tmpfs has attributes of users since 6.6: without them, /run and /tmp are covered.
root_has_ids_of_its_own() {
    is "$(unshare -m sh -ec '
        mount --make-rprivate /
        mkdir -p /var/disk
        mount -t ext4 /dev/nvme0n1 /var/disk
        cd /var/disk
        mkdir old bin proc sys dev run tmp home
        cp -a $(ls -d /bin/* | grep -v /nsl) bin
        cp -a /etc .
        touch run/hidden tmp/hidden
        for name in proc sys dev; do mount --rbind /$name $name; done
        # In a chroot no user namespace can be made.
        pivot_root . old
        exec /old/bin/nsl run --network none --userns auto -- sh -c "
            id -u; stat -c %u /etc/passwd; chown 5 /etc/passwd; stat -c %u /etc/passwd
            ls -A /run /tmp; stat -c %a /run /tmp; echo new >/tmp/new; cat /tmp/new"')" \
        "$(printf '0\n0\n5\n/run:\n\n/tmp:\n755\n1777\nnew')"
}

# --- the kernel ----------------------------------------------------------------------------------------------------

kernel_complained_of_nothing() {
    if dmesg | grep -E 'BUG:|WARNING:|Oops|segfault|general protection|unregister_netdevice'; then return 1; fi
}

links_before=$(links)
mounts_before=$(mounts)
echo "# Linux $(uname -r), up since $(cut -d ' ' -f 1 /proc/uptime) s"
check "the machine's PID 1 is nsl-init" machine_runs_nsl_init
check "the machine has cgroup2 alone and shared mounts" machine_has_cgroup2
check "nsl-init reaps the machine's orphans" init_reaps_orphans_of_the_machine
check "a command succeeds" true_succeeds
check "the command's status is forwarded" status_is_forwarded
check "the command is alone in its world" command_is_alone
check "the command is confined" command_is_confined
check "Landlock restricts what it can" landlock_restricts_what_it_can
check "the root is copied on write" root_is_copied_on_write
check "the root can be a directory" root_can_be_a_directory
check "volumes are seen, read-only where asked" volumes_are_seen
check "a terminal is one of the sandbox's own" terminal_is_of_the_sandbox
check "signals are forwarded" signals_are_forwarded
check "the network has addresses and a route" network_has_addresses_and_a_route
check "the network reaches beyond the host" network_reaches_beyond_the_host
check "the article's example works" example_of_the_article
check "a killed launcher leaves nothing" killed_launcher_leaves_nothing
check "200 sandboxes in a row leave nothing" many_leave_nothing
check "an ordinary user runs a command" user_runs_a_command
check "an ordinary user writes to a copy" user_writes_to_a_copy
check "an ordinary user has a terminal" user_has_a_terminal
check "a killed launcher of a user leaves nothing" killed_launcher_of_a_user_leaves_nothing
check "sandboxes are nested three deep, also a user's" sandboxes_are_nested
check "owners that cannot be shifted are told" owners_that_cannot_be_shifted_are_told
check "root inside has ids of its own" root_has_ids_of_its_own
check "the kernel complained of nothing" kernel_complained_of_nothing
summary
[ "$failed" = 0 ]
