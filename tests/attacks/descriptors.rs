//! On what a process keeps from before it entered its root: descriptors and the working directory.

use super::calls::perl;
use super::{held, root, sandbox, stand_in, through};
use crate::harness::{DIR, NSL};

/// CVE-2024-21626: a directory of the host is still open inside.
#[test]
fn a_leaked_directory_does_not_lead_out() {
    let host = crate::host!("busybox");
    let root = root(&host);
    let attack = format!(
        "for n in $(seq 3 30); do cd /proc/self/fd/$n && cat .{DIR}/secret && echo through; done 2>&-
         for n in /proc/1/fd/*; do cd $n && echo through; done 2>&-; echo held"
    );
    let script = format!("mount -t proc proc {root}/proc; exec 9</; exec chroot {root} /bin/busybox sh -c '{attack}'");
    through(stand_in(&host, &script));
    for privileges in ["", "--privileged"] {
        let script = format!(
            "exec 3</ 6</ 7</ 9</ 20</; exec {NSL} run --network none {privileges} --rootfs {root} -- sh -c '{attack}'"
        );
        held(host.command("bash", ["-c", &script]));
    }
}

/// CVE-2024-21626: the working directory is named by one of the descriptors that the runtime itself has open.
#[test]
fn no_working_directory_lies_outside() {
    let host = crate::host!("busybox");
    let root = root(&host);
    let attack =
        "case $(readlink /proc/self/cwd) in /*) ;; *) echo through;; esac; cat ../secret && echo through; echo held";
    // As runc had it: its own directory, under a number that can be guessed.
    let script = format!(
        "mount -t proc proc {root}/proc; exec 7<{DIR}/outside; cd /proc/self/fd/7
         exec perl -e 'chroot \"{root}\"; exec @ARGV' /bin/busybox sh -c '{attack}'"
    );
    through(stand_in(&host, &script));
    for name in (0..=20).flat_map(|n| [format!("/proc/self/fd/{n}"), format!("/proc/1/fd/{n}")]) {
        let output = sandbox(&host, &["--rootfs", &root, "-w", &name], &["sh", "-c", attack]).run();
        output.assert_refused(125, &["change the working directory"]);
    }
    for name in ["/proc/1/cwd", "/proc/self/cwd", "/proc/1/root", "/proc/self/root"] {
        let options = ["--rootfs", &root, "-w", name, "--privileged"];
        held(sandbox(&host, &options, &["sh", "-c", attack]));
    }
    // A caller whose own directory does not exist inside.
    held(sandbox(&host, &["--rootfs", &root], &["sh", "-c", attack]).cwd(format!("{DIR}/outside")));
}

/// The kernel forgets where a process's root is when it enters another below: with a descriptor, or just the working
/// directory, left above it, `..` leads up to the real one. Root inside may chroot by default.
#[test]
fn a_second_root_below_the_first_does_not_free_from_it() {
    let host = crate::host!("busybox", "perl");
    let attack = "mkdir '/tmp/below'; opendir my $top, '/'; chroot '/tmp/below' or die; chdir $top;
        for (1 .. 40) { chdir '..' } chroot '.'; told -e '/nsl-attack-outside'";
    let naive = format!(
        "mount -t tmpfs top {DIR}; mkdir {DIR}/root {DIR}/root/tmp; cd {DIR}; touch nsl-attack-outside
         mount --bind {DIR} /mnt; exec perl -e '{}'",
        perl(&format!("chroot '/mnt/root'; chdir '/'; {}", attack.replace("'/nsl-", "'/mnt/nsl-")))
            .replace('\'', "'\\''")
    );
    through(stand_in(&host, &naive));
    host.sh(&format!("touch {DIR}/nsl-attack-outside; mkdir {DIR}/sub"));
    held(sandbox(&host, &[], &["perl", "-e", &perl(attack)]));
    // A volume's `..` is the sandbox's, not the host's.
    let volume = format!("{DIR}/sub:/mnt");
    held(sandbox(&host, &["-v", &volume], &["perl", "-e", &perl("chdir '/mnt'; told -e '../nsl-attack-outside'")]));
}

/// A limit, not a defence: a stream is the caller's own open file. docs/security.md says so.
#[test]
fn what_is_given_as_a_stream_is_given_wholly() {
    let host = crate::host!();
    host.sh(&format!("echo data > {DIR}/input; echo secret > {DIR}/secret"));
    let run = |redirection: &str, script: &str| {
        host.command("sh", ["-c", &format!("exec {NSL} run --network none -- sh -c '{script}' {redirection}")])
    };
    through(run(&format!("< {DIR}/input"), "echo changed > /proc/self/fd/0 && echo through"));
    through(run(&format!("< {DIR}"), "cat /proc/self/fd/0/secret && echo through"));
    // A pipe takes what a file's name would give.
    held(host.command(
        "sh",
        ["-c", &format!("cat {DIR}/input | {NSL} run --network none -- sh -c 'cat; ls /proc/self/fd/0/ || echo held'")],
    ));
}
