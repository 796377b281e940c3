//! The end of what joined a sandbox: with the sandbox, with its nsl, or by itself; whoever is killed.

use super::{command_of, exec};
use crate::harness::{Host, NSL, Running, only_child, wait_until};
use crate::leaks::{child_of, kill_hard};
use crate::services::{process, remove, start};
use nix::sys::signal::Signal;
use std::fs;

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A sandbox, and a command in it that has changed its user: that takes the signal at its parent's death away.
fn joined(host: &Host) -> (Running, u32) {
    start(host, "web", &["--", "sleep", "1000"]);
    let words = ["setpriv", "--reuid=nobody", "--clear-groups", "sleep", "1000"];
    let joined = exec(host, &[], &words).start();
    let command = command_of(&joined, "sleep");
    (joined, command)
}

#[test]
fn it_ends_with_the_sandbox_and_says_so() {
    let host = crate::host!();
    for end in [&["stop", "web"][..], &["kill", "web"], &["rm", "-f", "web"]] {
        let (joined, command) = joined(&host);
        host.nsl(end).run().assert_code(0);
        let output = joined.finish();
        assert_eq!(output.stderr(), "nsl: the command was killed: the sandbox web has ended\n");
        output.assert_code(137);
        assert!(is_gone(command));
        host.nsl(["rm", "-f", "web"]).run().assert_code(0);
        host.assert_clean();
    }
}

#[test]
fn it_ends_with_its_nsl_and_the_sandbox_lives_on() {
    let host = crate::host!();
    let (joined, command) = joined(&host);
    let init = only_child(joined.pid(), "nsl-init");
    kill_hard(joined.pid());
    wait_until("the command is gone", || is_gone(command) && is_gone(init));
    joined.finish().assert_code(137);
    // Nobody of it is left inside, not even a zombie: its parent is outside.
    exec(&host, &[], &["sh", "-c", "ps -e -o comm= | sort | tr '\\n' ' '"])
        .run()
        .assert_prints("nsl-init ps sh sleep sort tr");
    remove(&host, "web");
}

/// The whole group of the command, whatever that has started, but who has left it.
#[test]
fn what_it_has_started_ends_with_its_nsl_too() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let mut joined = exec(&host, &[], &["sh", "-c", "sleep 1001 & setsid sleep 1002 & echo up; wait"]).start();
    assert_eq!(joined.line(), "up");
    let left = || exec(&host, &[], &["sh", "-c", "ps -e -o args= | grep ^sleep | sort"]).run().stdout();
    wait_until("all of them run", || left() == "sleep 1000\nsleep 1001\nsleep 1002\n");
    kill_hard(joined.pid());
    wait_until("its group is gone", || left() == "sleep 1000\nsleep 1002\n");
    remove(&host, "web");
}

#[test]
fn a_killed_nsl_init_of_it_is_told_and_takes_the_command_along() {
    let host = crate::host!();
    let (joined, command) = joined(&host);
    kill_hard(only_child(joined.pid(), "nsl-init"));
    joined.finish().assert_refused(137, &["go on with setpriv", "nsl-init", "SIGKILL"]);
    wait_until("the command is gone", || is_gone(command));
    remove(&host, "web");
}

#[test]
fn whoever_of_the_sandbox_is_killed_it_ends() {
    let host = crate::host!();
    for which in ["monitor", "init"] {
        let (joined, command) = joined(&host);
        kill_hard(process(&host, "web", which));
        let output = joined.finish();
        output.assert_code(137);
        assert!(output.stderr().contains("the sandbox web has ended"), "{output}");
        wait_until("the command is gone", || is_gone(command));
        host.nsl(["rm", "-f", "web"]).run().assert_code(0);
        host.assert_clean();
    }
}

#[test]
fn the_command_is_no_child_of_the_init_and_its_orphans_are() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let init = process(&host, "web", "init");
    let script =
        "sh -c 'sleep 1003 >/dev/null 2>&1 & exit' & wait; (sleep 0 & exec true) & ps -o pid= -C sleep | wc -l; exit 3";
    exec(&host, &[], &["sh", "-c", script]).run().assert_code(3);
    let orphan = host.sh("pgrep -x -f 'sleep 1003'").trim().parse().expect("one process");
    assert_eq!(parent_of(orphan), Some(init));
    kill_hard(orphan);
    wait_until("the init has reaped it", || !fs::exists(format!("/proc/{orphan}")).unwrap_or(true));
    let joined = exec(&host, &[], &["sleep", "1000"]).start();
    let command = command_of(&joined, "sleep");
    assert_eq!(parent_of(command), Some(only_child(joined.pid(), "nsl-init")));
    // It is not what the sandbox lives for.
    joined.signal(Signal::SIGTERM);
    joined.finish().assert_code(143).assert_quiet();
    exec(&host, &[], &["echo", "lives"]).run().assert_prints("lives");
    remove(&host, "web");
}

