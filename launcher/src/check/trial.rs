//! What only a trial tells: `nsl run` itself, or one step of it, in a child. Whatever comes of it, the child ends, and
//! with it all that it made.

use super::Told;
use crate::cli::{self, LogLevel};
use crate::error::{Error, Result};
use crate::log;
use crate::run;
use crate::sys::{self, Side};
use nix::errno::Errno;
use nix::fcntl::OFlag as PipeFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nsl_shared::exit;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How long a sandbox may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// What it says is kept up to this length.
const LONGEST: usize = 16 << 10;

/// What came of one `nsl run`.
pub struct Trial {
    /// Why there was no sandbox, if there was none.
    pub failure: Option<Told>,
    pub warnings: Vec<Told>,
    pub took: Duration,
}

/// Runs `nsl run OPTIONS -- true`, if need be in a network namespace of its own: then it is that one's links, rules and
/// settings that it changes. A root without a program `true` will do.
pub fn run(options: &[&str], in_own_network: bool) -> Result<Trial> {
    let words = ["--no-tty", "--workdir", "/"].iter().chain(options).chain(&["--", "true"]);
    let words: Vec<_> = words.map(OsString::from).collect();
    let run = cli::read_run(&words).map_err(|cause| Error::new("try a sandbox", cause))?;
    let failed = |errno| Error::os("try a sandbox", errno);
    let (words, says) = nix::unistd::pipe2(PipeFlag::O_CLOEXEC).map_err(failed)?;
    let start = Instant::now();
    let flags = if in_own_network { libc::CLONE_NEWNET } else { 0 };
    match sys::clone3(flags as u64, None).map_err(|errno| failed(Errno::from_raw(errno.raw_os_error())))? {
        Side::Child => act(&run, says.as_fd()),
        Side::Parent { pidfd, .. } => {
            drop(says);
            let said = listen(words.as_fd(), start + PATIENCE).map_err(failed)?;
            if said.is_none() {
                let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            }
            let code = wait(pidfd.as_fd()).map_err(failed)?.exit_status();
            Ok(Trial::new(said.as_deref(), code, start.elapsed()))
        }
    }
}

impl Trial {
    /// `said` is nothing if the time was up, `code` if the child was killed.
    fn new(said: Option<&str>, code: Option<i32>, took: Duration) -> Self {
        let Some(said) = said else {
            let failure = Told::new(format!("a sandbox does not come to its end within {} s", PATIENCE.as_secs()));
            return Self { failure: Some(failure), warnings: Vec::new(), took };
        };
        let (mut warnings, mut failure) = (Vec::new(), None);
        for line in said.lines().filter_map(|line| line.strip_prefix("nsl: ")) {
            match line.strip_prefix("warning: ") {
                Some(warning) => warnings.push(Told::parse(warning)),
                None => failure = Some(Told::parse(line)),
            }
        }
        let failure = match code {
            Some(0) => None,
            _ => failure.or_else(|| Some(Told::new("a sandbox was started, and came to no good end"))),
        };
        Self { failure, warnings, took }
    }
}

/// The child's side.
fn act(run: &cli::Run, says: BorrowedFd<'_>) -> ! {
    // It ends with nsl check, and is no business of the terminal's.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::setsid();
    let streams = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).and_then(|null| {
        sys::place(null.as_fd(), 0)?;
        sys::place(says, 1)?;
        sys::place(says, 2)
    });
    let result = match streams {
        Ok(()) => {
            log::start(LogLevel::Warn);
            run::unwatched(run)
        }
        Err(errno) => Err(Error::os("open /dev/null", Errno::from_raw(errno.raw_os_error()))),
    };
    let code = match result {
        Ok(code) => code,
        // The sandbox stood: only its root has no such program.
        Err(error) if [exit::NOT_FOUND, exit::NOT_EXECUTABLE].contains(&error.exit_code()) => 0,
        Err(error) => {
            log::tell(&error.to_string());
            exit::NSL_FAILED
        }
    };
    sys::exit_child(code)
}

/// All that is said until nobody can say anything any more; nothing if that takes too long.
fn listen(from: BorrowedFd<'_>, until: Instant) -> nix::Result<Option<String>> {
    let mut said = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut [PollFd::new(from, PollFlags::POLLIN)], left) {
            Ok(0) => return Ok(None),
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        let mut bytes = [0; 1024];
        match nix::unistd::read(from, &mut bytes) {
            Ok(0) => return Ok(Some(String::from_utf8_lossy(&said).into_owned())),
            Ok(length) => said.extend(&bytes[..length.min(LONGEST.saturating_sub(said.len()))]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Does `work` in a child in the new namespaces `flags` (`CLONE_NEW…`); an error of the clone counts as one of it.
pub fn step(flags: i32, work: impl FnOnce() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    match sys::clone3(flags as u64, None)? {
        Side::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            // No errno is larger than 255 (errno(3)).
            sys::exit_child(work().err().map_or(0, |errno| errno.raw_os_error() as u8))
        }
        Side::Parent { pidfd, .. } => {
            let ended = wait(pidfd.as_fd()).map_err(|errno| rustix::io::Errno::from_raw_os_error(errno as i32))?;
            match ended.exit_status() {
                Some(0) => Ok(()),
                Some(errno) => Err(rustix::io::Errno::from_raw_os_error(errno)),
                None => Err(rustix::io::Errno::INTR),
            }
        }
    }
}

fn wait(child: BorrowedFd<'_>) -> nix::Result<WaitIdStatus> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(child), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Errno::from_raw(errno.raw_os_error())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(said: Option<&str>, code: Option<i32>) -> Trial {
        Trial::new(said, code, Duration::ZERO)
    }

    #[test]
    fn what_a_sandbox_says_is_sorted() {
        let said = "nsl: warning: the root is read-only (hint: -v)\nsomebody else\n";
        let Trial { failure, warnings, .. } = trial(Some(said), Some(0));
        assert_eq!((failure, warnings), (None, vec![Told::new("the root is read-only").mend("-v")]));
        let failed = trial(Some("nsl: warning: one\nnsl: cannot fly: no wings\n"), Some(125));
        assert_eq!((failed.failure, failed.warnings.len()), (Some(Told::new("cannot fly: no wings")), 1));
    }

    #[test]
    fn no_end_and_a_bad_one_are_failures() {
        assert!(trial(None, None).failure.is_some_and(|told| told.finding.contains("20 s")));
        for code in [None, Some(137), Some(124)] {
            assert!(trial(Some(""), code).failure.is_some(), "{code:?}");
        }
    }
}
