//! Egress lists: what is on them is reached, and nothing else, whatever becomes of nsl.

use crate::harness::{DIR, Host, Running, in_network_of, wait_until};
use crate::ports::{SERVE, client, end, heard, serving, tcp, uplink, watched};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// A sandbox that waits, its events in a file; the process that is its init.
fn waiting(host: &Host, options: &[&str]) -> (Running, u32) {
    let mut running = watched(host, &[options, &["--", "sh", "-c", "echo up; cat"]].concat());
    assert_eq!(running.line(), "up");
    let init = running.init();
    (running, init)
}

/// Ends it, and gives what the last event says of connections that were refused.
#[track_caller]
fn refused(host: &Host, running: Running) -> Value {
    running.finish().assert_code(0).assert_quiet();
    let events = std::fs::read_to_string(host.path(format!("{DIR}/events"))).expect("events");
    let exited: Value = serde_json::from_str(events.lines().last().expect("a line")).expect("a JSON object");
    assert_eq!(exited["event"], "exited");
    exited["refused"].clone()
}

/// A server beyond, of TCP and UDP, on these ports.
fn beyond(host: &Host, outside: u32, ports: &[&str]) -> Running {
    let pid = outside.to_string();
    let words = [&["-t", &*pid, "-n", "perl", "-e", SERVE, "beyond"], ports].concat();
    let mut server = host.command("nsenter", words).start();
    assert_eq!(server.line(), "ready");
    server
}

/// Fails at once: nobody waits for an answer that does not come.
#[track_caller]
fn assert_refused(pid: u32, address: &str) {
    let start = Instant::now();
    assert_eq!(tcp(pid, address), "refused", "{address}");
    assert!(start.elapsed() < Duration::from_millis(200), "{address} took {:?}", start.elapsed());
}

#[track_caller]
fn assert_refused_by_udp(pid: u32, address: &str) {
    let start = Instant::now();
    let answer = heard(&client(pid, address), "hello");
    assert!(
        ["No route to host", "Permission denied"].iter().any(|error| answer.starts_with(error)),
        "{address}: {answer}"
    );
    assert!(start.elapsed() < Duration::from_millis(200), "{address} took {:?}", start.elapsed());
}

#[test]
fn what_is_on_the_list_is_reached_and_the_rest_fails_at_once_and_is_counted() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    let server = beyond(&host, outside, &["tcp/7001", "tcp/7002", "udp/7001", "udp/7002"]);
    let options = [
        "--egress",
        "198.51.100.0/24:7001",
        "--egress",
        "[2001:db8::1]:7000-7001",
        "--egress",
        "198.51.100.1:7001/udp",
    ];
    let (running, init) = waiting(&host, &options);
    assert_eq!(tcp(init, "198.51.100.1:7001"), "beyond to 198.51.100.2");
    assert_eq!(tcp(init, "[2001:db8::1]:7001"), "beyond to 2001:db8::2");
    assert_eq!(heard(&client(init, "198.51.100.1:7001"), "hello"), "beyond heard hello");
    for address in
        ["198.51.100.1:7002", "[2001:db8::1]:7002", "[2001:db8::2]:7001", "192.0.2.1:7001", "10.221.0.0:7001"]
    {
        assert_refused(init, address);
    }
    for address in ["198.51.100.1:7002", "[2001:db8::1]:7001", "198.51.100.2:53"] {
        assert_refused_by_udp(init, address);
    }
    assert_eq!(refused(&host, running), 8);
    // All ports of one address, and nothing of another.
    let (running, init) = waiting(&host, &["--egress", "198.51.100.1"]);
    assert_eq!(tcp(init, "198.51.100.1:7002"), "beyond to 198.51.100.2");
    assert_eq!(heard(&client(init, "198.51.100.1:7002"), "hello"), "beyond heard hello");
    assert_refused(init, "[2001:db8::1]:7002");
    assert_eq!(refused(&host, running), 1);
    // Without a list all is reached, and nothing is said.
    let (running, init) = waiting(&host, &[]);
    assert_eq!(tcp(init, "[2001:db8::1]:7002"), "beyond to 2001:db8::2");
    assert_eq!(refused(&host, running), Value::Null);
    end(server);
}

