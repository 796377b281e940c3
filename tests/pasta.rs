//! The network of an ordinary user's sandbox, by pasta: what it reaches and what not, and that pasta ends with it.

use crate::harness::{DIR, Host, NSL, Output, Running, in_network_of, wait_until};
use crate::leaks::{assert_told_of_a_killed_init, is_nsl, kill_hard, wait_until_past};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// The network beyond the host, as the host and its sandboxes reach it.
const OUTSIDE: [&str; 2] = ["198.51.100.1", "2001:db8::1"];
/// The host's own addresses there, which pasta gives to the sandbox.
const OWN: [&str; 2] = ["198.51.100.2", "2001:db8::2"];
const LO_ONLY: &str = "nsl: warning: no network inside but lo: ";

/// bash at work: `ask HOST PORT` prints what a server says, `send HOST PORT WORD` what comes back of a datagram. Within
/// two seconds: the pasta of Debian 12 does not tell of connections that are refused.
const WORDS: &str = "
    export SCRIPT_ASK='exec 3<>/dev/tcp/$0/$1 && read -r line <&3 && echo $line'
    export SCRIPT_SEND='exec 3<>/dev/udp/$0/$1 && echo $2 >&3 && head -n 1 <&3'
    ask() { timeout 2 bash -c \"$SCRIPT_ASK\" $1 $2 2>/dev/null || echo nothing; }
    send() { timeout 2 bash -c \"$SCRIPT_SEND\" $1 $2 $3 2>/dev/null || echo nothing; }
    ";

/// A host with a way out, in which users may make tap devices; a process in the network beyond.
macro_rules! connected_host {
    () => {{
        let mut host = crate::host!("pasta", "bash", "perl");
        let outside = connect(&mut host);
        (host, outside)
    }};
}

pub fn connect(host: &mut Host) -> u32 {
    let outside = host.uplink();
    host.sh(&format!(
        "ip addr add fe80::2/64 dev up0 nodad
         ip addr add {own}/64 dev up0 nodad
         nsenter -t {outside} -n ip addr add {gateway}/64 dev out0 nodad
         ip route add default via {gateway}",
        own = OWN[1],
        gateway = OUTSIDE[1]
    ));
    tun(host);
    outside
}

/// The device as a machine has it.
fn tun(host: &mut Host) {
    host.sh("mount -t tmpfs -o mode=755 tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200");
    host.accept();
}

/// `nsl run OPTIONS -- bash -c SCRIPT`, with `ask` and `send`.
fn bash(options: &[&str], script: &str) -> Vec<String> {
    let script = format!("{WORDS}{script}");
    [&["run"], options, &["--", "bash", "-c", &script]].concat().into_iter().map(str::to_owned).collect()
}

/// Runs it as the user, with the network that comes by itself.
fn run(host: &Host, script: &str) -> Output {
    host.nsl(bash(&[], script)).as_user().run()
}

/// A server in the network of a process, that greets each caller.
fn greet(pid: u32, address: &str, greeting: &'static str) -> u16 {
    let address: IpAddr = address.parse().expect("an address");
    let listener = in_network_of(pid, || TcpListener::bind((address, 0)).expect("bind"));
    let port = listener.local_addr().expect("the address of the server").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| writeln!(stream, "{greeting}"));
        }
    });
    port
}

/// A server of datagrams, that sends back what it gets, with a mark.
fn echo(pid: u32, address: &str) -> u16 {
    let address: IpAddr = address.parse().expect("an address");
    let socket = in_network_of(pid, || UdpSocket::bind((address, 0)).expect("bind"));
    let port = socket.local_addr().expect("the address of the server").port();
    thread::spawn(move || {
        let mut bytes = [0; 1000];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&[b"back:", &bytes[..length]].concat(), from);
        }
    });
    port
}

/// A sandbox of the user's that waits, once its command runs.
fn waiting(host: &Host, options: &[&str]) -> Running {
    let mut running = host.nsl(bash(options, "echo up; cat")).as_user().start();
    assert_eq!(running.line(), "up");
    running
}

