//! Writes the members of an archive into a tree: files, links, owners, modes, times. It follows no link that an entry
//! made but on the way to a directory of the tree, and replaces what is in an entry's place instead of writing to it.

use super::fault::{Fault, Result};
use super::members::{Kind, Member, Members, Time};
use super::tree::{self, Name, Tree};
use super::watch::Watch;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

const BUFFER: usize = 128 * 1024;

/// What an archive had that the tree has not.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    pub entries: u64,
    pub devices: u64,
    /// Owners that are not mapped in this user namespace.
    pub owners: u64,
    /// Extended attributes that the file system or the kernel refused.
    pub attributes: u64,
}

pub struct Unpacker<'a> {
    tree: Tree,
    watch: &'a Watch,
    /// Owners and set-user-ID bits are kept; else all is the caller's.
    is_root: bool,
    /// Times of directories, which writing into them changes: set last. A file, since there may be millions.
    times: BufWriter<File>,
    buffer: Vec<u8>,
    counts: Counts,
    /// An entry takes the place of a directory with all that is in it: so do layers, but not tar.
    is_layer: bool,
}

impl<'a> Unpacker<'a> {
    /// Unpacks into `root`; `times` is an empty file of nobody else's.
    pub fn new(root: OwnedFd, times: File, is_layer: bool, watch: &'a Watch) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let (times, buffer) = (BufWriter::new(times), vec![0; BUFFER]);
        Self { tree: Tree::new(root), watch, is_root, times, buffer, counts: Counts::default(), is_layer }
    }

    pub fn tree(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// Writes one member.
    pub fn put<R: Read>(&mut self, member: &Member, members: &mut Members<'_, R>) -> Result<()> {
        self.counts.entries += 1;
        let name = Name::new(&member.path)?;
        if name.is_root() {
            return match member.kind {
                Kind::Directory => self.finish_directory(member, &name),
                _ => Err(Fault::entry(&member.path, "it is the root itself, and no directory")),
            };
        }
        match member.kind {
            Kind::File => self.put_file(member, &name, members),
            Kind::Directory => self.put_directory(member, &name),
            Kind::Symlink => self.put_symlink(member, &name),
            Kind::HardLink => self.put_link(member, &name),
            Kind::Fifo => self.put_fifo(member, &name),
            Kind::Device => {
                self.counts.devices += 1;
                Ok(())
            }
        }
    }

    /// Sets the times of the directories; what was unpacked is complete then.
    pub fn finish(mut self) -> Result<Counts> {
        let failed = |error: std::io::Error| Fault::read("the list of directories", &error);
        self.times.flush().map_err(failed)?;
        self.times.get_mut().rewind().map_err(failed)?;
        let mut times = BufReader::new(self.times.get_ref());
        while let Some((name, mtime)) = read_time(&mut times).map_err(failed)? {
            self.watch.check()?;
            // Replaced since by something else: that has its own time.
            if let Ok(Some(directory)) = self.tree.find(&name) {
                set_times(directory.as_fd(), OsStr::new("."), mtime).map_err(|errno| Fault::os(&name, errno))?;
            }
        }
        Ok(self.counts)
    }

    fn put_file<R: Read>(&mut self, member: &Member, name: &Name, members: &mut Members<'_, R>) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = self.make(name, |parent, name| rustix::fs::openat(parent, name, flags, mode))?;
        let failed = |errno| Fault::os(&member.path, errno);
        for piece in &member.pieces {
            let mut at = piece.offset;
            let end = piece.offset + piece.length;
            while at < end {
                let most = self.buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let length = members.data(&mut self.buffer[..most])?;
                write_at(&file, &self.buffer[..length], at).map_err(failed)?;
                at += length as u64;
            }
        }
        if member.pieces.last().map_or(0, |last| last.offset + last.length) < member.size {
            rustix::fs::ftruncate(&file, member.size).map_err(failed)?;
        }
        self.own(&member.path, member, |uid, gid| rustix::fs::fchown(&file, uid, gid))?;
        self.set_attributes(&file, member)?;
        rustix::fs::fchmod(&file, self.mode_of(member)).map_err(failed)?;
        rustix::fs::futimens(&file, &timestamps(member.mtime)).map_err(failed)
    }

    fn put_directory(&mut self, member: &Member, name: &Name) -> Result<()> {
        let (parent, last) = name.split();
        let failed = |errno| Fault::os(&member.path, errno);
        let there = tree::look(self.tree.directory(parent)?, last).map_err(failed)?;
        if !there.is_some_and(|found| tree::is_directory(&found)) {
            let mode = Mode::from_raw_mode(0o700);
            self.make(name, |parent, name| rustix::fs::mkdirat(parent, name, mode))?;
        }
        self.finish_directory(member, name)
    }

    /// Owner, attributes and mode at once, the time at the end.
    fn finish_directory(&mut self, member: &Member, name: &Name) -> Result<()> {
        let (parent, last) = name.split();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |errno| Fault::os(&member.path, errno);
        let opened = if name.is_root() {
            rustix::fs::openat(self.tree.root(), ".", flags, Mode::empty())
        } else {
            rustix::fs::openat(self.tree.directory(parent)?, last, flags, Mode::empty())
        };
        let directory = opened.map_err(failed)?;
        self.own(&member.path, member, |uid, gid| rustix::fs::fchown(&directory, uid, gid))?;
        self.set_attributes(&directory, member)?;
        let mode = self.mode_of(member);
        rustix::fs::fchmod(&directory, if self.is_root { mode } else { mode | Mode::RWXU }).map_err(failed)?;
        write_time(&mut self.times, name.bytes(), member.mtime)
            .map_err(|error| Fault::read("the list of directories", &error))
    }

    fn put_symlink(&mut self, member: &Member, name: &Name) -> Result<()> {
        if member.link.contains(&0) || member.link.is_empty() {
            return Err(Fault::entry(&member.path, "what it links to is no name"));
        }
        let target = OsStr::from_bytes(&member.link);
        self.make(name, |parent, name| rustix::fs::symlinkat(target, parent, name))?;
        self.finish_node(member, name)
    }

    fn put_fifo(&mut self, member: &Member, name: &Name) -> Result<()> {
        let mode = Mode::from_raw_mode(0o600);
        self.make(name, |parent, name| rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0))?;
        self.finish_node(member, name)?;
        let (parent, last) = name.split();
        let mode = self.mode_of(member);
        // Not a link: it was made just now, and nobody else knows the tree.
        rustix::fs::chmodat(self.tree.directory(parent)?, last, mode, AtFlags::empty())
            .map_err(|errno| Fault::os(&member.path, errno))
    }

