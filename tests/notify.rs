//! What a service manager hears of nsl, at a socket that stands for systemd's.

use crate::harness::{Host, NSL, Running, wait_until};
use crate::services::{detached, remove};
use nix::sys::signal::Signal;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

const SOCKET: &str = "/run/manager/notify";
/// Says on the socket of the environment what its arguments are.
const SAY: &str = "import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
for line in sys.argv[1:]: s.send(line.encode())
sys.stdin.read()";

/// The other end.
struct Manager(UnixDatagram);

impl Manager {
    fn new(host: &Host) -> Self {
        fs::create_dir(host.path("/run/manager")).expect("make a directory");
        let socket = UnixDatagram::bind(host.path(SOCKET)).expect("bind");
        sockopt::set_socket_passcred(&socket, true).expect("ask for credentials");
        socket.set_nonblocking(true).expect("not to wait");
        host.sh("chmod 777 /run/manager/notify");
        Self(socket)
    }

    /// A message, and who has sent it.
    fn next(&self) -> Option<(String, u32)> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut extra = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut extra, RecvFlags::empty()).ok()?;
        let sender = extra.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_nonzero().get() as u32),
            _ => None,
        });
        Some((String::from_utf8_lossy(&bytes[..got.bytes]).into_owned(), sender.expect("credentials")))
    }

    /// Waits for a message of this process that has such a line.
    #[track_caller]
    fn await_line(&self, sender: u32, wanted: &str) -> String {
        let mut found = String::new();
        wait_until(wanted, || {
            while let Some((message, from)) = self.next() {
                assert_eq!(from, sender, "{message}");
                found += &message;
            }
            found.lines().any(|line| line.starts_with(wanted))
        });
        found
    }

    fn end(self, host: &Host) {
        drop(self);
        host.sh("rm -r /run/manager");
        host.assert_clean();
    }
}

fn start(host: &Host, options: &[&str], environment: &[(&str, &str)]) -> Running {
    let mut run = host.nsl(["run", "--network", "none"].iter().chain(options)).env("NOTIFY_SOCKET", SOCKET);
    for (name, value) in environment {
        run = run.env(name, value);
    }
    run.start()
}

#[test]
fn nsl_says_that_the_command_has_started_and_that_it_is_asked_to_end() {
    let host = crate::host!();
    let manager = Manager::new(&host);
    let running = start(&host, &["--", "sleep", "1000"], &[]);
    let heard = manager.await_line(running.pid(), "READY=1");
    assert!(heard.contains("STATUS=The command runs") && !heard.contains("MAINPID"), "{heard}");
    running.signal(Signal::SIGTERM);
    let pid = running.pid();
    running.finish().assert_code(143);
    manager.await_line(pid, "STOPPING=1");
    manager.end(&host);
}

#[test]
fn with_ready_the_command_says_so_itself_and_nsl_hands_it_on() {
    let host = crate::host!("python3");
    let manager = Manager::new(&host);
    // Its first line is said when all the others have come.
    let words = ["--ready", "--", "python3", "-c", SAY, "STATUS=half", "MAINPID=2\nFDSTORE=1", "READY=1\nSTATUS=all"];
    let running = start(&host, &words, &[]);
    let heard = manager.await_line(running.pid(), "READY=1");
    let statuses: Vec<_> = heard.lines().collect();
    assert!(statuses[0].starts_with("STATUS=The command runs"), "{heard}");
    assert_eq!(statuses[1..], ["STATUS=half", "READY=1", "STATUS=all"]);
    running.finish().assert_code(0);
    // Nobody has to be there to be told.
    let words = ["run", "--network", "none", "--ready", "--", "sh", "-c", "test -S $NOTIFY_SOCKET"];
    host.nsl(words).run().assert_prints("");
    manager.end(&host);
}

#[test]
fn what_keeps_a_command_from_starting_is_the_status() {
    let host = crate::host!();
    let manager = Manager::new(&host);
    let running = start(&host, &["--", "no-such-command"], &[]);
    let pid = running.pid();
    running.finish().assert_refused(127, &["execute no-such-command"]);
    let heard = manager.await_line(pid, "ERRNO=2");
    assert!(heard.contains("STATUS=cannot execute no-such-command") && !heard.contains("READY"), "{heard}");
    manager.end(&host);
}