/// The pasta of a sandbox.
fn pasta_of(running: &Running) -> u32 {
    let pid = running.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("read the children");
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let children = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    children.into_iter().find(|pid| name(pid).starts_with("pas")).expect("pasta is a child of nsl")
}

#[test]
fn a_user_has_the_hosts_addresses_and_way_out() {
    let (host, outside) = connected_host!();
    let ports = OUTSIDE.map(|address| greet(outside, address, "from outside"));
    let script = format!(
        "ip -o addr show eth0 scope global | tr -s ' ' | cut -d' ' -f4; ask {} {}; ask {} {}; cat /sys/class/net/lo/operstate",
        OUTSIDE[0], ports[0], OUTSIDE[1], ports[1]
    );
    let expected = format!("{}/24\n{}/64\nfrom outside\nfrom outside\nunknown", OWN[0], OWN[1]);
    run(&host, &script).assert_prints(&expected);
    host.nsl(bash(&["--network", "pasta"], &script)).as_user().run().assert_prints(&expected);
}

#[test]
fn datagrams_go_out_and_answers_come_back() {
    let (host, outside) = connected_host!();
    let ports = OUTSIDE.map(|address| echo(outside, address));
    let script = format!("send {} {} four; send {} {} six", OUTSIDE[0], ports[0], OUTSIDE[1], ports[1]);
    run(&host, &script).assert_prints("back:four\nback:six");
}

#[test]
fn a_host_with_one_ip_version_gives_that_one() {
    let (host, outside) = connected_host!();
    host.sh("ip -6 addr flush dev up0 scope global");
    let port = greet(outside, OUTSIDE[0], "from outside");
    let script = format!("ip -6 -o addr show eth0 scope global | wc -l; ask {} {port}", OUTSIDE[0]);
    run(&host, &script).assert_prints("0\nfrom outside");
    host.sh(&format!(
        "ip -4 addr flush dev up0; ip -6 addr add {}/64 dev up0 nodad; ip route replace default via {}",
        OWN[1], OUTSIDE[1]
    ));
    let port = greet(outside, OUTSIDE[1], "from outside");
    let script = format!("ip -4 -o addr show eth0 scope global | wc -l; ask {} {port}", OUTSIDE[1]);
    run(&host, &script).assert_prints("0\nfrom outside");
    host.sh(&format!("ip addr add {}/24 dev up0; ip route add default via {}", OWN[0], OUTSIDE[0]));
    wait_until("the routes are as before", || host.sh("ip -6 route; ip route").contains(OUTSIDE[0]));
}

#[test]
fn every_kind_of_user_namespace_has_it() {
    let (mut host, outside) = connected_host!();
    crate::userns::grant(&mut host, "tester:100000:65536\\n");
    let port = greet(outside, OUTSIDE[0], "from outside");
    let script = format!("ask {} {port}; id -u", OUTSIDE[0]);
    for (userns, id) in [("auto", 0), ("keep-id", 1000)] {
        let output = host.nsl(bash(&["--userns", userns], &script)).as_user().run();
        output.assert_prints(&format!("from outside\n{id}"));
    }
    host.nsl(bash(&["--nested"], &script)).as_user().run().assert_prints("from outside\n1000");
}

/// Neither by the sandbox's own loopback, nor by the gateway or the addresses that it shares with the host.
#[test]
fn the_hosts_loopback_is_out_of_reach() {
    let (host, outside) = connected_host!();
    for (loopback, gateway, own) in [("127.0.0.1", OUTSIDE[0], OWN[0]), ("::1", OUTSIDE[1], OWN[1])] {
        let stream = greet(host.pid(), loopback, "from the host's lo");
        let datagrams = echo(host.pid(), loopback);
        let targets = [loopback, gateway, own];
        let script =
            format!("for target in {}; do ask $target {stream}; send $target {datagrams} x; done", targets.join(" "));
        run(&host, &script).assert_prints(&["nothing"; 6].join("\n"));
        // They do serve the host, and the port of the gateway is the network's beyond.
        let all = host.nsl(bash(&["--network", "host"], &format!("ask {loopback} {stream}"))).as_user().run();
        all.assert_prints("from the host's lo");
    }
    let port = greet(outside, OUTSIDE[0], "from the gateway");
    run(&host, &format!("ask {} {port}", OUTSIDE[0])).assert_prints("from the gateway");
}

