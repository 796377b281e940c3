//! What the command sees as its root, what becomes of what it writes, and that nothing leads out.

use crate::harness::{DIR, Host, USER};

/// A root of one static program, in a directory of the host; returns its path.
pub fn tiny_root(host: &Host) -> String {
    let root = format!("{DIR}/root");
    host.sh(&format!(
        "mkdir -p {root}/bin {root}/etc; cp $(command -v busybox) {root}/bin/busybox
         for name in cat echo env id ls mkdir mount readlink rm sh sort test touch; do ln -s busybox {root}/bin/$name; done
         echo tiny > {root}/etc/name"
    ));
    root
}

/// `nsl run --network none OPTIONS -- sh -c SCRIPT`.
pub fn sandbox<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "--network", "none"], options, &["--", "sh", "-c", script]].concat()
}

#[test]
fn what_the_command_writes_to_the_hosts_files_vanishes() {
    let host = crate::host!();
    let script = "set -e; for d in /usr /etc /root /var/lib /; do echo new > $d/nsl-test; cat $d/nsl-test; done
        echo changed >> /etc/passwd; tail -n 1 /etc/passwd; rm -r /usr/share; test ! -e /usr/share && echo gone
        mkdir /usr/share && ls -A /usr/share";
    let passwd = host.sh("cat /etc/passwd");
    host.nsl(sandbox(&[], script)).run().assert_prints("new\nnew\nnew\nnew\nnew\nchanged\ngone");
    assert_eq!(host.sh("cat /etc/passwd"), passwd);
    host.sh("test -d /usr/share; for d in /usr /etc /root /var/lib /; do test ! -e $d/nsl-test; done");
}

#[test]
fn two_sandboxes_do_not_see_what_the_other_writes() {
    let host = crate::host!();
    let mut first = host.nsl(sandbox(&[], "echo one > /etc/nsl-test; echo ready; cat; cat /etc/nsl-test")).start();
    assert_eq!(first.line(), "ready");
    host.nsl(sandbox(&[], "ls /etc/nsl-test 2>/dev/null || echo absent")).run().assert_prints("absent");
    first.finish().assert_prints("one");
}

#[test]
fn tmp_and_run_are_fresh_and_writable() {
    let host = crate::host!();
    host.sh(&format!("echo secret > {DIR}/file; echo secret > /run/nsl-secret"));
    let script = "ls -A /tmp /run; stat -c %a /tmp /run; echo x > /tmp/x; echo x > /run/x; cat /tmp/x /run/x";
    host.nsl(sandbox(&[], script)).run().assert_prints("/run:\n\n/tmp:\n1777\n755\nx\nx");
    host.nsl(sandbox(&[], "ls -A /tmp /run; echo x > /tmp/x; cat /tmp/x"))
        .as_user()
        .run()
        .assert_prints("/run:\n\n/tmp:\nx");
    host.sh("rm /run/nsl-secret");
}

#[test]
fn devices_work() {
    let host = crate::host!();
    let script = "set -e; cd /dev; echo *; head -c 4 zero | od -An -tx1 | tr -d ' '; echo x > null
        test $(head -c 16 urandom | wc -c) = 16; test $(head -c 1 random | wc -c) = 1
        (cat urandom | head -c 9 > full) 2>/dev/null || echo full; echo shm > shm/x; cat shm/x; ls pts
        stat -c %a shm null; readlink ptmx fd stdin";
    let expected = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero\n00000000\n\
        full\nshm\nptmx\n1777\n666\npts/ptmx\n/proc/self/fd\n/proc/self/fd/0";
    host.nsl(sandbox(&[], script)).run().assert_prints(expected);
    host.nsl(sandbox(&[], script)).as_user().run().assert_prints(expected);
    // No device of the host's can be made, whatever the command may do to its own files.
    let made = host.nsl(sandbox(&["--privileged"], "mknod /etc/disk b 254 0 && cat /etc/disk")).run();
    assert!(made.code != 0 && made.stdout.is_empty(), "{made}");
}

#[test]
fn proc_holds_only_processes_of_the_sandbox() {
    let host = crate::host!();
    let script = "cd /proc; echo [0-9]*; readlink self; grep -c . mounts > /dev/null && findmnt -no OPTIONS /proc";
    let output = host.nsl(sandbox(&[], script)).run();
    output.assert_prints("1 2\n3\nrw,nosuid,nodev,noexec,relatime");
}

#[test]
fn sys_is_read_only_and_shows_the_sandboxs_network() {
    let host = crate::host!();
    let script = "ls /sys/class/net; (echo 1 > /sys/class/net/lo/mtu) 2>&1 | grep -o 'Read-only file system'";
    host.nsl(sandbox(&[], script)).run().assert_prints("lo\nRead-only file system");
    host.nsl(sandbox(&[], script)).as_user().run().assert_prints("lo\nRead-only file system");
}

