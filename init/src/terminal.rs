//! The terminal of the session that the init lives in: who is in its foreground. No terminal is no error.

use crate::sys;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// Passes the foreground from one process group to another. Nothing happens, and false is returned, if `from` does not
/// hold it or there is no terminal.
pub fn pass_foreground(from: Pid, to: Pid) -> bool {
    with_terminal(|terminal| {
        rustix::termios::tcgetpgrp(terminal) == Ok(from) && rustix::termios::tcsetpgrp(terminal, to).is_ok()
    })
}

/// Is the foreground held by a group outside of this PID namespace?
pub fn is_outside() -> bool {
    with_terminal(|terminal| rustix::termios::tcgetpgrp(terminal) == Err(Errno::OPNOTSUPP))
}

/// Is `group` in the foreground?
pub fn is_foreground(group: Pid) -> bool {
    with_terminal(|terminal| rustix::termios::tcgetpgrp(terminal) == Ok(group))
}

/// Takes the foreground for `group` from `command`, or from a group that has ended.
pub fn take_back(command: Pid, group: Pid) {
    with_terminal(|terminal| match rustix::termios::tcgetpgrp(terminal) {
        Ok(holder) if holder == command || rustix::process::test_kill_process_group(holder).is_err() => {
            rustix::termios::tcsetpgrp(terminal, group).is_ok()
        }
        _ => false,
    });
}

/// Frees the terminal on stdin for a session to come. A session leader gets SIGHUP and SIGCONT for it, which are none
/// of anybody's business.
pub fn give_up() {
    use nsl_shared::signal::{Signal, SignalSet};
    let leader = sys::leads_session();
    if sys::give_up_terminal(sys::descriptor(0)).is_ok() && leader {
        let hang_up = SignalSet::NONE.with(Signal::HUP).with(Signal::CONT);
        while sys::wait_for_one_of(hang_up, Some(core::time::Duration::ZERO)).is_some() {}
    }
}

/// The session's terminal is /dev/tty, whatever the streams are; where that is missing it may still be on stdin.
fn with_terminal(work: impl FnOnce(BorrowedFd<'_>) -> bool) -> bool {
    match rustix::fs::open(c"/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(terminal) => work(terminal.as_fd()),
        Err(_) => work(sys::descriptor(0)),
    }
}