#[test]
fn nothing_inside_is_published_unasked() {
    let (host, _outside) = connected_host!();
    let script = "perl -MIO::Socket -e '$| = 1; $s = IO::Socket::INET->new(Listen => 1, LocalPort => 7000) or die; \
        print qq(up\\n); <STDIN>'";
    let mut running = host.nsl(bash(&[], script)).as_user().start();
    assert_eq!(running.line(), "up");
    for address in ["127.0.0.1", OWN[0]] {
        let address: SocketAddr = format!("{address}:7000").parse().expect("an address");
        let reached = host.in_network(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)));
        assert!(reached.is_err(), "{address} answers");
    }
    running.finish().assert_code(0);
}

/// A server inside, on port 7000 of both protocols, that answers what it hears.
const SERVER: &str = r#"$| = 1; my @at = (LocalHost => "::", LocalPort => 7000, V6Only => 0);
    my $datagrams = IO::Socket::IP->new(@at, Type => SOCK_DGRAM) or die $@;
    my $streams = IO::Socket::IP->new(@at, Listen => 9) or die $@;
    if (!fork) { while (my $from = recv $datagrams, my $word, 99, 0) { send $datagrams, "heard $word", 0, $from } }
    print "up\n"; while (my $stream = $streams->accept) { my $word = <$stream>; print $stream "heard $word" }"#;

/// A sandbox of the user's with that server.
fn serving(host: &Host, options: &[&str]) -> Running {
    let words = [&["run"], options, &["--", "perl", "-MIO::Socket::IP", "-MSocket", "-e", SERVER]].concat();
    let mut running = host.nsl(words).as_user().start();
    assert_eq!(running.line(), "up");
    running
}

/// What the server says to somebody in the network of a process; nothing, if it is not reached.
fn heard(pid: u32, address: &str, port: u16) -> String {
    in_network_of(pid, || {
        let address = SocketAddr::new(address.parse().expect("an address"), port);
        let mut text = String::new();
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2));
        // The pasta of Debian 12 has a server that speaks first wait, so the caller does.
        let read = stream.and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            writeln!(stream, "you")?;
            stream.read_to_string(&mut text)
        });
        if read.is_ok() { text } else { String::new() }
    })
}

#[test]
fn published_ports_lead_inside() {
    let (host, outside) = connected_host!();
    let running = serving(&host, &["-p", "8080:7000", "-p", "8081:7000/udp", "-p", "127.0.0.1:9000-9001:7000-7001"]);
    for (pid, address) in [(host.pid(), "127.0.0.1"), (host.pid(), "::1"), (outside, OWN[0])] {
        assert_eq!(heard(pid, address, 8080), "heard you\n", "{address}");
    }
    // The pasta of Debian 12 does not know the address of IPv6 inside before it has seen a packet from there.
    wait_until("the server is heard by IPv6", || heard(outside, OWN[1], 8080) == "heard you\n");
    assert_eq!(heard(host.pid(), "127.0.0.1", 9000), "heard you\n");
    assert_eq!(heard(host.pid(), "127.0.0.1", 9001), "", "nobody listens there");
    assert_eq!(heard(outside, OWN[0], 9000), "", "that is loopback's alone");
    assert_eq!(heard(outside, OWN[0], 7000), "", "that is not published");
    for address in OWN {
        let socket = in_network_of(outside, || UdpSocket::bind((if address == OWN[0] { "0.0.0.0" } else { "::" }, 0)));
        let socket = socket.expect("bind");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("limit the wait");
        socket.send_to(b"you", (address, 8081)).expect("send");
        let mut bytes = [0; 99];
        let length = socket.recv(&mut bytes).expect("an answer");
        assert_eq!(&bytes[..length], b"heard you");
    }
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(143).assert_quiet();
}

