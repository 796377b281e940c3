//! Why something cannot be unpacked: what is wrong with it, what the system said, or who asked nsl to stop.

use nix::errno::Errno;
use std::io::ErrorKind;

pub type Result<T> = std::result::Result<T, Fault>;

/// Longer names are cut in messages.
const LONGEST: usize = 200;

#[derive(Debug)]
pub enum Fault {
    /// What was read is not what it should be.
    Content(String),
    /// A system call failed; `what` is what it was about, an entry's name for the most part.
    System { what: String, errno: Errno },
    /// A signal came that ends nsl.
    Interrupted,
}

impl Fault {
    pub fn content(words: impl Into<String>) -> Self {
        Self::Content(words.into())
    }

    /// Something is wrong with the entry `name`.
    pub fn entry(name: &[u8], words: &str) -> Self {
        Self::Content(format!("{}: {words}", shown(name)))
    }

    /// A system call for the entry `name` failed.
    pub fn os(name: &[u8], errno: rustix::io::Errno) -> Self {
        Self::System { what: shown(name), errno: Errno::from_raw(errno.raw_os_error()) }
    }

    /// Reading failed: by the system, or because of what was read.
    pub fn read(what: &str, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::System { what: what.to_owned(), errno: Errno::from_raw(errno) },
            None if error.kind() == ErrorKind::UnexpectedEof => Self::content(format!("{what} ends too early")),
            None => Self::content(format!("{what} is damaged: {}", one_line(&error.to_string()))),
        }
    }
}

/// A name from an archive, safe to print: one line without control characters.
pub fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown: String = one_line(&text).chars().take(LONGEST).collect();
    if shown.is_empty() {
        shown.push_str("an entry without a name");
    }
    shown
}

fn one_line(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_in_one_line() {
        assert_eq!(shown(b"a\nb\x1b[31m\xff"), "a\\nb\\u{1b}[31m\u{fffd}");
        assert_eq!(shown(b""), "an entry without a name");
        assert_eq!(shown(&[b'x'; 9999]).len(), LONGEST);
    }
}
