//! On the machine as a whole: what the kernel lets root change without asking for a capability, and its hardware.

use super::{held, sandbox, through};

/// Opened for writing, and nothing written.
#[test]
fn settings_of_the_machine_cannot_be_written() {
    let host = crate::host!();
    let files = [
        // A program that the kernel executes on the host, as root, when a process crashes.
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/panic_on_oom",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/proc/dynamic_debug/control",
    ];
    for file in files {
        let attack = format!("[ -e {file} ] || echo held: it is absent; (: >> {file}) 2>&- && echo through; echo held");
        held(sandbox(&host, &[], &["sh", "-c", &attack]));
        held(sandbox(&host, &[], &["sh", "-c", &attack]).as_user());
        if host.sh(&format!("[ -e {file} ] && echo there || :")) == "there\n" {
            through(sandbox(&host, &["--privileged"], &["sh", "-c", &attack]));
        }
    }
    let attack = "mount -o remount,rw /sys 2>&-; for file in $(find /sys/kernel /sys/module -type f -perm -200 2>&- | head -n 50); do
            (: >> $file) 2>&- && echo through: $file && break; done; echo held";
    held(sandbox(&host, &[], &["sh", "-c", attack]));
    held(sandbox(&host, &[], &["sh", "-c", attack]).as_user());
    through(sandbox(&host, &["--privileged"], &["sh", "-c", attack]));
}

/// Sandboxes in a sandbox need all of /proc, whose settings are root's: so that root there is another than the host's.
#[test]
fn root_with_nested_sandboxes_is_not_root_on_the_machine() {
    let host = crate::host!();
    let attack = "(: >> /proc/sys/kernel/core_pattern) 2>&- && echo through; echo held";
    held(sandbox(&host, &["--nested"], &["sh", "-c", attack]));
    held(sandbox(&host, &["--nested"], &["sh", "-c", attack]).as_user());
    // To the kernel it is who is 0 on the host, in whatever user namespace.
    for userns in ["host", "keep-id"] {
        through(sandbox(&host, &["--nested", "--userns", userns], &["sh", "-c", attack]));
    }
}

/// The way back: a mount that hides or protects is taken away.
#[test]
fn what_is_hidden_and_protected_stays_so() {
    let host = crate::host!();
    let attack =
        "umount /proc/sys; umount /proc/keys; mount -o remount,rw /proc/sys; mount -o remount,bind,rw /proc/sys
        mount -t proc proc /mnt && (: >> /mnt/sys/kernel/core_pattern) && echo through
        mount --bind /proc/sys /mnt; (: >> /proc/sys/kernel/core_pattern) && echo through; echo held";
    let quiet = format!("exec 2>/dev/null; {attack}");
    held(sandbox(&host, &[], &["sh", "-c", &quiet]));
    held(sandbox(&host, &[], &["sh", "-c", &quiet]).as_user());
    held(sandbox(&host, &["--nested"], &["sh", "-c", &quiet]));
    held(sandbox(&host, &["--nested"], &["sh", "-c", &quiet]).as_user());
    // The capability is what it takes.
    through(sandbox(&host, &["--cap-add", "SYS_ADMIN", "--seccomp", "unconfined"], &["sh", "-c", &quiet]));
}

#[test]
fn devices_of_the_host_are_neither_there_nor_to_be_made() {
    let host = crate::host!();
    // Those of zeros, in the place of the disk's, the memory's and the kernel's log.
    let attack =
        "for at in /dev /tmp /etc; do mknod $at/disk c 1 5 && [ $(head -c 4 $at/disk | wc -c) = 4 ] && echo through
        done 2>&-; echo held";
    held(sandbox(&host, &[], &["sh", "-c", attack]));
    held(sandbox(&host, &[], &["sh", "-c", attack]).as_user());
    through(sandbox(&host, &["--cap-add", "MKNOD"], &["sh", "-c", attack]));
    let attack =
        "find /dev -type b; cd /dev; for name in mem kmem port kmsg vda sda nvme0n1 loop0 loop-control fuse kvm; do
        [ -e $name ] && echo through: $name; done; echo held";
    held(sandbox(&host, &["--privileged"], &["sh", "-c", attack]));
}
