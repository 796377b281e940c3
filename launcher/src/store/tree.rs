//! The tree that is being unpacked: its directories are found relative to its root, with resolution confined to it,
//! so that no name and no link leads out. And the removal of trees, of any depth, with few open files.

use super::fault::{Fault, Result};
use crate::confined;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const READABLE: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// For directories that no entry names.
const IMPLIED: Mode = Mode::from_raw_mode(0o755);
/// No link on the way: where everything is as the archive has it.
const PLAIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// A name below the root: components without `.` and `..`, none of them empty; the root itself has none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Name(Vec<u8>);

impl Name {
    /// As tar(1) reads it: leading `/` and `./` count for nothing.
    pub fn new(path: &[u8]) -> Result<Self> {
        let mut name = Vec::with_capacity(path.len());
        if path.is_empty() {
            return Err(Fault::entry(path, "it has no name"));
        }
        if path.contains(&0) {
            return Err(Fault::entry(path, "its name holds a NUL"));
        }
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(Fault::entry(path, "its name leads out of the root, with '..'")),
                _ => {
                    if !name.is_empty() {
                        name.push(b'/');
                    }
                    name.extend_from_slice(part);
                }
            }
        }
        Ok(Self(name))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory it is in, and what it is called there.
    pub fn split(&self) -> (&[u8], &OsStr) {
        let at = self.0.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = at.map_or((&b""[..], &self.0[..]), |at| (&self.0[..at], &self.0[at + 1..]));
        (parent, OsStr::from_bytes(name))
    }
}

/// A root in the making.
pub struct Tree {
    root: OwnedFd,
    /// The directory that was last asked for: entries of one stand together.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Tree {
    pub fn new(root: OwnedFd) -> Self {
        Self { root, last: None }
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Something that may have been on a way is gone.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// The directory `path`, made where it is missing, parents included.
    pub fn directory(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let found = match self.find(path) {
                Ok(None) => self.make(path)?,
                Ok(Some(found)) => found,
                Err(errno) => return Err(way(path, errno)),
            };
            self.last = Some((path.to_vec(), found));
        }
        self.last.as_ref().map(|(_, directory)| directory.as_fd()).ok_or_else(|| way(path, Errno::NOENT))
    }

    /// The directory `path`, if it is there.
    pub fn find(&self, path: &[u8]) -> std::result::Result<Option<OwnedFd>, Errno> {
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let found = match rustix::fs::openat2(&self.root, path, DIRECTORY, Mode::empty(), PLAIN) {
            // Links on the way are taken as they will be inside: the root is the top, whatever they say.
            Err(Errno::LOOP) => confined::open(&self.root, path, DIRECTORY, Mode::empty()),
            found => found,
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn make(&self, path: &[u8]) -> Result<OwnedFd> {
        let mut directory = None;
        let mut begin = 0;
        while begin <= path.len() && !path.is_empty() {
            let end = path[begin..].iter().position(|byte| *byte == b'/').map_or(path.len(), |at| begin + at);
            let at = directory.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            let part = &path[begin..end];
            let next = match rustix::fs::openat2(at, part, DIRECTORY, Mode::empty(), PLAIN) {
                Err(Errno::NOENT) => rustix::fs::mkdirat(at, part, IMPLIED)
                    .and_then(|()| rustix::fs::chmodat(at, part, IMPLIED, AtFlags::empty()))
                    .and_then(|()| rustix::fs::openat2(at, part, DIRECTORY, Mode::empty(), PLAIN)),
                // What a link leads to is not made.
                Err(Errno::LOOP) => confined::open(&self.root, &path[..end], DIRECTORY, Mode::empty()),
                next => next,
            };
            directory = Some(next.map_err(|errno| way(path, errno))?);
            begin = end + 1;
        }
        directory.ok_or_else(|| way(path, Errno::NOENT))
    }
}

/// What is wrong with the way to a directory.
fn way(path: &[u8], errno: Errno) -> Fault {
    match errno {
        Errno::NOTDIR => Fault::entry(path, "something stands below it, and it is no directory"),
        Errno::NOENT | Errno::LOOP | Errno::XDEV => {
            Fault::entry(path, "something stands below it, and it is a link that leads to no directory of the root")
        }
        errno => Fault::os(path, errno),
    }
}

/// What is at `name`, a link itself if it is one.
pub fn look(directory: BorrowedFd<'_>, name: &OsStr) -> std::result::Result<Option<Stat>, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub fn is_directory(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

/// A directory that was found, to be read.
pub fn open(directory: BorrowedFd<'_>) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(directory, ".", READABLE, Mode::empty())
}

/// Removes what is at `name`, with all that is in it; what is not there needs none.
pub fn remove(directory: BorrowedFd<'_>, name: &OsStr) -> std::result::Result<(), Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Err(Errno::NOENT) => return Ok(()),
        result => return result,
    }
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY) => {}
        result => return result,
    }
    let top = rustix::fs::openat(directory, name, READABLE, Mode::empty())?;
    empty(&top)?;
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)
}

/// Removes all that is in a directory. What lies deeper is moved up first: a tree may be deeper than a process has
/// descriptors, or a stack.
pub fn empty(top: &OwnedFd) -> std::result::Result<(), Errno> {
    let mut moved = 0_u64;
    loop {
        let mut found = false;
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            found = true;
            if !unlink(top, name)? {
                move_up(top, name, &mut moved)?;
                // Some file systems skip entries of a directory that is changed while it is read.
                match rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY) => {}
                    result => result?,
                }
            }
        }
        if !found {
            return Ok(());
        }
    }
}

/// Empties the directory `name` of `top`: its files are removed, directories with something in them moved to `top`.
fn move_up(top: &OwnedFd, name: &CStr, moved: &mut u64) -> std::result::Result<(), Errno> {
    let directory = rustix::fs::openat(top, name, READABLE, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_dots(name) || unlink(&directory, name)? {
            continue;
        }
        loop {
            *moved += 1;
            let free = CString::new(format!(".nsl-{moved}")).unwrap_or_default();
            match rustix::fs::renameat_with(&directory, name, top, &free, rustix::fs::RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                result => break result?,
            }
        }
    }
    Ok(())
}

/// True when `name` is gone; false if it is a directory with something in it.
fn unlink(directory: &OwnedFd, name: &CStr) -> std::result::Result<bool, Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(errno),
        },
        Err(errno) => Err(errno),
    }
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_tar_reads_them() {
        let name = |path: &[u8]| Name::new(path).map(|name| name.0).map_err(|_| ());
        assert_eq!(name(b"/a//b/./c/"), Ok(b"a/b/c".to_vec()));
        assert_eq!(name(b"./a"), Ok(b"a".to_vec()));
        assert_eq!(name(b"./"), Ok(Vec::new()));
        assert_eq!(name(b"a..b/...c"), Ok(b"a..b/...c".to_vec()));
        for bad in [&b""[..], b"..", b"a/../b", b"/..", b"a\0b", b"./..//"] {
            assert_eq!(name(bad), Err(()), "{}", bad.escape_ascii());
        }
        assert_eq!(Name::new(b"a/b/c").unwrap().split(), (&b"a/b"[..], OsStr::new("c")));
        assert_eq!(Name::new(b"c").unwrap().split(), (&b""[..], OsStr::new("c")));
    }
}
