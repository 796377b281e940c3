//! Sandboxes of root's with ids of their own: which ids, and the host's files seen with their owners shifted.

use crate::harness::{DIR, NSL, in_network_of};
use crate::userns::{MAPS, grant, sandbox};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::thread;

#[test]
fn root_gives_a_sandbox_ids_that_nobody_has() {
    let host = crate::host!();
    let map = |output: &crate::harness::Output| -> Vec<u32> {
        output.stdout().split_whitespace().map(|word| word.parse().expect("a number")).collect()
    };
    let run = |mode: &str| host.nsl(sandbox(&["--userns", mode], MAPS)).run();
    for (mode, size) in [("auto", 65536), ("auto:1000", 1000)] {
        let output = run(mode);
        output.assert_code(0).assert_quiet();
        let map = map(&output);
        assert_eq!((map[0], map[2], &map[..3]), (0, size, &map[3..]), "{output}");
        assert!(map[1] >= 524_288 && map[1] < 1_878_982_656 && (map[1] - 524_288) % 65536 == 0, "{output}");
    }
    run("auto:65537").assert_refused(125, &["65537 ids are too many", "65536"]);
    host.nsl(sandbox(&["--userns", "host"], MAPS)).run().assert_prints("0 0 4294967295 0 0 4294967295");
}

#[test]
fn no_two_sandboxes_have_the_same_ids() {
    let mut host = crate::host!();
    // Room for three.
    grant(&mut host, "nsl:700000:196608\\n");
    let script = "head -n 1 /proc/self/uid_map | tr -s ' '; cat";
    let mut first: Vec<_> = (0..3).map(|_| host.nsl(sandbox(&["--userns", "auto"], script)).start()).collect();
    let mut maps: Vec<_> = first.iter_mut().map(|running| running.line().trim().to_owned()).collect();
    maps.sort();
    assert_eq!(maps, ["0 700000 65536", "0 765536 65536", "0 831072 65536"]);
    let run = || host.nsl(sandbox(&["--userns", "auto"], "echo ran")).run();
    run().assert_refused(125, &["take a range of ids", "every one is taken", "/etc/subuid"]);
    // One that is killed leaves nothing to clean up.
    let killed = first.remove(1);
    kill(Pid::from_raw(killed.pid().cast_signed()), Signal::SIGKILL).expect("kill nsl");
    drop(killed);
    run().assert_prints("ran");
    for running in first {
        running.finish().assert_code(0);
    }
}

#[test]
fn root_of_a_sandbox_owns_its_view_of_the_host_and_nothing_outside() {
    let host = crate::host!();
    let script = "set -e; stat -c '%u %g' / /etc/passwd /usr/bin /run /tmp; echo new >> /etc/passwd; tail -n 1 /etc/passwd
        chown 5:7 /etc/group; stat -c '%u %g' /etc/group; rm -r /usr/share; mkdir /usr/share; ls -A /usr/share /run /tmp
        cat /etc/shadow > /dev/null; sed -n 's/^Uid:.//p' /proc/self/status | cut -f1; cat /proc/1/root/etc/hostname 2>&1 | tail -c 18";
    let before = host.sh("stat -c '%u %g' /etc/group; cat /etc/passwd");
    let output = host.nsl(sandbox(&["--userns", "auto"], script)).run();
    output.assert_prints("0 0\n0 0\n0 0\n0 0\n0 0\nnew\n5 7\n/run:\n\n/tmp:\n\n/usr/share:\n0\nPermission denied");
    assert_eq!(host.sh("stat -c '%u %g' /etc/group; cat /etc/passwd"), before);
    // The host sees another user.
    let mut running = host.nsl(sandbox(&["--userns", "auto"], "echo up; cat")).start();
    assert_eq!(running.line(), "up");
    let status = fs::read_to_string(format!("/proc/{}/status", running.init())).expect("read the status");
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")?.split('\t').next()?.parse::<u32>().ok());
    assert!(uid.is_some_and(|uid| uid >= 524_288), "{status}");
    running.finish().assert_code(0);
}

