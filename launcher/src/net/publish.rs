//! What `--publish` asks for: which ports of the host lead to which inside. Words alone; reserve.rs has the host's side.

use crate::error::{Error, Result};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One `--publish`: so many ports of the host from `host` on lead to those inside from `inside` on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// The address of the host that has them, `0.0.0.0` or `::` for all of that version; none for all.
    pub(super) address: Option<IpAddr>,
    /// 0: whatever is free.
    pub(super) host: u16,
    pub(super) inside: u16,
    pub(super) count: u16,
    pub(super) protocol: Protocol,
}

/// What one port of the host leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Port {
    pub address: Option<IpAddr>,
    pub host: u16,
    pub inside: u16,
    pub protocol: Protocol,
}

/// Reads all of them, and refuses ports that are asked for twice.
pub fn parse_all(texts: &[String]) -> Result<Vec<Publication>> {
    let mut publications: Vec<Publication> = Vec::new();
    for text in texts {
        let new = Publication::parse(text)?;
        if let Some((before, port)) =
            publications.iter().find_map(|known| known.shared_with(&new).map(|on| (known, on)))
        {
            return Err(Error::new(format!("publish {text}"), format!("port {port} leads to {before} already"))
                .hint("choose another port of the host, or 0 for one that is free"));
        }
        publications.push(new);
    }
    Ok(publications)
}

impl Publication {
    /// Reads `[IP:]HOST:CONTAINER[/tcp|/udp]`, or `CONTAINER` alone.
    fn parse(text: &str) -> Result<Self> {
        let wrong = |cause: String| Error::new(format!("publish {text}"), cause);
        let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::parse(protocol)
            .ok_or_else(|| wrong(format!("there is no protocol '{protocol}' here")).hint("it is tcp or udp"))?;
        let (address, ports) = split_address(ports).map_err(&wrong)?;
        let (host, inside) = match ports.split_once(':') {
            Some((host, inside)) => (Some(host).filter(|host| !host.is_empty() && *host != "0"), inside),
            None if address.is_some() => {
                return Err(wrong("an address stands before two ports".into()).hint("such as 127.0.0.1:8080:80"));
            }
            None => (None, ports),
        };
        let inside = range(inside).map_err(&wrong)?;
        let host = host.map(range).transpose().map_err(&wrong)?;
        if let Some(host) = host.as_ref().filter(|host| host.len() != inside.len()) {
            return Err(wrong(format!("{} ports cannot lead to {}", host.len(), inside.len()))
                .hint("give two ranges of the same length, such as 8000-8010:80-90"));
        }
        let (count, host) = (inside.len() as u16, host.map_or(0, |host| *host.start()));
        Ok(Self { address, host, inside: *inside.start(), count, protocol })
    }

    /// The single ports, those of the host 0 where any will do.
    pub(super) fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        (0..self.count).map(|offset| Port {
            address: self.address,
            host: if self.host == 0 { 0 } else { self.host + offset },
            inside: self.inside + offset,
            protocol: self.protocol,
        })
    }

    /// A port of the host that both want.
    fn shared_with(&self, other: &Self) -> Option<u16> {
        let last = |one: &Self| one.host + (one.count - 1);
        let all = |address: Option<IpAddr>, version: IpAddr| match address {
            None => true,
            Some(address) => address.is_unspecified() && address.is_ipv4() == version.is_ipv4(),
        };
        let meet = match (self.address, other.address) {
            (Some(one), Some(another)) => one == another || all(Some(one), another) || all(Some(another), one),
            _ => true,
        };
        let first = self.host.max(other.host);
        let both = self.host > 0 && other.host > 0 && first <= last(self).min(last(other));
        (meet && both && self.protocol == other.protocol).then_some(first)
    }
}

/// `[IP:]` and the rest. An address of IPv6 stands in brackets.
fn split_address(text: &str) -> std::result::Result<(Option<IpAddr>, &str), String> {
    let (address, ports) = if let Some(bracketed) = text.strip_prefix('[') {
        bracketed.split_once("]:").ok_or("behind the address in brackets there must be ':' and ports")?
    } else {
        match text.matches(':').count() {
            0 | 1 => return Ok((None, text)),
            2 => text.split_once(':').unwrap_or_default(),
            _ => return Err("it is not [IP:]HOST:CONTAINER, where an IPv6 address stands in brackets".into()),
        }
    };
    let is_bracketed = text.starts_with('[');
    let address = match address.parse::<IpAddr>() {
        Ok(address) if address.is_ipv6() == is_bracketed => address.to_canonical(),
        _ => return Err(format!("'{address}' is no IPv{} address", if is_bracketed { 6 } else { 4 })),
    };
    match address {
        IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => Err(format!("{v4} is no address of a host")),
        IpAddr::V6(v6) if v6.is_multicast() => Err(format!("{v6} is no address of a host")),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(format!("{v6} is an address of one link only")),
        _ => Ok((Some(address), ports)),
    }
}

/// `80`, or `80-90`.
pub(super) fn range(text: &str) -> std::result::Result<RangeInclusive<u16>, String> {
    let port = |text: &str| match text.parse() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(format!("'{text}' is no port, which is a number from 1 to 65535")),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err(format!("{text} is no range of ports: it ends before it begins"));
    }
    Ok(first..=last)
}

