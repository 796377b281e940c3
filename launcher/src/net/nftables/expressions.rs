//! What rules are made of: conditions, statements, verdicts. Each is a phrase of a few expressions, by way of register 1,
//! and most are what nft(8) makes of its own words, so that it prints them as one would write them.

use super::sets::Type;
use super::{number, text};
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, Expressions, Immediate, Lookup, Meta, MetaKey, Operator, Payload, Register, Verdict,
    VerdictAttribute,
};
use rtnetlink::packet_core::DefaultNla;
use std::net::IpAddr;
use std::ops::RangeInclusive;

pub(in crate::net) type Phrase = Vec<Expressions>;

/// `NF_DROP` and `NF_ACCEPT`: verdicts.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// `IPPROTO_TCP` and `IPPROTO_ICMPV6`.
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// `NFT_PAYLOAD_NETWORK_HEADER` and `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// Where a port is the destination in the headers of TCP and UDP, and how long it is.
const DESTINATION_PORT: (u32, u32) = (2, 2);
/// The name of a device with the zeroes behind it (`IFNAMSIZ`).
const NAME_MAX: usize = 16;
/// `RTN_LOCAL`: an address of this host's own.
const LOCAL: u32 = 2;
/// The state of a packet's connection (`NF_CT_STATE_BIT`).
pub(in crate::net) const ESTABLISHED: u32 = 2;
pub(in crate::net) const RELATED: u32 = 4;
pub(in crate::net) const NEW: u32 = 8;
/// Its status: the destination was changed (`IPS_DST_NAT`).
pub(in crate::net) const DESTINATION_CHANGED: u32 = 0x20;

/// One of the two addresses of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) enum End {
    Source,
    Destination,
}

/// The device at `key` has a name that starts, or does not start, with `prefix`.
pub(in crate::net) fn name_starts(key: MetaKey, is: Operator, prefix: &str) -> Phrase {
    vec![load(key), compare(is, prefix.as_bytes())]
}

/// The device at `key` is, or is not, called so.
pub(in crate::net) fn name_is(key: MetaKey, is: Operator, name: &str) -> Phrase {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(NAME_MAX, 0);
    vec![load(key), compare(is, &bytes)]
}

/// What is at `key`, a number such as a mark or a group, is, or is not, `value` in the bits of `mask`.
pub(in crate::net) fn bits(key: MetaKey, mask: u32, is: Operator, value: u32) -> Phrase {
    vec![load(key), mask_number(mask, 0), compare(is, &value.to_ne_bytes())]
}

/// Sets these bits of the packet's mark.
pub(in crate::net) fn mark(bits: u32) -> Phrase {
    change_mark(!bits, bits)
}

/// Clears these bits of the packet's mark.
pub(in crate::net) fn unmark(bits: u32) -> Phrase {
    change_mark(!bits, 0)
}

fn change_mark(keep: u32, set: u32) -> Phrase {
    let store = Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::SourceRegister(Register::Reg1)]);
    vec![load(MetaKey::Mark), mask_number(keep, set), store]
}

/// The packet's connection is in one of these states: `ESTABLISHED | RELATED`.
pub(in crate::net) fn connection_is(states: u32) -> Phrase {
    connection(0, states)
}

/// The connection has this status.
pub(in crate::net) fn connection_has(status: u32) -> Phrase {
    connection(2, status)
}

/// `NFTA_CT_DREG` and `NFTA_CT_KEY`.
fn connection(key: u32, bits: u32) -> Phrase {
    let load = other("ct", vec![number(1, 1), number(2, key)]);
    vec![load, mask_number(bits, 0), compare(Operator::NotEqual, &[0; 4])]
}

/// The packet is of IPv4.
pub(in crate::net) fn is_ipv4() -> Phrase {
    vec![load(MetaKey::Nfproto), compare(Operator::Equal, &[IPV4])]
}

/// The packet is of IPv6.
pub(in crate::net) fn is_ipv6() -> Phrase {
    vec![load(MetaKey::Nfproto), compare(Operator::Equal, &[IPV6])]
}

