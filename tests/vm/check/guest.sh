#!/bin/sh
# Runs inside the second virtual machine of scenarios/check.sh, as the command of the machine's own PID 1: all it has is
# busybox, nsl and nsl-init. What nsl check says is what nsl run does.

. /guest/checks.sh
export PATH=/bin

links() { (cd /sys/class/net && echo *); }
mounts() { wc -l </proc/self/mountinfo; }
groups() { find /sys/fs/cgroup -type d -name 'nsl*'; }
forwards() { cat /proc/sys/net/ipv4/ip_forward; }
as_before() { is "$(links) $(mounts) $(groups) $(forwards)" "$before" && no_zombies; }
nothing_left() { until_true as_before >/dev/null || echo "$(links) $(mounts) $(groups) $(forwards), was $before"; }

# A module that is not installed: its file is moved away, and back.
modules=/lib/modules/$(uname -r)
hide() { for name; do find $modules -name "$name.ko*" -exec mv {} /var/ \; ; done; }
bring_back() { for name; do mv /var/"$name".ko* "$(dirname $modules/"$(grep -o "^[^:]*/$name.ko" $modules/modules.dep)")"; done; }

# line NAME VERDICT WORDS: what nsl check said of NAME.
line() {
    grep -E "^$2 +$1 " /var/said | grep -F -e "$3" || {
        cat /var/said
        return 1
    }
}
as_user() { su -s /bin/sh user -c "$1"; }

without_veth_no_network_is_made() {
    status 1 nsl check >/var/said
    line sandbox ok "starts, and ends"
    line network missing "modprobe veth"
    status 125 nsl run -- true
}
without_nf_tables_there_is_the_host() {
    status 0 nsl check >/var/said
    line network ok "veth"
    line nftables limited "modprobe nf_tables"
    tail -n 1 /var/said | grep "^nsl run works here; not: .*the way out"
}
root_is_told_what_there_is() {
    status 0 nsl check >/var/said
    line user ok root
    line root ok overlay
    line nftables ok NAT
    line forwarding ok "switches net.ipv4.ip_forward on"
    line ipv6 absent "no IPv6"
    line names limited "--dns"
    line limits ok "in cgroups below /"
    line systemd absent "does not run"
}
user_is_told_what_there_is() {
    status 0 as_user "nsl check" >/var/said
    line user ok "1000, without root"
    line namespaces ok "can be made"
    line network limited "apt install passt"
    line limits limited "is not yours to change"
    line states limited XDG_RUNTIME_DIR
}
users_limit_of_namespaces_is_told() {
    echo 0 >/proc/sys/user/max_user_namespaces
    status 1 as_user "nsl check" >/var/said
    line namespaces missing "user.max_*_namespaces"
    status 125 as_user "nsl run -- true"
    # Root needs none.
    status 0 nsl check >/var/said
    line namespaces limited "user.max_*_namespaces"
    echo 1000 >/proc/sys/user/max_user_namespaces
}
what_starts_is_told_from_inside() {
    status 0 nsl run --network none --nested --userns host -- nsl check >/var/said
    line sandbox ok "starts, and ends"
    status 1 nsl run --network none -- nsl check >/var/said
    line namespaces missing "--nested"
}
kernel_complained_of_nothing() {
    if dmesg | grep -E 'BUG:|WARNING:|Oops|segfault|general protection|unregister_netdevice'; then return 1; fi
}

before="$(links) $(mounts) $(groups) $(forwards)"
echo "# Linux $(uname -r), up since $(cut -d ' ' -f 1 /proc/uptime) s"
hide veth nf_tables
check "without veth no network is made" without_veth_no_network_is_made
bring_back veth
check "without nf_tables there is the host" without_nf_tables_there_is_the_host
bring_back nf_tables
check "root is told what there is" root_is_told_what_there_is
check "an ordinary user is told what there is" user_is_told_what_there_is
check "a limit of namespaces is told" users_limit_of_namespaces_is_told
check "from inside it tells what the outer one gives" what_starts_is_told_from_inside
check "the kernel complained of nothing" kernel_complained_of_nothing
summary
[ "$failed" = 0 ]