#[test]
fn invariant_3_command_sees_exactly_the_mounts_it_was_given() {
    let host = crate::host!();
    let script = "cut -d' ' -f5- /proc/self/mountinfo | sed 's/ - / /' | cut -d' ' -f1,3 | sort";
    let own = "/dev tmpfs\n/dev/pts devpts\n/proc proc\n/sys sysfs";
    host.nsl(sandbox(&["--nested", "--userns", "host"], script)).run().assert_prints(&format!("/ overlay\n{own}"));
    // What is hidden is listed by tests/security.rs.
    let script = &format!("{script} | grep -vE '^/(proc|sys)/'");
    host.nsl(sandbox(&[], script)).run().assert_prints(&format!("/ overlay\n{own}"));
    let bins = ["--empty", "-v", "/usr:/usr:ro", "-v", "/bin:/bin", "-v", "/lib:/lib", "-v", "/lib64:/lib64"];
    let output = host.nsl(sandbox(&bins, script)).run();
    output.assert_code(0).assert_quiet();
    let stdout = output.stdout();
    let volumes = ["/usr ", "/bin ", "/lib ", "/lib64 "];
    let rest: Vec<_> = stdout.lines().filter(|line| !volumes.iter().any(|volume| line.starts_with(volume))).collect();
    assert_eq!(rest.join("\n"), format!("/ tmpfs\n{own}"), "{output}");
    assert_eq!(stdout.lines().count(), 5 + volumes.len(), "{output}");
}

#[test]
fn invariant_5_mounts_inside_do_not_reach_the_host_nor_the_other_way_round() {
    let mut host = crate::host!();
    // Even where the host shares its mounts, as systemd has it.
    host.sh(&format!("mkdir {DIR}/a {DIR}/b {DIR}/b/c; mount -t tmpfs a {DIR}/a; mount --make-rshared /"));
    host.accept();
    let options = ["--privileged", "-v", &format!("{DIR}/a:/mnt")];
    let mut inside = host.nsl(sandbox(&options, "mount -t tmpfs x /mnt && echo ready; cat; ls /mnt")).start();
    assert_eq!(inside.line(), "ready");
    host.assert_unchanged();
    host.sh(&format!("mount -t tmpfs b {DIR}/b/c"));
    inside.finish().assert_prints("");
    host.sh(&format!("umount {DIR}/b/c"));
}

#[test]
fn a_directory_is_the_root_and_keeps_what_is_written() {
    let host = crate::host!();
    let root = tiny_root(&host);
    let script = "cat /etc/name; ls /; echo kept > /etc/kept; cat /etc/hostname; test ! -e /usr && echo no usr";
    let output = host.nsl(sandbox(&["--rootfs", &root], script)).run();
    output.assert_prints("tiny\nbin\ndev\netc\nproc\nsys\nnsl\nno usr");
    assert_eq!(host.sh(&format!("cat {root}/etc/kept")), "kept\n");
    // The files with names were bound over those of the root, which stay empty.
    assert_eq!(
        host.sh(&format!("cat {root}/etc/hostname {root}/etc/hosts; ls -A {root}/dev {root}/proc | cat")).len(),
        format!("{root}/dev:\n\n{root}/proc:\n").len()
    );
}

#[test]
fn an_ordinary_user_has_a_directory_of_its_own_as_the_root() {
    let host = crate::host!();
    let root = tiny_root(&host);
    host.sh(&format!("chown -R {USER}:{USER} {root}"));
    let script = "cat /etc/name; id -u; echo kept > /etc/kept; echo x > /dev/null && ls /dev/pts";
    host.nsl(sandbox(&["--rootfs", &root], script)).as_user().run().assert_prints("tiny\n1000\nptmx");
    assert_eq!(host.sh(&format!("cat {root}/etc/kept; stat -c %u {root}/etc/kept")), "kept\n1000\n");
}

#[test]
fn links_in_a_hostile_root_lead_nowhere() {
    let host = crate::host!();
    let root = tiny_root(&host);
    host.sh(&format!("mkdir {DIR}/outside; echo host > {DIR}/outside/resolv.conf"));
    let up = "../../../../../../../..";
    for name in ["dev", "proc", "sys"] {
        for target in [format!("{DIR}/outside"), format!("{up}{DIR}/outside"), "etc".into(), name.into()] {
            host.sh(&format!("cd {root}; rm -rf dev proc sys; ln -s {target} {name}"));
            let output = host.nsl(sandbox(&["--rootfs", &root], "echo started")).run();
            output.assert_refused(125, &[]);
            host.sh(&format!("rm {root}/{name}"));
        }
    }
    for target in [format!("{DIR}/outside"), format!("{up}{DIR}/outside"), "/etc".into(), "/proc/1/root/etc".into()] {
        host.sh(&format!("cd {root}; rm -rf etc; ln -s {target} etc"));
        let output = host.nsl(sandbox(&["--rootfs", &root], "echo started")).run();
        assert!([0, 125].contains(&output.code), "{output}");
        assert_eq!(host.sh(&format!("ls {DIR}/outside; cat {DIR}/outside/resolv.conf")), "resolv.conf\nhost\n");
    }
}

