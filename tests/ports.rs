//! Published ports: who reaches the sandbox by which, and what becomes of them.

use crate::harness::{DIR, Host, NSL, Running, in_network_of, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Serves ports such as tcp/80 and udp/53 in perl, by IPv4 and IPv6, and says when it does: TCP with its own name and
/// the caller's address, UDP with its name and what it has heard.
pub const SERVE: &str = r"use Socket qw(:all); $| = 1; my ($name, @ports) = @ARGV; my (%of, $wait);
    for (@ports) { my ($protocol, $port) = split m(/);
        socket my $s, AF_INET6, $protocol eq 'tcp' ? SOCK_STREAM : SOCK_DGRAM, 0 or die $!;
        setsockopt $s, 41, 26, pack('l', 0); setsockopt $s, SOL_SOCKET, SO_REUSEADDR, 1;
        bind $s, pack_sockaddr_in6($port, Socket::IN6ADDR_ANY) or die qq($_: $!);
        $protocol eq 'udp' or listen $s, 99 or die $!;
        vec($wait, fileno $s, 1) = 1; $of{fileno $s} = [$s, $protocol] }
    print qq(ready\n);
    for (;;) { select my $ready = $wait, undef, undef, undef; for (grep { vec($ready, $_, 1) } keys %of) {
        my ($s, $protocol) = @{$of{$_}};
        if ($protocol eq 'udp') { my $from = recv $s, my $heard, 99, 0; send $s, qq($name heard $heard), 0, $from; next }
        my $from = accept my $c, $s or next; my ($error, $address) = getnameinfo($from, NI_NUMERICHOST);
        $address =~ s/::ffff://; print $c qq($name to $address); close $c } }";

/// A sandbox that serves these ports.
pub fn serving(host: &Host, options: &[&str], name: &str, ports: &[&str]) -> Running {
    let words = [&["run"], options, &["--", "perl", "-e", SERVE, name], ports].concat();
    let mut running = host.nsl(words).start();
    assert_eq!(running.line(), "ready");
    running
}

#[track_caller]
pub fn end(running: Running) {
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(143);
}

/// What a server says to who calls from the network of a process, or `refused`.
pub fn tcp(pid: u32, address: &str) -> String {
    let address: SocketAddr = address.parse().expect("an address");
    let asked = in_network_of(pid, || {
        let mut text = String::new();
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5));
        stream.and_then(|mut stream| stream.read_to_string(&mut text)).map(|_| text)
    });
    match asked {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A socket in the network of a process.
pub fn client(pid: u32, address: &str) -> UdpSocket {
    let address: SocketAddr = address.parse().expect("an address");
    in_network_of(pid, || {
        let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).expect("bind");
        socket.connect(address).expect("connect");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
        socket
    })
}

/// What comes back for a datagram.
pub fn heard(socket: &UdpSocket, text: &str) -> String {
    let mut answer = [0; 99];
    match socket.send(text.as_bytes()).and_then(|_| socket.recv(&mut answer)) {
        Ok(length) => String::from_utf8_lossy(&answer[..length]).into_owned(),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn udp(pid: u32, address: &str) -> String {
    heard(&client(pid, address), "hello")
}

/// Has a child of the test's ended, and waits to be asked?
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap_or_default().starts_with(" Z")
}

/// An uplink with addresses of both families: 198.51.100.1 and 2001:db8::1 beyond, .2 and ::2 on the host.
pub fn uplink(host: &mut Host) -> u32 {
    let outside = host.uplink();
    host.sh(&format!(
        "ip addr add 2001:db8::2/64 dev up0 nodad; nsenter -t {outside} -n ip addr add 2001:db8::1/64 dev out0 nodad
         ip route add default via 2001:db8::1"
    ));
    host.accept();
    outside
}

/// `nsl run` with these words, events to a file.
pub fn watched(host: &Host, words: &[&str]) -> Running {
    let script = format!("exec {NSL} run --status-fd 3 \"$@\" 3>{DIR}/events");
    host.command("bash", ["-c", &script, "bash"].iter().chain(words)).start()
}

/// The ports that the first event tells of.
fn ports_told(host: &Host) -> Vec<Value> {
    let read = || std::fs::read_to_string(host.path(format!("{DIR}/events"))).unwrap_or_default();
    wait_until("the start is told", || read().contains('\n'));
    let started: Value = serde_json::from_str(read().lines().next().expect("a line")).expect("a JSON object");
    started["network"]["ports"].as_array().expect("a list of ports").clone()
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    let web = serving(&host, &["-p", "8080:80", "-p", "5353:53/udp"], "web", &["tcp/80", "udp/53"]);
    let other = serving(&host, &["-p", "9090:80"], "other", &["tcp/80"]);
    let own = ["198.51.100.2", "[2001:db8::2]"];
    for (who, pid) in [("the host", host.pid()), ("beyond", outside), ("other", other.init()), ("web", web.init())] {
        let loopback = if who == "the host" { &["127.0.0.1", "127.7.7.7", "[::1]"][..] } else { &[] };
        for address in own.iter().chain(loopback) {
            let answer = tcp(pid, &format!("{address}:8080"));
            assert!(answer.starts_with("web to "), "TCP from {who} by {address}: {answer}");
            assert_eq!(udp(pid, &format!("{address}:5353")), "web heard hello", "UDP from {who} by {address}");
        }
    }
    assert!(tcp(host.pid(), "[::1]:9090").starts_with("other to "));
    // Who comes from beyond is seen as who it is.
    assert_eq!(tcp(outside, "198.51.100.2:8080"), "web to 198.51.100.1");
    assert_eq!(tcp(outside, "[2001:db8::2]:8080"), "web to 2001:db8::1");
    // And nothing else leads inside.
    assert_eq!(tcp(outside, "198.51.100.2:80"), "refused");
    assert_eq!(tcp(host.pid(), "127.0.0.1:5353"), "refused");
    end(other);
    end(web);
    assert_eq!(tcp(outside, "198.51.100.2:8080"), "refused");
}

#[test]
fn a_port_of_one_address_is_reached_by_that_alone() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    let options =
        ["-p", "127.0.0.1:8080:80", "-p", "[::1]:8081:80", "-p", "198.51.100.2:8082:80", "-p", "0.0.0.0:8083:80"];
    let web = serving(&host, &options, "web", &["tcp/80"]);
    let ask = |address: &str| if tcp(host.pid(), address).starts_with("web to ") { "web" } else { "refused" };
    for (port, expected) in [
        (8080, ["web", "refused", "refused", "refused"]),
        (8081, ["refused", "refused", "web", "refused"]),
        (8082, ["refused", "web", "refused", "refused"]),
        (8083, ["web", "web", "refused", "refused"]),
    ] {
        let addresses = ["127.0.0.1", "198.51.100.2", "[::1]", "[2001:db8::2]"];
        assert_eq!(addresses.map(|address| ask(&format!("{address}:{port}"))), expected, "{port}");
    }
    assert_eq!(
        [8080, 8082].map(|port| tcp(outside, &format!("198.51.100.2:{port}"))),
        ["refused", "web to 198.51.100.1"]
    );
    // A neighbour that sends here what is for loopback, as it would to its own.
    host.sh(&format!(
        "nsenter -t {outside} -n sh -ec 'ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via 198.51.100.2
             echo 1 > /proc/sys/net/ipv4/conf/out0/route_localnet'"
    ));
    let answer = in_network_of(outside, || {
        TcpStream::connect_timeout(&([127, 0, 0, 1], 8080).into(), Duration::from_millis(500))
    });
    assert!(answer.is_err(), "{answer:?}");
    end(web);
}

#[test]
fn ranges_and_ports_that_the_kernel_chooses_are_told() {
    let host = crate::host!("perl");
    let options = ["-p", "8000-8002:80-82", "-p", "90", "-p", "127.0.0.1::91/udp"];
    let words = [&options[..], &["--", "perl", "-e", SERVE, "web", "tcp/81", "tcp/82", "tcp/90", "udp/91"]].concat();
    let mut running = watched(&host, &words);
    assert_eq!(running.line(), "ready");
    let ports = ports_told(&host);
    let port = |ip: Value, port: u16, inside: u16, protocol: &str| json!({"host_ip": ip, "host_port": port, "container_port": inside, "protocol": protocol});
    let chosen = |index: usize| u16::try_from(ports[index]["host_port"].as_u64().expect("a number")).expect("a port");
    let expected = [
        port(Value::Null, 8000, 80, "tcp"),
        port(Value::Null, 8001, 81, "tcp"),
        port(Value::Null, 8002, 82, "tcp"),
        port(Value::Null, chosen(3), 90, "tcp"),
        port(json!("127.0.0.1"), chosen(4), 91, "udp"),
    ];
    assert_eq!(ports, expected);
    for (port, answer) in [(8000, "refused"), (8001, "web to "), (8002, "web to "), (chosen(3), "web to ")] {
        assert!(tcp(host.pid(), &format!("127.0.0.1:{port}")).starts_with(answer), "{port}");
    }
    assert_eq!(udp(host.pid(), &format!("127.0.0.1:{}", chosen(4))), "web heard hello");
    running.signal(Signal::SIGTERM);
    let output = running.finish();
    let told = format!(
        "nsl: port {} of this host leads to 90/tcp inside\nnsl: 127.0.0.1:{}/udp leads to 91/udp inside\n",
        chosen(3),
        chosen(4)
    );
    assert_eq!(output.stderr(), told, "{output}");
}

#[test]
fn more_ports_than_a_pipe_takes_at_once_are_told_whole() {
    let host = crate::host!();
    let output = host.nsl(["run", "--status-fd", "1", "-p", "2000-3999:2000-3999", "--", "true"]).run();
    output.assert_code(0).assert_quiet();
    let lines: Vec<Value> = output.stdout().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), 2, "{output}");
    let ports = lines[0]["network"]["ports"].as_array().expect("a list of ports");
    assert_eq!((ports.len(), &ports[1999]["host_port"]), (2000, &json!(3999)));
}

