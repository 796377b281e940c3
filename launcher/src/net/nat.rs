//! The table `inet nsl`: the way out for all sandboxes, and what keeps them apart.
//!
//! It is one for the host and static: it goes by the names of devices, so it knows neither addresses nor sandboxes,
//! and can stay when the last one ends. In the words of nft(8):
//!
//! ```text
//! table inet nsl {
//!     chain prerouting  { type filter hook prerouting priority raw;  iifname "nsl*" ip daddr 127.0.0.0/8 drop
//!                                                                    iifname "nsl*" meta nfproto ipv6 drop }
//!     chain forward     { type filter hook forward priority filter;  iifname "nsl*" oifname "nsl*" drop }
//!     chain postrouting { type nat hook postrouting priority srcnat; iifname "nsl*" oifname != "nsl*" masquerade }
//! }
//! ```

use super::nftables::{
    End, Message, address, ask, chain, commit, connect, drop_packet, is_ipv6, masquerade, message, name_starts, rule,
};
use crate::error::Error;
use netlink_packet_netfilter::NetfilterMessageInner;
use netlink_packet_netfilter::NetfilterProtoFamily::Inet;
use netlink_packet_netfilter::nftables::{
    InetHookNumber, MetaKey, NfTablesMessage, Operator, TableAttribute, TableMessage,
};
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NetlinkPayload};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

const TABLE: &str = "nsl";
/// Every device of nsl's on the host has a name that starts so.
const DEVICES: &str = "nsl";
/// Counts up with every change of the rules below.
const VERSION: u32 = 2;
/// What the version stands behind in the table's comment.
const COMMENT: &str = "rules of nsl, version ";
/// `NFTNL_UDATA_TABLE_COMMENT`: how nft(8) finds the comment in the user data.
const UDATA_COMMENT: u8 = 0;
/// Another nsl may make or replace the table between our look and our transaction, hardly more often than this.
const TRIES: u32 = 4;

/// Sees to it that the table stands. Without it a sandbox reaches this host only: this warns and goes on.
pub(super) fn ensure() {
    let _span = tracing::debug_span!("nat").entered();
    match connect().and_then(|socket| ensure_table(&socket)) {
        Ok(false) => {}
        Ok(true) => tracing::debug!("made the nftables table inet {TABLE}, version {VERSION}"),
        Err(error) => {
            let error = Error::io(format!("make the nftables table inet {TABLE}"), &error);
            tracing::warn!("{error}; the sandbox reaches this host only and is not kept apart from other sandboxes");
        }
    }
}

/// Whether something was changed.
fn ensure_table(socket: &OwnedFd) -> io::Result<bool> {
    let mut result = Ok(false);
    for _ in 0..TRIES {
        let standing = version(socket)?;
        if standing.is_some_and(|version| version >= VERSION) {
            return Ok(false);
        }
        // The table must not exist: so two of us cannot both append their rules to it.
        let removal = standing.map(|_| table(0, NfTablesMessage::DeleteTable, None));
        match commit(socket, removal.into_iter().chain(rules())) {
            Ok(()) => return Ok(true),
            Err(error) if matches!(errno(&error), Some(Errno::EEXIST | Errno::ENOENT)) => result = Err(error),
            Err(error) => return Err(error),
        }
    }
    result
}

/// The version of the table that stands, 0 for one that does not say.
fn version(socket: &OwnedFd) -> io::Result<Option<u32>> {
    match ask(socket, &mut [table(0, NfTablesMessage::GetTable, None)]) {
        Ok(answer) => Ok(Some(answer.iter().find_map(version_of).unwrap_or(0))),
        Err(error) if errno(&error) == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn version_of(message: &Message) -> Option<u32> {
    let NetlinkPayload::InnerMessage(message) = &message.payload else { return None };
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(TableMessage { attributes })) = &message.inner else {
        return None;
    };
    attributes.iter().find_map(|attribute| match attribute {
        TableAttribute::UserData(data) => version_in(data),
        _ => None,
    })
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

fn table(flags: u16, verb: fn(TableMessage) -> NfTablesMessage, user_data: Option<Vec<u8>>) -> Message {
    let name = TableAttribute::Name(TABLE.to_owned());
    let attributes = [name].into_iter().chain(user_data.map(TableAttribute::UserData)).collect();
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

fn rules() -> [Message; 8] {
    let from_sandbox = || name_starts(MetaKey::Iifname, Operator::Equal, DEVICES);
    let to_sandbox = name_starts(MetaKey::Oifname, Operator::Equal, DEVICES);
    let to_elsewhere = name_starts(MetaKey::Oifname, Operator::NotEqual, DEVICES);
    let to_loopback = address(End::Destination, Operator::Equal, Ipv4Addr::LOCALHOST.into(), 8);
    [
        table(NLM_F_CREATE | NLM_F_EXCL, NfTablesMessage::NewTable, Some(user_data(VERSION))),
        chain(TABLE, "prerouting", "filter", InetHookNumber::PreRouting, -300),
        chain(TABLE, "forward", "filter", InetHookNumber::Forward, 0),
        chain(TABLE, "postrouting", "nat", InetHookNumber::PostRouting, 100),
        // Where route_localnet is on, a packet from outside could reach services on the host's loopback.
        rule(TABLE, "prerouting", [from_sandbox(), to_loopback, drop_packet()]),
        // Sandboxes have no addresses of IPv6. Let in, the advertisement of a router made one the host's way out.
        rule(TABLE, "prerouting", [from_sandbox(), is_ipv6(), drop_packet()]),
        rule(TABLE, "forward", [from_sandbox(), to_sandbox, drop_packet()]),
        // The device that a forwarded packet came in by is known here since Linux 5.7.
        rule(TABLE, "postrouting", [from_sandbox(), to_elsewhere, masquerade()]),
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
        let messages = rules();
        assert_eq!(messages[0].header.flags & (NLM_F_CREATE | NLM_F_EXCL), NLM_F_CREATE | NLM_F_EXCL);
        assert_eq!(version_of(&messages[0]), Some(VERSION));
    }
}
