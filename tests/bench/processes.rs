//! What /proc tells of processes, and inits that are started to be looked at, not to be timed from outside.

use crate::Result;
use crate::programs::Programs;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

const MYSELF: Pid = Pid::from_raw(0);

pub fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

pub fn child_of(pid: u32) -> Option<u32> {
    children_of(pid).first().copied()
}

/// Name and state of a process, from `/proc/PID/stat`.
pub fn state(pid: u32) -> Option<(String, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    Some((head.split_once('(')?.1.to_owned(), tail.chars().next()?))
}

/// Milliseconds that a process has spent on a CPU (`/proc/PID/schedstat`, in nanoseconds).
pub fn on_cpu(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e6)
}

/// Does `work` with this process, and all that it starts, on the last of its CPUs: then all of the work counts, and
/// where the scheduler puts what does not.
pub fn on_one_cpu<T>(work: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(MYSELF);
    if let Ok(before) = before
        && let Some(cpu) = (0..CpuSet::count()).rev().find(|cpu| before.is_set(*cpu) == Ok(true))
    {
        let mut one = CpuSet::new();
        let _ = one.set(cpu).and_then(|()| sched_setaffinity(MYSELF, &one));
    }
    let done = work();
    if let Ok(before) = before {
        let _ = sched_setaffinity(MYSELF, &before);
    }
    done
}

/// A command that runs, by itself or under an init; it is killed when this value goes.
pub struct Running {
    starter: Child,
    /// Kept open: some commands end with their input.
    _stdin: Option<ChildStdin>,
    /// The other end of the command's standard output.
    pub output: UnixStream,
    /// Who to look at, and to signal.
    pub target: u32,
}

impl Running {
    /// Starts `words` as PID 1 of a new PID namespace; that is the target.
    pub fn as_pid_one(programs: &Programs, words: &[&OsStr], patience: Duration) -> Result<Self> {
        let mut start = Command::new(&programs.floor);
        start.args(["pid", "--"]).args(words);
        Self::start(start, patience, |starter| {
            child_of(starter).ok_or_else(|| "it ended where it had to run".to_owned())
        })
    }

    /// Starts a program that is the target itself.
    pub fn itself(program: &Path, words: &[&OsStr], patience: Duration) -> Result<Self> {
        let mut start = Command::new(program);
        start.args(words);
        Self::start(start, patience, Ok)
    }

    /// `target` is asked once the command has said something, of which the first byte is read here.
    fn start(mut start: Command, patience: Duration, target: impl Fn(u32) -> Result<u32>) -> Result<Self> {
        let failed = |error: std::io::Error| format!("cannot start: {error}");
        let (mut output, theirs) = UnixStream::pair().map_err(failed)?;
        output.set_read_timeout(Some(patience)).map_err(failed)?;
        start.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        start.stdin(Stdio::piped()).stdout(OwnedFd::from(theirs)).stderr(Stdio::null());
        let mut starter = start.spawn().map_err(failed)?;
        // It holds the end that the command is to have alone.
        drop(start);
        let ready = output.read_exact(&mut [0]).map_err(|error| format!("the command does not run: {error}"));
        match ready.and_then(|()| target(starter.id())) {
            Ok(target) => Ok(Self { _stdin: starter.stdin.take(), starter, output, target }),
            Err(error) => {
                end(&mut starter);
                Err(error)
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.starter);
    }
}

/// The init is killed first, all of its namespace with it, so that its starter reaps it and ends by itself.
pub fn end(starter: &mut Child) {
    let killed = child_of(starter.id()).map(|init| kill(Pid::from_raw(init as i32), Signal::SIGKILL));
    if killed != Some(Ok(())) {
        let _ = starter.kill();
    }
    let _ = starter.wait();
}
