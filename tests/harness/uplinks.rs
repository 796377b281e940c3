//! Networks beyond a host, in which others live: two of them, each of IPv4 and IPv6.

use super::{Host, hold, wait_until};

/// A network namespace beyond a host, behind one of its uplinks.
#[derive(Clone, Copy)]
pub struct Beyond {
    /// A process in it.
    pub pid: u32,
    /// Its addresses, and those that the host has on its side.
    pub ipv4: &'static str,
    pub ipv6: &'static str,
    pub host_ipv4: &'static str,
    pub host_ipv6: &'static str,
    /// The host's device, and the one at the other end.
    pub device: &'static str,
    pub peer: &'static str,
}

const SERVER: Beyond = Beyond {
    pid: 0,
    ipv4: "198.51.100.1",
    ipv6: "2001:db8:1::1",
    host_ipv4: "198.51.100.2",
    host_ipv6: "2001:db8:1::2",
    device: "up1",
    peer: "out1",
};

const CLIENT: Beyond = Beyond {
    pid: 0,
    ipv4: "203.0.113.1",
    ipv6: "2001:db8:2::1",
    host_ipv4: "203.0.113.2",
    host_ipv6: "2001:db8:2::2",
    device: "up2",
    peer: "out2",
};

impl Host {
    /// A server's network, to which the host has its default routes, and a client's, which it has a link to only. Both
    /// know no way back but to the host's own addresses.
    pub fn two_uplinks(&mut self) -> (Beyond, Beyond) {
        let server = self.link_to(SERVER);
        let client = self.link_to(CLIENT);
        self.sh(&format!("ip route add default via {}; ip -6 route add default via {}", server.ipv4, server.ipv6));
        self.accept();
        (server, client)
    }

    fn link_to(&mut self, beyond: Beyond) -> Beyond {
        let outside = hold(&["--net"], "ip link set lo up && echo ready && exec cat", &[]);
        let pid = outside.id();
        self.outside.push(outside);
        let Beyond { ipv4, ipv6, host_ipv4, host_ipv6, device, peer, .. } = beyond;
        let there = format!("nsenter -t {pid} -n");
        self.sh(&format!(
            "ip link add {device} type veth peer name {peer} netns {pid}
             ip link set {device} addrgenmode none
             {there} ip link set {peer} addrgenmode none
             ip addr add {host_ipv4}/24 dev {device}
             ip addr add {host_ipv6}/64 dev {device} nodad
             {there} ip addr add {ipv4}/24 dev {peer}
             {there} ip addr add {ipv6}/64 dev {peer} nodad
             ip link set {device} up
             {there} ip link set {peer} up"
        ));
        wait_until("the uplink is up", || self.sh(&format!("ip -br link show {device}")).contains(" UP "));
        Beyond { pid, ..beyond }
    }

    /// A firewall of the host's own, as a careful administrator has one: what is for the host itself is stopped, but for
    /// answers, ssh, and what IPv6 cannot do without.
    pub fn firewall(&mut self) {
        self.sh("nft 'table inet filter { chain input { type filter hook input priority 0; policy drop;
            ct state established,related accept; iif lo accept; tcp dport 22 accept;
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }; }'");
        self.accept();
    }
}
