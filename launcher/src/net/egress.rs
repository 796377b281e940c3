//! What `--egress` permits: networks, names and ports that a sandbox may reach, and nothing else. Words, and the rules
//! that they become in the sandbox's own table:
//!
//! ```text
//! counter refused {}
//! chain egress { type filter hook prerouting priority -141
//!     iifname != "nsl7" accept
//!     ct state established,related meta mark set meta mark | 0x40000000 accept
//!     ip daddr 192.0.2.0/24 tcp dport 443 meta mark set meta mark | 0x40000000 accept
//!     icmpv6 type 133-136 meta mark set meta mark | 0x40000000 accept
//!     ct state new counter name "refused"
//!     meta l4proto tcp reject with tcp reset
//!     reject with icmpx admin-prohibited }
//! ```
//!
//! What has no mark is rejected by the static table behind it, also where this one is gone.

use super::group::LISTED;
use super::nftables::{
    ESTABLISHED, End, Message, NEW, Phrase, RELATED, accept, address, chain, connection_is, count_in, counter, icmpv6,
    is_tcp, mark, name_is, reject, reset, rule, to_ports,
};
use super::publish::{Protocol, range};
use crate::error::{Error, Result};
use ipnet::IpNet;
use netlink_packet_netfilter::nftables::InetHookNumber::PreRouting;
use netlink_packet_netfilter::nftables::{MetaKey, Operator};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Before the static table's look at the mark.
const PRIORITY: i32 = -141;
/// The counter of what was refused.
pub(super) const REFUSED: &str = "refused";
const CHAIN: &str = "egress";
/// Neighbours and routers find each other by these types of ICMPv6.
const NEIGHBOUR_DISCOVERY: RangeInclusive<u8> = 133..=136;
/// Where name servers listen.
const DOMAIN: u16 = 53;

/// Where a permission leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Network(IpNet),
    /// What this name is resolved to when the sandbox starts.
    Name(String),
}

/// One `--egress`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permission {
    pub(super) to: Place,
    /// None: all of every protocol.
    pub(super) ports: Option<(RangeInclusive<u16>, Protocol)>,
}

/// Reads the list; none if there is none, and an empty one if nothing is permitted.
pub fn parse_all(texts: &[String]) -> Result<Option<Vec<Permission>>> {
    if texts.is_empty() {
        return Ok(None);
    }
    let is_none = |text: &String| text == "none";
    if texts.iter().any(is_none) && !texts.iter().all(is_none) {
        return Err(Error::new("use --egress none", "another --egress permits something").hint("leave none out"));
    }
    let named = texts.iter().filter(|text| !is_none(text));
    named.map(|text| Permission::parse(text)).collect::<Result<_>>().map(Some)
}

impl Permission {
    /// Reads `ADDR[/N][:PORT[/udp]]`, with IPv6 in brackets, or `NAME:PORT[/udp]`.
    fn parse(text: &str) -> Result<Self> {
        let wrong = |cause: String| Error::new(format!("use --egress {text}"), cause);
        let (place, port) = if let Some(bracketed) = text.strip_prefix('[') {
            let (address, rest) = bracketed.split_once(']').ok_or_else(|| wrong("']' is missing".into()))?;
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => {
                    return Err(wrong(format!("'{rest}' stands behind the brackets"))
                        .hint("the prefix stands in them, and behind them :PORT, as in [2001:db8::/32]:443"));
                }
                port => (address, port),
            }
        } else if text.matches(':').count() > 1 {
            return Err(wrong("an IPv6 address stands in brackets".into()).hint("such as [2001:db8::/32]:443"));
        } else {
            text.split_once(':').map_or((text, None), |(place, port)| (place, Some(port)))
        };
        let to = Place::parse(place, text.starts_with('[')).map_err(&wrong)?;
        let ports = port.map(ports).transpose().map_err(&wrong)?;
        if ports.is_none() && matches!(to, Place::Name(_)) {
            return Err(wrong("a name comes with a port".into()).hint(format!("such as {place}:443")));
        }
        Ok(Self { to, ports })
    }

    /// All that a name server is asked by.
    pub(super) fn of_name_server(address: IpAddr) -> [Self; 2] {
        [Protocol::Udp, Protocol::Tcp].map(|protocol| Self::of(address, Some((DOMAIN..=DOMAIN, protocol))))
    }

    /// The same for one address.
    pub(super) fn of(address: IpAddr, ports: Option<(RangeInclusive<u16>, Protocol)>) -> Self {
        Self { to: Place::Network(address.into()), ports }
    }

    fn condition(&self) -> Option<Phrase> {
        let Place::Network(network) = self.to else { return None };
        let ports = self.ports.as_ref().map(|(ports, protocol)| to_ports(protocol.number(), ports));
        let there = address(End::Destination, Operator::Equal, network.addr(), network.prefix_len());
        Some([there, ports.unwrap_or_default()].concat())
    }
}

