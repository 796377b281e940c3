//! What the command left behind, when it ends: everything else in the PID namespace for a PID 1, the descendants for a
//! child subreaper, which finds them in /proc.

use crate::sys;
use nsl_init::message::Line;
use nsl_init::number;
use nsl_shared::signal::Signal;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::process::{Pid, PidfdFlags};

/// Sends `signal` to all of it. False if it can't be found, for want of a /proc that shows this PID namespace.
pub fn signal_all(signal: Signal) -> bool {
    if !rustix::process::getpid().is_init() {
        return signal_descendants(signal);
    }
    let _ = sys::kill(-1, signal);
    true
}

/// A process that comes later is not met; who wants them all dead calls until no child is left.
fn signal_descendants(signal: Signal) -> bool {
    let own = rustix::process::getpid();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(proc) = rustix::fs::open(c"/proc", flags, Mode::empty()) else { return false };
    // Of another PID namespace it would give numbers that mean other processes here.
    let mut link = [0; 12];
    match rustix::fs::readlinkat_raw(&proc, c"self", &mut link[..]) {
        Ok(length) if pid_of(&link[..length]) == Some(own) => {}
        _ => return false,
    }
    let mut buffer = [core::mem::MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(&proc, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let Some(pid) = pid_of(entry.file_name().to_bytes()) else { continue };
        // The descriptor first: then what the numbers say is of this process, or it has ended.
        if let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            && descends(&proc, pid, own)
        {
            let _ = sys::signal_process(&process, signal);
        }
    }
    true
}

fn descends(proc: &OwnedFd, pid: Pid, own: Pid) -> bool {
    let (mut at, mut lost) = (pid, 0);
    // As deep as process trees may be, and not for ever if the tree changes on the way.
    for _ in 0..4096 {
        match parent(proc, at) {
            Some(parent) if parent == own => return true,
            Some(parent) => at = parent,
            // One above has ended since its child named it, which has another parent by now; or there is none above.
            None if at != pid && lost < 8 => (at, lost) = (pid, lost + 1),
            None => return false,
        }
    }
    false
}

/// The parent as /proc/PID/stat has it (proc_pid_stat(5)): the second field behind the last `)`.
fn parent(proc: &OwnedFd, pid: Pid) -> Option<Pid> {
    let mut buffer = [0; 24];
    let mut path = Line::new(&mut buffer);
    path.push_number(pid.as_raw_pid());
    path.push(b"/stat\0");
    let path = sys::c_str(path.as_bytes())?;
    let file = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut stat = [0; 128];
    let length = rustix::io::read(&file, &mut stat[..]).ok()?;
    let behind = stat[..length].rsplit(|byte| *byte == b')').next()?;
    pid_of(behind.split(|byte| *byte == b' ').nth(2)?)
}

fn pid_of(digits: &[u8]) -> Option<Pid> {
    Pid::from_raw(number::read(digits)? as i32)
}
