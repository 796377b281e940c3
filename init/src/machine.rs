//! /init of a machine: what must be there before the command starts, where the command is found, and the end of the
//! machine. Here nothing may end the init: the kernel would panic. A step that fails is a line on the console.

use crate::setup;
use crate::sys::{self, Arguments};
use core::ffi::CStr;
use nsl_init::getopt::Word;
use nsl_init::kernel_line::InitWords;
use nsl_init::message::{Line, Marks};
use nsl_init::mountinfo::MountPoints;
use nsl_shared::signal::Signal;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Pid;
use rustix::system::RebootCommand;
use rustix::termios::Action;
use rustix::thread::Timespec;

/// The command of a machine whose kernel line names none.
pub const SERVICE: &CStr = c"/etc/nsl/init";

/// The inode of the first PID namespace, which the kernel never changes (PID_NS_INIT_INO of linux/nsfs.h).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Is this process PID 1 of a machine, and not of a container? Then its end is the kernel's.
pub fn is_machine() -> bool {
    // Process 2 of a machine is kthreadd, there from the start; a new container has none, and is known by that.
    rustix::process::getpid().is_init()
        && !matches!(Pid::from_raw(2).map(rustix::process::test_kill_process), Some(Err(Errno::SRCH)))
        && in_first_pid_namespace()
}

/// A container's entry script may have started a process 2 before it became this program.
fn in_first_pid_namespace() -> bool {
    let number = |directory: BorrowedFd<'_>, path| {
        rustix::fs::statat(directory, path, AtFlags::empty()).map(|found| found.st_ino)
    };
    let number = number(CWD, c"/proc/self/ns/pid").or_else(|_| {
        // No /proc yet, or that of other processes.
        let proc = setup::new_proc()?;
        number(proc.as_fd(), c"self/ns/pid")
    });
    match number {
        Ok(number) => number == FIRST_PID_NAMESPACE,
        // A machine's init may mount, even if its kernel has no procfs.
        Err(why) => why != Errno::PERM,
    }
}

/// Makes of the bare kernel what programs expect; returns whether the kernel started us, and not another init.
pub fn prepare() -> bool {
    const NOSUID: MountFlags = MountFlags::NOSUID;
    const NODEV: MountFlags = NOSUID.union(MountFlags::NODEV);
    const NOEXEC: MountFlags = NODEV.union(MountFlags::NOEXEC);
    let by_kernel = !is_mounted(c"/proc");
    provide(c"/dev", c"devtmpfs", NOSUID, c"mode=755");
    // Before the rest, so that what goes wrong there is seen.
    if by_kernel || rustix::io::fcntl_getfd(sys::descriptor(2)).is_err() {
        take_console();
    }
    provide(c"/proc", c"proc", NOEXEC, c"");
    provide(c"/sys", c"sysfs", NOEXEC, c"");
    provide(c"/dev/pts", c"devpts", NOSUID.union(MountFlags::NOEXEC), c"gid=5,mode=620,ptmxmode=666");
    provide(c"/dev/shm", c"tmpfs", NODEV, c"mode=1777");
    provide(c"/run", c"tmpfs", NODEV, c"mode=755");
    provide(c"/sys/fs/cgroup", c"cgroup2", NOEXEC, c"");
    if let Err(why) = setup::raise_loopback() {
        warn(b"bring up ", c"lo", why);
    }
    // Ctrl-Alt-Del is to ask us (SIGINT), and not to restart at once.
    let _ = rustix::system::reboot(RebootCommand::CadOff);
    // With a session and its terminal, a shell on the console has job control. No terminal is no error.
    let _ = rustix::process::setsid();
    let _ = rustix::process::ioctl_tiocsctty(sys::descriptor(0));
    by_kernel
}

/// Mounts what is not mounted yet.
#[inline(never)]
fn provide(target: &CStr, kind: &CStr, flags: MountFlags, data: &CStr) {
    if is_mounted(target) {
        return;
    }
    // What can't be made is told by the mount.
    let _ = rustix::fs::mkdir(target, Mode::from_raw_mode(0o755));
    if let Err(why) = rustix::mount::mount(kind, target, kind, flags, data) {
        warn(b"mount ", target, why);
    }
}

