//! Starts the command: everything between the new process and its exec, and the reason when one of them fails.

use crate::Failure;
use crate::sys::{self, Vectors};
use core::ffi::CStr;
use nsl_init::path::{self, Candidates};
use nsl_shared::boot::{Credentials, InitStep};
use nsl_shared::signal::SignalSet;
use rustix::fd::BorrowedFd;
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The terminal whose foreground the command gets.
pub enum Terminal<'a> {
    /// This one; it is the session's.
    Given(BorrowedFd<'a>),
    /// The session's, if there is one and this process is in its foreground.
    Found,
}

/// What to start, and as whom.
pub struct Command<'a> {
    pub vectors: &'a Vectors,
    pub mask: SignalSet,
    pub terminal: Option<Terminal<'a>>,
    pub credentials: Option<Credentials>,
    /// What the command may have at most; all bits set leaves capabilities alone.
    pub capabilities: u64,
    pub workdir: Option<&'a CStr>,
    /// Where the working directory can't be entered, start in `/`.
    pub any_workdir: bool,
    /// Close all descriptors but the standard streams.
    pub close_descriptors: bool,
}

/// Starts `command` in a process group of its own and returns its process ID once it has been executed.
pub fn start(command: &Command<'_>) -> Result<i32, Failure> {
    let mut failure = None;
    let pid = sys::vfork(&mut || failure = Some(run(command))).map_err(Failure::at(InitStep::Fork))?;
    match failure {
        None => Ok(pid),
        Some(failure) => Err(failure),
    }
}

/// In the new process, which shares our memory: comes back only if something fails.
fn run(command: &Command<'_>) -> Failure {
    match become_command(command) {
        Err(failure) => failure,
        Ok(()) => execute(command.vectors),
    }
}

fn become_command(command: &Command<'_>) -> Result<(), Failure> {
    // Signals are still blocked, so that taking the foreground can't stop us (SIGTTOU).
    let _ = rustix::process::setpgid(None, None);
    match command.terminal {
        Some(Terminal::Given(terminal)) => take_foreground(terminal).map_err(Failure::at(InitStep::SetTerminal))?,
        Some(Terminal::Found) => take_foreground_if_ours(),
        None => {}
    }
    if command.close_descriptors {
        sys::close_from(3);
    }
    if command.capabilities != u64::MAX {
        bound_capabilities(command.capabilities).map_err(Failure::at(InitStep::SetCapabilities))?;
    }
    if let Some(who) = command.credentials {
        sys::set_credentials(who.uid, who.gid).map_err(Failure::at(InitStep::SetCredentials))?;
    }
    if command.capabilities != u64::MAX {
        keep_capabilities(command.capabilities).map_err(Failure::at(InitStep::SetCapabilities))?;
    }
    if let Some(workdir) = command.workdir {
        // As the user that the command runs as: what that one may not enter is refused here.
        match rustix::process::chdir(workdir) {
            Err(_) if command.any_workdir => {}
            result => result.map_err(Failure::at(InitStep::EnterWorkdir))?,
        }
    }
    sys::default_dispositions();
    sys::set_signal_mask(command.mask);
    Ok(())
}

fn take_foreground(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::termios::tcsetpgrp(terminal, rustix::process::getpid())
}

/// Hands the foreground of the session's terminal to the command, if the init holds it. No terminal is no error.
fn take_foreground_if_ours() {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(c"/dev/tty", flags, Mode::empty());
    let terminal = match &opened {
        Ok(terminal) => rustix::fd::AsFd::as_fd(terminal),
        Err(_) => sys::stream(0),
    };
    let parents_group = rustix::process::getppid().and_then(|parent| rustix::process::getpgid(Some(parent)).ok());
    if parents_group.is_some() && rustix::termios::tcgetpgrp(terminal).ok() == parents_group {
        let _ = take_foreground(terminal);
    }
}

/// Takes what is not in `allowed` out of the bounding set, for ever.
fn bound_capabilities(allowed: u64) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if allowed & capability.bits() != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The first number that the kernel does not know.
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

/// Keeps of the capabilities at hand those in `allowed`. None is inheritable, so none is ambient either.
fn keep_capabilities(allowed: u64) -> Result<(), Errno> {
    let have = rustix::thread::capabilities(None)?;
    let allowed = CapabilitySet::from_bits_retain(allowed);
    let sets = CapabilitySets {
        effective: have.effective & allowed,
        permitted: have.permitted & allowed,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}

/// Executes the command as `execvp(3)` does, and tells why it can't: the errno of the file that came closest.
fn execute(vectors: &Vectors) -> Failure {
    let mut candidates = Candidates::new(vectors.name(), vectors.env(b"PATH"));
    let mut buffer = [0; path::MAX];
    let mut errno = Errno::NOENT;
    while let Some(path) = candidates.next_into(&mut buffer) {
        match vectors.execute(path) {
            // The file is there, so that it is its interpreter that is not.
            Errno::NOENT if rustix::fs::access(path, Access::EXISTS).is_ok() => {
                return Failure { step: InitStep::ExecuteInterpreter, errno: Errno::NOENT };
            }
            Errno::NOENT => {}
            // In one directory of PATH it says nothing of the next.
            Errno::NOTDIR if candidates.searches_path() => {}
            Errno::ACCESS => errno = Errno::ACCESS,
            Errno::NOEXEC if is_script(path) => {
                return Failure { step: InitStep::Execute, errno: vectors.execute_by_shell(path) };
            }
            other => return Failure { step: InitStep::Execute, errno: other },
        }
    }
    Failure { step: InitStep::Execute, errno }
}

/// Is a file that the kernel can't execute a script? As shells decide it: its first line holds no NUL byte.
fn is_script(path: &CStr) -> bool {
    let mut start = [0; 128];
    let Ok(file) = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return true };
    let length = rustix::io::read(&file, &mut start[..]).unwrap_or(0);
    let start = &start[..length];
    let line = start.iter().position(|byte| *byte == b'\n').map_or(start, |end| &start[..end]);
    !line.contains(&0)
}
