//! The table `inet nsl`: the way out for all sandboxes, and what keeps them apart.
//!
//! It is one for the host and static: it goes by the names and groups of devices, so it knows neither addresses nor
//! sandboxes, and can stay when the last one ends. What it says stands, in the words of nft(8), in
//! tests/golden/nftables.txt, which a test compares with what the kernel has.

use super::group::{INTERNAL, LISTED, NETWORK};
use super::nftables::{
    DESTINATION_CHANGED, End, Message, NEW, Phrase, Type, accept, address, ask, bits, chain, commit, concatenation,
    connect, connection_has, connection_is, drop_packet, elements, icmpv6, in_set, is_ipv6, is_rightly_from, is_tcp,
    masquerade, message, name_starts, reject, reset, rule, set, unmark,
};
use super::plan::VethPlan;
use crate::error::{Error, Result};
use netlink_packet_netfilter::NetfilterMessageInner;
use netlink_packet_netfilter::NetfilterProtoFamily::Inet;
use netlink_packet_netfilter::nftables::{
    InetHookNumber, MetaKey, NfTablesMessage, Operator, TableAttribute, TableMessage,
};
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NetlinkPayload};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

pub(super) const TABLE: &str = "nsl";
/// Every device of nsl's on the host has a name that starts so.
const DEVICES: &str = "nsl";
/// Counts up with every change of the rules below.
const VERSION: u32 = 3;
/// What the version stands behind in the table's comment.
const COMMENT: &str = "rules of nsl, version ";
/// `NFTNL_UDATA_TABLE_COMMENT`: how nft(8) finds the comment in the user data.
const UDATA_COMMENT: u8 = 0;
/// The version of rules that hold still, and that `nsl clean` is about to remove: an nsl that starts makes them anew.
pub(super) const WITHDRAWN: u32 = 0;
/// Another nsl may make, replace or remove the table between our look and our transaction, and then we look again. Each
/// time it happens somebody else has got on, so that it never happens this often.
pub(super) const TRIES: u32 = 32;
/// Pairs of groups that are of one named network.
const NETWORKS: &str = "networks";

/// Sees to it that the table stands. Without it a sandbox reaches this host only: this warns, and says false; unless
/// the sandbox was to be kept from something, or with others.
pub(super) fn ensure(plan: &VethPlan) -> Result<bool> {
    let _span = tracing::debug_span!("nat", step = %super::MASQUERADE).entered();
    let stand = |socket: OwnedFd| {
        if ensure_table(&socket)? {
            tracing::debug!("made the nftables table inet {TABLE}, version {VERSION}");
        }
        commit_network(&socket, plan.group() & NETWORK)
    };
    match connect().and_then(stand) {
        Ok(()) => Ok(true),
        Err(error) => {
            let error = Error::io(format!("make the nftables table inet {TABLE}"), &error);
            if plan.group() != 0 {
                return Err(error.hint("what was asked of the network takes nftables: try modprobe nf_tables"));
            }
            tracing::warn!("{error}; the sandbox reaches this host only and is not kept apart from other sandboxes");
            Ok(false)
        }
    }
}

/// Lets those that are in a named network reach each other, whatever else holds for them.
fn commit_network(socket: &OwnedFd, network: u32) -> io::Result<()> {
    if network == 0 {
        return Ok(());
    }
    let variants = [0, INTERNAL, LISTED, INTERNAL | LISTED].map(|bits| (network | bits).to_ne_bytes());
    let pairs =
        variants.iter().flat_map(|from| variants.iter().map(move |to| (concatenation(&[from, to]), Vec::new())));
    commit(socket, elements(TABLE, NETWORKS, &pairs.collect::<Vec<_>>()))
}

/// Whether something was changed.
fn ensure_table(socket: &OwnedFd) -> io::Result<bool> {
    let mut result = Ok(false);
    for _ in 0..TRIES {
        let standing = standing(socket)?;
        if standing.as_ref().is_some_and(|table| table.version >= VERSION) {
            return Ok(false);
        }
        match replace(socket, standing.as_ref(), VERSION) {
            Err(error) if is_outrun(&error) => result = Err(error),
            replaced => return replaced.map(|()| true),
        }
    }
    result
}

