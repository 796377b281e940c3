//! Every unsafe block of nsl-init: its entry, the memory routines that no libc brings, and the raw system calls
//! that rustix withholds. Nothing here decides anything.
#![allow(unsafe_code, reason = "the one file of this crate that may")]

use core::arch::{asm, naked_asm};
use core::ffi::{CStr, c_char, c_void};
use core::time::Duration;
use nsl_init::getopt::Word;
use nsl_shared::boot::{INSTRUCTION, LIMIT, Message, Strings};
use nsl_shared::signal::{self, Signal, SignalSet};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::Pid;
use syscalls::{Sysno, syscall};

/// Where the kernel starts the program: the stack pointer is at argc (System V ABI, "initial process stack").
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {enter}", "ud2", enter = sym enter)
}

#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("mov x29, xzr", "mov x30, xzr", "mov x0, sp", "and sp, x0, #-16", "bl {enter}", "brk #1", enter = sym enter)
}

extern "C" fn enter(stack: *mut usize) -> ! {
    // SAFETY: `_start` passes the initial stack, where the kernel put argc, argc pointers, a null, the environment's
    // pointers and a null; nothing else refers to it.
    let arguments = unsafe {
        let count = *stack;
        let argv = stack.add(1).cast::<*const c_char>();
        Arguments { count, argv, envp: argv.add(count + 1).cast_const() }
    };
    crate::main(arguments)
}

#[panic_handler]
#[cfg(not(test))]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let _ = rustix::io::write(descriptor(2), b"nsl-init: internal error\n");
    exit(nsl_shared::exit::NSL_FAILED)
}

/// The precompiled core refers to it; with `panic = "abort"` nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The memory routines that the compiler calls and that a libc would bring.
mod memory {
    use super::asm;

    #[cfg(target_arch = "x86_64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller answers for both areas; the direction flag is clear by the ABI.
        unsafe {
            asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        to
    }