    /// Owner and time of what can't be opened.
    fn finish_node(&mut self, member: &Member, name: &Name) -> Result<()> {
        let (parent, last) = name.split();
        let parent = self.tree.directory(parent)?.try_clone_to_owned();
        let parent = parent.map_err(|error| Fault::read("a directory", &error))?;
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        self.own(&member.path, member, |uid, gid| rustix::fs::chownat(&parent, last, uid, gid, nofollow))?;
        set_times(parent.as_fd(), last, member.mtime).map_err(|errno| Fault::os(&member.path, errno))
    }

    fn put_link(&mut self, member: &Member, name: &Name) -> Result<()> {
        let target = Name::new(&member.link).map_err(|_| Fault::entry(&member.path, "it links out of the root"))?;
        let (directory, last) = target.split();
        let nothing = || Fault::entry(&member.path, "it is a hard link to what is not in the archive before it");
        let failed = |errno| Fault::os(&member.path, errno);
        let from = match self.tree.find(directory) {
            Ok(Some(directory)) => directory,
            Ok(None) => return Err(nothing()),
            Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                return Err(Fault::entry(&member.path, "it is a hard link to what is in no directory of the root"));
            }
            Err(errno) => return Err(failed(errno)),
        };
        let Some(found) = tree::look(from.as_fd(), last).map_err(failed)?.filter(|_| !target.is_root()) else {
            return Err(nothing());
        };
        if tree::is_directory(&found) {
            return Err(Fault::entry(&member.path, "it is a hard link to a directory"));
        }
        let (parent, to) = name.split();
        let there = tree::look(self.tree.directory(parent)?, to).map_err(failed)?;
        if there.is_some_and(|there| (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)) {
            return Ok(());
        }
        self.make(name, |parent, name| rustix::fs::linkat(&from, last, parent, name, AtFlags::empty()))
    }

    /// Makes `name` by `call`; what is in its place goes first.
    fn make<T>(&mut self, name: &Name, call: impl Fn(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<T>) -> Result<T> {
        let (parent, last) = name.split();
        let failed = |errno| Fault::os(name.bytes(), errno);
        let directory = self.tree.directory(parent)?;
        match call(directory, last) {
            Err(Errno::EXIST) => {}
            result => return result.map_err(failed),
        }
        let is_directory = tree::look(directory, last).map_err(failed)?.is_some_and(|found| tree::is_directory(&found));
        if self.is_layer {
            tree::remove(directory, last).map_err(failed)?;
        } else {
            let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match rustix::fs::unlinkat(directory, last, flags) {
                Err(Errno::NOTEMPTY) => {
                    return Err(Fault::entry(name.bytes(), "a directory is in its place that is not empty"));
                }
                result => result.map_err(failed)?,
            }
        }
        if is_directory {
            self.tree.forget();
        }
        call(self.tree.directory(parent)?, last).map_err(failed)
    }

    fn mode_of(&self, member: &Member) -> Mode {
        // Set-user-ID would be the caller's own.
        let kept = if self.is_root { 0o7777 } else { 0o1777 };
        Mode::from_raw_mode(member.mode & kept)
    }

    fn own(
        &mut self,
        path: &[u8],
        member: &Member,
        chown: impl FnOnce(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    ) -> Result<()> {
        if !self.is_root {
            return Ok(());
        }
        match chown(Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid))) {
            // The root of a user namespace has not all users.
            Err(Errno::INVAL | Errno::PERM) => self.counts.owners += 1,
            result => result.map_err(|errno| Fault::os(path, errno))?,
        }
        Ok(())
    }

    fn set_attributes(&mut self, file: &OwnedFd, member: &Member) -> Result<()> {
        for (name, value) in &member.xattrs {
            if !is_kept(name, self.is_root) {
                continue;
            }
            let name = OsString::from(OsStr::from_bytes(name));
            match rustix::fs::fsetxattr(file, &name, value, XattrFlags::empty()) {
                Err(Errno::NOTSUP | Errno::PERM | Errno::INVAL | Errno::RANGE | Errno::TOOBIG) => {
                    self.counts.attributes += 1;
                }
                result => result.map_err(|errno| Fault::os(&member.path, errno))?,
            }
        }
        Ok(())
    }
}

