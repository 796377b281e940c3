//! Sandboxes among several hosts: a server, a client, and between them the host of the sandboxes, which has a firewall of
//! its own. Nothing is lost, whatever passes through NAT, and however much of it.

use crate::harness::{Beyond, Host, Running, in_network_of, wait_until};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// What is sent is made of such blocks, each with its number at the start.
const BLOCK: usize = 1 << 20;

/// A sandbox that waits; with its init's pid, in whose network a test works.
struct Waiting {
    running: Running,
    pid: u32,
}

impl Waiting {
    fn new(host: &Host, options: &[&str]) -> Self {
        let words = [&["run"], options, &["--", "sh", "-c", "echo up; cat"]].concat();
        let mut running = host.nsl(words).start();
        assert_eq!(running.line(), "up");
        let pid = running.init();
        Self { running, pid }
    }

    /// Does `work` in the sandbox's network.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network_of(self.pid, work)
    }

    fn finish(self) {
        self.running.finish().assert_prints("");
    }
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().expect("an address"), port)
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// A server beyond the host that gives back what it gets, to all at once; tells who called.
fn echo(pid: u32, ip: &str) -> (u16, Receiver<IpAddr>) {
    let listener = in_network_of(pid, || TcpListener::bind((ip, 0)).expect("bind"));
    let port = listener.local_addr().expect("the server's address").port();
    let (send, callers) = mpsc::channel();
    thread::spawn(move || serve(&listener, usize::MAX, &send));
    (port, callers)
}

/// Serves so many callers, to the end of the last: what is open in a sandbox keeps its network alive.
fn serve(listener: &TcpListener, callers: usize, tell: &Sender<IpAddr>) {
    thread::scope(|scope| {
        for stream in listener.incoming().take(callers) {
            let mut stream = stream.expect("accept a caller");
            let _ = stream.peer_addr().map(|caller| tell.send(caller.ip()));
            scope.spawn(move || stream.try_clone().and_then(|mut from| io::copy(&mut from, &mut stream)));
        }
    });
}

/// The same of UDP.
fn echo_datagrams(pid: u32, ip: &str) -> u16 {
    let socket = in_network_of(pid, || UdpSocket::bind((ip, 0)).expect("bind"));
    let port = socket.local_addr().expect("the server's address").port();
    thread::spawn(move || serve_datagrams(&socket));
    port
}

/// Gives datagrams back, an empty one as the last.
fn serve_datagrams(socket: &UdpSocket) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..length], from);
        if length == 0 {
            return;
        }
    }
}

/// Sends a text and reads it back.
fn exchange(mut stream: &TcpStream, text: &[u8]) -> io::Result<()> {
    let mut answer = vec![0; text.len()];
    stream.write_all(text)?;
    stream.read_exact(&mut answer)?;
    if answer == text { Ok(()) } else { Err(io::Error::other("the answer is not what was sent")) }
}

/// A datagram of this size comes back whole. The first may be what tells the way's MTU, and be lost.
fn datagram_returns(from: &UdpSocket, to: SocketAddr, size: usize) -> bool {
    let sent: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
    let mut buffer = vec![0; 1 << 16];
    from.set_read_timeout(Some(Duration::from_millis(300))).expect("set a time limit");
    (0..5).any(|_| {
        let _ = from.send_to(&sent, to);
        from.recv_from(&mut buffer).is_ok_and(|(length, _)| buffer[..length] == sent)
    })
}

/// One block of what is sent: bytes without a pattern (xorshift).
fn block() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..BLOCK / 8).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.flat_map(u64::to_le_bytes).collect()
}

/// Sends `blocks` of them.
fn pour(mut to: impl Write, blocks: u64) -> io::Result<()> {
    let mut block = block();
    (0..blocks).try_for_each(|number| {
        block[..8].copy_from_slice(&number.to_le_bytes());
        to.write_all(&block)
    })
}

/// Reads to the end; every byte is the one that was sent. Returns the number of blocks.
fn drain(mut from: impl Read) -> io::Result<u64> {
    let expected = block();
    let mut got = vec![0; BLOCK];
    for number in 0.. {
        match from.read(&mut got[..1])? {
            0 => return Ok(number),
            _ => from.read_exact(&mut got[1..])?,
        }
        let right = got[..8] == number.to_le_bytes() && got[8..] == expected[8..];
        if !right {
            return Err(io::Error::other(format!("block {number} is not what was sent")));
        }
    }
    unreachable!("there are not so many blocks")
}

