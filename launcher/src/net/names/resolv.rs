//! /etc/resolv.conf: the host's, as far as its servers can be reached from inside, or what was asked for instead.

use super::read;
use std::net::IpAddr;
use std::path::Path;

const RESOLV_CONF: &str = "etc/resolv.conf";
/// The files with the servers behind a local one: of systemd-resolved, of `NetworkManager`.
const UPSTREAM: [&str; 2] = ["run/systemd/resolve/resolv.conf", "run/NetworkManager/no-stub-resolv.conf"];

/// How far a sandbox's network reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It is the host's network: all servers of the host are there.
    Host,
    /// A network of its own with a way out: servers on the host's loopback are not there.
    Outside,
    /// No way out.
    Nothing,
}

/// What was asked for of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dns {
    /// Instead of all servers, if there are any.
    pub servers: Vec<IpAddr>,
    /// Instead of `search` and `domain`.
    pub search: Option<Vec<String>>,
}

impl Dns {
    /// `text` with what was asked for in the place of what it says of that.
    pub fn applied_to(&self, text: Vec<u8>) -> Vec<u8> {
        if *self == Self::default() {
            return text;
        }
        let mut out = Vec::with_capacity(text.len());
        for (keyword, line) in lines(&text) {
            let replaced = match keyword {
                b"nameserver" => !self.servers.is_empty(),
                b"search" | b"domain" => self.search.is_some(),
                _ => false,
            };
            if !replaced {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
        }
        for server in &self.servers {
            out.extend_from_slice(format!("nameserver {server}\n").as_bytes());
        }
        if let Some(search) = self.search.as_ref().filter(|search| !search.is_empty()) {
            out.extend_from_slice(format!("search {}\n", search.join(" ")).as_bytes());
        }
        out
    }
}

/// The servers that a resolv.conf names.
pub fn servers(resolv_conf: &[u8]) -> Vec<IpAddr> {
    let named = lines(resolv_conf).filter(|(keyword, _)| *keyword == b"nameserver");
    named.filter_map(|(_, line)| str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()).collect()
}

/// What /etc/resolv.conf says inside. `root` is the host's root directory.
///
/// Never a server that the host does not use itself, unless it was asked for: if nsl finds none, it says so and leaves
/// them out.
pub fn resolv_conf(root: &Path, reach: Reach, dns: &Dns) -> Vec<u8> {
    let host = read(&root.join(RESOLV_CONF));
    if reach == Reach::Host || !dns.servers.is_empty() {
        return dns.applied_to(host);
    }
    let own = without_local_servers(&host);
    if own.servers > 0 || reach == Reach::Nothing {
        return dns.applied_to(own.text);
    }
    for file in UPSTREAM {
        let upstream = without_local_servers(&read(&root.join(file)));
        if upstream.servers > 0 {
            tracing::debug!("name servers come from /{file}: those of /{RESOLV_CONF} are on this host's loopback");
            return dns.applied_to(upstream.text);
        }
    }
    tracing::warn!(
        "no name server of this host can be reached from the sandbox: names will not resolve there (hint: name one \
         with --dns ADDRESS, or use --network host)"
    );
    dns.applied_to(own.text)
}

/// resolv.conf(5): lines with their keywords, without comments, which speak of the host.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        // Of CR LF the resolver would take the first for a part of an address.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()) {
            None | Some([b'#' | b';', ..]) => None,
            Some(keyword) => Some((keyword, line)),
        }
    })
}

struct Servers {
    text: Vec<u8>,
    servers: usize,
}

/// What is left without servers that only the host can reach.
fn without_local_servers(text: &[u8]) -> Servers {
    let mut left = Servers { text: Vec::with_capacity(text.len()), servers: 0 };
    for (keyword, line) in lines(text) {
        if keyword == b"nameserver" {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            if !words.nth(1).is_some_and(is_reachable) {
                continue;
            }
            left.servers += 1;
        }
        left.text.extend_from_slice(line);
        left.text.push(b'\n');
    }
    left
}

