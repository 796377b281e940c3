//! The lock of a sandbox's directory, two bytes of one file. Locks of open file descriptions (fcntl(2)): a process that
//! ends, however it ends, gives them back, and who only asks takes none.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::os::fd::BorrowedFd;

/// What a byte stands for.
#[derive(Clone, Copy)]
pub enum Byte {
    /// The sandbox's nsl lives. Whoever else has the name must not look like that.
    Life = 0,
    /// Whose the name is: of a living one, of one that is made, or of who removes what is left of one.
    Name = 1,
}

fn range(byte: Byte) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: 1,
        // Must be so: fcntl(2), "Open file description locks".
        l_pid: 0,
    }
}

/// Locks a byte of a file that is open for writing, if nobody else has; says if it did.
pub fn take(file: BorrowedFd<'_>, byte: Byte) -> Result<bool, Errno> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range(byte))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Has somebody locked a byte?
pub fn is_held(file: BorrowedFd<'_>, byte: Byte) -> Result<bool, Errno> {
    let mut range = range(byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut range))?;
    Ok(range.l_type != libc::F_UNLCK as libc::c_short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::fd::AsFd;

    #[test]
    fn a_byte_is_one_descriptions_alone_and_asking_takes_nothing() {
        let path = std::env::temp_dir().join(format!("nsl-lock-{}", std::process::id()));
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let (one, other) = (open(), open());
        assert_eq!(is_held(other.as_fd(), Byte::Life), Ok(false));
        assert_eq!(take(one.as_fd(), Byte::Life), Ok(true));
        assert_eq!((is_held(other.as_fd(), Byte::Life), is_held(other.as_fd(), Byte::Name)), (Ok(true), Ok(false)));
        assert_eq!((take(other.as_fd(), Byte::Life), take(other.as_fd(), Byte::Name)), (Ok(false), Ok(true)));
        let copy = one.try_clone().unwrap();
        drop(one);
        assert_eq!(is_held(other.as_fd(), Byte::Life), Ok(true));
        drop(copy);
        assert_eq!(is_held(other.as_fd(), Byte::Life), Ok(false));
        std::fs::remove_file(path).unwrap();
    }
}