/// Blocks from a process's network to a server's, and from there; the rates in Gbit/s.
fn transfer(pid: u32, server: Beyond, blocks: u64) -> [f64; 2] {
    let listener = in_network_of(server.pid, || TcpListener::bind((server.ipv4, 0)).expect("bind"));
    let to = listener.local_addr().expect("the server's address");
    let gigabits = f64::from(blocks as u32) * f64::from(BLOCK as u32) * 8e-9;
    [true, false].map(|is_up| {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                let (stream, _) = listener.accept()?;
                if is_up { drain(&stream) } else { pour(&stream, blocks).map(|()| blocks) }
            });
            let stream = in_network_of(pid, || connect(to)).expect("connect");
            let start = Instant::now();
            let here = if is_up { pour(&stream, blocks).map(|()| blocks) } else { drain(&stream) };
            drop(stream);
            let there = there.join().expect("the server");
            assert_eq!((here.expect("inside"), there.expect("at the server")), (blocks, blocks));
            gigabits / start.elapsed().as_secs_f64()
        })
    })
}

#[test]
fn both_protocols_pass_through_nat_in_both_families() {
    let mut host = crate::host!("ip", "nft");
    let (server, client) = host.two_uplinks();
    host.firewall();
    let sandbox = Waiting::new(&host, &[]);
    for beyond in [server, client] {
        for (ip, own) in [(beyond.ipv4, beyond.host_ipv4), (beyond.ipv6, beyond.host_ipv6)] {
            if ip == client.ipv6 {
                // nsl has IPv6 forwarded by way of the default route only; what comes by others is the host's decision.
                host.sh("sysctl -q net.ipv6.conf.all.forwarding=1");
            }
            let (port, callers) = echo(beyond.pid, ip);
            let datagrams = echo_datagrams(beyond.pid, ip);
            sandbox.inside(|| {
                let stream = connect(address(ip, port)).unwrap_or_else(|error| panic!("{ip}: {error}"));
                exchange(&stream, b"there and back").expect("TCP");
                let any = if ip.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
                let socket = UdpSocket::bind(any).expect("bind");
                assert!(datagram_returns(&socket, address(ip, datagrams), 1000), "UDP, {ip}");
            });
            // Who is asked sees the host, and could not answer anybody else.
            let caller = callers.recv_timeout(Duration::from_secs(5)).expect("a caller");
            assert_eq!(caller, own.parse::<IpAddr>().expect("an address"));
        }
    }
    sandbox.finish();
    host.sh("sysctl -q net.ipv6.conf.all.forwarding=0");
}

#[test]
fn published_ports_are_reached_past_the_hosts_firewall() {
    let mut host = crate::host!("ip", "nft");
    let (server, client) = host.two_uplinks();
    host.firewall();
    // nsl has IPv6 forwarded by way of the default route only; what comes by others is the host's decision.
    host.sh("sysctl -q net.ipv6.conf.all.forwarding=1");
    host.accept();
    let sandbox = Waiting::new(&host, &["-p", "8080:7000", "-p", "8080:7000/udp"]);
    let (listener, socket) = sandbox
        .inside(|| (TcpListener::bind(("::", 7000)).expect("bind"), UdpSocket::bind(("::", 7000)).expect("bind")));
    let (send, callers) = mpsc::channel();
    let servers =
        [thread::spawn(move || serve(&listener, 400, &send)), thread::spawn(move || serve_datagrams(&socket))];
    for beyond in [server, client] {
        for (ip, any) in [(beyond.host_ipv4, "0.0.0.0:0"), (beyond.host_ipv6, "[::]:0")] {
            in_network_of(beyond.pid, || {
                let all: Vec<_> = (0..100).map(|_| connect(address(ip, 8080)).expect("one of 100 at once")).collect();
                for (number, stream) in all.iter().enumerate() {
                    exchange(stream, &number.to_le_bytes()).expect("one of 100 at once");
                }
                let socket = UdpSocket::bind(any).expect("bind");
                for size in [100, 1473, 20_000] {
                    assert!(datagram_returns(&socket, address(ip, 8080), size), "UDP, {ip}, {size} bytes");
                }
            });
        }
    }
    assert_eq!(callers.try_iter().count(), 400);
    // What the host has closed stays so.
    let other = host.in_network(|| TcpListener::bind("0.0.0.0:8081").expect("bind"));
    let ask = || TcpStream::connect_timeout(&address(client.host_ipv4, 8081), Duration::from_millis(300));
    assert!(in_network_of(client.pid, ask).is_err(), "the firewall lets in more than it did");
    drop(other);
    let last = || UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(&[], address(client.host_ipv4, 8080)));
    in_network_of(client.pid, last).expect("send the last datagram");
    for server in servers {
        server.join().expect("a server inside");
    }
    sandbox.finish();
}

