//! Every libc call of the floor, each ending the program with the name of the step when the kernel refuses it.
//! Nothing is retried, logged or undone here: the floor is what a start cannot do without.

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::mem::MaybeUninit;
use std::ptr;

pub const NEW_MOUNT: c_int = 0x0002_0000;
pub const NEW_CGROUP: c_int = 0x0200_0000;
pub const NEW_UTS: c_int = 0x0400_0000;
pub const NEW_IPC: c_int = 0x0800_0000;
pub const NEW_PID: c_int = 0x2000_0000;
const NEW_NET: c_int = 0x4000_0000;
pub const SHARE_FILES: c_int = 0x400;
/// The descriptor of the network namespace, out of the way of all others.
pub const NETWORK: c_int = 99;
/// The child borrows the parent's memory and the parent waits until it has called exec: what vfork does.
pub const BORROW_UNTIL_EXEC: c_int = 0x0100 | 0x4000;

pub const READ_ONLY: c_ulong = 1;
pub const NO_SUID: c_ulong = 2;
pub const NO_DEV: c_ulong = 4;
pub const NO_EXEC: c_ulong = 8;
pub const PRIVATE_TREE: c_ulong = (1 << 18) | 0x4000;

const BIND: c_ulong = 4096;
const REMOUNT: c_ulong = 32;
const PR_CAPBSET_DROP: c_int = 24;
const PR_SET_NO_NEW_PRIVS: c_int = 38;
/// Those of a command of nsl's: CHOWN to SETFCAP, as launcher/src/security has them.
const CAPABILITIES: u32 = 0x8004_05fb;
const SIGCHLD: c_int = 17;
const SIGKILL: c_ulong = 9;
const PR_SET_PDEATHSIG: c_int = 1;
const MNT_DETACH: c_int = 2;
const S_IFCHR: c_uint = 0o020_000;
const CLOEXEC: c_int = 0o2_000_000;
/// O_WRONLY, O_CREAT and O_EXCL
const CREATE: c_int = 0o301;
const AF_NETLINK: c_int = 16;
const SOCK_RAW: c_int = 3;
const NLMSG_ERROR: u16 = 2;
#[cfg(target_arch = "x86_64")]
const SYS_PIVOT_ROOT: c_long = 155;
#[cfg(not(target_arch = "x86_64"))]
const SYS_PIVOT_ROOT: c_long = 41;
#[cfg(target_arch = "x86_64")]
const SYS_CAPSET: c_long = 126;
#[cfg(not(target_arch = "x86_64"))]
const SYS_CAPSET: c_long = 91;
#[cfg(target_arch = "x86_64")]
const SYS_SECCOMP: c_long = 317;
#[cfg(not(target_arch = "x86_64"))]
const SYS_SECCOMP: c_long = 277;

unsafe extern "C" {
    fn chdir(path: *const c_char) -> c_int;
    fn clone(
        entry: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
        flags: c_int,
        arg: *mut c_void,
        ...
    ) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn dup2(fd: c_int, number: c_int) -> c_int;
    fn eventfd(initial: c_uint, flags: c_int) -> c_int;
    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int;
    fn mkdir(path: *const c_char, mode: c_uint) -> c_int;
    fn mknod(path: *const c_char, mode: c_uint, device: u64) -> c_int;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn perror(step: *const c_char);
    fn prctl(option: c_int, ...) -> c_int;
    fn read(fd: c_int, buffer: *mut c_void, length: usize) -> isize;
    fn recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize;
    fn send(fd: c_int, buffer: *const c_void, length: usize, flags: c_int) -> isize;
    fn sethostname(name: *const c_char, length: usize) -> c_int;
    fn setxattr(path: *const c_char, name: *const c_char, value: *const c_void, length: usize, flags: c_int) -> c_int;
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn symlink(target: *const c_char, path: *const c_char) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn umask(mask: c_uint) -> c_uint;
    fn unshare(flags: c_int) -> c_int;
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn write(fd: c_int, buffer: *const c_void, length: usize) -> isize;
    fn _exit(status: c_int) -> !;
}

/// Ends the program with "<step>: <errno's words>" and status 125.
fn refuse(step: &CStr) -> ! {
    // SAFETY: `step` is a terminated string.
    unsafe { perror(step.as_ptr()) };
    exit(125)
}

fn must(result: c_int, step: &CStr) -> c_int {
    if result < 0 { refuse(step) } else { result }
}

pub fn exit(status: c_int) -> ! {
    // SAFETY: ends the process whatever its state.
    unsafe { _exit(status) }
}

