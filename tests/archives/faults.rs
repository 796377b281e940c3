//! What goes wrong while nsl unpacks: full disks, signals, kill -9, others that do the same. And how much memory it
//! takes.

use super::writer::{Archive, gzip};
use super::{STORE, USERS_STORE, as_user, put, roots, run, tiny};
use crate::harness::{DIR, Host, NSL, Running, USER, is_stopped, wait_until};
use crate::pty::{CTRL_C, Pty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// An archive that takes a while: so many files, in directories of a hundred.
fn many(host: &Host, count: usize) -> Vec<u8> {
    let files = (0..count).fold(tiny(host), |archive, number| {
        let directory = format!("d{}", number / 100);
        let archive = if number % 100 == 0 { archive.directory(&directory) } else { archive };
        archive.file(&format!("{directory}/f{number}"), "x")
    });
    files.end()
}

/// Where a root is unpacked, once there is one.
fn in_the_making(host: &Host) -> Option<PathBuf> {
    let mut new = fs::read_dir(host.path(STORE).join("new")).ok()?;
    new.find_map(|entry| Some(entry.ok()?.path().join("root")))
}

/// Starts nsl, and stops it when it has unpacked this much; it may be too late then.
fn stopped(host: &Host, archive: &str, directories: usize) -> Option<Running> {
    let running = run(host, &[], archive, "cat /etc/name").start();
    wait_until("something is unpacked", || {
        let root = in_the_making(host).and_then(|root| fs::read_dir(root).ok());
        root.is_some_and(|root| root.count() >= directories) || !roots_now(host).is_empty()
    });
    running.signal(Signal::SIGSTOP);
    wait_until("it has stopped", || is_stopped(running.pid()) || !roots_now(host).is_empty());
    roots_now(host).is_empty().then_some(running)
}

/// The same, in time.
fn in_the_midst(host: &Host, archive: &str, directories: usize) -> Running {
    let mut running = None;
    wait_until("nsl is stopped while it unpacks", || {
        running = stopped(host, archive, directories);
        if running.is_none() {
            host.sh(&format!("rm -rf {STORE}"));
        }
        running.is_some()
    });
    running.expect("it was waited for")
}

fn roots_now(host: &Host) -> Vec<PathBuf> {
    let roots = fs::read_dir(host.path(STORE).join("roots")).into_iter().flatten().flatten();
    roots.map(|entry| entry.path()).collect()
}

#[test]
fn what_a_kill_leaves_is_swept_by_the_next() {
    let host = crate::host!("busybox");
    let archive = put(&host, "a", &many(&host, 8000));
    let other = put(&host, "b", &tiny(&host).end());
    for directories in [0, 1, 2, 10, 30, 60] {
        let running = in_the_midst(&host, &archive, directories);
        running.signal(Signal::SIGKILL);
        running.finish().assert_code(137);
        assert!(in_the_making(&host).is_some(), "nothing was left");
        // Whoever comes next removes it, whatever that one unpacks.
        run(&host, &[], &other, "cat /etc/name").run().assert_prints("tiny");
        assert_eq!(roots(&host, STORE).len(), 1);
        host.sh(&format!("rm -r {STORE}"));
    }
    in_the_midst(&host, &archive, 30).signal(Signal::SIGKILL);
    run(&host, &[], &archive, "cat /etc/name /d79/f7999").run().assert_prints("tiny\nx");
    assert_eq!(roots(&host, STORE).len(), 1);
}

#[test]
fn a_signal_leaves_nothing_half_done() {
    let host = crate::host!("busybox");
    let archive = put(&host, "a", &gzip(&many(&host, 8000)));
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGQUIT, 131)]
    {
        for directories in [1, 20] {
            let running = in_the_midst(&host, &archive, directories);
            running.signal(signal);
            running.signal(Signal::SIGCONT);
            running.finish().assert_code(code).assert_stdout("").assert_quiet();
            assert!(roots(&host, STORE).is_empty(), "it had ended before {signal}");
        }
    }
    // What is ignored is no reason to stop.
    let words =
        ["sh", "-c", &format!("trap '' HUP; exec {NSL} run --network none --rootfs {archive} -- cat /etc/name")];
    let running = host.command("env", words).env("NSL_STORE", STORE).start();
    wait_until("something is unpacked", || in_the_making(&host).is_some());
    running.signal(Signal::SIGHUP);
    running.finish().assert_prints("tiny");
}

