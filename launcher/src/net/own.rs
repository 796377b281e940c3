//! The table of one sandbox's own: the ports that lead to it, and what it may reach. It is called as the device is, and
//! the kernel drops it with the socket that it was made by: with nsl, however nsl ends. In the words of nft(8):
//!
//! ```text
//! table inet nsl7 {
//!     flags owner
//!     map ports { type inet_proto . inet_service : ipv4_addr . inet_service
//!                 elements = { tcp . 8080 : 10.221.0.15 . 80 } }
//!     chain prerouting { type nat hook prerouting priority dstnat
//!         ip daddr != 127.0.0.0/8 fib daddr type local dnat ip to meta l4proto . th dport map @ports }
//!     chain output { type nat hook output priority -100
//!         fib daddr type local dnat ip to meta l4proto . th dport map @ports }
//!     chain raw { type filter hook prerouting priority raw;  iifname "nsl7" ip daddr 127.0.0.0/8 drop }
//! }
//! ```

use super::egress::{self, Permission};
use super::nftables::{
    End, Message, Phrase, Type, address, chain, commit, concatenation, connect, drop_packet, elements,
    is_for_this_host, name_is, owned_table, packets, redirect, rule, set,
};
use super::plan::Addresses;
use super::publish::Port;
use crate::error::{Error, Result};
use netlink_packet_netfilter::nftables::InetHookNumber::{LocalOut, PreRouting};
use netlink_packet_netfilter::nftables::{MetaKey, Operator};
use nix::errno::Errno;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

/// The kernel's own priorities: NAT of destinations, and before connections are known.
const DSTNAT: i32 = -100;
const RAW: i32 = -300;

/// It stands as long as this does.
pub(super) struct Table {
    socket: OwnedFd,
    name: String,
    counts: bool,
}

/// Makes the table of `device`, if there is anything to stand in it.
pub(super) fn make(
    device: &str,
    addresses: Addresses,
    ports: &[Port],
    permissions: Option<&[Permission]>,
) -> Result<Option<Table>> {
    if ports.is_empty() && permissions.is_none() {
        return Ok(None);
    }
    let mut messages = vec![owned_table(device)];
    messages.extend(published(device, addresses, ports));
    messages.extend(permissions.into_iter().flat_map(|permissions| egress::rules(device, permissions)));
    let socket = connect().and_then(|socket| commit(&socket, messages).map(|()| socket));
    let socket = socket.map_err(|error| {
        let error = Error::io(format!("make the nftables table inet {device}"), &error);
        match error.errno() {
            Some(Errno::EOPNOTSUPP) => error.hint("--publish and --egress need Linux 5.12 with nf_tables"),
            Some(Errno::E2BIG) => {
                error.hint("the kernel has places for about 1,000 sandboxes with published ports or lists")
            }
            Some(Errno::EEXIST) => error.hint("the nsl of a sandbox that has ended still has it: is it stopped?"),
            _ => error,
        }
    })?;
    Ok(Some(Table { socket, name: device.to_owned(), counts: permissions.is_some() }))
}

impl Table {
    /// How many packets found no permission; none where all have it.
    pub(super) fn refused(&self) -> Option<u64> {
        if !self.counts {
            return None;
        }
        let counted = packets(&self.socket, &self.name, egress::REFUSED);
        counted.map_err(|error| tracing::warn!("cannot read how many connections were refused: {error}")).ok()
    }
}

/// A map of one version of IP, and the ports in it.
struct Map<'a> {
    name: &'static str,
    version: Type,
    /// Its keys begin with an address.
    bound: bool,
    inside: IpAddr,
    ports: Vec<&'a Port>,
}

fn maps(addresses: Addresses, ports: &[Port]) -> Vec<Map<'_>> {
    let kinds = [
        ("ports", Type::Ipv4, false),
        ("bound", Type::Ipv4, true),
        ("ports6", Type::Ipv6, false),
        ("bound6", Type::Ipv6, true),
    ];
    let map = |(name, version, bound): (_, Type, bool)| {
        let inside = addresses.own().into_iter().find(|address| address.is_ipv6() == (version == Type::Ipv6))?;
        let is_in = |port: &&Port| {
            let is_of = if inside.is_ipv4() { port.is_of_ipv4() } else { port.is_of_ipv6() };
            is_of && port.bound().is_some() == bound
        };
        let ports: Vec<_> = ports.iter().filter(is_in).collect();
        (!ports.is_empty()).then_some(Map { name, version, bound, inside, ports })
    };
    kinds.into_iter().filter_map(map).collect()
}

/// What leads to the sandbox: of the packets that come from elsewhere, and of this host's own.
fn published(table: &str, addresses: Addresses, ports: &[Port]) -> Vec<Message> {
    if ports.is_empty() {
        return Vec::new();
    }
    let to_loopback = |is| address(End::Destination, is, Ipv4Addr::LOCALHOST.into(), 8);
    let mut messages = vec![
        chain(table, "prerouting", "nat", PreRouting, DSTNAT),
        chain(table, "output", "nat", LocalOut, DSTNAT),
        // The device takes packets of loopback addresses from now on. This one stands too when other rules are flushed.
        chain(table, "raw", "filter", PreRouting, RAW),
        rule(
            table,
            "raw",
            [name_is(MetaKey::Iifname, Operator::Equal, table), to_loopback(Operator::Equal), drop_packet()],
        ),
    ];
    for map in maps(addresses, ports) {
        let mut key = vec![Type::Protocol, Type::Port];
        if map.bound {
            key.insert(0, map.version);
        }
        messages.push(set(table, map.name, &key, &[map.version, Type::Port]));
        let all: Vec<_> = map.ports.iter().map(|port| entry(port, map.inside)).collect();
        messages.extend(elements(table, map.name, &all));
        let whose = if map.bound { Phrase::new() } else { is_for_this_host() };
        let there = redirect(map.version, map.bound, map.name);
        // Nobody out there may pass for loopback. The kernel has dropped such packets of IPv6 already.
        let elsewhere = if map.version == Type::Ipv4 { to_loopback(Operator::NotEqual) } else { Phrase::new() };
        messages.push(rule(table, "prerouting", [elsewhere, whose.clone(), there.clone()]));
        messages.push(rule(table, "output", [whose, there]));
    }
    messages
}

/// What a map has for a port.
fn entry(port: &Port, inside: IpAddr) -> (Vec<u8>, Vec<u8>) {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let address = port.bound().map(bytes).unwrap_or_default();
    let key = concatenation(&[&address, &[port.protocol.number()], &port.host.to_be_bytes()]);
    (key, concatenation(&[&bytes(inside), &port.inside.to_be_bytes()]))
}
