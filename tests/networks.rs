//! Named networks: their members know each other by name, as they come and go.

use crate::harness::{DIR, Host, Running, wait_until};
use nix::sys::signal::Signal;
use std::fs;

const WEB: [&str; 2] = ["--network", "veth:web"];

/// A sandbox that carries out what is written to it, a line each.
fn shell(host: &Host, options: &[&str]) -> Running {
    let mut running = host.nsl([&["run"], options, &["--", "sh", "-c", "echo ready; exec sh"]].concat()).start();
    assert_eq!(running.line(), "ready");
    running
}

fn member(host: &Host, name: &str, options: &[&str]) -> Running {
    shell(host, &[&WEB, &["--hostname", name], options].concat())
}

/// What a command inside prints, one line.
fn asked(running: &mut Running, command: &str) -> String {
    running.write(format!("{command}\n"));
    running.line()
}

/// How many addresses a sandbox knows by a name, one of each family for each of its bearers.
fn known(running: &mut Running, name: &str) -> usize {
    let script = format!("getent -s files ahosts {name} | grep STREAM | sort -u | wc -l");
    asked(running, &script).trim().parse().expect("a number")
}

#[track_caller]
fn await_known(running: &mut Running, name: &str, count: usize) {
    wait_until(&format!("{name} is known by {count} addresses"), || known(running, name) == count);
}

/// /etc/hosts as it is seen inside.
fn hosts(running: &Running) -> String {
    fs::read_to_string(format!("/proc/{}/root/etc/hosts", running.init())).unwrap_or_default()
}

#[test]
fn members_know_each_other_by_name_as_they_come_and_go() {
    let host = crate::host!("ip");
    let mut one = member(&host, "one", &[]);
    let mut two = member(&host, "two.example", &[]);
    // Who comes later knows at once who is there, and is known to them soon.
    assert_eq!([known(&mut two, "one"), known(&mut two, "two.example")], [2, 2]);
    for name in ["two.example", "two"] {
        await_known(&mut one, name, 2);
    }
    let mut three = member(&host, "three", &["--userns", "auto"]);
    assert_eq!([known(&mut three, "one"), known(&mut three, "two")], [2, 2]);
    for other in [&mut one, &mut two] {
        await_known(other, "three", 2);
    }
    let own = "ip -4 -o addr show eth0 | tr -s ' ' | cut -d' ' -f4 | cut -d/ -f1";
    let address = asked(&mut three, own);
    assert_eq!(asked(&mut one, "getent -s files ahostsv4 three | grep STREAM | cut -d' ' -f1"), address);
    assert_eq!(asked(&mut three, "getent -s files ahostsv4 three | grep STREAM | cut -d' ' -f1"), address);
    // Killed, it says nothing to anybody; the kernel does.
    two.signal(Signal::SIGKILL);
    for other in [&mut one, &mut three] {
        await_known(other, "two", 0);
        assert_eq!(known(other, "localhost"), 2);
    }
    drop(two);
    three.finish().assert_code(0).assert_quiet();
    await_known(&mut one, "three", 0);
    assert_eq!(known(&mut one, "one"), 2);
    one.finish().assert_code(0).assert_quiet();
    host.assert_clean();
}

#[test]
fn members_reach_each_other_by_name() {
    let host = crate::host!("ip", "bash", "busybox");
    let serve = "while echo from the server | busybox nc -l -p 7000; do :; done";
    let mut server = member(&host, "server", &[]);
    server.write(format!("{serve} & echo serving\n"));
    assert_eq!(server.line(), "serving");
    let ask = "for i in $(seq 500); do
        if exec 3<>/dev/tcp/server/7000; then read -r line <&3; echo $line; break; fi; sleep 0.02; done 2>/dev/null";
    let output = host.nsl([&["run"], &WEB[..], &["--", "bash", "-c", ask]].concat()).run();
    output.assert_prints("from the server");
    server.signal(Signal::SIGTERM);
    server.finish();
}

#[test]
fn only_members_of_the_same_network_are_known() {
    let host = crate::host!("ip");
    let mut one = member(&host, "one", &[]);
    let mut other = shell(&host, &["--network", "veth:other", "--hostname", "two"]);
    let mut alone = shell(&host, &["--hostname", "three"]);
    let mut last = member(&host, "last", &[]);
    await_known(&mut one, "last", 2);
    for running in [&mut one, &mut other, &mut alone] {
        let text = hosts(running);
        let names = ["one", "two", "three"].into_iter().filter(|name| text.lines().any(|line| line.ends_with(name)));
        assert_eq!(names.count(), 1, "{text}");
    }
    assert_eq!([known(&mut other, "one"), known(&mut alone, "one"), known(&mut last, "two")], [0, 0, 0]);
}

#[test]
fn members_of_one_name_are_all_known_by_it() {
    let host = crate::host!("ip");
    let mut one = member(&host, "web", &[]);
    let mut two = member(&host, "web", &[]);
    await_known(&mut one, "web", 4);
    assert_eq!(known(&mut two, "web"), 4);
    drop(one);
    await_known(&mut two, "web", 2);
}