#[test]
fn with_nothing_on_the_list_nothing_is_reached_but_who_calls_is_answered() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    let server = beyond(&host, outside, &["tcp/7001"]);
    let mut local = host.command("perl", ["-e", SERVE, "host", "tcp/7002"]).start();
    assert_eq!(local.line(), "ready");
    let web = serving(&host, &["--egress", "none", "-p", "8080:80", "-p", "5353:53/udp"], "web", &["tcp/80", "udp/53"]);
    let init = web.init();
    assert_eq!(tcp(outside, "198.51.100.2:8080"), "web to 198.51.100.1");
    assert_eq!(tcp(outside, "[2001:db8::2]:8080"), "web to 2001:db8::1");
    assert_eq!(heard(&client(outside, "198.51.100.2:5353"), "hello"), "web heard hello");
    assert!(tcp(host.pid(), "127.0.0.1:8080").starts_with("web to "));
    // Of its own it reaches neither what is beyond nor the host nor its own published port.
    for address in
        ["198.51.100.1:7001", "[2001:db8::1]:7001", "198.51.100.2:7002", "[2001:db8::2]:7002", "198.51.100.2:8080"]
    {
        assert_refused(init, address);
    }
    let ping = in_network_of(init, || {
        let mut command = std::process::Command::new("ping");
        command.args(["-c", "1", "-W", "2", "198.51.100.1"]).output().expect("ping")
    });
    let output = String::from_utf8_lossy(&ping.stdout).into_owned();
    assert!(output.contains("Packet filtered"), "{output}");
    end(web);
    end(local);
    end(server);
}

#[test]
fn the_list_holds_when_other_rules_are_flushed() {
    let mut host = crate::host!("perl", "ip", "nft");
    let outside = uplink(&mut host);
    let server = beyond(&host, outside, &["tcp/7001", "tcp/7002"]);
    let (running, init) = waiting(&host, &["--egress", "198.51.100.2:7001"]);
    host.sh("nft delete table inet nsl; nft list tables");
    // The way back needs no NAT.
    let address = in_network_of(init, || {
        let socket = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("198.51.100.1:9").map(|()| socket));
        socket.and_then(|socket| socket.local_addr()).expect("the sandbox's address").ip()
    });
    host.sh(&format!("nsenter -t {outside} -n ip route add {address} via 198.51.100.2"));
    for address in ["198.51.100.1:7001", "198.51.100.1:7002"] {
        assert_refused(init, address);
    }
    assert_eq!(refused(&host, running), 2);
    end(server);
}

/// Sends datagrams as fast as it can.
const FLOOD: &str = r"use Socket; socket my $s, AF_INET, SOCK_DGRAM, 0 or die $!; $| = 1; print qq(up\n);
    my $to = sockaddr_in(7002, inet_aton '198.51.100.1'); for (;;) { send $s, 'x', 0, $to }";

#[test]
fn an_nsl_that_is_killed_opens_no_way() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    let server = in_network_of(outside, || UdpSocket::bind("198.51.100.1:7002").expect("bind"));
    server.set_nonblocking(true).expect("set the socket");
    for _ in 0..20 {
        let mut running = host.nsl(["run", "--egress", "none", "--", "perl", "-e", FLOOD]).start();
        assert_eq!(running.line(), "up");
        kill(Pid::from_raw(running.pid().cast_signed()), Signal::SIGKILL).expect("kill nsl");
        running.finish().assert_code(137);
    }
    host.assert_clean();
    let came = server.recv(&mut [0; 9]);
    assert!(came.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{came:?}");
    // Without a list they come.
    let mut running = host.nsl(["run", "--", "perl", "-e", FLOOD]).start();
    assert_eq!(running.line(), "up");
    wait_until("datagrams come", || server.recv(&mut [0; 9]).is_ok());
    running.signal(Signal::SIGTERM);
    running.stdout.take();
    running.finish().assert_code(143);
}

