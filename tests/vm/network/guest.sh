#!/bin/sh
# Runs inside the virtual machine of scenarios/network.sh, as the command of the machine's own PID 1: all it has is
# busybox, nsl and nsl-init. What the kernel lacks is told in one line; what it has, works. Nothing here waits without a
# bound.

. /guest/checks.sh
export PATH=/bin

links() { (cd /sys/class/net && echo *); }
as_before() { [ "$(links)" = "$links_before" ] && [ -z "$(zombies)" ]; }
nothing_left() {
    until_true as_before >/dev/null || {
        echo "links: $(links); zombies: $(zombies)"
        return 1
    }
}

# A module that is not installed: its file is moved away, and back.
modules=/lib/modules/$(uname -r)
hide() { for name; do find $modules -name "$name.ko*" -exec mv {} /var/ \; ; done; }
bring_back() { for name; do mv /var/"$name".ko* "$(dirname $modules/"$(grep -o "^[^:]*/$name.ko" $modules/modules.dep)")"; done; }

# says_one_line WORDS...: of all that was said on stderr, one line with all of these.
says_one_line() {
    cat /var/said
    is "$(wc -l </var/said)" 1
    for words; do grep -qF "$words" /var/said; done
}

machine_has_no_ipv6() { [ ! -e /proc/net/if_inet6 ] && [ ! -e /proc/sys/net/ipv6 ]; }

without_veth_a_pair_is_refused() {
    status 125 nsl run -- true 2>/var/said
    says_one_line "nsl: cannot make the veth pair" "try modprobe veth, or --network none"
    status 0 nsl run --network none -- true
}
without_nf_tables_there_is_the_host() {
    # shellcheck disable=SC2016
    nsl run --cap-add NET_RAW -- sh -c 'ping -c 1 -W 5 $(ip route | sed -n "s/^default via \([0-9.]*\).*/\1/p")' 2>/var/said
    says_one_line "nsl: warning: cannot make the nftables table inet nsl" "reaches this host only"
}
# What takes rules is not run without them.
without_nf_tables_what_takes_rules_is_refused() {
    for options in "--network veth:web" --internal; do
        # shellcheck disable=SC2086
        status 125 nsl run $options -- true 2>/var/said
        says_one_line "cannot make the nftables table inet nsl" "modprobe nf_tables"
    done
    is "$(nsl clean 2>&1 | head -n 1)" "there is no nftables table inet nsl"
}

without_ipv6_there_is_ipv4() {
    nsl run -- sh -c 'ip address; ip route' >/var/inside 2>/var/said
    cat /var/said /var/inside
    [ ! -s /var/said ]
    grep -q 'inet 10\.' /var/inside
    grep -q '^default via 10\.' /var/inside
    if grep -q inet6 /var/inside; then return 1; fi
}
without_ipv6_an_address_of_it_is_refused() {
    status 125 nsl run --ip fd00:1::2/64 -- true 2>/var/said
    says_one_line "nsl: cannot give eth0 the address fd00:1::2/64: this host has no IPv6"
}

other_network() { [ "$(readlink /proc/"$1"/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
# A host beyond this one, 10.9.0.2, which knows no way back to a sandbox.
make_beyond() {
    unshare -n sleep 600 &
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
}
listens() { grep -q "^ *[0-9]*: 00000000:$(printf %04X "$2") .* 0A " /proc/"$1"/net/tcp; }
# Enough to see what the rules do to it.
network_reaches_beyond_the_host() {
    head -c 10000000 /dev/urandom >/var/sent
    nsenter -t $beyond -n nc -l -p 7000 -e cat /var/sent &
    until_true listens $beyond 7000
    is "$(nsl run -- sh -c 'nc -w 5 10.9.0.2 7000 </dev/null | md5sum')" "$(md5sum </var/sent)"
}
published_port_leads_inside() {
    nsl run -p 8000:7001 -p 127.0.0.1:8001:7001 -- sh -c 'for _ in 1 2; do nc -l -p 7001 -e echo inside; done' &
    sandbox=$!
    ask() { for _ in $(seq 50); do "$@" </dev/null 2>/dev/null && return; sleep 0.1; done; }
    is "$(ask nsenter -t $beyond -n nc -w 5 10.9.0.1 8000)" inside
    is "$(ask nc -w 5 127.0.0.1 8001)" inside
    status 0 wait $sandbox
}
egress_list_holds() {
    for port in 7002 7003; do
        nsenter -t $beyond -n nc -l -p $port -e echo $port &
        until_true listens $beyond $port
    done
    # shellcheck disable=SC2016
    is "$(nsl run --egress 10.9.0.2:7002 -- sh -c 'for port in 7003 7002; do
        nc -w 3 10.9.0.2 $port </dev/null 2>/dev/null || echo refused; done')" "$(printf 'refused\n7002')"
    kill $!
}
the_table_is_removed() {
    is "$(nsl clean | head -n 1)" "removed the nftables table inet nsl"
    nsl run -- true
}

kernel_complained_of_nothing() {
    if dmesg | grep -E 'BUG:|WARNING:|Oops|segfault|general protection|unregister_netdevice'; then return 1; fi
}

first_links=$(links)
links_before=$first_links
echo "# Linux $(uname -r), up since $(cut -d ' ' -f 1 /proc/uptime) s"
check "the machine has no IPv6" machine_has_no_ipv6
hide veth nf_tables
check "without veth a pair is refused" without_veth_a_pair_is_refused
bring_back veth
check "without nf_tables there is the host" without_nf_tables_there_is_the_host
check "without nf_tables what takes rules is refused" without_nf_tables_what_takes_rules_is_refused
bring_back nf_tables
check "without IPv6 there is IPv4" without_ipv6_there_is_ipv4
check "without IPv6 an address of it is refused" without_ipv6_an_address_of_it_is_refused
make_beyond
links_before=$(links)
check "the network reaches beyond the host" network_reaches_beyond_the_host
check "a published port leads inside" published_port_leads_inside
check "an egress list holds" egress_list_holds
kill -9 $beyond
ip link delete way
links_before="$first_links"
check "the table is removed, and made again" the_table_is_removed
check "the kernel complained of nothing" kernel_complained_of_nothing
summary
[ "$failed" = 0 ]