#[test]
fn signals_are_handed_on() {
    let host = crate::host!();
    // What that is rewritten to is the sandbox's own command's alone.
    start(&host, "web", &["--stop-signal", "USR1", "--", "sleep", "1000"]);
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2] {
        let name = &signal.as_str()[3..];
        let script = format!("trap 'echo {name}; exit 5' {name}; echo up; while :; do sleep 0.01; done");
        let mut joined = exec(&host, &[], &["sh", "-c", &script]).start();
        assert_eq!(joined.line(), "up");
        joined.signal(signal);
        assert_eq!(joined.line(), name);
        joined.finish().assert_code(5);
    }
    remove(&host, "web");
}

#[test]
fn two_hundred_at_once_end_with_one_stop() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let mut all: Vec<_> =
        (0..200).map(|_| exec(&host, &[], &["sh", "-c", "echo up; exec sleep 1000"]).start()).collect();
    for joined in &mut all {
        assert_eq!(joined.line(), "up");
    }
    host.nsl(["stop", "web"]).run().assert_prints("web");
    for joined in all {
        let output = joined.finish();
        assert_eq!(output.stderr(), "nsl: the command was killed: the sandbox web has ended\n");
        output.assert_code(137);
    }
    remove(&host, "web");
    host.assert_clean();
}

/// The end of the sandbox meets each step of those that join it.
#[test]
fn a_sandbox_that_ends_meanwhile_is_told() {
    let host = crate::host!();
    let mut ended = 0;
    for round in 0..60 {
        start(&host, "web", &["--", "sleep", "1000"]);
        let victim = process(&host, "web", if round % 2 == 0 { "init" } else { "monitor" });
        let joined: Vec<_> = (0..4).map(|_| exec(&host, &[], &["echo", "ran"]).start()).collect();
        crate::leaks::wait_until_past(std::time::Instant::now() + std::time::Duration::from_micros(round * 200));
        kill_hard(victim);
        for joined in joined {
            let output = joined.finish();
            let told = output.stderr();
            match output.code {
                0 => assert!(output.stdout() == "ran\n" && told.is_empty(), "{output}"),
                125 => {
                    ended += 1;
                    let words = ["the sandbox has ended", "it has ended", "its nsl was killed"];
                    assert!(words.iter().any(|words| told.contains(words)) && told.lines().count() == 1, "{output}");
                }
                137 => {
                    ended += 1;
                    assert!(told == "nsl: the command was killed: the sandbox web has ended\n", "{output}");
                }
                _ => panic!("{output}"),
            }
        }
        wait_until("all of it is gone", || host.processes().is_empty());
        host.nsl(["rm", "-f", "web"]).run().assert_code(0);
    }
    assert!(ended > 10, "too late: {ended}");
    host.assert_clean();
}

/// Each of its processes, at later and later moments of the start.
#[test]
fn whichever_of_its_own_processes_is_killed_nothing_of_it_is_left() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let init = process(&host, "web", "init");
    let own = only_child(init, "sleep");
    for round in 0..90 {
        let joined = exec(&host, &[], &["sleep", "1000"]).start();
        wait_until("nsl runs", || crate::leaks::is_nsl(joined.pid()));
        crate::leaks::wait_until_past(std::time::Instant::now() + std::time::Duration::from_micros(round * 100));
        let watcher = child_of(joined.pid());
        match round % 3 {
            0 => kill_hard(joined.pid()),
            1 => watcher.into_iter().for_each(kill_hard),
            _ => watcher.and_then(child_of).into_iter().for_each(kill_hard),
        }
        if round % 3 != 0 {
            joined.signal(Signal::SIGTERM);
        }
        let output = joined.finish();
        assert!(matches!(output.code, 125 | 137 | 143), "{output}");
        let monitor = process(&host, "web", "monitor");
        wait_until("only the sandbox is left", || {
            host.processes().iter().all(|pid| [init, own, monitor].contains(pid))
        });
    }
    remove(&host, "web");
}

/// A shell that ends while nsl exec is stopped: nothing is held up.
#[test]
fn a_stopped_nsl_holds_the_sandboxs_end_up_for_nobody() {
    let host = crate::host!();
    let (joined, _) = joined(&host);
    joined.signal(Signal::SIGSTOP);
    wait_until("it is stopped", || crate::harness::is_stopped(joined.pid()));
    host.nsl(["stop", "web"]).run().assert_prints("web");
    joined.signal(Signal::SIGCONT);
    joined.finish().assert_code(137);
    remove(&host, "web");
    let script = format!("{NSL} exec web true");
    host.command("sh", ["-c", &script]).run().assert_refused(125, &["there is no such sandbox"]);
}