#[test]
fn forty_members_start_at_once_and_end() {
    let host = crate::host!("ip");
    let names: Vec<_> = (0..40).map(|number| format!("m{number}")).collect();
    let start = |name: &String| {
        let options = [&["run"], &WEB[..], &["--hostname", name, "--", "sh", "-c", "echo ready; cat"]].concat();
        host.nsl(options).start()
    };
    let mut all: Vec<_> = names.iter().map(start).collect();
    for running in &mut all {
        assert_eq!(running.line(), "ready");
    }
    let is_complete = |text: &str, names: &[String]| {
        names.iter().all(|name| text.lines().filter(|line| line.split(' ').nth(1) == Some(name)).count() == 2)
            && text.lines().count() == 2 + 2 * names.len()
    };
    for running in &all {
        wait_until("all know all", || is_complete(&hosts(running), &names));
    }
    let left = all.split_off(37);
    for running in all {
        running.finish().assert_code(0).assert_quiet();
    }
    for running in &left {
        wait_until("the last know each other only", || is_complete(&hosts(running), &names[37..]));
    }
    for running in left {
        running.finish().assert_code(0).assert_quiet();
    }
    host.assert_clean();
}

/// A root of a test's own with busybox in it.
fn root(host: &Host, name: &str) -> String {
    host.sh(&format!(
        "cd {DIR}; mkdir -p {name}/bin {name}/etc {name}/dev {name}/proc {name}/sys; cp $(command -v busybox) {name}/bin
         for tool in sh cat grep sleep; do ln -s busybox {name}/bin/$tool; done"
    ));
    format!("{DIR}/{name}")
}

#[test]
fn names_are_kept_current_in_every_kind_of_root() {
    let mut host = crate::host!("ip", "busybox");
    host.unlock("/var/tmp");
    let plain = root(&host, "plain");
    let linked = root(&host, "linked");
    host.sh(&format!("cd {linked}; rmdir etc; mkdir real; ln -s real etc"));
    let kept = format!("{DIR}/kept");
    let empty = ["--empty", "-v", "/usr:/usr", "-v", "/bin:/bin", "-v", "/lib:/lib", "-v", "/lib64:/lib64"];
    let kinds: &[&[&str]] = &[
        &["--read-only"],
        &empty,
        &[&empty[..], &["--read-only"]].concat(),
        &["--rootfs", &plain],
        &["--rootfs", &plain, "--read-only"],
        &["-x", "--rootfs", &plain],
        &["-x", "--rootfs", &linked],
        &["-x", "--rootfs", &linked, "--read-only"],
        &["--userns", "auto", "--read-only"],
        &["--nested"],
        &["--changes", &kept],
    ];
    for options in kinds {
        let mut one = member(&host, "one", options);
        let two = member(&host, "two", &[]);
        let found =
            "for i in 1 2 3 4 5 6 7 8 9 10; do grep -q two /etc/hosts && break; sleep 1; done; grep -c two /etc/hosts";
        assert_eq!(asked(&mut one, found), "2", "{options:?}");
        // What was there before is gone, and nothing stands there twice.
        wait_until("these two are there", || hosts(&one).lines().count() == 6);
        assert_eq!(asked(&mut one, "grep -c . /etc/hosts"), "6", "{options:?}");
        drop(two);
        wait_until("two is gone", || !hosts(&one).contains("two"));
        one.finish().assert_code(0).assert_quiet();
    }
    // Nothing of it came into a directory of somebody's, but for the places of mounts.
    assert_eq!(host.sh(&format!("cat {plain}/etc/hosts {linked}/etc/hosts 2>/dev/null || true")), "");
}

#[test]
fn where_there_is_no_mount_call_names_are_kept_current_too() {
    let host = crate::host!("ip", "python3");
    for options in [&[][..], &["--read-only"]] {
        let words =
            [&["run"], &WEB[..], &["--hostname", "one"], options, &["--", "sh", "-c", "echo ready; cat"]].concat();
        let mut one =
            host.nsl(words).without(libc::ENOSYS, &["fsopen", "open_tree", "move_mount", "mount_setattr"]).start();
        assert_eq!(one.line(), "ready");
        let _two = member(&host, "two", &[]);
        let init = crate::harness::only_child(one.pid(), "nsl-init");
        let read = || fs::read_to_string(format!("/proc/{init}/root/etc/hosts")).unwrap_or_default();
        wait_until("two is known", || read().contains("two"));
        one.finish().assert_code(0);
    }
}

#[test]
fn a_root_whose_hosts_cannot_be_replaced_is_told_of() {
    let host = crate::host!("ip", "busybox");
    let root = root(&host, "odd");
    host.sh(&format!("mkdir {root}/etc/hosts"));
    let words = [&["run"], &WEB[..], &["--rootfs", &root, "--", "/bin/sh", "-c", "echo started"]].concat();
    let output = host.nsl(words).run();
    output.assert_code(0).assert_stdout("started");
    assert!(
        output.stderr().contains("/etc/hosts of this root cannot be replaced") && output.stderr().contains("-x"),
        "{output}"
    );
}