#[test]
fn a_port_that_another_has_is_refused() {
    let mut host = crate::host!("perl", "ip");
    uplink(&mut host);
    let listener = host.in_network(|| TcpListener::bind("127.0.0.1:8080").expect("bind"));
    let socket = host.in_network(|| UdpSocket::bind("[::1]:8081").expect("bind"));
    let refused = |publication: &str, words: &[&str]| {
        host.nsl(["run", "-p", publication, "--", "true"]).run().assert_refused(125, words);
        host.assert_clean();
    };
    let taken = ["cannot publish port 8080: something on this host already listens there", "ss -tanp 'sport = :8080'"];
    refused("8080:80", &taken);
    refused("8079-8081:1-3", &taken);
    refused("127.0.0.1:8080:80", &["cannot publish 127.0.0.1:8080: something"]);
    refused("8081:80/udp", &["cannot publish port 8081/udp: something", "ss -uanp"]);
    refused("192.0.2.1:80:80", &["cannot publish 192.0.2.1:80: this host has no address 192.0.2.1"]);
    let without = ["run", "--ip", "192.168.77.2/24", "-p", "[::1]:8083:80", "--", "true"];
    host.nsl(without).run().assert_refused(125, &["cannot publish [::1]:8083: the sandbox has no address of IPv6"]);
    for free in ["198.51.100.2:8080:80", "8080:80/udp", "8081:80", "[::1]:8080:80"] {
        host.nsl(["run", "-p", free, "--", "true"]).run().assert_prints("");
    }
    drop((listener, socket));
    // Another sandbox has it as any program has, also if both ask at once; and again at once when that has ended.
    for _ in 0..5 {
        let both = [(); 2].map(|()| host.nsl(["run", "-p", "8080:80", "--", "cat"]).start());
        wait_until("one of the two has ended", || both.iter().any(|one| has_ended(one.pid())));
        let mut codes = both.map(|one| one.finish().code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 125]);
    }
}