/// The table as it stands.
pub(super) struct Standing {
    /// The kernel gives it once only, unlike the name.
    handle: u64,
    pub(super) version: u32,
}

/// Puts the rules in the place of those that were found, or where none were. Nothing else may stand there by now: so two
/// of us cannot both append their rules, and nobody takes a newer table away that others have filled already.
pub(super) fn replace(socket: &OwnedFd, standing: Option<&Standing>, version: u32) -> io::Result<()> {
    commit(socket, standing.map(removal).into_iter().chain(rules(version)))
}

pub(super) fn removal(table: &Standing) -> Message {
    self::table(0, NfTablesMessage::DeleteTable, [TableAttribute::Handle(table.handle)])
}

/// Did another nsl get there before us?
pub(super) fn is_outrun(error: &io::Error) -> bool {
    matches!(errno(error), Some(Errno::EEXIST | Errno::ENOENT))
}

pub(super) fn standing(socket: &OwnedFd) -> io::Result<Option<Standing>> {
    match ask(socket, &mut [table(0, NfTablesMessage::GetTable, [])]) {
        Ok(answer) => Ok(answer.iter().find_map(Standing::of)),
        Err(error) if errno(&error) == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Standing {
    fn of(message: &Message) -> Option<Self> {
        let NetlinkPayload::InnerMessage(message) = &message.payload else { return None };
        let NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(TableMessage { attributes })) = &message.inner
        else {
            return None;
        };
        let (mut handle, mut version) = (None, None);
        for attribute in attributes {
            match attribute {
                TableAttribute::Handle(number) => handle = Some(*number),
                TableAttribute::UserData(data) => version = version_in(data),
                _ => {}
            }
        }
        // One that does not say is older than all.
        handle.map(|handle| Self { handle, version: version.unwrap_or(0) })
    }
}

pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

fn table(
    flags: u16,
    verb: fn(TableMessage) -> NfTablesMessage,
    more: impl IntoIterator<Item = TableAttribute>,
) -> Message {
    let attributes = [TableAttribute::Name(TABLE.to_owned())].into_iter().chain(more).collect();
    message(Inet, flags, verb(TableMessage { attributes }))
}

/// Type, length, and a text that ends with a NUL.
fn user_data(version: u32) -> Vec<u8> {
    let comment = format!("{COMMENT}{version}\0");
    [&[UDATA_COMMENT, comment.len() as u8], comment.as_bytes()].concat()
}

fn version_in(user_data: &[u8]) -> Option<u32> {
    let comment = str::from_utf8(user_data.get(2..)?).ok()?;
    comment.strip_prefix(COMMENT)?.trim_end_matches('\0').parse().ok()
}

fn rules(version: u32) -> Vec<Message> {
    let comment = TableAttribute::UserData(user_data(version));
    let mut messages = vec![
        table(NLM_F_CREATE | NLM_F_EXCL, NfTablesMessage::NewTable, [comment]),
        set(TABLE, NETWORKS, &[Type::DeviceGroup, Type::DeviceGroup], &[]),
        chain(TABLE, "prerouting", "filter", InetHookNumber::PreRouting, -300),
        // Behind where connections are known (-200), and behind the lists of single sandboxes.
        chain(TABLE, "lists", "filter", InetHookNumber::PreRouting, -140),
        chain(TABLE, "input", "filter", InetHookNumber::LocalIn, 0),
        chain(TABLE, "forward", "filter", InetHookNumber::Forward, 0),
        chain(TABLE, "postrouting", "nat", InetHookNumber::PostRouting, 100),
    ];
    let rules = [prerouting().to_vec(), lists().to_vec(), input().to_vec(), forward().to_vec(), postrouting().to_vec()];
    let chains = ["prerouting", "lists", "input", "forward", "postrouting"];
    for (chain, rules) in chains.into_iter().zip(rules) {
        messages.extend(rules.into_iter().map(|phrases| rule(TABLE, chain, phrases)));
    }
    messages
}

/// The conditions and the verdict of a rule.
type Rule = Vec<Phrase>;

fn from_sandbox() -> Phrase {
    name_starts(MetaKey::Iifname, Operator::Equal, DEVICES)
}

fn to_sandbox() -> Phrase {
    name_starts(MetaKey::Oifname, Operator::Equal, DEVICES)
}

/// From a sandbox that has one of these bits in its group.
fn from_group(bit: u32) -> Phrase {
    [from_sandbox(), bits(MetaKey::Iifgroup, bit, Operator::NotEqual, 0)].concat()
}

/// A refusal that is heard at once: a reset of TCP's, and for all else an error of ICMP's.
fn refusal(of: &Rule) -> [Rule; 2] {
    [[&of[..], &[is_tcp(), reset()]].concat(), [&of[..], &[reject()]].concat()]
}

fn prerouting() -> [Rule; 3] {
    let to_loopback = address(End::Destination, Operator::Equal, Ipv4Addr::LOCALHOST.into(), 8);
    let advertisement = icmpv6(&(134..=134));
    [
        // Where route_localnet is on, a packet from outside could reach services on the host's loopback.
        vec![from_sandbox(), to_loopback, drop_packet()],
        // A forged source. Of IPv4 the device itself asks that (rp_filter).
        vec![from_sandbox(), is_ipv6(), is_rightly_from(false), drop_packet()],
        // Let in, the advertisement of a router made a sandbox the host's way out.
        vec![from_sandbox(), advertisement, drop_packet()],
    ]
}

/// What may leave a sandbox that has a list, rules of its own have marked. Without them nothing leaves it.
fn lists() -> [Rule; 3] {
    let unmarked = bits(MetaKey::Mark, LISTED, Operator::Equal, 0);
    let [reset, reject] = refusal(&vec![from_group(LISTED), unmarked]);
    [reset, reject, vec![from_group(LISTED), unmark(LISTED)]]
}

fn input() -> [Rule; 2] {
    refusal(&vec![from_group(INTERNAL), connection_is(NEW)])
}

fn forward() -> [Rule; 6] {
    let of_one_network = in_set(&[MetaKey::Iifgroup, MetaKey::Oifgroup], NETWORKS);
    let [reset, reject] = refusal(&vec![from_group(INTERNAL), connection_is(NEW)]);
    [
        vec![from_sandbox(), to_sandbox(), of_one_network, accept()],
        reset,
        reject,
        // Published ports are for all.
        vec![to_sandbox(), connection_has(DESTINATION_CHANGED), accept()],
        vec![from_sandbox(), to_sandbox(), drop_packet()],
        // A neighbour of the host's that sends here what is for a sandbox.
        vec![to_sandbox(), connection_is(NEW), drop_packet()],
    ]
}

fn postrouting() -> [Rule; 4] {
    let to_elsewhere = name_starts(MetaKey::Oifname, Operator::NotEqual, DEVICES);
    let from = |source: std::net::IpAddr, prefix| address(End::Source, Operator::Equal, source, prefix);
    [
        // The device that a forwarded packet came in by is known here since Linux 5.7.
        vec![from_sandbox(), to_elsewhere, masquerade()],
        // The host's own, by way of a published port.
        vec![to_sandbox(), from(Ipv4Addr::LOCALHOST.into(), 8), masquerade()],
        vec![to_sandbox(), from(Ipv6Addr::LOCALHOST.into(), 128), masquerade()],
        // Answers must come back by way of the host, also to the sandbox that publishes the port itself.
        vec![from_sandbox(), to_sandbox(), connection_has(DESTINATION_CHANGED), masquerade()],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_back_from_the_tables_comment() {
        assert_eq!(version_in(&user_data(17)), Some(17));
        assert_eq!(version_in(b""), None);
        assert_eq!(version_in(b"\0\x06hello\0"), None);
    }

    #[test]
    fn the_table_comes_first_and_must_be_new() {
        let messages = rules(VERSION);
        assert_eq!(messages[0].header.flags & (NLM_F_CREATE | NLM_F_EXCL), NLM_F_CREATE | NLM_F_EXCL);
        let NetlinkPayload::InnerMessage(inner) = &messages[0].payload else { panic!("no message for nf_tables") };
        let NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) = &inner.inner else {
            panic!("no table")
        };
        assert!(table.attributes.contains(&TableAttribute::UserData(user_data(VERSION))));
    }
}
