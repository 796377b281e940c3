//! Nothing of nsl's remains, whoever is killed and whenever.

use crate::harness::{DIR, Host, Running, only_child, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// Kills per test: delays from none to about as long as a start takes, in even steps.
const KILLS: u32 = 60;
const LONGEST: Duration = Duration::from_millis(9);

pub fn kill_hard(pid: u32) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

/// Spins: a sleep is not that exact.
pub fn wait_until_past(moment: Instant) {
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}

/// The child of a process, if it has one by now.
pub fn child_of(pid: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// Is this process nsl by now?
pub fn is_nsl(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "nsl")
}

/// Kills nsl's child, which is or becomes the init, so long after it was born: nsl says so, whatever it was at.
pub fn assert_told_of_a_killed_init(running: Running, age: Duration) {
    let mut init = None;
    wait_until("nsl has a child", || {
        init = child_of(running.pid());
        init.is_some()
    });
    wait_until_past(Instant::now() + age);
    init.into_iter().for_each(kill_hard);
    let output = running.finish();
    assert!([125, 137].contains(&output.code), "{output}");
    output.assert_refused(output.code, &["SIGKILL"]);
}

/// Starts sandboxes, and has `act` kill something at later and later moments.
fn kill_at_many_moments(host: &Host, network: &str, mut act: impl FnMut(&Running)) {
    for number in 0..KILLS {
        let words = ["run", "--network", network, "-v", &format!("{DIR}:/mnt"), "--", "sleep", "30"];
        let running = host.nsl(words).start();
        wait_until("nsl runs", || is_nsl(running.pid()));
        wait_until_past(Instant::now() + LONGEST * number / KILLS);
        act(&running);
        if number % 20 == 19 {
            drop(running);
            host.assert_clean();
        }
    }
    host.assert_clean();
}

#[test]
fn invariant_1_a_launcher_killed_at_any_moment_leaves_nothing() {
    let host = crate::host!();
    for network in ["none", "veth"] {
        kill_at_many_moments(&host, network, |running| kill_hard(running.pid()));
    }
}

#[test]
fn invariant_1_an_init_killed_at_any_moment_leaves_nothing_and_is_told() {
    let host = crate::host!();
    for network in ["none", "veth"] {
        for number in 0..KILLS {
            let running = host.nsl(["run", "--network", network, "--", "sleep", "30"]).start();
            assert_told_of_a_killed_init(running, LONGEST * number / KILLS);
        }
        host.assert_clean();
    }
}

#[test]
fn invariant_1_a_killed_command_gives_137_and_leaves_nothing() {
    let host = crate::host!();
    for network in ["none", "veth"] {
        for number in 0..KILLS / 3 {
            let script = "(sleep 30 & setsid sleep 30 &) ; trap '' TERM; echo up; while :; do read line; done";
            let mut running = host.nsl(["run", "--network", network, "--", "bash", "-c", script]).start();
            assert_eq!(running.line(), "up");
            let command = child_of(running.init()).expect("the command");
            wait_until_past(Instant::now() + LONGEST * number / KILLS);
            kill_hard(command);
            running.finish().assert_code(137).assert_quiet();
            assert_eq!(host.processes(), [0; 0]);
        }
        host.assert_clean();
    }
}

#[test]
fn invariant_1_a_launcher_killed_in_the_middle_takes_everything_along_at_once() {
    let host = crate::host!();
    let script = "trap '' TERM HUP INT; setsid sleep 30 & (trap '' TERM; exec sleep 30) & echo up; wait; wait";
    let mut running = host.nsl(["run", "--", "bash", "-c", script]).start();
    assert_eq!(running.line(), "up");
    assert!(host.processes().len() >= 4);
    kill_hard(running.pid());
    host.assert_clean();
    drop(running);
}

#[test]
fn invariant_1_many_sandboxes_end_as_cleanly_as_one() {
    let host = crate::host!();
    let all: Vec<_> = (0..20).map(|_| host.nsl(["run", "--", "sh", "-c", "sleep 30 & exit 3"]).start()).collect();
    for running in all {
        running.finish().assert_code(3).assert_quiet();
    }
    host.assert_clean();
}

#[test]
fn invariant_4_init_survives_what_the_command_does_to_it() {
    let host = crate::host!();
    let script = "for n in $(seq 1 31) $(seq 34 64); do kill -$n 1 2>/dev/null; done; kill -STOP 1; echo lives
        for n in $(seq 300); do (exit 1) & done; wait; (sh -c 'sleep 0 & exit' &); exit 6";
    let trap = format!("trap '' $(seq 1 64); {script}");
    let output = host.nsl(["run", "--network", "none", "--", "bash", "-c", &trap]).run();
    output.assert_code(6).assert_stdout("lives");
}

#[test]
fn invariant_4_init_survives_a_command_that_takes_its_memory_and_descriptors_away() {
    let host = crate::host!();
    let script = "umount -l /proc; umount -l /dev; rm -rf /usr 2>/dev/null; exit 5";
    host.nsl(["run", "--network", "none", "--privileged", "--", "bash", "-c", script]).run().assert_code(5);
    let script = "ulimit -n 0; ulimit -u 1; exec 0<&- 1>&- 2>&-; exit 8";
    host.nsl(["run", "--network", "none", "--", "bash", "-c", script]).run().assert_code(8);
}

#[test]
fn invariant_5_nsl_mounts_nothing_where_it_was_started() {
    let host = crate::host!();
    let mut running = host.nsl(["run", "--", "sh", "-c", "echo up; cat"]).start();
    assert_eq!(running.line(), "up");
    let of = |pid: u32| fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("read mountinfo");
    assert_eq!(of(running.pid()), of(host.pid()));
    assert_ne!(of(only_child(running.pid(), "nsl-init")), of(host.pid()));
    running.finish().assert_code(0);
}
