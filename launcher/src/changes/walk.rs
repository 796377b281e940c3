//! From an upper layer to the list of changes, each against what the host has in its place now. Reads only.

use crate::changes::Directory;
use crate::changes::entry::{self, Entry};
use crate::changes::place::Leftovers;
use crate::changes::record::Layers;
use crate::plan::FRESH;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Added,
    /// Its content, or what it is.
    Changed,
    Removed,
    /// Nothing but its mode, owner, time or extended attributes.
    Metadata,
}

#[derive(Clone, Debug)]
pub struct Change {
    /// Relative to `/`.
    pub path: PathBuf,
    pub kind: Kind,
    /// What the host has now.
    pub old: Option<Entry>,
    /// What it is to have; nothing, if it is removed.
    pub new: Option<Entry>,
    /// Something is mounted there on the host, which the command did not see.
    pub is_hidden: bool,
    /// One number for all names of one file.
    pub link: Option<usize>,
}

impl Change {
    /// Is a directory of the host's lost with all that is in it?
    pub fn loses_directory(&self) -> bool {
        let is_directory = |entry: &Option<Entry>| entry.as_ref().is_some_and(Entry::is_directory);
        is_directory(&self.old) && !is_directory(&self.new)
    }

    /// Is there a directory then where none is?
    pub fn makes_directory(&self) -> bool {
        let is_directory = |entry: &Option<Entry>| entry.as_ref().is_some_and(Entry::is_directory);
        is_directory(&self.new) && !is_directory(&self.old)
    }

    /// What is shown: the new entry, or the one that goes.
    pub fn entry(&self) -> Option<&Entry> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

#[derive(Default)]
pub struct Found {
    /// By path, so that a directory comes before what is in it.
    pub changes: Vec<Change>,
    /// Where the host has a name of a file of several already, by the number of the file.
    pub anchors: BTreeMap<usize, PathBuf>,
    /// The directories of the upper layer.
    pub directories: Vec<PathBuf>,
}

type Failure = (Errno, PathBuf);

/// All changes; what cannot be read is told with its path.
pub fn walk(directory: &Directory) -> std::result::Result<Found, Failure> {
    let mut walk = Walk {
        own: directory.own_path(),
        leftovers: Leftovers::new(&directory.record.id),
        is_split: directory.record.layers == Layers::Directories,
        found: Found::default(),
        files: BTreeMap::new(),
    };
    let top = Level {
        upper: directory.upper.as_fd(),
        host: Below::Directory(directory.root.as_fd()),
        path: Path::new(""),
        is_opaque: false,
    };
    walk.directory(&top)?;
    walk.found.changes.sort_by(|a, b| a.path.cmp(&b.path));
    walk.join_links();
    walk.found.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.found)
}

/// What the host has in the place of a directory of the upper layer.
#[derive(Clone, Copy)]
enum Below<'a> {
    Directory(BorrowedFd<'a>),
    /// No directory.
    Nothing,
    Hidden,
}

/// A directory of the upper layer, and what is in its place.
struct Level<'a> {
    upper: BorrowedFd<'a>,
    host: Below<'a>,
    path: &'a Path,
    /// All that the host has in it and below it was hidden.
    is_opaque: bool,
}

/// One name of a file of the upper layer that has several.
struct Name {
    path: PathBuf,
    old: Option<Entry>,
    new: Entry,
    is_changed: bool,
}

struct Walk<'a> {
    own: &'a Path,
    leftovers: Leftovers,
    /// There is an upper layer for each directory in `/`: what these are themselves is nsl's doing.
    is_split: bool,
    found: Found,
    files: BTreeMap<(u64, u64), Vec<Name>>,
}

