//! Exit codes: what the status of a command, or the failure to run one, becomes.

/// The command ran out of the time it was given, as timeout(1) has it.
pub const TIMED_OUT: u8 = 124;
/// nsl's own failure, wrong usage included; the command did not run.
pub const NSL_FAILED: u8 = 125;
/// The command was found but could not be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;

const ENOENT: i32 = 2;

/// The exit code for a command that signal `signal` ended, as shells have it.
#[must_use]
pub const fn of_signal(signal: i32) -> u8 {
    128 + (signal & 0x7f) as u8
}

/// The exit code for a raw wait status, as `wait4(2)` stores it. The status is that of an ended process:
/// exited (its low seven bits are 0) or killed (they are the signal's number, real-time ones included).
#[must_use]
pub const fn of_wait_status(status: i32) -> u8 {
    match status & 0x7f {
        0 => (status >> 8) as u8,
        signal => of_signal(signal),
    }
}

/// The exit code for an `execve(2)` that failed with `errno`: 127 when the file is absent, 126 otherwise.
#[must_use]
pub const fn of_exec_error(errno: i32) -> u8 {
    if errno == ENOENT { NOT_FOUND } else { NOT_EXECUTABLE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_status_is_kept() {
        assert_eq!(of_wait_status(0), 0);
        assert_eq!(of_wait_status(7 << 8), 7);
        assert_eq!(of_wait_status(255 << 8), 255);
    }

    #[test]
    fn signals_become_128_plus_their_number() {
        assert_eq!(of_wait_status(9), 137);
        assert_eq!(of_wait_status(15), 143);
        // With a core dump, bit 7 is set as well.
        assert_eq!(of_wait_status(6 | 0x80), 134);
        // SIGRTMAX, which typed wait wrappers refuse.
        assert_eq!(of_wait_status(64), 192);
    }

    #[test]
    fn exec_errors_follow_the_shell() {
        assert_eq!(of_exec_error(ENOENT), NOT_FOUND);
        assert_eq!(of_exec_error(13), NOT_EXECUTABLE);
        assert_eq!(of_exec_error(8), NOT_EXECUTABLE);
    }
}