    #[cfg(target_arch = "x86_64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
        // SAFETY: the caller answers for the area; the direction flag is clear by the ABI.
        unsafe {
            asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte as u8,
                options(nostack, preserves_flags));
        }
        to
    }

    #[cfg(target_arch = "aarch64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller answers for both areas. A loop in assembly can't be turned into a call of memcpy.
        unsafe {
            asm!("cbz {n}, 3f", "2:", "ldrb {b:w}, [{f}], #1", "strb {b:w}, [{t}], #1", "subs {n}, {n}, #1", "b.ne 2b", "3:",
                n = inout(reg) length => _, f = inout(reg) from => _, t = inout(reg) to => _, b = out(reg) _,
                options(nostack));
        }
        to
    }

    #[cfg(target_arch = "aarch64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
        // SAFETY: the caller answers for the area.
        unsafe {
            asm!("cbz {n}, 3f", "2:", "strb {b:w}, [{t}], #1", "subs {n}, {n}, #1", "b.ne 2b", "3:",
                n = inout(reg) length => _, t = inout(reg) to => _, b = in(reg) byte, options(nostack));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= length {
            // SAFETY: copying upwards is right here: `to` does not lie inside the source.
            return unsafe { memcpy(to, from, length) };
        }
        for index in (0..length).rev() {
            // SAFETY: the index is below the length for which the caller answers; volatile, so that this loop is not
            // turned into a call of memmove.
            unsafe { to.add(index).write_volatile(from.add(index).read()) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
        for index in 0..length {
            // SAFETY: the index is below the length for which the caller answers; volatile as in memmove.
            let (x, y) = unsafe { (a.add(index).read_volatile(), b.add(index).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
        // SAFETY: the obligations are the same.
        unsafe { memcmp(a, b, length) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let mut length = 0;
        // SAFETY: the caller answers for a NUL in the area.
        while unsafe { text.add(length).read_volatile() } != 0 {
            length += 1;
        }
        length
    }
}

/// The init's own arguments and environment, where the kernel put them.
pub struct Arguments {
    count: usize,
    argv: *mut *const c_char,
    envp: *const *const c_char,
}

/// One argument.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Argument(*const c_char);

impl Word for Argument {
    fn bytes(&self) -> &'static [u8] {
        // SAFETY: only `Arguments::words` makes these, of strings that live as long as the process.
        unsafe { CStr::from_ptr(self.0) }.to_bytes()
    }
}

impl Arguments {
    /// All arguments; the first is the name that the program was called by.
    pub fn words(&mut self) -> &mut [Argument] {
        // SAFETY: below argc, argv holds pointers to strings, in memory that is the process's own and that nobody
        // else refers to; an argument is laid out as the pointer in it.
        unsafe { core::slice::from_raw_parts_mut(self.argv.cast(), self.count) }
    }

    pub fn environment(&self) -> Environment {
        Environment(self.envp)
    }

    /// Leaves out the first words behind the name, as many as there may be.
    pub fn skip(&mut self, words: usize) {
        let words = words.min(self.count.saturating_sub(1));
        // SAFETY: what becomes the first slot is argv's; the name moves there, and nobody else refers to argv.
        unsafe {
            let name = *self.argv;
            self.argv = self.argv.add(words);
            *self.argv = name;
        }
        self.count -= words;
    }

    /// The command that starts at argument `index`, which is not 0: the slot before a command must be free.
    pub fn command(self, index: usize) -> Option<Vectors> {
        // SAFETY: the index lies inside argv, and so does the one before it.
        (index > 0 && index < self.count).then(|| Vectors { argv: unsafe { self.argv.add(index) }, envp: self.envp })
    }

    /// The command `path` without arguments, in place of all of these.
    pub fn instead(self, path: &'static CStr) -> Option<Vectors> {
        // SAFETY: the last argument is inside argv and a null follows it. The slot before it is argv's as well, or, with
        // one argument, the count in front of argv (see `enter`), which has been read.
        let argv = unsafe {
            let argv = self.argv.add(self.count.checked_sub(1)?);
            *argv = path.as_ptr();
            argv
        };
        Some(Vectors { argv, envp: self.envp })
    }
}

/// The environment that the kernel made.
#[derive(Clone, Copy)]
pub struct Environment(*const *const c_char);

impl Environment {
    /// The value of the variable `name`.
    pub fn variable(self, name: &[u8]) -> Option<&'static [u8]> {
        // SAFETY: only `Arguments::environment` makes one, from what the kernel made.
        unsafe { find(self.0, name) }.map(|(_, value)| value)
    }
}

/// Where in the environment `envp` the variable `name` stands, and its value.
///
/// # Safety
/// `envp` is an array of strings that ends with a null; they live as long as the process needs them.
unsafe fn find(envp: *const *const c_char, name: &[u8]) -> Option<(*const *const c_char, &'static [u8])> {
    let mut entry = envp;
    loop {
        // SAFETY: the null at the end, for which the caller answers, ends this loop before it is passed; a string is read
        // up to its NUL, which is in no name.
        unsafe {
            if (*entry).is_null() {
                return None;
            }
            let text = (*entry).cast::<u8>();
            let is_name = name.iter().enumerate().all(|(index, byte)| *text.add(index) == *byte);
            if is_name && *text.add(name.len()) == b'=' {
                return Some((entry, CStr::from_ptr(text.add(name.len() + 1).cast()).to_bytes()));
            }
        }
        // SAFETY: this one was not the null.
        entry = unsafe { entry.add(1) };
    }
}

/// The argument and environment vectors of the command, as `execve(2)` takes them. The slot before the first
/// argument is writable and free.
pub struct Vectors {
    argv: *mut *const c_char,
    envp: *const *const c_char,
}

impl Vectors {
    pub fn name(&self) -> &'static CStr {
        // SAFETY: a command has at least one argument, and its strings live as long as the process needs them.
        unsafe { CStr::from_ptr(*self.argv) }
    }

    /// The value of the environment variable `name`.
    pub fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
        // SAFETY: envp is an environment that the kernel or `Loaded` made.
        unsafe { find(self.envp, name) }.map(|(_, value)| value)
    }

    /// Puts `entry`, a string `NAME=value`, in the place of the variable `name`, for the exec that follows.
    pub fn replace(&self, name: &[u8], entry: &CStr) {
        // SAFETY: envp is an environment that the kernel or `Loaded` made, in memory that is the process's own. Nobody
        // reads the entry after the exec for which the caller keeps the string.
        unsafe {
            if let Some((slot, _)) = find(self.envp, name) {
                *slot.cast_mut() = entry.as_ptr();
            }
        }
    }

    /// Executes `path` with these arguments; comes back only with an error.
    pub fn execute(&self, path: &CStr) -> Errno {
        self.call(path, self.argv)
    }

    /// Has /bin/sh execute the script `path`: the arguments become `/bin/sh path ARG…`.
    pub fn execute_by_shell(&self, path: &CStr) -> Errno {
        const SHELL: &CStr = c"/bin/sh";
        // SAFETY: the slot before the first argument is ours (see the type), both strings outlive the call.
        let argv = unsafe {
            *self.argv = path.as_ptr();
            let first = self.argv.sub(1);
            *first = SHELL.as_ptr();
            first
        };
        self.call(SHELL, argv)
    }

    fn call(&self, path: &CStr, argv: *mut *const c_char) -> Errno {
        // SAFETY: path is a string, argv and envp are arrays of strings that end with a null.
        errno(unsafe { syscall!(Sysno::execve, path.as_ptr(), argv, self.envp) })
    }
}

/// The boot message in memory, with the vectors built from it.
pub struct Loaded {
    message: (*mut c_void, usize),
    vectors: (*mut c_void, usize),
}

impl Loaded {
    /// Maps the boot message from `file` of `length` bytes.
    pub fn map(file: BorrowedFd<'_>, length: usize) -> Result<(Self, &'static [u8]), Errno> {
        // SAFETY: a new private mapping at an address of the kernel's choice; the file is sealed, so it can't shrink.
        let start =
            unsafe { rustix::mm::mmap(core::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
        let loaded = Self { message: (start, length), vectors: (core::ptr::null_mut(), 0) };
        // SAFETY: the mapping is readable over this length, and lives until `unmap`, which takes the last user.
        Ok((loaded, unsafe { core::slice::from_raw_parts(start.cast(), length) }))
    }

    /// Builds the command's vectors: a free slot, the arguments, a null, the environment, a null.
    pub fn vectors(&mut self, boot: &Message<'static>) -> Result<Vectors, Errno> {
        let slots = boot.args().iter().count() + boot.env().iter().count() + 3;
        let length = slots * size_of::<*const c_char>();
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                core::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        self.vectors = (start, length);
        let fill = |first: usize, strings: Strings<'static>| {
            // SAFETY: the mapping has room for one slot, both lists and their nulls, which it holds already.
            let base = unsafe { start.cast::<*const c_char>().add(first) };
            for (index, string) in strings.iter().enumerate() {
                // SAFETY: the index is below the count of the list, for which there is room.
                unsafe { *base.add(index) = string.as_ptr().cast() };
            }
            base
        };
        let argv = fill(1, boot.args());
        let envp = fill(2 + boot.args().iter().count(), boot.env()).cast_const();
        Ok(Vectors { argv, envp })
    }

    /// Gives the memory back, once the command has been executed; its vectors are gone then.
    pub fn unmap(self, _: Vectors) {
        for (start, length) in [self.message, self.vectors] {
            if length > 0 {
                // SAFETY: a mapping of this type's own; what borrowed from it is used no more: the caller gives up
                // the vectors, and the message's fields went into them.
                let _ = unsafe { rustix::mm::munmap(start, length) };
            }
        }
    }
}

/// `bytes` as a string, if their one NUL stands at the end. `CStr` has the same with a search that is six times as
/// large.
pub fn c_str(bytes: &[u8]) -> Option<&CStr> {
    let nul = bytes.iter().position(|byte| *byte == 0)?;
    // SAFETY: the first NUL stands at the end.
    (nul + 1 == bytes.len()).then(|| unsafe { CStr::from_bytes_with_nul_unchecked(bytes) })
}

/// Takes over descriptor `number`, which was handed to this process.
pub fn take_descriptor(number: i32) -> OwnedFd {
    use rustix::fd::FromRawFd;
    // SAFETY: the launcher put it there for the init, which takes it once.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Descriptor `number`: a standard stream, or one that the init was told of. Closed, it gives EBADF.
pub fn descriptor(number: i32) -> BorrowedFd<'static> {
    // SAFETY: nothing here closes such a descriptor and goes on using it.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn errno<T>(result: Result<T, syscalls::Errno>) -> Errno {
    Errno::from_raw_os_error(result.err().map_or(0, syscalls::Errno::into_raw))
}

fn checked(result: Result<usize, syscalls::Errno>) -> Result<usize, Errno> {
    result.map_err(|error| Errno::from_raw_os_error(error.into_raw()))
}

const SIGSET_SIZE: usize = size_of::<SignalSet>();

/// Sets the signal mask and returns the one before.
pub fn set_signal_mask(mask: SignalSet) -> SignalSet {
    const SIG_SETMASK: usize = 2;
    let mut old = SignalSet::NONE;
    // SAFETY: both sets are of the kernel's size and live through the call; it can't fail with valid arguments.
    let _ = unsafe { syscall!(Sysno::rt_sigprocmask, SIG_SETMASK, &raw const mask, &raw mut old, SIGSET_SIZE) };
    old
}

/// Is one of `signals`, which are blocked, waiting to be taken?
pub fn is_pending(signals: SignalSet) -> bool {
    let mut pending = SignalSet::NONE;
    // SAFETY: the set is of the kernel's size and lives through the call, which fills it.
    let _ = unsafe { syscall!(Sysno::rt_sigpending, &raw mut pending, SIGSET_SIZE) };
    pending.0 & signals.0 != 0
}

/// Sets the disposition of every signal to its default, the ones that were inherited as ignored included.
pub fn default_dispositions() {
    /// The kernel's `struct sigaction`: handler (SIG_DFL is 0), flags, restorer, mask.
    static DEFAULT: [u64; 4] = [0; 4];
    for number in 1..=signal::MAX {
        // SAFETY: the action lives for ever; SIGKILL and SIGSTOP give EINVAL, which is as well.
        let _ = unsafe { syscall!(Sysno::rt_sigaction, number, DEFAULT.as_ptr(), 0, SIGSET_SIZE) };
    }
}

/// Has `signal` ignored, or sets its disposition to the default; was it ignored before?
pub fn set_ignored(signal: Signal, ignored: bool) -> bool {
    // The kernel's `struct sigaction`: handler (SIG_DFL is 0, SIG_IGN 1), flags, restorer, mask.
    let new = [u64::from(ignored), 0, 0, 0];
    let mut old = [0_u64; 4];
    // SAFETY: both actions live through the call; SIGKILL and SIGSTOP give EINVAL, which is as well.
    let _ = unsafe { syscall!(Sysno::rt_sigaction, signal.number(), new.as_ptr(), old.as_mut_ptr(), SIGSET_SIZE) };
    old[0] == 1
}

/// Waits for a blocked signal and takes it: for ever, or until `timeout` has passed (then nothing is returned).
pub fn wait_for_signal(timeout: Option<Duration>) -> Option<Signal> {
    wait_for_one_of(SignalSet::ALL, timeout)
}

/// The same for one of `all`.
pub fn wait_for_one_of(all: SignalSet, timeout: Option<Duration>) -> Option<Signal> {
    let timeout = timeout.map(|left| [left.as_secs(), u64::from(left.subsec_nanos())]);
    let timeout = timeout.as_ref().map_or(core::ptr::null(), |timeout| timeout.as_ptr());
    // SAFETY: the set and the timespec live through the call; no siginfo is asked for.
    let number = unsafe { syscall!(Sysno::rt_sigtimedwait, &raw const all, 0, timeout, SIGSET_SIZE) };
    number.ok().and_then(|number| Signal::new(number as i32))
}

/// The time of the monotonic clock: by a system call, because reading the vDSO takes more code than it saves time.
pub fn now() -> Duration {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0_u64; 2];
    // SAFETY: the timespec lives through the call, which fills it; with this clock it can't fail.
    let _ = unsafe { syscall!(Sysno::clock_gettime, CLOCK_MONOTONIC, time.as_mut_ptr()) };
    Duration::new(time[0], time[1] as u32)
}

/// Sends `signal` as `kill(2)` does: `target` is a process, minus a process group, or -1 for all that may be.
pub fn kill(target: i32, signal: Signal) -> Result<(), Errno> {
    // SAFETY: kill touches no memory.
    checked(unsafe { syscall!(Sysno::kill, target as isize, signal.number()) }).map(|_| ())
}

/// Sends `signal` to a process by its pidfd.
pub fn signal_process(process: &OwnedFd, signal: Signal) -> Result<(), Errno> {
    use rustix::fd::AsRawFd;
    // SAFETY: without a siginfo the call touches no memory.
    checked(unsafe { syscall!(Sysno::pidfd_send_signal, process.as_raw_fd(), signal.number(), 0, 0) }).map(|_| ())
}

/// This process's group; nothing if it lies outside of the PID namespace (then the kernel gives 0, which rustix takes
/// for a process ID).
pub fn own_group() -> Option<Pid> {
    // SAFETY: the call touches no memory.
    Pid::from_raw(unsafe { syscall!(Sysno::getpgid, 0) }.unwrap_or(0) as i32)
}

/// Does this process lead its session?
pub fn leads_session() -> bool {
    // SAFETY: the call touches no memory.
    Pid::from_raw(unsafe { syscall!(Sysno::getsid, 0) }.unwrap_or(0) as i32) == Some(rustix::process::getpid())
}

/// Brings the loopback device of this network namespace up (`netdevice(7)`).
pub fn raise_loopback(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::fd::AsRawFd;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u8 = 1;
    // struct ifreq: a name of 16 bytes, a union of 24 that starts with the flags (little-endian here).
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = IFF_UP;
    // SAFETY: the request is of the kernel's size and layout and lives through the call.
    checked(unsafe { syscall!(Sysno::ioctl, socket.as_raw_fd(), SIOCSIFFLAGS, request.as_mut_ptr()) }).map(|_| ())
}

/// Runs `child` in a new process that shares this one's memory, or has a copy of it, while this one waits until it has
/// executed a program or ended. Returns its process ID.
pub fn vfork(mut child: &mut dyn FnMut(), shares_memory: bool) -> Result<i32, Errno> {
    const CLONE_VM: usize = 0x100;
    const CLONE_VFORK: usize = 0x4000;
    const SIGCHLD: usize = 17;

    extern "C" fn run(child: *mut &mut dyn FnMut()) -> ! {
        // SAFETY: the parent waits with the closure on its stack until this process is gone from its memory.
        unsafe { (*child)() };
        exit(nsl_shared::exit::NOT_FOUND)
    }

    let flags = if shares_memory { CLONE_VM } else { 0 } | CLONE_VFORK | SIGCHLD;
    let data = &raw mut child;
    let result: isize;
    // SAFETY: clone(2) with a stack of its own, below this frame and its red zone: the parent uses nothing of that before
    // the child is gone. The child never returns into this frame, it calls `run` with `data`; the parent goes on behind
    // with its registers as they were, but for those named.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("lea rsi, [rsp - 512]", "and rsi, -16", "syscall", "test rax, rax", "jnz 2f",
            "xor ebp, ebp", "mov rdi, r12", "call r13", "ud2", "2:",
            inlateout("rax") 56_isize => result, in("rdi") flags, out("rsi") _, in("rdx") 0, in("r10") 0, in("r8") 0,
            in("r12") data, in("r13") run as extern "C" fn(_) -> !, lateout("rcx") _, lateout("r11") _);
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("sub x1, sp, #512", "svc #0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x20", "blr x21", "brk #1", "2:",
            inlateout("x0") flags as isize => result, out("x1") _, in("x2") 0, in("x3") 0, in("x4") 0, in("x8") 220,
            in("x20") data, in("x21") run as extern "C" fn(_) -> !);
    }
    if result < 0 { Err(Errno::from_raw_os_error(-result as i32)) } else { Ok(result as i32) }
}