#[test]
fn a_port_that_is_free_is_found_and_told() {
    let (host, _outside) = connected_host!();
    let script =
        format!("exec {NSL} run -p 7000 --status-fd 3 -- perl -MIO::Socket::IP -MSocket -e \"$0\" 3>{DIR}/events");
    let words = ["-c", &script, SERVER];
    host.sh(&format!("touch {DIR}/events; chmod 666 {DIR}/events"));
    let mut running = host.command("sh", words).as_user().start();
    assert_eq!(running.line(), "up");
    let events = fs::read_to_string(host.path(format!("{DIR}/events"))).expect("read the events");
    let event: serde_json::Value = serde_json::from_str(events.lines().next().expect("an event")).expect("JSON");
    let port = event["network"]["ports"][0]["host_port"].as_u64().expect("the port") as u16;
    assert_eq!(event["network"]["ports"][0]["container_port"], 7000);
    assert_eq!(heard(host.pid(), "127.0.0.1", port), "heard you\n");
    running.signal(Signal::SIGTERM);
    let output = running.finish();
    assert_eq!(output.stderr(), format!("nsl: port {port} of this host leads to 7000/tcp inside\n"));
}

#[test]
fn ports_that_cannot_be_had_are_refused_before_anything_is_made() {
    let (host, _outside) = connected_host!();
    let taken = greet(host.pid(), "127.0.0.1", "taken").to_string();
    // As a program that would tell if it were started.
    host.sh(&format!(
        "mkdir {DIR}/bin; printf '#!/bin/sh\\necho started >&2' > {DIR}/bin/pasta; chmod 755 {DIR}/bin/pasta"
    ));
    let run = |publication: &str| {
        let path = format!("PATH={DIR}/bin");
        host.command("env", [&path, NSL, "run", "-p", publication, "--", "/bin/true"]).as_user().run()
    };
    run(&format!("{taken}:80")).assert_refused(125, &[&format!("publish port {taken}"), "already listens", "hint"]);
    run("80:80").assert_refused(125, &["publish port 80", "Permission denied", "ip_unprivileged_port_start"]);
    run("192.0.2.77:8080:80").assert_refused(125, &["this host has no address 192.0.2.77"]);
    // Where ports are asked for, the sandbox does not do without.
    run("8080:80").assert_refused(125, &["start pasta: started"]);
    let words = ["PATH=/no/where", NSL, "run", "-p", "8080:80", "--", "/bin/true"];
    host.command("env", words).as_user().run().assert_refused(125, &["use --publish", "apt install passt"]);
}

#[test]
fn a_port_is_free_again_when_nsl_has_ended() {
    let (host, _outside) = connected_host!();
    let script = format!("for n in $(seq 30); do {NSL} run -p 8080:80 -p 8080:80/udp -- true || exit; done");
    host.command("sh", ["-c", &script]).as_user().run().assert_prints("");
}

