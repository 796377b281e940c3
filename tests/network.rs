//! The network of a sandbox: what it reaches, what reaches it, and what it must not reach.

use crate::harness::{DIR, Host, Running, in_network_of, wait_until};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// bash at work with addresses: `ask HOST PORT` prints what a server says, or "refused".
pub const ASK: &str =
    "ask() { (exec 3<>/dev/tcp/$1/$2 && read -t 5 -r line <&3 && echo $line) 2>/dev/null || echo refused; }
    gateway=$(ip route show default | cut -d' ' -f3); ";

/// A server in the network of a process, that greets each caller.
pub fn greet(pid: u32, address: &str, greeting: &'static str) -> u16 {
    greet_some(pid, address, greeting, usize::MAX)
}

/// The same for so many callers: its socket keeps the network alive.
fn greet_some(pid: u32, address: &str, greeting: &'static str, callers: usize) -> u16 {
    let listener = in_network_of(pid, || TcpListener::bind((address, 0)).expect("bind"));
    let port = listener.local_addr().expect("the address of the server").port();
    thread::spawn(move || {
        for stream in listener.incoming().take(callers) {
            let _ = stream.and_then(|mut stream| writeln!(stream, "{greeting}"));
        }
    });
    port
}

/// What a server at this address of this host says.
fn ask(host: &Host, address: &str, port: u16) -> String {
    host.in_network(|| {
        let address = SocketAddrV4::new(address.parse().expect("an address"), port);
        let mut text = String::new();
        let stream = TcpStream::connect_timeout(&address.into(), Duration::from_secs(5));
        stream.and_then(|mut stream| stream.read_to_string(&mut text)).expect("ask the server");
        text.trim().to_owned()
    })
}

/// Does somebody listen on this port in the network of a process?
fn listens(pid: u32, port: u16) -> bool {
    let any = format!(":{port:04X} 00000000:0000 0A");
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
    read("tcp").contains(&any) || read("tcp6").contains(&format!(":{port:04X} {}:0000 0A", "0".repeat(32)))
}

