//! A network that is there already: of a file, or of a process.

use crate::harness::{Host, Running, in_network_of, wait_until};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::thread;

/// `nsl run OPTIONS -- sh -c SCRIPT`
fn sh<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run"], options, &["--", "sh", "-c", script]].concat()
}

fn namespace(pid: u32) -> String {
    fs::read_link(format!("/proc/{pid}/ns/net")).map(|link| link.display().to_string()).unwrap_or_default()
}

/// A namespace of a name, with a device that tells it apart.
fn named(host: &mut Host, name: &str) -> String {
    host.sh(&format!("ip netns add {name}; ip -n {name} link add there0 type veth peer name there1"));
    host.accept();
    format!("ns:/run/netns/{name}")
}

/// A sandbox that waits for its stdin to end.
fn waiting(host: &Host, options: &[&str]) -> (Running, String) {
    let mut running = host.nsl(sh(options, "echo ready; cat")).start();
    assert_eq!(running.line(), "ready");
    let network = format!("container:{}", running.init());
    (running, network)
}

/// A server on loopback in the network of a process.
fn greet(pid: u32, greeting: &'static str) -> u16 {
    let listener = in_network_of(pid, || TcpListener::bind(("127.0.0.1", 0)).expect("bind"));
    let port = listener.local_addr().expect("the address of the server").port();
    thread::spawn(move || {
        // So many callers: its socket keeps the network alive.
        for stream in listener.incoming().take(2) {
            let _ = stream.and_then(|mut stream| writeln!(stream, "{greeting}"));
        }
    });
    port
}

#[test]
fn a_command_is_born_in_the_network_of_a_file() {
    let mut host = crate::host!("ip");
    let network = named(&mut host, "blue");
    let script = "readlink /proc/self/ns/net; ip -br link | grep -o '^[a-z0-9]*' | sort; ls /sys/class/net; cat";
    let mut running = host.nsl(sh(&["--network", &network], script)).start();
    let there = running.line();
    assert_eq!([running.line(), running.line(), running.line()], ["lo", "there0", "there1"]);
    // The launcher and what else is the host's stayed where they were.
    assert_eq!(namespace(running.pid()), namespace(host.pid()));
    assert_ne!(there, namespace(host.pid()));
    assert_eq!(namespace(running.init()), there);
    let output = running.finish();
    output.assert_code(0).assert_quiet();
    assert!(output.stdout().contains("there0"), "{output}");
    // What is not nsl's is as it was: down.
    assert!(host.sh("ip -n blue -br link show lo").contains(" DOWN "));
    let options = ["--userns", "auto", "--network", &network];
    host.nsl(sh(&options, "ip -br link | grep -o ^there0")).run().assert_prints("there0");
    host.assert_clean();
}

#[test]
fn a_named_namespace_has_the_names_that_ip_gives_it() {
    let mut host = crate::own_host!("ip");
    let network = named(&mut host, "blue");
    host.sh("printf 'nameserver 127.0.0.1\\nnameserver 192.0.2.9\\n' > /etc/resolv.conf");
    let names =
        |options: &[&str]| host.nsl(sh(&[&["--network", &network], options].concat(), "cat /etc/resolv.conf")).run();
    names(&[]).assert_prints("nameserver 192.0.2.9");
    host.sh("mkdir -p /etc/netns/blue; echo nameserver 127.0.0.2 > /etc/netns/blue/resolv.conf");
    names(&[]).assert_prints("nameserver 127.0.0.2");
    names(&["--dns", "127.0.0.3"]).assert_prints("nameserver 127.0.0.3");
}

#[test]
fn a_sandbox_reaches_the_loopback_services_of_the_one_it_joined() {
    let host = crate::host!("ip", "bash");
    for (first, second) in
        [(&[][..], &[][..]), (&["--network", "none"], &["--userns", "auto"]), (&["--userns", "auto"], &[])]
    {
        let names = ["--dns", "192.0.2.1", "--add-host", "db:192.0.2.7", "--hostname", "one"];
        let first = if first.contains(&"none") { [first, &names[2..]].concat() } else { [first, &names].concat() };
        let (running, network) = waiting(&host, &first);
        let port = greet(running.init(), "from its lo");
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port}; read -r line <&3; echo $line; getent -s files hosts db | tr -s ' '
             getent -s files hosts one | wc -l"
        );
        let words =
            [&["run", "--network", &network, "--hostname", "two"], second, &["--", "bash", "-c", &script]].concat();
        host.nsl(words).run().assert_prints("from its lo\n192.0.2.7 db\n1");
        let resolv_conf = host.nsl(sh(&["--network", &network], "cat /etc/resolv.conf")).run().stdout();
        assert_eq!(resolv_conf.contains("nameserver 192.0.2.1"), first.contains(&"--dns"), "{resolv_conf}");
        // So that the server's socket does not keep the network.
        drop(in_network_of(running.init(), || std::net::TcpStream::connect(("127.0.0.1", port))));
        running.finish().assert_code(0);
    }
    host.assert_clean();
}

#[test]
fn a_network_lives_as_long_as_the_last_who_is_in_it() {
    let host = crate::host!("ip");
    let (first, network) = waiting(&host, &[]);
    let mut second = host
        .nsl(sh(
            &["--network", &network],
            "ip -br link show eth0 | grep -o eth0; read x; ip -br link show eth0 | grep -o eth0",
        ))
        .start();
    assert_eq!(second.line(), "eth0");
    first.finish().assert_code(0);
    second.write("\n");
    second.finish().assert_prints("eth0");
    host.assert_clean();
}

