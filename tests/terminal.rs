//! The command's terminal and streams: a pty of the sandbox's own with the caller's settings and size, all bytes in
//! order, and the caller's terminal as it was at the end, whatever the end is.

use crate::harness::{Host, Invocation, NSL, only_child, wait_until};
use crate::pty::{CTRL_C, CTRL_D, Pty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write;

/// Settings that are nobody's default: an end must come back to the caller's own, not to something sane.
const ODD: [&str; 5] = ["sane", "-ixon", "-echoctl", "intr", "^G"];

/// A script for sh, run with options.
fn sandbox<'a>(host: &'a Host, options: &[&'a str], script: &'a str) -> Invocation<'a> {
    host.nsl(["run", "--network", "none"].iter().chain(options).chain(&["--", "sh", "-c", script]))
}

/// Starts one at a terminal with odd settings; once the terminal is raw, does `act`; the exit code at the end.
#[track_caller]
fn leaves_the_terminal_as_it_was(host: &Host, script: &str, act: impl FnOnce(&mut Pty)) -> i32 {
    let mut pty = Pty::start_with_settings(sandbox(host, &[], script), &ODD);
    let before = Pty::start_with_settings(host.command("true", [""; 0]), &ODD).settings();
    pty.until("up\r\n");
    wait_until("the terminal is nsl's", || pty.is_raw());
    act(&mut pty);
    let code = pty.end();
    assert_eq!(pty.settings(), before, "{:?}", pty.all());
    code
}

fn kill_process(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("kill the process");
}

#[test]
fn command_has_the_first_pty_of_a_devpts_of_its_own() {
    let host = crate::host!();
    let script = "tty; ls -1 /dev/pts; stat -f -c %T /dev/pts; readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; \
        echo device=$(stat -c %d /dev/pts); ls -l /proc/1/fd 2>&- | grep -c pts; ps -o tty= -p $$";
    let mut pty = Pty::start(sandbox(&host, &[], script));
    assert_eq!(pty.end(), 0, "{}", pty.all());
    let shown = pty.all();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[..3], ["/dev/pts/0", "0", "ptmx"], "{shown}");
    assert_eq!(lines[4..7], ["/dev/pts/0"; 3], "{shown}");
    assert_ne!(lines[7], format!("device={}", host.sh("stat -c %d /dev/pts").trim()), "{shown}");
    assert_eq!(lines[8..], ["0", "pts/0"], "the init holds a terminal, or the command has another: {shown}");
}

#[test]
fn settings_and_size_of_the_callers_terminal_are_the_commands() {
    let host = crate::host!();
    let before = Pty::start_with_settings(host.command("true", [""; 0]), &ODD).settings();
    let mut pty = Pty::start_with_settings(sandbox(&host, &[], "stty size; stty -a"), &ODD);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(pty.end(), 0);
    assert_eq!(words(&pty.all()), words(&format!("40 100 {before}")));
}

#[test]
fn a_new_size_of_the_window_reaches_the_command_with_a_signal() {
    let host = crate::host!();
    let script = "trap 'echo size=$(stty size)' WINCH; trap 'exit 2' INT; echo up; sleep 100 & while :; do wait; done";
    let mut pty = Pty::start(sandbox(&host, &[], script));
    pty.until("up\r\n");
    for (rows, columns) in [(24, 80), (1, 1), (300, 500)] {
        pty.resize(rows, columns);
        pty.until(&format!("size={rows} {columns}\r\n"));
    }
    pty.keys(CTRL_C);
    assert_eq!(pty.end(), 2);
}

#[test]
fn terminal_is_as_it_was_after_an_ordinary_end() {
    let host = crate::host!();
    let code = leaves_the_terminal_as_it_was(&host, "stty -echo; echo up; read line; exit 4", |pty| pty.line("go"));
    assert_eq!(code, 4);
}

#[test]
fn terminal_is_as_it_was_after_the_command_was_killed() {
    let host = crate::host!();
    let code = leaves_the_terminal_as_it_was(&host, "stty raw; printf 'up\\r\\n'; exec sleep 100", |pty| {
        kill_process(only_child(only_child(pty.pid(), "nsl-init"), "sleep"));
    });
    assert_eq!(code, 137);
}

#[test]
fn terminal_is_as_it_was_after_the_init_was_killed() {
    let host = crate::host!();
    let mut told = String::new();
    let code = leaves_the_terminal_as_it_was(&host, "echo up; exec sleep 100", |pty| {
        kill_process(only_child(pty.pid(), "nsl-init"));
        pty.end();
        told = pty.all();
    });
    assert_eq!(code, 137);
    assert!(told.contains("nsl: cannot keep the sandbox running: its init was killed by SIGKILL\r\n"), "{told}");
}

#[test]
fn terminal_is_as_it_was_after_signals_that_end_the_command() {
    let host = crate::host!();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1] {
        let code = leaves_the_terminal_as_it_was(&host, "ulimit -c 0; echo up; exec sleep 100", |pty| {
            kill(Pid::from_raw(pty.pid().cast_signed()), signal).expect("send the signal");
        });
        assert_eq!(code, 128 + signal as i32, "{signal}");
    }
}

