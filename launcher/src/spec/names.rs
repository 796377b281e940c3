//! The words of --dns, --dns-search and --add-host, given their meaning on a network.

use super::Network;
use crate::cli::Run;
use crate::error::{Error, Result};
use crate::net::names::{Dns, Entry, Hosts, Target};
use std::net::IpAddr;
use tracing::warn;

/// Servers that resolvers ask: `MAXNS` of resolv.conf(5).
const SERVERS_MAX: usize = 3;
/// The longest name in the DNS.
const NAME_MAX: usize = 253;
/// What stands for this host in --add-host: the word is docker's.
const HOST: &str = "host-gateway";

pub fn dns(run: &Run, network: &Network) -> Result<Dns> {
    let servers = run.dns.iter().map(|text| server(text, network)).collect::<Result<Vec<_>>>()?;
    if servers.len() > SERVERS_MAX {
        warn!("of {} servers of --dns, resolvers ask the first {SERVERS_MAX} only", servers.len());
    }
    Ok(Dns { servers, search: search(&run.dns_search)? })
}

fn server(text: &str, network: &Network) -> Result<IpAddr> {
    let fail = |cause: &'static str| Error::new(format!("use --dns {text}"), cause);
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(fail("it is no IPv4 or IPv6 address").hint("such as 192.0.2.53 or 2001:db8::53"));
    };
    match address.to_canonical() {
        plain if plain.is_unspecified() || plain.is_multicast() => Err(fail("it is no address of a server")),
        IpAddr::V6(plain) if plain.is_unicast_link_local() => {
            Err(fail("it is valid on one link only, which nobody knows inside").hint("give another of its addresses"))
        }
        plain if plain.is_loopback() && matches!(network, Network::Veth(_) | Network::Pasta(_) | Network::None) => {
            Err(fail("inside, loopback is the sandbox's own, where this host's servers are not")
                .hint("give an address that is reached from there, or use --network host"))
        }
        _ => Ok(address),
    }
}

fn search(words: &[String]) -> Result<Option<Vec<String>>> {
    match words {
        [] => Ok(None),
        [none] if none == "." => Ok(Some(Vec::new())),
        domains => {
            for domain in domains {
                let step = || format!("use --dns-search {domain}");
                if domain == "." {
                    return Err(Error::new(step(), "it stands for no domain at all, and there are others")
                        .hint("leave one of the two out"));
                }
                check_name(step, domain.strip_suffix('.').unwrap_or(domain))?;
            }
            Ok(Some(domains.to_vec()))
        }
    }
}

pub fn hosts(run: &Run, network: &Network, hostname: &str) -> Result<Hosts> {
    let entries = run.add_host.iter().map(|text| entry(text, network)).collect::<Result<_>>()?;
    let shared = match network {
        Network::Join(join) => join.hosts.clone(),
        _ => None,
    };
    Ok(Hosts { hostname: hostname.to_owned(), entries, shared })
}

fn entry(text: &str, network: &Network) -> Result<Entry> {
    let step = || format!("use --add-host {text}");
    let (name, address) = text
        .split_once(':')
        .ok_or_else(|| Error::new(step(), "the address is missing").hint("write it like db:192.0.2.7"))?;
    check_name(step, name)?;
    let target = if address == HOST {
        check_host_gateway(network).map_err(|(cause, hint)| Error::new(step(), cause).hint(hint))?;
        Target::Host
    } else {
        let plain = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match plain {
            Some(plain) => plain.parse().map(IpAddr::V6).ok(),
            None => address.parse().ok(),
        };
        Target::Address(address.ok_or_else(|| {
            Error::new(step(), "what stands behind the name is no IPv4 or IPv6 address")
                .hint(format!("such as 192.0.2.7, [2001:db8::7], or {HOST} for this host"))
        })?)
    };
    Ok(Entry { name: name.to_owned(), target })
}

/// Is there an address of this host's inside? If not, why, and what can be done.
fn check_host_gateway(network: &Network) -> std::result::Result<(), (&'static str, &'static str)> {
    match network {
        Network::Veth(veth) if veth.internal => {
            Err(("with --internal there is no way to this host", "leave one of the two out"))
        }
        Network::Veth(_) | Network::Host => Ok(()),
        Network::Pasta(_) => {
            Err(("with pasta the sandbox has this host's addresses itself", "give an address of another host"))
        }
        Network::None => Err(("with --network none there is no way to this host", "use --network veth")),
        Network::Join(_) => {
            Err(("how this host is reached from a network that was joined, nsl does not know", "give the address"))
        }
    }
}

fn check_name(step: impl Fn() -> String, name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Error::new(step(), format!("a name has 1 to {NAME_MAX} characters")));
    }
    if !name.bytes().all(fits) {
        return Err(Error::new(step(), "only letters, digits, '-', '_' and '.' can stand in a name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;

    fn veth() -> Network {
        Network::Veth(net::plan(&net::Request::default()).unwrap())
    }

    #[test]
    fn servers_are_addresses_in_reach() {
        let refusal = |text, network: &Network| server(text, network).unwrap_err().to_string();
        assert_eq!(server("192.0.2.1", &veth()).unwrap().to_string(), "192.0.2.1");
        assert_eq!(server("fd00::53", &Network::None).unwrap().to_string(), "fd00::53");
        for text in ["127.0.0.53", "::1", "::ffff:127.0.0.1"] {
            assert!(refusal(text, &veth()).contains("loopback is the sandbox's own"), "{text}");
            assert!(refusal(text, &Network::None).contains("loopback is the sandbox's own"), "{text}");
            assert!(server(text, &Network::Host).is_ok(), "{text}");
        }
        for text in ["", "one.one", "1.2.3", "1.2.3.4 ", "0.0.0.0", "::", "224.0.0.1", "fe80::1", "fe80::1%eth0"] {
            assert!(refusal(text, &Network::Host).starts_with("cannot use --dns"), "{text}");
        }
    }

    #[test]
    fn a_search_list_is_replaced_by_domains_or_none() {
        let search = |words: &[&str]| search(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(search(&[]).unwrap(), None);
        assert_eq!(search(&["."]).unwrap(), Some(vec![]));
        assert_eq!(search(&["a.example", "b."]).unwrap(), Some(vec!["a.example".into(), "b.".into()]));
        for words in [&["a", "."][..], &[""], &["a b"], &["a\nnameserver 192.0.2.1"], &[&"x".repeat(254)]] {
            assert!(search(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn added_hosts_are_names_with_addresses() {
        let target = |text| entry(text, &veth()).unwrap().target;
        let address = |text: &str| Target::Address(text.parse().unwrap());
        assert_eq!(target("db:192.0.2.7"), address("192.0.2.7"));
        assert_eq!(target("db:2001:db8::7"), address("2001:db8::7"));
        assert_eq!(target("db_1.example:[::1]"), address("::1"));
        assert_eq!(target("host:host-gateway"), Target::Host);
        assert!(entry("host:host-gateway", &Network::None).unwrap_err().to_string().contains("no way to this host"));
        for text in
            ["db", "db:", ":192.0.2.7", "a b:192.0.2.7", "a\n:192.0.2.7", "db:192.0.2", "db:[192.0.2.7]", "db:[::1"]
        {
            assert!(entry(text, &veth()).is_err(), "{text}");
        }
    }
}
