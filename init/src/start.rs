//! Starts the command: everything between the new process and its exec, and the reason when one of them fails.

use crate::Failure;
use crate::confine;
use crate::sys::{self, Vectors};
use crate::terminal;
use core::ffi::CStr;
use nsl_init::cli::Home;
use nsl_init::message::Line;
use nsl_init::number;
use nsl_init::path::{self, Candidates};
use nsl_shared::boot::{InitStep, Message};
use nsl_shared::signal::{Signal, SignalSet};
use rustix::fd::BorrowedFd;
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// What to start, and as whom.
pub struct Command<'a> {
    pub vectors: &'a Vectors,
    pub mask: SignalSet,
    pub home: Home,
    /// The terminal whose foreground the command must get; without one it gets that of the session, if the init has it.
    pub terminal: Option<BorrowedFd<'a>>,
    /// What the command keeps of the dispositions that the init inherited, or nothing: then all are the default.
    pub dispositions: Option<Kept>,
    /// What a sandbox takes from it; nothing outside of one.
    pub boot: Option<&'a Message<'static>>,
    /// It joins a sandbox whose processes see it, but not this one.
    pub joined: bool,
}

/// The dispositions that were inherited, all of which are still in place but for SIGCHLD's.
#[derive(Clone, Copy)]
pub struct Kept {
    /// Was SIGCHLD ignored?
    pub ignores_chld: bool,
}

/// A command that runs.
pub struct Started {
    pub pid: i32,
    /// It got the foreground of the session's terminal from the init.
    pub foreground: bool,
}

/// Starts `command` and returns once it has been executed. A failure comes with the ID of the process that was to
/// become the command, 0 if there was none.
pub fn start(command: &Command<'_>) -> Result<Started, (Failure, i32)> {
    let init = rustix::process::getpid();
    let place = Place::of(command);
    let mut failure = None;
    // Where others can see the new process, and perhaps trace it, it has no hand in the memory of this one, which is out
    // of their sight.
    let run = &mut || {
        let failed = run(command, init, place);
        if command.joined {
            crate::report_failure(&failed);
        }
        failure = Some(failed);
    };
    let pid = sys::vfork(run, !command.joined).map_err(|errno| (Failure { step: InitStep::Fork, errno }, 0))?;
    match failure {
        None => Ok(Started { pid, foreground: matches!(place, Place::Foreground(_)) }),
        Some(failure) => Err((failure, pid)),
    }
}

/// Where the command comes to live.
#[derive(Clone, Copy)]
enum Place {
    Shared,
    Session,
    /// In a process group of its own.
    Background,
    /// The same, to which this group of the init's passes the foreground.
    Foreground(Pid),
}

impl Place {
    fn of(command: &Command<'_>) -> Self {
        match command.home {
            Home::Shared => Self::Shared,
            Home::Session => Self::Session,
            // Under nsl the session is the init's own, and its terminal, if it has one, is the one given.
            Home::Group if command.terminal.is_some() || command.boot.is_some() => Self::Background,
            Home::Group => match sys::own_group() {
                Some(group) if terminal::is_foreground(group) => Self::Foreground(group),
                // Nobody can tell if that group is the init's, nor give the foreground back to it. In the init's group
                // the command has what the init has.
                None if terminal::is_outside() => Self::Shared,
                _ => Self::Background,
            },
        }
    }
}

/// In the new process, which shares our memory: comes back only if something fails.
fn run(command: &Command<'_>, init: Pid, place: Place) -> Failure {
    let mut step = InitStep::SetTerminal;
    if let Err(errno) = become_command(command, place, &mut step) {
        return Failure { step, errno };
    }
    // Whoever handed sockets to the init meant the command (sd_listen_fds(3)).
    let mut buffer = [0; 32];
    let mut entry = Line::new(&mut buffer);
    if command
        .vectors
        .variable(LISTEN_PID)
        .is_some_and(|pid| number::read(pid) == u32::try_from(init.as_raw_pid()).ok())
    {
        entry.push(b"LISTEN_PID=");
        entry.push_number(rustix::process::getpid().as_raw_pid());
        entry.push(b"\0");
        if let Some(entry) = sys::c_str(entry.as_bytes()) {
            command.vectors.replace(LISTEN_PID, entry);
        }
    }
    execute(command.vectors)
}

const LISTEN_PID: &[u8] = b"LISTEN_PID";

/// All but the exec; `step` is the one that failed, if one does.
fn become_command(command: &Command<'_>, place: Place, step: &mut InitStep) -> Result<(), Errno> {
    let own = rustix::process::getpid();
    match place {
        Place::Shared => {}
        Place::Session => {
            let _ = rustix::process::setsid();
            let _ = rustix::process::ioctl_tiocsctty(sys::descriptor(0));
        }
        Place::Background | Place::Foreground(_) => {
            let _ = rustix::process::setpgid(None, None);
        }
    }
    // Signals are still blocked, so that taking the foreground can't stop us (SIGTTOU).
    if let Place::Foreground(group) = place {
        terminal::pass_foreground(group, own);
    }
    if let Some(terminal) = command.terminal {
        rustix::termios::tcsetpgrp(terminal, own)?;
    }
    if let Some(boot) = command.boot {
        confine::confine(boot, step)?;
    }
    if command.joined {
        // A PID 1 takes all along that it started. Not before: a change of the user takes it away.
        sys::set_parent_death_signal(Signal::KILL);
    }
    match command.dispositions {
        None => sys::default_dispositions(),
        Some(Kept { ignores_chld }) => {
            sys::set_ignored(Signal::CHLD, ignores_chld);
        }
    }
    sys::set_signal_mask(command.mask);
    *step = InitStep::Restrict;
    command.boot.map_or(Ok(()), confine::finish)
}

/// Executes the command as `execvp(3)` does, and tells why it can't: the errno of the file that came closest.
fn execute(vectors: &Vectors) -> Failure {
    let mut candidates = Candidates::new(vectors.name(), vectors.variable(b"PATH"));
    let mut buffer = [0; path::MAX];
    let mut errno = Errno::NOENT;
    while let Some(path) = candidates.next_into(&mut buffer).and_then(sys::c_str) {
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