#[test]
fn somebody_at_a_terminal_sees_how_far_it_is_and_can_end_it() {
    let host = crate::host!("busybox");
    let archive = put(&host, "a", &gzip(&many(&host, 8000)));
    // None if it was done before it could be stopped.
    let slow = |keys: &str| {
        host.sh(&format!("rm -rf {STORE}"));
        let mut pty = Pty::start(run(&host, &[], &archive, "cat /etc/name"));
        wait_until("something is unpacked", || in_the_making(&host).is_some() || !roots_now(&host).is_empty());
        let signal = |signal| kill(Pid::from_raw(pty.pid().cast_signed()), signal).expect("send the signal");
        signal(Signal::SIGSTOP);
        let start = Instant::now();
        wait_until("it has taken longer than nsl is silent", || start.elapsed() > Duration::from_millis(600));
        let is_in_time = roots_now(&host).is_empty();
        pty.keys(keys);
        signal(Signal::SIGCONT);
        let code = pty.end();
        is_in_time.then(|| (code, pty.all()))
    };
    let slow = |keys: &str| (0..20).find_map(|_| slow(keys)).expect("it is stopped in time");
    let (code, shown) = slow(CTRL_C);
    assert_eq!(code, 130, "{shown}");
    assert!(roots(&host, STORE).is_empty());
    let (code, shown) = slow("");
    assert_eq!(code, 0, "{shown}");
    let line = shown.find("\rnsl: unpacking a [").expect("it tells how far it is");
    let cleared = shown.find("\r\x1b[K").expect("the line is cleared");
    let printed = shown.find("tiny").expect("the command prints");
    assert!(line < cleared && cleared < printed, "{shown:?}");
    // What is quick is done without a word.
    let mut pty = Pty::start(run(&host, &[], &archive, "cat /etc/name"));
    assert_eq!(pty.end(), 0);
    assert_eq!(pty.all(), "tiny\r\n");
}

#[test]
fn several_at_once_unpack_it_once() {
    let host = crate::host!("busybox");
    let archive = put(&host, "a", &many(&host, 6000));
    let start = |_| run(&host, &["--log-level", "info"], &archive, "cat /etc/name").start();
    let running: Vec<_> = (0..6).map(start).collect();
    let outputs: Vec<_> = running.into_iter().map(Running::finish).collect();
    for output in &outputs {
        output.assert_code(0).assert_stdout("tiny");
    }
    let unpacked = outputs.iter().filter(|output| !super::told(output).is_empty()).count();
    assert_eq!((unpacked, roots(&host, STORE).len()), (1, 1));
    // One that waits goes on when the one it waits for is killed.
    host.sh(&format!("rm -r {STORE}/roots/* {STORE}/index; touch {archive}"));
    let first = in_the_midst(&host, &archive, 5);
    let second = run(&host, &["--log-level", "info"], &archive, "cat /etc/name").start();
    first.signal(Signal::SIGKILL);
    second.finish().assert_code(0).assert_stdout("tiny");
    assert_eq!(roots(&host, STORE).len(), 1);
    // One that is slow is not taken for one that was killed.
    host.sh(&format!("rm -r {STORE}"));
    let slow = in_the_midst(&host, &archive, 5);
    let other = put(&host, "b", &tiny(&host).end());
    run(&host, &[], &other, "cat /etc/name").run().assert_prints("tiny");
    assert!(in_the_making(&host).is_some_and(|root| root.join("bin/busybox").exists()), "it was swept");
    slow.signal(Signal::SIGCONT);
    slow.finish().assert_prints("tiny");
    assert_eq!(roots(&host, STORE).len(), 2);
}

#[test]
fn a_full_disk_keeps_nothing_of_it() {
    let mut host = crate::host!("busybox");
    let big = put(&host, "big", &tiny(&host).end());
    let many = put(&host, "many", &(0..3000).fold(Archive::new(), |a, n| a.directory(&format!("d{n}"))).end());
    for (options, archive) in
        [("size=1m", &big), ("size=1m,nr_inodes=500", &many), ("nr_inodes=9", &big), ("nr_inodes=4", &big)]
    {
        host.sh(&format!(
            "mkdir -p {STORE} {USERS_STORE}
             for d in {STORE} {USERS_STORE}; do mount -t tmpfs -o {options} tmpfs $d; done; chown {USER} {USERS_STORE}"
        ));
        host.accept();
        let words = ["No space left on device", "hint: the store needs more room"];
        run(&host, &[], archive, "true").run().assert_refused(125, &words);
        as_user(run(&host, &[], archive, "true")).run().assert_refused(125, &words);
        assert!(roots(&host, STORE).is_empty() && roots(&host, USERS_STORE).is_empty());
        assert_eq!(host.sh(&format!("find {STORE} {USERS_STORE} -mindepth 2")), "");
        host.sh(&format!("umount {STORE} {USERS_STORE}"));
        host.accept();
    }
    // The limit of file sizes: SIGXFSZ would end nsl without a word.
    let script = format!("ulimit -f 100; exec {NSL} run --network none --rootfs {DIR}/big -- true");
    let output = host.command("bash", ["-c", &script]).env("NSL_STORE", STORE).run();
    output.assert_refused(125, &["./bin/busybox: File too large"]);
    assert!(roots(&host, STORE).is_empty());
}

/// The most memory that nsl has had, in kB, when the command runs.
fn memory(host: &Host, archive: &str) -> u64 {
    let mut running = run(host, &[], archive, "echo ready; cat").start();
    assert_eq!(running.line(), "ready");
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("read the status of nsl");
    running.finish().assert_prints("");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn many_entries_take_no_more_memory_than_few() {
    let host = crate::host!("busybox");
    let few = memory(&host, &put(&host, "few", &tiny(&host).end()));
    // Directories, whose times are set at the end.
    let long = "n".repeat(60);
    let many = (0..25_000).fold(tiny(&host), |archive, number| archive.directory(&format!("{long}{number}")));
    let many = memory(&host, &put(&host, "many", &many.end()));
    // A list of them would have more than two megabytes.
    assert!(many < few + 1000, "{many} kB with many, {few} kB with few");
}