impl Place {
    fn parse(text: &str, bracketed: bool) -> std::result::Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let network = match address.parse::<IpAddr>() {
            Ok(address) if address.is_ipv6() == bracketed => address,
            _ if bracketed => return Err(format!("'{address}' is no IPv6 address")),
            _ if prefix.is_none() && is_name(text) => return Ok(Self::Name(text.to_owned())),
            _ => return Err(format!("'{address}' is neither an address nor a name")),
        };
        let longest = if bracketed { 128 } else { 32 };
        let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok());
        let network = prefix.and_then(|prefix| IpNet::new(network, prefix).ok());
        let network = network.ok_or_else(|| format!("'{text}' has no prefix from /0 to /{longest}"))?;
        Ok(Self::Network(network.trunc()))
    }
}

/// Could a host be called so? Numbers alone are an address that is none.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.starts_with(['-', '.']) && text.bytes().all(fits) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn ports(text: &str) -> std::result::Result<(RangeInclusive<u16>, Protocol), String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = Protocol::parse(protocol).ok_or_else(|| format!("'{protocol}' is neither tcp nor udp"))?;
    Ok((range(ports)?, protocol))
}

/// What keeps `device` to these.
pub(super) fn rules(device: &str, permissions: &[Permission]) -> Vec<Message> {
    let add = |phrases: Vec<Phrase>| rule(device, CHAIN, phrases);
    let permit = |condition: Phrase| add(vec![condition, mark(LISTED), accept()]);
    let mut messages = vec![
        counter(device, REFUSED),
        chain(device, CHAIN, "filter", PreRouting, PRIORITY),
        add(vec![name_is(MetaKey::Iifname, Operator::NotEqual, device), accept()]),
        permit(connection_is(ESTABLISHED | RELATED)),
    ];
    messages.extend(permissions.iter().filter_map(Permission::condition).map(permit));
    messages.extend([
        permit(icmpv6(&NEIGHBOUR_DISCOVERY)),
        add(vec![connection_is(NEW), count_in(REFUSED)]),
        // So that nobody waits for an answer.
        add(vec![is_tcp(), reset()]),
        add(vec![reject()]),
    ]);
    messages
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Place::Network(IpNet::V4(one)) if one.prefix_len() == 32 => write!(f, "{}", one.addr())?,
            Place::Network(IpNet::V6(one)) if one.prefix_len() == 128 => write!(f, "[{}]", one.addr())?,
            Place::Network(network @ IpNet::V4(_)) => write!(f, "{network}")?,
            Place::Network(network @ IpNet::V6(_)) => write!(f, "[{network}]")?,
            Place::Name(name) => f.write_str(name)?,
        }
        let Some((ports, protocol)) = &self.ports else { return Ok(()) };
        write!(f, ":{}", ports.start())?;
        if ports.start() != ports.end() {
            write!(f, "-{}", ports.end())?;
        }
        if *protocol == Protocol::Udp { f.write_str("/udp") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(texts: &[&str]) -> String {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        match parse_all(&texts) {
            Ok(None) => "everything".to_owned(),
            Ok(Some(all)) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn permissions_are_addresses_networks_and_names_with_ports() {
        for text in
            ["192.0.2.1", "192.0.2.0/24", "192.0.2.1:443", "10.0.0.0/8:53/udp", "0.0.0.0/0:443", "[2001:db8::1]"]
        {
            assert_eq!(shown(&[text]), text);
        }
        for text in ["[2001:db8::/32]:443", "[::/0]:8000-8010/udp", "example.org:443", "a_b-1.example:53/udp"] {
            assert_eq!(shown(&[text]), text);
        }
        assert_eq!(shown(&["192.0.2.77/24:80/tcp", "[2001:db8::7/33]"]), "192.0.2.0/24:80 [2001:db8::/33]");
        assert_eq!(shown(&[]), "everything");
        assert_eq!(shown(&["none"]), "");
    }

    #[test]
    fn what_is_no_permission_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "'' is neither an address nor a name"),
            ("192.0.2.0/33", "'192.0.2.0/33' has no prefix from /0 to /32"),
            ("[2001:db8::/129]", "has no prefix from /0 to /128"),
            ("192.0.2", "'192.0.2' is neither an address nor a name"),
            ("192.0.2.1:", "'' is no port"),
            ("192.0.2.1:70000", "'70000' is no port"),
            ("192.0.2.1:80/sctp", "'sctp' is neither tcp nor udp"),
            ("192.0.2.1/udp", "has no prefix"),
            ("2001:db8::1", "an IPv6 address stands in brackets (hint: such as [2001:db8::/32]:443)"),
            ("[192.0.2.1]", "'192.0.2.1' is no IPv6 address"),
            ("[2001:db8::]/32", "'/32' stands behind the brackets (hint: the prefix stands in them"),
            ("[2001:db8::", "']' is missing"),
            ("example.org", "a name comes with a port (hint: such as example.org:443)"),
            ("-s.example:443", "'-s.example' is neither an address nor a name"),
            ("exa mple:443", "'exa mple' is neither an address nor a name"),
        ] {
            let refusal = shown(&[text]);
            assert!(
                refusal.starts_with(&format!("cannot use --egress {text}: ")) && refusal.contains(reason),
                "{refusal}"
            );
        }
        assert!(shown(&["none", "192.0.2.1"]).contains("another --egress permits something"));
    }
}