fn is_mounted(path: &CStr) -> bool {
    rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Makes the console the three standard streams. The ones from the kernel are of the /dev that was mounted over, by a
/// path that leads elsewhere now; or it found no console.
fn take_console() {
    if let Ok(console) = open_console(OFlags::RDWR) {
        let _ = rustix::stdio::dup2_stdin(&console);
        let _ = rustix::stdio::dup2_stdout(&console);
        let _ = rustix::stdio::dup2_stderr(&console);
        if console.as_raw_fd() <= 2 {
            let _ = console.into_raw_fd();
        }
    }
}

fn open_console(flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(c"/dev/console", flags | OFlags::NOCTTY, Mode::empty())
}

fn warn(verb: &[u8], what: &CStr, why: Errno) {
    let mut buffer = [0; 256];
    let mut line = Line::new(&mut buffer);
    let marks = Marks { reason: verb, text: what.to_bytes(), number: why.raw_os_error(), ..Marks::default() };
    line.fill(b"nsl-init: warning: cannot %r%t: %e%|", &marks);
    let _ = rustix::io::write(sys::descriptor(2), line.as_bytes());
}

/// Leaves in the arguments what `[OPTIONS] COMMAND…` is. The kernel hands its init the words that mean nothing to it
/// (`splash`), then those behind `--`, but not the `--`. Another init that has become us knows what it says.
pub fn leave_out_noise(arguments: &mut Arguments, by_kernel: bool) {
    let words = arguments.words();
    if !by_kernel || words.iter().any(|word| word.bytes() == b"--") {
        return;
    }
    let behind_name = words.len().saturating_sub(1);
    let mut ours = InitWords::default();
    let line = rustix::fs::open(c"/proc/cmdline", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    match line.and_then(|line| pieces(line.as_fd(), &mut |piece| ours.take(piece))) {
        Ok(()) => arguments.skip(behind_name.saturating_sub(ours.count())),
        Err(why) => warn(b"read ", c"/proc/cmdline", why),
    }
}

/// Reads `file` from its start to its end, in pieces.
fn pieces(file: BorrowedFd<'_>, take: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
    let mut buffer = [0; 1024];
    rustix::fs::seek(file, SeekFrom::Start(0))?;
    loop {
        let length = rustix::io::read(file, &mut buffer[..])?;
        match buffer.get(..length) {
            Some([]) | None => return Ok(()),
            Some(piece) => take(piece),
        }
    }
}

/// How the machine ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    PowerOff,
    Restart,
    Halt,
}

impl End {
    /// The end that a signal to the init asks for: the signals of the kernel (Ctrl-Alt-Del, a failing power supply),
    /// of systemd(1) and of busybox's `poweroff` and `halt`.
    pub fn asked_by(signal: Signal) -> Option<Self> {
        const PWR: i32 = 30;
        /// SIGRTMIN+3 and those behind it, as C libraries count.
        const RTMIN_3: i32 = 37;
        const RTMIN_4: i32 = 38;
        const RTMIN_5: i32 = 39;
        match signal.number() {
            PWR | RTMIN_4 => Some(Self::PowerOff),
            RTMIN_5 => Some(Self::Restart),
            RTMIN_3 => Some(Self::Halt),
            _ => match signal {
                Signal::TERM | Signal::USR2 => Some(Self::PowerOff),
                Signal::INT => Some(Self::Restart),
                Signal::USR1 => Some(Self::Halt),
                _ => None,
            },
        }
    }
}

/// Ends the machine, once all processes but this one are gone: syncs, unmounts, writes `code` as the console's last
/// line, and has the kernel power off, restart or halt.
pub fn finish(code: u8, end: End) -> ! {
    // The console may have been hung up, which no descriptor outlives. Ours alone, so that it need not block.
    if let Ok(console) = open_console(OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC) {
        // Ctrl-S may have stopped it, which the kernel undoes only for who stopped it himself.
        let _ = rustix::termios::tcflow(&console, Action::OOff);
        let _ = rustix::termios::tcflow(&console, Action::OOn);
        let _ = rustix::stdio::dup2_stderr(console);
    }
    rustix::fs::sync();
    // One of our own can be neither unmounted nor covered, and lets go of /proc.
    let proc = setup::new_proc().or_else(|_| rustix::fs::open(c"/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()));
    if let Ok(proc) = proc {
        let open = |path, flags| rustix::fs::openat(&proc, path, flags | OFlags::CLOEXEC, Mode::empty());
        let printk = open(c"sys/kernel/printk", OFlags::WRONLY);
        match open(c"self/mountinfo", OFlags::RDONLY) {
            Ok(mountinfo) => unmount_all(mountinfo.as_fd()),
            Err(why) => warn(b"read ", c"/proc/self/mountinfo", why),
        }
        // "reboot: Power down" would follow the last line.
        if let Ok(printk) = printk {
            let _ = rustix::io::write(printk, b"0");
        }
    }
    let _ = rustix::mount::mount_remount(c"/", MountFlags::RDONLY, c"");
    rustix::fs::sync();
    write_last_line(code);
    reboot(match end {
        End::PowerOff => RebootCommand::PowerOff,
        End::Restart => RebootCommand::Restart,
        End::Halt => RebootCommand::Halt,
    });
    reboot(RebootCommand::Halt);
    loop {
        sys::wait_for_signal(None);
    }
}

/// Unmounts all but the root, and makes read-only what can't be.
fn unmount_all(mountinfo: BorrowedFd<'_>) {
    // A mount goes once those on it and those that it carries (a loop device's file) are gone: pass by pass, with an
    // end for nests that nobody builds in earnest.
    for _ in 0..64 {
        let mut progress = false;
        each_mount(mountinfo, &mut |target| progress |= rustix::mount::unmount(target, UnmountFlags::NOFOLLOW).is_ok());
        if !progress {
            break;
        }
    }
    each_mount(mountinfo, &mut |target| {
        if let Err(why) = rustix::mount::mount_remount(target, MountFlags::RDONLY, c"") {
            warn(b"unmount ", target, why);
        }
    });
}

/// Calls `act` with each mount point but the root.
fn each_mount(mountinfo: BorrowedFd<'_>, act: &mut dyn FnMut(&CStr)) {
    let mut points = MountPoints::default();
    let _ = pieces(mountinfo, &mut |piece| {
        for byte in piece {
            if let Some(target) = points.take(*byte).filter(|target| *target != b"/\0")
                && let Some(target) = sys::c_str(target)
            {
                act(target);
            }
        }
    });
}

/// Writes a line that begins as one, whatever the command left before it, and is out before the power goes.
fn write_last_line(code: u8) {
    let console = sys::descriptor(2);
    let mut buffer = [0; 64];
    let mut line = Line::new(&mut buffer);
    line.push(b"\r\nnsl-init: exit status ");
    line.push_number(code.into());
    line.push(b"\r\n");
    let mut rest = line.as_bytes();
    // In steps of 10 ms. A serial line of 9,600 Bd takes 4 s for a full buffer; one that is held up takes for ever.
    let mut patience = 500;
    while !rest.is_empty() && patience > 0 {
        match rustix::io::write(console, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::AGAIN) => pause(&mut patience),
            Err(_) => return,
        }
    }
    while sys::unsent(console) > 0 && patience > 0 {
        pause(&mut patience);
    }
    if patience > 0 {
        // What is in the device itself.
        let _ = rustix::termios::tcdrain(console);
    }
}

fn pause(patience: &mut u32) {
    let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 });
    *patience -= 1;
}

/// Has a process of its own make the call: the kernel ends the caller if the machine goes on, and without its init it
/// would panic. Comes back if it does go on.
fn reboot(command: RebootCommand) {
    let mut call = || _ = rustix::system::reboot(command);
    if sys::vfork(&mut call, true).is_err() {
        call();
    }
}