/// As `HOST:CONTAINER/PROTOCOL`.
impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        let more = self.count - 1;
        write!(f, "{}", self.host)?;
        if more > 0 && self.host > 0 {
            write!(f, "-{}", self.host + more)?;
        }
        write!(f, ":{}", self.inside)?;
        if more > 0 {
            write!(f, "-{}", self.inside + more)?;
        }
        write!(f, "/{}", self.protocol)
    }
}

impl Port {
    /// Does it lead from this address of the host?
    pub(super) fn is_of(&self, address: IpAddr) -> bool {
        match self.address {
            None => true,
            Some(own) if own.is_unspecified() => own.is_ipv4() == address.is_ipv4(),
            Some(own) => own == address,
        }
    }

    /// The one address that it leads from; none for all of a version of IP, or of both.
    pub(super) fn bound(&self) -> Option<IpAddr> {
        self.address.filter(|address| !address.is_unspecified())
    }

    pub(super) fn is_of_ipv4(&self) -> bool {
        self.address.is_none_or(|address| address.is_ipv4())
    }

    pub(super) fn is_of_ipv6(&self) -> bool {
        self.address.is_none_or(|address| address.is_ipv6())
    }

    /// Can it be reached by loopback?
    pub(super) fn is_on_loopback(&self) -> bool {
        self.bound().is_none_or(|address| address.is_loopback())
    }
}

/// The host's side, as in "cannot publish …".
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => write!(f, "port {}", self.host)?,
            Some(IpAddr::V4(address)) => write!(f, "{address}:{}", self.host)?,
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => write!(f, "port {} of IPv6", self.host)?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.host)?,
        }
        if self.protocol == Protocol::Udp { write!(f, "/udp") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(texts: &[&str]) -> String {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        match parse_all(&texts) {
            Ok(all) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        assert_eq!(shown(&["8080:80"]), "8080:80/tcp");
        assert_eq!(shown(&["53:53/udp"]), "53:53/udp");
        assert_eq!(shown(&["80"]), "0:80/tcp");
        assert_eq!(shown(&["0:80"]), "0:80/tcp");
        assert_eq!(shown(&["80-82"]), "0:80-82/tcp");
        assert_eq!(shown(&["8000-8010:80-90/tcp"]), "8000-8010:80-90/tcp");
        assert_eq!(shown(&["127.0.0.1:8080:80"]), "127.0.0.1:8080:80/tcp");
        assert_eq!(shown(&["127.0.0.1::80"]), "127.0.0.1:0:80/tcp");
        assert_eq!(shown(&["[::1]:8080:80/udp"]), "[::1]:8080:80/udp");
        assert_eq!(shown(&["[::ffff:192.0.2.1]:1:1"]), "192.0.2.1:1:1/tcp");
        assert_eq!(shown(&["1-65535:1-65535"]), "1-65535:1-65535/tcp");
    }

    #[test]
    fn what_is_no_publication_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "'' is no port"),
            ("70000:80", "'70000' is no port, which is a number from 1 to 65535"),
            ("8080:0", "'0' is no port"),
            ("+80:80", "'+80' is no port"),
            ("80:", "'' is no port"),
            ("http:80", "'http' is no port"),
            ("8000-8010:80-85", "11 ports cannot lead to 6 (hint: give two ranges of the same length"),
            ("8010-8000:80-90", "8010-8000 is no range of ports: it ends before it begins"),
            ("8080:80/sctp", "there is no protocol 'sctp' here (hint: it is tcp or udp)"),
            ("::1:8080:80", "an IPv6 address stands in brackets"),
            ("[::1]8080:80", "behind the address in brackets"),
            ("[127.0.0.1]:8080:80", "'127.0.0.1' is no IPv6 address"),
            ("[::1]:80", "an address stands before two ports"),
            ("127.0.0.1:80", "'127.0.0.1' is no port"),
            ("localhost:8080:80", "'localhost' is no IPv4 address"),
            ("224.0.0.1:8080:80", "224.0.0.1 is no address of a host"),
            ("[fe80::1]:8080:80", "fe80::1 is an address of one link only"),
        ] {
            let refusal = shown(&[text]);
            assert!(refusal.starts_with(&format!("cannot publish {text}: ")) && refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn a_port_is_published_once() {
        let refused = |one: &str, other: &str| shown(&[one, other]).contains("already");
        assert_eq!(
            shown(&["8080:80", "8079-8081:1-3"]),
            "cannot publish 8079-8081:1-3: port 8080 leads to 8080:80/tcp already (hint: choose another port of the \
             host, or 0 for one that is free)"
        );
        assert!(refused("127.0.0.1:80:80", "80:81"));
        assert!(refused("0.0.0.0:80:80", "127.0.0.1:80:81"));
        assert!(refused("[::]:80:80", "[::1]:80:81"));
        for (one, other) in [
            ("80:80", "80:80/udp"),
            ("80:80", "81:80"),
            ("80", "80"),
            ("127.0.0.1:80:80", "127.0.0.2:80:80"),
            ("0.0.0.0:80:80", "[::]:80:80"),
            ("0.0.0.0:80:80", "[::1]:80:80"),
        ] {
            assert!(!refused(one, other), "{one} {other}");
        }
    }
}