/// The capabilities of programs, and users' own. Not what overlay would take for its own: it could make files vanish.
fn is_kept(name: &[u8], is_root: bool) -> bool {
    let is_whole = !name.contains(&0) && name.len() < 256;
    let is_user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && name.len() > 5;
    is_whole && (is_user || is_root && name == b"security.capability")
}

fn write_at(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(length) => {
                bytes = &bytes[length..];
                at += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn timestamps((seconds, nanoseconds): Time) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

fn set_times(directory: BorrowedFd<'_>, name: &OsStr, mtime: Time) -> rustix::io::Result<()> {
    rustix::fs::utimensat(directory, name, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// A line of the list: the length of the name, the time, the name.
fn write_time(to: &mut impl Write, name: &[u8], (seconds, nanoseconds): Time) -> std::io::Result<()> {
    to.write_all(&(name.len() as u32).to_ne_bytes())?;
    to.write_all(&seconds.to_ne_bytes())?;
    to.write_all(&nanoseconds.to_ne_bytes())?;
    to.write_all(name)
}

fn read_time(from: &mut impl Read) -> std::io::Result<Option<(Vec<u8>, Time)>> {
    let (mut length, mut seconds, mut nanoseconds) = ([0; 4], [0; 8], [0; 4]);
    if from.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..])?;
    from.read_exact(&mut seconds)?;
    from.read_exact(&mut nanoseconds)?;
    let mut name = vec![0; u32::from_ne_bytes(length) as usize];
    from.read_exact(&mut name)?;
    Ok(Some((name, (i64::from_ne_bytes(seconds), u32::from_ne_bytes(nanoseconds)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_could_mislead_overlay_are_left_out() {
        assert!(is_kept(b"user.x", false) && is_kept(b"security.capability", true));
        for name in [&b"trusted.overlay.opaque"[..], b"user.overlay.opaque", b"security.selinux", b"user.", b"user.\0"]
        {
            assert!(!is_kept(name, true), "{}", name.escape_ascii());
        }
        assert!(!is_kept(b"security.capability", false));
    }

    #[test]
    fn times_of_directories_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        write_time(&mut bytes, b"a/b", (-1, 5)).unwrap();
        write_time(&mut bytes, b"", (7, 0)).unwrap();
        let mut from = &bytes[..];
        assert_eq!(read_time(&mut from).unwrap(), Some((b"a/b".to_vec(), (-1, 5))));
        assert_eq!(read_time(&mut from).unwrap(), Some((Vec::new(), (7, 0))));
        assert_eq!(read_time(&mut from).unwrap(), None);
    }
}