#[test]
fn name_servers_are_those_that_can_be_reached() {
    let (mut host, _outside) = connected_host!();
    host.sh("printf 'nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch lan\n' > /run/resolv.conf
        mount --bind /run/resolv.conf $(realpath /etc/resolv.conf)");
    host.accept();
    run(&host, "cat /etc/resolv.conf").assert_prints("nameserver 192.0.2.1\nsearch lan");
}

#[test]
fn the_start_is_told_with_its_addresses() {
    let (host, _outside) = connected_host!();
    let script = format!("exec {NSL} run --status-fd 3 -- true 3>&1");
    let output = host.command("sh", ["-c", &script]).as_user().run();
    output.assert_code(0).assert_quiet();
    let expected = format!(
        r#""network":{{"kind":"pasta","address":"{0}","addresses":[{{"address":"{0}","prefix":24}},{{"address":"{1}","prefix":64}}],"ports":[]}}"#,
        OWN[0], OWN[1]
    );
    assert!(output.stdout().contains(&expected), "{output}");
}

#[test]
fn the_plan_names_the_program() {
    let (host, _outside) = connected_host!();
    let output = host.nsl(["run", "--dry-run", "--", "true"]).as_user().run();
    output.assert_code(0).assert_quiet();
    let stdout = output.stdout();
    assert!(stdout.contains("  make eth0 by /usr/bin/pasta, with the host's addresses\n"), "{output}");
    assert!(!stdout.contains("veth"), "{output}");
}

/// Bytes that go the other way: under load the pasta of Debian 12 was seen to reset a connection that sent 200 MB.
const UPLOAD: usize = 10_000_000;

#[test]
fn what_is_sent_arrives_whole() {
    let (host, outside) = connected_host!();
    let sum = host.sh(&format!("cd {DIR}; head -c 200000000 /dev/urandom > data; chmod 644 data; sha256sum < data"));
    let data = fs::read(host.path(format!("{DIR}/data"))).expect("read the data");
    let listener = in_network_of(outside, || TcpListener::bind((OUTSIDE[0], 0)).expect("bind"));
    let port = listener.local_addr().expect("the address of the server").port();
    let server = thread::spawn(move || {
        let (mut down, _) = listener.accept().expect("accept");
        down.write_all(&data).expect("send");
        drop(down);
        let mut received = vec![0; UPLOAD];
        let (mut up, _) = listener.accept().expect("accept");
        up.read_exact(&mut received).expect("receive");
        // What is on its way when the sandbox ends is lost, as in any network: the command waits for this.
        up.write_all(b"received\n").expect("answer");
        received == data[..UPLOAD]
    });
    let script = format!(
        "sha256sum < /dev/tcp/{address}/{port}
         exec 3<>/dev/tcp/{address}/{port}; head -c {UPLOAD} /mnt/data >&3; head -n 1 <&3",
        address = OUTSIDE[0]
    );
    let output = host.nsl(bash(&["-v", &format!("{DIR}:/mnt:ro")], &script)).as_user().run();
    output.assert_prints(&format!("{sum}received"));
    assert!(server.join().expect("the server ends"), "what came out is not what was sent");
}

#[test]
fn it_has_nothing_of_the_callers() {
    let (host, _outside) = connected_host!();
    let script = format!("exec {NSL} run -- sh -c 'echo up; cat' 7>{DIR}/mine");
    host.sh(&format!("touch {DIR}/mine; chmod 666 {DIR}/mine"));
    let mut running = host.command("sh", ["-c", &script]).env("SECRET", "x").as_user().start();
    assert_eq!(running.line(), "up");
    let pasta = pasta_of(&running);
    let files: Vec<_> = fs::read_dir(format!("/proc/{pasta}/fd"))
        .expect("read its descriptors")
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        .collect();
    // Those of nsl's own streams are pipes too, which are others.
    let streams: Vec<_> = (0..3)
        .filter_map(|number| fs::read_link(format!("/proc/{}/fd/{number}", running.pid())).ok())
        .map(|target| target.display().to_string())
        .collect();
    assert!(files.iter().any(|file| file.contains("tun")), "{files:?}");
    assert!(!files.iter().any(|file| file.ends_with("/mine") || streams.contains(file)), "{files:?} {streams:?}");
    assert_eq!(fs::read(format!("/proc/{pasta}/environ")).expect("read its environment"), b"");
    // A session of its own: the caller's terminal has no signals for it.
    let stat = fs::read_to_string(format!("/proc/{pasta}/stat")).expect("read its state");
    let session = stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(3).map(str::to_owned));
    assert_eq!(session, Some(pasta.to_string()));
    running.finish().assert_code(0).assert_quiet();
}

#[test]
fn invariant_1_pasta_ends_with_a_sandbox_that_ends() {
    let (host, _outside) = connected_host!();
    run(&host, "exit 3").assert_code(3).assert_quiet();
    host.assert_clean();
    let mut running = host.nsl(bash(&[], "echo up; exec sleep 1000")).as_user().start();
    assert_eq!(running.line(), "up");
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(143).assert_quiet();
    host.assert_clean();
    // One that fails after pasta has started.
    host.nsl(["run", "--", "/no/such/command"]).as_user().run().assert_refused(127, &["No such file"]);
    host.assert_clean();
}