/// nsl writes to the file that it made, and to no other.
#[test]
fn what_a_sandbox_does_to_its_hosts_is_its_own_affair() {
    let host = crate::host!("ip");
    host.sh(&format!("mkdir {DIR}/volume; echo mine > {DIR}/volume/hosts"));
    let volume = format!("{DIR}/volume:/mnt");
    let mut replaced = member(&host, "replaced", &["-v", &volume]);
    assert_eq!(asked(&mut replaced, "rm /etc/hosts; ln -s /mnt/hosts /etc/hosts; echo done"), "done");
    let mut long = member(&host, "long", &[]);
    assert_eq!(asked(&mut long, "truncate -s 1T /etc/hosts && stat -c %s /etc/hosts"), "1099511627776");
    let mut emptied = member(&host, "emptied", &[]);
    assert_eq!(asked(&mut emptied, ": > /etc/hosts; chmod 0 /etc/hosts; echo done"), "done");
    let late = member(&host, "late", &[]);
    for running in [&long, &emptied] {
        wait_until("late is known", || hosts(running).contains(" late\n"));
    }
    assert_eq!(asked(&mut replaced, "cat /etc/hosts"), "mine");
    assert!(asked(&mut long, "stat -c %s /etc/hosts").len() < 4);
    assert_eq!(host.sh(&format!("cat {DIR}/volume/hosts")), "mine\n");
    drop(late);
}

#[test]
fn no_reader_ever_finds_the_file_empty() {
    let host = crate::host!("ip");
    let mut one = member(&host, "one", &[]);
    one.write("while test ! -e /tmp/stop; do grep -q ' one' /etc/hosts && echo $? >> /tmp/seen || echo lost >> /tmp/seen; done; sort -u /tmp/seen\n");
    for _ in 0..5 {
        let many: Vec<_> = (0..3).map(|number| member(&host, &format!("guest{number}"), &[])).collect();
        wait_until("they are known", || hosts(&one).contains("guest2"));
        drop(many);
        wait_until("they are gone", || !hosts(&one).contains("guest"));
    }
    fs::write(format!("/proc/{}/root/tmp/stop", one.init()), "").expect("write inside");
    assert_eq!(one.line(), "0");
}

/// More than the socket of a member holds: what it has not heard it asks for.
#[test]
fn news_that_were_lost_are_asked_for() {
    let host = crate::host!("ip");
    let mut one = member(&host, "one", &[]);
    let two = member(&host, "two", &[]);
    await_known(&mut one, "two", 2);
    one.signal(Signal::SIGSTOP);
    drop(two);
    let _three = member(&host, "three", &[]);
    let lost = || {
        let sockets = fs::read_to_string(format!("/proc/{}/net/netlink", host.pid())).unwrap_or_default();
        sockets.lines().skip(1).any(|line| line.split_ascii_whitespace().nth(8).is_some_and(|drops| drops != "0"))
    };
    assert!(!lost());
    wait_until("news are lost", || {
        host.sh("for n in $(seq 20); do ip link add more$n type veth peer name other$n; ip link del more$n; done");
        lost()
    });
    one.signal(Signal::SIGCONT);
    await_known(&mut one, "three", 2);
    await_known(&mut one, "two", 0);
}

/// Who is in no network has no socket for the news of it.
#[test]
fn only_members_pay_for_it() {
    let host = crate::host!("ip");
    let groups = |pid: u32| {
        let sockets = fs::read_to_string(format!("/proc/{}/net/netlink", host.pid())).unwrap_or_default();
        let own: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("its descriptors")
            .flatten()
            .filter_map(|entry| {
                Some(
                    fs::read_link(entry.path())
                        .ok()?
                        .to_str()?
                        .strip_prefix("socket:[")?
                        .trim_end_matches(']')
                        .to_owned(),
                )
            })
            .collect();
        sockets.lines().filter(|line| own.iter().any(|inode| line.trim_end().ends_with(&format!(" {inode}")))).count()
    };
    let alone = shell(&host, &[]);
    let named = shell(&host, &["--add-host", "h:host-gateway"]);
    let one = member(&host, "one", &[]);
    assert_eq!([groups(alone.pid()), groups(named.pid()), groups(one.pid())], [0, 0, 1]);
}

#[test]
fn the_name_of_the_network_is_told() {
    let host = crate::host!();
    let told = |options: &[&str]| {
        let words = [&["run", "--status-fd", "1"], options, &["--", "true"]].concat();
        host.nsl(words).run().assert_code(0).stdout().contains(r#""network":{"kind":"veth","name":"web","#)
    };
    assert!(told(&WEB));
    assert!(!told(&[]));
}
