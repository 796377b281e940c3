//! What lies in the new root is found and made here, through descriptors, with resolution confined to it: no link in a
//! hostile root leads out.

use super::Assembly;
use super::mount::Result;
use crate::confined;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub const ALL_USERS: Mode = Mode::from_raw_mode(0o1777);
pub const DIRECTORY: Mode = Mode::from_raw_mode(0o755);
pub const FILE: Mode = Mode::from_raw_mode(0o644);

impl Assembly<'_> {
    pub(super) fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::NOENT)
    }

    /// Opens `path`, resolved inside the new root, whatever links lie on the way.
    pub(super) fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        confined::open(self.root()?, path, flags, mode)
    }

    /// The directory `path` of the new root, made if it is not there, parents included.
    pub(super) fn directory(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        let (parent, name) = split(path)?;
        let parent = self.directory(parent)?;
        self.may_write_in(&parent)?;
        make_directory(parent, Path::new(name), DIRECTORY)?;
        self.open(path, flags, Mode::empty())
    }

    /// Where changes are kept, what nsl made in a layer would look like the command's.
    fn may_write_in(&self, directory: &OwnedFd) -> Result<()> {
        const OVERLAY: u64 = 0x794c_7630;
        if self.kept.is_some() && rustix::fs::fstatfs(directory)?.f_type as u64 == OVERLAY {
            return Err(Errno::NOENT);
        }
        Ok(())
    }

    /// The file `path` of the new root, made empty if it is not there.
    pub(super) fn file(&self, path: &Path) -> Result<OwnedFd> {
        match self.open(path, OFlags::PATH, Mode::empty()) {
            Err(Errno::NOENT) => {}
            Ok(found) if is_directory(&found)? => return Err(Errno::ISDIR),
            result => return result,
        }
        self.may_write_in(&self.directory(split(path)?.0)?)?;
        // A fifo that has just been put there keeps nobody waiting.
        self.open(path, OFlags::CREATE | OFlags::RDONLY | OFlags::NONBLOCK, FILE)
    }

    /// Attaches a mount that was asked for.
    pub(super) fn cover(&self, target: &OwnedFd, mount: &OwnedFd) -> Result<()> {
        // A link in the root can lead there.
        if is_same(target, self.root()?)? {
            return Err(Errno::BUSY);
        }
        self.mounts.attach(mount, target, "")
    }

    /// A directory in the root itself that is really one: a link there would lead a mount astray.
    pub(super) fn mount_point(&self, name: &str) -> Result<OwnedFd> {
        self.directory(name)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.root()?, name, flags, Mode::empty())
    }
}

/// The parent of a path relative to the root, and its last part.
fn split(path: &Path) -> Result<(PathBuf, &OsStr)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")).to_path_buf(), name))
}

pub fn is_directory(file: &OwnedFd) -> Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory)
}

pub fn is_same(one: impl AsFd, other: impl AsFd) -> Result<bool> {
    let [one, other] = [rustix::fs::fstat(one)?, rustix::fs::fstat(other)?];
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Makes a directory, unless it is there.
pub fn make_directory(parent: impl AsFd, path: &Path, mode: Mode) -> Result<()> {
    match rustix::fs::mkdirat(parent, path, mode) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}
