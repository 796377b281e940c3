//! The child's side: in a user namespace without maps it is nobody, so it waits until the launcher has written them.

use crate::status;
use nsl_shared::boot;
use rustix::io::Errno;
use rustix::process::{Gid, Signal, Uid};
use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Waits for the maps; returns the mount trees that came along, with owners shifted. The end of the socket means that
/// the launcher is gone.
pub fn wait(status: BorrowedFd<'_>) -> rustix::io::Result<VecDeque<OwnedFd>> {
    let mut trees = VecDeque::new();
    loop {
        match status::take_order(status).map_err(|errno| Errno::from_raw_os_error(errno as i32))? {
            (Some(boot::TREE), Some(tree)) => trees.push_back(tree),
            (Some(boot::MAPPED), None) => return Ok(trees),
            _ => return Err(Errno::PIPE),
        }
    }
}

/// Becomes root inside, without the caller's further groups.
pub fn become_root() -> rustix::io::Result<()> {
    match rustix::thread::set_thread_groups(&[]) {
        // newgidmap forbids it where there is no group but the caller's.
        Err(Errno::PERM) | Ok(()) => {}
        Err(errno) => return Err(errno),
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    // A change of the user takes it away. If nsl ended just before, the init finds the status socket hung up.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}