/// An address of the packet is, or is not, in the network of `address` with this prefix; the packet is of its version of
/// IP.
pub(in crate::net) fn address(end: End, is: Operator, address: IpAddr, prefix: u8) -> Phrase {
    let (version, bytes) = match address {
        IpAddr::V4(address) => (is_ipv4(), address.octets().to_vec()),
        IpAddr::V6(address) => (is_ipv6(), address.octets().to_vec()),
    };
    if prefix == 0 {
        return version;
    }
    let mask: Vec<u8> = (0..bytes.len() as u32).map(|byte| mask_of_byte(prefix, byte)).collect();
    let network: Vec<u8> = bytes.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
    let offset = offset_of(end, bytes.len() as u32);
    // Whole bytes need no mask, which nft(8) knows too.
    let whole = usize::from(prefix / 8);
    let condition = if prefix.is_multiple_of(8) {
        vec![payload(NETWORK_HEADER, offset, whole as u32, 0), compare(is, &network[..whole])]
    } else {
        let load = payload(NETWORK_HEADER, offset, bytes.len() as u32, 0);
        vec![load, mask_bytes(&mask, &vec![0; bytes.len()]), compare(is, &network)]
    };
    [version, condition].concat()
}

fn mask_of_byte(prefix: u8, byte: u32) -> u8 {
    let bits = u32::from(prefix).saturating_sub(8 * byte).min(8);
    !(0xff_u8.checked_shr(bits).unwrap_or(0))
}

/// Where an address of this many bytes stands in its header.
fn offset_of(end: End, length: u32) -> u32 {
    match (end, length) {
        (End::Source, 4) => 12,
        (End::Destination, 4) => 16,
        (End::Source, _) => 8,
        (End::Destination, _) => 24,
    }
}

/// The packet is of this protocol (`IPPROTO_TCP`), and goes to one of these ports.
pub(in crate::net) fn to_ports(protocol: u8, ports: &RangeInclusive<u16>) -> Phrase {
    let (offset, length) = DESTINATION_PORT;
    let mut phrase = is_protocol(protocol);
    phrase.push(payload(TRANSPORT_HEADER, offset, length, 0));
    phrase.extend(within(&ports.start().to_be_bytes(), &ports.end().to_be_bytes()));
    phrase
}

pub(in crate::net) fn is_protocol(protocol: u8) -> Phrase {
    vec![load(MetaKey::L4Proto), compare(Operator::Equal, &[protocol])]
}

pub(in crate::net) fn is_tcp() -> Phrase {
    is_protocol(TCP)
}

/// The packet is of ICMPv6, and of one of these types.
pub(in crate::net) fn icmpv6(types: &RangeInclusive<u8>) -> Phrase {
    let kind = vec![payload(TRANSPORT_HEADER, 0, 1, 0)];
    [is_ipv6(), is_protocol(ICMPV6), kind, within(&[*types.start()], &[*types.end()])].concat()
}

fn within(first: &[u8], last: &[u8]) -> Phrase {
    if first == last {
        return vec![compare(Operator::Equal, first)];
    }
    vec![compare(Operator::GreatherThanEqual, first), compare(Operator::LessThanEqual, last)]
}

/// The packet is for an address of this host's own.
pub(in crate::net) fn is_for_this_host() -> Phrase {
    // Of the destination (2), the type of the address (3).
    vec![route(2, 3), compare(Operator::Equal, &LOCAL.to_ne_bytes())]
}

/// An answer to the packet's source would, or would not, leave by the device that the packet came in by.
pub(in crate::net) fn is_rightly_from(is: bool) -> Phrase {
    // Of the source by the incoming device (1 and 8), the device (1), and of that whether there is one (32).
    vec![route(1 | 8 | 32, 1), compare(Operator::Equal, &u32::from(is).to_ne_bytes())]
}

/// `NFTA_FIB_DREG`, `NFTA_FIB_RESULT` and `NFTA_FIB_FLAGS`.
fn route(flags: u32, result: u32) -> Expressions {
    other("fib", vec![number(1, 1), number(2, result), number(3, flags)])
}