#[test]
fn the_watchdog_hears_of_nsl_in_time_and_the_command_knows_nothing_of_it() {
    let host = crate::host!();
    let manager = Manager::new(&host);
    let script = "echo \"$WATCHDOG_USEC$WATCHDOG_PID\"; exec sleep 1000";
    let mut running = start(&host, &["--", "sh", "-c", script], &[("WATCHDOG_USEC", "200000")]);
    assert_eq!(running.line(), "");
    manager.await_line(running.pid(), "READY=1");
    let (began, mut beats, mut longest, mut last) = (Instant::now(), 0, Duration::ZERO, Instant::now());
    wait_until("ten beats", || {
        while let Some((message, _)) = manager.next() {
            assert_eq!(message, "WATCHDOG=1\n");
            (beats, longest, last) = (beats + 1, longest.max(last.elapsed()), Instant::now());
        }
        beats >= 10
    });
    assert!(began.elapsed() > Duration::from_millis(850), "not more often than need be: {:?}", began.elapsed());
    assert!(longest < Duration::from_millis(190), "{longest:?}");
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(143);
    // What another process is to do is not done.
    let running = start(&host, &["--", "sleep", "0.3"], &[("WATCHDOG_USEC", "2000"), ("WATCHDOG_PID", "1")]);
    running.finish().assert_code(0);
    while let Some((message, _)) = manager.next() {
        assert_ne!(message, "WATCHDOG=1\n");
    }
    manager.end(&host);
}

#[test]
fn the_watchdog_is_left_when_the_sandbox_is_not_well() {
    let host = crate::host!();
    let manager = Manager::new(&host);
    let checks = ["--health-cmd", "false", "--health-interval", "300ms", "--health-retries", "1"];
    let running = start(&host, &[&checks[..], &["--", "sleep", "1000"]].concat(), &[("WATCHDOG_USEC", "20000")]);
    let heard = manager.await_line(running.pid(), "STATUS=The command runs, and is unhealthy");
    assert!(heard.contains("WATCHDOG=1"), "{heard}");
    let name = host.nsl(["ps", "-q"]).run().stdout().trim().to_owned();
    host.nsl(["exec", &name, "sleep", "0.2"]).run().assert_quiet();
    assert_eq!(manager.next(), None);
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(143);
    assert_eq!(host.nsl(["ps", "-a", "-q"]).run().stdout(), "");
    manager.end(&host);
}

#[test]
fn a_manager_that_does_not_listen_holds_nothing_up() {
    let host = crate::host!();
    let manager = Manager::new(&host);
    // Each beat is one more message that nobody takes.
    let running = start(&host, &["--", "sh", "-c", "sleep 1; exit 5"], &[("WATCHDOG_USEC", "1000")]);
    running.finish().assert_code(5);
    let left = std::iter::from_fn(|| manager.next()).count();
    assert!(left < 900, "the socket was full: {left} messages");
    manager.end(&host);
    for gone in [SOCKET, "@no-such-socket", "vsock:2:1", "relative", ""] {
        let words = ["run", "--network", "host", "--", "true"];
        host.nsl(words).env("NOTIFY_SOCKET", gone).env("WATCHDOG_USEC", "1000").run().assert_prints("");
    }
}

#[test]
fn who_was_not_started_by_the_manager_says_nothing_to_it() {
    let host = crate::host!();
    let manager = Manager::new(&host);
    start(&host, &["--", "true"], &[("SYSTEMD_EXEC_PID", "1")]).finish().assert_code(0);
    detached(&host, "web", &["--", "true"]).env("NOTIFY_SOCKET", SOCKET).run().assert_prints("web");
    host.nsl(["wait", "web"]).run().assert_prints("0");
    assert_eq!(manager.next(), None);
    // A shell that has become nsl is what the manager has started.
    let script = format!("SYSTEMD_EXEC_PID=$$ exec {NSL} run --network none -- true");
    let running = host.command("sh", ["-c", &script]).env("NOTIFY_SOCKET", SOCKET).start();
    let pid = running.pid();
    running.finish().assert_code(0);
    manager.await_line(pid, "READY=1");
    remove(&host, "web");
    manager.end(&host);
}
