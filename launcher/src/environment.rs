//! The command's environment: the caller's, changed by what is known of the user, by `--env-file`, and by `-e`; and the
//! variables by which a service manager speaks to whom it starts.

use crate::cli::Run;
use crate::error::{Error, Result};
use crate::mounts::{Kind, Mount};
use nix::errno::Errno;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path};
use tracing::warn;

/// Bytes that a file may have.
const LONGEST: u64 = 1 << 20;

/// What else decides about it.
pub struct Circumstances {
    /// The user's own variables, `NAME=VALUE`.
    pub user: Vec<Vec<u8>>,
    /// The command has a terminal.
    pub terminal: bool,
    /// Abstract sockets of the host's are in reach.
    pub host_network: bool,
    /// The command gets the sockets of `LISTEN_FDS`.
    pub listening: bool,
}

pub struct Environment {
    /// `NAME=VALUE`, each ended by a NUL.
    pub entries: Vec<u8>,
    /// The socket of `NOTIFY_SOCKET`.
    pub notify: Option<Mount>,
}

/// What is set by name, each with its entry; without one it is the caller's, which may not have it.
type Changes<'a> = BTreeMap<&'a [u8], Option<&'a [u8]>>;

/// The number of a line, and what is wrong with it.
type BadLine = (usize, &'static str);

impl Environment {
    pub fn new(run: &Run, circumstances: &Circumstances) -> Result<Self> {
        let files = run.env_file.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
        let mut changes = Changes::new();
        for entry in &circumstances.user {
            change(&mut changes, entry);
        }
        for (path, text) in run.env_file.iter().zip(&files) {
            change_by_file(&mut changes, text)
                .map_err(|(line, cause)| Error::new(format!("use line {line} of {}", path.display()), cause))?;
        }
        for entry in &run.env {
            if matches!(entry.as_bytes(), [] | [b'=', ..]) {
                let step = format!("set the environment variable {}", entry.display());
                return Err(Error::new(step, "it has no name"));
            }
            change(&mut changes, entry.as_bytes());
        }
        let mut environment = Self { entries: Vec::new(), notify: None };
        for (name, value) in std::env::vars_os() {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            match changes.get(name) {
                Some(Some(_)) => {}
                Some(None) => environment.push(name, value, circumstances),
                None => match circumstances.inherited(run, name) {
                    Inherited::Kept => environment.push(name, value, circumstances),
                    // The init makes it the command's own number.
                    Inherited::OfInit => environment.push(name, b"1", circumstances),
                    Inherited::Dropped => {}
                },
            }
        }
        for (name, entry) in changes {
            if let Some(entry) = entry {
                environment.push(name, &entry[name.len() + 1..], circumstances);
            }
        }
        Ok(environment)
    }

    fn push(&mut self, name: &[u8], value: &[u8], circumstances: &Circumstances) {
        if name == b"NOTIFY_SOCKET" {
            match Notify::by(value, circumstances) {
                Notify::As => {}
                Notify::Bound(mount) => self.notify = Some(mount),
                Notify::OutOfReach => {
                    warn!(
                        "NOTIFY_SOCKET is left out: {} is in the host's network only (hint: --network host)",
                        OsStr::from_bytes(value).display()
                    );
                    return;
                }
            }
        }
        self.entries.reserve(name.len() + value.len() + 2);
        for part in [name, b"=", value, b"\0"] {
            self.entries.extend_from_slice(part);
        }
    }
}

/// What becomes of a variable of the caller's that nothing is said about.
enum Inherited {
    Kept,
    OfInit,
    Dropped,
}

impl Circumstances {
    fn inherited(&self, run: &Run, name: &[u8]) -> Inherited {
        match name {
            b"LISTEN_PID" if self.listening => Inherited::OfInit,
            b"LISTEN_FDS" | b"LISTEN_FDNAMES" if self.listening => Inherited::Kept,
            // Meant for another process, they say nothing to this one.
            b"LISTEN_PID" | b"LISTEN_FDS" | b"LISTEN_FDNAMES" | b"LISTEN_PIDFDID" | b"WATCHDOG_PID"
            | b"WATCHDOG_USEC" => Inherited::Dropped,
            b"TERM" if self.terminal => Inherited::Kept,
            _ if run.clear_env => Inherited::Dropped,
            _ => Inherited::Kept,
        }
    }
}

/// How a socket of `sd_notify(3)` is reached from inside.
enum Notify {
    /// As it is, or not at all: that is the command's business.
    As,
    Bound(Mount),
    OutOfReach,
}

impl Notify {
    fn by(value: &[u8], circumstances: &Circumstances) -> Self {
        if value.starts_with(b"@") {
            return if circumstances.host_network { Self::As } else { Self::OutOfReach };
        }
        let target = Path::new(OsStr::from_bytes(value));
        let is_plain = target.is_absolute() && target.components().all(|part| part != Component::ParentDir);
        match std::fs::canonicalize(target).and_then(|source| Ok((source.metadata()?, source))) {
            // Whoever may write to it may send; its mode and owner are the host's business.
            Ok((found, source)) if is_plain && found.file_type().is_socket() => {
                Self::Bound(Mount { target: target.components().collect(), kind: Kind::Bind(source), read_only: true })
            }
            _ => Self::As,
        }
    }
}

/// `entry` is `NAME=VALUE`, or a name alone.
fn change<'a>(changes: &mut Changes<'a>, entry: &'a [u8]) {
    match entry.iter().position(|byte| *byte == b'=') {
        Some(end) => changes.insert(&entry[..end], Some(entry)),
        None => changes.insert(entry, None),
    };
}

