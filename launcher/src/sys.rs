//! Every unsafe block of the launcher: the system calls that neither nix nor rustix has, behind functions that take
//! borrowed descriptors and return owned ones.
#![allow(unsafe_code, reason = "the one file of this crate that may")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The C library's entry. Rust's own would find out the bounds of the stack and install a handler for its overflow
/// first, which is a tenth of the start; what else it does, `nsl` and `signals` do.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(_: libc::c_int, _: *const *const libc::c_char) -> libc::c_int {
    crate::nsl().into()
}

/// The two sides of [`clone3`].
pub enum Side {
    Child,
    Parent { pid: u32, pidfd: OwnedFd },
}

/// Makes a child in the new namespaces `flags` (`CLONE_NEW…`), as fork(2) does otherwise: clone(2), "clone3".
///
/// The process must have one thread: the child goes on with a copy of its memory, in which no other thread could
/// ever release a lock. Checked in builds with debug assertions.
pub fn clone3(flags: u64) -> Result<Side, Errno> {
    debug_assert_eq!(
        procfs::process::Process::myself().and_then(|me| me.stat()).map_or(1, |stat| stat.num_threads),
        1,
        "clone3 with other threads alive"
    );
    let mut pidfd: RawFd = -1;
    // SAFETY: all bytes zero is a valid value of this struct of integers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: args is of the size given and lives through the call, and so does pidfd; without CLONE_VM the child
    // has a memory of its own, and with one thread nothing in it is locked.
    let mut result = checked(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) });
    if result == Err(Errno::NOSYS) {
        // A seccomp filter cannot look into its arguments, so those of containers forbid it all.
        let flags = args.flags | args.exit_signal;
        // SAFETY: as above; the stack 0 stands for a copy of this one, and clone(2) puts the pidfd where it would put the
        // parent's thread ID, the third argument on every architecture that nsl is built for.
        result = checked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) });
    }
    match result? {
        0 => Ok(Side::Child),
        // SAFETY: the kernel put a new descriptor there, which nobody else owns.
        pid => Ok(Side::Parent { pid: pid as u32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Executes the program `file` with two arguments and no environment; comes back only with an error.
pub fn execute(file: BorrowedFd<'_>, name: &CStr, argument: &CStr) -> Errno {
    let argv = [name.as_ptr(), argument.as_ptr(), std::ptr::null()];
    let envp = [std::ptr::null::<libc::c_char>()];
    // SAFETY: both vectors end with a null and, with their strings, live through the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    last_error()
}

/// Makes the mount tree at `tree` read-only, all that is mounted below included: `mount_setattr(2)`.
pub fn make_read_only(tree: BorrowedFd<'_>) -> Result<(), Errno> {
    set_attributes(tree, libc::MOUNT_ATTR_RDONLY, 0)
}

/// Gives the files in the mount tree at `tree`, all that is mounted below included, the owners that the maps of a user
/// namespace make of theirs: `mount_setattr(2)`, "ID-mapped mounts".
pub fn shift_ids(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    set_attributes(tree, libc::MOUNT_ATTR_IDMAP, namespace.as_raw_fd() as u64)
}

fn set_attributes(tree: BorrowedFd<'_>, attr_set: u64, userns_fd: u64) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd };
    // SAFETY: the struct is of the size given and lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result).map(drop)
}

/// Makes `fd` the descriptor `number`, which an exec keeps; what was there is closed.
pub fn place(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    // SAFETY: only a child about to execute calls this: nothing in it uses the descriptor that is closed.
    checked(i64::from(unsafe { libc::dup2(fd.as_raw_fd(), number) })).map(drop)
}

/// Gives SIGCHLD its default: inherited as ignored, it has the kernel reap children and throw their status away. And
/// ignores SIGPIPE: a reader that is gone is an error of the write.
pub fn set_dispositions() {
    // SAFETY: no handler is installed, so no code can run at a bad moment.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Ignores SIGPIPE and SIGXFSZ: a reader that is gone and the limit of file sizes are errors of the write.
pub fn ignore_signals_of_writes() {
    // SAFETY: no handler is installed, so no code can run at a bad moment.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Calls `work` while SIGTSTP has its default, which is to stop; then what caught it catches it again.
pub fn with_default_stop(work: impl FnOnce()) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default is no handler, so no code can run at a bad moment.
    let before = unsafe { sigaction(Signal::SIGTSTP, &default) };
    work();
    if let Ok(before) = before {
        // SAFETY: the action was in force before, whoever installed it answers for it.
        let _ = unsafe { sigaction(Signal::SIGTSTP, &before) };
    }
}

/// The numbers of a set as bits, real-time signals included, for which nix has no names: bit n - 1 for signal n.
pub fn bits_of(set: &libc::sigset_t) -> u64 {
    // SAFETY: the set is initialised and lives through the call, which only reads it.
    let contains = |number: i32| unsafe { libc::sigismember(set, number) } == 1;
    (1..=64).filter(|number| contains(*number)).fold(0, |bits, number| bits | 1 << (number - 1))
}

/// Takes over a descriptor that the kernel just gave this process.
pub fn own(number: RawFd) -> OwnedFd {
    // SAFETY: its one caller has it from a message of the kernel's, and gives it to nobody else.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Has an exec close every descriptor from `first` on.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: no memory is touched, and no descriptor is closed yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    checked(result).map(drop)
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn checked(result: i64) -> Result<i64, Errno> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

/// Ends a child of [`clone3`] at once: no destructor, no handler of the launcher's runs in it.
pub fn exit_child(code: u8) -> ! {
    // SAFETY: _exit does not return and touches no memory.
    unsafe { libc::_exit(i32::from(code)) }
}