#[test]
fn streams_can_be_opened_again_by_root_inside() {
    let host = crate::host!();
    let script = "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin; stat -Lc %u /dev/stdin";
    let output = host.nsl(sandbox(&["--userns", "auto"], script)).stdin("in\n").run();
    output.assert_code(0).assert_stdout("out\nin\n0");
    assert_eq!(output.stderr(), "err\n", "{output}");
    // A file of the host's stays whose it is.
    let script = format!("echo > {DIR}/file; {NSL} run --network none --userns auto -- true < {DIR}/file");
    host.sh(&script);
    assert_eq!(host.sh(&format!("stat -c %u {DIR}/file")), "0\n");
}

#[test]
fn root_of_a_user_namespace_makes_another_below_it() {
    let host = crate::host!();
    let run = |options: &[&str]| {
        let words = ["--user", "--map-root-user", NSL].into_iter().map(str::to_owned);
        host.command("unshare", words.chain(sandbox(options, "id -u").iter().map(|word| (*word).to_owned()))).run()
    };
    run(&[]).assert_refused(125, &["an overlay of the host's /", "Operation not permitted", "--userns keep-id"]);
    run(&["--userns", "keep-id"]).assert_prints("0");
    run(&["--userns", "auto"]).assert_refused(125, &["write the uid_map", "Operation not permitted", "uid_map"]);
    host.nsl(sandbox(&["--userns", "keep-id"], MAPS)).run().assert_prints("0 0 1 0 0 1");
}

#[test]
fn volumes_and_directories_of_root_belong_to_root_inside() {
    let host = crate::host!();
    host.sh(&format!(
        "mkdir -p {DIR}/root/bin {DIR}/v {DIR}/r; cp $(command -v busybox) {DIR}/root/bin/busybox
         ln -s busybox {DIR}/root/bin/sh; echo r > {DIR}/r/file; chown 3:4 {DIR}/v"
    ));
    let (rootfs, v, r) = (format!("{DIR}/root"), format!("{DIR}/v:/v"), format!("{DIR}/r:/r:ro"));
    let script = "b=/bin/busybox; $b stat -c '%u %g' / /v /r/file; echo new > /v/new; $b chown 5:7 /v/new
        (echo no > /r/file) 2>/dev/null || $b cat /r/file; $b touch /made";
    let options = ["--userns", "auto", "--rootfs", &rootfs, "-v", &v, "-v", &r];
    host.nsl(sandbox(&options, script)).run().assert_prints("0 0\n3 4\n0 0\nr");
    assert_eq!(host.sh(&format!("stat -c '%u %g' {DIR}/v/new {DIR}/root/made")), "5 7\n0 0\n");
    let busybox = format!("{}:/bin/busybox", host.sh("command -v busybox").trim());
    let options = ["run", "--network", "none", "--userns", "auto", "--empty", "-v", &busybox, "--", "/bin/busybox"];
    host.nsl(options.iter().chain(&["stat", "-c", "%u", "/", "/bin/busybox"])).run().assert_prints("0\n0");
    // proc has no ID-mapped mounts.
    let output = host.nsl(sandbox(&["--userns", "auto", "-v", "/proc/sys:/mnt"], "true")).run();
    output.assert_refused(125, &["shift the owners in /proc/sys: Invalid argument", "ID-mapped", "hint"]);
}

#[test]
fn the_network_of_a_sandbox_with_ids_of_its_own_comes_up() {
    let mut host = crate::host!("bash");
    let outside = host.uplink();
    let listener = in_network_of(outside, || TcpListener::bind("198.51.100.1:0").expect("listen"));
    let port = listener.local_addr().expect("the address").port();
    let greeter = thread::spawn(move || listener.accept().expect("a connection").0.write_all(b"from beyond\n"));
    let script = format!(
        "ip -br addr show eth0 | grep -o UP; exec 3<>/dev/tcp/198.51.100.1/{port}; cat <&3; ls /sys/class/net | tail -1
         ip link set eth0 mtu 1400 && cat /sys/class/net/eth0/mtu"
    );
    let options = ["run", "--userns", "auto", "--cap-add", "NET_ADMIN", "--", "bash", "-c", &script];
    host.nsl(options).run().assert_prints("UP\nfrom beyond\nlo\n1400");
    greeter.join().expect("greet").expect("write");
}