#[test]
fn names_are_resolved_once_and_are_what_was_let_out_to() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    host.sh(&format!(
        "(echo 198.51.100.1 server.example; echo 2001:db8::1 server.example; echo 127.0.0.9 local.example) > {DIR}/hosts
         mount --bind {DIR}/hosts /etc/hosts; echo nameserver 192.0.2.53 > {DIR}/resolv; mount --bind {DIR}/resolv /etc/resolv.conf
         nsenter -t {outside} -n ip addr add 192.0.2.53/32 dev lo"
    ));
    host.accept();
    let server = beyond(&host, outside, &["tcp/7001", "tcp/7002", "tcp/53"]);
    let domain = in_network_of(outside, || UdpSocket::bind("192.0.2.53:53").expect("bind"));
    domain.set_read_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
    let options = ["--log-level", "info", "--egress", "server.example:7001"];
    let words = [&options[..], &["--", "sh", "-c", "grep server.example /etc/hosts; echo up; cat"]].concat();
    let mut running = watched(&host, &words);
    let lines = [running.line(), running.line(), running.line()];
    assert_eq!(lines, ["2001:db8::1 server.example", "198.51.100.1 server.example", "up"]);
    let init = running.init();
    for address in ["198.51.100.1:7001", "[2001:db8::1]:7001", "192.0.2.53:53"] {
        assert!(tcp(init, address).starts_with("beyond to "), "{address}");
    }
    client(init, "192.0.2.53:53").send(b"name?").expect("send");
    assert_eq!(domain.recv(&mut [0; 9]).expect("the question comes"), 5);
    assert_refused(init, "198.51.100.1:7002");
    assert_refused(init, "192.0.2.53:7001");
    let output = running.finish();
    let told = "nsl: server.example is 2001:db8::1, 198.51.100.1 for as long as the sandbox runs\n";
    assert!(output.stderr().contains(told), "{output}");
    // With addresses alone nobody is asked for names.
    let (running, init) = waiting(&host, &["--egress", "198.51.100.1:7001"]);
    assert_refused(init, "192.0.2.53:53");
    assert_refused_by_udp(init, "192.0.2.53:53");
    assert_eq!(refused(&host, running), 2);
    let refusal = |permission: &str| host.nsl(["run", "--egress", permission, "--", "true"]).run();
    let words = [
        "cannot use --egress nowhere.invalid: the name nowhere.invalid does not resolve on this host",
        "getent ahosts",
    ];
    refusal("nowhere.invalid:443").assert_refused(125, &words);
    refusal("local.example:443").assert_refused(125, &["local.example is on this host's loopback"]);
    end(server);
}

#[test]
fn other_networks_have_no_list() {
    let host = crate::host!();
    let output = host.nsl(["run", "--network", "none", "--egress", "none", "--", "true"]).run();
    output.assert_refused(125, &["cannot use --egress: only --network veth has what it is about"]);
    let output = host.nsl(["run", "--ip", "192.0.2.2/24", "--", "true"]).as_user().run();
    output.assert_refused(125, &["cannot use --ip: it is about a veth pair, which needs root (hint: run nsl as root"]);
    let plan = |permissions: &[&str]| {
        let options = permissions.iter().flat_map(|permission| ["--egress", permission]);
        let words: Vec<_> = ["run", "--dry-run"].into_iter().chain(options).chain(["--", "true"]).collect();
        host.nsl(words).run().assert_code(0).stdout()
    };
    assert!(plan(&["none"]).contains("; let nothing out\n"));
    let some = plan(&["192.0.2.9/24:443", "[2001:db8::1]:53/udp", "example.org:443"]);
    assert!(some.contains("; let out only to 192.0.2.0/24:443 [2001:db8::1]:53/udp example.org:443\n"), "{some}");
}
