//! Paths below a root that may be anybody's: whatever links lie on the way, none leads out of it.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, OwnedFd};

/// How often a path is looked up again if something was renamed meanwhile, on its way or, where it holds `..`, anywhere
/// on the machine: openat2(2), "EAGAIN", "EXDEV".
const PATIENCE: u32 = 100;

/// Opens `path`, resolved as if `root` were the root directory.
pub fn open(root: impl AsFd, path: impl rustix::path::Arg + Copy, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::XDEV) if tries < PATIENCE => tries += 1,
            result => return result,
        }
    }
}
