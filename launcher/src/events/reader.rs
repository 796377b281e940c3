//! The descriptor of `--status-fd`: taken over from the caller, and written to within bounds, so that no reader holds the
//! sandbox up. What the lines say is not known here.

use crate::error::{Error, Result};
use crate::sys;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A pipe takes so much as a whole or not at all.
const PIPE_BUF: usize = 4096;
/// How long a reader may let a full pipe be full.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Takes over the caller's descriptor `number`. Files that nsl opens before this may be mistaken for it.
pub(super) fn adopt(number: i32) -> Result<OwnedFd> {
    let step = || format!("use --status-fd {number}");
    let duplicate = |stream: &dyn AsFd| rustix::io::fcntl_dupfd_cloexec(stream.as_fd(), 3).ok();
    let mut to = match number {
        ..=0 => return Err(Error::new(step(), "it is no descriptor to write to")),
        1 => duplicate(&std::io::stdout()),
        2 => duplicate(&std::io::stderr()),
        _ => sys::adopt(number),
    }
    .ok_or_else(|| Error::new(step(), "it is not open").hint(format!("as in {number}>events")))?;
    let is_writable = rustix::fs::fcntl_getfl(&to)
        .is_ok_and(|flags| flags.intersects(OFlags::WRONLY | OFlags::RDWR) && !flags.contains(OFlags::PATH));
    if !is_writable {
        return Err(Error::new(step(), "it is open for reading only"));
    }
    // A reader that is gone is an error of the write.
    sys::ignore_signals_of_writes();
    open_anew(&mut to);
    Ok(to)
}

/// Not to block is a property of an open file, and the caller's must stay as it is: a pipe or device is opened anew, in
/// the same place, where it can be. Otherwise a write follows only on the word of poll(2).
fn open_anew(file: &mut OwnedFd) {
    let kind = rustix::fs::fstat(&*file).map(|found| FileType::from_raw_mode(found.st_mode));
    if !matches!(kind, Ok(FileType::Fifo | FileType::CharacterDevice)) {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(anew) = rustix::fs::open(format!("/proc/self/fd/{}", file.as_raw_fd()), flags, Mode::empty()) {
        let _ = rustix::io::dup3(&anew, file, rustix::io::DupFlags::CLOEXEC);
    }
}

/// Writes a line within [`PATIENCE`], with one call unless it is longer than a pipe takes at once, or fails.
pub(super) fn write(to: &OwnedFd, mut line: &[u8]) -> std::result::Result<(), Errno> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
        match nix::poll::poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Ok(0) => return Err(Errno::EAGAIN),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        let written = match rustix::net::send(to, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::NOTSOCK) => rustix::io::write(to, line),
            result => result,
        };
        match written {
            Ok(length) if length == line.len() => return Ok(()),
            // Half a line, on a disk that is full for one: what would follow could not be read.
            Ok(length) if length == 0 || line.len() <= PIPE_BUF => return Err(Errno::EIO),
            Ok(length) => line = &line[length..],
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if !left.is_zero() => {}
            Err(errno) => return Err(Errno::from_raw(errno.raw_os_error())),
        }
    }
}
