//! Shells and jobs at a terminal: job control inside, the whole sandbox as a job of a shell outside, and the same
//! under a terminal multiplexer.

use crate::harness::{Host, Invocation, NSL, is_stopped, only_child, wait_until};
use crate::pty::{CTRL_C, CTRL_D, CTRL_Z, Pty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;

const SHELL: [&str; 5] = ["bash", "--noprofile", "--norc", "--noediting", "-i"];

/// A shell of the host's, with a prompt that says where it is.
fn outer(host: &Host) -> Pty {
    Pty::start(host.command(SHELL[0], &SHELL[1..]).env("PS1", "outer> "))
}

/// The same inside; with line editing.
fn inner(host: &Host) -> Invocation<'_> {
    host.nsl(["run", "--network", "none", "-e", "PS1=inner> ", "--", "bash", "--noprofile", "--norc", "-i"])
}

/// Is a process in the foreground of its terminal? By proc_pid_stat(5): its process group, and the terminal's.
fn is_foreground(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    fields.len() > 5 && fields[2] == fields[5]
}

#[test]
fn shell_at_a_terminal_controls_its_jobs() {
    let host = crate::host!();
    let mut pty = Pty::start(inner(&host));
    let greeting = pty.until("inner> ");
    assert!(!greeting.contains("job control"), "{greeting:?}");
    pty.line("sleep 100 & echo started ${!:+yes}");
    pty.until("started yes");
    pty.line("jobs");
    pty.until("Running");
    pty.line("fg; echo code=$?");
    pty.until("sleep 100\r\n");
    // It says so before it has the foreground.
    let shell = only_child(only_child(pty.pid(), "nsl-init"), "bash");
    let job = only_child(shell, "sleep");
    wait_until("the job is in the foreground", || is_foreground(job));
    pty.keys(CTRL_Z);
    pty.until("Stopped");
    pty.line("jobs");
    pty.until("Stopped");
    pty.line("bg; jobs");
    pty.until("Running");
    pty.line("kill %1; wait; echo no-more-jobs=$(jobs | wc -l)");
    pty.until("no-more-jobs=");
    pty.line("exit 5");
    assert_eq!(pty.end(), 5);
}

#[test]
fn ctrl_c_interrupts_the_foreground_job_and_not_the_shell() {
    let host = crate::host!();
    let mut pty = Pty::start(inner(&host));
    pty.until("inner> ");
    pty.line("echo shell=$$; sh -c 'echo run''ning; exec sleep 100'");
    pty.until("running\r\n");
    pty.keys(CTRL_C);
    pty.until("inner> ");
    pty.line("echo code=$? shell=$$");
    pty.until("code=130 shell=2\r\n");
    pty.until("inner> ");
    // bash shows its prompt before it is ready to drop a line.
    let shell = only_child(only_child(pty.pid(), "nsl-init"), "bash");
    wait_until("bash waits for a key", || {
        fs::read_to_string(format!("/proc/{shell}/wchan")).is_ok_and(|place| place.contains("poll"))
    });
    pty.keys(CTRL_C);
    pty.until("^C");
    pty.until("inner> ");
    pty.line("true");
    pty.until("inner> ");
    pty.keys(CTRL_D);
    assert_eq!(pty.end(), 0);
}

#[test]
fn lines_can_be_edited() {
    let host = crate::host!();
    let mut pty = Pty::start(inner(&host));
    pty.until("inner> ");
    // Backspace; the start and the end of the line; a line of before.
    pty.line("cho abX\x7fc\x01e\x05d");
    pty.until("\nabcd\r\n");
    pty.until("inner> ");
    pty.line("\x10e");
    pty.until("\nabcde\r\n");
    pty.keys(CTRL_D);
    assert_eq!(pty.end(), 0);
}

#[test]
fn ctrl_z_stops_the_whole_sandbox_as_a_job_of_the_outer_shell() {
    let host = crate::host!();
    let mut pty = outer(&host);
    pty.until("outer> ");
    let before = pty.settings();
    pty.line(&format!("{NSL} run --network none -- sh -c 'echo up; exec cat'; echo code=$?"));
    pty.until("up\r\n");
    wait_until("the terminal is nsl's", || pty.is_raw());
    let nsl = only_child(pty.pid(), "nsl");
    let command = only_child(only_child(nsl, "nsl-init"), "cat");
    for _ in 0..2 {
        pty.keys(CTRL_Z);
        pty.until("Stopped");
        pty.until("outer> ");
        assert_eq!(pty.settings(), before);
        assert!(is_stopped(nsl) && is_stopped(command));
        pty.line("echo in-between=$((1 + 1))");
        pty.until("in-between=2\r\n");
        pty.line("fg");
        wait_until("the terminal is nsl's again", || pty.is_raw());
        wait_until("the command goes on", || !is_stopped(command));
        pty.line("again");
        pty.until("again\r\nagain\r\n");
    }
    pty.keys(CTRL_D);
    pty.until("outer> ");
    assert_eq!(pty.settings(), before);
    pty.line("exit 0");
    assert_eq!(pty.end(), 0);
}

#[test]
fn command_that_stops_itself_stops_the_job_and_sees_the_new_size_when_it_goes_on() {
    let host = crate::host!();
    let mut pty = outer(&host);
    pty.until("outer> ");
    pty.line(&format!("{NSL} run --network none -- sh -c 'kill -TSTP $$; stty size; exit 3'"));
    pty.until("Stopped");
    pty.until("outer> ");
    pty.resize(50, 120);
    pty.line("fg; echo code=$?");
    pty.until("\n50 120\r\n");
    pty.until("code=3\r\n");
    pty.line("exit 0");
    assert_eq!(pty.end(), 0);
}