#[test]
fn nobody_beyond_reaches_a_sandbox_by_a_route_through_its_host() {
    let mut host = crate::host!("ip", "nft");
    let (_, client) = host.two_uplinks();
    let sandbox = Waiting::new(&host, &[]);
    let inside = host.sh("ip -4 route show dev $(ls /sys/class/net | grep ^nsl)");
    let inside: std::net::Ipv4Addr = inside.split('/').next().expect("a network").parse().expect("an address");
    let inside = IpAddr::from(std::net::Ipv4Addr::from_bits(inside.to_bits() + 1));
    let listener = sandbox.inside(|| TcpListener::bind("0.0.0.0:0").expect("bind"));
    let port = listener.local_addr().expect("the address").port();
    let route = format!("nsenter -t {} -n ip route add 10.0.0.0/8 via {}", client.pid, client.host_ipv4);
    host.sh(&route);
    let ask = || TcpStream::connect_timeout(&SocketAddr::new(inside, port), Duration::from_millis(300));
    assert!(host.in_network(ask).is_ok(), "the host itself does");
    assert!(in_network_of(client.pid, ask).is_err(), "a neighbour of the host reached a sandbox");
    drop(listener);
    sandbox.finish();
}

#[test]
fn two_gigabytes_pass_without_a_fault_and_as_fast_as_by_hand() {
    let mut host = crate::host!("ip", "nft");
    let (server, _) = host.two_uplinks();
    host.firewall();
    let sandbox = Waiting::new(&host, &[]);
    let [up, down] = transfer(sandbox.pid, server, 1024);
    sandbox.finish();
    host.assert_clean();
    // The same by hand: a pair, a route, one rule.
    let by_hand = host.command("unshare", ["--net", "sh", "-c", "echo up; exec cat"]).start();
    let mut by_hand = by_hand;
    assert_eq!(by_hand.line(), "up");
    let pid = by_hand.pid();
    let there = format!("nsenter -t {pid} -n");
    host.sh(&format!(
        "ip link add hand0 type veth peer name hand1 netns {pid}; ip addr add 192.168.9.1/24 dev hand0
         ip link set hand0 up; {there} ip addr add 192.168.9.2/24 dev hand1; {there} ip link set hand1 up
         {there} ip route add default via 192.168.9.1
         nft 'table ip hand {{ chain out {{ type nat hook postrouting priority 100; iifname hand0 masquerade; }}; }}'"
    ));
    let [up_by_hand, down_by_hand] = transfer(pid, server, 256);
    host.sh("nft delete table ip hand");
    by_hand.finish().assert_code(0);
    let _ = writeln!(
        io::stderr(),
        "through NAT, in Gbit/s: {up:.1} up, {down:.1} down; by hand {up_by_hand:.1} up, {down_by_hand:.1} down"
    );
    assert!(up > up_by_hand / 3.0 && down > down_by_hand / 3.0, "it is much slower than by hand");
}

#[test]
fn ten_thousand_connections_pass() {
    let mut host = crate::host!("ip", "nft");
    let (server, _) = host.two_uplinks();
    host.firewall();
    let (port, callers) = echo(server.pid, server.ipv4);
    let sandbox = Waiting::new(&host, &[]);
    let to = address(server.ipv4, port);
    sandbox.inside(|| {
        for number in 0..9800_u32 {
            let stream = connect(to).unwrap_or_else(|error| panic!("connection {number}: {error}"));
            exchange(&stream, &number.to_le_bytes()).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        }
        let all: Vec<_> = (0..200).map(|_| connect(to).expect("one of 200 at once")).collect();
        for (number, stream) in all.iter().enumerate() {
            exchange(stream, &number.to_le_bytes()).expect("one of 200 at once");
        }
    });
    assert_eq!(callers.try_iter().count(), 10_000);
    sandbox.finish();
}