#[test]
fn who_joins_gets_no_capability_by_it() {
    let host = crate::host!("ip");
    let (first, network) = waiting(&host, &[]);
    let script = "grep CapEff /proc/self/status; ip link set eth0 down 2>/dev/null || echo held
        ip addr add 192.0.2.1/32 dev lo 2>/dev/null || echo held";
    let alone = host.nsl(sh(&["--network", "none"], "grep CapEff /proc/self/status")).run().stdout();
    host.nsl(sh(&["--network", &network], script)).run().assert_prints(&format!("{alone}held\nheld"));
    // Nor where it has all of them, in a user namespace of its own: the network belongs to another.
    let options = ["--network", &network, "--userns", "auto", "--cap-add", "ALL"];
    let output = host.nsl(sh(&options, script)).run();
    assert!(output.stdout().ends_with("held\nheld\n"), "{output}");
    first.finish();
}

#[test]
fn the_network_of_a_process_of_the_hosts_is_the_hosts() {
    let mut host = crate::host!("ip");
    let network = format!("container:{}", host.pid());
    let output = host.nsl(sh(&["--network", &network], "readlink /proc/self/ns/net")).env("NOTIFY_SOCKET", "@x").run();
    output.assert_prints(&namespace(host.pid()));
    let output = host.nsl(sh(&["--network", &network], "echo $NOTIFY_SOCKET")).env("NOTIFY_SOCKET", "@x").run();
    output.assert_prints("@x");
    host.nsl(sh(&["--network", "ns:/proc/self/ns/net"], "readlink /proc/self/ns/net"))
        .as_user()
        .run()
        .assert_prints(&namespace(host.pid()));
    // A socket of another network is out of reach.
    let network = named(&mut host, "blue");
    let output = host.nsl(sh(&["--network", &network], "echo ${NOTIFY_SOCKET-none}")).env("NOTIFY_SOCKET", "@x").run();
    output.assert_code(0).assert_stdout("none");
}

#[test]
fn what_is_no_network_is_refused() {
    let mut host = crate::host!("ip", "mkfifo");
    let blue = named(&mut host, "blue");
    host.sh("mkfifo /tmp/test/fifo; touch /tmp/test/file");
    let cases: &[(&str, &[&str])] = &[
        ("ns:/run/netns/red", &["join the network /run/netns/red: No such file", "ip netns list"]),
        ("ns:/tmp/test/file", &["it is no network namespace", "hint"]),
        ("ns:/tmp/test/fifo", &["it is no network namespace"]),
        ("ns:/tmp", &["it is no network namespace"]),
        ("ns:/dev/zero", &["it is no network namespace"]),
        ("ns:/proc/self/ns/mnt", &["a namespace of another kind"]),
        ("ns:", &["ns: takes a file"]),
        ("container:4194305", &["join the network of process 4194305", "no such process", "--pidfile"]),
        ("container:0", &["container: takes the ID of a process"]),
        ("container:web", &["container: takes the ID of a process"]),
        ("wifi:x", &["container:PID"]),
    ];
    for (network, words) in cases {
        host.nsl(sh(&["--network", network], "true")).run().assert_refused(125, words);
    }
    let words = ["run", "--network", &blue, "--ip", "192.168.5.2/24", "--", "true"];
    host.nsl(words).run().assert_refused(125, &["use --ip"]);
    let words = ["run", "--network", &blue, "--add-host", "h:host-gateway", "--", "true"];
    host.nsl(words).run().assert_refused(125, &["a network that was joined", "hint"]);
    host.nsl(sh(&["--network", &blue], "true")).as_user().run().assert_refused(125, &["needs root"]);
    let init = format!("container:{}", host.pid());
    host.nsl(sh(&["--network", &init], "true")).as_user().run().assert_refused(125, &["needs root"]);
    host.sh("rm /tmp/test/fifo /tmp/test/file");
    host.assert_clean();
}

/// Its root is its own: links in it lead nowhere else, and nobody waits for what it is or how long.
#[test]
fn the_files_of_a_process_are_anything() {
    let host = crate::host!("ip", "mkfifo");
    let secret = "echo secret > /run/secret";
    host.sh(secret);
    let cases = [
        "mkfifo /etc/resolv.conf /etc/hosts",
        "mkdir /etc/resolv.conf /etc/hosts",
        "ln -s /run/secret /etc/resolv.conf; ln -s ../../../../run/secret /etc/hosts",
        "ln -s /proc/1/root/run/secret /etc/resolv.conf; ln -s /proc/self/fd/0 /etc/hosts",
        "ln -s /dev/zero /etc/resolv.conf; ln -s /dev/tty /etc/hosts",
        "head -c 1000000 /dev/zero > /etc/resolv.conf; cp /etc/resolv.conf /etc/hosts",
    ];
    for case in cases {
        let script = format!("rm -rf /etc/resolv.conf /etc/hosts; {case}; echo ready; cat");
        let mut running = host.nsl(sh(&["--network", "none"], &script)).start();
        assert_eq!(running.line(), "ready");
        let network = format!("container:{}", running.init());
        let output =
            host.nsl(sh(&["--network", &network], "cat /etc/resolv.conf /etc/hosts; getent -s files hosts nsl")).run();
        output.assert_code(0);
        assert!(!output.stdout().contains("secret") && output.stdout().contains("127.0.1.1"), "{case}: {output}");
        running.finish().assert_code(0);
    }
    host.sh("rm /run/secret");
}

#[test]
fn a_process_that_ends_meanwhile_is_told_of() {
    let host = crate::host!("ip");
    let (running, network) = waiting(&host, &["--network", "none"]);
    let init = running.init();
    running.finish();
    wait_until("the init is gone", || !fs::exists(format!("/proc/{init}")).unwrap_or(true));
    let output = host.nsl(sh(&["--network", &network], "true")).run();
    output.assert_refused(125, &["no such process, or it has ended"]);
}