#[test]
fn other_networks_publish_nothing() {
    let host = crate::host!();
    for network in ["none", "host"] {
        let output = host.nsl(["run", "--network", network, "-p", "8080:80", "--", "true"]).run();
        output.assert_refused(125, &["a port leads only to --network veth or pasta"]);
    }
    let plan = host.nsl(["run", "--dry-run", "-p", "8000-8001:80-81", "-p", "53/udp", "--", "true"]).run();
    assert!(plan.stdout().contains("; publish 8000-8001:80-81/tcp, 0:53/udp\n"), "{plan}");
    assert_eq!(host.sh("nft list ruleset"), "");
}

#[test]
fn many_ports_take_files_that_the_command_has_no_part_of() {
    let host = crate::host!("prlimit", "setpriv");
    let limited = |limits: &str, options: &[&str]| {
        let words =
            ["--bounding-set", "-sys_resource", "--", "prlimit", limits, NSL, "run", "-p", "2000-2999:3000-3999"];
        let script = ["--", "sh", "-c", "ulimit -n; ulimit -Hn; ls /proc/self/fd | wc -l"];
        host.command("setpriv", [&words[..], options, &script].concat()).run()
    };
    limited("--nofile=300:4000", &[]).assert_prints("300\n4000\n4");
    limited("--nofile=300:4000", &["--ulimit", "nofile=77"]).assert_prints("77\n77\n4");
    let hint = "raise the limit: ulimit -n 1200";
    let refused = limited("--nofile=300:400", &[]);
    refused.assert_refused(125, &["cannot publish 1000 ports: nsl may have 400 files open", hint]);
    host.nsl(["run", "-p", "10000-19999:10000-19999/udp", "--", "true"]).run().assert_prints("");
}

