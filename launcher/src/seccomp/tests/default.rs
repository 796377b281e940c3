//! What the default policy allows, on both architectures and in all its variants.

use super::machine::{Call, run};
use super::{I386, assert_same};
use crate::seccomp::compiler::{AARCH64, Action, X32, X86_64};
use crate::seccomp::default::{GROUPS, NESTED, openings, policy, table};
use crate::seccomp::{Choice, Request, filter};
use std::collections::{BTreeMap, BTreeSet};

const ALLOW: Action = Action::ALLOW;
const EPERM: Action = Action::errno(1);
const ENOSYS: Action = Action::errno(38);
const EAFNOSUPPORT: Action = Action::errno(97);
/// In the lower half of an argument the kernel looks at, this one is dropped.
const HIGH: u64 = 0xdead_beef << 32;

type Table = Vec<(&'static str, u32)>;

fn tables() -> [(u32, Table); 2] {
    [(X86_64, table!(syscalls::x86_64::Sysno).collect()), (AARCH64, table!(syscalls::aarch64::Sysno).collect())]
}

/// A filter, asked by the names of calls.
struct Filter {
    arch: u32,
    numbers: BTreeMap<&'static str, u32>,
    program: Vec<u8>,
}

impl Filter {
    fn new(arch: u32, table: &Table, open: u64) -> Self {
        let program = policy(arch, table.iter().copied(), open).compile().unwrap();
        Self { arch, numbers: table.iter().copied().collect(), program }
    }

    #[track_caller]
    fn answer(&self, name: &str, args: &[u64]) -> Action {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        run(&self.program, &Call { arch: self.arch, number: self.numbers[name], args: all })
    }

    #[track_caller]
    fn assert(&self, expected: Action, calls: &[(&str, &[u64])]) {
        for (name, args) in calls {
            assert_eq!(self.answer(name, args), expected, "{name}({args:x?}) on {:x}", self.arch);
        }
    }
}

/// Filters of both architectures, with these openings.
fn filters(open: u64) -> [Filter; 2] {
    tables().map(|(arch, table)| Filter::new(arch, &table, open))
}

#[test]
fn every_known_call_stands_in_one_group_and_every_name_is_one() {
    let names: Vec<_> = GROUPS.iter().flat_map(|group| group.calls.split_ascii_whitespace()).collect();
    let unique: BTreeSet<_> = names.iter().copied().collect();
    assert_eq!(names.len(), unique.len(), "a call stands in two groups");
    let known: BTreeSet<_> = tables().into_iter().flat_map(|(_, table)| table).map(|(name, _)| name).collect();
    let forgotten: Vec<_> = known.difference(&unique).collect();
    assert!(forgotten.is_empty(), "think about {forgotten:?}");
    let misspelt: Vec<_> = unique.difference(&known).collect();
    assert!(misspelt.is_empty(), "no such calls: {misspelt:?}");
}

#[test]
fn programs_of_all_variants_do_what_the_policy_says() {
    let mut count = 0;
    for (arch, table) in tables() {
        let openings = (0..64).map(|bit| openings(1 << bit)).chain([0, openings(u64::MAX)]);
        for open in openings.collect::<BTreeSet<_>>() {
            let policy = policy(arch, table.iter().copied(), open);
            let program = policy.compile().unwrap();
            assert!(program.len() / 8 < 150, "{} instructions", program.len() / 8);
            count += assert_same(&policy, &program);
        }
    }
    assert!(count > 100_000, "{count}");
}

#[test]
fn programs_that_are_built_in_are_those_of_the_policy() {
    let (arch, table) = tables().into_iter().find(|(arch, _)| *arch == crate::seccomp::native_arch()).unwrap();
    for nested in [false, true] {
        let request = Request { choice: Choice::Default, capabilities: 0, nested };
        let built = filter(&request).unwrap().unwrap();
        let expected = policy(arch, table.iter().copied(), if nested { NESTED } else { 0 }).compile().unwrap();
        assert_eq!(*built, *expected);
    }
}

#[test]
fn what_the_kernel_may_learn_is_not_there_yet() {
    for filter in filters(0).iter().chain(&filters(u64::MAX)) {
        let highest = filter.numbers.values().max().unwrap();
        for number in (highest + 1..highest + 600).chain([X32, X32 | 1, X32 + 520, u32::MAX, 5000]) {
            let call = Call { arch: filter.arch, number, args: [0; 6] };
            assert_eq!(run(&filter.program, &call), ENOSYS, "{number}");
        }
        for arch in [I386, 0x4000_0028, filter.arch ^ (X86_64 ^ AARCH64), 0, u32::MAX] {
            for number in 0..600 {
                assert_eq!(run(&filter.program, &Call { arch, number, args: [0; 6] }), ENOSYS, "{arch:x} {number}");
            }
        }
    }
}

#[test]
fn characters_cannot_be_put_into_a_terminal() {
    for open in [0, NESTED, 1 << 12, u64::MAX] {
        for filter in filters(open) {
            filter.assert(EPERM, &[("ioctl", &[0, 0x5412]), ("ioctl", &[0, 0x541c])]);
            // The bypass of CVE-2019-10063, and its like.
            filter.assert(EPERM, &[("ioctl", &[0, HIGH | 0x5412]), ("ioctl", &[HIGH, 1 << 63 | 0x541c])]);
            filter
                .assert(ALLOW, &[("ioctl", &[0, 0x5401]), ("ioctl", &[0x5412, 0x5413]), ("ioctl", &[0, 0x5412 << 32])]);
        }
    }
    for filter in filters(0) {
        filter.assert(EPERM, &[("ioctl", &[0, 0x5423]), ("ioctl", &[0, HIGH | 0x5423])]);
    }
}

#[test]
fn namespaces_are_made_only_where_sandboxes_may_nest() {
    let new = [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
    for filter in filters(0) {
        for flag in new {
            filter.assert(EPERM, &[("clone", &[flag]), ("clone", &[HIGH | flag | 0x11]), ("unshare", &[flag])]);
            filter.assert(EPERM, &[("unshare", &[flag | 0x400])]);
        }
        // CLONE_NEWTIME, which to clone is a signal's number.
        filter.assert(EPERM, &[("unshare", &[0x80]), ("setns", &[3, 0]), ("mount", &[]), ("move_mount", &[])]);
        filter.assert(ALLOW, &[("clone", &[17]), ("clone", &[0x1 | 0x80]), ("clone", &[0x3d_0f00])]);
        filter.assert(ALLOW, &[("unshare", &[0]), ("unshare", &[0x400]), ("unshare", &[0x5_0f00])]);
        filter.assert(ENOSYS, &[("clone3", &[0, 88])]);
    }
    for filter in filters(NESTED).iter().chain(&filters(1 << 21)) {
        for flag in new {
            filter.assert(ALLOW, &[("clone", &[flag]), ("unshare", &[flag])]);
        }
        filter.assert(ALLOW, &[("clone3", &[]), ("setns", &[]), ("mount", &[]), ("pivot_root", &[]), ("fsopen", &[])]);
        filter.assert(EPERM, &[("keyctl", &[]), ("init_module", &[])]);
    }
    for filter in filters(NESTED) {
        filter.assert(EPERM, &[("bpf", &[]), ("io_uring_setup", &[])]);
    }
}

#[test]
fn sockets_are_of_the_families_that_programs_use() {
    for filter in filters(0) {
        for family in 0..64 {
            let expected = if [1, 2, 10, 16, 17].contains(&family) { ALLOW } else { EAFNOSUPPORT };
            filter.assert(expected, &[("socket", &[family]), ("socket", &[HIGH | family]), ("socketpair", &[family])]);
        }
    }
    for filter in filters(1 << 12) {
        for family in 0..64 {
            let expected = if [38, 40].contains(&family) { EAFNOSUPPORT } else { ALLOW };
            filter.assert(expected, &[("socket", &[family]), ("socket", &[HIGH | family])]);
        }
    }
}

#[test]
fn personalities_are_those_that_weaken_nothing() {
    for filter in filters(0) {
        for personality in [0, 8, 0x2_0000, 0x2_0008, 0x4_0000, 0xffff_ffff, u64::MAX] {
            filter.assert(ALLOW, &[("personality", &[personality])]);
        }
        for personality in [1, 0x40_0000, 0x10_0000, 0x44_0000, 0xffff_fffe, HIGH | 0x40_0000] {
            filter.assert(EPERM, &[("personality", &[personality])]);
        }
    }
}

#[test]
fn capabilities_open_what_goes_with_them_and_no_more() {
    let cases: [(u32, &[&str]); 14] = [
        (2, &["open_by_handle_at", "name_to_handle_at"]),
        (16, &["init_module", "finit_module", "delete_module"]),
        (17, &[]),
        (19, &["userfaultfd"]),
        (20, &["acct"]),
        (21, &["mount", "setns", "bpf", "perf_event_open", "syslog", "quotactl", "sethostname", "fanotify_init"]),
        (22, &["reboot"]),
        (23, &["move_pages", "migrate_pages"]),
        (25, &["settimeofday", "clock_settime"]),
        (26, &["vhangup"]),
        (34, &["syslog"]),
        (38, &["perf_event_open"]),
        (39, &["bpf"]),
        (18, &[]),
    ];
    let all: BTreeSet<_> = cases.iter().flat_map(|(_, calls)| *calls).copied().collect();
    for filter in filters(0) {
        for call in &all {
            filter.assert(EPERM, &[(call, &[])]);
        }
    }
    for (capability, calls) in cases {
        for filter in filters(1 << capability) {
            for call in &all {
                let expected = if calls.contains(call) { ALLOW } else { EPERM };
                filter.assert(expected, &[(call, &[])]);
            }
        }
    }
    let [x86_64, _] = filters(1 << 17);
    x86_64.assert(ALLOW, &[("iopl", &[3]), ("ioperm", &[0, 1, 1])]);
    let [x86_64, _] = filters(0);
    x86_64.assert(EPERM, &[("iopl", &[3]), ("ioperm", &[0, 1, 1]), ("modify_ldt", &[1])]);
}

#[test]
fn no_capability_opens_what_no_sandbox_needs() {
    for filter in filters(u64::MAX) {
        for call in ["kexec_load", "kexec_file_load", "swapon", "swapoff", "keyctl", "add_key", "request_key"] {
            filter.assert(EPERM, &[(call, &[])]);
        }
    }
}

#[test]
fn programs_start_run_and_are_debugged() {
    let calls = [
        "execve",
        "execveat",
        "exit_group",
        "mmap",
        "mprotect",
        "futex",
        "openat",
        "read",
        "write",
        "wait4",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "pidfd_open",
        "memfd_create",
        "set_robust_list",
        "rseq",
        "prctl",
        "seccomp",
        "landlock_restrict_self",
        "io_submit",
        "semop",
        "shmat",
        "mq_open",
        "inotify_add_watch",
        "statx",
        "mknodat",
        "chroot",
        "getrandom",
        "adjtimex",
        "sched_setaffinity",
        "mbind",
        "kcmp",
    ];
    for filter in filters(0) {
        for call in calls {
            filter.assert(ALLOW, &[(call, &[u64::MAX; 6])]);
        }
    }
    let [x86_64, _] = filters(0);
    for call in ["fork", "vfork", "open", "stat", "arch_prctl", "poll", "uretprobe", "time"] {
        x86_64.assert(ALLOW, &[(call, &[])]);
    }
}
