//! The caller's terminal and the command's streams: raw mode and back, the window's size, the bytes in between.
//!
//! No descriptor of a terminal of the host's enters a sandbox: the command has a pty of its own, or pipes.

use crate::signals::stop_self;
use crate::spawn::{Init, Stream};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{LocalFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The settings of the caller's terminal as they were: a panic must find them too.
static SETTINGS: Mutex<Option<Termios>> = Mutex::new(None);

/// The caller's terminal while the command has a pty.
pub struct Terminal {
    master: OwnedFd,
    is_raw: bool,
}

impl Terminal {
    /// Makes the pty like the caller's terminal, and joins the two.
    pub fn new(master: OwnedFd) -> Result<(Self, Vec<Relay>), Errno> {
        let settings = tcgetattr(std::io::stdin())?;
        tcsetattr(&master, SetArg::TCSANOW, &settings)?;
        keep(settings, restore);
        set_nonblocking(master.as_fd())?;
        let relays = vec![
            Relay::new(std::io::stdin().as_fd().try_clone_to_owned().map_err(io)?, master.try_clone().map_err(io)?),
            Relay::output(master.try_clone().map_err(io)?, 1)?,
        ];
        let terminal = Self { master, is_raw: false };
        terminal.copy_size();
        Ok((terminal, relays))
    }

    /// Hands every key on as it is: the pty makes lines, echo and signals of them.
    pub fn enter(&mut self) {
        if let Some(settings) = &*saved() {
            let mut raw = settings.clone();
            cfmakeraw(&mut raw);
            self.is_raw = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &raw).is_ok();
        }
    }

    /// Gives the terminal back as it was.
    pub fn leave(&mut self) {
        if std::mem::take(&mut self.is_raw) {
            restore();
        }
    }

    /// The size of the caller's window becomes the pty's; the kernel tells the foreground inside (SIGWINCH).
    pub fn copy_size(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdin()) {
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
    }
}

fn saved() -> MutexGuard<'static, Option<Termios>> {
    SETTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps settings to come back to, also from a panic.
pub fn keep(settings: Termios, restore: fn()) {
    *saved() = Some(settings);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        hook(panic);
    }));
}

/// Comes back to them.
pub fn restore() {
    if let Some(settings) = &*saved() {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, settings);
    }
}

/// The streams of a command with a pty: the pty where the caller has a terminal, else the caller's own.
pub fn pty_streams() -> [Stream; 3] {
    let stderr = if std::io::stderr().is_terminal() { Stream::Terminal } else { Stream::Inherited };
    [Stream::Terminal, Stream::Terminal, stderr]
}

