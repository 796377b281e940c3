//! The files of a log: `log`, which is written to, and `log.1` and so on, which were before it. A file that is full
//! gives its name to the next.

use super::record;
use super::{Failure, Target};
use crate::error::{Error, Result};
use crate::hints;
use crate::service::Directory;
use crate::sys;
use nix::errno::Errno;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

pub const LOG: &str = "log";
/// What becomes the next `log`: where it cannot be made, the one that is there stays.
const NEXT: &str = "log.next";
const FLAGS: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::APPEND);

/// The name of the file that is `age` files old.
pub fn name(age: u32) -> String {
    if age == 0 { LOG.to_owned() } else { format!("{LOG}.{age}") }
}

/// How old the file of this name is; none if it is none of a log's.
pub fn age(name: &str) -> Option<u32> {
    match name.strip_prefix(LOG)? {
        "" => Some(0),
        suffix => suffix.strip_prefix('.').filter(|age| !age.starts_with(['0', '+']))?.parse().ok(),
    }
}

pub struct Files {
    directory: Directory,
    /// Of all files, the present one first: none is made later, see [`super::queue`].
    names: Vec<String>,
    /// How many there are beside the present one.
    older: usize,
    file: File,
    size: u64,
    limit: u64,
}

impl Files {
    /// Goes on with the log that is there, or begins one.
    pub fn open(directory: Directory, limit: u64, count: u32) -> Result<Self> {
        // The limit of the size of files (setrlimit(2)) is an error of the write, too.
        sys::ignore_signals_of_writes();
        let failed = |errno: Errno| {
            hints::logs(Error::os(format!("open the log {}", directory.path().join(LOG).display()), errno))
        };
        let open = |flags| directory.file(LOG, flags).map(File::from).map_err(errno).map_err(failed);
        let mut file = open(FLAGS)?;
        let io = |error: std::io::Error| failed(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
        let mut size = file.metadata().map_err(io)?.len();
        // The last record of a monitor that was killed may have no end.
        let mut last = [b'\n'];
        if size > 0 {
            open(OFlags::RDONLY)?.read_exact_at(&mut last, size - 1).map_err(io)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n").map_err(io)?;
            size += 1;
        }
        // There may have been more of them.
        let mut older = 0;
        for file in directory.names().map_err(errno).map_err(failed)? {
            match age(&file) {
                Some(age) if age < count => older = older.max(age as usize),
                None if file != NEXT => {}
                _ => directory.remove_file(&file).map_err(errno).map_err(failed)?,
            }
        }
        let names = (0..count).map(name).collect();
        Ok(Self { directory, names, older, file, size, limit })
    }

    /// Renames all files, which removes the oldest, and begins a new one.
    fn rotate(&mut self) -> rustix::io::Result<()> {
        let file = self.directory.file(NEXT, FLAGS | OFlags::TRUNC)?;
        let older = (self.older + 1).min(self.names.len() - 1);
        for pair in self.names[..=older].windows(2).rev() {
            match self.directory.rename(&pair[0], &pair[1]) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.directory.rename(NEXT, LOG)?;
        (self.file, self.size, self.older) = (file.into(), 0, older);
        Ok(())
    }

    /// Writes records behind the others. What fits of them is kept whole.
    fn append(&mut self, records: &[u8]) -> std::result::Result<(), Failure> {
        let mut done = 0;
        while done < records.len() {
            match nix::unistd::write(&self.file, &records[done..]) {
                Err(Errno::EINTR) => {}
                Ok(length) if length > 0 => done += length,
                result => {
                    let whole = memchr::memrchr(b'\n', &records[..done]).map_or(0, |end| end + 1);
                    if whole < done
                        && let Ok(found) = self.file.metadata()
                    {
                        let _ = self.file.set_len(found.len().saturating_sub((done - whole) as u64));
                    }
                    self.size += whole as u64;
                    return Err(Failure { done: whole, errno: result.err().unwrap_or(Errno::EIO) });
                }
            }
        }
        self.size += done as u64;
        Ok(())
    }
}

impl Target for Files {
    fn write(&mut self, records: &[u8]) -> std::result::Result<(), Failure> {
        let mut done = 0;
        while done < records.len() {
            let rest = &records[done..];
            let room = usize::try_from(self.limit.saturating_sub(self.size)).unwrap_or(usize::MAX).min(rest.len());
            let mut length = memchr::memrchr(b'\n', &rest[..room]).map_or(0, |end| end + 1);
            if length == 0 {
                if self.size > 0 {
                    self.rotate().map_err(|error| Failure { done, errno: errno(error) })?;
                    continue;
                }
                length = record::split(rest).next().map_or(rest.len(), <[u8]>::len);
            }
            self.append(&rest[..length]).map_err(|failure| Failure { done: done + failure.done, ..failure })?;
            done += length;
        }
        Ok(())
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}
