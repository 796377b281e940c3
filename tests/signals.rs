//! Signals on their way from nsl to the command: all that are forwarded, to whom, once, and never lost.

use crate::harness::{Host, Invocation};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

fn sandbox<'a>(host: &'a Host, script: &'a str) -> Invocation<'a> {
    host.nsl(["run", "--network", "none", "--", "sh", "-c", script])
}

const WAIT: &str = "echo up; while :; do sleep 0.01; done";

#[test]
fn signals_reach_the_command_each_once() {
    let host = crate::host!();
    let signals = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT"];
    let traps = signals.map(|name| format!("trap 'echo {name}' {name}; ")).concat();
    let mut running = sandbox(&host, &format!("ulimit -c 0; {traps}{WAIT}")).start();
    assert_eq!(running.line(), "up");
    for name in signals.iter().chain(&signals) {
        running.signal(format!("SIG{name}").parse().expect("a signal"));
        assert_eq!(&running.line(), name);
    }
    running.signal(Signal::SIGKILL);
    let output = running.finish();
    assert_eq!(output.stdout(), "", "{output}");
}

#[test]
fn what_terminals_send_goes_to_the_commands_group_and_the_rest_to_the_command() {
    let host = crate::host!();
    let script = "(trap 'echo child TERM' TERM; trap 'echo child USR1' USR1; trap 'echo child HUP' HUP;
        trap 'echo child WINCH' WINCH; echo up; while :; do sleep 0.01; done) &
        trap 'echo command TERM' TERM; trap 'echo command USR1' USR1; trap 'echo command HUP' HUP;
        trap 'echo command WINCH' WINCH; echo up; while :; do sleep 0.01; done";
    let mut running = sandbox(&host, script).start();
    assert_eq!([running.line(), running.line()], ["up", "up"]);
    for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGUSR1, "USR1")] {
        running.signal(signal);
        assert_eq!(running.line(), format!("command {name}"));
    }
    for (signal, name) in [(Signal::SIGWINCH, "WINCH"), (Signal::SIGHUP, "HUP")] {
        running.signal(signal);
        let mut lines = [running.line(), running.line()];
        lines.sort_unstable();
        assert_eq!(lines, [format!("child {name}"), format!("command {name}")]);
    }
}

#[test]
fn command_in_a_group_or_session_of_its_own_making_gets_them_all() {
    let host = crate::host!();
    // As the leader of its group it can make no session itself: its child does, with `setsid`.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let script = format!("trap 'echo got; exit 3' {}; set -m; {WAIT}", &signal.as_str()[3..]);
        let mut running = sandbox(&host, &script).start();
        assert_eq!(running.line(), "up");
        running.signal(signal);
        running.finish().assert_code(3).assert_stdout("got");
    }
}

#[test]
fn signals_end_a_command_that_does_nothing_about_them() {
    let host = crate::host!();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        let mut running = sandbox(&host, "echo up; exec sleep 1000").start();
        assert_eq!(running.line(), "up");
        running.signal(signal);
        running.finish().assert_code(128 + signal as i32).assert_quiet();
    }
}

#[test]
fn a_signal_that_comes_early_is_never_lost() {
    let host = crate::host!();
    let start = Instant::now();
    let mut count = 0_u64;
    while start.elapsed() < Duration::from_secs(4) && count < 300 {
        let running = host.nsl(["run", "--network", "none", "--", "sleep", "20"]).start();
        // Over the start of the programs on the way to nsl and that of nsl, a step of 50 µs each time.
        std::thread::sleep(Duration::from_micros(count * 50));
        running.signal(Signal::SIGTERM);
        let output = running.finish();
        assert!(output.code == 143, "after {} µs\n{output}", count * 50);
        count += 1;
    }
    assert!(count >= 50, "only {count} tries");
}

#[test]
fn a_stopped_command_that_is_asked_to_end_does() {
    let host = crate::host!();
    let mut running = sandbox(&host, "echo up; trap 'exit 3' TERM; kill -STOP $$; exit 4").start();
    assert_eq!(running.line(), "up");
    let command = crate::harness::only_child(running.init(), "sh");
    crate::harness::wait_until("the command is stopped", || {
        std::fs::read_to_string(format!("/proc/{command}/status")).is_ok_and(|text| text.contains("State:\tT"))
    });
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(3);
}

#[test]
fn command_gets_the_callers_mask_and_default_dispositions() {
    let host = crate::host!();
    let nsl = crate::harness::NSL;
    let status = |words: &[&str]| {
        let show = ["run", "--network", "none", "--", "grep", "-E", "SigBlk|SigIgn", "/proc/self/status"];
        let output = host.command("env", words.iter().chain([nsl].iter()).chain(&show)).run();
        output.assert_code(0).assert_quiet().stdout()
    };
    let expected = |mask: u64| format!("SigBlk:\t{mask:016x}\nSigIgn:\t{:016x}\n", 0);
    assert_eq!(status(&["--default-signal"]), expected(0));
    assert_eq!(status(&["--ignore-signal=PIPE,CHLD,INT,HUP"]), expected(0));
    assert_eq!(status(&["--block-signal=USR1,TERM,CHLD"]), expected(1 << 9 | 1 << 14 | 1 << 16));
    assert_eq!(status(&["--block-signal=RTMIN,RTMAX"]), expected(1 << 33 | 1 << 63));
}
