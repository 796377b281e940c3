//! The terminal of a command that joins: a pty of the sandbox's, with the caller's settings and size.

use super::exec;
use crate::harness::{Host, only_child, wait_until};
use crate::leaks::kill_hard;
use crate::pty::{CTRL_C, CTRL_D, CTRL_Z, Pty};
use crate::services::{remove, start};

fn at_terminal<'a>(host: &'a Host, options: &[&str], script: &'a str) -> Pty {
    Pty::start_with_settings(exec(host, options, &["sh", "-c", script]), &["sane", "-ixon", "intr", "^G"])
}

#[test]
fn it_is_a_pty_of_the_sandboxs_own() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let script = "tty; stat -c %U:%a $(tty); stty size; echo $TERM; : </dev/tty && echo controls; ps -o tty= -p $$; ls -1 /dev/pts";
    let mut pty = at_terminal(&host, &["-it", "-u", "nobody"], script);
    assert_eq!(pty.end(), 0, "{}", pty.all());
    let shown = pty.all();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines, ["/dev/pts/0", "nobody:620", "40 100", "dumb", "controls", "pts/0", "0", "ptmx"]);
    // Without one there is none.
    let mut pty = at_terminal(&host, &["-T"], "tty; readlink /proc/self/fd/* | grep -c pts");
    assert_eq!(pty.end(), 1, "{}", pty.all());
    assert_eq!(pty.all(), "not a tty\r\n0\r\n");
    remove(&host, "web");
}

#[test]
fn settings_size_and_keys_reach_it_and_come_back() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let script =
        "trap 'echo size=$(stty size)' WINCH; trap 'echo int; exit 4' INT; stty -a | grep -o 'intr = ^G'; echo up
        sleep 100 & while :; do wait; done";
    let mut pty = at_terminal(&host, &[], script);
    let before = Pty::start_with_settings(host.command("true", [""; 0]), &["sane", "-ixon", "intr", "^G"]).settings();
    pty.until("intr = ^G\r\n");
    pty.until("up\r\n");
    assert!(pty.is_raw());
    pty.resize(24, 80);
    pty.until("size=24 80\r\n");
    pty.resize(40, 100);
    pty.until("size=40 100\r\n");
    pty.keys("\x07");
    pty.until("int\r\n");
    assert_eq!(pty.end(), 4);
    assert_eq!(pty.settings(), before);
    let mut pty = at_terminal(&host, &[], "echo up; wc -l");
    pty.until("up\r\n");
    pty.line("one");
    pty.keys(CTRL_D);
    pty.until("1\r\n");
    assert_eq!(pty.end(), 0);
    remove(&host, "web");
}

#[test]
fn the_terminal_is_as_it_was_whoever_is_killed() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    for kill_command in [true, false] {
        let mut pty = at_terminal(&host, &[], "stty raw; printf 'up\\r\\n'; exec sleep 100");
        pty.until("up\r\n");
        wait_until("the terminal is nsl's", || pty.is_raw());
        let watcher = only_child(pty.pid(), "nsl-init");
        kill_hard(if kill_command { only_child(watcher, "sleep") } else { watcher });
        assert_eq!(pty.end(), 137);
        assert!(!pty.is_raw(), "{}", pty.all());
    }
    let mut pty = at_terminal(&host, &[], "echo up; exec sleep 100");
    pty.until("up\r\n");
    host.nsl(["stop", "web"]).run().assert_prints("web");
    assert_eq!(pty.end(), 137);
    assert!(!pty.is_raw() && pty.all().contains("the sandbox web has ended"), "{}", pty.all());
    remove(&host, "web");
}

#[test]
fn megabytes_arrive_complete_and_who_stays_behind_holds_nothing_up() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    for options in [&[][..], &["-T"]] {
        // A process that keeps the terminal, or the pipe, is no reason to wait.
        let mut pty = at_terminal(&host, options, "trap '' HUP; sleep 1000 & seq 300000; exit 6");
        assert_eq!(pty.end(), 6);
        let all = pty.all();
        assert!(all.ends_with("299999\r\n300000\r\n") && all.lines().count() == 300_000, "{options:?}: {}", all.len());
    }
    // Nor is one that never stops to write.
    let mut pty = at_terminal(&host, &["-T"], "yes & sleep 0.05; exit 3");
    assert_eq!(pty.end(), 3);
    remove(&host, "web");
}

#[test]
fn a_shell_has_control_of_its_jobs() {
    let host = crate::host!("bash");
    start(&host, "web", &["--", "sleep", "1000"]);
    let mut pty = Pty::start(exec(&host, &["-it"], &["bash", "--norc", "-i"]).env("PS1", "> "));
    pty.line("PS1='> '; echo re''ady");
    pty.until("ready\r\n");
    pty.line("sleep 1000");
    wait_until("it runs", || !host.sh("pgrep -f -x 'sleep 1000' | wc -l").starts_with('1'));
    pty.keys(CTRL_Z);
    pty.until("Stopped");
    pty.until("> ");
    pty.line("fg");
    pty.until("sleep 1000\r\n");
    pty.keys(CTRL_C);
    pty.until("> ");
    pty.line("echo co''de $?");
    pty.until("code 130\r\n");
    pty.line("exit 8");
    assert_eq!(pty.end(), 8);
    remove(&host, "web");
}

/// Ctrl-Z at a command that leaves it to the terminal stops nsl exec as a job of the caller's shell.
#[test]
fn it_is_a_job_of_the_callers_shell() {
    let host = crate::host!("bash");
    start(&host, "web", &["--", "sleep", "1000"]);
    // dash starts programs by vfork: stopped just then, it cannot stop itself.
    for option in ["-it", "-T"] {
        let mut pty = Pty::start(host.command("bash", ["--norc", "-i"]));
        pty.line("PS1='> '; echo re''ady");
        pty.until("ready\r\n");
        pty.line(&format!("{} exec {option} web bash -c 'echo u''p; cat'", crate::harness::NSL));
        pty.until("up\r\n");
        pty.keys(CTRL_Z);
        pty.until("Stopped");
        pty.line("echo in be''tween; fg");
        pty.until("in between\r\n");
        // Its words, by which the shell says that it goes on.
        pty.until("cat'\r\n");
        pty.line("words");
        pty.until("words\r\nwords\r\n");
        pty.keys(CTRL_D);
        pty.until("> ");
        pty.line("echo co''de $?; exit");
        pty.until("code 0\r\n");
        pty.end();
    }
    remove(&host, "web");
}

#[test]
fn a_terminal_that_goes_away_ends_it_and_not_the_sandbox() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let mut pty = at_terminal(&host, &[], "echo up; exec sleep 100");
    pty.until("up\r\n");
    assert_eq!(pty.hang_up(), 129);
    exec(&host, &[], &["sh", "-c", "ps -e -o args= | grep -c '^sleep'"]).run().assert_prints("1");
    remove(&host, "web");
}
