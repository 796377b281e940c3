//! The floor: the kernel calls that a start of `nsl run` cannot do without, and nothing else.
//!
//! `floor none|veth|veth4 -- COMMAND…` makes the sandbox, without a network or with a veth pair of both families or of
//! IPv4 alone; `floor pid -- COMMAND…` runs a command as PID 1 of a new PID namespace and is the starter of every init
//! that is compared; `floor world` prepares a network namespace of the bench's own. Built static by the bench; no
//! option, no check, no cleaning up.

#![no_main]
#![deny(unsafe_op_in_unsafe_fn)]

mod net;
mod sys;

use std::ffi::{CStr, c_char, c_int, c_void};

/// What the child needs to know.
struct Job {
    command: *const *const c_char,
    /// What the child waits for until the network namespace is there.
    born: c_int,
    network: Option<Network>,
    /// Sets this start's names and addresses apart from those of others.
    slot: u32,
}

#[derive(Clone, Copy)]
struct Network {
    /// What the child waits for until the veth pair is there.
    gate: c_int,
    ipv6: bool,
}

/// # Safety
/// The C runtime calls it, with the arguments that the kernel laid down.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: the kernel's array has `count` terminated strings and a null pointer after them.
    let mode = if count > 1 { unsafe { CStr::from_ptr(*arguments.add(1)) } } else { c"" };
    // SAFETY: as above; only used below when there is a fourth.
    let command = unsafe { arguments.add(3.min(count as usize)) };
    let slot = std::process::id();
    let job = |network| Job { command, born: sys::gate(), network, slot };
    let veth = |ipv6| job(Some(Network { gate: sys::gate(), ipv6 }));
    match mode.to_bytes() {
        b"none" if count > 3 => sandbox(&job(None)),
        b"veth4" if count > 3 => sandbox(&veth(false)),
        b"veth" if count > 3 => sandbox(&veth(true)),
        b"pid" if count > 3 => sys::wait(sys::spawn(sys::NEW_PID, pid_one, &job(None))),
        b"world" => {
            net::world();
            0
        }
        _ => {
            eprintln!("usage: floor none|veth|veth4|pid -- COMMAND [ARG]… | floor world");
            125
        }
    }
}

/// The network namespace is made while the child makes the mounts; they share their descriptors.
fn sandbox(job: &Job) -> c_int {
    let namespaces = sys::NEW_MOUNT | sys::NEW_CGROUP | sys::NEW_UTS | sys::NEW_IPC | sys::NEW_PID;
    let pid = sys::spawn(namespaces | sys::SHARE_FILES, inside, job);
    sys::make_network(net::lo_up);
    sys::open_gate(job.born);
    if let Some(Network { gate, ipv6 }) = job.network {
        net::host_side(job.slot, sys::NETWORK, ipv6);
        sys::open_gate(gate);
    }
    sys::wait(pid)
}

extern "C" fn inside(job: *mut c_void) -> c_int {
    // SAFETY: `sandbox` passes a `Job`, and this process has a copy of it.
    let job = unsafe { &*job.cast::<Job>() };
    sys::die_with_parent();
    sys::hostname(c"floor");
    root(job.born);
    if let Some(Network { gate, ipv6 }) = job.network {
        sys::pass_gate(gate);
        net::inner_side(job.slot, ipv6);
    }
    sys::exit(sys::wait(sys::spawn(sys::BORROW_UNTIL_EXEC, confined, job)))
}

/// With the privileges of a command of nsl's.
extern "C" fn confined(job: *mut c_void) -> c_int {
    sys::drop_privileges();
    sys::load_filter();
    command(job)
}

/// The host's `/` under an overlay whose writes stay in memory, with its own /dev, /proc, /sys, /run and /tmp.
fn root(born: c_int) {
    let (careful, silent) = (sys::NO_SUID | sys::NO_DEV, sys::NO_SUID | sys::NO_EXEC);
    sys::clear_umask();
    sys::attach(c"none", c"/", sys::PRIVATE_TREE, c"");
    sys::attach(c"tmpfs", c"/tmp", careful, c"");
    sys::directory(c"/tmp/upper");
    sys::directory(c"/tmp/work");
    sys::directory(c"/tmp/root");
    // Empty directories in place of the host's: cheaper than a tmpfs on each.
    sys::directory(c"/tmp/upper/run");
    sys::directory(c"/tmp/upper/tmp");
    sys::hide_lower(c"/tmp/upper/run");
    sys::hide_lower(c"/tmp/upper/tmp");
    sys::directory(c"/tmp/upper/etc");
    sys::file(c"/tmp/upper/etc/resolv.conf", b"nameserver 192.0.2.1\n");
    sys::file(c"/tmp/upper/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n");
    sys::file(c"/tmp/upper/etc/hostname", b"floor\n");
    sys::attach(c"overlay", c"/tmp/root", 0, c"lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work");
    sys::change_directory(c"/tmp/root");

    sys::attach(c"tmpfs", c"dev", silent, c"mode=755");
    for (path, major, minor) in [
        (c"dev/null", 1, 3),
        (c"dev/zero", 1, 5),
        (c"dev/full", 1, 7),
        (c"dev/random", 1, 8),
        (c"dev/urandom", 1, 9),
        (c"dev/tty", 5, 0),
    ] {
        sys::device(path, major, minor);
    }
    sys::link(c"dev/fd", c"/proc/self/fd");
    sys::link(c"dev/stdin", c"/proc/self/fd/0");
    sys::link(c"dev/stdout", c"/proc/self/fd/1");
    sys::link(c"dev/stderr", c"/proc/self/fd/2");
    sys::link(c"dev/ptmx", c"pts/ptmx");
    sys::directory(c"dev/pts");
    sys::directory(c"dev/shm");
    sys::attach(c"devpts", c"dev/pts", silent, c"newinstance,ptmxmode=0666,mode=620");

    sys::pass_gate(born);
    sys::enter_network();
    sys::attach(c"sysfs", c"sys", sys::READ_ONLY | careful | silent, c"");
    sys::attach(c"proc", c"proc", careful | silent, c"");
    sys::enter_root();
    guard();
}

/// What nsl hides of /proc and /sys, and what it makes read-only.
fn guard() {
    for path in [
        c"/proc/acpi",
        c"/proc/asound",
        c"/proc/scsi",
        c"/sys/devices/virtual/powercap",
        c"/sys/firmware",
        c"/sys/fs/selinux",
    ] {
        sys::hide_directory(path);
    }
    for path in [
        c"/proc/interrupts",
        c"/proc/kcore",
        c"/proc/keys",
        c"/proc/latency_stats",
        c"/proc/sched_debug",
        c"/proc/timer_list",
        c"/proc/timer_stats",
    ] {
        sys::hide_file(path);
    }
    for path in [c"/proc/bus", c"/proc/dynamic_debug", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"]
    {
        sys::protect(path);
    }
}

extern "C" fn pid_one(job: *mut c_void) -> c_int {
    sys::die_with_parent();
    command(job)
}

extern "C" fn command(job: *mut c_void) -> c_int {
    // SAFETY: the callers pass a `Job`; `main` has checked that its command has at least one word.
    unsafe { sys::exec((*job.cast::<Job>()).command) }
}
