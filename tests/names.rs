//! Names inside: the servers that are asked, the hosts that are known, and a host whose own files are anything.

use crate::harness::{DIR, Host, in_network_of};
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

/// `nsl run OPTIONS -- sh -c SCRIPT`
fn sh<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run"], options, &["--", "sh", "-c", script]].concat()
}

const RESOLV_CONF: &str = "cat /etc/resolv.conf";
/// A host whose file has a bit of everything.
const HOSTS_FILE: &str =
    r"printf 'nameserver 127.0.0.53\nnameserver 192.0.2.9\noptions ndots:2\nsearch lan\n' > /etc/resolv.conf";

#[test]
fn servers_and_search_lists_that_are_asked_for_replace_the_hosts() {
    let host = crate::own_host!("ip");
    host.sh(HOSTS_FILE);
    let servers = ["--dns", "192.0.2.1", "--dns", "2001:db8::1"];
    for options in [&[][..], &["--network", "none"], &["--network", "host"]] {
        let run = |more: &[&str]| host.nsl(sh(&[options, more].concat(), RESOLV_CONF)).run();
        let expected = "options ndots:2\nsearch lan\nnameserver 192.0.2.1\nnameserver 2001:db8::1";
        run(&servers).assert_prints(expected);
        let own = if options == ["--network", "host"] { "nameserver 127.0.0.53\n" } else { "" };
        let search = ["--dns-search", "a.example", "--dns-search", "b.example"];
        let expected = format!("{own}nameserver 192.0.2.9\noptions ndots:2\nsearch a.example b.example");
        run(&search).assert_prints(&expected);
        run(&["--dns-search", "."]).assert_prints(&format!("{own}nameserver 192.0.2.9\noptions ndots:2"));
    }
    // The host's own are what they were.
    host.nsl(sh(&[], RESOLV_CONF)).run().assert_prints("nameserver 192.0.2.9\noptions ndots:2\nsearch lan");
}

#[test]
fn a_fourth_server_is_one_too_many_and_this_is_said() {
    let host = crate::host!();
    let servers = ["1", "2", "3", "4"].map(|last| format!("192.0.2.{last}"));
    let options: Vec<_> = servers.iter().flat_map(|server| ["--dns", server]).collect();
    let output = host.nsl(sh(&options, "grep -c nameserver /etc/resolv.conf")).run();
    output.assert_code(0).assert_stdout("4");
    assert!(output.stderr().contains("of 4 servers of --dns, resolvers ask the first 3 only"), "{output}");
}

/// A server of names that knows one, by its address of IPv4.
fn serve_name(host: &Host, name: &'static str, address: Ipv4Addr) {
    let socket = in_network_of(host.pid(), || UdpSocket::bind(("0.0.0.0", 53)).expect("bind"));
    let question: Vec<u8> =
        name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).chain([0]).collect();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
            let kind = query[end - 3];
            let is_known = query[12..end - 4] == question;
            let code = if is_known { 0x80 } else { 0x83 };
            let answers = u8::from(is_known && kind == 1);
            let mut reply = [&query[..2], &[0x81, code, 0, 1, 0, answers, 0, 0, 0, 0], &query[12..end]].concat();
            if answers == 1 {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                reply.extend(address.octets());
            }
            let _ = socket.send_to(&reply, from);
        }
    });
}

#[test]
fn the_server_that_was_named_answers() {
    let host = crate::host!("ip");
    serve_name(&host, "box.a.example", Ipv4Addr::new(192, 0, 2, 77));
    let options = ["--ip", "192.168.81.2/24", "--dns", "192.168.81.1", "--dns-search", "a.example"];
    let script = "getent -s dns ahostsv4 box | grep -m1 -o '^192.0.2.77'; getent -s dns ahostsv4 other || echo unknown";
    host.nsl(sh(&options, script)).run().assert_prints("192.0.2.77\nunknown");
}

#[test]
fn hosts_that_are_added_are_found() {
    let host = crate::host!("ip");
    let added = ["--add-host", "db:192.0.2.7", "--add-host", "six:2001:db8::7", "--add-host", "more.six:[2001:db8::8]"];
    let script = "for name in db six more.six; do getent -s files hosts $name; done | tr -s ' '";
    let expected = "192.0.2.7 db\n2001:db8::7 six\n2001:db8::8 more.six";
    for options in [&[][..], &["--network", "none"], &["--network", "host"], &["--userns", "auto"]] {
        host.nsl(sh(&[&added, options].concat(), script)).run().assert_prints(expected);
    }
    host.nsl(sh(&[&added[..], &["--network", "none"]].concat(), script)).as_user().run().assert_prints(expected);
}

#[test]
fn host_gateway_is_this_host_wherever_there_is_a_way_to_it() {
    let host = crate::host!("ip");
    let gateway = ["--add-host", "gate:host-gateway"];
    let same = "test \"$(getent -s files hosts gate | cut -d' ' -f1)\" = \"$(ip route show default | cut -d' ' -f3)\" &&
        grep -c gate /etc/hosts && hostname -i | grep -o \"$(ip -4 -o addr show eth0 | tr -s ' ' | cut -d' ' -f4 | cut -d/ -f1)\"";
    let roots: [&[&str]; 4] = [&[], &["--read-only"], &["--userns", "auto"], &["--network", "veth:web"]];
    for options in roots {
        let output = host.nsl(sh(&[&gateway, options].concat(), same)).run();
        assert!(output.code == 0 && output.stdout().starts_with("1\n10.221."), "{output}");
    }
    let fixed = [&gateway[..], &["--ip", "192.168.82.2/24"]].concat();
    let script = "tail -n 2 /etc/hosts";
    host.nsl(sh(&fixed, script)).run().assert_prints("192.168.82.2 nsl\n192.168.82.1 gate");
    let shared = [&gateway[..], &["--network", "host"]].concat();
    host.nsl(sh(&shared, script)).run().assert_prints("127.0.1.1 nsl\n127.0.0.1 gate");
}