#[test]
fn every_mtu_of_the_way_is_kept_to() {
    let mut host = crate::host!("ip", "nft");
    let (server, _) = host.two_uplinks();
    host.firewall();
    let sandbox = Waiting::new(&host, &[]);
    let to = address(server.ipv4, echo_datagrams(server.pid, server.ipv4));
    for mtu in [1400, 9000, 1280] {
        let Beyond { pid, device, peer, .. } = server;
        host.sh(&format!("ip link set {device} mtu {mtu}; nsenter -t {pid} -n ip link set {peer} mtu {mtu}"));
        transfer(sandbox.pid, server, 64);
        let socket = sandbox.inside(|| UdpSocket::bind("0.0.0.0:0").expect("bind"));
        for size in [1200, mtu - 28, mtu, 1472, 1473, 4000, 20_000] {
            assert!(datagram_returns(&socket, to, size), "a datagram of {size} bytes, where the MTU is {mtu}");
        }
    }
    host.sh(&format!("ip link set {} mtu 1500", server.device));
    sandbox.finish();
}

#[test]
fn a_host_without_a_way_out_has_sandboxes_that_reach_it() {
    let host = crate::host!("ip");
    let listener = host.in_network(|| TcpListener::bind("0.0.0.0:0").expect("bind"));
    let port = listener.local_addr().expect("the address").port();
    let script = format!(
        "gateway=$(ip route show default | cut -d' ' -f3); (exec 3<>/dev/tcp/$gateway/{port}) && echo reached
         (exec 3<>/dev/tcp/198.51.100.1/80) 2>&1 | grep -om1 unreachable"
    );
    let start = Instant::now();
    host.nsl(["run", "--", "bash", "-c", &script]).run().assert_prints("reached\nunreachable");
    assert!(start.elapsed() < Duration::from_secs(5), "it waited for what cannot come");
}

#[test]
fn an_ipv6_address_that_was_asked_for_is_not_left_out_in_silence() {
    let mut host = crate::host!("ip");
    host.sh("sysctl -q net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    host.accept();
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    let refused = host.nsl(["run", "--ip", "fd00:1::2/64", "--ip", "192.168.77.2/24", "--", "true"]).run();
    refused.assert_refused(125, &["give eth0 the address fd00:1::2/64", "this host has no IPv6", "disable_ipv6"]);
}

#[test]
fn a_fixed_address_is_free_again_at_once() {
    let mut host = crate::host!("ip");
    let (server, _) = host.two_uplinks();
    let (port, _callers) = echo(server.pid, server.ipv4);
    let script = format!("exec 3<>/dev/tcp/{}/{port} && echo hello >&3 && read -r line <&3 && echo $line", server.ipv4);
    let start = Instant::now();
    for _ in 0..5 {
        let words = ["run", "--ip", "192.168.77.2/24", "--", "timeout", "0.9", "bash", "-c", &script];
        host.nsl(words).run().assert_prints("hello");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "each had to wait for the one before it");
}

#[test]
fn two_hundred_at_the_same_instant_all_get_out() {
    let mut host = crate::host!("ip");
    let (server, _) = host.two_uplinks();
    host.firewall();
    let (port, callers) = echo(server.pid, server.ipv4);
    // Each waits for all to be there, so that no pair is taken twice; `read` waits for the end of stdin.
    let script = format!(
        "hostname -I | cut -d' ' -f1; exec 3<>/dev/tcp/{}/{port} && echo hello >&3 && read -r line <&3 && echo $line; cat",
        server.ipv4
    );
    let start = Instant::now();
    let mut all: Vec<_> = (0..200).map(|_| host.nsl(["run", "--", "bash", "-c", &script]).start()).collect();
    let addresses: BTreeSet<_> = all.iter_mut().map(Running::line).collect();
    assert_eq!(addresses.len(), 200, "{addresses:?}");
    for running in &mut all {
        assert_eq!(running.line(), "hello");
    }
    let _ = writeln!(io::stderr(), "200 sandboxes were there after {:.1} s", start.elapsed().as_secs_f64());
    wait_until("the server has seen all", {
        let mut seen = 0;
        move || {
            seen += callers.try_iter().count();
            seen == 200
        }
    });
    for running in all {
        running.finish().assert_prints("");
    }
}
