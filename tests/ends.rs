//! How a sandbox ends: the command's status, what it leaves behind, and the ends that nsl does not choose.

use crate::harness::{Host, Invocation, Running, only_child, wait_until};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// A script for sh, run with a time for what it leaves behind.
fn sandbox<'a>(host: &'a Host, stop_timeout: &'a str, script: &'a str) -> Invocation<'a> {
    host.nsl(["run", "--network", "none", "--stop-timeout", stop_timeout, "--", "sh", "-c", script])
}

/// Far below the stop timeouts that must not be waited for, far above what a busy machine makes of an instant.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn every_signal_that_ends_the_command_becomes_128_plus_its_number() {
    let host = crate::host!("perl");
    // Real-time signals included; the C library keeps 32 and 33 for itself, the kernel does not.
    for signal in [1, 2, 3, 4, 6, 8, 9, 11, 13, 14, 15, 16, 24, 29, 30, 31, 32, 33, 34, 35, 50, 63, 64] {
        // Perl ignores SIGFPE unless told otherwise.
        let script = format!("$SIG{{FPE}} = 'DEFAULT'; kill {signal}, $$; sleep 5; exit 99");
        let output = host.nsl(["run", "--network", "none", "--", "perl", "-e", &script]).run();
        output.assert_code(128 + signal).assert_quiet();
    }
}

#[test]
fn what_is_found_and_cannot_be_executed_is_126() {
    let host = crate::host!();
    let make = |name: &str, content: &[u8], mode: u32| {
        let path = host.path("/tmp/test").join(name);
        fs::write(&path, content).expect("write the file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set the mode");
    };
    make("plain", b"#!/bin/sh\n", 0o644);
    make("alien", b"\x7fELF\0\0\0\0 no program", 0o755);
    make("script", b"exit $(($# + 40))\n", 0o755);
    make("orphaned", b"#!/no/such/interpreter\n", 0o755);
    make("empty", b"", 0o755);
    let run = |name: &str, more: &[&str]| {
        let name = format!("/tmp/test/{name}");
        host.nsl(["run", "--network", "none", "-v", "/tmp:/tmp", "--", &name].iter().chain(more)).run()
    };
    run("plain", &[]).assert_refused(126, &["cannot execute /tmp/test/plain: Permission denied"]);
    run("alien", &[]).assert_refused(126, &["cannot execute /tmp/test/alien: Exec format error"]);
    run("", &[]).assert_refused(126, &["cannot execute /tmp/test/: Permission denied"]);
    run("plain/x", &[]).assert_refused(126, &["Not a directory"]);
    // As shells have it: a text without a first line for the kernel is a script for sh.
    run("script", &["a", "b"]).assert_code(42).assert_quiet();
    run("empty", &["a", "b"]).assert_code(0).assert_quiet();
    run("orphaned", &[]).assert_refused(127, &["the interpreter of /tmp/test/orphaned: No such file or directory"]);
    for name in ["plain", "alien", "script", "orphaned", "empty"] {
        fs::remove_file(host.path("/tmp/test").join(name)).expect("remove the file");
    }
}

#[test]
fn what_is_not_found_is_127() {
    let host = crate::host!();
    for name in ["no-such-command", "/no/such/command", ""] {
        let output = host.nsl(["run", "--network", "none", "--", name]).run();
        output.assert_refused(127, &["cannot execute", "No such file or directory", "hint"]);
    }
}

#[test]
fn what_the_command_leaves_behind_is_asked_to_end() {
    let host = crate::host!();
    let script = "(trap 'echo asked; exit' TERM; echo up; while :; do sleep 0.02; done) & read line; echo left; exit 4";
    let mut running = sandbox(&host, "30", script).start();
    assert_eq!(running.line(), "up");
    running.write("go\n");
    let start = Instant::now();
    running.finish().assert_code(4).assert_stdout("left\nasked");
    assert!(start.elapsed() < SOON);
}

