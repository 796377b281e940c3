//! The steps that a boot message asks for, up to the moment when nsl lets the command start.

use crate::sys::{self, Loaded};
use core::ffi::CStr;
use nsl_shared::boot::{self, InitStep, Message, Setup};
use nsl_shared::signal::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags};
use rustix::net::{AddressFamily, RecvFlags, SocketType};
use rustix::process::DumpableBehavior;

/// From here on the init gets `signal` when nsl ends. A death before the call shows as a status socket that hangs up.
pub fn end_with_launcher(status: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    sys::set_parent_death_signal(signal);
    let mut peer = [PollFd::new(&status, PollFlags::empty())];
    rustix::event::poll(&mut peer, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if peer[0].revents().contains(PollFlags::HUP) { Err(Errno::PIPE) } else { Ok(()) }
}

/// Maps and decodes the message on its descriptor, and closes that.
pub fn read_boot_message() -> Result<(Loaded, Message<'static>), Errno> {
    let file = sys::take_descriptor(boot::BOOT_FD);
    let length = rustix::fs::fstat(&file)?.st_size;
    let (loaded, bytes) = Loaded::map(file.as_fd(), usize::try_from(length).map_err(|_| Errno::BADMSG)?)?;
    Ok((loaded, Message::decode(bytes).map_err(|_| Errno::BADMSG)?))
}

/// Does what the message asks for, in the order that the kernel wants; `step` is the one that failed, if one does.
pub fn carry_out(boot: &Message<'_>, step: &mut InitStep) -> Result<(), Errno> {
    let asked = |step| boot.setup().contains(step);
    // Executed from a memory file, it would be listed by that file's name.
    let _ = rustix::thread::set_name(c"nsl-init");
    // Nobody inside looks into it, whatever he may do otherwise; the command is as it wants to be.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // A session of the init's own: what a terminal of nsl's sends its group arrives once, by way of nsl.
    let _ = rustix::process::setsid();
    *step = InitStep::DetachOldRoot;
    if asked(Setup::OLD_ROOT) {
        detach_old_root()?;
    }
    *step = InitStep::ProtectProc;
    if asked(Setup::PROC) {
        protect(boot)?;
    }
    *step = InitStep::SetHostname;
    if !boot.hostname().is_empty() {
        rustix::system::sethostname(boot.hostname())?;
    }
    *step = InitStep::RaiseLoopback;
    if asked(Setup::LOOPBACK) {
        raise_loopback()?;
    }
    *step = InitStep::SetTerminal;
    if asked(Setup::TERMINAL) {
        rustix::process::ioctl_tiocsctty(sys::descriptor(0))?;
    }
    Ok(())
}

/// What a file system of the kernel's is mounted with.
const NOTHING_RUNS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// What hidden files show, found in /proc: this process's environment, which is empty, and which only those may open
/// who may trace it. In a root or a volume that is somebody's own, /dev/null could be a link to what must not be shown.
const NOTHING: &CStr = c"self/environ";

/// Hides and makes read-only what is named of /proc and /sys, as far as it is there: what they tell of the machine as a
/// whole, and what root may change there. The names are relative to the procfs, which is the working directory
/// meanwhile: whoever else may rename the root's directory /proc does not lead them elsewhere.
#[inline(never)]
fn protect(boot: &Message<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(sys::take_descriptor(boot::PROC_FD))?;
    let read_only = NOTHING_RUNS.union(MountFlags::RDONLY);
    for (paths, hide) in [(boot.masked(), true), (boot.read_only(), false)] {
        for path in paths.iter().filter_map(sys::c_str) {
            // A file bound on a directory is refused only once the mount is made, and taking it down waits for all
            // processors: a tenth of a millisecond.
            let result = if hide && path.to_bytes().ends_with(b"/") {
                rustix::mount::mount(c"tmpfs", path, c"tmpfs", read_only, None)
            } else {
                match rustix::mount::mount_bind(if hide { NOTHING } else { path }, path) {
                    Ok(()) if !hide => rustix::mount::mount_remount(path, MountFlags::BIND.union(read_only), c""),
                    result => result,
                }
            };
            if let Err(errno) = result
                && errno != Errno::NOENT
            {
                return Err(errno);
            }
        }
    }
    rustix::process::chdir(c"/")
}

/// A procfs of this process's PID namespace that is mounted nowhere.
#[inline(never)]
pub fn new_proc() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The old root lies on top of the new one at the working directory: pivot_root(2), "pivot_root(".", ".")".
fn detach_old_root() -> Result<(), Errno> {
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// Any socket takes the call; this kind needs no network protocol in the kernel.
pub fn raise_loopback() -> Result<(), Errno> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    sys::raise_loopback(socket.as_fd())
}

/// Waits until nsl says that the network is ready. The end of the socket means that nsl is gone.
pub fn wait_for_go(status: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut order = [0; boot::GO.len()];
    let (length, _) = rustix::net::recv(status, &mut order[..], RecvFlags::empty())?;
    if length == boot::GO.len() && order == boot::GO { Ok(()) } else { Err(Errno::PIPE) }
}