#[test]
fn names_that_cannot_be_are_refused() {
    let host = crate::host!();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--dns", "one.one"], &["use --dns one.one", "no IPv4 or IPv6 address", "hint"]),
        (&["--dns", "127.0.0.53"], &["use --dns 127.0.0.53", "loopback is the sandbox's own", "--network host"]),
        (&["--dns", "::1"], &["loopback is the sandbox's own"]),
        (&["--dns", "fe80::1"], &["one link only"]),
        (&["--dns-search", "a b"], &["use --dns-search a b", "only letters"]),
        (&["--dns-search", ".", "--dns-search", "a"], &["no domain at all"]),
        (&["--add-host", "db"], &["use --add-host db", "the address is missing", "hint"]),
        (&["--add-host", "db:x"], &["no IPv4 or IPv6 address"]),
        (&["--add-host", "d/b:192.0.2.1"], &["only letters"]),
        (&["--network", "none", "--add-host", "h:host-gateway"], &["no way to this host", "veth"]),
        (&["--internal", "--add-host", "h:host-gateway"], &["no way to this host", "leave one"]),
    ];
    for (options, words) in cases {
        host.nsl(sh(options, "true")).run().assert_refused(125, words);
    }
    let loopback = ["--network", "host", "--dns", "127.0.0.53"];
    host.nsl(sh(&loopback, "tail -n 1 /etc/resolv.conf")).run().assert_prints("nameserver 127.0.0.53");
}

#[test]
fn a_host_without_a_server_in_reach_is_told_of_dns() {
    let host = crate::own_host!("ip");
    host.sh("rm -f /etc/resolv.conf; echo nameserver 127.0.0.1 > /etc/resolv.conf; rm -r /run/systemd");
    let output = host.nsl(sh(&[], RESOLV_CONF)).run();
    output.assert_code(0).assert_stdout("");
    assert!(output.stderr().contains("no name server of this host can be reached"), "{output}");
    assert!(output.stderr().contains("--dns ADDRESS"), "{output}");
    host.nsl(sh(&["--dns", "192.0.2.1"], RESOLV_CONF)).run().assert_prints("nameserver 192.0.2.1");
    host.sh("mkdir -p /run/systemd/resolve");
    host.sh(
        "echo nameserver 192.0.2.53 | tee /run/systemd/resolve/resolv.conf > /run/systemd/resolve/stub-resolv.conf",
    );
}

/// Whatever lies there: a sandbox starts, at once, and says what is wrong.
#[test]
fn whatever_the_hosts_resolv_conf_is_a_sandbox_starts() {
    let host = crate::own_host!("ip", "mkfifo");
    let cases = [
        ("mkfifo", "mkfifo /etc/resolv.conf", "it is no regular file", 0),
        ("directory", "mkdir /etc/resolv.conf", "Is a directory", 0),
        ("device", "ln -s /dev/zero /etc/resolv.conf", "it is no regular file", 0),
        ("loop", "ln -s resolv.conf /etc/resolv.conf", "Too many", 0),
        ("huge", "yes nameserver 192.0.2.1 | head -c 30000000 > /etc/resolv.conf", "longer than 64 kB", 3120),
        ("one line", "head -c 30000000 /dev/zero | tr '\\0' x > /etc/resolv.conf", "longer than 64 kB", 0),
        ("binary", "head -c 9999 /dev/urandom | tr '\\n' x > /etc/resolv.conf", "no name server", 0),
        ("hundred", "for n in $(seq 100); do echo nameserver 192.0.2.$n; done > /etc/resolv.conf", "", 100),
        ("no newline", "printf 'nameserver 192.0.2.1' > /etc/resolv.conf", "", 1),
        ("CR LF", "printf 'nameserver 192.0.2.1\\r\\nsearch lan\\r\\n' > /etc/resolv.conf", "", 1),
        ("missing", "true", "no name server", 0),
    ];
    host.sh("mv /run/systemd /run/away");
    for (name, make, warning, servers) in cases {
        host.sh(&format!("rm -rf /etc/resolv.conf; {make}"));
        let script = "grep -cax 'nameserver 192[.0-9]*' /etc/resolv.conf; true";
        let output = host.nsl(sh(&[], script)).run();
        output.assert_code(0).assert_stdout(&servers.to_string());
        assert!(
            output.stderr().contains(warning) && output.stderr.is_empty() == warning.is_empty(),
            "{name}: {output}"
        );
        for options in [&["--network", "none"][..], &["--network", "host"], &["--dns", "192.0.2.200"]] {
            host.nsl(sh(options, "true")).run().assert_code(0);
        }
    }
    host.sh(&format!("rm -rf /etc/resolv.conf; mv /run/away /run/systemd; rm -rf {DIR}/x"));
}
