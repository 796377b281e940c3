//! Who the command is and what it is told: users by name, the environment, the signal that asks it to end.

use crate::harness::{DIR, Host, NSL, Output, USER, wait_until};
use nix::sys::signal::Signal;
use std::fs;

/// A root directory with a shell in it, and these files in /etc.
fn root(host: &Host, passwd: &str, group: &str) -> String {
    let root = format!("{DIR}/root");
    host.sh(&format!(
        "mkdir -p {root}/etc {root}/usr; ln -sfn usr/bin usr/sbin {root}/ || true
        for name in bin lib lib64 sbin; do ln -sfn usr/$name {root}/$name; done"
    ));
    fs::write(host.path(format!("{root}/etc/passwd")), passwd).expect("write passwd");
    fs::write(host.path(format!("{root}/etc/group")), group).expect("write group");
    root
}

fn run(host: &Host, root: &str, words: &[&str], script: &str) -> Output {
    let fixed = ["run", "--network", "none", "--rootfs", root, "-v", "/usr:/usr:ro"];
    host.nsl(fixed.iter().chain(words).chain(&["--", "sh", "-c", script])).run()
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1234:5678:Ann:/home/ann:/bin/sh\n7:x:70:70::/:\n";
const GROUP: &str = "ann:x:5678:\naudio:x:29:ann\nvideo:x:44:bob,ann\nwheel:x:10:root\n";
const IDS: &str = "id -u; id -g; grep ^Groups: /proc/self/status | tr '\\t' ' '";

#[test]
fn users_are_found_by_name_in_the_root_itself() {
    let host = crate::host!();
    let root = root(&host, PASSWD, GROUP);
    let ids = |user: &str| run(&host, &root, &["-u", user], IDS);
    ids("ann").assert_prints("1234\n5678\nGroups: 29 44 5678");
    ids("ann:audio").assert_prints("1234\n29\nGroups:");
    ids("ann:9").assert_prints("1234\n9\nGroups:");
    ids("9:video").assert_prints("9\n44\nGroups:");
    // A number is one, also if somebody is called so.
    ids("7").assert_prints("7\n7\nGroups:");
    // The host's own.
    host.nsl(["run", "-u", "daemon", "--", "id", "-un"]).run().assert_prints("daemon");
    let daemon = host.nsl(["run", "--network", "none", "--rootfs", &root, "-u", "daemon", "--", "true"]).run();
    daemon.assert_refused(125, &["run as user daemon", "the root's /etc/passwd has no user daemon", "hint"]);
}

#[test]
fn users_are_found_by_name_in_an_archive() {
    let host = crate::host!("tar");
    let root = root(&host, PASSWD, GROUP);
    let archive = format!("{DIR}/root.tar");
    host.sh(&format!("tar -cf {archive} -C {root} ."));
    let store = format!("{DIR}/store");
    let run = |user: &str, script: &str| {
        let words = ["run", "--network", "none", "--rootfs", &archive, "-v", "/usr:/usr:ro", "-u", user, "--"];
        host.nsl(words.into_iter().chain(["sh", "-c", script])).env("NSL_STORE", &store).run()
    };
    run("ann", IDS).assert_prints("1234\n5678\nGroups: 29 44 5678");
    run("ann", "echo $HOME; grep ^CapEff /proc/self/status").assert_prints("/home/ann\nCapEff:\t0000000000000000");
    run("9:9", IDS).assert_prints("9\n9\nGroups:");
    run("daemon", "true").assert_refused(125, &["has no user daemon"]);
}

#[test]
fn a_user_found_by_name_has_the_variables_of_a_login() {
    let host = crate::host!();
    let root = root(&host, PASSWD, GROUP);
    let show = |words: &[&str]| run(&host, &root, words, "echo $HOME $USER $LOGNAME");
    show(&["-u", "ann"]).assert_prints("/home/ann ann ann");
    show(&["-u", "ann", "-e", "HOME=/x"]).assert_prints("/x ann ann");
    show(&["-u", "ann", "-e", "HOME"]).assert_prints("/root ann ann");
    show(&["-u", "ann", "--clear-env"]).assert_prints("/home/ann ann ann");
    show(&["-u", "1234"]).assert_prints("/root");
}

#[test]
fn a_hostile_root_can_neither_mislead_nor_hold_up() {
    let host = crate::host!();
    let root = root(&host, PASSWD, GROUP);
    let with = |script: &str, user: &str| {
        // Nothing is written to what is there already: a link would lead to this machine's own files.
        let fresh = format!("rm -rf {root}/etc {root}/real; mkdir {root}/etc; cd {root}/etc; set -C; {script}");
        host.sh(&fresh);
        host.nsl(["run", "--network", "none", "--rootfs", &root, "-u", user, "--", "true"]).run()
    };
    let refused = |script: &str, words: &[&str]| {
        with(script, "nobody").assert_refused(125, &[&["run as user nobody"], words].concat());
    };
    refused("ln -s /../../../../etc/passwd passwd", &["Too many symbolic links"]);
    refused("ln -s passwd passwd", &["Too many symbolic links"]);
    refused("ln -s passwd2 passwd; ln -s passwd passwd2", &["Too many symbolic links"]);
    refused("ln -s /proc/1/root/etc/passwd passwd", &["No such file", "hint"]);
    refused("ln -s /real passwd; ln -s /proc/self/root/etc/passwd ../real", &["No such file"]);
    refused("mkfifo passwd", &["Invalid argument"]);
    refused("mkdir passwd", &["Invalid argument"]);
    refused("mknod passwd c 1 5", &["Invalid argument"]);
    refused("truncate -s 100M passwd", &["longer than 16 MiB"]);
    refused("head -c 20M /dev/zero > passwd", &["longer than 16 MiB"]);
    refused(":", &["No such file", "hint: give numbers"]);
    refused("head -c 1M /dev/urandom > passwd", &["no user nobody"]);
    refused("printf 'nobody:x:1:1::/\\0:\\n' > passwd", &["malformed"]);
    refused("echo nobody:x:-1:1::/: > passwd", &["malformed"]);
    refused("printf 'nobody\\nnobody:\\n' > passwd", &["malformed"]);
    // A link that stays inside is one like any other.
    with("echo nobody:x:1:1::/: > ../real; ln -s /real passwd", "nobody").assert_refused(127, &["execute true"]);
    let empty = host.nsl(["run", "--empty", "-u", "ann", "--", "true"]).run();
    empty.assert_refused(125, &["empty root", "hint: give numbers"]);
}

#[test]
fn what_is_no_user_is_refused_in_one_line() {
    let host = crate::host!();
    for user in ["", ":", "root:", ":root", "root:root:root", "-5", "0x0", "no such", "no-such", "root:no-such"] {
        let option = format!("--user={user}");
        host.nsl(["run", &option, "--", "true"]).run().assert_refused(125, &["cannot"]);
    }
    for user in ["4294967295", "4294967296", "0:99999999999999999999"] {
        host.nsl(["run", "-u", user, "--", "true"]).run().assert_refused(125, &["higher than"]);
    }
}

#[test]
fn without_root_only_oneself_can_be_named() {
    let host = crate::host!();
    let own = format!("me:x:{USER}:{USER}::/home/me:\nother:x:1001:1001::/:\n");
    host.sh(&format!(
        "cp /etc/passwd {DIR}/passwd; printf '{}' >> {DIR}/passwd; mount --bind {DIR}/passwd /etc/passwd",
        own.replace('\n', "\\n")
    ));
    let run = |user: &str| {
        let words = ["run", "--network", "none", "-u", user, "--", "sh", "-c", "id -u; echo $HOME; id -G"];
        host.nsl(words).as_user().run()
    };
    run("me").assert_prints(&format!("{USER}\n/home/me\n{USER}"));
    run("other").assert_refused(125, &["run as user other", "not permitted", "without root"]);
    run("me:tty").assert_refused(125, &["without root"]);
    run("nobody-here").assert_refused(125, &["has no user nobody-here"]);
    host.sh("umount /etc/passwd");
}

#[test]
fn environments_are_read_from_files() {
    let host = crate::host!();
    let file = |name: &str, text: &str| fs::write(host.path(format!("{DIR}/{name}")), text).expect("write");
    file("one", "# a comment\n\n  A=1\nB=two words \nGIVEN\nABSENT\nC=x=#y\r\n\t# another\nD=\nE='1'");
    file("two", "A=2\nF=f");
    let script = format!(
        "{NSL} run --network none --clear-env --env-file {DIR}/one --env-file {DIR}/two -e F=g -e GIVEN2 -- \
         /usr/bin/env -0 | sort -z | tr '\\0' '|'"
    );
    let output = host.command("bash", ["-c", &script]).env("GIVEN", "yes").env("GIVEN2", "also").run();
    output.assert_prints("A=2|B=two words |C=x=#y|D=|E='1'|F=g|GIVEN2=also|GIVEN=yes|");
    // Over the caller's own, and from what another program writes.
    let script = format!("exec {NSL} run --network none --env-file <(sleep 0.1; echo A=3) -- sh -c 'echo $A $HOME'");
    host.command("bash", ["-c", &script]).env("A", "1").run().assert_prints("3 /root");
    let stdin = ["run", "--network", "none", "--env-file", "/dev/stdin", "--", "sh", "-c", "echo $A"];
    host.nsl(stdin).stdin("A=4\n").run().assert_prints("4");
}

#[test]
fn an_environment_file_that_makes_no_sense_is_refused_with_its_line() {
    let host = crate::host!();
    let case = |script: &str, words: &[&str]| {
        host.sh(&format!("cd {DIR}; rm -rf file; {script}"));
        let output = host.nsl(["run", "--env-file", &format!("{DIR}/file"), "--", "true"]).run();
        output.assert_refused(125, words);
    };
    case(":", &["read the environment from", "file: No such file"]);
    case("mkdir file", &["Is a directory"]);
    case("mkfifo file", &["nobody writes to this pipe"]);
    case("ln -s file file", &["Too many"]);
    case("ln -s /dev/zero file", &["longer than 1 MiB"]);
    case("head -c 100M /dev/zero > file", &["longer than 1 MiB"]);
    case("printf 'A=1\\nB=\\0\\n' > file", &["use line 2 of", "NUL"]);
    case("printf '#\\n\\n=x\\n' > file", &["use line 3 of", "no name"]);
    case("echo export A=1 > file", &["use line 1 of", "white space in the name"]);
    case("echo 'A =1' > file", &["use line 1 of", "white space"]);
    host.sh(&format!("touch {DIR}/closed; chmod 600 {DIR}/closed"));
    let output = host.nsl(["run", "--network", "none", "--env-file", &format!("{DIR}/closed"), "--", "true"]);
    output.as_user().run().assert_refused(125, &["Permission denied"]);
    // Bytes are bytes, and a file may be empty.
    fs::write(host.path(format!("{DIR}/bytes")), b"A=\xff\xfe\n").expect("write");
    let output =
        host.nsl(["run", "--network", "none", "--env-file", &format!("{DIR}/bytes"), "--", "printenv", "A"]).run();
    assert_eq!(output.stdout, b"\xff\xfe\n");
    host.nsl(["run", "--network", "none", "--env-file", "/dev/null", "--", "true"]).run().assert_prints("");
}

#[test]
fn a_cleared_environment_is_empty() {
    let host = crate::host!("script");
    let output = host.nsl(["run", "--network", "none", "--clear-env", "--", "env"]).env("TERM", "vt100").run();
    output.assert_prints("");
    // Found without PATH.
    host.nsl(["run", "--network", "none", "--clear-env", "-e", "A=1", "--", "env"]).run().assert_prints("A=1");
    // A terminal keeps its name.
    let script = format!("script -qec '{NSL} run --network none --clear-env -- env' /dev/null");
    let output = host.command("sh", ["-c", &script]).env("TERM", "vt100").run();
    output.assert_code(0);
    // The terminal may show the end of its input.
    assert_eq!(output.stdout().trim().trim_start_matches("^@"), "TERM=vt100", "{output}");
}

#[test]
fn the_stop_signal_asks_the_command_and_what_it_leaves() {
    let host = crate::host!();
    let trap = "trap 'echo int; exit 5' INT; trap 'echo term; exit 6' TERM; echo up; while :; do sleep 0.01; done";
    for (signal, expected, code) in [("INT", "int", 5), ("TERM", "term", 6), ("sigint", "int", 5)] {
        let words = ["run", "--network", "none", "--stop-signal", signal, "--", "bash", "-c", trap];
        let mut running = host.nsl(words).start();
        assert_eq!(running.line(), "up");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.line(), expected);
        running.finish().assert_code(code).assert_quiet();
    }
    let left = "trap 'echo left; exit' USR1; echo up > /mnt/up; while :; do sleep 0.01; done";
    let script = format!(
        "setsid bash -c '{}' 2>/dev/null & until [ -e /mnt/up ]; do sleep 0.01; done",
        left.replace('\'', "'\\''")
    );
    let volume = format!("{DIR}:/mnt");
    let words = ["run", "--network", "none", "--stop-signal", "USR1", "-v", &volume, "--", "bash", "-c", &script];
    host.nsl(words).run().assert_prints("left");
}

#[test]
fn a_real_time_signal_can_be_the_stop_signal() {
    let host = crate::host!();
    let trap = "trap 'exit 7' RTMIN+3; echo up; while :; do sleep 0.01; done";
    let words = ["run", "--network", "none", "--stop-signal", "RTMIN+3", "--", "bash", "-c", trap];
    let mut running = host.nsl(words).start();
    assert_eq!(running.line(), "up");
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(7).assert_quiet();
    for bad in ["NOPE", "0", "65", "", "TERM "] {
        let output = host.nsl(["run", &format!("--stop-signal={bad}"), "--", "true"]).run();
        output.assert_refused(125, &["--stop-signal"]);
    }
    wait_until("all is gone", || host.processes().is_empty());
}