#[test]
fn invariant_1_pasta_ends_with_whoever_is_killed() {
    let (host, _outside) = connected_host!();
    let running = waiting(&host, &[]);
    kill_hard(running.pid());
    host.assert_clean();
    drop(running);
    // Stopped it is as dead.
    let running = waiting(&host, &[]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pasta_of(&running).cast_signed()), Signal::SIGSTOP)
        .expect("stop");
    kill_hard(running.pid());
    host.assert_clean();
    drop(running);
    let running = waiting(&host, &[]);
    kill_hard(crate::leaks::child_of(running.pid()).expect("the init"));
    let output = running.finish();
    output.assert_code(137);
    assert!(output.stderr().contains("its init was killed by SIGKILL"), "{output}");
    host.assert_clean();
}

#[test]
fn a_sandbox_whose_pasta_is_killed_goes_on_and_is_told() {
    let (host, outside) = connected_host!();
    let port = greet(outside, OUTSIDE[0], "from outside");
    let script = format!(
        "ask {0} {port}; read line; timeout 1 bash -c ': < /dev/tcp/{0}/{port}' 2>&1 | head -c 0; \
        echo $line; exit 5",
        OUTSIDE[0]
    );
    let mut running = host.nsl(bash(&[], &script)).as_user().start();
    assert_eq!(running.line(), "from outside");
    let pasta = pasta_of(&running);
    kill_hard(pasta);
    wait_until("nsl has seen the end", || !fs::exists(format!("/proc/{pasta}")).unwrap_or(true));
    running.write("still here\n");
    let output = running.finish();
    output.assert_code(5).assert_stdout("still here");
    let expected =
        "nsl: the network of the sandbox is gone, it goes on without: pasta ended (it was killed by SIGKILL)\n";
    assert_eq!(output.stderr(), expected);
}

#[test]
fn invariant_1_nsl_killed_at_any_moment_of_the_start_leaves_no_pasta() {
    const KILLS: u32 = 60;
    // Longer than a start takes.
    const LONGEST: Duration = Duration::from_millis(45);
    let (host, _outside) = connected_host!();
    for number in 0..KILLS {
        let running = host.nsl(["run", "--", "sleep", "30"]).as_user().start();
        wait_until("nsl runs", || is_nsl(running.pid()));
        wait_until_past(Instant::now() + LONGEST * number / KILLS);
        kill_hard(running.pid());
        if number % 20 == 19 {
            drop(running);
            host.assert_clean();
        }
    }
    host.assert_clean();
}

#[test]
fn an_init_that_is_killed_while_pasta_starts_is_told() {
    let (host, _outside) = connected_host!();
    for number in 0..20 {
        let running = host.nsl(["run", "--network", "pasta", "--", "sleep", "30"]).as_user().start();
        assert_told_of_a_killed_init(running, Duration::from_millis(25) * number / 20);
    }
    host.assert_clean();
}

#[test]
fn two_hundred_starts_in_a_row_leave_nothing() {
    let (host, _outside) = connected_host!();
    let script = format!("for n in $(seq 100); do {NSL} run -- true || exit; done");
    let all: Vec<_> = (0..2).map(|_| host.command("sh", ["-c", &script]).as_user().start()).collect();
    for running in all {
        running.finish().assert_prints("");
    }
    host.assert_clean();
}

#[test]
fn without_pasta_there_is_lo_and_the_package_is_named() {
    let (host, _outside) = connected_host!();
    let run = |options: &[&str]| {
        let words = [&["PATH=/no/where", NSL, "run"], options, &["--", "/bin/ls", "/sys/class/net"]].concat();
        host.command("env", words).as_user().run()
    };
    let output = run(&[]);
    output.assert_code(0).assert_stdout("lo");
    assert_eq!(output.stderr().lines().count(), 1, "{output}");
    assert!(output.stderr().contains("no network inside but lo") && output.stderr().contains("apt install passt"));
    run(&["--network", "pasta"]).assert_refused(125, &["there is no pasta in PATH", "apt install passt"]);
}

