//! What a command changed of the host's files, kept in a directory: the directory itself, its lock and its record, and
//! `nsl diff` and `nsl apply`, which read it.
//!
//! The directory holds `upper` and `work`, the layers of the overlay, and notes of nsl's own. Whoever uses it holds a
//! lock on it, which ends with the process.

mod apply;
mod check;
mod entry;
mod hunks;
mod kept;
mod list;
mod patch;
mod place;
mod put;
mod record;
mod select;
mod walk;

pub use kept::Kept;

use crate::cli::{Apply, Diff};
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use record::{Interrupted, Key, Known, Layers, Record};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use select::Selection;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use tracing::warn;

/// Tells whose process runs in it: its number and when it started.
const RUNNING: &str = "running";

/// `nsl diff`; returns the exit code.
pub fn diff(arguments: &Diff) -> Result<u8> {
    let directory = Directory::open(&arguments.directory, FlockOperation::NonBlockingLockShared)?;
    if directory.is_running {
        warn!("a command runs in {} still: its changes may come and go", arguments.directory.display());
    }
    let found = directory.walk(&arguments.paths)?;
    list::print(&directory, &found, arguments)?;
    Ok(u8::from(arguments.exit_code && !found.changes.is_empty()))
}

/// `nsl apply`; returns the exit code.
pub fn apply(arguments: &Apply) -> Result<u8> {
    let directory = Directory::open(&arguments.directory, FlockOperation::NonBlockingLockExclusive)?;
    apply::apply(directory, arguments)
}

/// A directory of changes, and the lock on it.
pub struct Directory {
    /// Absolute, without links.
    path: PathBuf,
    descriptor: OwnedFd,
    upper: OwnedFd,
    root: OwnedFd,
    record: Record,
    known: Known,
    /// What an apply had begun when it was stopped.
    interrupted: Interrupted,
    was_interrupted: bool,
    /// A command, or another nsl, works in it.
    is_running: bool,
}

impl Directory {
    /// Opens one that a run has made. A shared lock that cannot be had is done without.
    fn open(path: &Path, lock: FlockOperation) -> Result<Self> {
        let failed = |error: std::io::Error| Error::io(format!("read the changes in {}", path.display()), &error);
        let absolute = std::fs::canonicalize(path).map_err(failed)?;
        let descriptor = open(&absolute).map_err(|errno| failed(errno.into()))?;
        let is_running = match rustix::fs::flock(&descriptor, lock) {
            Ok(()) => !wait_for_the_last(descriptor.as_fd(), 0),
            Err(_) => true,
        };
        if is_running && lock == FlockOperation::NonBlockingLockExclusive {
            return Err(in_use(format!("apply the changes in {}", path.display())));
        }
        let Some(record) = Record::read(descriptor.as_fd()).map_err(failed)? else {
            let error = Error::new(format!("read the changes in {}", path.display()), "there are none");
            return Err(error.hint("nsl run --changes DIR makes such a directory"));
        };
        Self::new(absolute, descriptor, record, is_running).map_err(failed)
    }

    fn new(path: PathBuf, descriptor: OwnedFd, record: Record, is_running: bool) -> std::io::Result<Self> {
        let upper = entry::open_directory(descriptor.as_fd(), Path::new("upper"))?;
        let root = open(Path::new("/"))?;
        let known = Known::read(descriptor.as_fd())?;
        let interrupted = Interrupted::read(descriptor.as_fd())?;
        let was_interrupted = interrupted.is_some();
        let interrupted = interrupted.unwrap_or_default();
        Ok(Self { path, descriptor, upper, root, record, known, interrupted, was_interrupted, is_running })
    }

    fn walk(&self, paths: &[PathBuf]) -> Result<walk::Found> {
        let selection = Selection::new(paths)?;
        let mut found = walk::walk(self).map_err(|(errno, path)| {
            let step = format!("read what was changed at {}", list::quoted(&path));
            Error::os(step, Errno::from_raw(errno.raw_os_error()))
        })?;
        selection.apply(&mut found)?;
        Ok(found)
    }

    /// The directory's own path, relative to `/`, and with it all that is no change.
    fn own_path(&self) -> &Path {
        self.path.strip_prefix("/").unwrap_or(&self.path)
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

fn in_use(step: String) -> Error {
    Error::new(step, "a command still runs in it, or another nsl works there").hint("wait until that has ended")
}

/// Waits for the last init that ran in the directory, and with it all of its sandbox; true if it has ended. Only one
/// whose nsl was killed can still be there.
fn wait_for_the_last(directory: BorrowedFd<'_>, patience: u16) -> bool {
    let Ok(Some(text)) = record::read(directory, RUNNING) else { return true };
    let text = String::from_utf8_lossy(&text).into_owned();
    let Some((pid, started)) = text.trim().split_once(' ') else { return true };
    let (Ok(pid), Ok(started)) = (pid.parse::<i32>(), started.parse::<u64>()) else { return true };
    let Some(process) = rustix::process::Pid::from_raw(pid) else { return true };
    // Opened first: what is read afterwards is of the same process, if it is there at all.
    let Ok(pidfd) = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()) else { return true };
    let is_same = procfs::process::Process::new(pid).and_then(|process| process.stat());
    if !is_same.is_ok_and(|stat| stat.starttime == started) {
        return true;
    }
    nix::poll::poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], patience) == Ok(1)
}

impl Directory {
    /// Overlay leaves directories that a user could not remove: nobody has a right in them.
    fn open_work_directories(&self) -> rustix::io::Result<()> {
        if self.record.layers == Layers::Root {
            return Ok(());
        }
        let work = entry::open_directory(self.descriptor.as_fd(), Path::new("work"))?;
        for name in entry::names(work.as_fd())? {
            let path = Path::new(&name).join("work");
            match rustix::fs::chmodat(&work, &path, Mode::RWXU, AtFlags::empty()) {
                Err(rustix::io::Errno::NOENT) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Notes what the host has in the places of these changes, and the directories that they are in, but for what
    /// somebody changed since the first run.
    fn remember(&mut self, changes: &[walk::Change]) {
        let mut last = None;
        for change in changes {
            if let Some(old) = &change.old
                && check::conflict(self, change).is_none()
            {
                self.known.0.insert(change.path.clone(), Key::of(&old.stat));
            }
            // An apply changes their times.
            if last.replace(change.path.parent()) == Some(change.path.parent()) {
                continue;
            }
            let (Some(parent), root) = (change.path.parent(), self.root.as_fd()) else { continue };
            let (Some(above), Some(name)) = (parent.parent(), parent.file_name()) else { continue };
            let Ok(above) = entry::enter_directory(root, above) else { continue };
            if let Ok(Some(entry)) = entry::Entry::read(above.as_fd(), name)
                && check::is_settled(self, parent, &entry)
            {
                self.known.0.insert(parent.to_owned(), Key::of(&entry.stat));
            }
        }
    }
}
