//! A terminal with somebody at it: a pty whose slave is the controlling terminal of the process under test, and
//! whose master types, reads and resizes. Every wait has a bound.

use crate::harness::{Invocation, PATIENCE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Keys by their characters.
pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const CTRL_Z: &str = "\x1a";

pub struct Pty {
    master: OwnedFd,
    /// Held, so that the settings can be read when the process has ended.
    slave: OwnedFd,
    child: Child,
    /// All that was shown, and how far `until` has come in it.
    shown: Vec<u8>,
    read: usize,
}

impl Pty {
    /// Starts a command as the leader of a session on a new terminal of 40 rows and 100 columns.
    pub fn start(invocation: Invocation<'_>) -> Self {
        Self::start_with_settings(invocation, &["sane"])
    }

    /// The same on a terminal with these settings, as stty(1) takes them.
    pub fn start_with_settings(invocation: Invocation<'_>, settings: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("open a pty");
        rustix::pty::unlockpt(&master).expect("unlock the pty");
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).expect("open the slave");
        set_size(&master, 40, 100);
        stty(&slave, settings);
        let mut command = invocation.env("TERM", "dumb").prepare();
        let stream = || Stdio::from(slave.try_clone().expect("copy the slave"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // A child of this process leads no group, so that setsid executes the command in its own place.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        session.stdin(stream()).stdout(stream()).stderr(stream());
        let child = session.spawn().expect("start setsid");
        Self { master, slave, child, shown: Vec::new(), read: 0 }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub fn keys(&self, keys: &str) {
        assert_eq!(nix::unistd::write(&self.master, keys.as_bytes()), Ok(keys.len()));
    }

    #[track_caller]
    pub fn line(&self, line: &str) {
        self.keys(&format!("{line}\r"));
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
    }

    /// Reads until `text` is shown, behind what was read before; returns what was shown in between.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let rest = &self.shown[self.read..];
            if let Some(at) = rest.windows(text.len()).position(|window| window == text.as_bytes()) {
                self.read += at + text.len();
                return String::from_utf8_lossy(&rest[..at]).into_owned();
            }
            let goes_on = self.take(100) && start.elapsed() < PATIENCE;
            assert!(goes_on, "{text:?} is not shown, but {:?}", self.all());
        }
    }

    /// Takes what is shown within this many milliseconds; false at a hang-up.
    fn take(&mut self, milliseconds: u16) -> bool {
        let mut master = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut master, PollTimeout::from(milliseconds)) != Ok(0) {
            let mut buffer = [0; 4096];
            match nix::unistd::read(&self.master, &mut buffer) {
                Ok(length) => self.shown.extend_from_slice(&buffer[..length]),
                Err(_) => return false,
            }
        }
        true
    }

    /// All that was shown until now.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Reads until the process has ended; returns its exit code.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            self.take(5);
            if let Some(status) = self.child.try_wait().expect("wait for the command") {
                let mut before = usize::MAX;
                while before != self.shown.len() {
                    before = self.shown.len();
                    self.take(0);
                }
                return code(status);
            }
            assert!(start.elapsed() < PATIENCE, "it does not end; shown: {:?}", self.all());
        }
    }

    /// The terminal goes away; waits for the process and returns its exit code.
    #[track_caller]
    pub fn hang_up(mut self) -> i32 {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").expect("open /dev/null"));
        (self.slave, self.master) = (null(), null());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the command") {
                return code(status);
            }
            assert!(start.elapsed() < PATIENCE, "it does not end when the terminal goes away");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The settings of the terminal, in words.
    pub fn settings(&self) -> String {
        stty(&self.slave, &["-a"])
    }

    /// Has the program taken the terminal over, so that it reads single keys?
    pub fn is_raw(&self) -> bool {
        self.settings().contains("-icanon")
    }

    /// Bytes that wait to be read from the terminal.
    pub fn unread_keys(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.slave).expect("ask for the bytes that wait")
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

fn stty(terminal: &OwnedFd, words: &[&str]) -> String {
    let stdin = terminal.try_clone().expect("copy the terminal");
    let output = Command::new("stty").args(words).stdin(stdin).output().expect("start stty");
    assert!(output.status.success(), "stty {words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("stty prints text")
}

fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).expect("set the size");
}
