//! What stands against a change: what somebody did on the host since the command ran, and what this user may not do.
//! Reads only; the changes themselves are made elsewhere.

use crate::changes::Directory;
use crate::changes::entry::{self, CAPABILITY, Entry};
use crate::changes::record::Key;
use crate::changes::walk::{Change, Kind};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Why a change would undo what was done on the host since the first run, if it would.
pub fn conflict(directory: &Directory, change: &Change) -> Option<&'static str> {
    let known = directory.known.0.get(&change.path);
    let Some(old) = &change.old else {
        return known.map(|_| "it was removed on this host meanwhile");
    };
    let started = i128::from(directory.record.started);
    // The host has the same by now, but for its time.
    if change.kind == Kind::Metadata && change.new.as_ref().is_some_and(|new| new.differences(old) == ["time"]) {
        return None;
    }
    if change.new.as_ref().is_some_and(|new| has_lent_rights(old, new)) {
        return None;
    }
    if old.changed() > started && !known.is_some_and(|known| is_as_known(known, old, change.new.as_ref())) {
        return Some("it was changed on this host meanwhile");
    }
    let is_going = directory.interrupted.removing.contains(&change.path);
    if change.loses_directory() && !is_going && is_changed_below(directory, &change.path) {
        return Some("something in it was changed on this host meanwhile");
    }
    None
}

/// Is anything in a directory of the host's newer than the first run, and not what an apply put there?
fn is_changed_below(directory: &Directory, path: &Path) -> bool {
    let started = i128::from(directory.record.started);
    let walked = each_below(directory.root.as_fd(), path, &mut |_, path, entry| {
        let is_known = || directory.known.0.get(path).is_some_and(|known| is_as_known(known, entry, None));
        if entry.changed() > started && !is_known() { Err(Errno::STALE) } else { Ok(()) }
    });
    walked == Err(Errno::STALE)
}

/// May an entry of the host's be noted as what it had, because nobody but an apply changed it since the first run?
pub fn is_settled(directory: &Directory, path: &Path, entry: &Entry) -> bool {
    let known = directory.known.0.get(path);
    entry.changed() <= i128::from(directory.record.started)
        || known.is_some_and(|known| is_as_known(known, entry, None))
}

/// Is it a directory that an apply was working in as an ordinary user when it was stopped? It gives its owner more than
/// it is to have, and else is as it should be.
fn has_lent_rights(old: &Entry, new: &Entry) -> bool {
    let is_lent = old.mode() == new.mode() | 0o700;
    old.is_directory() && new.is_directory() && is_lent && new.differences(old) == ["mode"]
}

/// A directory's metadata is set one after the other: each part may be the known one or already the new one.
fn is_as_known(known: &Key, old: &Entry, new: Option<&Entry>) -> bool {
    let now = Key::of(&old.stat);
    let new = new.map_or(*known, |new| Key::of(&new.stat));
    let is = |now: u32, known: u32, new: u32| now == known || now == new;
    let is_mode = is(now.mode, known.mode, new.mode) || now.mode == known.mode & new.mode;
    known.is_same_object(&now) && is_mode && is(now.uid, known.uid, new.uid) && is(now.gid, known.gid, new.gid)
}

/// Calls `seen` for everything in a directory, with the directory that it is in and its path; stops at the first error.
fn each_below(
    root: BorrowedFd<'_>,
    path: &Path,
    seen: &mut dyn FnMut(BorrowedFd<'_>, &Path, &Entry) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let directory = entry::open_directory(root, path)?;
    for name in entry::names(directory.as_fd())? {
        let Some(entry) = Entry::read(directory.as_fd(), &name)? else { continue };
        let path = path.join(name);
        seen(directory.as_fd(), &path, &entry)?;
        if entry.is_directory() {
            each_below(root, &path, seen)?;
        }
    }
    Ok(())
}

/// Who applies.
pub struct Caller {
    uid: u32,
    groups: Vec<u32>,
}

impl Caller {
    pub fn current() -> Self {
        let mut groups: Vec<_> = getgroups().unwrap_or_default().iter().map(|group| group.as_raw()).collect();
        groups.push(getegid().as_raw());
        Self { uid: geteuid().as_raw(), groups }
    }

    /// Why a change cannot be made at all, if that is known beforehand. `has_way` tells of a directory, by its path,
    /// if the changes themselves make it, or set what may be done in it.
    pub fn refusal(
        &self,
        directory: &Directory,
        change: &Change,
        has_way: &dyn Fn(&Path) -> bool,
    ) -> Option<&'static str> {
        if change.is_hidden {
            return Some("another file system is mounted there");
        }
        if (change.loses_directory() || change.kind == Kind::Removed) && directory.own_path().starts_with(&change.path)
        {
            return Some("it holds the changes themselves");
        }
        if change.loses_directory() {
            match each_below(directory.root.as_fd(), &change.path, &mut |_, _, _| Ok(())) {
                Err(Errno::XDEV) => return Some("another file system is mounted in it"),
                Err(Errno::ACCESS | Errno::PERM) if self.uid != 0 => {
                    return Some("what is in it is not yours to remove");
                }
                _ => {}
            }
        }
        if self.uid == 0 { None } else { self.refusal_of_user(directory, change, has_way) }
    }

    fn refusal_of_user(
        &self,
        directory: &Directory,
        change: &Change,
        has_way: &dyn Fn(&Path) -> bool,
    ) -> Option<&'static str> {
        let parent = change.path.parent().unwrap_or(Path::new(""));
        if let Some(new) = &change.new {
            if new.stat.st_uid != self.uid || !self.groups.contains(&new.stat.st_gid) {
                return Some("only root may give it this owner");
            }
            if matches!(new.file_type(), FileType::CharacterDevice | FileType::BlockDevice) {
                return Some("only root may make devices");
            }
            if new.xattrs.contains_key(CAPABILITY) {
                return Some("only root may give it capabilities");
            }
        }
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && old.is_directory()
            && new.is_directory()
        {
            return (old.stat.st_uid != self.uid).then_some("it is not yours");
        }
        if has_way(parent) {
            return None;
        }
        let Ok(above) = entry::enter_directory(directory.root.as_fd(), parent) else {
            return Some("its directory is not yours to write to");
        };
        if !self.may_write(&above, change) {
            return Some("its directory is not yours to write to");
        }
        if change.loses_directory() && !self.may_empty(directory.root.as_fd(), &change.path) {
            return Some("what is in it is not yours to remove");
        }
        None
    }

    /// In a sticky directory only the owner of an entry, or its own, may replace or remove it.
    fn may_write(&self, above: &OwnedFd, change: &Change) -> bool {
        let Ok(stat) = rustix::fs::fstat(above) else { return false };
        let is_sticky = stat.st_mode & 0o1000 != 0 && stat.st_uid != self.uid;
        let is_mine = change.old.as_ref().is_none_or(|old| old.stat.st_uid == self.uid);
        entry::accessible(above.as_fd()) && (!is_sticky || is_mine)
    }

    fn may_empty(&self, root: BorrowedFd<'_>, path: &Path) -> bool {
        let Ok(itself) = entry::open_directory(root, path) else { return false };
        let emptied = each_below(root, path, &mut |directory, _, entry| {
            let is_mine = !entry.is_directory() || entry.stat.st_uid == self.uid;
            if is_mine && entry::accessible(directory) { Ok(()) } else { Err(Errno::ACCESS) }
        });
        entry::accessible(itself.as_fd()) && emptied.is_ok()
    }
}