#[test]
fn ctrl_z_without_a_shell_to_come_back_to_stops_nothing_for_good() {
    let host = crate::host!();
    let mut pty = Pty::start(host.nsl(["run", "--network", "none", "--", "sh", "-c", "echo up; exec cat"]));
    pty.until("up\r\n");
    wait_until("the terminal is nsl's", || pty.is_raw());
    pty.keys(CTRL_Z);
    pty.until("^Z");
    pty.line("still here");
    pty.until("still here\r\nstill here\r\n");
    pty.keys(CTRL_D);
    assert_eq!(pty.end(), 0);
}

#[test]
fn in_the_background_without_a_terminal_it_is_not_stopped_by_keys() {
    let host = crate::host!();
    let mut pty = outer(&host);
    pty.until("outer> ");
    pty.line(&format!(
        "{NSL} run --network none -T -- sh -c 'trap \"exit 7\" TERM; echo run''ning; while :; do sleep 0.02; done' &"
    ));
    pty.until("running\r\n");
    for line in ["echo one=$((0 + 1))", "echo two=$((1 + 1))"] {
        pty.line(line);
    }
    pty.until("one=1\r\n");
    pty.until("two=2\r\n");
    pty.line("jobs");
    pty.until("Running");
    pty.line("kill %1; wait %1; echo code=$?");
    pty.until("code=7\r\n");
    pty.line("exit 0");
    assert_eq!(pty.end(), 0);
}

#[test]
fn in_the_background_with_a_terminal_it_waits_for_the_foreground() {
    let host = crate::host!();
    let mut pty = outer(&host);
    pty.until("outer> ");
    pty.line(&format!("{NSL} run --network none -- sh -c 'echo term''inal=$(tty); exit 4' &"));
    let nsl = only_child(pty.pid(), "nsl");
    wait_until("nsl is stopped", || is_stopped(nsl));
    assert!(!pty.all().contains("terminal="), "{:?}", pty.all());
    pty.line("fg; echo code=$?");
    pty.until("terminal=/dev/pts/0\r\n");
    pty.until("code=4\r\n");
    pty.line("exit 0");
    assert_eq!(pty.end(), 0);
}

#[test]
fn stop_and_continue_of_nsl_are_those_of_the_command() {
    let host = crate::host!();
    let mut running = host
        .nsl(["run", "--network", "none", "--", "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do :; done"])
        .start();
    assert_eq!(running.line(), "up");
    let command = only_child(running.init(), "sh");
    for _ in 0..3 {
        running.signal(Signal::SIGTSTP);
        wait_until("the command is stopped", || is_stopped(command));
        wait_until("nsl is stopped", || is_stopped(running.pid()));
        running.signal(Signal::SIGCONT);
        wait_until("nsl goes on", || !is_stopped(running.pid()));
        wait_until("the command goes on", || !is_stopped(command));
    }
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(3);
}

/// Kills a server of tmux that the test started.
struct Tmux<'a> {
    host: &'a Host,
}

impl Tmux<'_> {
    fn call(&self, args: &[&str]) -> String {
        let socket = ["-S", "/tmp/test/tmux", "-f", "/dev/null"];
        let output = self.host.command("tmux", socket.iter().chain(args)).env("TERM", "dumb").run();
        output.assert_code(0).stdout()
    }

    /// Types a line, and waits until the screen shows `text` as a line of its own.
    fn line(&self, keys: &str, text: &str) {
        self.call(&["send-keys", "-l", keys]);
        self.call(&["send-keys", "Enter"]);
        wait_until(&format!("the screen shows {text:?}"), || {
            self.call(&["capture-pane", "-p"]).lines().any(|line| line.trim_end() == text)
        });
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let server = self.call(&["display-message", "-p", "#{pid}"]);
        self.call(&["kill-server"]);
        if let Ok(pid) = server.trim().parse() {
            wait_until("tmux has ended", || kill(Pid::from_raw(pid), None).is_err());
        }
        let _ = fs::remove_file(self.host.path("/tmp/test/tmux"));
    }
}

#[test]
fn under_tmux_one_can_type_resize_suspend_and_leave() {
    let host = crate::host!("tmux");
    let tmux = Tmux { host: &host };
    tmux.call(&["new-session", "-d", "-x", "80", "-y", "24", "env PS1='outer> ' bash --noprofile --norc"]);
    tmux.line(&format!("{NSL} run --network none -e PS1='inner> ' -- bash --noprofile --norc"), "inner>");
    tmux.line("tty", "/dev/pts/0");
    let rows_and_columns = |rows: u32| format!("{rows} 80");
    // The status line of tmux takes a row.
    let size = tmux.call(&["display-message", "-p", "#{pane_height}"]);
    tmux.line("stty size", &rows_and_columns(size.trim().parse().unwrap_or_default()));
    tmux.call(&["resize-window", "-x", "120", "-y", "33"]);
    let rows = tmux.call(&["display-message", "-p", "#{pane_height}"]);
    wait_until("the size is the new one inside", || {
        tmux.call(&["send-keys", "-l", "clear; stty size"]);
        tmux.call(&["send-keys", "Enter"]);
        tmux.call(&["capture-pane", "-p"]).contains(&format!("{} 120", rows.trim()))
    });
    tmux.line("sh -c 'kill -TSTP $$; echo on-again'; kill %1; wait; echo inner-goes-on", "inner-goes-on");
    tmux.line("exit 9", "outer>");
    tmux.line("echo code=$?", "code=9");
}