#[test]
fn links_where_the_names_go_lead_nowhere() {
    let host = crate::host!();
    let root = tiny_root(&host);
    host.sh(&format!("mkdir {DIR}/outside; echo host > {DIR}/outside/hosts"));
    for target in [format!("{DIR}/outside/hosts"), "/proc/self/fd/1".into(), "../../../../etc/hosts".into()] {
        host.sh(&format!("cd {root}/etc; rm -f hosts resolv.conf; ln -s {target} hosts; ln -s {target} resolv.conf"));
        let before = host.sh("cat /etc/hosts");
        host.nsl(sandbox(&["--rootfs", &root], "echo started")).run().assert_prints("started");
        assert_eq!(host.sh(&format!("cat {DIR}/outside/hosts /etc/hosts")), format!("host\n{before}"));
    }
}

#[test]
fn an_empty_root_holds_what_is_bound_into_it_and_vanishes() {
    let host = crate::host!();
    let busybox = host.sh("command -v busybox");
    let volume = format!("{}:/bin/busybox", busybox.trim());
    let words = ["run", "--network", "none", "--empty", "-v", &volume, "--", "/bin/busybox", "sh", "-c"];
    let script = "busybox ls /; echo x > /x && echo written; busybox ls /usr 2>/dev/null || echo absent";
    let output = host.nsl(words.into_iter().chain([script])).run();
    output.assert_prints("bin\ndev\netc\nproc\nrun\nsys\ntmp\nwritten\nabsent");
}

#[test]
fn volumes_can_be_written_unless_they_are_read_only() {
    let host = crate::host!();
    host.sh(&format!("mkdir -p {DIR}/v/sub; mount -t tmpfs sub {DIR}/v/sub; echo one > {DIR}/v/file"));
    let mut host = host;
    host.accept();
    let writable = format!("{DIR}/v:/mnt/deep/er");
    host.nsl(sandbox(&["-v", &writable], "cd /mnt/deep/er; cat file; echo two > file; echo 3 > sub/x"))
        .run()
        .assert_prints("one");
    assert_eq!(host.sh(&format!("cat {DIR}/v/file {DIR}/v/sub/x")), "two\n3\n");
    let read_only = format!("{DIR}/v:/mnt:ro");
    let script = "cd /mnt; cat file; for f in file new sub/x sub/new; do echo no > $f; done; rm sub/x; cat sub/x";
    for output in [
        host.nsl(sandbox(&["-v", &read_only], script)).run(),
        host.nsl(sandbox(&["-v", &read_only], script)).as_user().run(),
    ] {
        output.assert_code(0).assert_stdout("two\n3");
        let refusals = output.stderr().matches("Read-only file system").count();
        assert!(refusals >= 4, "{output}");
    }
    assert_eq!(host.sh(&format!("ls {DIR}/v {DIR}/v/sub | tr '\\n' ' '")).matches("new").count(), 0);
}

#[test]
fn a_file_can_be_bound_on_a_file_or_where_nothing_is() {
    let host = crate::host!();
    host.sh(&format!("echo mine > {DIR}/file"));
    let before = host.sh("cat /etc/passwd");
    let options = ["-v", &format!("{DIR}/file:/etc/passwd"), "-v", &format!("{DIR}/file:/opt/new/file")];
    host.nsl(sandbox(&options, "cat /etc/passwd /opt/new/file; echo x > /opt/new/file"))
        .run()
        .assert_prints("mine\nmine");
    assert_eq!(host.sh(&format!("cat {DIR}/file")), "x\n");
    assert_eq!(host.sh("cat /etc/passwd"), before);
    host.sh("test ! -e /opt/new");
}

#[test]
fn a_volume_behind_a_link_in_the_root_stays_inside() {
    let host = crate::host!();
    let root = tiny_root(&host);
    host.sh(&format!("mkdir {DIR}/outside {DIR}/v; echo v > {DIR}/v/file; ln -s {DIR}/outside {root}/link"));
    host.sh(&format!("ln -s ../../../../../../..{DIR}/outside {root}/up; mkdir -p {root}{DIR}/outside"));
    for name in ["link", "up"] {
        let options = ["--rootfs", &root, "-v", &format!("{DIR}/v:/{name}")];
        host.nsl(sandbox(&options, &format!("cat {DIR}/outside/file"))).run().assert_prints("v");
        let options = ["--rootfs", &root, "-v", &format!("{DIR}/v:/{name}/made")];
        host.nsl(sandbox(&options, &format!("cat {DIR}/outside/made/file"))).run().assert_prints("v");
    }
    assert_eq!(host.sh(&format!("ls -A {DIR}/outside")), "");
}
