//! The default policy, as data: what each system call of the kernel's table gets, in groups, and why. Every call of the
//! table stands in exactly one group; a test sees to it that a new one is thought about. build.rs uses this file too,
//! so that it refers to no other but the compiler.
//!
//! An allow-list. What the kernel may learn in future fails with ENOSYS, as on a kernel that has not learned it yet:
//! programs then do without. What is known and forbidden fails with EPERM, as for somebody without the privilege.
//! Some groups open with a capability that was added on purpose, or in a sandbox that is to hold others.

use super::compiler::{Action, Clause, Compare, Policy, Rule, Test};

const EPERM: Action = Action::errno(1);
const ENOSYS: Action = Action::errno(38);
const EAFNOSUPPORT: Action = Action::errno(97);

/// What opens a group, as bits: those of capabilities (`capabilities(7)`), and one that none has.
pub const NESTED: u64 = 1 << 63;
const DAC_READ_SEARCH: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;
const SYS_MODULE: u64 = 1 << 16;
const SYS_RAWIO: u64 = 1 << 17;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_PACCT: u64 = 1 << 20;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_BOOT: u64 = 1 << 22;
const SYS_NICE: u64 = 1 << 23;
const SYS_TIME: u64 = 1 << 25;
const SYS_TTY_CONFIG: u64 = 1 << 26;
const SYSLOG: u64 = 1 << 34;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// What a call gets.
#[derive(Clone, Copy)]
pub enum Verdict {
    Allow,
    Fail(Action),
    /// Allowed where one of the tests holds; else it fails so.
    If(&'static [Test], Action),
    /// Fails with EPERM where one of the tests holds.
    Unless(&'static [Test]),
}
use Verdict::{Allow, Fail, If, Unless};

/// Calls that get the same.
pub struct Group {
    pub verdict: Verdict,
    /// What opens it …
    pub opens: u64,
    /// … and what the calls get then.
    pub opened: Verdict,
    /// Their names, with space between.
    pub calls: &'static str,
}

const fn allowed(calls: &'static str) -> Group {
    Group { verdict: Allow, opens: 0, opened: Allow, calls }
}

/// Forbidden, but allowed with one of these.
const fn opened_by(opens: u64, calls: &'static str) -> Group {
    Group { verdict: Fail(EPERM), opens, opened: Allow, calls }
}

const fn never(action: Action, calls: &'static str) -> Group {
    Group { verdict: Fail(action), opens: 0, opened: Fail(action), calls }
}

/// A test of an argument of 32 bits. The kernel drops the upper half of the register, so it must not count here
/// either: a filter that compared all 64 bits was got around (CVE-2019-10063).
const fn word(argument: u8, mask: u32, value: u32) -> Test {
    Test { argument, mask: mask as u64, compare: Compare::Equal, value: value as u64 }
}

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`. (`CLONE_NEWTIME` is a signal's number
/// to clone; only clone3 and unshare have it.)
const CLONE_NEW: u32 = 0x7e02_0000;
/// What unshare can do without a new namespace: `CLONE_VM`, `FS`, `FILES`, `SIGHAND`, `THREAD`, `SYSVSEM`.
const UNSHARE_OTHER: u32 = 0x0005_0f00;

/// Put characters into a terminal's input, as if typed: whoever shares the terminal would execute them
/// (CVE-2017-5226). The console's is TIOCLINUX.
const TIOCSTI: Test = word(1, u32::MAX, 0x5412);
const TIOCLINUX: Test = word(1, u32::MAX, 0x541c);
/// Change the line discipline: loads kernel modules that nobody needs here and that had their holes (n_gsm, n_hdlc).
const TIOCSETD: Test = word(1, u32::MAX, 0x5423);

/// Ask (-1), or be an ordinary program, of 32 bits by name, of a kernel 2.6 by name, or without random addresses
/// (debuggers and sanitizers do so). The others weaken a program: readable means executable, page 0 is mapped.
const PERSONALITIES: [Test; 2] = [word(0, u32::MAX, u32::MAX), word(0, !0x0006_0008, 0)];

/// `AF_UNIX`, `INET`, `INET6`, `NETLINK`, `PACKET` (which needs CAP_NET_RAW): what programs use. Each other family is
/// a kernel module, loaded on demand, with its history of holes (X.25, TIPC, RDS, AF_ALG, …).
const FAMILIES: [Test; 5] = [family(1), family(2), family(10), family(16), family(17)];
/// With CAP_NET_ADMIN all are there, but not `AF_ALG`, which has nothing to do with it, and `AF_VSOCK`, which gets to
/// the hypervisor and to other virtual machines past every network namespace.
const OTHER_FAMILIES: [Test; 3] = [
    Test { argument: 0, mask: LOW, compare: Compare::Less, value: 38 },
    word(0, u32::MAX, 39),
    Test { argument: 0, mask: LOW, compare: Compare::Greater, value: 40 },
];
const LOW: u64 = u32::MAX as u64;

const fn family(number: u32) -> Test {
    word(0, u32::MAX, number)
}

pub const GROUPS: &[Group] = &[
    // Files: by path and by descriptor; the kernel checks permissions, and what is seen is the sandbox's own. Device
    // nodes need CAP_MKNOD, a new root CAP_SYS_CHROOT.
    allowed(
        "access chdir chmod chown chroot close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
         fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync file_getattr
         file_setattr flock fstat fstatat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 lchown link
         linkat lseek lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 pread64 preadv preadv2
         pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile
         splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat
         ustat utime utimensat utimes vmsplice write writev",
    ),
    // Extended attributes: the kernel checks each name's own rule.
    allowed(
        "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
         lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat",
    ),
    // Waiting for files and timers, and descriptors that tell of events.
    allowed(
        "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
         eventfd eventfd2 inotify_add_watch inotify_init inotify_init1 inotify_rm_watch pipe pipe2 poll ppoll
         pselect6 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime",
    ),
    // The old asynchronous I/O, which databases use.
    allowed("io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit"),
    // Processes and threads, their signals, limits and priorities. More than one's own needs privileges, and nobody
    // outside has a number inside.
    allowed(
        "execve execveat exit exit_group fork getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid
         gettid ioprio_get ioprio_set kill pause pidfd_open pidfd_send_signal prctl prlimit64 process_mrelease
         restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
         rt_sigtimedwait rt_tgsigqueueinfo set_tid_address setpgid setpriority setrlimit setsid sigaltstack tgkill
         tkill vfork wait4 waitid",
    ),
    // Scheduling.
    allowed(
        "getcpu sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
         sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
         sched_yield",
    ),
    // Locks, and what threads need of the processor.
    allowed(
        "arch_prctl futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list get_thread_area membarrier
         rseq set_robust_list set_thread_area",
    ),
    // The way back of a probe that somebody with privileges set into the program; forbidden, it would crash. (Newer
    // kernels ask no filter here.)
    allowed("uprobe uretprobe"),
    // Memory, executable memory included: compilers at run time need it. Its place among NUMA nodes, for oneself.
    allowed(
        "brk cachestat get_mempolicy madvise map_shadow_stack mbind memfd_create memfd_secret mincore mlock mlock2
         mlockall mmap mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
         remap_file_pages set_mempolicy set_mempolicy_home_node",
    ),
    // Debuggers. The kernel asks for the right to trace in each of them, which is that over one's own children; a
    // tracer gets no call past this filter, which comes behind it (since Linux 4.8). So they give nothing but what
    // those processes can do, and are how programs are debugged.
    allowed("kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    // Who one is: with fewer rights at most, unless capabilities were given.
    allowed(
        "capget capset getegid geteuid getgid getgroups getresgid getresuid getuid setfsgid setfsuid setgid setgroups
         setregid setresgid setresuid setreuid setuid",
    ),
    // Sandboxes of the command's own making: they only take away.
    allowed(
        "landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules
         lsm_set_self_attr seccomp",
    ),
    // Time and random numbers. adjtimex and clock_adjtime mostly read; to set they need CAP_SYS_TIME of the host,
    // and which of the two it is stands in memory, where a filter can't look.
    allowed(
        "adjtimex alarm clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer getrandom gettimeofday
         nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_settime times",
    ),
    // System V's and POSIX's message queues, semaphores and shared memory, in an IPC namespace of their own.
    allowed(
        "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl
         semget semop semtimedop shmat shmctl shmdt shmget",
    ),
    // Sockets that are there.
    allowed(
        "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg
         sendmsg sendto setsockopt shutdown",
    ),
    // What /proc tells as well: the machine, the sandbox's own mounts.
    allowed("listmount statmount sysinfo uname"),
    // New sockets, of the families that programs use. As on a kernel without the others.
    Group {
        verdict: If(&FAMILIES, EAFNOSUPPORT),
        opens: NET_ADMIN,
        opened: If(&OTHER_FAMILIES, EAFNOSUPPORT),
        calls: "socket socketpair",
    },
    // Devices check their requests themselves, all but those that every terminal takes.
    Group {
        verdict: Unless(&[TIOCSTI, TIOCLINUX, TIOCSETD]),
        opens: NET_ADMIN,
        opened: Unless(&[TIOCSTI, TIOCLINUX]),
        calls: "ioctl",
    },
    Group { verdict: If(&PERSONALITIES, EPERM), opens: 0, opened: Allow, calls: "personality" },
    // Namespaces: in one of its own a user is root, and reaches kernel code that only root reached before. Most
    // holes by which sandboxes were left in the last years began so (CVE-2022-0185 and many others).
    Group { verdict: If(&[word(0, CLONE_NEW, 0)], EPERM), opens: NESTED | SYS_ADMIN, opened: Allow, calls: "clone" },
    Group {
        verdict: If(&[word(0, !UNSHARE_OTHER, 0)], EPERM),
        opens: NESTED | SYS_ADMIN,
        opened: Allow,
        calls: "unshare",
    },
    // Its flags are in memory, where a filter can't look. The C libraries then use clone.
    Group { verdict: Fail(ENOSYS), opens: NESTED | SYS_ADMIN, opened: Allow, calls: "clone3" },
    // Other namespaces, mounts, names of the host.
    opened_by(
        NESTED | SYS_ADMIN,
        "fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root
         setdomainname sethostname setns umount2",
    ),
    // What root does to a whole system. io_uring does calls past every filter, and was the richest source of holes
    // of late; its users have other ways. fanotify sees whole file systems.
    opened_by(
        SYS_ADMIN,
        "fanotify_init fanotify_mark io_uring_enter io_uring_register io_uring_setup lookup_dcookie quotactl
         quotactl_fd",
    ),
    // Programs in the kernel, and its counters: both were ways into it.
    opened_by(BPF | SYS_ADMIN, "bpf"),
    opened_by(PERFMON | SYS_ADMIN, "perf_event_open"),
    // The kernel's log tells its addresses.
    opened_by(SYSLOG | SYS_ADMIN, "syslog"),
    // Stops the kernel in the middle of its work on a page, which makes its races winnable.
    opened_by(SYS_PTRACE, "userfaultfd"),
    // Files by number: past the root directory, to any file of the file system ("Shocker").
    opened_by(DAC_READ_SEARCH, "name_to_handle_at open_by_handle_at"),
    // Pages moved between NUMA nodes, other processes' too.
    opened_by(SYS_NICE, "migrate_pages move_pages"),
    // Code for the kernel.
    opened_by(SYS_MODULE, "delete_module finit_module init_module"),
    // Ports of devices.
    opened_by(SYS_RAWIO, "ioperm iopl"),
    // A record of every process of the machine.
    opened_by(SYS_PACCT, "acct"),
    // Ends a PID namespace, or the machine.
    opened_by(SYS_BOOT, "reboot"),
    // Clocks are in no namespace.
    opened_by(SYS_TIME, "clock_settime settimeofday"),
    // Takes a terminal from who has it.
    opened_by(SYS_TTY_CONFIG, "vhangup"),
    // In no namespace: keys are found by number, and joined by name (CVE-2014-9529, CVE-2016-0728, …). Another kernel,
    // another swap: no sandbox's business, whatever else it may. Segments of memory as of the 80286: nothing of 64 bits
    // has any, and the code behind them was a way in (CVE-2017-17053).
    never(EPERM, "add_key keyctl kexec_file_load kexec_load modify_ldt request_key swapoff swapon"),
    // Numbers that no kernel answers, or none of 64 bits, or for programs of the last century only.
    never(
        ENOSYS,
        "_sysctl afs_syscall clock_adjtime64 clock_getres_time64 clock_gettime64 clock_nanosleep_time64
         clock_settime64 create_module futex_time64 get_kernel_syms getpmsg io_pgetevents_time64
         mq_timedreceive_time64 mq_timedsend_time64 nfsservctl ppoll_time64 pselect6_time64 putpmsg
         query_module recvmmsg_time64 rt_sigtimedwait_time64 sched_rr_get_interval_time64 security
         semtimedop_time64 sysfs timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 tuxcall
         uselib utimensat_time64 vserver",
    ),
];

/// The names and numbers of a table of calls. (The crate's own iterator leaves out the last.)
macro_rules! table {
    ($calls:ty) => {
        (0..1024).filter_map(<$calls>::new).map(|call| (call.name(), call.id() as u32))
    };
}
pub(crate) use table;

/// Of capabilities and [`NESTED`], what matters to this policy.
pub fn openings(capabilities: u64) -> u64 {
    capabilities & GROUPS.iter().fold(0, |all, group| all | group.opens)
}

/// The policy for an architecture and its table of calls, by name and number, with what `open` opens.
pub fn policy(arch: u32, table: impl Iterator<Item = (&'static str, u32)>, open: u64) -> Policy {
    let verdicts: std::collections::HashMap<&str, Verdict> = GROUPS
        .iter()
        .flat_map(|group| {
            let verdict = if group.opens & open == 0 { group.verdict } else { group.opened };
            group.calls.split_ascii_whitespace().map(move |call| (call, verdict))
        })
        .collect();
    let calls = table.filter_map(|(name, number)| Some((number, rule(*verdicts.get(name)?)))).collect();
    Policy { arch, calls, between: ENOSYS, beyond: ENOSYS, foreign: ENOSYS }
}

fn rule(verdict: Verdict) -> Rule {
    let (tests, action, otherwise): (&[Test], _, _) = match verdict {
        Allow => (&[], Action::ALLOW, Action::ALLOW),
        Fail(action) => (&[], action, action),
        If(tests, otherwise) => (tests, Action::ALLOW, otherwise),
        Unless(tests) => (tests, EPERM, Action::ALLOW),
    };
    Rule { clauses: tests.iter().map(|test| Clause { tests: vec![*test], action }).collect(), otherwise }
}
