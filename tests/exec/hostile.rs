//! Joining a sandbox that has done to its root what it could.

use super::exec;
use crate::harness::DIR;
use crate::pty::Pty;
use crate::services::{remove, start};

#[test]
fn nothing_of_the_root_is_trusted() {
    let host = crate::host!("busybox");
    // The file systems of the kernel are others' by now, or none; so is the program by whose name one is executed.
    let script = "mount -t tmpfs tmpfs /proc; mkdir -p /proc/self/fd /proc/1; echo evil > /proc/self/status
        mount --bind /tmp /dev; umount -l /sys; ln -s /proc/self/exe /proc/self/fd/0
        echo root::7:7::/:/evil > /etc/passwd; mount -t tmpfs tmpfs /usr/lib/os-release 2>&-
        echo up; exec sleep 1000";
    host.sh(&format!("cp $(command -v busybox) {DIR}/busybox"));
    let options = ["--privileged", "-v", &format!("{DIR}/busybox:/opt/busybox"), "--", "sh", "-c", script];
    start(&host, "web", &options);
    let joined = || exec(&host, &[], &["/opt/busybox", "cat", "/proc/self/status"]);
    crate::harness::wait_until("the root is spoilt", || joined().run().stdout() == "evil\n");
    exec(&host, &[], &["sh", "-c", "echo $$ | grep -c '[0-9]'; echo /dev/*"]).run().assert_code(0);
    exec(&host, &["-u", "root"], &["/opt/busybox", "id", "-u"]).run().assert_prints("7");
    // A terminal is a kernel's or none.
    let mut pty = Pty::start(exec(&host, &["-t"], &["true"]));
    assert_eq!(pty.end(), 125);
    assert!(pty.all().contains("cannot open a terminal inside: "), "{}", pty.all());
    remove(&host, "web");
}

#[test]
fn what_lies_in_the_place_of_the_terminals_is_not_opened() {
    let host = crate::host!();
    let place = |what: &str| format!("umount -l /dev/pts; {what}; echo up; exec sleep 1000");
    for (what, why) in [
        ("rmdir /dev/pts; ln -s /tmp /dev/pts", "symbolic link"),
        ("mkfifo /dev/pts/ptmx", "No such device"),
        (
            "mount -t devpts -o newinstance devpts /dev/pts; touch /tmp/x; mount --bind /tmp/x /dev/pts/ptmx",
            "Cross-device",
        ),
        (
            "mount -t devpts -o newinstance,ptmxmode=000 devpts /dev/pts; mkfifo /tmp/x; mount --bind /tmp/x /dev/pts/ptmx",
            "Cross-device",
        ),
        ("mount -t tmpfs tmpfs /dev; mkfifo /dev/pts", "Not a directory"),
    ] {
        start(&host, "web", &["--privileged", "--", "sh", "-c", &place(what)]);
        let probe = || exec(&host, &[], &["sh", "-c", "tr '\\0' ' ' < /proc/2/cmdline"]).run().stdout();
        crate::harness::wait_until("it is in place", || probe().starts_with("sleep"));
        let mut pty = Pty::start(exec(&host, &["-t"], &["true"]));
        assert_eq!(pty.end(), 125, "{what}: {}", pty.all());
        let all = pty.all();
        assert!(all.contains("open a terminal inside") && all.contains(why), "{what}: {all}");
        remove(&host, "web");
    }
}

/// The shell is a link to the program that executes it.
#[test]
fn a_shell_that_is_a_link_to_its_executor_is_harmless() {
    let host = crate::host!("busybox");
    host.sh(&format!(
        "mkdir -p {DIR}/root/bin {DIR}/root/proc {DIR}/root/dev {DIR}/root/sys; cd {DIR}/root/bin
         cp $(command -v busybox) busybox; ln -s /proc/self/exe sh; printf '#!/proc/self/exe -h\\n' > script; chmod 755 script"
    ));
    let before = host.sh(&format!("sha256sum {}", crate::harness::NSL));
    start(&host, "web", &["--privileged", "--rootfs", &format!("{DIR}/root"), "--", "/bin/busybox", "sleep", "1000"]);
    let write =
        "exec 3</proc/self/exe; for f in /proc/[0-9]*/exe; do echo x > $f && echo through; done 2>&1; echo held";
    for command in [&["/bin/sh", "--", "/bin/busybox", "sh", "-c", write][..], &["/bin/busybox", "sh", "-c", write]] {
        let output = exec(&host, &[], command).run();
        assert!(output.stdout().ends_with("held\n") && !output.stdout().contains("through"), "{output}");
    }
    exec(&host, &[], &["/bin/script"]).run();
    assert_eq!(host.sh(&format!("sha256sum {}", crate::harness::NSL)), before);
    remove(&host, "web");
    host.sh(&format!("rm -r {DIR}/root"));
}