/// Ends the process.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: exit_group touches no memory and does not return.
        let _ = unsafe { syscall!(Sysno::exit_group, usize::from(code)) };
    }
}

/// Gives back the memory that only the start needed: its code, and the stack below the caller's frame. It comes again
/// from the file when it is needed again.
pub fn forget_start() {
    unsafe extern "C" {
        // link.ld: where the code of the start begins and ends.
        static start_begin: u8;
        static start_end: u8;
    }
    const PAGE: usize = 4096;
    const DEPTH: usize = 64 * 1024;
    let here = core::cell::Cell::new(0_u8);
    let frame = here.as_ptr() as usize & !(PAGE - 1);
    // SAFETY: pages of code come again as they are in the file; pages of the stack below this frame hold nothing that
    // anybody reads again. What is not mapped is refused.
    unsafe {
        let begin = &raw const start_begin as usize & !(PAGE - 1);
        let length = &raw const start_end as usize - begin;
        let _ = syscall!(Sysno::madvise, begin, length, MADV_DONTNEED);
        let _ = syscall!(Sysno::madvise, frame - DEPTH, DEPTH, MADV_DONTNEED);
    }
}

const MADV_DONTNEED: usize = 4;

/// Closes every descriptor from `first` on.
pub fn close_from(first: u32) {
    // SAFETY: what is closed is owned by nobody in this process: it was inherited, or belongs to the parent's copy.
    let _ = unsafe { syscall!(Sysno::close_range, first, u32::MAX, 0) };
}

