//! The changes as a patch, in git's format: what patch(1) and git-apply(1) can do of them, and comments for the rest.
//! Directories, owners, links of a file and extended attributes are beyond that format.

use crate::changes::entry::{self, Entry};
use crate::changes::list::{line, quoted_bytes};
use crate::changes::walk::{Change, Found, Kind};
use crate::changes::{Directory, hunks};
use rustix::fs::FileType;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is longer is not compared line by line.
const LONGEST: u64 = 4 << 20;
/// A file with a NUL within so many bytes is binary: git's rule.
const LOOKED_AT: usize = 8000;

/// Writes one change.
pub fn write(out: &mut impl Write, directory: &Directory, found: &Found, change: &Change) -> io::Result<()> {
    let path = &change.path;
    let has_a_word = change.kind != Kind::Metadata || mode_changes(change);
    if change.is_hidden || !has_a_word {
        return comment(out, found, change);
    }
    if change.loses_directory() {
        comment(out, found, change)?;
        removed_below(out, directory.root.as_fd(), path)?;
    }
    let (old, new) = (
        side(directory.root.as_fd(), path, change.old.as_ref())?,
        side(directory.upper.as_fd(), path, change.new.as_ref())?,
    );
    match (old, new) {
        (None, None) if change.loses_directory() => Ok(()),
        (None, None) => comment(out, found, change),
        // A link where a file was: the one goes, then the other comes.
        (Some(old), Some(new)) if old.entry.file_type() != new.entry.file_type() => {
            file_patch(out, path, Some(old), None)?;
            file_patch(out, path, None, Some(new))
        }
        (old, new) => file_patch(out, path, old, new),
    }
}

/// What the format has no word for.
fn comment(out: &mut impl Write, found: &Found, change: &Change) -> io::Result<()> {
    writeln!(out, "# {}", line(change, found))
}

/// The format knows one bit of a mode.
fn mode_changes(change: &Change) -> bool {
    let mode = |entry: &Option<Entry>| entry.as_ref().filter(|entry| entry.is_file()).map(git_mode);
    mode(&change.old) != mode(&change.new)
}

/// A file or a link, before or after.
struct Side {
    entry: Entry,
    /// What is in the file, or where the link leads; None if it is too long or cannot be read.
    content: Option<Vec<u8>>,
}

fn side(root: BorrowedFd<'_>, path: &Path, entry: Option<&Entry>) -> io::Result<Option<Side>> {
    let Some(entry) = entry.filter(|entry| entry.is_file() || entry.target.is_some()).cloned() else { return Ok(None) };
    let content = match &entry.target {
        Some(target) => Some(target.clone()),
        None => read(root, path, entry.stat.st_size as u64)?,
    };
    Ok(Some(Side { entry, content }))
}

fn read(root: BorrowedFd<'_>, path: &Path, size: u64) -> io::Result<Option<Vec<u8>>> {
    if size > LONGEST {
        return Ok(None);
    }
    let Ok(file) = entry::open_file(root, path.as_os_str()) else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= LONGEST).then_some(bytes))
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(LOOKED_AT)].contains(&0)
}

fn git_mode(entry: &Entry) -> &'static str {
    match (entry.file_type(), entry.mode() & 0o100) {
        (FileType::Symlink, _) => "120000",
        (_, 0) => "100644",
        _ => "100755",
    }
}

/// The patch of one file that is on one side at least.
fn file_patch(out: &mut impl Write, path: &Path, old: Option<Side>, new: Option<Side>) -> io::Result<()> {
    let name = |side: &str| quoted_bytes(&[side.as_bytes(), path.as_os_str().as_bytes()].concat());
    let (a, b) = (name("a/"), name("b/"));
    writeln!(out, "diff --git {a} {b}")?;
    match (old.as_ref().map(|old| git_mode(&old.entry)), new.as_ref().map(|new| git_mode(&new.entry))) {
        (None, Some(new)) => writeln!(out, "new file mode {new}")?,
        (Some(old), None) => writeln!(out, "deleted file mode {old}")?,
        (Some(old), Some(new)) if old != new => writeln!(out, "old mode {old}\nnew mode {new}")?,
        _ => {}
    }
    let from = if old.is_some() { a } else { "/dev/null".to_owned() };
    let to = if new.is_some() { b } else { "/dev/null".to_owned() };
    let bytes = |side: Option<Side>| side.map_or(Some(Vec::new()), |side| side.content);
    let (Some(old), Some(new)) = (bytes(old), bytes(new)) else {
        return writeln!(out, "# {from} and {to} differ, and one of them is too long or cannot be read");
    };
    if old == new {
        return Ok(());
    }
    if is_binary(&old) || is_binary(&new) {
        return writeln!(out, "Binary files {from} and {to} differ");
    }
    writeln!(out, "--- {from}\n+++ {to}")?;
    hunks::write(out, &old, &new)
}

/// File by file: the format has no directories.
fn removed_below(out: &mut impl Write, root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let Ok(directory) = entry::open_directory(root, path) else { return Ok(()) };
    for name in entry::names(directory.as_fd())? {
        let Some(old) = Entry::read(directory.as_fd(), &name)? else { continue };
        let path = path.join(&name);
        if old.is_directory() {
            removed_below(out, root, &path)?;
        } else if old.is_file() || old.target.is_some() {
            file_patch(out, &path, side(root, &path, Some(&old))?, None)?;
        }
    }
    Ok(())
}
