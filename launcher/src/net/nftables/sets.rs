//! Sets and maps: what their keys and values are, and their elements.

use super::{Message, message};
use netlink_packet_netfilter::NetfilterProtoFamily::Inet;
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetAttribute, SetElementAttribute, SetElementList,
    SetElementMessage, SetFlags, SetMessage,
};
use rtnetlink::packet_core::NLM_F_CREATE;

/// So many elements stand in one message: their list is an attribute, whose length is a number of 16 bits.
const AT_ONCE: usize = 512;
/// Bits of each type in the number of a concatenation's type.
const TYPE_BITS: u32 = 6;
/// Sets are gone to by name; the kernel wants a number all the same.
const SOME_ID: u32 = 1;

/// A part of a key or a value. The numbers are nft(8)'s, which prints sets by them; the kernel keeps them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) enum Type {
    Ipv4 = 7,
    Ipv6 = 8,
    /// TCP or UDP.
    Protocol = 12,
    Port = 13,
    DeviceGroup = 35,
}

impl Type {
    /// Each part begins in a register of 32 bits of its own.
    pub(super) fn registers(self) -> u32 {
        if self == Self::Ipv6 { 4 } else { 1 }
    }
}

fn number_of(parts: &[Type]) -> u32 {
    parts.iter().fold(0, |number, part| number << TYPE_BITS | *part as u32)
}

fn length_of(parts: &[Type]) -> u32 {
    parts.iter().map(|part| 4 * part.registers()).sum()
}

/// A set of `key`s or, where there is a `value`, a map to values.
pub(in crate::net) fn set(table: &str, name: &str, key: &[Type], value: &[Type]) -> Message {
    let mut attributes = vec![
        SetAttribute::Table(table.to_owned()),
        SetAttribute::Name(name.to_owned()),
        SetAttribute::Flags(if value.is_empty() { SetFlags::empty() } else { SetFlags::Map }),
        SetAttribute::KeyType(number_of(key)),
        SetAttribute::KeyLen(length_of(key)),
        SetAttribute::Id(SOME_ID),
    ];
    if !value.is_empty() {
        attributes.extend([SetAttribute::DataType(number_of(value)), SetAttribute::DataLen(length_of(value))]);
    }
    message(Inet, NLM_F_CREATE, NfTablesMessage::NewSet(SetMessage { attributes }))
}

/// Puts elements into a set: keys, each with its value, which is empty where the set is no map.
pub(in crate::net) fn elements(table: &str, set: &str, elements: &[(Vec<u8>, Vec<u8>)]) -> Vec<Message> {
    let list = |elements: &[(Vec<u8>, Vec<u8>)]| {
        let attributes = vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(set.to_owned()),
            SetElementList::Elements(elements.iter().map(element).collect()),
        ];
        message(Inet, NLM_F_CREATE, NfTablesMessage::NewSetElement(SetElementMessage { attributes }))
    };
    elements.chunks(AT_ONCE).map(list).collect()
}

fn element((key, value): &(Vec<u8>, Vec<u8>)) -> ListAttribute<SetElementAttribute> {
    let mut element = vec![SetElementAttribute::Key(DataAttribute::Value(key.clone()))];
    if !value.is_empty() {
        element.push(SetElementAttribute::Data(DataAttribute::Value(value.clone())));
    }
    ListAttribute::Element(element)
}

/// The bytes of a key or value of several parts.
pub(in crate::net) fn concatenation(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}