/// Starts `entry(arg)` as a new process, in the new namespaces that `flags` name.
pub fn spawn<T>(flags: c_int, entry: extern "C" fn(*mut c_void) -> c_int, arg: &T) -> c_int {
    let mut stack = MaybeUninit::<[u128; 4096]>::uninit();
    let arg = ptr::from_ref(arg).cast_mut().cast();
    // SAFETY: the stack grows down from the end of an aligned buffer; a child that shares memory has ended its use
    // of it before clone returns (BORROW_UNTIL_EXEC), every other child has a copy of its own. `arg` lives as long.
    let pid = unsafe { clone(entry, stack.as_mut_ptr().add(1).cast(), flags | SIGCHLD, arg) };
    must(pid, c"clone")
}

/// The exit status of `pid`, or 128 and the signal's number.
pub fn wait(pid: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: `status` is a live integer.
    must(unsafe { waitpid(pid, &raw mut status, 0) }, c"waitpid");
    if status & 0x7f == 0 { (status >> 8) & 0xff } else { 128 + (status & 0x7f) }
}

/// # Safety
/// `argv` is a null-terminated array of terminated strings with at least one of them.
pub unsafe fn exec(argv: *const *const c_char) -> ! {
    // SAFETY: as the caller promises.
    unsafe { execv(*argv, argv) };
    refuse(c"execv")
}

pub fn die_with_parent() {
    // SAFETY: takes integers only.
    must(unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) }, c"prctl");
}

pub fn attach(kind: &CStr, target: &CStr, flags: c_ulong, data: &CStr) {
    // SAFETY: four terminated strings.
    let result = unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    must(result, target);
}

/// Hides a file behind an environment that nobody may open; what is absent needs no hiding.
pub fn hide_file(path: &CStr) {
    // SAFETY: terminated strings.
    unsafe { mount(c"/proc/self/environ".as_ptr(), path.as_ptr(), ptr::null(), BIND, ptr::null()) };
}

/// Hides a directory behind an empty one, if it is there.
pub fn hide_directory(path: &CStr) {
    let (tmpfs, flags) = (c"tmpfs".as_ptr(), READ_ONLY | NO_SUID | NO_DEV | NO_EXEC);
    // SAFETY: terminated strings.
    unsafe { mount(tmpfs, path.as_ptr(), tmpfs, flags, ptr::null()) };
}

/// Makes a network namespace, in which this process is for the time of `furnish`, as the descriptor [`NETWORK`].
pub fn make_network(furnish: fn()) {
    let open_own = || {
        // SAFETY: a terminated string.
        must(unsafe { open(c"/proc/self/ns/net".as_ptr(), CLOEXEC, 0) }, c"/proc/self/ns/net")
    };
    let home = open_own();
    // SAFETY: integers only; `home` is ours.
    unsafe {
        must(unshare(NEW_NET), c"unshare");
        furnish();
        must(dup2(open_own(), NETWORK), c"dup2");
        must(setns(home, NEW_NET), c"setns");
    }
}

pub fn enter_network() {
    // SAFETY: integers only.
    must(unsafe { setns(NETWORK, NEW_NET) }, c"setns");
}

/// Makes what is there read-only.
pub fn protect(path: &CStr) {
    let flags = BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV | NO_EXEC;
    // SAFETY: terminated strings.
    unsafe {
        if mount(path.as_ptr(), path.as_ptr(), ptr::null(), BIND, ptr::null()) == 0 {
            must(mount(ptr::null(), path.as_ptr(), ptr::null(), flags, ptr::null()), path);
        }
    }
}

/// No new privileges, and of the capabilities those of a command of nsl's.
pub fn drop_privileges() {
    // struct __user_cap_header_struct, and two of __user_cap_data_struct: effective, permitted, inheritable.
    let (header, sets) = ([0x2008_0522_u32, 0], [CAPABILITIES, CAPABILITIES, 0, 0, 0, 0]);
    // SAFETY: integers, and for capset two arrays of its layout.
    unsafe {
        must(prctl(PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64), c"prctl");
        for capability in (0..=40_u64).filter(|number| *number >= 32 || CAPABILITIES & 1 << number == 0) {
            must(prctl(PR_CAPBSET_DROP, capability, 0_u64, 0_u64, 0_u64), c"prctl");
        }
        must(syscall(SYS_CAPSET, header.as_ptr(), sets.as_ptr()) as c_int, c"capset");
    }
}