/// What a file says in docker's format.
fn change_by_file<'a>(changes: &mut Changes<'a>, text: &'a [u8]) -> std::result::Result<(), BadLine> {
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let entry = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if entry.is_empty() || entry.starts_with(b"#") {
            continue;
        }
        let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
        if entry.contains(&0) {
            return Err((number, "it holds a NUL byte"));
        } else if name.is_empty() {
            return Err((number, "it has no name"));
        } else if name.iter().any(u8::is_ascii_whitespace) {
            return Err((number, "there is white space in the name"));
        }
        change(changes, entry);
    }
    Ok(())
}

/// Reads a file, or what somebody writes to a pipe.
fn read(path: &Path) -> Result<Vec<u8>> {
    let step = || format!("read the environment from {}", path.display());
    let failed = |errno: rustix::io::Errno| Error::os(step(), Errno::from_raw(errno.raw_os_error()));
    // Not to wait for a writer: where there is none there is nothing to read.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(failed)?;
    let mut file = File::from(file);
    let is_pipe = file.metadata().is_ok_and(|found| found.file_type().is_fifo());
    let mut text = Vec::new();
    file.by_ref().take(LONGEST + 1).read_to_end(&mut text).map_err(|error| Error::io(step(), &error))?;
    if text.len() as u64 > LONGEST {
        return Err(Error::new(step(), "it is longer than 1 MiB"));
    }
    if is_pipe && text.is_empty() {
        return Err(Error::new(step(), "nobody writes to this pipe"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> std::result::Result<Vec<(String, Option<String>)>, BadLine> {
        let mut changes = Changes::new();
        change_by_file(&mut changes, text.as_bytes())?;
        let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(changes.into_iter().map(|(name, entry)| (string(name), entry.map(string))).collect())
    }

    #[test]
    fn files_are_read_as_docker_reads_them() {
        let text = "# why\n\n  A=1\nB= two words \nC\nD==x=#y\n\t# more\nE=\r\nA=2";
        let one = |name: &str, entry: &str| (name.to_owned(), Some(entry.to_owned()));
        let expected = vec![
            one("A", "A=2"),
            one("B", "B= two words "),
            ("C".to_owned(), None),
            one("D", "D==x=#y"),
            one("E", "E="),
        ];
        assert_eq!(entries(text), Ok(expected));
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(entries("A=1\n=2"), Err((2, "it has no name")));
        assert_eq!(entries("A B=1"), Err((1, "there is white space in the name")));
        assert_eq!(entries("export A"), Err((1, "there is white space in the name")));
        assert_eq!(entries("\nA=\0"), Err((2, "it holds a NUL byte")));
    }

    #[test]
    fn a_socket_in_another_network_is_out_of_reach() {
        let circumstances =
            |host_network| Circumstances { user: Vec::new(), terminal: false, host_network, listening: false };
        assert!(matches!(Notify::by(b"@a", &circumstances(false)), Notify::OutOfReach));
        assert!(matches!(Notify::by(b"@a", &circumstances(true)), Notify::As));
        for value in [&b""[..], b"/no/where", b"/etc/passwd", b"relative", b"vsock:2:1234", b"/\xff\n"] {
            assert!(matches!(Notify::by(value, &circumstances(false)), Notify::As), "{value:?}");
        }
    }
}