/// Has an exec close every descriptor from `first` on.
pub fn close_on_exec_from(first: u32) {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    // SAFETY: no memory is touched, and no descriptor is closed yet; nsl, without which nothing calls this, needs a kernel
    // that knows the flag.
    let _ = unsafe { syscall!(Sysno::close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
}

/// Gives up the session's terminal, which is on `terminal` (`TIOCNOTTY`, ioctl_tty(2)).
pub fn give_up_terminal(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::fd::AsRawFd;
    const TIOCNOTTY: usize = 0x5422;
    // SAFETY: this request has no argument.
    checked(unsafe { syscall!(Sysno::ioctl, terminal.as_raw_fd(), TIOCNOTTY, 0) }).map(|_| ())
}

/// Closes the standard streams from number `first` on.
pub fn close_streams_from(first: u32) {
    // SAFETY: as in `close_from`; nothing in this process uses them from here on.
    let _ = unsafe { syscall!(Sysno::close_range, first, 2, 0) };
}

/// Has the kernel send `signal` when the parent ends (`PR_SET_PDEATHSIG`).
pub fn set_parent_death_signal(signal: Signal) {
    const PR_SET_PDEATHSIG: usize = 1;
    // SAFETY: this prctl takes a number and touches no memory.
    let _ = unsafe { syscall!(Sysno::prctl, PR_SET_PDEATHSIG, signal.number()) };
}

/// Becomes user `uid` in group `gid`, with the supplementary `groups`, each four bytes. There is one thread, so that the
/// calls of the thread are those of the process.
pub fn set_credentials(uid: u32, gid: u32, groups: &[u8]) -> Result<(), Errno> {
    let count = groups.len() / size_of::<u32>();
    // SAFETY: the kernel reads that many numbers, which the slice holds.
    match checked(unsafe { syscall!(Sysno::setgroups, count, groups.as_ptr()) }) {
        // In a user namespace with one identity the groups can't be changed, and there are none to lose.
        Err(Errno::PERM) | Ok(_) => {}
        Err(error) => return Err(error),
    }
    // SAFETY: numbers only.
    checked(unsafe { syscall!(Sysno::setresgid, gid, gid, gid) })?;
    // SAFETY: numbers only.
    checked(unsafe { syscall!(Sysno::setresuid, uid, uid, uid) }).map(|_| ())
}

/// Sets a resource limit of this process, from an entry of the boot message.
pub fn set_limit(entry: &[u8; LIMIT]) -> Result<(), Errno> {
    let [resource, ..] = *entry;
    // SAFETY: behind the resource, a number below 256 in eight bytes, the entry holds the two numbers of a struct
    // rlimit64; the kernel copies them, so that they may lie anywhere.
    checked(unsafe { syscall!(Sysno::prlimit64, 0, resource, entry.as_ptr().add(8), 0) }).map(|_| ())
}

/// Loads a seccomp filter for good (`seccomp(2)`, `SECCOMP_SET_MODE_FILTER`).
pub fn load_filter(instructions: &[u8]) -> Result<(), Errno> {
    const SET_MODE_FILTER: usize = 1;
    /// Before Linux 5.16 a filter made the whole program slower by default (speculative store bypass).
    const SPEC_ALLOW: usize = 4;
    /// struct sock_fprog
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const u8,
    }
    let program = Program { length: (instructions.len() / INSTRUCTION) as u16, instructions: instructions.as_ptr() };
    // SAFETY: the program says how many instructions lie there; the kernel copies and checks them.
    checked(unsafe { syscall!(Sysno::seccomp, SET_MODE_FILTER, SPEC_ALLOW, &raw const program) }).map(|_| ())
}

/// Restricts this process, and what comes from it, by a Landlock ruleset (`landlock_restrict_self(2)`).
pub fn restrict_by_landlock(ruleset: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    checked(unsafe { syscall!(Sysno::landlock_restrict_self, ruleset, 0) }).map(|_| ())
}

/// Makes descriptor `to` the same as `from`, to be kept behind an exec.
pub fn duplicate(from: i32, to: i32) -> Result<(), Errno> {
    // SAFETY: what is closed by it is owned by nobody in this process: it belongs to the parent's copy.
    checked(unsafe { syscall!(Sysno::dup3, from, to, 0) }).map(|_| ())
}

/// How many bytes `terminal` has still to send (TIOCOUTQ of ioctl_tty(2)); 0 if it is none.
pub fn unsent(terminal: BorrowedFd<'_>) -> i32 {
    use rustix::fd::AsRawFd;
    const TIOCOUTQ: usize = 0x5411;
    let mut count = 0_i32;
    // SAFETY: the count lives through the call, which stores an int there or nothing.
    let _ = unsafe { syscall!(Sysno::ioctl, terminal.as_raw_fd(), TIOCOUTQ, &raw mut count) };
    count
}
