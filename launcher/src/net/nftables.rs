//! Words of `nf_tables`' netlink protocol: messages, transactions, rules. What nsl's rules are stands in nat.rs.
//!
//! Source: `include/uapi/linux/netfilter/nf_tables.h`; nft(8) prints what `nft --debug=netlink` sends.

use super::socket::{MESSAGE_MAX, open};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, Immediate, InetHookNumber, Meta, MetaKey,
    NfTablesMessage, Operator, Payload, Register, RuleAttribute, RuleMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io;
use std::os::fd::OwnedFd;

pub(super) type Message = NetlinkMessage<NetfilterMessage>;

/// `NFNL_SUBSYS_NFTABLES`: whom a transaction is for.
const NFTABLES: u16 = 10;
/// `NF_DROP` and `NF_ACCEPT`: verdicts of rules, policies of chains.
const DROP: u32 = 0;
pub(super) const ACCEPT: u32 = 1;
/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// `NFT_PAYLOAD_NETWORK_HEADER`, and where the destination stands in an IPv4 header.
const NETWORK_HEADER: u32 = 1;
const IPV4_DESTINATION: u32 = 16;

/// A socket of the network namespace of this thread.
pub(super) fn connect() -> io::Result<OwnedFd> {
    open(Some(rustix::net::netlink::NETFILTER))
}

pub(super) fn message(family: NetfilterProtoFamily, flags: u16, inner: NfTablesMessage) -> Message {
    let mut message = NetlinkMessage::from(NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner));
    message.header.flags = NLM_F_REQUEST | flags;
    message
}

/// Carries `messages` out as one transaction: all of them or, when one is refused, none.
pub(super) fn commit(socket: &OwnedFd, messages: impl IntoIterator<Item = Message>) -> io::Result<()> {
    let bracket = |control| {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES);
        let mut message = Message::from(NetfilterMessage::new(header, control));
        message.header.flags = NLM_F_REQUEST;
        message
    };
    let mut transaction = vec![bracket(ControlMessage::BatchBegin)];
    transaction.extend(messages);
    transaction.push(bracket(ControlMessage::BatchEnd));
    ask(socket, &mut transaction).map(drop)
}

/// Sends all `messages` at once and reads the whole answer; the first error in it is the result.
///
/// The kernel has queued the answer when the send returns, and makes more of it as it is read.
pub(super) fn ask(socket: &OwnedFd, messages: &mut [Message]) -> io::Result<Vec<Message>> {
    let mut request = Vec::with_capacity(4096);
    for message in messages {
        message.finalize();
        let start = request.len();
        request.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut request[start..]);
    }
    send(socket, &request, SendFlags::empty())?;
    let mut answer = Vec::new();
    loop {
        let mut space = Vec::with_capacity(MESSAGE_MAX);
        match recv(socket, spare_capacity(&mut space), RecvFlags::DONTWAIT) {
            Ok(_) => {
                let mut bytes = space.as_slice();
                while !bytes.is_empty() {
                    let message = Message::deserialize(bytes).map_err(io::Error::other)?;
                    if let NetlinkPayload::Error(error) = &message.payload
                        && error.code.is_some()
                    {
                        return Err(error.to_io());
                    }
                    bytes = bytes.get((message.header.length as usize).next_multiple_of(4)..).unwrap_or_default();
                    answer.push(message);
                }
            }
            Err(rustix::io::Errno::AGAIN) => return Ok(answer),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A chain of `table` that hangs in the path of packets.
pub(super) fn chain(table: &str, name: &str, kind: &str, hook: InetHookNumber, priority: i32) -> Message {
    let attributes = vec![
        ChainAttribute::Table(table.to_owned()),
        ChainAttribute::Name(name.to_owned()),
        ChainAttribute::Type(kind.to_owned()),
        ChainAttribute::Hook(vec![Hook::Number(hook.into()), Hook::Priority(priority.cast_unsigned())]),
        ChainAttribute::Policy(ACCEPT),
    ];
    message(NetfilterProtoFamily::Inet, NLM_F_CREATE, NfTablesMessage::NewChain(ChainMessage { attributes }))
}

/// A rule at the end of `chain`: the conditions and the verdict, one behind the other.
pub(super) fn rule(table: &str, chain: &str, parts: impl IntoIterator<Item = Expressions>) -> Message {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(chain.to_owned()),
        RuleAttribute::Expressions(parts.into_iter().map(Into::into).collect()),
    ];
    let flags = NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK;
    message(NetfilterProtoFamily::Inet, flags, NfTablesMessage::NewRule(RuleMessage { attributes }))
}

/// The device at `key` has a name that starts, or does not start, with `prefix`.
pub(super) fn name_starts(key: MetaKey, is: Operator, prefix: &str) -> [Expressions; 2] {
    [load(key), compare(is, prefix.as_bytes())]
}

/// The packet is of IPv6.
pub(super) fn is_ipv6() -> [Expressions; 2] {
    [load(MetaKey::Nfproto), compare(Operator::Equal, &[IPV6])]
}

/// The packet is of IPv4, and its destination starts with these bytes.
pub(super) fn ipv4_destination(prefix: &[u8]) -> [Expressions; 4] {
    let destination = Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(NETWORK_HEADER),
        Payload::Offset(IPV4_DESTINATION),
        Payload::Len(prefix.len() as u32),
    ]);
    [load(MetaKey::Nfproto), compare(Operator::Equal, &[IPV4]), destination, compare(Operator::Equal, prefix)]
}

pub(super) fn drop_packet() -> Expressions {
    let verdict = VerdictAttribute::Code(Verdict::Other(DROP));
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![verdict])),
    ])
}

pub(super) fn masquerade() -> Expressions {
    Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() }
}

fn load(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)])
}

fn compare(operator: Operator, with: &[u8]) -> Expressions {
    let data = Cmp::Data(DataAttribute::Value(with.to_vec()));
    Expressions::Cmp(vec![Cmp::SourceRegister(Register::Reg1), Cmp::Op(operator), data])
}