impl Walk<'_> {
    fn directory(&mut self, level: &Level<'_>) -> std::result::Result<(), Failure> {
        let failed = |errno| (errno, level.path.to_owned());
        self.found.directories.push(level.path.to_owned());
        let names = entry::names(level.upper).map_err(failed)?;
        for name in &names {
            let path = level.path.join(name);
            if !self.is_no_change(&path) {
                self.entry(level, name, path)?;
            }
        }
        if let (true, Below::Directory(host)) = (level.is_opaque, level.host) {
            for name in entry::names(host).map_err(failed)? {
                let path = level.path.join(&name);
                if names.binary_search(&name).is_err() && !self.is_no_change(&path) {
                    let (old, is_hidden) = look(level.host, &name).map_err(|errno| (errno, path.clone()))?;
                    self.push(Change { path, kind: Kind::Removed, old, new: None, is_hidden, link: None });
                }
            }
        }
        Ok(())
    }

    /// Mount points of the sandbox's, the directory of changes itself, and what an apply left when it was killed.
    fn is_no_change(&self, path: &Path) -> bool {
        FRESH.iter().any(|fresh| path == Path::new(fresh))
            || path == self.own
            || path.file_name().is_some_and(|name| self.leftovers.contain(name))
    }

    fn entry(&mut self, level: &Level<'_>, name: &OsString, path: PathBuf) -> std::result::Result<(), Failure> {
        let failed = |errno| (errno, path.clone());
        let Some(new) = Entry::read(level.upper, name).map_err(failed)? else { return Ok(()) };
        let (old, is_hidden) = look(level.host, name).map_err(failed)?;
        if new.is_whiteout() {
            if old.is_some() || is_hidden {
                self.push(Change { path, kind: Kind::Removed, old, new: None, is_hidden, link: None });
            }
            return Ok(());
        }
        let is_layer = self.is_split && level.path.as_os_str().is_empty() && new.is_directory();
        let kind = if is_layer && (old.is_some() || is_hidden) {
            None
        } else {
            compare((level, name), old.as_ref(), &new).map_err(failed)?
        };
        if new.is_file() && new.stat.st_nlink > 1 {
            let file = (new.stat.st_dev, new.stat.st_ino);
            let is_changed = kind.is_some() || is_hidden;
            self.files.entry(file).or_default().push(Name {
                path: path.clone(),
                old: old.clone(),
                new: new.clone(),
                is_changed,
            });
        }
        if kind.is_some() || is_hidden && !is_layer {
            let kind = kind.unwrap_or(Kind::Added);
            let (path, new) = (path.clone(), Some(new.clone()));
            self.push(Change { path, kind, old: old.clone(), new, is_hidden, link: None });
        }
        if !new.is_directory() {
            return Ok(());
        }
        let upper = entry::open_directory(level.upper, Path::new(name)).map_err(failed)?;
        let opened = match (level.host, &old) {
            (Below::Directory(host), Some(old)) if old.is_directory() => Some(below(host, name).map_err(failed)?),
            _ => None,
        };
        let host = match (&opened, level.host) {
            _ if is_hidden => Below::Hidden,
            (Some(opened), _) => Below::Directory(opened.as_fd()),
            (None, Below::Hidden) => Below::Hidden,
            (None, _) => Below::Nothing,
        };
        self.directory(&Level { upper: upper.as_fd(), host, path: &path, is_opaque: level.is_opaque || new.opaque })
    }

    fn push(&mut self, change: Change) {
        self.found.changes.push(change);
    }

    /// Names of one file are to be names of one file on the host too: either they are already, or the odd ones are
    /// linked to one that is as it should be.
    fn join_links(&mut self) {
        let files = std::mem::take(&mut self.files);
        let mut odd = Vec::new();
        for (number, names) in files.into_values().filter(|names| names.len() > 1).enumerate() {
            let inode = |name: &Name| name.old.as_ref().map(|old| (old.stat.st_dev, old.stat.st_ino));
            let anchor = names.iter().find(|name| !name.is_changed);
            let file = anchor.and_then(inode);
            if let Some(anchor) = anchor {
                self.found.anchors.insert(number, anchor.path.clone());
            }
            for name in &names {
                let changes = &mut self.found.changes;
                if let Ok(index) = changes.binary_search_by(|change| change.path.cmp(&name.path)) {
                    changes[index].link = Some(number);
                } else if inode(name) != file {
                    odd.push(Change {
                        path: name.path.clone(),
                        kind: Kind::Changed,
                        old: name.old.clone(),
                        new: Some(name.new.clone()),
                        is_hidden: false,
                        link: Some(number),
                    });
                }
            }
        }
        self.found.changes.append(&mut odd);
    }
}

/// What the host has by this name, and if something is mounted there.
fn look(host: Below<'_>, name: &OsStr) -> rustix::io::Result<(Option<Entry>, bool)> {
    match host {
        Below::Nothing => Ok((None, false)),
        Below::Hidden => Ok((None, true)),
        Below::Directory(directory) => match Entry::read(directory, name) {
            Err(errno) if entry::is_hidden(errno) => Ok((None, true)),
            // A directory of somebody else's, in which nothing can be looked at.
            Err(Errno::ACCESS) => Ok((None, false)),
            result => Ok((result?, false)),
        },
    }
}

/// For reading, if that may be; else to pass through.
fn below(host: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    match entry::open_directory(host, Path::new(name)) {
        Err(Errno::ACCESS) => entry::enter_directory(host, Path::new(name)),
        result => result,
    }
}

/// How the upper layer's entry differs from the host's, if it does.
fn compare(at: (&Level<'_>, &OsStr), old: Option<&Entry>, new: &Entry) -> rustix::io::Result<Option<Kind>> {
    let (level, name) = at;
    let Some(old) = old else { return Ok(Some(Kind::Added)) };
    if old.file_type() != new.file_type() {
        return Ok(Some(Kind::Changed));
    }
    let is_same = match (new.file_type(), level.host) {
        (FileType::RegularFile, Below::Directory(host)) => {
            old.stat.st_size == new.stat.st_size && entry::is_same_content((level.upper, name), (host, name))?
        }
        (FileType::Symlink, _) => old.target == new.target,
        (FileType::CharacterDevice | FileType::BlockDevice, _) => old.stat.st_rdev == new.stat.st_rdev,
        _ => true,
    };
    match is_same {
        false => Ok(Some(Kind::Changed)),
        true if new.differences(old).is_empty() => Ok(None),
        true => Ok(Some(Kind::Metadata)),
    }
}