#[test]
fn a_killed_nsl_leaves_no_rules() {
    let host = crate::host!("nft", "perl");
    let options = ["-p", "8080:80", "-p", "127.0.0.1:8081:81/udp"];
    let tables = || host.sh("nft list tables");
    let web = serving(&host, &options, "web", &["tcp/80"]);
    assert_eq!(tables().lines().count(), 2);
    kill(Pid::from_raw(web.pid().cast_signed()), Signal::SIGKILL).expect("kill nsl");
    web.finish().assert_code(137);
    // The kernel has dropped it when nsl is gone.
    assert_eq!(tables(), "table inet nsl\n");
    host.assert_clean();
    end(serving(&host, &options, "web", &["tcp/80"]));
    assert_eq!(tables(), "table inet nsl\n");
}

#[test]
fn a_sandbox_that_publishes_does_not_reach_the_hosts_loopback() {
    let host = crate::host!("perl", "ip");
    let listener = host.in_network(|| TcpListener::bind("127.0.0.1:7777").expect("bind"));
    let rules = "nft delete table inet nsl";
    let script = "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via $(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')
        echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip route get 127.0.0.1 | grep -o 'dev eth0'; read line
        timeout 0.5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/7777' 2>/dev/null && echo reached || echo no";
    // Also where somebody has flushed the rules.
    for rules in ["true", rules] {
        let words = ["run", "--privileged", "-p", "8080:80", "--", "bash", "-c", script];
        let mut running = host.nsl(words).start();
        assert_eq!(running.line(), "dev eth0");
        assert_eq!(host.sh("cat /proc/sys/net/ipv4/conf/nsl*/route_localnet"), "1\n");
        host.sh(rules);
        running.write("\n");
        running.finish().assert_prints("no");
    }
    drop(listener);
}

#[test]
fn a_client_of_udp_that_was_there_first_is_heard() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    // From now on the host knows connections.
    host.nsl(["run", "--", "true"]).run().assert_code(0);
    let clients = ["198.51.100.2:5353", "[2001:db8::2]:5353"].map(|address| client(outside, address));
    let own = client(host.pid(), "127.0.0.1:5353");
    let all = clients.iter().chain([&own]);
    for client in all.clone() {
        assert_eq!(heard(client, "too early"), "refused");
    }
    let web = serving(&host, &["-p", "5353:53/udp"], "web", &["udp/53"]);
    for client in all.clone() {
        assert_eq!(heard(client, "again"), "web heard again");
    }
    // Nor does it hold on to a sandbox that has ended, whoever has the port then.
    end(web);
    host.assert_clean();
    let server = host.in_network(|| UdpSocket::bind("0.0.0.0:5353").expect("bind"));
    server.set_read_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
    for client in [&clients[0], &own] {
        client.send(b"to the host").expect("send");
        let mut text = [0; 99];
        let length = server.recv(&mut text).expect("the host's server hears it");
        assert_eq!(&text[..length], b"to the host");
    }
    drop(server);
    let second = serving(&host, &["-p", "5353:53/udp"], "second", &["udp/53"]);
    for client in all {
        assert_eq!(heard(client, "once more"), "second heard once more");
    }
    end(second);
}

#[test]
fn flows_to_other_hosts_stay() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    let server = in_network_of(outside, || UdpSocket::bind("198.51.100.1:53").expect("bind"));
    server.set_read_timeout(Some(Duration::from_secs(5))).expect("set a timeout");
    let mut asking = host.nsl(["run", "--", "sh", "-c", "echo up; cat"]).start();
    assert_eq!(asking.line(), "up");
    let client = client(asking.init(), "198.51.100.1:53");
    let ask = |text: &[u8]| {
        client.send(text).expect("send");
        server.recv_from(&mut [0; 99]).expect("the question comes").1
    };
    let from = ask(b"one");
    let web = serving(&host, &["-p", "53:53/udp"], "web", &["udp/53"]);
    // An answer finds its way still.
    server.send_to(b"answer", from).expect("send");
    let mut answer = [0; 99];
    assert_eq!(client.recv(&mut answer).expect("an answer"), 6);
    end(web);
    drop(client);
    asking.finish().assert_code(0);
}

#[test]
fn an_internal_sandbox_publishes_too() {
    let mut host = crate::host!("perl", "ip");
    let outside = uplink(&mut host);
    let web = serving(&host, &["--internal", "-p", "8080:80"], "web", &["tcp/80"]);
    assert_eq!(tcp(outside, "198.51.100.2:8080"), "web to 198.51.100.1");
    assert_eq!(tcp(outside, "[2001:db8::2]:8080"), "web to 2001:db8::1");
    assert!(tcp(host.pid(), "127.0.0.1:8080").starts_with("web to "));
    end(web);
}
