//! The contents of a sandbox's own /etc/resolv.conf and /etc/hosts, made of those of others, which may hold anything.
//! Who writes them where is decided elsewhere.

mod hosts;
mod resolv;

pub use hosts::{Entry, HOSTNAME_MAX, Hosts, Target, is_hostname, line};
pub use resolv::{Dns, Reach, resolv_conf, servers};

use crate::confined;
use crate::error::Error;
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Bytes that are read of a file.
const LONGEST: usize = 64 << 10;
/// Nobody is waited for: a pipe has perhaps no writer.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// `FUSE_SUPER_MAGIC`: somebody's program answers, or does not.
const FUSE: u64 = 0x6573_5546;

fn read(path: &Path) -> Vec<u8> {
    read_if_there(path).unwrap_or_default()
}

/// The text of a file of the host's. One that cannot be read counts as empty, and this warns of it: a sandbox without
/// names is of more use than none.
pub fn read_if_there(path: &Path) -> Option<Vec<u8>> {
    let opened = rustix::fs::open(path, READ, Mode::empty()).map_err(io::Error::from);
    match opened.and_then(text) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!("{}; it counts as empty", Error::io(format!("read {}", path.display()), &error));
            Some(Vec::new())
        }
        Ok((text, whole)) => {
            if !whole {
                tracing::warn!("{} is longer than 64 kB: the rest of it is left out", path.display());
            }
            Some(text)
        }
    }
}

/// The text of a file in somebody's root, where links lead nowhere else, and where it may be anything: it is looked at
/// before it is opened.
pub fn read_in(root: impl AsFd, path: &str) -> io::Result<Vec<u8>> {
    let found = confined::open(root, path, OFlags::PATH, Mode::empty())?;
    if rustix::fs::fstatfs(&found)?.f_type as u64 == FUSE {
        return Err(io::Error::new(ErrorKind::Unsupported, "it is in a file system of somebody's program (FUSE)"));
    }
    regular(&found)?;
    let (text, _) = text(rustix::fs::open(format!("/proc/self/fd/{}", found.as_raw_fd()), READ, Mode::empty())?)?;
    Ok(text)
}

/// The length of a regular file.
fn regular(file: &OwnedFd) -> io::Result<usize> {
    let found = rustix::fs::fstat(file)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok(found.st_size as usize),
        FileType::Directory => Err(rustix::io::Errno::ISDIR.into()),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Its lines as far as [`LONGEST`] reaches, and whether that is all.
fn text(file: OwnedFd) -> io::Result<(Vec<u8>, bool)> {
    let length = regular(&file)?;
    // With room to spare, the end is found by one read more.
    let mut text = Vec::with_capacity(length.min(LONGEST) + 64);
    File::from(file).take(LONGEST as u64 + 1).read_to_end(&mut text)?;
    if text.len() <= LONGEST {
        return Ok((text, true));
    }
    let end = text[..LONGEST].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    text.truncate(end);
    Ok((text, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// A directory that is removed at the end of the test.
    struct Directory(std::path::PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nsl-read-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_no_file_counts_as_empty_and_keeps_nobody_waiting() {
        let directory = Directory::new("odd");
        let fifo = directory.0.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let start = Instant::now();
        for path in [&fifo, &directory.0, Path::new("/dev/zero"), Path::new("/no/where")] {
            assert!(read(path).is_empty(), "{}", path.display());
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn of_a_long_file_whole_lines_are_read() {
        let directory = Directory::new("long");
        let path = directory.0.join("long");
        std::fs::write(&path, "nameserver 192.0.2.1\n".repeat(100_000)).unwrap();
        let text = read(&path);
        assert!(text.len() <= LONGEST && text.len() > LONGEST - 30 && text.ends_with(b".1\n"), "{}", text.len());
        std::fs::write(&path, vec![b'x'; LONGEST * 2]).unwrap();
        assert!(read(&path).is_empty());
    }

    #[test]
    fn in_a_root_of_somebodys_no_link_leads_out_and_no_pipe_is_opened() {
        let directory = Directory::new("root");
        let etc = directory.0.join("etc");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(directory.0.join("plain"), "inside").unwrap();
        std::os::unix::fs::symlink("../../../../../plain", etc.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", etc.join("out")).unwrap();
        nix::unistd::mkfifo(&etc.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let root = File::open(&directory.0).unwrap();
        assert_eq!(read_in(&root, "etc/link").unwrap(), b"inside");
        assert_eq!(read_in(&root, "etc/out").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read_in(&root, "etc/fifo").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
