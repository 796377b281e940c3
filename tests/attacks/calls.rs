//! System calls from perl, which every Debian has: by name, with this machine's numbers.

use std::fmt::Write;

const CALLS: [(&str, libc::c_long); 26] = [
    ("add_key", libc::SYS_add_key),
    ("bpf", libc::SYS_bpf),
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("finit_module", libc::SYS_finit_module),
    ("fsopen", libc::SYS_fsopen),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("ioctl", libc::SYS_ioctl),
    ("kexec_load", libc::SYS_kexec_load),
    ("keyctl", libc::SYS_keyctl),
    ("mknodat", libc::SYS_mknodat),
    ("mount", libc::SYS_mount),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("ptrace", libc::SYS_ptrace),
    ("renameat2", libc::SYS_renameat2),
    ("setns", libc::SYS_setns),
    ("setxattr", libc::SYS_setxattr),
    ("socket", libc::SYS_socket),
    ("syslog", libc::SYS_syslog),
    ("unshare", libc::SYS_unshare),
    ("userfaultfd", libc::SYS_userfaultfd),
];

/// A script with `sys NAME, ARGUMENT…`, whose buffers are written to where they are variables, and `told CONDITION`,
/// which says if the attack came through.
pub fn perl(script: &str) -> String {
    let numbers = CALLS.iter().fold(String::new(), |mut numbers, (name, number)| {
        let _ = write!(numbers, "{name}=>{number},");
        numbers
    });
    format!(
        "my %n=({numbers}); sub sys {{ my $name = shift; my @copy = @_; my $result = syscall $n{{$name}}, @copy;
         for (0 .. $#copy) {{ $_[$_] = $copy[$_] unless Internals::SvREADONLY($_[$_]) }} $result }}
         sub told {{ print $_[0] ? qq(through\\n) : qq(held: $!\\n) }} $| = 1; {script}"
    )
}
