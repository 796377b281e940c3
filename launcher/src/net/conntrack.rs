//! Flows of UDP that the kernel remembers as they were before a sandbox published a port, or that still lead to one that
//! has ended: they are forgotten, or their packets would go the old way for as long as they come. Connections of TCP
//! need that not: they end with their sockets, and the kernel sees them end.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`. The kernel picks out by `CTA_FILTER` what it tells
//! (Linux 5.8; an older one tells all), and deletes one by one: it deletes by such a filter only since 6.11.

use super::nftables::{Message, ask, connect, error_of, exchange, message};
use super::plan::Addresses;
use super::publish::{Port, Protocol};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol as Number, Tuple,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem};
use nix::errno::Errno;
use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLM_F_DUMP, NetlinkPayload, Nla};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// So many are deleted by one request, which a socket's buffer must take.
const AT_ONCE: usize = 1000;
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
    let ports: Vec<_> = ports.iter().filter(|port| port.protocol == Protocol::Udp).collect();
    let mut numbers: Vec<_> = ports.iter().map(|port| port.host).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return;
    }
    let mut locals = HashMap::new();
    let mut is_local = |address| *locals.entry(address).or_insert_with(|| UdpSocket::bind((address, 0)).is_ok());
    let mut is_meant = |(address, number): (IpAddr, u16)| {
        numbers.binary_search(&number).is_ok()
            && ports.iter().any(|port| port.host == number && port.is_of(address))
            // What goes out through this host to the same port elsewhere is none of these.
            && is_local(address)
    };
    let mut wanted = vec![ProtoTuple::Protocol(Number::Udp)];
    let mut flags = BY_PROTOCOL;
    if let [port] = numbers[..] {
        wanted.push(ProtoTuple::DestinationPort(port));
        flags |= BY_DESTINATION_PORT;
    }
    let tuple = ConntrackAttribute::CtaTupleOrig(vec![Tuple::Proto(wanted)]);
    told("of published ports", |socket| {
        let mut forgotten = 0;
        // The kernel filters those of one version of IP at a time.
        let families = [
            (NetfilterProtoFamily::IPv4, Port::is_of_ipv4 as fn(&Port) -> bool),
            (NetfilterProtoFamily::IPv6, Port::is_of_ipv6),
        ];
        for (family, _) in families.into_iter().filter(|(_, is_of)| ports.iter().any(|port| is_of(port))) {
            let filter = (tuple.clone(), ORIGINAL, flags);
            forgotten += forget(socket, family, &filter, |flow| flow.goes_to().is_some_and(&mut is_meant))?;
        }
        Ok(forgotten)
    });
}

/// Forgets what leads to the sandbox, if these ports did.
pub(super) fn forget_after(ports: &[Port], addresses: Addresses) {
    if ports.iter().all(|port| port.protocol != Protocol::Udp) {
        return;
    }
    told("to the sandbox", |socket| {
        let mut forgotten = 0;
        for address in addresses.own() {
            let family = if address.is_ipv4() { NetfilterProtoFamily::IPv4 } else { NetfilterProtoFamily::IPv6 };
            let tuple = ConntrackAttribute::CtaTupleReply(vec![Tuple::Ip(vec![IPTuple::SourceAddress(address)])]);
            forgotten += forget(socket, family, &(tuple, REPLY, BY_SOURCE), |flow| flow.answers_from(address))?;
        }
        Ok(forgotten)
    });
}

/// Nothing depends on it but the packets of such flows.
fn told(which: &str, work: impl FnOnce(&OwnedFd) -> io::Result<usize>) {
    let start = Instant::now();
    match connect().and_then(|socket| work(&socket)) {
        Ok(count) => tracing::debug!("forgot {count} flows {which} in {:?}", start.elapsed()),
        Err(error) => tracing::debug!("cannot forget flows {which}: {error}"),
    }
}

/// Forgets those that are meant, of those that the filter picks out; says how many they were.
fn forget(
    socket: &OwnedFd,
    family: NetfilterProtoFamily,
    (tuple, direction, flags): &(ConntrackAttribute, u16, u32),
    mut is_meant: impl FnMut(&Flow) -> bool,
) -> io::Result<usize> {
    let filter = DefaultNla::new(*direction, flags.to_ne_bytes().to_vec());
    // An attribute that the crate does not know it would not mark as nested, as the kernel wants it here.
    let list = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::Conntrack,
        message_type: GET,
        attributes: vec![nested(tuple.kind(), &value(tuple)), nested(FILTER, &emitted(&filter))],
    };
    let mut found: Vec<_> =
        ask(socket, &mut [message(family, NLM_F_DUMP, list)])?.into_iter().filter_map(Flow::new).collect();
    found.retain(&mut is_meant);
    for some in found.chunks(AT_ONCE) {
        let mut deletions: Vec<_> = some.iter().map(Flow::deletion).collect();
        let has_failed = |error: &io::Error| error.raw_os_error() != Some(Errno::ENOENT as i32);
        // What is not there any more has ended meanwhile.
        if let Some(error) = exchange(socket, &mut deletions)?.iter().filter_map(error_of).find(has_failed) {
            return Err(error);
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
struct Flow {
    family: NetfilterProtoFamily,
    original: Vec<Tuple>,
    reply: Vec<Tuple>,
}

impl Flow {
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

    fn deletion(&self) -> Message {
        let original = ConntrackAttribute::CtaTupleOrig(self.original.clone());
        message(self.family, 0, ConntrackMessage::Delete(vec![original]))
    }

    /// The address and the port that its first packet was sent to, if it is of UDP.
    fn goes_to(&self) -> Option<(IpAddr, u16)> {
        let parts =
            self.original.iter().filter_map(|part| if let Tuple::Proto(parts) = part { Some(parts) } else { None });
        let (mut is_udp, mut port) = (false, None);
        for part in parts.flatten() {
            match part {
                ProtoTuple::Protocol(protocol) => is_udp = *protocol == Number::Udp,
                ProtoTuple::DestinationPort(number) => port = Some(*number),
                _ => {}
            }
        }
        let address = addresses(&self.original).find_map(|part| match part {
            IPTuple::DestinationAddress(address) => Some(*address),
            _ => None,
        });
        if is_udp { address.zip(port) } else { None }
    }

    fn answers_from(&self, address: IpAddr) -> bool {
        addresses(&self.reply).any(|part| *part == IPTuple::SourceAddress(address))
    }
}

fn addresses(tuple: &[Tuple]) -> impl Iterator<Item = &IPTuple> {
    tuple.iter().filter_map(|part| if let Tuple::Ip(parts) = part { Some(parts) } else { None }).flatten()
}
