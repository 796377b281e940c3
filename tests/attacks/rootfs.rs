//! By who made the root: files that stand where nsl expects directories, devices or nothing.

use super::{held, root, sandbox, stand_in, through};
use crate::harness::{DIR, Host};
use crate::pty::Pty;

/// Opens all that is hidden for writing, which harms nothing, and looks for what it shows.
const REVEAL: &str = "cd /proc; for file in interrupts kcore keys sched_debug timer_list timer_stats latency_stats; do
        (: >> $file) && echo through: $file is writable
        [ -z \"$(head -c 1 $file)\" ] || echo through: $file shows something
    done 2>&-; (: >> sys/kernel/core_pattern) 2>&- && echo through; echo held";

/// CVE-2025-31133: the file that hides others is a link to one that must not be written. nsl makes a /dev of its own,
/// but a link in the root can lead a volume onto it.
#[test]
fn what_hides_files_cannot_be_exchanged() {
    let host = crate::host!("busybox");
    let root = root(&host);
    host.sh(&format!("ln -s ../proc/sys/kernel/core_pattern {root}/dev/null"));
    let naive = format!(
        "mount -t proc proc {root}/proc; cd {root}; mount --bind dev/null proc/keys
         mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys; (: >> proc/keys) && echo through; echo held"
    );
    through(stand_in(&host, &naive));
    held(sandbox(&host, &["--rootfs", &root], &["/bin/busybox", "sh", "-c", REVEAL]));

    host.sh(&format!("cd {DIR}/volume; ln -s /proc/sys/kernel/core_pattern null; mkdir pts; ln -s /dev {root}/data"));
    for target in ["/data", "/dev", "/dev/null", "/proc", "/proc/1", "/proc/sys", "/sys", "/sys/firmware"] {
        let volume = format!("{DIR}/volume:{target}");
        let output = sandbox(&host, &["--rootfs", &root, "-v", &volume], &["/bin/busybox", "sh", "-c", REVEAL]).run();
        // Some are refused; none may reveal.
        assert!(output.code == 125 || !super::verdict(&output), "{target}\n{output}");
        let output = sandbox(&host, &["-v", &volume], &["sh", "-c", REVEAL]).run();
        assert!(output.code == 125 || !super::verdict(&output), "{target}\n{output}");
    }
}

/// A link may lead a volume to the root itself, which then lies below it.
#[test]
fn a_volume_is_not_mounted_over_the_root() {
    let host = crate::host!("busybox");
    let root = root(&host);
    host.sh(&format!("ln -s / {root}/data; ln -s ../../.. {root}/etc/up"));
    for target in ["/data", "/etc/up"] {
        let volume = format!("{DIR}/volume:{target}");
        let output = sandbox(&host, &["--rootfs", &root, "-v", &volume], &["sh", "-c", "echo started"]).run();
        output.assert_refused(125, &[target, "busy", "hint", "the root itself"]);
    }
}

/// CVE-2025-52565, and its like: /dev in the root holds links where devices and terminals are expected.
#[test]
fn nothing_in_the_roots_dev_is_used() {
    let host = crate::host!("busybox");
    let root = root(&host);
    let files = ["null", "zero", "tty", "console", "ptmx", "stdin", "stdout", "stderr", "fd"];
    for file in files {
        host.sh(&format!("echo precious > {DIR}/outside/{file}; ln -sf {DIR}/outside/{file} {root}/dev/{file}"));
    }
    host.sh(&format!(
        "mkdir {DIR}/outside/pts {DIR}/outside/shm; ln -s {DIR}/outside/pts {DIR}/outside/shm {root}/dev"
    ));
    host.sh(&format!("echo precious > {DIR}/outside/pts/ptmx"));
    let all = format!("cd {DIR}/outside; stat -c '%n %a %u %s' * pts/*; cat * 2>&-");
    let before = host.sh(&format!("{all} || :"));
    // One who writes to the device that it sees in the root.
    host.sh(&format!("echo x > {root}/dev/null"));
    assert_ne!(host.sh(&format!("{all} || :")), before);
    host.sh(&format!("echo precious > {DIR}/outside/null"));

    let script = "echo x > /dev/null; stat -c '%F %t:%T' /dev/null /dev/zero /dev/tty; stat -c %F /dev/pts /dev/shm";
    let mut pty = Pty::start(sandbox(&host, &["--rootfs", &root], &["sh", "-c", script]));
    assert_eq!(pty.end(), 0, "{}", pty.all());
    let real = "character special file 1:3\r\ncharacter special file 1:5\r\ncharacter special file 5:0\r\n";
    assert_eq!(pty.all(), format!("{real}directory\r\ndirectory\r\n"));
    assert_eq!(host.sh(&format!("{all} || :")), before);
    // Files of other kinds, on which one could wait for ever.
    host.sh(&format!(
        "cd {root}; rm -r dev; mkdir dev; cd dev; mkfifo null ptmx console tty; mkdir pts; mkfifo pts/ptmx"
    ));
    let mut pty = Pty::start(sandbox(&host, &["--rootfs", &root], &["sh", "-c", script]));
    assert_eq!(pty.end(), 0, "{}", pty.all());
}

/// CVE-2026-41579, CVE-2026-47766: a directory that is mounted on, or written to, is a link.
#[test]
fn links_in_the_place_of_directories_lead_nowhere() {
    let host = crate::host!("busybox");
    let root = root(&host);
    let outside = |host: &Host| host.sh(&format!("ls -A {DIR}/outside"));
    for name in ["dev", "proc", "sys", "etc"] {
        host.sh(&format!("cd {root}; mv {name} {name}.was; ln -s {DIR}/outside {name}"));
        // One who makes what it needs there, by its path.
        host.sh(&format!("mkdir -p {root}/{name}/shm; echo x > {root}/{name}/hosts"));
        assert_eq!(outside(&host), "hosts\nshm\n");
        host.sh(&format!("rm -r {DIR}/outside/*"));
        let output = sandbox(&host, &["--rootfs", &root], &["sh", "-c", "cat /etc/hosts"]).run();
        assert!(name == "etc" || output.code == 125, "{output}");
        assert_eq!(outside(&host), "", "{name}");
        host.sh(&format!("cd {root}; rm {name}; mv {name}.was {name}"));
    }
}

/// CVE-2025-52881: what a runtime writes to /proc goes elsewhere, since the root or a volume has a /proc of its own.
#[test]
fn nothing_is_written_to_files_that_pose_as_proc() {
    let host = crate::host!("busybox");
    let root = root(&host);
    let files = "self/attr/exec self/attr/current self/attr/keycreate self/setgroups self/uid_map self/gid_map
        self/oom_score_adj self/loginuid self/timerslack_ns sys/net/ipv4/ip_forward sys/net/ipv4/ping_group_range
        sys/kernel/hostname sysrq-trigger 1/attr/exec 1/oom_score_adj";
    let pose = |at: &str| {
        host.sh(&format!(
            "cd {at}; for file in {files}; do mkdir -p ${{file%/*}}; [ -d $file ] || : > $file; done; ln -sfn self thread-self",
            files = files.replace('\n', " ")
        ));
    };
    pose(&format!("{root}/proc"));
    pose(&format!("{DIR}/volume"));
    let written = || host.sh(&format!("find {root}/proc {DIR}/volume -type f -size +0 ! -name marker"));
    through(host.command(
        "sh",
        ["-c", &format!("chroot {root} /bin/busybox sh -c 'echo label > /proc/self/attr/exec'; [ -s {root}/proc/self/attr/exec ] && echo through")],
    ));
    host.sh(&format!(": > {root}/proc/self/attr/exec"));
    let volume = |target: &str| format!("{DIR}/volume:{target}");
    for volumes in [vec![], vec![volume("/proc")], vec![volume("/proc/sys")], vec![volume("/proc/self")]] {
        let mut options = vec!["--rootfs", &root, "-u", "5", "--landlock", "rw=/"];
        options.extend(volumes.iter().flat_map(|volume| ["-v", volume]));
        for count in [options.len(), 2] {
            let output = sandbox(&host, &options[..count], &["sh", "-c", "exit 0"]).run();
            // A volume on /proc itself is refused.
            assert!(output.code == 0 || options[..count].contains(&"-v"), "{output}");
            assert_eq!(written(), "");
        }
    }
    host.sh(&format!("chown -R 1000:1000 {root} {DIR}/volume"));
    sandbox(&host, &["--rootfs", &root], &["sh", "-c", "exit 0"]).as_user().run().assert_code(0);
    assert_eq!(written(), "");
}
