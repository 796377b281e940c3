//! Every libc call of the task.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{CString, c_char, c_int, c_void};
use std::io::Error;
use std::os::fd::AsRawFd;
use std::ptr;

pub const SIGKILL: u8 = 9;
pub const SIGTERM: u8 = 15;
pub const SIGWINCH: u8 = 28;
const SIGCHLD: c_int = 17;
const SIG_BLOCK: c_int = 0;
const PR_SET_PDEATHSIG: c_int = 1;
const NEW_PID: c_int = 0x2000_0000;
/// The child borrows the parent's memory and the parent waits until it is gone: what vfork does.
const BORROW: c_int = 0x0100 | 0x4000;
/// glibc's sigset_t has 1024 bits.
type SignalSet = [u64; 16];
static ALL: SignalSet = [u64::MAX; 16];

unsafe extern "C" {
    fn clone(
        entry: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
        flags: c_int,
        arg: *mut c_void,
        ...
    ) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
}

pub fn block_signals() {
    // SAFETY: a set of the C library's size; no old one is asked for.
    unsafe { sigprocmask(SIG_BLOCK, &raw const ALL, ptr::null_mut()) };
}

/// The number of the next blocked signal.
pub fn wait_for_signal() -> u8 {
    let mut signal = 0;
    // SAFETY: a set of the C library's size and a live integer.
    unsafe { sigwait(&raw const ALL, &raw mut signal) };
    signal as u8
}

/// Is there any process in this PID namespace besides PID 1 and this one, zombies included? (kill(2): signal 0 is
/// sent to none, but there must be one.)
pub fn others_are_there() -> bool {
    // SAFETY: touches no memory.
    unsafe { kill(-1, 0) == 0 }
}

/// A stack for each of the two that run while their parent waits.
#[repr(align(16))]
struct Stacks(UnsafeCell<[[u8; 16 * 1024]; 2]>);
// SAFETY: there is one thread, and one process on each stack at a time.
unsafe impl Sync for Stacks {}
static STACKS: Stacks = Stacks(UnsafeCell::new([[0; 16 * 1024]; 2]));

fn borrow(stack: usize, entry: extern "C" fn(*mut c_void) -> c_int) -> c_int {
    // SAFETY: the stack grows down from the end of a buffer that nobody else uses: the caller waits for the child.
    unsafe {
        let top = STACKS.0.get().cast::<[u8; 16 * 1024]>().add(stack + 1);
        clone(entry, top.cast(), BORROW | SIGCHLD, ptr::null_mut())
    }
}

/// Makes a child that makes a child, both of which end; the second one is PID 1's then. False if there was no room.
pub fn make_orphan() -> bool {
    extern "C" fn orphan(_: *mut c_void) -> c_int {
        // SAFETY: ends this process alone, whatever its state.
        unsafe { _exit(0) }
    }
    extern "C" fn parent(_: *mut c_void) -> c_int {
        let failed = borrow(1, orphan) < 0;
        // SAFETY: as above.
        unsafe { _exit(c_int::from(failed)) }
    }
    let pid = borrow(0, parent);
    pid > 0 && status_of(pid) == 0
}

/// The exit status of `pid`, or 128 and the signal's number.
fn status_of(pid: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: `status` is a live integer.
    if unsafe { waitpid(pid, &raw mut status, 0) } < 0 {
        return -1;
    }
    if status & 0x7f == 0 { (status >> 8) & 0xff } else { 128 + (status & 0x7f) }
}

/// A process that `start` made.
pub struct Started {
    pid: c_int,
    status: Cell<Option<c_int>>,
}

impl Started {
    /// Sends a signal, unless the process has been waited for: its number may be another's then.
    pub fn send(&self, signal: u8) {
        if self.status.get().is_none() {
            // SAFETY: touches no memory.
            unsafe { kill(self.pid, c_int::from(signal)) };
        }
    }

    pub fn wait(&self) -> c_int {
        let status = self.status.get().unwrap_or_else(|| status_of(self.pid));
        self.status.set(Some(status));
        status
    }
}

/// Starts `command` with `output` as its standard output. It ends with this process.
pub fn start(command: &[&str], new_namespace: bool, output: impl AsRawFd) -> Started {
    struct Job {
        argv: Vec<*const c_char>,
        output: c_int,
    }
    extern "C" fn enter(job: *mut c_void) -> c_int {
        // SAFETY: a `Job`, of which this process has a copy; its strings are terminated, its array ends with a null.
        unsafe {
            let job = &*job.cast::<Job>();
            prctl(PR_SET_PDEATHSIG, u64::from(SIGKILL));
            dup2(job.output, 1);
            execv(job.argv[0], job.argv.as_ptr());
            _exit(127)
        }
    }
    let words: Vec<CString> = command.iter().map(|word| CString::new(*word).expect("a word of argv")).collect();
    let argv = words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
    let mut job = Job { argv, output: output.as_raw_fd() };
    let flags = SIGCHLD | if new_namespace { NEW_PID } else { 0 };
    // SAFETY: the child has a copy of this memory, its stack and `job` included.
    let pid = unsafe {
        let top = STACKS.0.get().cast::<[u8; 16 * 1024]>().add(1);
        clone(enter, top.cast(), flags, (&raw mut job).cast())
    };
    assert!(pid > 0, "cannot start a process: {}", Error::last_os_error());
    Started { pid, status: Cell::new(None) }
}
