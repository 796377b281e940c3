//! What a service manager is told of a sandbox that it has started itself: `sd_notify(3)`.
//!
//! It is told by nsl, whose process is the main one of the unit, so that `NotifyAccess=main` will do. Nothing here fails
//! or waits: the command is worth more than a manager that has stopped to listen, even if that is PID 1.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use sd_notify::NotifyState;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};
use tracing::debug;

/// What a command may say through nsl. The rest is about processes and descriptors, which are not what they are inside,
/// or about the watchdog, which is nsl's.
const PASSED: [&str; 7] =
    ["READY", "STATUS", "RELOADING", "MONOTONIC_USEC", "STOPPING", "EXTEND_TIMEOUT_USEC", "ERRNO"];

pub struct Manager {
    socket: OwnedFd,
    address: UnixAddr,
    watchdog: Option<Watchdog>,
}

struct Watchdog {
    /// Half of the time that it waits.
    interval: Duration,
    next: Instant,
}

impl Manager {
    /// That of this very process, if it has one.
    pub fn find() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET")?;
        // Started by a script of the unit's, nsl does not speak for it.
        if !is_own(std::env::var_os("SYSTEMD_EXEC_PID")) {
            return None;
        }
        let address = address(&name)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None).ok()?;
        let watchdog = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
        let watchdog = watchdog.map(|time| Watchdog { interval: time / 2, next: Instant::now() });
        Some(Self { socket, address, watchdog })
    }

    /// The command runs: as this process, and, unless it is to say so itself, it is ready.
    pub fn started(&self, pid: u32, is_ready: bool) {
        let status = format!("The command runs, below process {pid}");
        let all = [NotifyState::Status(&status), NotifyState::Ready];
        self.send(if is_ready { &all } else { &all[..1] });
    }

    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping, NotifyState::Status("The command was asked to end")]);
    }

    /// It has not come to run, or not to its own end.
    pub fn failed(&self, message: &str, errno: Option<Errno>) {
        let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let all = [NotifyState::Status(&line), NotifyState::Errno(errno.map_or(0, |errno| errno as u32))];
        self.send(if errno.is_some() { &all } else { &all[..1] });
    }

    pub fn health(&self, word: &str) {
        self.send(&[NotifyState::Status(&format!("The command runs, and is {word}"))]);
    }

    /// Hands on what the command says.
    pub fn pass(&self, message: &str) {
        let is_passed = |line: &&str| line.split_once('=').is_some_and(|(name, _)| PASSED.contains(&name));
        let lines: Vec<_> = message.lines().filter(is_passed).map(NotifyState::Custom).collect();
        if !lines.is_empty() {
            self.send(&lines);
        }
    }

    /// The time until the watchdog is to hear of nsl.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.watchdog.as_ref().map(|watchdog| watchdog.next.saturating_duration_since(now))
    }

    /// Lets it hear, if it is time.
    pub fn beat(&mut self, now: Instant) {
        if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.next <= now) {
            watchdog.next = now + watchdog.interval;
            self.send(&[NotifyState::Watchdog]);
        }
    }

    /// The watchdog hears no more of nsl, and does what it is there for.
    pub fn leave_the_watchdog(&mut self) {
        self.watchdog = None;
    }

    /// In one message. (The crate's own function would wait for a reader.)
    fn send(&self, states: &[NotifyState<'_>]) {
        let message = states.iter().fold(String::new(), |mut message, state| {
            let _ = writeln!(message, "{state}");
            message
        });
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        if let Err(errno) = sendto(self.socket.as_raw_fd(), message.as_bytes(), &self.address, flags) {
            debug!("the service manager does not hear {}: {errno}", message.trim_end());
        }
    }
}

/// A path, or an abstract name behind `@`. What else there may be (`vsock:`) is no affair of a sandbox's.
fn address(name: &OsStr) -> Option<UnixAddr> {
    match name.as_bytes() {
        [b'@', abstract_name @ ..] => UnixAddr::new_abstract(abstract_name).ok(),
        [b'/', ..] => UnixAddr::new(name).ok(),
        _ => None,
    }
}

/// Is this process the one that the manager has started? Older ones do not say.
fn is_own(pid: Option<OsString>) -> bool {
    pid.is_none_or(|pid| pid.to_str().and_then(|pid| pid.parse().ok()) == Some(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    fn manager(watchdog: Option<Duration>) -> (Manager, UnixDatagram) {
        let name = format!("nsl-notify-{}-{:?}", std::process::id(), std::thread::current().id());
        // An abstract one leaves no file.
        let heard = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        heard.set_nonblocking(true).unwrap();
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_NONBLOCK, None).unwrap();
        let address = address(OsStr::new(&format!("@{name}"))).unwrap();
        let watchdog = watchdog.map(|interval| Watchdog { interval, next: Instant::now() });
        (Manager { socket, address, watchdog }, heard)
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 500];
        let length = socket.recv(&mut bytes).unwrap_or_default();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn what_is_said_is_lines_and_one_message() {
        let (manager, heard) = manager(None);
        manager.started(7, true);
        assert_eq!(next(&heard), "STATUS=The command runs, below process 7\nREADY=1\n");
        manager.started(7, false);
        assert_eq!(next(&heard), "STATUS=The command runs, below process 7\n");
        manager.failed("cannot\nREADY=1", Some(Errno::ENOENT));
        assert_eq!(next(&heard), "STATUS=cannot READY=1\nERRNO=2\n");
        manager.pass("MAINPID=5\nREADY=1\nFDSTORE=1\nSTATUS=up\nWATCHDOG=1\nREADYX=1\nX");
        assert_eq!(next(&heard), "READY=1\nSTATUS=up\n");
        manager.pass("MAINPID=5");
        assert_eq!(next(&heard), "");
    }

    #[test]
    fn the_watchdog_hears_at_each_interval_and_nobody_waits_for_a_reader() {
        let second = Duration::from_secs(1);
        let (mut manager, heard) = manager(Some(second));
        let now = Instant::now() + second;
        manager.beat(now);
        assert_eq!((next(&heard), manager.left(now)), ("WATCHDOG=1\n".to_owned(), Some(second)));
        manager.beat(now + second / 2);
        assert_eq!(next(&heard), "");
        // More than the kernel keeps (net.unix.max_dgram_qlen).
        for count in 1..2000 {
            manager.beat(now + second * count);
        }
        manager.leave_the_watchdog();
        assert_eq!(manager.left(now), None);
    }

    #[test]
    fn only_sockets_of_this_machine_are_spoken_to() {
        for name in ["", "relative", "vsock:2:1234"] {
            assert!(address(OsStr::new(name)).is_none(), "{name}");
        }
        assert!(address(OsStr::new("@name")).is_some() && address(OsStr::new("/run/notify")).is_some());
        assert!(is_own(None) && is_own(Some(std::process::id().to_string().into())));
        assert!(!is_own(Some("1".into())) && !is_own(Some("".into())));
    }
}
