//! What a sandbox uses, shown again and again; and the terminal as it was, whatever ends that.

use crate::harness::{Host, wait_until};
use crate::pty::{CTRL_C, Pty};
use crate::services::{remove, start};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ODD: [&str; 4] = ["sane", "-ixon", "-echoctl", "-onlcr"];

/// Starts it at a terminal; once it has shown the command, does `act`; its exit code.
#[track_caller]
fn leaves_the_terminal_as_it_was(host: &Host, act: impl FnOnce(&mut Pty)) -> i32 {
    let mut pty = Pty::start_with_settings(host.nsl(["top", "web"]), &ODD);
    let before = Pty::start_with_settings(host.command("true", [""; 0]), &ODD).settings();
    pty.until("\x1b[?1049h\x1b[?25l");
    pty.until("web: Up ");
    pty.until("sleep 1000");
    assert!(pty.is_raw());
    act(&mut pty);
    let code = pty.end();
    assert_eq!(pty.settings(), before, "{:?}", pty.all());
    assert!(pty.all().contains("\x1b[?25h\x1b[?1049l"), "{:?}", pty.all());
    code
}

#[test]
fn without_a_terminal_it_is_one_table() {
    let host = crate::host!();
    start(&host, "web", &["--", "sh", "-c", "while :; do :; done & exec sleep 1000"]);
    let output = host.nsl(["top", "web"]).run();
    output.assert_code(0).assert_quiet();
    let shown = output.stdout();
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("web: Up ") && lines[1].contains("processes 2   threads 2"), "{shown}");
    assert!(lines[3].split_whitespace().eq(["PID", "CPU", "MEM", "THREADS", "COMMAND"]), "{shown}");
    // The one that spins comes first.
    let percent =
        |line: &str| line.split_whitespace().nth(1).and_then(|cell| cell.strip_suffix('%')?.parse::<f64>().ok());
    assert!(lines[4].ends_with("while :; do :; done & exec sleep 1000") && percent(lines[4]) > Some(1.0), "{shown}");
    assert!(lines[5].ends_with("sleep 1000") && percent(lines[5]) < Some(1.0) && lines.len() == 6, "{shown}");
    assert!(!shown.contains('\x1b'));
    remove(&host, "web");
    host.nsl(["top", "web"]).run().assert_refused(125, &["there is no such sandbox"]);
}

#[test]
fn the_terminal_is_as_it_was_whatever_ends_it() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    assert_eq!(leaves_the_terminal_as_it_was(&host, |pty| pty.keys("q")), 0);
    assert_eq!(leaves_the_terminal_as_it_was(&host, |pty| pty.keys(CTRL_C)), 0);
    let send = |signal| move |pty: &mut Pty| kill(Pid::from_raw(pty.pid().cast_signed()), signal).expect("send it");
    assert_eq!(leaves_the_terminal_as_it_was(&host, send(Signal::SIGTERM)), 143);
    assert_eq!(leaves_the_terminal_as_it_was(&host, send(Signal::SIGQUIT)), 131);
    let stop = |pty: &mut Pty| {
        host.nsl(["stop", "-t", "1", "web"]).run().assert_prints("web");
        pty.until("nsl: web has ended");
    };
    assert_eq!(leaves_the_terminal_as_it_was(&host, stop), 0);
    remove(&host, "web");
}

#[test]
fn it_has_the_size_of_the_window() {
    let host = crate::host!();
    start(&host, "web", &["--", "sh", "-c", "for n in $(seq 9); do sleep 1000 & done; wait"]);
    let mut pty = Pty::start(host.nsl(["top", "web"]));
    pty.until("web: Up ");
    for (rows, columns) in [(6_u16, 30_u16), (1, 1), (20, 60)] {
        pty.resize(rows, columns);
        let fits = |frame: &str| {
            // The terminal makes two characters of each end of a line.
            let frame = frame.replace("\r\r\n", "\r\n");
            let lines: Vec<_> = frame.split("\x1b[K\r\n").map(|line| line.trim_end_matches("\x1b[K")).collect();
            lines.len() <= usize::from(rows) && lines.iter().all(|line| line.chars().count() <= usize::from(columns))
        };
        wait_until("a frame has the size", || {
            pty.until("\x1b[H");
            fits(&pty.until("\x1b[J"))
        });
    }
    pty.keys("q");
    assert_eq!(pty.end(), 0);
    remove(&host, "web");
}
