//! Words of a unit, so that systemd reads from them what they are: systemd.syntax(7), and systemd.service(5), "Command
//! lines", for what `%` and `$` mean.

use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// One argument.
pub fn word(bytes: &[u8]) -> String {
    quoted(bytes, true)
}

/// The first word: no variable is looked for in it.
pub fn program(path: &OsStr, step: &'static str) -> Result<String> {
    check(path, step)?;
    Ok(quoted(path.as_bytes(), false))
}

/// The rest of a line, which is never taken apart.
pub fn path(path: &OsStr, step: &'static str) -> Result<String> {
    check(path, step).map(|path| path.replace('%', "%%"))
}

/// What nobody can write into a unit is refused.
fn check<'a>(path: &'a OsStr, step: &'static str) -> Result<&'a str> {
    let is_plain = |path: &&str| !path.contains(|c: char| c.is_control() || c == '\\' || c == '"' || c == '\'');
    let refused = || Error::new(step, format!("systemd takes no such path: {}", path.display()));
    path.to_str().filter(is_plain).filter(|path| path.trim() == *path).ok_or_else(refused)
}

fn quoted(bytes: &[u8], has_variables: bool) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return bytes.iter().map(|byte| char::from(*byte)).collect();
    }
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '"' => text.extend(['\\', c]),
                '%' => text.push_str("%%"),
                '$' if has_variables => text.push_str("$$"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                c if c.is_ascii_control() => drop(write!(text, "\\x{:02x}", c as u32)),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_they_must_be() {
        assert_eq!(word(b"--network=veth:a_b-c"), "--network=veth:a_b-c");
        assert_eq!(word(b""), r#""""#);
        assert_eq!(word(b"two words"), r#""two words""#);
        assert_eq!(word(b"100% of $HOME ${A}"), r#""100%% of $$HOME $${A}""#);
        assert_eq!(word(b"a\"b\\c'd"), r#""a\"b\\c'd""#);
        assert_eq!(word(b"one\ntwo\t\x1b\xff;"), r#""one\ntwo\t\x1b\xff;""#);
        assert_eq!(word(b";"), r#"";""#);
        assert_eq!(word("ä".as_bytes()), "\"ä\"");
        assert_eq!(program(OsStr::new("/a b$/nsl%"), "").unwrap(), r#""/a b$/nsl%%""#);
        assert_eq!(path(OsStr::new("/a b/100%"), "").unwrap(), "/a b/100%%");
        for bad in ["/a\nb", "/a\\b", "/a\"", "/a "] {
            assert!(path(OsStr::new(bad), "").is_err() && program(OsStr::new(bad), "").is_err(), "{bad:?}");
        }
    }
}