/// What is at these keys, in this order, stands in a set: groups of devices, for one.
pub(in crate::net) fn in_set(keys: &[MetaKey], set: &str) -> Phrase {
    let mut phrase: Phrase = keys.iter().zip(0..).map(|(key, place)| load_to(*key, place)).collect();
    phrase.push(Expressions::Lookup(vec![Lookup::Set(set.to_owned()), Lookup::SourceRegister(Register::Reg1)]));
    phrase
}

/// Changes the destination to that which a map has for the packet's protocol and port, behind its destination where
/// `bound`. `version` is that of both destinations.
pub(in crate::net) fn redirect(version: Type, bound: bool, map: &str) -> Phrase {
    let family = if version == Type::Ipv6 { IPV6 } else { IPV4 };
    let bytes = 4 * version.registers();
    let after = if bound { version.registers() } else { 0 };
    let (offset, length) = DESTINATION_PORT;
    let mut phrase = vec![load(MetaKey::Nfproto), compare(Operator::Equal, &[family])];
    if bound {
        phrase.push(payload(NETWORK_HEADER, offset_of(End::Destination, bytes), bytes, 0));
    }
    phrase.extend([
        load_to(MetaKey::L4Proto, after),
        payload(TRANSPORT_HEADER, offset, length, after + 1),
        Expressions::Lookup(vec![
            Lookup::Set(map.to_owned()),
            Lookup::SourceRegister(Register::Reg1),
            Lookup::DestinationRegister(Register::Reg1),
        ]),
        // NFTA_NAT_TYPE (1: of destinations), _FAMILY, _REG_ADDR_MIN, _REG_PROTO_MIN.
        other(
            "nat",
            vec![number(1, 1), number(2, family.into()), number(3, 1), number(5, place(version.registers()).into())],
        ),
    ]);
    phrase
}

pub(in crate::net) fn accept() -> Phrase {
    vec![verdict(ACCEPT)]
}

pub(in crate::net) fn drop_packet() -> Phrase {
    vec![verdict(DROP)]
}

fn verdict(code: u32) -> Expressions {
    let verdict = VerdictAttribute::Code(Verdict::Other(code));
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![verdict])),
    ])
}

/// Drops the packet, and tells its sender that it is forbidden (`NFT_REJECT_ICMPX_ADMIN_PROHIBITED`).
pub(in crate::net) fn reject() -> Phrase {
    vec![other("reject", vec![number(1, 2), DefaultNla::new(2, vec![3])])]
}

/// Drops the packet, one of TCP, and resets its connection.
pub(in crate::net) fn reset() -> Phrase {
    vec![other("reject", vec![number(1, 1), DefaultNla::new(2, vec![0])])]
}

pub(in crate::net) fn masquerade() -> Phrase {
    vec![other("masq", Vec::new())]
}

/// Counts the packet in a counter of the table.
pub(in crate::net) fn count_in(counter: &str) -> Phrase {
    // NFTA_OBJREF_IMM_TYPE (1: a counter) and _IMM_NAME.
    vec![other("objref", vec![number(1, 1), text(2, counter)])]
}

fn other(kind: &str, attributes: Vec<DefaultNla>) -> Expressions {
    Expressions::Other { expression_type: kind.to_owned(), attributes }
}

fn load(key: MetaKey) -> Expressions {
    load_to(key, 0)
}

fn load_to(key: MetaKey, register: u32) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(place(register))])
}

/// One of the registers of 32 bits, of which the first four are register 1.
fn place(register: u32) -> Register {
    (u32::from(Register::Reg32_00) + register).into()
}

fn payload(base: u32, offset: u32, length: u32, register: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(place(register)),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

fn compare(operator: Operator, with: &[u8]) -> Expressions {
    let data = Cmp::Data(DataAttribute::Value(with.to_vec()));
    Expressions::Cmp(vec![Cmp::SourceRegister(Register::Reg1), Cmp::Op(operator), data])
}

fn mask_number(mask: u32, xor: u32) -> Expressions {
    mask_bytes(&mask.to_ne_bytes(), &xor.to_ne_bytes())
}

fn mask_bytes(mask: &[u8], xor: &[u8]) -> Expressions {
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(mask.len() as u32),
        Bitwise::Mask(DataAttribute::Value(mask.to_vec())),
        Bitwise::Xor(DataAttribute::Value(xor.to_vec())),
    ])
}
