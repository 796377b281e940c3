//! On nsl's own programs: the host's nsl, and the nsl-init that lies in the sandbox as its PID 1.

use super::calls::perl;
use super::{held, root, sandbox, stand_in, through};
use crate::harness::{DIR, Host, NSL, wait_until};

/// What root in a sandbox can do to a file that one of its processes executes, or executed: it takes hold of the file,
/// has the process execute another, and writes.
const OVERWRITE: &str = "for exe in /proc/1/exe /proc/$PPID/exe; do
        (exec 3<$exe && exec /bin/busybox sh -c 'echo overwritten > /proc/self/fd/3 && echo through')
        (echo overwritten > $exe && echo through)
    done 2>&1; echo held";

fn checksum(host: &Host) -> String {
    host.sh(&format!("sha256sum {NSL} {NSL}"))
}

/// CVE-2019-5736: the root's shell is a link to the program that enters the root, which so executes itself inside.
#[test]
fn no_program_of_the_hosts_can_be_overwritten_from_inside() {
    let host = crate::host!("busybox");
    let root = root(&host);
    host.sh(&format!(
        "cp $(command -v busybox) {DIR}/chroot; cd {root}/bin; ln -sf /proc/self/exe sh; rm busybox
         cp {DIR}/chroot busybox; printf '#!/bin/busybox sh\\n{}\\n' > attack
         printf '#!/proc/self/exe /bin/attack\\n' > script; chmod 755 attack script",
        OVERWRITE.replace('\'', "'\\''").replace('\n', "\\n"),
    ));
    let script = format!(
        "mount -t proc proc {root}/proc; exec {DIR}/chroot {root} /bin/sh -c \
         'exec 3</proc/self/exe; exec /bin/busybox sh -c \"echo overwritten > /proc/self/fd/3 && echo through\"'"
    );
    through(stand_in(&host, &script));
    assert_eq!(host.sh(&format!("cat {DIR}/chroot")), "overwritten\n");

    let before = checksum(&host);
    for privileges in [&[][..], &["--privileged"]] {
        let options = [&["--rootfs", &root], privileges].concat();
        held(sandbox(&host, &options, &["/bin/busybox", "sh", "-c", OVERWRITE]));
        // nsl-init itself, executed once more, by the names that the root gives it.
        held(sandbox(&host, &options, &["/bin/sh", "--", "/bin/attack"]));
        held(sandbox(&host, &options, &["/bin/script"]));
    }
    assert_eq!(checksum(&host), before);
    sandbox(&host, &[], &["echo", "works"]).run().assert_prints("works");
}

/// The same where the command may look into its init: what it finds is a file in memory, sealed against all writing.
#[test]
fn the_file_of_the_init_is_a_sealed_one_in_memory() {
    let host = crate::host!("perl");
    let script = perl(
        "open my $exe, '<', '/proc/1/exe' or die; print readlink('/proc/1/exe'), ' ', fcntl($exe, 1034, 0), qq(\\n)",
    );
    // F_SEAL_SEAL, SHRINK, GROW and WRITE.
    sandbox(&host, &["--privileged"], &["perl", "-e", &script]).run().assert_prints("/memfd:nsl-init (deleted) 15");
}

#[test]
fn the_init_cannot_be_traced_read_or_robbed_of_its_socket() {
    let host = crate::host!("perl");
    for attack in [
        // PTRACE_SEIZE.
        "told sys('ptrace', 0x4206, 1, 0, 0) == 0",
        "told open my $memory, '+<', '/proc/1/mem'",
        "told defined readlink '/proc/1/fd/4'",
        "my $buffer = ' ' x 8; my $local = pack 'PQ', $buffer, 8; my $remote = pack 'QQ', 0x200000, 8;
         told sys('process_vm_readv', 1, $local, 1, $remote, 1, 0) == 8",
        // The status socket, on which it reports to nsl.
        "told sys('pidfd_getfd', sys('pidfd_open', 1, 0), 4, 0) >= 0",
    ] {
        let command = ["perl", "-e", &perl(attack)];
        held(sandbox(&host, &[], &command));
        held(sandbox(&host, &[], &command).as_user());
        through(sandbox(&host, &["--privileged"], &command));
    }
}

#[test]
fn the_init_outlives_every_signal_from_inside() {
    let host = crate::host!();
    let script = "kill -KILL 1; kill -STOP 1; sleep 100 & kill -KILL -1; wait; cat /proc/1/comm; awk '{ print $3 }' /proc/1/stat";
    for options in [&[][..], &["--privileged"]] {
        let output = sandbox(&host, options, &["sh", "-c", script]).run();
        output.assert_code(0).assert_stdout("nsl-init\nS");
    }
}

/// Without a PID namespace whatever runs as the same user can be signalled and traced.
#[test]
fn processes_of_the_host_are_out_of_reach() {
    let host = crate::host!("perl");
    let mut victim = host.command("sh", ["-c", "echo ready; cat"]).start();
    assert_eq!(victim.line(), "ready");
    let attack = format!("kill -0 {0} && echo through; ls /proc/{0}/root/ && echo through; echo held", victim.pid());
    through(host.command("sh", ["-c", &attack]));
    for options in [&[][..], &["--privileged"]] {
        held(sandbox(&host, options, &["sh", "-c", &attack]));
    }
    // Nor by a signal to everybody, or to the group and session that nsl was started in.
    let attack = "kill -KILL -1; kill -KILL 0; for group in $(seq 1 300); do kill -KILL -$group; done; echo held";
    let script = format!(
        "sleep 100 & sleeper=$!; {NSL} run --network none -- sh -c '{attack}'; kill -0 $sleeper && echo held; kill $sleeper"
    );
    held(host.command("sh", ["-c", &script]));
    wait_until("the victim lives", || host.sh(&format!("kill -0 {} && echo lives", victim.pid())) == "lives\n");
    victim.finish().assert_code(0);
}