#[test]
fn terminal_is_as_it_was_after_a_command_that_cannot_be_executed() {
    let host = crate::host!();
    let before = Pty::start_with_settings(host.command("true", [""; 0]), &ODD).settings();
    let mut pty = Pty::start_with_settings(host.nsl(["run", "--network", "none", "--", "no-such-command"]), &ODD);
    assert_eq!(pty.end(), 127);
    assert_eq!(pty.settings(), before);
    let line = "nsl: cannot execute no-such-command: No such file or directory (hint: it is looked for inside the \
        sandbox, in PATH)\r\n";
    assert_eq!(pty.all(), line);
}

#[test]
fn megabytes_through_the_pty_arrive_complete_and_in_order() {
    let host = crate::host!();
    let expected = (1..=400_000).fold(String::new(), |mut text, number| {
        let _ = write!(text, "{number}\r\n");
        text
    });
    for options in [&[][..], &["-T"]] {
        let mut pty = Pty::start(sandbox(&host, options, "seq 400000; exit 6"));
        assert_eq!(pty.end(), 6);
        let all = pty.all();
        assert!(
            all == expected,
            "{options:?}: {} bytes of {}, end: {:?}",
            all.len(),
            expected.len(),
            all.lines().last()
        );
    }
}

#[test]
fn keys_typed_ahead_arrive_complete_and_in_order() {
    let host = crate::host!();
    let mut pty = Pty::start(sandbox(&host, &[], "sed -u 's/^/got:/; /end/q'"));
    for number in 0..100 {
        pty.line(&format!("line {number}"));
    }
    pty.line("end");
    (0..100).for_each(|number| drop(pty.until(&format!("got:line {number}\r\n"))));
    pty.until("got:end\r\n");
    assert_eq!(pty.end(), 0);
}

#[test]
fn ctrl_d_is_the_end_of_the_input_with_a_pty_and_with_pipes() {
    let host = crate::host!();
    for options in [&[][..], &["-T"]] {
        let mut pty = Pty::start(sandbox(&host, options, "echo up; wc -l; exit 5"));
        pty.until("up\r\n");
        pty.line("one");
        pty.line("two");
        pty.keys(CTRL_D);
        pty.until("\n2\r\n");
        assert_eq!(pty.end(), 5);
    }
}

#[test]
fn no_descriptor_of_the_callers_terminal_is_inside() {
    let host = crate::host!();
    let script = "ls -l /proc/[0-9]*/fd/ 2>&- | grep -c /dev/pts; readlink /proc/$$/fd/* | grep -vc '^pipe:'; \
        : < /dev/tty || echo no-tty";
    let mut pty = Pty::start(sandbox(&host, &["-T"], script));
    assert_eq!(pty.end(), 2, "{}", pty.all());
    let shown = pty.all();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[..2], ["0", "0"], "{shown}");
    assert!(lines[2].contains("/dev/tty"), "{shown}");
}

#[test]
fn tiocsti_puts_nothing_into_the_callers_terminal() {
    let host = crate::host!("perl");
    let script = "perl -e 'for my $name (\"/dev/tty\", \"/dev/console\", glob(\"/proc/self/fd/*\")) \
        { open(my $f, \"+<\", $name) or next; my $key = \"X\"; ioctl($f, 0x5412, $key) }' && echo tried";
    for options in [&[][..], &["-T"]] {
        let mut pty = Pty::start_with_settings(sandbox(&host, options, script), &["sane", "-icanon"]);
        assert_eq!(pty.end(), 0);
        assert!(pty.all().ends_with("tried\r\n"), "{:?}", pty.all());
        assert_eq!(pty.unread_keys(), 0, "{options:?}");
    }
}

#[test]
fn stdout_in_a_pipe_means_pipes_for_the_command() {
    let host = crate::host!();
    let script =
        format!("{NSL} run --network none -- sh -c 'test -t 0 || test -t 1 || echo no terminal; exit 0' | cat");
    let mut pty = Pty::start(host.command("sh", ["-c", &script]));
    assert_eq!(pty.end(), 0);
    assert_eq!(pty.all(), "no terminal\r\n");
}

#[test]
fn stderr_can_be_elsewhere_while_the_command_has_a_terminal() {
    let host = crate::host!();
    let script = format!(
        "{NSL} run --network none -- sh -c 'tty; echo said >&2; test -t 2 || echo apart' 2>/tmp/test/stderr; \
        cat /tmp/test/stderr; rm /tmp/test/stderr"
    );
    let mut pty = Pty::start(host.command("sh", ["-c", &script]));
    assert_eq!(pty.end(), 0);
    assert_eq!(pty.all(), "/dev/pts/0\r\napart\r\nsaid\r\n");
}

#[test]
fn tty_is_refused_where_there_is_none() {
    let host = crate::host!();
    host.nsl(["run", "-t", "--network", "none", "--", "true"])
        .run()
        .assert_refused(125, &["--tty", "stdin is no terminal"]);
}

#[test]
fn a_terminal_that_goes_away_ends_everything() {
    let host = crate::host!();
    for options in [&[][..], &["-T"]] {
        let mut pty = Pty::start(sandbox(&host, options, "setsid sleep 1000 & sleep 1000 & echo up; exec sleep 1000"));
        pty.until("up\r\n");
        assert_eq!(pty.hang_up(), 129, "{options:?}");
        host.assert_clean();
    }
}
