//! The contents of a sandbox's own /etc/resolv.conf and /etc/hosts. Who writes them where is decided elsewhere.

use super::Known;
use crate::error::{Error, Result};
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
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

/// What /etc/resolv.conf says inside. `root` is the host's root directory.
///
/// Never a server that the host does not use itself: if nsl finds none, it says so and leaves them out.
pub fn resolv_conf(root: &Path, reach: Reach) -> Result<Vec<u8>> {
    let host = read(&root.join(RESOLV_CONF))?;
    if reach == Reach::Host {
        return Ok(host);
    }
    let own = without_local_servers(&host);
    if own.servers > 0 || reach == Reach::Nothing {
        return Ok(own.text);
    }
    for file in UPSTREAM {
        let upstream = without_local_servers(&read(&root.join(file))?);
        if upstream.servers > 0 {
            tracing::debug!("name servers come from /{file}: those of /{RESOLV_CONF} are on this host's loopback");
            return Ok(upstream.text);
        }
    }
    tracing::warn!(
        "no name server of this host can be reached from the sandbox: names will not resolve there (hint: write a \
         server's address into /{RESOLV_CONF} in the sandbox, or use --network host)"
    );
    Ok(own.text)
}

/// A missing file is an empty one.
fn read(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| Error::io(format!("read {}", path.display()), &error)),
    }
}

struct Servers {
    text: Vec<u8>,
    servers: usize,
}

/// resolv.conf(5) without comments, which speak of the host, and without servers that only the host can reach.
fn without_local_servers(text: &[u8]) -> Servers {
    let mut left = Servers { text: Vec::with_capacity(text.len()), servers: 0 };
    for line in text.split(|byte| *byte == b'\n') {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match words.next() {
            None | Some([b'#' | b';', ..]) => continue,
            Some(b"nameserver") => {
                if !words.next().is_some_and(is_reachable) {
                    continue;
                }
                left.servers += 1;
            }
            Some(_) => {}
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

/// The servers that a resolv.conf names.
pub fn servers(resolv_conf: &[u8]) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(resolv_conf);
    let server = |line: &str| line.strip_prefix("nameserver")?.split_ascii_whitespace().next()?.parse().ok();
    text.lines().filter_map(server).collect()
}

/// Lines of /etc/hosts for names that keep the addresses they have now.
pub fn lines(known: &[Known]) -> String {
    let mut lines = String::new();
    for (name, addresses) in known {
        for address in addresses {
            let _ = writeln!(lines, "{address} {name}");
        }
    }
    lines
}

/// What /etc/hosts says inside: loopback, and the sandbox by its name. Without an address of its own it is found on
/// loopback, as Debian has it.
pub fn hosts(hostname: &str, address: Option<IpAddr>) -> Vec<u8> {
    let address = address.unwrap_or(Ipv4Addr::new(127, 0, 1, 1).into());
    let alias = match hostname.split_once('.') {
        Some((short, _)) if !short.is_empty() => format!(" {short}"),
        _ => String::new(),
    };
    format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{address} {hostname}{alias}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            String::from_utf8(resolv_conf(&self.0, reach).unwrap()).unwrap()
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
    fn servers_and_lines_are_what_the_files_have() {
        let servers =
            servers(b"search lan\nnameserver 192.0.2.53 # one\nnameserver\t2001:db8::53\n#nameserver 9.9.9.9\n");
        assert_eq!(servers, ["192.0.2.53", "2001:db8::53"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!(lines(&[("a.example".into(), servers)]), "192.0.2.53 a.example\n2001:db8::53 a.example\n");
    }

    #[test]
    fn the_sandbox_knows_itself_by_name() {
        let text = |hostname, address| String::from_utf8(hosts(hostname, address)).unwrap();
        assert!(text("box", Some(Ipv4Addr::new(10, 221, 0, 1).into())).ends_with("\n10.221.0.1 box\n"));
        assert!(text("box.example.org", None).ends_with("\n127.0.1.1 box.example.org box\n"));
        assert!(text("box", None).starts_with("127.0.0.1 localhost\n"));
    }
}
