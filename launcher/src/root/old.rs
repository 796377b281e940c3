//! What mount(2) can do of `mount`: a mount that is not attached yet waits in a directory of the scratch tmpfs, and what
//! is held by a descriptor is named by its link in a procfs beside it. All of that goes with the old root.

use super::inside::is_directory;
use super::mount::{NOSUID_NODEV, Options, Result, SCRATCH};
use rustix::fs::{CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags};
use std::cell::Cell;
use std::ffi::{CString, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A directory for what waits, and a procfs.
const WAITING: &str = "/proc/old";
const DESCRIPTORS: &str = "/proc/old/proc/self/fd";
const PROC: &str = "/proc/old/proc";
const MOUNTS: &str = "/proc/old/proc/self/mountinfo";

/// The attributes that MOUNT_ATTR_…, MS_… and ST_… have the same bits for.
const ATTRIBUTES: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_RDONLY.union(NOSUID_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

pub struct Old {
    /// The number of the next that waits.
    next: Cell<u32>,
}

impl Old {
    /// Makes its two places, in the scratch tmpfs; this one first, if need be.
    pub fn new(has_scratch: bool) -> Result<Self> {
        if !has_scratch {
            rustix::mount::mount("tmpfs", SCRATCH, "tmpfs", flags(NOSUID_NODEV), c"mode=755")?;
        }
        for place in [WAITING, PROC] {
            rustix::fs::mkdir(place, Mode::from_raw_mode(0o755))?;
        }
        rustix::mount::mount("proc", PROC, "proc", flags(ATTRIBUTES - MountAttrFlags::MOUNT_ATTR_RDONLY), None)?;
        Ok(Self { next: Cell::new(0) })
    }

    pub fn create(&self, kind: &str, options: &Options<'_>, attributes: MountAttrFlags) -> Result<OwnedFd> {
        let words: Vec<_> = options
            .iter()
            .map(
                |(key, value)| {
                    if value.is_empty() { key.as_bytes().to_vec() } else { [key.as_bytes(), b"=", value].concat() }
                },
            )
            .collect();
        let data = CString::new(words.join(&b',')).map_err(|_| Errno::INVAL)?;
        let place = self.place(true)?;
        rustix::mount::mount(kind, &place, kind, flags(attributes), &*data)?;
        hold(&place)
    }

    pub fn copy(&self, directory: BorrowedFd<'_>, path: &Path, whole_tree: bool) -> Result<OwnedFd> {
        let source = named(directory, path);
        let kind = FileType::from_raw_mode(rustix::fs::stat(&source)?.st_mode);
        let place = self.place(kind == FileType::Directory)?;
        if whole_tree {
            rustix::mount::mount_bind_recursive(&source, &place)?;
        } else {
            rustix::mount::mount_bind(&source, &place)?;
        }
        hold(&place)
    }

    #[expect(clippy::unused_self, reason = "the names are there from `new` on")]
    pub fn attach(&self, mount: &OwnedFd, directory: BorrowedFd<'_>, path: &Path) -> Result<()> {
        rustix::mount::mount_move(itself(mount), named(directory, path))
    }

    #[expect(clippy::unused_self, reason = "the names are there from `new` on")]
    pub fn change(&self, mount: &OwnedFd, set: MountAttrFlags, clear: MountAttrFlags) -> Result<()> {
        change(&itself(mount), set, clear)
    }

    /// Brought to a place of a known name first: it may come from open_tree(2), and be nowhere.
    pub fn restrict_tree(&self, tree: &OwnedFd, attributes: MountAttrFlags) -> Result<()> {
        let place = self.place(is_directory(tree)?)?;
        rustix::mount::mount_move(itself(tree), &place)?;
        let mounts = std::fs::read(MOUNTS).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let points = mounts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
        for point in points.map(unescaped).filter(|point| point.starts_with(&place)) {
            change(&point, attributes, MountAttrFlags::empty())?;
        }
        Ok(())
    }

    /// A new directory or file to mount on.
    fn place(&self, is_directory: bool) -> Result<PathBuf> {
        let number = self.next.replace(self.next.get() + 1);
        let place = Path::new(WAITING).join(number.to_string());
        if is_directory {
            rustix::fs::mkdir(&place, Mode::from_raw_mode(0o755))?;
        } else {
            rustix::fs::mknodat(CWD, &place, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)?;
        }
        Ok(place)
    }
}

fn flags(attributes: MountAttrFlags) -> MountFlags {
    MountFlags::from_bits_retain((attributes & ATTRIBUTES).bits())
}

/// A name for what a descriptor holds; whoever looks it up is led there by no link but that one.
fn itself(held: &OwnedFd) -> PathBuf {
    Path::new(DESCRIPTORS).join(held.as_raw_fd().to_string())
}

/// A name for `path`, from `directory` on; the working directory needs none.
fn named(directory: BorrowedFd<'_>, path: &Path) -> PathBuf {
    if directory.as_raw_fd() == CWD.as_raw_fd() {
        return path.to_path_buf();
    }
    let directory = Path::new(DESCRIPTORS).join(directory.as_raw_fd().to_string());
    if path.as_os_str().is_empty() { directory } else { directory.join(path) }
}

fn hold(place: &Path) -> Result<OwnedFd> {
    rustix::fs::open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// What the mount has stays: a user namespace may not take it away.
fn change(mount: &Path, set: MountAttrFlags, clear: MountAttrFlags) -> Result<()> {
    let has = rustix::fs::statvfs(mount)?.f_flag & StatVfsMountFlags::from_bits_retain(ATTRIBUTES.bits().into());
    let has = MountAttrFlags::from_bits_retain(has.bits() as u32);
    rustix::mount::mount_remount(mount, MountFlags::BIND | flags((has | set) - clear), "")
}

/// A path as mountinfo has it, where white space and backslashes are three octal digits behind a backslash.
fn unescaped(path: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        let code = tail.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                out.push(escaped);
                rest = &tail[3..];
            }
            None => out.push(*byte),
        }
    }
    OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_points_are_read() {
        assert_eq!(unescaped(b"/a\\040b\\134/c"), Path::new("/a b\\/c"));
        assert_eq!(unescaped(b"/a\\9"), Path::new("/a\\9"));
    }
}