/// Programs in the place of pasta. By itself the sandbox starts without, asked for by name it is refused.
#[test]
fn a_pasta_that_does_not_start_is_told_in_its_own_words() {
    let (host, _outside) = connected_host!();
    let with = |script: &str, mode: u32| {
        host.sh(&format!(
            "mkdir -p {DIR}/bin; cat > {DIR}/bin/pasta <<'EOF'\n{script}\nEOF\nchmod {mode} {DIR}/bin/pasta"
        ));
        let run = |options: &[&str]| {
            let path = format!("PATH={DIR}/bin");
            let words = [&[&*path, NSL, "run"], options, &["--", "/bin/ls", "/sys/class/net"]].concat();
            host.command("env", words).as_user().run()
        };
        let output = run(&[]);
        output.assert_code(0).assert_stdout("lo");
        assert!(output.stderr().starts_with(LO_ONLY) && output.stderr().lines().count() == 1, "{output}");
        let refused = run(&["--network", "pasta"]);
        assert_eq!(refused.stderr(), output.stderr().replace(LO_ONLY, "nsl: "), "{refused}");
        host.assert_clean();
        refused
    };
    with("#!/bin/sh\necho 'it broke' >&2; exit 3", 755).assert_refused(125, &["start pasta: it broke"]);
    with("#!/bin/sh\nexit 3", 755).assert_refused(125, &["start pasta: it exited with 3"]);
    with("#!/bin/sh\nkill -SEGV $$", 755).assert_refused(125, &["start pasta: it was killed by SIGSEGV"]);
    with("#!/bin/sh\nexit 0", 644).assert_refused(125, &["start pasta: ", "Permission denied"]);
    with("#!/no/such/interpreter", 755).assert_refused(125, &["start pasta: ", "No such file"]);
    let old = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'pasta 2021_01_01.abc'; exit; fi
        echo \"pasta: unrecognized option '--config-net'\" >&2; echo 'Usage: …' >&2; exit 1";
    with(old, 755).assert_refused(125, &["--config-net' (pasta 2021_01_01.abc)", "newer", "passt"]);
    // Half-way, and with a child that keeps its streams.
    with("#!/bin/sh\n/bin/sleep 1 & echo 12; exit 1", 755).assert_refused(125, &["start pasta: it exited with 1"]);
}

#[test]
fn a_pasta_that_hangs_is_given_up_in_time() {
    let (host, _outside) = connected_host!();
    host.sh(&format!(
        "mkdir {DIR}/bin; printf '#!/bin/sh\\nexec /bin/sleep 1000' > {DIR}/bin/pasta; chmod 755 {DIR}/bin/pasta"
    ));
    let path = format!("PATH={DIR}/bin");
    let output = host.command("env", [&path, NSL, "run", "--network", "pasta", "--", "/bin/true"]).as_user().run();
    output.assert_refused(125, &["start pasta: it was not ready within 10 s"]);
}

#[test]
fn a_host_without_a_device_or_a_route_is_told_what_mends_it() {
    let mut host = crate::host!("pasta");
    host.uplink();
    let run = |host: &Host, options: &[&str]| {
        let words = [&["run"], options, &["--", "ls", "/sys/class/net"]].concat();
        host.nsl(words).as_user().run()
    };
    host.sh("mount -t tmpfs -o mode=755 tmpfs /dev/net");
    host.accept();
    run(&host, &["--network", "pasta"]).assert_refused(125, &["tun", "hint: there is no /dev/net/tun: modprobe tun"]);
    host.sh("mknod -m 600 /dev/net/tun c 10 200");
    run(&host, &["--network", "pasta"]).assert_refused(125, &["hint: everybody must be able to write", "chmod 666"]);
    let output = run(&host, &[]);
    output.assert_code(0).assert_stdout("lo");
    assert!(output.stderr().starts_with(LO_ONLY) && output.stderr().contains("chmod 666"), "{output}");
    host.sh("chmod 666 /dev/net/tun; ip route del default");
    host.accept();
    run(&host, &["--network", "pasta"]).assert_refused(125, &["interface", "hint: the host has no default route"]);
    let output = run(&host, &[]);
    output.assert_code(0).assert_stdout("lo");
    assert!(output.stderr().starts_with(LO_ONLY) && output.stderr().lines().count() == 1, "{output}");
}

#[test]
fn root_is_told_why_not() {
    let host = crate::host!();
    let output = host.nsl(["run", "--network", "pasta", "--", "true"]).run();
    output.assert_refused(125, &["use --network pasta", "gives up all privileges", "hint: --network veth"]);
}
