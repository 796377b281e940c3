//! Every unsafe block of the launcher: the system calls that neither nix nor rustix has, behind functions that take
//! borrowed descriptors and return owned ones.
#![allow(unsafe_code, reason = "the one file of this crate that may")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
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

/// `CLONE_INTO_CGROUP`: clone(2), since Linux 5.7.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Makes a child in the new namespaces `flags` (`CLONE_NEW…`), and in the cgroup whose directory is given, as fork(2) does
/// otherwise: clone(2), "clone3".
///
/// The process must have one thread: the child goes on with a copy of its memory, in which no other thread could
/// ever release a lock. Checked in builds with debug assertions.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
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
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: args is of the size given and lives through the call, and so does pidfd; without CLONE_VM the child
    // has a memory of its own, and with one thread nothing in it is locked.
    let mut result = checked(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) });
    if result == Err(Errno::NOSYS) && cgroup.is_none() {
        // A seccomp filter cannot look into its arguments, so those of containers forbid it all. (A cgroup it alone takes.)
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

/// Is clone3 there? What is no argument at all, the kernel refuses in other words than a filter does that forbids the call.
pub fn has_clone3() -> bool {
    // SAFETY: no memory is handed over, and with a size of 0 no child is made.
    checked(unsafe { libc::syscall(libc::SYS_clone3, 0, 0) }) == Err(Errno::INVAL)
}

/// `NS_GET_NSTYPE`: ioctl_ns(2).
const GET_KIND: libc::c_ulong = 0xb703;

/// The kind of a namespace, as a flag `CLONE_NEW…`.
pub fn namespace_kind(namespace: BorrowedFd<'_>) -> Result<i32, Errno> {
    // SAFETY: it takes no argument and touches no memory.
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), GET_KIND as _) };
    checked(kind.into()).map(|kind| kind as i32)
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

/// Gives the files in the mount tree at `tree`, all that is mounted below included, the owners that the maps of a user
/// namespace make of theirs: `mount_setattr(2)`, "ID-mapped mounts".
pub fn shift_ids(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    let userns_fd = namespace.as_raw_fd() as u64;
    set_mount_attributes(tree, (libc::MOUNT_ATTR_IDMAP, 0), userns_fd, true)
}

/// Sets attributes of the mount at `mount`, and of all that are mounted below it if `whole_tree`, and takes others from
/// it: `mount_setattr(2)`.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    whole_tree: bool,
) -> Result<(), Errno> {
    set_mount_attributes(mount, (set.bits().into(), clear.bits().into()), 0, whole_tree)
}

fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    (attr_set, attr_clr): (u64, u64),
    userns_fd: u64,
    whole_tree: bool,
) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set, attr_clr, propagation: 0, userns_fd };
    let flags = libc::AT_EMPTY_PATH | if whole_tree { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the struct is of the size given and lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result).map(drop)
}

/// Makes `fd` the descriptor `number`, which an exec keeps; what was there is closed.
pub fn place(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    // SAFETY: only a child calls this that is about to execute, or has yet to begin: nothing in it uses the descriptor
    // that is closed.
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

/// The signals that are held back and wait for it to end, as bits like those of [`bits_of`].
pub fn pending_signals() -> u64 {
    // SAFETY: all bytes zero is a valid value of this set of bits.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives through the call, which writes to nothing else.
    unsafe { libc::sigpending(&raw mut set) };
    bits_of(&set)
}

/// Does this process ignore a signal?
pub fn ignores(signal: Signal) -> bool {
    // SAFETY: all bytes zero is a valid value of this struct of integers and an optional function.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action nothing changes; the present one is written to a struct that lives through the call.
    unsafe { libc::sigaction(signal as libc::c_int, std::ptr::null(), &raw mut action) };
    action.sa_sigaction == libc::SIG_IGN
}

/// Gives the kernel what the allocator keeps of memory that was freed.
pub fn give_memory_back() {
    // SAFETY: only what is free is touched.
    unsafe { libc::malloc_trim(0) };
}

/// Takes over a descriptor that the kernel just gave this process.
pub fn own(number: RawFd) -> OwnedFd {
    // SAFETY: its one caller has it from a message of the kernel's, and gives it to nobody else.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Takes over a descriptor that the caller of nsl has handed to it; nothing, if `number` is not open.
pub fn adopt(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_GETFD touches no memory.
    let is_open = number > 2 && unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, and nobody else's: it is asked for once, before nsl opens files of its own, and the standard
    // streams, which belong to all, are left out.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// `F_SETSIG`: fcntl(2), "Managing signals".
const F_SETSIG: libc::c_int = 10;

/// Has the kernel kill this process when nobody can write to the pipe `read` any more: fcntl(2), "Managing signals". It
/// outlives an exec as long as one descriptor of this end is open, whoever has it, and changes of the user too.
pub fn kill_when_unwritable(read: BorrowedFd<'_>) -> Result<(), Errno> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    for (command, argument) in [(libc::F_SETOWN, own), (F_SETSIG, libc::SIGKILL), (libc::F_SETFL, libc::O_ASYNC)] {
        // SAFETY: these commands touch no memory.
        checked(i64::from(unsafe { libc::fcntl(read.as_raw_fd(), command, argument) }))?;
    }
    Ok(())
}

/// Has an exec close every descriptor from `first` on.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: no memory is touched, and no descriptor is closed yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    checked(result).map(drop)
}

/// Closes every descriptor but these: close_range(2). For a process that was cloned and uses no other from here on.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) {
    let mut numbers: Vec<u32> = kept.iter().map(|descriptor| descriptor.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let ends = numbers.into_iter().chain([u32::MAX]);
    let mut first = 0;
    for end in ends {
        if first < end {
            // SAFETY: no memory is touched; what still owns one of the descriptors is never used or dropped again.
            unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
        }
        first = end.saturating_add(1);
    }
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