/// The streams of a command without a pty: a pipe where the caller has a terminal, else the caller's own.
pub fn plain_streams() -> Result<([Stream; 3], Vec<Relay>), Errno> {
    let mut relays = Vec::new();
    let mut stream = |number: i32, is_terminal: bool| {
        if !is_terminal {
            return Ok(Stream::Inherited);
        }
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        if number == 0 {
            set_nonblocking(write.as_fd())?;
            let terminal = std::io::stdin().as_fd().try_clone_to_owned().map_err(io)?;
            relays.push(Relay { shared: true, ..Relay::new(terminal, write) });
            Ok(Stream::Pipe(read))
        } else {
            relays.push(Relay::output(read, number)?);
            Ok(Stream::Pipe(write))
        }
    };
    let streams = [
        stream(0, std::io::stdin().is_terminal())?,
        stream(1, std::io::stdout().is_terminal())?,
        stream(2, std::io::stderr().is_terminal())?,
    ];
    Ok((streams, relays))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn io(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn set_nonblocking(descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Stops the command, gives the terminal back, stops; and the other way round when continued.
pub fn suspend(init: &Init, terminal: &mut Option<Terminal>) {
    init.signal(libc::SIGTSTP);
    if let Some(terminal) = terminal {
        terminal.leave();
    }
    stop_self();
    if let Some(terminal) = terminal {
        terminal.enter();
        terminal.copy_size();
    }
    init.signal(libc::SIGCONT);
}

/// Bytes on their way in one direction.
pub struct Relay {
    from: OwnedFd,
    /// Closed when there is no more to come, so that the reader sees the end.
    to: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// Does this relay carry output of the command's?
    is_output: bool,
    /// `from` is a terminal that others may read as well, a pager behind the command for one.
    shared: bool,
}

const BUFFER: usize = 64 * 1024;
/// How often what is left of the output is read at most.
const MOST_READS: u32 = 64;
/// How often a terminal that others read is looked at again, in milliseconds.
pub const PAUSE: u8 = 100;

impl Relay {
    fn new(from: OwnedFd, to: OwnedFd) -> Self {
        Self { from, to: Some(to), buffer: Vec::new(), is_output: false, shared: false }
    }

    /// From the command to stream `number` of the launcher's. That is opened anew where it can be: not to block is a
    /// property of an open file, and the caller's must stay as it is.
    fn output(from: OwnedFd, number: i32) -> Result<Self, Errno> {
        let anew = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(format!("/proc/self/fd/{number}"));
        let to = match anew {
            Ok(file) => file.into(),
            Err(_) if number == 1 => std::io::stdout().as_fd().try_clone_to_owned().map_err(io)?,
            Err(_) => std::io::stderr().as_fd().try_clone_to_owned().map_err(io)?,
        };
        Ok(Self { is_output: true, ..Self::new(from, to) })
    }

    /// May bytes be taken now? A shared terminal is read only in the foreground, and only while it makes lines:
    /// whoever has switched that off reads it himself.
    pub fn is_paused(&self) -> bool {
        self.shared
            && self.buffer.is_empty()
            && !(tcgetattr(&self.from).is_ok_and(|settings| settings.local_flags.contains(LocalFlags::ICANON))
                && nix::unistd::tcgetpgrp(&self.from) == Ok(nix::unistd::getpgrp()))
    }

    /// What to wait for; nothing once both ends are done with.
    pub fn interest(&self) -> Option<PollFd<'_>> {
        let to = self.to.as_ref()?;
        Some(if self.buffer.is_empty() {
            PollFd::new(self.from.as_fd(), PollFlags::POLLIN)
        } else {
            PollFd::new(to.as_fd(), PollFlags::POLLOUT)
        })
    }

    /// Moves what can be moved.
    pub fn step(&mut self) {
        if self.buffer.is_empty() {
            self.buffer.resize(BUFFER, 0);
            match nix::unistd::read(&self.from, &mut self.buffer) {
                Err(Errno::EAGAIN | Errno::EINTR) => self.buffer.clear(),
                // A pty whose last slave is closed says EIO.
                Ok(0) | Err(_) => {
                    self.buffer.clear();
                    self.to = None;
                }
                Ok(length) => self.buffer.truncate(length),
            }
        }
        let Some(to) = &self.to else { return };
        if !self.buffer.is_empty() {
            match nix::unistd::write(to, &self.buffer) {
                Ok(length) => drop(self.buffer.drain(..length)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // Nobody reads it any more. The command finds out by its own end of the pipe, or by a hang-up.
                Err(_) => {
                    self.buffer.clear();
                    self.to = None;
                }
            }
        }
    }

    /// Hands on what there is of the command's output, when others that could write may live on: as much as the pipe, or
    /// the pty, holds.
    pub fn empty(&mut self) {
        // A pty gives 4 KiB at a time, of some 70.
        for _ in 0..MOST_READS {
            if !self.is_output {
                return;
            }
            // What has been read is written, however long that takes.
            let patience = if self.buffer.is_empty() { PollTimeout::ZERO } else { PollTimeout::NONE };
            let Some(interest) = self.interest() else { return };
            if nix::poll::poll(&mut [interest], patience) == Ok(0) {
                return;
            }
            self.step();
        }
    }

    /// Hands on the rest of the command's output, when all that could write has ended.
    pub fn drain(&mut self) {
        while self.is_output {
            let Some(interest) = self.interest() else { return };
            let mut interest = [interest];
            let _ = nix::poll::poll(&mut interest, PollTimeout::NONE);
            self.step();
        }
    }
}
