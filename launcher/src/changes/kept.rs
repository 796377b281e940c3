//! The directory of changes while a command runs: made or gone on with, locked, and what is noted at the end.

use crate::changes::entry;
use crate::changes::record::{self, Layers, Record};
use crate::changes::{Directory, RUNNING, in_use, open, wait_for_the_last, walk};
use crate::error::{Error, Result};
use crate::hints;
use nix::errno::Errno;
use rustix::fs::{AtFlags, FlockOperation, Mode, XattrFlags};
use rustix::time::{ClockId, clock_gettime};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use tracing::debug;

/// `OVERLAYFS_SUPER_MAGIC`, statfs(2).
const OVERLAY: i64 = 0x794c_7630;
/// How long processes that were killed may take to end, in milliseconds.
const PATIENCE: u16 = 10_000;

/// The directory of `nsl run --changes`, held for as long as the command runs.
pub struct Kept {
    path: PathBuf,
    descriptor: OwnedFd,
    record: Record,
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Kept {
    /// Makes the directory, or goes on with an earlier run's. `path` is absolute and without links.
    pub fn new(path: &Path, user_namespace: bool) -> Result<Self> {
        let layers = if user_namespace { Layers::Directories } else { Layers::Root };
        let step = || format!("keep changes in {}", path.display());
        let made = match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(errno) => return Err(Error::io(step(), &errno.into())),
        };
        let kept = Self::prepare(path, layers, &step);
        if kept.is_err() && made {
            let _ = std::fs::remove_dir(path);
        }
        kept
    }

    fn prepare(path: &Path, layers: Layers, step: &impl Fn() -> String) -> Result<Self> {
        let failed = |errno: rustix::io::Errno| Error::io(step(), &errno.into());
        let descriptor = open(path).map_err(failed)?;
        if rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive).is_err()
            || !wait_for_the_last(descriptor.as_fd(), PATIENCE)
        {
            return Err(in_use(step()));
        }
        let stat = rustix::fs::fstat(&descriptor).map_err(failed)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Error::os(step(), Errno::EPERM).hint("the directory must be your own"));
        }
        can_be_a_layer(descriptor.as_fd(), layers).map_err(|errno| hints::layer(step(), errno))?;
        let record = match Record::read(descriptor.as_fd()).map_err(|error| Error::io(step(), &error))? {
            Some(record) if record.layers != layers => {
                return Err(Error::new(step(), "it has changes made with root, or without, the other way round")
                    .hint("use another directory"));
            }
            Some(record) => record,
            None => {
                let names = entry::names(descriptor.as_fd()).map_err(failed)?;
                if names.iter().any(|name| *name != *format!("{}.new", record::RECORD)) {
                    return Err(Error::os(step(), Errno::ENOTEMPTY)
                        .hint("the directory must be empty, or hold the changes of an earlier run"));
                }
                // What has setuid inside must not be within the reach of others here.
                rustix::fs::fchmod(&descriptor, Mode::RWXU).map_err(failed)?;
                let record = first_record(layers).map_err(|error| Error::io(step(), &error))?;
                record.write(descriptor.as_fd()).map_err(|error| Error::io(step(), &error))?;
                record
            }
        };
        // Inside, the upper layer's root is the root.
        let mode = rustix::fs::stat("/").map_or(0o755, |root| root.st_mode & 0o7777);
        for (name, mode) in [("upper", mode), ("work", 0o700)] {
            make_directory(descriptor.as_fd(), name, Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        wait_for_the_clock(record.started);
        Ok(Self { path: path.to_owned(), descriptor, record })
    }

    /// Notes the sandbox's init, so that nobody uses the directory before it has ended, also if nsl is killed.
    pub fn started(&self, pid: u32) -> Result<()> {
        let stat = procfs::process::Process::new(pid as i32).and_then(|process| process.stat());
        // It has ended already, or is not seen: then the lock has to do.
        let Ok(stat) = stat else { return Ok(()) };
        let noted = record::write(self.as_fd(), RUNNING, format!("{pid} {}\n", stat.starttime).as_bytes());
        noted.map_err(|error| Error::io(format!("keep changes in {}", self.path.display()), &error))
    }

    /// Once all has ended: notes what the host has now where the command changed something.
    pub fn settle(self) {
        let noted = Directory::new(self.path, self.descriptor, self.record, false).and_then(|mut directory| {
            let found = walk::walk(&directory).map_err(|(errno, _)| errno)?;
            directory.remember(&found.changes);
            directory.known.write(directory.descriptor.as_fd())?;
            directory.open_work_directories()?;
            Ok(rustix::fs::unlinkat(&directory.descriptor, RUNNING, AtFlags::empty())?)
        });
        if let Err(error) = noted {
            debug!("what the host has is not noted: {error}");
        }
    }
}

/// Makes a directory with exactly this mode, unless it is there.
fn make_directory(parent: BorrowedFd<'_>, name: &str, mode: Mode) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        result => result.and_then(|()| rustix::fs::chmodat(parent, name, mode, AtFlags::empty())),
    }
}

/// Is the directory on a file system that overlay can write to, with the attributes that it needs?
fn can_be_a_layer(directory: BorrowedFd<'_>, layers: Layers) -> rustix::io::Result<()> {
    if rustix::fs::fstatfs(directory)?.f_type as i64 == OVERLAY {
        return Err(rustix::io::Errno::INVAL);
    }
    let name = match layers {
        Layers::Root => "trusted.overlay.nsl",
        Layers::Directories => "user.overlay.nsl",
    };
    rustix::fs::fsetxattr(directory, name, b"y", XattrFlags::empty())?;
    rustix::fs::fremovexattr(directory, name)
}

fn first_record(layers: Layers) -> std::io::Result<Record> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let now = clock_gettime(ClockId::Realtime);
    Ok(Record {
        started: now.tv_sec * 1_000_000_000 + now.tv_nsec,
        user: rustix::process::geteuid().as_raw(),
        layers,
        id: format!("{:016x}", u64::from_ne_bytes(bytes)),
    })
}

/// The clock that file systems take is some milliseconds behind, one tick of the kernel's. Waits until it is past the
/// start, so that every later change of the host's is told from every earlier one.
fn wait_for_the_clock(started: i64) {
    loop {
        let coarse = clock_gettime(ClockId::RealtimeCoarse);
        let behind = started - (coarse.tv_sec * 1_000_000_000 + coarse.tv_nsec);
        // Farther behind, it was set back: waiting would not help.
        if !(0..1_000_000_000).contains(&behind) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
