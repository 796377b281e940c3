//! The changes as text, a line each, and as JSON. docs/changes.md describes both.

use crate::changes::Directory;
use crate::changes::patch;
use crate::changes::walk::{Change, Found, Kind};
use crate::cli::Diff;
use crate::error::{Result, told};
use rustix::fs::FileType;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What `nsl diff` prints.
pub fn print(directory: &Directory, found: &Found, options: &Diff) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = if options.json {
        let changes: Vec<_> = found.changes.iter().map(|change| object(change, found)).collect();
        writeln!(out, "{}", json!({ "version": 1, "changes": changes }))
    } else if options.content {
        found.changes.iter().try_for_each(|change| patch::write(&mut out, directory, found, change))
    } else {
        found.changes.iter().try_for_each(|change| writeln!(out, "{}", line(change, found)))
    };
    told(printed.and_then(|()| out.flush()))
}

/// `changed   /etc/motd`, and in brackets what else is to be known.
pub fn line(change: &Change, found: &Found) -> String {
    let mut line = format!("{:<9} {}", word(change.kind), shown(change));
    if let Some(target) = change.new.as_ref().and_then(|new| new.target.as_ref()) {
        let _ = write!(line, " -> {}", quoted_bytes(target));
    }
    let notes = notes(change, found);
    if !notes.is_empty() {
        let _ = write!(line, " ({})", notes.join(", "));
    }
    line
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "added",
        Kind::Changed => "changed",
        Kind::Removed => "removed",
        Kind::Metadata => "metadata",
    }
}

/// The path as the host sees it, a directory's with a slash at its end.
fn shown(change: &Change) -> String {
    let mut path = [b"/", change.path.as_os_str().as_bytes()].concat();
    if change.entry().is_some_and(super::entry::Entry::is_directory) {
        path.push(b'/');
    }
    quoted_bytes(&path)
}

fn notes(change: &Change, found: &Found) -> Vec<String> {
    let mut notes = Vec::new();
    if let (Some(old), Some(new)) = (&change.old, &change.new) {
        if old.file_type() == new.file_type() {
            notes.extend(new.differences(old).into_iter().filter_map(|part| match part {
                "mode" => Some(format!("mode {:04o} to {:04o}", old.mode(), new.mode())),
                "owner" => {
                    let (old, new) = (&old.stat, &new.stat);
                    Some(format!("owner {}:{} to {}:{}", old.st_uid, old.st_gid, new.st_uid, new.st_gid))
                }
                // A changed content has a time of its own.
                "time" if change.kind == Kind::Changed => None,
                part => Some(part.to_owned()),
            }));
        } else {
            notes.push(format!("was a {}", type_of(old.file_type())));
        }
    }
    if let Some(new) = &change.new {
        if !(new.is_file() || new.is_directory() || new.target.is_some()) {
            notes.push(type_of(new.file_type()).to_owned());
        }
        notes.extend(new.powers().into_iter().map(str::to_owned));
    }
    if let Some(first) = link(change, found) {
        notes.push(format!("linked to /{}", quoted(first)));
    }
    if change.is_hidden {
        notes.push("another file system is mounted there".to_owned());
    }
    notes
}

/// The first name of the file that this change is another name of.
fn link<'a>(change: &Change, found: &'a Found) -> Option<&'a Path> {
    let number = change.link?;
    let anchor = found.anchors.get(&number).map(AsRef::as_ref);
    let first = || found.changes.iter().find(|other| other.link == Some(number)).map(|other| &*other.path);
    anchor.or_else(first).filter(|first| *first != change.path)
}

fn type_of(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Unknown => "file of an unknown type",
    }
}

fn object(change: &Change, found: &Found) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "path", &[b"/", change.path.as_os_str().as_bytes()].concat());
    object.insert("kind".to_owned(), word(change.kind).into());
    if let Some(entry) = change.entry() {
        object.insert("type".to_owned(), type_of(entry.file_type()).into());
        object.insert("mode".to_owned(), format!("{:04o}", entry.mode()).into());
        object.insert("uid".to_owned(), entry.stat.st_uid.into());
        object.insert("gid".to_owned(), entry.stat.st_gid.into());
        if entry.is_file() {
            object.insert("size".to_owned(), entry.stat.st_size.into());
        }
        if let Some(target) = &entry.target {
            put_bytes(&mut object, "target", target);
        }
    }
    if let Some(new) = change.new.as_ref().filter(|new| !new.powers().is_empty()) {
        object.insert("powers".to_owned(), new.powers().into());
    }
    if let (Some(old), Some(new)) = (&change.old, &change.new) {
        if old.file_type() == new.file_type() {
            object.insert("differs".to_owned(), new.differences(old).into());
        } else {
            object.insert("was".to_owned(), type_of(old.file_type()).into());
        }
    }
    if let Some(first) = link(change, found) {
        put_bytes(&mut object, "link", &[b"/", first.as_os_str().as_bytes()].concat());
    }
    if change.is_hidden {
        object.insert("mounted".to_owned(), true.into());
    }
    Value::Object(object)
}

/// JSON has text only: bytes that are none go into a second field, in hexadecimal.
fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    object.insert(name.to_owned(), String::from_utf8_lossy(bytes).into());
    if str::from_utf8(bytes).is_err() {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        object.insert(format!("{name}_hex"), hex.into());
    }
}

pub fn quoted(path: &Path) -> String {
    quoted_bytes(path.as_os_str().as_bytes())
}

/// A path for people, terminals and patch(1): as it is, or, where something odd is in it, in double quotes with the
/// escapes of C, as git has it.
pub fn quoted_bytes(bytes: &[u8]) -> String {
    let is_plain = |text: &str| !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'));
    if let Ok(text) = str::from_utf8(bytes)
        && is_plain(text)
    {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| octal(&mut out, byte)),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| octal(&mut out, *byte));
    }
    out.push('"');
    out
}

fn octal(out: &mut String, byte: u8) {
    let _ = write!(out, "\\{byte:03o}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_quoted_as_git_has_it() {
        for (bytes, shown) in [
            (&b"etc/motd"[..], "etc/motd"),
            ("Ä b".as_bytes(), "Ä b"),
            (b"a\nb\t\"\\", r#""a\nb\t\"\\""#),
            (b"\xff\x1b[2Jx", r#""\377\033[2Jx""#),
            ("\u{9b}".as_bytes(), r#""\302\233""#),
        ] {
            assert_eq!(quoted_bytes(bytes), shown);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_in_json_in_full() {
        let mut object = Map::new();
        put_bytes(&mut object, "path", b"/a\xffb");
        assert_eq!(Value::Object(object), json!({ "path": "/a\u{fffd}b", "path_hex": "2f61ff62" }));
    }
}
