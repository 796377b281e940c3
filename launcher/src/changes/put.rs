//! What is done to one entry of the host's: made, dressed with its metadata, given its name, removed. In which order,
//! and what stands against it, is decided elsewhere.

use crate::changes::entry::{self, Entry};
use crate::changes::record::Key;
use crate::changes::walk::Change;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

type Result<T> = rustix::io::Result<T>;

/// Makes what is neither a file nor a directory.
pub fn make(new: &Entry, parent: BorrowedFd<'_>, temporary: &OsStr) -> Result<()> {
    match (&new.target, new.file_type()) {
        (Some(target), _) => rustix::fs::symlinkat(OsStr::from_bytes(target), parent, temporary)?,
        (None, kind) => rustix::fs::mknodat(parent, temporary, kind, Mode::RUSR | Mode::WUSR, new.stat.st_rdev)?,
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, temporary, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&made)?;
    // Whoever may write to the directory could have put another one there.
    if FileType::from_raw_mode(stat.st_mode) != new.file_type() || stat.st_nlink != 1 {
        return Err(Errno::STALE);
    }
    dress(made.as_fd(), new, new.mode())
}

/// Gives the temporary entry its name. What had it before, if it is still what was seen, is gone then.
pub fn exchange(
    change: &Change,
    parent: BorrowedFd<'_>,
    temporary: &OsStr,
    begin: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    let name = change.path.file_name().ok_or(Errno::INVAL)?;
    if !is_as_seen(parent, name, change.old.as_ref())? {
        return Err(Errno::STALE);
    }
    let is_directory = |entry: &Option<Entry>| entry.as_ref().is_some_and(Entry::is_directory);
    if change.old.is_none() {
        match rustix::fs::renameat_with(parent, temporary, parent, name, RenameFlags::NOREPLACE) {
            // A file system that cannot.
            Err(Errno::INVAL) => rustix::fs::renameat(parent, temporary, parent, name),
            result => result,
        }
    } else if is_directory(&change.old) || is_directory(&change.new) {
        match rustix::fs::renameat_with(parent, temporary, parent, name, RenameFlags::EXCHANGE) {
            // A directory of an overlay's lower layer, which has no other name.
            Err(Errno::XDEV | Errno::INVAL) => {
                begin(&change.path)?;
                remove_all(parent, name)?;
                rustix::fs::renameat(parent, temporary, parent, name)
            }
            exchanged => exchanged.and_then(|()| remove_all(parent, temporary)),
        }
    } else {
        rustix::fs::renameat(parent, temporary, parent, name)?;
        // If both were names of one file already, both still are.
        match change.link.map(|_| rustix::fs::unlinkat(parent, temporary, AtFlags::empty())) {
            None | Some(Err(Errno::NOENT)) => Ok(()),
            Some(result) => result,
        }
    }
}

pub fn is_as_seen(parent: BorrowedFd<'_>, name: &OsStr, old: Option<&Entry>) -> Result<bool> {
    let now = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => None,
        result => Some(result?),
    };
    Ok(now.map(|now| Key::of(&now)) == old.map(|old| Key::of(&old.stat)))
}

/// The file behind a descriptor, of whatever kind, for calls that want a path.
pub fn itself(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Owner, attributes, mode and times, in this order: a new owner takes setuid and capabilities away.
pub fn dress(file: BorrowedFd<'_>, new: &Entry, mode: u32) -> Result<()> {
    let itself = &*itself(file);
    let stat = rustix::fs::fstat(file)?;
    let (uid, gid) = (new.stat.st_uid, new.stat.st_gid);
    if (stat.st_uid, stat.st_gid) != (uid, gid) {
        use rustix::fs::{Gid, Uid};
        rustix::fs::chownat(CWD, itself, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::empty())?;
    }
    for name in entry::xattrs_of(Path::new(itself))?.keys() {
        if !entry::is_foreign(name) && !new.xattrs.contains_key(name) {
            rustix::fs::removexattr(itself, OsStr::from_bytes(name))?;
        }
    }
    for (name, value) in &new.xattrs {
        rustix::fs::setxattr(itself, OsStr::from_bytes(name), value, XattrFlags::empty())?;
    }
    if new.file_type() != FileType::Symlink {
        rustix::fs::chmod(itself, Mode::from_raw_mode(mode))?;
    }
    if new.is_directory() { Ok(()) } else { rustix::fs::utimensat(CWD, itself, &times(&new.stat), AtFlags::empty()) }
}

/// Gives a directory of the host's the times of the upper layer's, if both are there.
pub fn set_times(root: BorrowedFd<'_>, upper: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let (Ok(directory), Ok(new)) = (entry::enter_directory(root, path), entry::enter_directory(upper, path)) else {
        return Ok(());
    };
    let new = rustix::fs::fstat(&new)?;
    rustix::fs::utimensat(CWD, itself(directory.as_fd()), &times(&new), AtFlags::empty())
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as i64 },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as i64 },
    }
}

/// Removes an entry and all that is in it. EXDEV if something is mounted there.
pub fn remove_all(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return result,
    }
    let directory = entry::open_directory(parent, Path::new(name))?;
    for name in entry::names(directory.as_fd())? {
        remove_all(directory.as_fd(), &name)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
