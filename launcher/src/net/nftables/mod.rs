//! Words of `nf_tables`' netlink protocol: messages, transactions, tables, chains, rules. What rules are made of stands
//! in expressions.rs, sets in sets.rs; what nsl's rules are, elsewhere.
//!
//! Source: `include/uapi/linux/netfilter/nf_tables.h`; nft(8) prints what `nft --debug=netlink` sends.

mod expressions;
mod sets;
#[cfg(test)]
mod tests;

pub(super) use expressions::*;
pub(super) use sets::{Type, concatenation, elements, set};

use super::socket::{MESSAGE_MAX, open};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, InetHookNumber, NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute,
    TableFlags, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use rtnetlink::packet_core::{
    DefaultNla, NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload, Nla, NlasIterator,
};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use std::io;
use std::os::fd::OwnedFd;

pub(super) type Message = NetlinkMessage<NetfilterMessage>;

/// `NFNL_SUBSYS_NFTABLES`: whom a transaction is for.
const NFTABLES: u16 = 10;
/// The policy of chains (`NF_ACCEPT`).
const ACCEPT: u32 = 1;
/// A request that fits into the buffer that every socket has.
const ORDINARY: usize = 128 * 1024;

/// `NFTA_OBJ_*`: the attributes of an object, and of a counter in it.
const OBJECT_TABLE: u16 = 1;
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;
const COUNTER_PACKETS: u16 = 2;
/// `NFT_OBJECT_COUNTER`.
const COUNTER: u32 = 1;

/// A socket of the network namespace of this thread.
pub(super) fn connect() -> io::Result<OwnedFd> {
    open(Some(rustix::net::netlink::NETFILTER))
}

pub(super) fn message<T: Into<NetfilterMessageInner>>(family: NetfilterProtoFamily, flags: u16, inner: T) -> Message {
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
pub(super) fn ask(socket: &OwnedFd, messages: &mut [Message]) -> io::Result<Vec<Message>> {
    let answer = exchange(socket, messages)?;
    match answer.iter().find_map(error_of) {
        Some(error) => Err(error),
        None => Ok(answer),
    }
}

/// The error that a message of an answer is.
pub(super) fn error_of(message: &Message) -> Option<io::Error> {
    match &message.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Some(error.to_io()),
        _ => None,
    }
}

/// Sends all `messages` at once and reads the whole answer, errors and all.
///
/// The kernel has queued the answer when the send returns, and makes more of it as it is read.
pub(super) fn exchange(socket: &OwnedFd, messages: &mut [Message]) -> io::Result<Vec<Message>> {
    let mut request = Vec::with_capacity(4096);
    for message in messages {
        message.finalize();
        let start = request.len();
        request.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut request[start..]);
    }
    if request.len() > ORDINARY {
        sockopt::set_socket_send_buffer_size_force(socket, 2 * request.len())?;
    }
    send(socket, &request, SendFlags::empty())?;
    let mut answer = Vec::new();
    let mut space = Vec::with_capacity(MESSAGE_MAX);
    loop {
        space.clear();
        match recv(socket, spare_capacity(&mut space), RecvFlags::DONTWAIT) {
            Ok(_) => {
                let mut bytes = space.as_slice();
                while !bytes.is_empty() {
                    let message = Message::deserialize(bytes).map_err(io::Error::other)?;
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

/// A rule at the end of `chain`: conditions, statements and the verdict, one behind the other.
pub(super) fn rule(table: &str, chain: &str, phrases: impl IntoIterator<Item = Phrase>) -> Message {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(chain.to_owned()),
        RuleAttribute::Expressions(phrases.into_iter().flatten().map(Into::into).collect()),
    ];
    let flags = NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK;
    message(NetfilterProtoFamily::Inet, flags, NfTablesMessage::NewRule(RuleMessage { attributes }))
}

/// A table that must not be there yet, which nobody else can change, and which the kernel drops when `commit`'s socket
/// is closed, however that comes about (`NFT_TABLE_F_OWNER`, Linux 5.12).
pub(super) fn owned_table(name: &str) -> Message {
    let attributes = vec![TableAttribute::Name(name.to_owned()), TableAttribute::Flags(TableFlags::Owner)];
    message(
        NetfilterProtoFamily::Inet,
        NLM_F_CREATE | NLM_F_EXCL,
        NfTablesMessage::NewTable(TableMessage { attributes }),
    )
}

/// A counter with a name, for `count_in`.
pub(super) fn counter(table: &str, name: &str) -> Message {
    let mut attributes = object(table, name);
    attributes.push(DefaultNla::new(OBJECT_DATA | NLA_F_NESTED, Vec::new()));
    message(NetfilterProtoFamily::Inet, NLM_F_CREATE, NfTablesMessage::NewObject(attributes))
}

/// How many packets a counter has counted.
pub(super) fn packets(socket: &OwnedFd, table: &str, counter: &str) -> io::Result<u64> {
    let request = NfTablesMessage::GetObject(object(table, counter));
    let answer = ask(socket, &mut [message(NetfilterProtoFamily::Inet, 0, request)])?;
    let packets = answer.iter().find_map(|message| match &message.payload {
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::NfTables(NfTablesMessage::NewObject(attributes)),
            ..
        }) => packets_in(attributes),
        _ => None,
    });
    packets.ok_or_else(|| io::Error::other("the kernel does not tell"))
}

fn packets_in(attributes: &[DefaultNla]) -> Option<u64> {
    let data = attributes.iter().find(|attribute| attribute.kind() & !NLA_F_NESTED == OBJECT_DATA)?;
    let mut bytes = vec![0; data.value_len()];
    data.emit_value(&mut bytes);
    let packets = NlasIterator::new(&bytes).flatten().find(|part| part.kind() == COUNTER_PACKETS)?;
    packets.value().try_into().ok().map(u64::from_be_bytes)
}

fn object(table: &str, name: &str) -> Vec<DefaultNla> {
    vec![text(OBJECT_TABLE, table), text(OBJECT_NAME, name), number(OBJECT_TYPE, COUNTER)]
}

/// An attribute that is a text, or a number as the network has it.
fn text(kind: u16, value: &str) -> DefaultNla {
    DefaultNla::new(kind, [value.as_bytes(), b"\0"].concat())
}

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}
