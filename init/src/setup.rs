//! The steps that a boot message asks for, up to the moment when nsl lets the command start.

use crate::Failure;
use crate::sys::{self, Loaded};
use nsl_shared::boot::{self, Boot, InitStep, Setup};
use nsl_shared::signal::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags};
use rustix::net::{AddressFamily, RecvFlags, SocketType};

/// From here on the init ends when nsl does. A death before the call shows as a status socket that hangs up.
pub fn end_with_launcher(status: BorrowedFd<'_>) -> Result<(), Errno> {
    sys::set_parent_death_signal(Signal::KILL);
    let mut peer = [PollFd::new(&status, PollFlags::empty())];
    rustix::event::poll(&mut peer, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if peer[0].revents().contains(PollFlags::HUP) { Err(Errno::PIPE) } else { Ok(()) }
}

/// Maps and decodes the message on its descriptor, and closes that.
pub fn read_boot_message() -> Result<(Loaded, Boot<'static>), Errno> {
    let file = sys::take_descriptor(boot::BOOT_FD);
    let length = rustix::fs::fstat(&file)?.st_size;
    let (loaded, bytes) = Loaded::map(file.as_fd(), usize::try_from(length).map_err(|_| Errno::BADMSG)?)?;
    Ok((loaded, Boot::decode(bytes).map_err(|_| Errno::BADMSG)?))
}

/// Does what the message asks for, in the order that the kernel wants.
pub fn carry_out(boot: &Boot<'_>) -> Result<(), Failure> {
    let asked = |step| boot.setup.contains(step);
    // Executed from a memory file, it would be listed by that file's name.
    let _ = rustix::thread::set_name(c"nsl-init");
    // A session of the init's own: what a terminal of nsl's sends its group arrives once, by way of nsl.
    let _ = rustix::process::setsid();
    if asked(Setup::PROC) {
        // Before the old root goes: in a user namespace the kernel gives a procfs only while one is in sight.
        mount_proc().map_err(Failure::at(InitStep::MountProc))?;
    }
    if asked(Setup::OLD_ROOT) {
        detach_old_root().map_err(Failure::at(InitStep::DetachOldRoot))?;
    }
    if let Some(name) = boot.hostname {
        rustix::system::sethostname(name).map_err(Failure::at(InitStep::SetHostname))?;
    }
    if asked(Setup::LOOPBACK) {
        raise_loopback().map_err(Failure::at(InitStep::RaiseLoopback))?;
    }
    if asked(Setup::TERMINAL) {
        rustix::process::ioctl_tiocsctty(sys::descriptor(0)).map_err(Failure::at(InitStep::SetTerminal))?;
    }
    Ok(())
}

/// Mounts by descriptor: a /proc that is a symbolic link is refused, not followed.
fn mount_proc() -> Result<(), Errno> {
    let target = rustix::fs::openat(CWD, c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    let mount = new_proc()?;
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), c"", target.as_fd(), c"", by_descriptor)
}

/// A procfs of this process's PID namespace that is mounted nowhere.
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
