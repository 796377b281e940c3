//! Connections that the kernel remembers as they were before a sandbox published a port, or that still lead to one that
//! has ended: they are forgotten, or their packets would go the old way for as long as they come.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`. The kernel picks out by `CTA_FILTER` what it tells
//! (Linux 5.8; an older one tells all), and deletes one by one: it deletes by such a filter only since 6.11.

use super::nftables::{Message, ask, connect, message};
use super::plan::Addresses;
use super::publish::{Port, Protocol};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol as Number, Tuple,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem};
use nix::errno::Errno;
use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP, NetlinkPayload, Nla};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// `IPCTNL_MSG_CT_GET`.
const GET: u8 = 1;
/// `CTA_FILTER`, and in it `CTA_FILTER_ORIG_FLAGS` and `CTA_FILTER_REPLY_FLAGS`.
const FILTER: u16 = 25;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
/// What a filter goes by (`CTA_FILTER_F_*`).
const BY_SOURCE: u32 = 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;

/// Forgets what came for these ports while they led nowhere, or elsewhere.
pub(super) fn forget_before(ports: &[Port]) {
    let work = |socket: &OwnedFd| {
        let mut locals = HashMap::new();
        let mut is_local = |address| *locals.entry(address).or_insert_with(|| UdpSocket::bind((address, 0)).is_ok());
        let mut forgotten = 0;
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let of_protocol = || ports.iter().filter(|port| port.protocol == protocol);
            let mut numbers: Vec<_> = of_protocol().map(|port| port.host).collect();
            numbers.sort_unstable();
            let Some(first) = numbers.first() else { continue };
            let one = numbers.last() == Some(first);
            let mut wanted = vec![ProtoTuple::Protocol(Number::from(protocol.number()))];
            wanted.extend(one.then_some(ProtoTuple::DestinationPort(*first)));
            let flags = BY_PROTOCOL | if one { BY_DESTINATION_PORT } else { 0 };
            // The kernel filters those of one version of IP at a time.
            for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
                let tuple = ConntrackAttribute::CtaTupleOrig(vec![Tuple::Proto(wanted.clone())]);
                forgotten += forget(socket, family, (tuple, ORIGINAL, flags), |connection| {
                    // What goes out through this host to the same port elsewhere is none of these.
                    connection.goes_to(protocol).is_some_and(|(address, number)| {
                        numbers.binary_search(&number).is_ok()
                            && of_protocol().any(|port| port.host == number && port.is_of(address))
                            && is_local(address)
                    })
                })?;
            }
        }
        Ok(forgotten)
    };
    told("of published ports", work);
}

/// Forgets what leads to the sandbox.
pub(super) fn forget_after(addresses: Addresses) {
    let work = |socket: &OwnedFd| {
        let mut forgotten = 0;
        for address in addresses.inside() {
            let family = if address.is_ipv4() { NetfilterProtoFamily::IPv4 } else { NetfilterProtoFamily::IPv6 };
            let tuple = ConntrackAttribute::CtaTupleReply(vec![Tuple::Ip(vec![IPTuple::SourceAddress(address)])]);
            let filter = (tuple, REPLY, BY_SOURCE);
            forgotten += forget(socket, family, filter, |connection| connection.answers_from(address))?;
        }
        Ok(forgotten)
    };
    told("to the sandbox", work);
}

/// Nothing depends on it but the packets of such connections.
fn told(which: &str, work: impl FnOnce(&OwnedFd) -> io::Result<usize>) {
    let start = Instant::now();
    match connect().and_then(|socket| work(&socket)) {
        Ok(count) => tracing::debug!("forgot {count} connections {which} in {:?}", start.elapsed()),
        Err(error) => tracing::debug!("cannot forget connections {which}: {error}"),
    }
}

/// Forgets those that are meant, of those that the filter picks out; says how many they were.
fn forget(
    socket: &OwnedFd,
    family: NetfilterProtoFamily,
    (tuple, direction, flags): (ConntrackAttribute, u16, u32),
    mut is_meant: impl FnMut(&Connection) -> bool,
) -> io::Result<usize> {
    let filter = DefaultNla::new(direction, flags.to_ne_bytes().to_vec());
    // An attribute that the crate does not know it would not mark as nested, as the kernel wants it here.
    let list = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::Conntrack,
        message_type: GET,
        attributes: vec![nested(tuple.kind(), &value(&tuple)), nested(FILTER, &emitted(&filter))],
    };
    let list = message(family, NLM_F_DUMP, list);
    let mut found: Vec<_> = ask(socket, &mut [list])?.into_iter().filter_map(Connection::new).collect();
    found.retain(&mut is_meant);
    for Connection { family, original, .. } in &found {
        let deletion = ConntrackMessage::Delete(vec![ConntrackAttribute::CtaTupleOrig(original.clone())]);
        match ask(socket, &mut [message(*family, NLM_F_ACK, deletion)]) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
            result => drop(result?),
        }
    }
    Ok(found.len())
}

fn nested(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind | NLA_F_NESTED, value.to_vec())
}

fn value(attribute: &impl Nla) -> Vec<u8> {
    let mut bytes = vec![0; attribute.value_len()];
    attribute.emit_value(&mut bytes);
    bytes
}

fn emitted(attribute: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

/// One that the kernel has told of.
struct Connection {
    family: NetfilterProtoFamily,
    original: Vec<Tuple>,
    reply: Vec<Tuple>,
}

impl Connection {
    fn new(message: Message) -> Option<Self> {
        let NetlinkPayload::InnerMessage(NetfilterMessage { header, inner, .. }) = message.payload else { return None };
        let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = inner else { return None };
        let (mut original, mut reply) = (Vec::new(), Vec::new());
        for attribute in attributes {
            match attribute {
                ConntrackAttribute::CtaTupleOrig(tuple) => original = tuple,
                ConntrackAttribute::CtaTupleReply(tuple) => reply = tuple,
                _ => {}
            }
        }
        Some(Self { family: header.family, original, reply })
    }

    /// The address and the port that it was made to, if it is of this protocol.
    fn goes_to(&self, protocol: Protocol) -> Option<(IpAddr, u16)> {
        let parts = self.original.iter().filter_map(|tuple| match tuple {
            Tuple::Proto(parts) => Some(parts),
            _ => None,
        });
        let parts: Vec<_> = parts.flatten().collect();
        let port = parts.iter().find_map(|part| match part {
            ProtoTuple::DestinationPort(port) => Some(*port),
            _ => None,
        });
        let is_of = parts.contains(&&ProtoTuple::Protocol(Number::from(protocol.number())));
        let address = addresses(&self.original).find_map(|part| match part {
            IPTuple::DestinationAddress(address) => Some(*address),
            _ => None,
        });
        if is_of { address.zip(port) } else { None }
    }

    fn answers_from(&self, address: IpAddr) -> bool {
        addresses(&self.reply).any(|part| *part == IPTuple::SourceAddress(address))
    }
}

fn addresses(tuple: &[Tuple]) -> impl Iterator<Item = &IPTuple> {
    let of = |tuple| match tuple {
        &Tuple::Ip(ref parts) => Some(parts),
        _ => None,
    };
    tuple.iter().filter_map(of).flatten()
}
