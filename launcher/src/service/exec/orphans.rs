//! What is left of a command whose nsl-init was killed: nobody watches over it any more. The kernel kills it then, but for
//! one that has changed its user, or was born that very moment.

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, Signal};

/// What is to die is killed again, for what was born meanwhile, but not for ever.
const ROUNDS: u32 = 100;

/// Kills all who are in the session of its nsl-init. That has ended and is not reaped: its number is nobody else's.
pub fn kill(init: u32) {
    let is_left = |process: &Process| {
        process
            .stat()
            .is_ok_and(|stat| stat.session == init.cast_signed() && stat.pid != stat.session && stat.state != 'Z')
    };
    for _ in 0..ROUNDS {
        let Ok(all) = procfs::process::all_processes() else { return };
        let mut left = all.flatten().filter(is_left).peekable();
        if left.peek().is_none() {
            return;
        }
        for process in left {
            let pidfd = Pid::from_raw(process.pid).map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
            // Looked at once more, since another could have had its number by then.
            if let (Some(Ok(pidfd)), true) = (pidfd, is_left(&process)) {
                let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
            }
        }
    }
}