/// Loads the filter that nsl's commands run under by default.
pub fn load_filter() {
    /// struct sock_fprog
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const u8,
    }
    const SET_MODE_FILTER: c_long = 1;
    static FILTER: &[u8] = include_bytes!(env!("NSL_FILTER"));
    let program = Program { length: (FILTER.len() / 8) as u16, instructions: FILTER.as_ptr() };
    // SAFETY: the program says how many instructions lie there.
    must(unsafe { syscall(SYS_SECCOMP, SET_MODE_FILTER, 0 as c_long, &raw const program) } as c_int, c"seccomp");
}

pub fn change_directory(path: &CStr) {
    // SAFETY: a terminated string.
    must(unsafe { chdir(path.as_ptr()) }, path);
}

/// Makes the working directory the root and drops the old one.
pub fn enter_root() {
    // SAFETY: terminated strings.
    must(unsafe { syscall(SYS_PIVOT_ROOT, c".".as_ptr(), c".".as_ptr()) } as c_int, c"pivot_root");
    // SAFETY: a terminated string.
    must(unsafe { umount2(c".".as_ptr(), MNT_DETACH) }, c"umount2");
}

pub fn directory(path: &CStr) {
    // SAFETY: a terminated string.
    must(unsafe { mkdir(path.as_ptr(), 0o755) }, path);
}

pub fn file(path: &CStr, text: &[u8]) {
    // SAFETY: a terminated string.
    let fd = must(unsafe { open(path.as_ptr(), CREATE | CLOEXEC, 0o644_u32) }, path);
    // SAFETY: the length is that of the text; `fd` is ours and not used again.
    unsafe {
        must(write(fd, text.as_ptr().cast(), text.len()) as c_int, path);
        close(fd);
    }
}

/// Makes a directory of an overlay's upper layer show nothing of the lower one.
pub fn hide_lower(path: &CStr) {
    let name = c"trusted.overlay.opaque";
    // SAFETY: two terminated strings, and a value of the length given.
    must(unsafe { setxattr(path.as_ptr(), name.as_ptr(), c"y".as_ptr().cast(), 1, 0) }, path);
}

/// A character device that anyone may read and write.
pub fn device(path: &CStr, major: u64, minor: u64) {
    // SAFETY: a terminated string.
    must(unsafe { mknod(path.as_ptr(), S_IFCHR | 0o666, major << 8 | minor) }, path);
}

pub fn link(path: &CStr, target: &CStr) {
    // SAFETY: two terminated strings.
    must(unsafe { symlink(target.as_ptr(), path.as_ptr()) }, path);
}

pub fn clear_umask() {
    // SAFETY: takes an integer and cannot fail.
    unsafe { umask(0) };
}

pub fn hostname(name: &CStr) {
    // SAFETY: the length is that of the string.
    must(unsafe { sethostname(name.as_ptr(), name.count_bytes()) }, c"sethostname");
}

/// A counter at zero on which one process waits for another.
pub fn gate() -> c_int {
    // SAFETY: takes integers only.
    must(unsafe { eventfd(0, CLOEXEC) }, c"eventfd")
}

pub fn open_gate(gate: c_int) {
    let one = 1_u64;
    // SAFETY: an eventfd takes eight bytes, and `one` has them.
    must(unsafe { write(gate, ptr::from_ref(&one).cast(), 8) } as c_int, c"write");
}

pub fn pass_gate(gate: c_int) {
    let mut count = 0_u64;
    // SAFETY: an eventfd gives eight bytes, and `count` has room for them.
    must(unsafe { read(gate, ptr::from_mut(&mut count).cast(), 8) } as c_int, c"read");
}

/// Sends a batch to rtnetlink and reads its one answer: the first error, or the last message's acknowledgement.
pub fn netlink(batch: &[u8]) {
    let mut answer = [0_u8; 512];
    // SAFETY: takes integers only.
    let fd = must(unsafe { socket(AF_NETLINK, SOCK_RAW | CLOEXEC, 0) }, c"socket");
    // SAFETY: the length is that of the buffer.
    must(unsafe { send(fd, batch.as_ptr().cast(), batch.len(), 0) } as c_int, c"send");
    // SAFETY: the length is that of the buffer.
    let length = must(unsafe { recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0) } as c_int, c"recv");
    // SAFETY: `fd` is ours and not used again.
    unsafe { close(fd) };
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if length < 20 || kind != NLMSG_ERROR || error != 0 {
        eprintln!("rtnetlink: {}", std::io::Error::from_raw_os_error(-error));
        exit(125);
    }
}