/// An address of this host's alone (0.0.0.0 stands for loopback), or one that is valid on one of its links only
/// (`fe80::1%eth0`), is not.
fn is_reachable(server: &[u8]) -> bool {
    str::from_utf8(server)
        .ok()
        .and_then(|server| server.parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .is_some_and(|address| !address.is_loopback() && !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const STUB: &str = "# managed by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n";

    fn filtered(text: &str) -> (String, usize) {
        let Servers { text, servers } = without_local_servers(text.as_bytes());
        (String::from_utf8(text).unwrap(), servers)
    }

    /// A root directory with these files, removed at the end of the test.
    struct Root(std::path::PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("nsl-names-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn resolv_conf(&self, reach: Reach) -> String {
            String::from_utf8(resolv_conf(&self.0, reach, &Dns::default())).unwrap()
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn servers_on_loopback_are_left_out_and_all_else_stays() {
        assert_eq!(
            filtered("nameserver 127.0.0.1\nnameserver\t9.9.9.9 # one\nsearch lan\n"),
            ("nameserver\t9.9.9.9 # one\nsearch lan\n".into(), 1)
        );
        assert_eq!(filtered("nameserver ::1\nnameserver 0.0.0.0\nnameserver ::ffff:127.0.0.1\n"), (String::new(), 0));
        assert_eq!(
            filtered("nameserver fe80::1%eth0\nnameserver\nnameserver fd00::53"),
            ("nameserver fd00::53\n".into(), 1)
        );
        assert_eq!(filtered(STUB), ("options edns0 trust-ad\nsearch lan\n".into(), 0));
    }

    #[test]
    fn the_hosts_network_has_the_hosts_file() {
        let root = Root::new("host", &[(RESOLV_CONF, STUB)]);
        assert_eq!(root.resolv_conf(Reach::Host), STUB);
    }

    #[test]
    fn a_stub_is_replaced_by_the_servers_behind_it() {
        let root = Root::new("resolved", &[(RESOLV_CONF, STUB), (UPSTREAM[0], "nameserver 192.0.2.53\nsearch lan\n")]);
        assert_eq!(root.resolv_conf(Reach::Outside), "nameserver 192.0.2.53\nsearch lan\n");
        assert_eq!(root.resolv_conf(Reach::Nothing), "options edns0 trust-ad\nsearch lan\n");
        let root =
            Root::new("manager", &[(RESOLV_CONF, "nameserver 127.0.0.1\n"), (UPSTREAM[1], "nameserver 192.0.2.1\n")]);
        assert_eq!(root.resolv_conf(Reach::Outside), "nameserver 192.0.2.1\n");
    }

    #[test]
    fn without_a_server_in_reach_the_rest_is_kept() {
        let root = Root::new("none", &[(RESOLV_CONF, STUB)]);
        assert_eq!(root.resolv_conf(Reach::Outside), "options edns0 trust-ad\nsearch lan\n");
        assert_eq!(Root::new("missing", &[]).resolv_conf(Reach::Outside), "");
    }

    #[test]
    fn servers_are_those_that_resolvers_ask() {
        let found =
            servers(b"search lan\nnameserver 192.0.2.53 # one\nnameserver\t2001:db8::53\n#nameserver 9.9.9.9\n");
        assert_eq!(found, ["192.0.2.53", "2001:db8::53"].map(|text| text.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn odd_lines_are_read_as_the_resolver_reads_them() {
        let (text, servers) = filtered("nameserver 192.0.2.1\r\n\r\nsearch lan\r\nnameserver fd00::53");
        assert_eq!((text.as_str(), servers), ("nameserver 192.0.2.1\nsearch lan\nnameserver fd00::53\n", 2));
        let many = "nameserver 192.0.2.1\n".repeat(100);
        assert_eq!(filtered(&many), (many.clone(), 100));
        assert_eq!(without_local_servers(b"\0\xff\n nameserver \xff\n").text, b"\0\xff\n");
    }

    #[test]
    fn what_was_asked_for_replaces_what_the_host_says() {
        let text = "nameserver 127.0.0.53\noptions edns0\ndomain lan\nsearch lan\n";
        let root = Root::new("asked", &[(RESOLV_CONF, text)]);
        let asked = |reach, servers: &[&str], search: Option<&[&str]>| {
            let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
            let search = search.map(|search| search.iter().map(|&domain| domain.to_owned()).collect());
            String::from_utf8(resolv_conf(&root.0, reach, &Dns { servers, search })).unwrap()
        };
        let lan = "options edns0\ndomain lan\nsearch lan\n";
        let servers = ["192.0.2.7", "fd00::7"];
        for reach in [Reach::Host, Reach::Outside, Reach::Nothing] {
            assert_eq!(asked(reach, &servers, None), format!("{lan}nameserver 192.0.2.7\nnameserver fd00::7\n"));
            let one = asked(reach, &servers[..1], Some(&["a.example", "b.example"]));
            assert_eq!(one, "options edns0\nnameserver 192.0.2.7\nsearch a.example b.example\n");
        }
        assert_eq!(asked(Reach::Host, &[], Some(&[])), "nameserver 127.0.0.53\noptions edns0\n");
        assert_eq!(asked(Reach::Nothing, &[], Some(&[])), "options edns0\n");
    }
}
