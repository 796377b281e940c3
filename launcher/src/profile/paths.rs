//! The paths in the values of options: which ones there are, and what they are where they are relative.

use super::{Base, at};
use crate::mounts;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A value with its relative paths made absolute; none if it has none.
pub fn resolved(long: &str, value: &[u8], base: &Base) -> Option<OsString> {
    // A path of the host, and one of the inside.
    let host = |path: &[u8]| absolute(path, base);
    let inside = |path: &[u8]| if base.inside { host(path) } else { path.to_vec() };
    if value.is_empty() {
        return None;
    }
    let value = match long {
        "rootfs" | "changes" | "env-file" | "pidfile" => host(value),
        "workdir" => inside(value),
        "seccomp" if !matches!(value, b"default" | b"unconfined") => host(value),
        "network" => [b"ns:", &host(value.strip_prefix(b"ns:").filter(|path| !path.is_empty())?)[..]].concat(),
        "volume" => {
            let mut parts: Vec<_> = value.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect();
            if let [from, to, ..] = &mut parts[..] {
                (*from, *to) = (host(from), inside(to));
            }
            parts.join(&b':')
        }
        "tmpfs" => {
            let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
            [&inside(&value[..end])[..], &value[end..]].concat()
        }
        "landlock" => {
            let rules = value.split(|byte| *byte == b',').map(|rule| with_path(rule, inside));
            rules.collect::<Vec<_>>().join(&b',')
        }
        "mount" => mounts::rewritten(value, |key, path| match key {
            b"src" | b"source" => Some(host(path)),
            b"dst" | b"target" | b"destination" => Some(inside(path)),
            _ => None,
        })?,
        _ => return None,
    };
    Some(OsString::from_vec(value))
}

/// `ro=PATH`, or `ro=-PATH` for one that may be missing.
fn with_path(rule: &[u8], path: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some(end) = rule.iter().position(|byte| *byte == b'=') else { return rule.to_vec() };
    let begin = end + 1 + usize::from(rule[end + 1..].starts_with(b"-"));
    [&rule[..begin], &path(&rule[begin..])[..]].concat()
}

fn absolute(path: &[u8], base: &Base) -> Vec<u8> {
    if path.is_empty() || path.starts_with(b"/") {
        return path.to_vec();
    }
    let path = Path::new(OsStr::from_bytes(path));
    let (base, path) = match (path.strip_prefix("~"), &base.home) {
        (Ok(below), Some(home)) => (home, below),
        _ => (&base.directory, path),
    };
    at(base, path).into_os_string().into_vec()
}

/// Where this one is mounted, if it is a mount.
pub fn target(long: &str, value: &OsStr) -> Option<PathBuf> {
    let value = value.as_bytes();
    let target = match long {
        "volume" => value.split(|byte| *byte == b':').nth(1)?.to_vec(),
        "tmpfs" => value.split(|byte| *byte == b':').next()?.to_vec(),
        "mount" => {
            let mut target = None;
            mounts::rewritten(value, |key, path| {
                target = matches!(key, b"dst" | b"target" | b"destination").then(|| path.to_vec()).or(target.take());
                None
            });
            target?
        }
        _ => return None,
    };
    Some(Path::new(OsStr::from_bytes(&target)).components().collect())
}
