//! /etc/hosts: loopback, the sandbox by its name, the names that were asked for, and the other members of its network.

use std::net::{IpAddr, Ipv4Addr};

/// The longest name of a host (`HOST_NAME_MAX`).
pub const HOSTNAME_MAX: usize = 64;

/// A name that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub name: String,
    pub target: Target,
}

/// Whom a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Address(IpAddr),
    /// This host, where a sandbox finds it.
    Host,
}

/// What the file says, but for the addresses that are known only when the network is made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hosts {
    pub hostname: String,
    pub entries: Vec<Entry>,
    /// The file of a process whose network is shared, to begin with.
    pub shared: Option<Vec<u8>>,
}

impl Hosts {
    /// `own` are the sandbox's addresses: without one it is found on loopback, as Debian has it. `host` is where this
    /// host is found; `others` are lines of their own.
    pub fn text(&self, own: &[IpAddr], host: Option<IpAddr>, others: impl Iterator<Item = String>) -> Vec<u8> {
        let mut text = match &self.shared {
            Some(shared) => shared.clone(),
            None => b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_vec(),
        };
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
        }
        let mut push = |line: String| {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        };
        if !own.is_empty() {
            for address in own {
                push(line(*address, &self.hostname));
            }
        } else if !self.shared.as_deref().is_some_and(|shared| has_name(shared, &self.hostname)) {
            push(line(Ipv4Addr::new(127, 0, 1, 1), &self.hostname));
        }
        for Entry { name, target } in &self.entries {
            match (*target, host) {
                (Target::Address(address), _) | (Target::Host, Some(address)) => push(format!("{address} {name}")),
                (Target::Host, None) => {}
            }
        }
        others.for_each(push);
        text
    }

    /// Does a name lead to this host?
    pub fn name_the_host(&self) -> bool {
        self.entries.iter().any(|entry| entry.target == Target::Host)
    }
}

/// An address by a hostname, and by what stands before the hostname's first dot.
pub fn line(address: impl Into<IpAddr>, hostname: &str) -> String {
    let alias = match hostname.split_once('.') {
        Some((short, _)) if !short.is_empty() => format!(" {short}"),
        _ => String::new(),
    };
    format!("{} {hostname}{alias}", address.into())
}

/// Can it stand in a list of names, one word of it?
pub fn is_hostname(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=HOSTNAME_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// hosts(5): what stands behind an address, up to a comment.
fn has_name(text: &[u8], name: &str) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.skip(1).any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hosts: &Hosts, own: &[&str], host: Option<&str>) -> String {
        let own: Vec<IpAddr> = own.iter().map(|address| address.parse().unwrap()).collect();
        let host = host.map(|address| address.parse().unwrap());
        String::from_utf8(hosts.text(&own, host, std::iter::empty())).unwrap()
    }

    fn named(hostname: &str) -> Hosts {
        Hosts { hostname: hostname.into(), ..Hosts::default() }
    }

    #[test]
    fn the_sandbox_knows_itself_by_name() {
        let addresses = ["10.221.0.1", "fd00::1"];
        assert!(text(&named("box"), &addresses, None).ends_with("\n10.221.0.1 box\nfd00::1 box\n"));
        assert!(text(&named("box.example.org"), &[], None).ends_with("\n127.0.1.1 box.example.org box\n"));
        assert!(text(&named("box"), &[], None).starts_with("127.0.0.1 localhost\n"));
    }

    #[test]
    fn names_that_were_asked_for_come_behind_it() {
        let entry = |name: &str, target| Entry { name: name.into(), target };
        let address = Target::Address("fd00::5".parse().unwrap());
        let hosts = Hosts { entries: vec![entry("a", address), entry("b", Target::Host)], ..named("box") };
        assert!(text(&hosts, &[], Some("10.221.0.0")).ends_with(" box\nfd00::5 a\n10.221.0.0 b\n"));
        assert!(text(&hosts, &[], None).ends_with(" box\nfd00::5 a\n"));
    }

    #[test]
    fn a_shared_file_is_what_it_begins_with() {
        let with = |shared: &str| Hosts { shared: Some(shared.into()), ..named("box") };
        assert_eq!(text(&with("10.0.0.1 other"), &[], None), "10.0.0.1 other\n127.0.1.1 box\n");
        assert_eq!(text(&with("10.0.0.1 other BOX # x\n"), &[], None), "10.0.0.1 other BOX # x\n");
        assert_eq!(text(&with("10.0.0.1 other # box\n"), &[], None), "10.0.0.1 other # box\n127.0.1.1 box\n");
        assert_eq!(text(&with("box x\n"), &[], None), "box x\n127.0.1.1 box\n");
    }
}