#[test]
fn what_does_not_end_in_time_is_killed() {
    let host = crate::host!();
    let start = Instant::now();
    sandbox(&host, "1", "trap '' TERM; setsid sleep 1000 & sleep 1000 & exit 3").run().assert_code(3).assert_quiet();
    assert!((Duration::from_secs(1)..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn a_stop_timeout_of_0_kills_at_once() {
    let host = crate::host!();
    let start = Instant::now();
    sandbox(&host, "0", "trap '' TERM; sleep 1000 & exit 3").run().assert_code(3).assert_quiet();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// Starts a command that leaves behind what ignores SIGTERM; returns when the command has ended.
fn in_grace(host: &Host) -> Running {
    let script = "trap '' TERM INT; sleep 1000 & read line; exit 3";
    let mut running = sandbox(host, "30", &format!("echo up; {script}")).start();
    running.line();
    let init = running.init();
    running.write("go\n");
    // The init takes the command's end, then asks the rest, which has become the only child.
    only_child(init, "sleep");
    running
}

#[test]
fn a_second_signal_during_the_grace_time_kills_at_once() {
    let host = crate::host!();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let running = in_grace(&host);
        let start = Instant::now();
        running.signal(signal);
        running.finish().assert_code(3).assert_quiet();
        assert!(start.elapsed() < SOON, "{signal}: {:?}", start.elapsed());
    }
}

#[test]
fn with_nothing_left_there_is_no_waiting() {
    let host = crate::host!();
    let start = Instant::now();
    sandbox(&host, "30", "exit 0").run().assert_code(0);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn what_is_left_and_stopped_ends_as_well() {
    let host = crate::host!();
    let start = Instant::now();
    sandbox(&host, "30", "sleep 1000 & kill -STOP $!; exit 5").run().assert_code(5).assert_quiet();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn orphans_are_reaped() {
    let host = crate::host!("perl");
    let script = "for (1..2000) { my $child = fork // die; unless ($child) { fork // die; exit } waitpid $child, 0 }
        for (1..1000) {
            my @left = grep { !/^(1|$$)$/ } map { m{(\\d+)} } glob '/proc/[0-9]*';
            unless (@left) { print \"none left\\n\"; exit }
            select undef, undef, undef, 0.005;
        }";
    host.nsl(["run", "--network", "none", "--", "perl", "-e", script]).run().assert_prints("none left");
}

#[test]
fn sigkill_of_nsl_takes_everything_with_it() {
    let host = crate::host!();
    let script = "trap '' HUP TERM; setsid sleep 1000 & setsid -f sleep 1000; sleep 1000 & echo up; exec sleep 1000";
    for network in ["none", "veth"] {
        let mut running = host.nsl(["run", "--network", network, "--", "sh", "-c", script]).start();
        assert_eq!(running.line(), "up");
        assert!(host.processes().len() >= 6, "{:?}", host.processes());
        running.signal(Signal::SIGKILL);
        assert_eq!(running.finish().code, 137);
        host.assert_clean();
    }
}

#[test]
fn sigkill_of_nsl_at_any_time_leaves_nothing() {
    let host = crate::host!();
    for step in 0..60_u64 {
        let running = host.nsl(["run", "--network", "veth", "--", "sleep", "1000"]).start();
        std::thread::sleep(Duration::from_micros(step * 700));
        running.signal(Signal::SIGKILL);
        assert_eq!(running.finish().code, 137);
    }
}

#[test]
fn a_daemon_ends_with_the_command_that_started_it() {
    let host = crate::host!();
    let start = Instant::now();
    let script = "setsid -f sleep 1000 < /dev/null > /dev/null 2>&1; exec 0<&- 1>&- 2>&-; exit 6";
    sandbox(&host, "30", script).run().assert_code(6).assert_quiet();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn command_that_closes_its_streams_is_waited_for() {
    let host = crate::host!();
    let mut running = sandbox(&host, "30", "echo up; exec 0<&- 1>&- 2>&-; sleep 0.3; exit 8").start();
    assert_eq!(running.line(), "up");
    running.finish().assert_code(8).assert_quiet();
}

#[test]
fn stdout_held_by_what_is_left_is_let_go_at_the_end() {
    let host = crate::host!();
    let script = "trap '' TERM; (echo from the rest; exec sleep 1000) & read line; exit 9";
    let mut running = sandbox(&host, "1", script).start();
    assert_eq!(running.line(), "from the rest");
    running.write("go\n");
    running.finish().assert_code(9).assert_quiet();
}

#[test]
fn output_of_a_command_that_ends_at_once_is_complete() {
    let host = crate::host!();
    let expected: usize = (1..=100_000).map(|number: u32| number.to_string().len() + 1).sum();
    let mut running = sandbox(&host, "30", "seq 100000").start();
    // A reader that begins late and goes slowly: the pipe is full, and its writer waits.
    let mut length = 0;
    for _ in 0..50 {
        length += running.line().len() + 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = running.finish();
    output.assert_code(0).assert_quiet();
    assert_eq!(length + output.stdout.len(), expected);
}

#[test]
fn init_that_is_killed_is_told_of() {
    let host = crate::host!();
    let mut running = sandbox(&host, "30", "echo up; exec sleep 1000").start();
    assert_eq!(running.line(), "up");
    let init = i32::try_from(running.init()).expect("a process ID");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), Signal::SIGKILL).expect("kill the init");
    running.finish().assert_refused(137, &["keep the sandbox running", "its init was killed by SIGKILL"]);
    wait_until("nothing of it is left", || host.processes().is_empty());
}
