//! What nft(8) makes of the words, in a network namespace of the test's own.

use super::*;
use netlink_packet_netfilter::nftables::{MetaKey, Operator};
use nix::sched::{CloneFlags, unshare};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

const T: &str = "words";

/// The ruleset as nft prints it once `messages` are carried out. None if there can be no such namespace.
fn printed(messages: Vec<Message>) -> Option<(String, u64)> {
    let work = move || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            assert!(std::env::var_os("NSL_TESTS_MUST_RUN").is_none(), "a network namespace needs root");
            return None;
        }
        let socket = connect().expect("a socket");
        commit(&socket, messages).expect("the kernel takes the rules");
        let output = Command::new("nft").args(["list", "ruleset"]).output().expect("nft runs");
        let counted = packets(&socket, T, "refused").expect("the counter");
        drop(socket);
        let left = Command::new("nft").args(["list", "ruleset"]).output().expect("nft runs");
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "the table has gone with its socket");
        Some((String::from_utf8(output.stdout).expect("a text"), counted))
    };
    std::thread::spawn(work).join().expect("the thread")
}

fn sets() -> Vec<Message> {
    let (v4, v6) = (Type::Ipv4, Type::Ipv6);
    let mut messages = vec![
        set(T, "networks", &[Type::DeviceGroup, Type::DeviceGroup], &[]),
        set(T, "ports", &[Type::Protocol, Type::Port], &[v4, Type::Port]),
        set(T, "bound6", &[v6, Type::Protocol, Type::Port], &[v6, Type::Port]),
    ];
    let port = |number: u16| number.to_be_bytes();
    let inside = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).octets();
    let keys = [
        ("networks", concatenation(&[&5_u32.to_ne_bytes(), &5_u32.to_ne_bytes()]), Vec::new()),
        ("ports", concatenation(&[&[6], &port(8080)]), concatenation(&[&[10, 221, 0, 1], &port(80)])),
        (
            "bound6",
            concatenation(&[&Ipv6Addr::LOCALHOST.octets(), &[17], &port(53)]),
            concatenation(&[&inside, &port(5353)]),
        ),
    ];
    messages.extend(keys.into_iter().flat_map(|(set, key, value)| elements(T, set, &[(key, value)])));
    messages
}

#[test]
fn nft_prints_the_words_as_one_would_write_them() {
    use InetHookNumber::{PostRouting, PreRouting};
    use Operator::{Equal, NotEqual};
    let v4 = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    let v6 = |high, low| IpAddr::V6(Ipv6Addr::new(high, 0xdb8, 0, 0, 0, 0, 0, low));
    let bit = 0x4000_0000;
    let filter = |phrases: &[Phrase]| rule(T, "filter", phrases.to_vec());
    let mut messages = vec![owned_table(T), counter(T, "refused")];
    messages.extend(sets());
    messages.extend([
        chain(T, "filter", "filter", PreRouting, -141),
        chain(T, "nat", "nat", PreRouting, -100),
        chain(T, "post", "nat", PostRouting, 100),
        filter(&[is_for_this_host(), accept()]),
        filter(&[is_rightly_from(false), drop_packet()]),
        filter(&[connection_is(ESTABLISHED | RELATED), mark(bit)]),
        filter(&[connection_is(NEW), count_in("refused")]),
        filter(&[connection_has(DESTINATION_CHANGED), accept()]),
        filter(&[bits(MetaKey::Iifgroup, bit, NotEqual, 0), is_tcp(), reset()]),
        filter(&[bits(MetaKey::Mark, bit, Equal, 0), reject()]),
        filter(&[unmark(bit)]),
        filter(&[address(End::Source, Equal, v4(127, 9, 9, 9), 8), is_ipv4(), accept()]),
        filter(&[address(End::Destination, Equal, v4(10, 1, 2, 200), 25), accept()]),
        filter(&[address(End::Destination, NotEqual, v4(127, 0, 0, 0), 8), accept()]),
        filter(&[address(End::Destination, Equal, v6(0x2001, 7), 32), to_ports(6, &(443..=443)), accept()]),
        filter(&[address(End::Destination, Equal, v6(0x2001, 7), 39), to_ports(17, &(1000..=1005)), accept()]),
        filter(&[address(End::Destination, Equal, v4(9, 9, 9, 9), 0), to_ports(6, &(443..=443)), reject()]),
        filter(&[address(End::Source, Equal, IpAddr::V6(Ipv6Addr::LOCALHOST), 128), accept()]),
        filter(&[icmpv6(&(133..=136)), accept()]),
        filter(&[icmpv6(&(135..=135)), accept()]),
        filter(&[in_set(&[MetaKey::Iifgroup, MetaKey::Oifgroup], "networks"), accept()]),
        filter(&[name_is(MetaKey::Iifname, Equal, "nsl5"), is_ipv6(), accept()]),
        filter(&[name_starts(MetaKey::Iifname, Equal, "nsl"), accept()]),
        rule(T, "nat", [is_for_this_host(), redirect(Type::Ipv4, false, "ports")]),
        rule(T, "nat", [redirect(Type::Ipv6, true, "bound6")]),
        rule(T, "post", [masquerade()]),
    ]);
    let Some((text, counted)) = printed(messages) else { return };
    // Newer ones print the owner's name behind the table's.
    let line = |line: &str| line.split('#').next().unwrap_or_default().trim_end().to_owned();
    let text = text.lines().map(line).collect::<Vec<_>>().join("\n");
    assert_eq!(text.trim(), include_str!("printed.txt").trim(), "{text}");
    assert_eq!(counted, 0);
}

#[test]
fn a_large_transaction_is_one_all_the_same() {
    let elements_of = |port: u16| {
        let port = port.to_be_bytes();
        (concatenation(&[&[6], &port]), concatenation(&[&[10, 221, 0, 1], &port]))
    };
    let all: Vec<_> = (1..=u16::MAX).map(elements_of).collect();
    let mut messages = vec![owned_table(T), counter(T, "refused")];
    messages.push(set(T, "ports", &[Type::Protocol, Type::Port], &[Type::Ipv4, Type::Port]));
    messages.extend(elements(T, "ports", &all));
    let Some((text, _)) = printed(messages) else { return };
    assert!(text.contains("tcp . 65535 : 10.221.0.1 . 65535"));
}