/// `nsl run OPTIONS -- bash -c SCRIPT`, with `ask` and `$gateway`.
fn bash(options: &[&str], script: &str) -> Vec<String> {
    let script = format!("{ASK}{script}");
    let words = [&["run"], options, &["--", "bash", "-c", &script]].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// A sandbox that waits; its address inside, its address on the host.
fn waiting(host: &Host, options: &[&str]) -> (Running, String, String) {
    let script = "ip -4 -o addr show eth0 | tr -s ' ' | cut -d' ' -f4; echo $gateway; cat";
    let mut running = host.nsl(bash(options, script)).start();
    let inside = running.line().split('/').next().unwrap_or_default().to_owned();
    let gateway = running.line();
    (running, inside, gateway)
}

#[test]
fn lo_is_up_in_a_network_of_its_own() {
    let host = crate::host!("ip");
    let script = "ip -br link show lo | grep -o LOOPBACK,UP; ip -br addr show lo | tr -s ' '";
    for network in ["none", "veth"] {
        let output = host.nsl(bash(&["--network", network], script)).run();
        output.assert_prints("LOOPBACK,UP\nlo UNKNOWN 127.0.0.1/8 ::1/128");
    }
    host.nsl(bash(&["--network", "none"], "ls /sys/class/net; ip route")).run().assert_prints("lo");
}

#[test]
fn the_hosts_network_is_the_hosts() {
    let host = crate::host!("ip");
    host.sh("ip link add other7 type veth peer name other8");
    let port = greet(host.pid(), "127.0.0.1", "from the host's lo");
    let script = format!("ls /sys/class/net | grep other7; ask 127.0.0.1 {port}");
    host.nsl(bash(&["--network", "host"], &script)).run().assert_prints("other7\nfrom the host's lo");
    host.nsl(bash(&["--network", "host"], &script)).as_user().run().assert_prints("other7\nfrom the host's lo");
    host.sh("ip link del other7");
}

#[test]
fn both_ends_of_the_pair_have_their_addresses() {
    let host = crate::host!("ip");
    let (running, inside, gateway) = waiting(&host, &[]);
    let addresses = host.sh("ip -br -4 addr");
    let own: Vec<_> = addresses.lines().filter(|line| line.starts_with("nsl")).collect();
    assert_eq!(own.len(), 1, "{addresses}");
    assert!(own[0].contains(" UP ") && own[0].contains(&format!(" {gateway}/31")), "{addresses}");
    let [inside_bits, gateway_bits] = [&inside, &gateway].map(|text| text.parse::<Ipv4Addr>().expect(text).to_bits());
    assert_eq!(inside_bits, gateway_bits + 1);
    assert_eq!(inside.split('.').take(2).collect::<Vec<_>>(), ["10", "221"]);
    running.finish().assert_code(0).assert_quiet();
    host.assert_clean();
}

#[test]
fn tcp_reaches_host_and_sandbox_from_each_other() {
    let host = crate::host!("ip", "busybox");
    let port = greet(host.pid(), "0.0.0.0", "from the host");
    let script = format!("ask $gateway {port}; hostname -I | cut -d' ' -f1; echo from inside | busybox nc -l -p 7000");
    let mut running = host.nsl(bash(&[], &script)).start();
    assert_eq!(running.line(), "from the host");
    let address = running.line();
    let init = running.init();
    wait_until("the server inside listens", || listens(init, 7000));
    assert_eq!(ask(&host, &address, 7000), "from inside");
    running.finish().assert_prints("");
}

#[test]
fn nat_leads_out_to_what_knows_no_way_back() {
    let mut host = crate::host!("ip");
    let outside = host.uplink();
    let port = greet(outside, "198.51.100.1", "from beyond");
    let script = format!("ask 198.51.100.1 {port}");
    host.nsl(bash(&[], &script)).run().assert_prints("from beyond");
    assert_eq!(host.sh("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    host.nsl(bash(&["--ip", "192.168.77.2/24"], &script)).run().assert_prints("from beyond");
    host.nsl(bash(&["--network", "none"], &script)).run().assert_prints("refused");
}

#[test]
fn many_connections_right_at_the_start_do_not_stall() {
    let mut host = crate::host!("ip");
    let outside = host.uplink();
    let port = greet(outside, "198.51.100.1", "from beyond");
    for _ in 0..20 {
        // Half of what a lost first packet costs: TCP sends it again after a second.
        let script = format!("exec 3<>/dev/tcp/198.51.100.1/{port} && read -t 0.5 -r line <&3 && echo $line");
        let output = host.nsl(["run", "--", "timeout", "0.5", "bash", "-c", &script]).run();
        output.assert_code(0).assert_stdout("from beyond");
    }
}

#[test]
fn a_sandbox_reaches_no_other_sandbox() {
    let host = crate::host!("ip");
    let (first, address, _) = waiting(&host, &[]);
    let port = greet_some(first.init(), "0.0.0.0", "from another sandbox", 2);
    assert_eq!(ask(&host, &address, port), "from another sandbox");
    let script =
        format!("timeout 0.3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null && echo reached || echo no");
    host.nsl(bash(&[], &script)).run().assert_prints("no");
    host.nsl(bash(&["--ip", "192.168.78.2/24"], &script)).run().assert_prints("no");
    assert_eq!(ask(&host, &address, port), "from another sandbox");
    first.finish();
}

#[test]
fn a_sandbox_does_not_reach_the_hosts_loopback() {
    let host = crate::host!("ip");
    let port = greet(host.pid(), "127.0.0.1", "secret");
    let try_it = |address: &str| {
        format!("timeout 0.3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null && echo reached || echo no; ")
    };
    host.nsl(bash(&[], &(try_it("127.0.0.1") + &try_it("'$gateway'")))).run().assert_prints("no\nno");
    // Not even where the host lets such packets in, and the sandbox, with all capabilities, sends them.
    host.sh("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet");
    let script = "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via $gateway; sysctl -qw \
        net.ipv4.conf.all.route_localnet=1 2>/dev/null; ip route get 127.0.0.1 | grep -o eth0; "
        .to_owned();
    let output = host.nsl(bash(&["--privileged"], &(script + &try_it("127.0.0.1")))).run();
    assert!(output.stdout().ends_with("no\n"), "{output}");
}

#[test]
fn a_fixed_pair_is_as_it_was_asked_for() {
    let host = crate::host!("ip");
    let options = ["--ip", "192.168.79.20/24", "--gateway", "192.168.79.254"];
    let (running, inside, gateway) = waiting(&host, &options);
    assert_eq!((inside.as_str(), gateway.as_str()), ("192.168.79.20", "192.168.79.254"));
    assert!(host.sh("ip -br -4 addr").contains(" 192.168.79.254/24"));
    running.finish().assert_quiet();
    // At once again: what the first leaves behind is waited for.
    let again = host.nsl(bash(&["--ip", "192.168.79.20/24"], "cat /etc/hosts | tail -n 1; echo $gateway")).run();
    again.assert_prints("192.168.79.20 nsl\n192.168.79.1");
}

#[test]
fn thirty_at_the_same_time_have_addresses_of_their_own() {
    let host = crate::host!("ip");
    let script = "ip -4 -o addr show eth0 | tr -s ' ' | cut -d' ' -f4; cat";
    let mut all: Vec<_> = (0..30).map(|_| host.nsl(bash(&[], script)).start()).collect();
    let addresses: BTreeSet<_> = all.iter_mut().map(Running::line).collect();
    assert_eq!(addresses.len(), 30, "{addresses:?}");
    assert_eq!(host.sh("ip -br link").lines().filter(|line| line.starts_with("nsl")).count(), 30);
    for running in all {
        running.finish().assert_code(0).assert_quiet();
    }
    host.assert_clean();
}

#[test]
fn name_servers_are_the_hosts() {
    let host = crate::host!("ip");
    let servers = "sed -n 's/^nameserver *//p' /etc/resolv.conf";
    let all = host.sh(servers);
    let expected: Vec<_> = match all.lines().filter(|line| !line.starts_with("127.")).collect::<Vec<_>>() {
        none if none.is_empty() => vec!["192.0.2.53"],
        some => some,
    };
    host.nsl(["run", "--", "sh", "-c", servers]).run().assert_prints(&expected.join("\n"));
    let hosts = host.nsl(["run", "--network", "host", "--", "cat", "/etc/resolv.conf"]).run();
    assert_eq!(hosts.stdout(), host.sh("cat /etc/resolv.conf"));
}

#[test]
fn the_rules_stand_once_however_many_sandboxes_ran() {
    let host = crate::host!("nft");
    for _ in 0..3 {
        host.nsl(["run", "--", "true"]).run().assert_code(0);
    }
    let many: Vec<_> = (0..6).map(|_| host.nsl(["run", "--", "true"]).start()).collect();
    for running in many {
        running.finish().assert_code(0);
    }
    let rules = host.sh("nft list ruleset");
    let expected = include_str!("golden/nftables.txt");
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(lines(&rules), lines(expected), "{rules}");
    // Foreign rules stay.
    host.sh("nft delete table inet nsl; nft add table inet mine");
    host.nsl(["run", "--", "true"]).run().assert_code(0);
    assert!(host.sh("nft list ruleset").contains("table inet mine"));
    host.sh("nft delete table inet mine");
}

/// What started it all: the example of the article.
#[test]
fn the_articles_example_works_whole() {
    let host = crate::host!("ip", "busybox", "bash");
    let port = greet(host.pid(), "0.0.0.0", "from the host");
    let volumes =
        ["--empty", "-v", "/usr:/usr:ro", "-v", "/bin:/bin:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];
    let network = ["--network", "veth", "--ip", "192.168.1.2/24", "--gateway", "192.168.1.1"];
    let script = format!(
        "stat -f -c %T /; cd /proc; ls -d [0-9] | tr '\\n' ' '; ip -br link show lo | grep -o LOOPBACK,UP
         ip -br -4 addr show eth0 | cut -d@ -f1; ip -br -4 addr show eth0 | tr -s ' ' | cut -d' ' -f2,3
         ask 192.168.1.1 {port}; echo from inside | busybox nc -l -p 7000; exit 42"
    );
    let mut running = host.nsl(bash(&[&volumes[..], &network].concat(), &script)).start();
    assert_eq!(running.line(), "tmpfs");
    assert!(running.line().starts_with("1 2 "));
    let init = running.init();
    assert_eq!(std::fs::read_to_string(format!("/proc/{init}/comm")).unwrap_or_default(), "nsl-init\n");
    assert_eq!([running.line(), running.line()], ["eth0", "UP 192.168.1.2/24"]);
    assert!(host.sh("ip -br -4 addr").lines().any(|line| line.contains(" UP ") && line.contains(" 192.168.1.1/24")));
    assert_eq!(running.line(), "from the host");
    wait_until("the server inside listens", || listens(init, 7000));
    assert_eq!(ask(&host, "192.168.1.2", 7000), "from inside");
    running.finish().assert_code(42).assert_stdout("").assert_quiet();
}

/// An echo request of the kernel's own making, which takes no capability, and its answer: what ping does.
const PING: &str = r"use Socket; my ($host) = `ip route` =~ /via (\S+)/; socket my $s, AF_INET, SOCK_DGRAM, 1 or die $!;
    send $s, pack('CCnnna4', 8, 0, 0, 0, 1, 'data'), 0, sockaddr_in(0, inet_aton $host) or die $!;
    local $SIG{ALRM} = sub { die 'no answer' }; alarm 5; recv $s, my $answer, 99, 0; print qq(answered\n) if
    unpack('C', $answer) == 0";

#[test]
fn every_user_pings_without_a_capability() {
    let host = crate::host!("perl");
    let others = ["-u", "1000"];
    for options in [&[][..], &others, &["--userns", "auto"], &["--userns", "auto:1001", "-u", "1000"], &["--nested"]] {
        let words = [&["run"], options, &["--cap-drop", "ALL", "--", "perl", "-e", PING]].concat();
        host.nsl(words).run().assert_prints("answered");
    }
    host.nsl(["run", "--userns", "keep-id", "--", "perl", "-e", PING]).run().assert_prints("answered");
    // The host's own setting is as it was, and that of a sandbox without a pair.
    let setting = "cat /proc/sys/net/ipv4/ping_group_range";
    assert_eq!(host.sh(setting), "1\t0\n");
    host.nsl(["run", "--network", "none", "--", "sh", "-c", setting]).run().assert_prints("1\t0");
}

/// Debian's has a file capability; without no_new_privs its sort cannot be executed where the command may not have it.
#[test]
fn debians_ping_works_for_every_user() {
    let host = crate::host!("ping", "setcap");
    host.sh(&format!("cp $(command -v ping) {DIR}/ping; setcap cap_net_raw+ep {DIR}/ping"));
    let volume = format!("{DIR}/ping:/mnt/ping");
    let script =
        "/mnt/ping -c 1 -W 5 $(ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p') | grep -o '1 received'";
    for options in [&[][..], &["-u", "1000"], &["--userns", "auto"], &["--userns", "auto", "-u", "1000"], &["--nested"]]
    {
        let words = [&["run", "-v", &volume], options, &["--", "sh", "-c", script]].concat();
        host.nsl(words).run().assert_prints("1 received");
    }
}

/// So do all files that give privileges which nobody may have: they are executed without.
#[test]
fn files_with_capabilities_are_executed_without_them() {
    let host = crate::host!("setcap");
    host.sh(&format!("mkdir {DIR}/volume; cp $(command -v cat) {DIR}/volume; setcap cap_net_raw+ep {DIR}/volume/cat"));
    let volume = format!("{DIR}/volume:/mnt");
    let run = |options: &[&str]| {
        let words = [&["run", "--network", "none", "-v", &volume], options, &["--", "/mnt/cat", "/etc/hostname"]];
        host.nsl(words.concat()).run()
    };
    run(&[]).assert_prints("nsl");
    run(&["-u", "1000"]).assert_prints("nsl");
    let output = run(&["--no-new-privs=false"]);
    output.assert_refused(126, &["Operation not permitted", "getcap", "--cap-add"]);
    run(&["--no-new-privs=false", "--cap-add", "NET_RAW"]).assert_prints("nsl");
}

#[test]
fn a_sandbox_starts_where_nobody_can_be_let_ping() {
    let mut host = crate::host!();
    // As containers have it: what lies there need not be what it should.
    host.sh("mount --bind /proc/sys /proc/sys");
    host.accept();
    let words = ["run", "--proc", "host", "--userns", "auto", "--log-level", "debug", "--", "echo", "started"];
    let output = host.nsl(words).run();
    output.assert_code(0).assert_stdout("started");
    assert!(output.stderr().contains("ping takes CAP_NET_RAW"), "{output}");
}
