//! The same roots and mounts where the kernel's newer calls to mount are missing: on an older kernel, or in a container
//! whose filter does not know them.

use crate::harness::{DIR, Host, Output, USER};
use crate::root::{sandbox, tiny_root};

const CALLS: [&str; 6] = ["fsopen", "fsconfig", "fsmount", "open_tree", "move_mount", "mount_setattr"];

/// Runs it as root and as the user, with all the calls missing in the two ways of missing.
fn each_way(host: &Host, options: &[&str], script: &str, check: impl Fn(&Output)) {
    for errno in [libc::ENOSYS, libc::EPERM] {
        check(&host.nsl(sandbox(options, script)).without(errno, &CALLS).run());
        check(&host.nsl(sandbox(options, script)).as_user().without(errno, &CALLS).run());
    }
}

#[test]
fn the_filter_of_these_tests_has_the_calls_fail() {
    let host = crate::host!("python3");
    for errno in [libc::ENOSYS, libc::EPERM] {
        let output = host.nsl(sandbox(&["--log-level", "debug"], "true")).without(errno, &CALLS).run();
        assert!(output.code == 0 && output.stderr().contains("by mount(2)"), "{output}");
    }
    let output = host.nsl(sandbox(&["--log-level", "debug"], "true")).run();
    assert!(output.code == 0 && !output.stderr().contains("by mount(2)"), "{output}");
}

#[test]
fn the_view_of_the_host_is_the_same() {
    let host = crate::host!("python3");
    let script = "cd /proc/self; cut -d' ' -f5,6 mountinfo | grep -vE '^/(proc|sys)/' | sort; ls /; stat -c '%n %a' /tmp /run /dev/*
        cat /etc/hosts /etc/hostname; ls -A /tmp /run; echo x > /tmp/x; echo x > /dev/null; ls /proc/old";
    for options in [
        &["--empty", "-v", "/usr:/usr:ro", "-v", "/bin:/bin:ro", "-v", "/lib:/lib", "-v", "/lib64:/lib64"][..],
        &[],
        &["--read-only"],
    ] {
        let plain = |output: Output| (output.code, output.stdout(), output.stderr());
        let root = plain(host.nsl(sandbox(options, script)).run());
        let user = plain(host.nsl(sandbox(options, script)).as_user().run());
        for errno in [libc::ENOSYS, libc::EPERM] {
            let output = host.nsl(sandbox(options, script)).without(errno, &CALLS).run();
            assert!(plain_of(&output) == root, "{root:?}\n{output}");
            let output = host.nsl(sandbox(options, script)).as_user().without(errno, &CALLS).run();
            assert!(plain_of(&output) == user, "{user:?}\n{output}");
        }
    }
}

fn plain_of(output: &Output) -> (i32, String, String) {
    (output.code, output.stdout(), output.stderr())
}

#[test]
fn what_is_written_vanishes_and_what_is_read_only_stays_so() {
    let mut host = crate::host!("python3");
    host.sh(&format!(
        "mkdir -p '{DIR}/v/a b'; mount -t tmpfs sub '{DIR}/v/a b'; echo one > {DIR}/v/file; chmod 777 {DIR}/v"
    ));
    host.accept();
    let options = ["-v", &format!("{DIR}/v:/mnt:ro"), "-v", &format!("{DIR}/v:/opt")];
    let script = "cat /mnt/file; for f in /mnt/new '/mnt/a b/new'; do (: > \"$f\") 2>&1 | grep -o Read-only; done
        echo two > /opt/new; cat /mnt/new; rm /opt/new; echo x > /tmp/x; findmnt -no FSTYPE,OPTIONS '/mnt/a b' | grep -o '^tmpfs *ro,nosuid,nodev'";
    each_way(&host, &options, script, |output| {
        output.assert_prints("one\nRead-only\nRead-only\ntwo\ntmpfs  ro,nosuid,nodev");
    });
    assert_eq!(host.sh(&format!("find {DIR}/v -type f")), format!("{DIR}/v/file\n"));
}

#[test]
fn a_directory_is_the_root_and_no_link_in_it_leads_out() {
    let host = crate::host!("python3");
    let root = tiny_root(&host);
    host.sh(&format!(
        "chmod 777 {root} {root}/etc; mkdir {DIR}/outside {DIR}/v; echo v > {DIR}/v/file; chmod 777 {DIR}/outside"
    ));
    host.sh(&format!("cd {root}; mkdir -p .{DIR}/outside; chmod -R 777 tmp; ln -s {DIR}/outside link; ln -s ../../../../../{DIR}/outside up; mkdir dev proc sys; chmod 777 dev proc sys"));
    for name in ["link", "up"] {
        let options = ["--rootfs", &root, "-v", &format!("{DIR}/v:/{name}/made")];
        let script = format!("cat /etc/name /etc/hostname {DIR}/outside/made/file; echo x > /dev/null");
        each_way(&host, &options, &script, |output| {
            output.assert_prints("tiny\nnsl\nv");
        });
    }
    assert_eq!(host.sh(&format!("ls -A {DIR}/outside")), "");
    host.sh(&format!("cd {root}; rm -r dev; ln -s {DIR}/outside dev"));
    each_way(&host, &["--rootfs", &root], "echo started", |output| {
        output.assert_refused(125, &["hint"]);
    });
    assert_eq!(host.sh(&format!("ls -A {DIR}/outside")), "");
}

#[test]
fn an_ephemeral_root_keeps_nothing() {
    let host = crate::host!("python3");
    let root = tiny_root(&host);
    host.sh(&format!("chown -R {USER}:{USER} {root}"));
    let script = "cat /etc/name /etc/hostname; echo x > /etc/new && echo written";
    each_way(&host, &["-x", "--rootfs", &root], script, |output| {
        output.assert_prints("tiny\nnsl\nwritten");
    });
    let script = "cat /etc/hostname; (: > /etc/new) 2>/dev/null || echo closed; echo x > /tmp/x";
    each_way(&host, &["-x", "--read-only", "--rootfs", &root], script, |output| {
        output.assert_prints("nsl\nclosed");
    });
    host.sh(&format!("test ! -e {root}/etc/new && test ! -e {root}/tmp"));
}

#[test]
fn every_kind_of_mount_is_there() {
    let host = crate::host!("python3");
    host.sh(&format!(
        "mkdir -m 777 '{DIR}/a,b:c'; echo one > '{DIR}/a,b:c/file'; chown {USER}:{USER} '{DIR}/a,b:c/file'"
    ));
    let overlay = format!("type=overlay,\"src={DIR}/a,b:c\",dst=/opt");
    let options =
        ["--read-only", "--mount", &overlay, "--tmpfs", "/mnt:size=64k", "-v", "/etc/passwd:/run/deep/passwd"];
    let script =
        "echo two > /opt/file; cat /opt/file; df --output=size /mnt | tail -n 1 | tr -d ' '; cmp /etc/passwd /run/deep/passwd
        (: > /usr/new) 2>&1 | grep -o Read-only";
    each_way(&host, &options, script, |output| {
        output.assert_prints("two\n64\nRead-only");
    });
    assert_eq!(host.sh(&format!("cat '{DIR}/a,b:c/file'")), "one\n");
}

#[test]
fn any_one_of_the_calls_can_be_missing() {
    let host = crate::host!("python3");
    host.sh(&format!("mkdir -m 777 {DIR}/v; echo v > {DIR}/v/file"));
    let options = ["--read-only", "-v", &format!("{DIR}/v:/opt:ro"), "--tmpfs", "/mnt"];
    let script =
        "cat /opt/file; (: > /opt/new) 2>&1 | grep -o Read-only; echo x > /tmp/x; cat /etc/hostname; ls -A /mnt";
    for call in CALLS {
        // A filter's EPERM for fsconfig alone could as well be the kernel's own.
        for errno in [libc::ENOSYS, if call == "fsconfig" { libc::ENOSYS } else { libc::EPERM }] {
            let run = || host.nsl(sandbox(&options, script)).without(errno, &[call]);
            run().run().assert_prints("v\nRead-only\nnsl");
            run().as_user().run().assert_prints("v\nRead-only\nnsl");
        }
    }
}

#[test]
fn a_terminal_is_opened_and_is_the_console() {
    let host = crate::host!("python3", "script");
    let words = format!(
        "{} run --network none -t -- sh -c 'tty; test -c /dev/console && echo hi > /dev/console'",
        crate::harness::NSL
    );
    for errno in [libc::ENOSYS, libc::EPERM] {
        let output = host.command("script", ["-qec", &words, "/dev/null"]).without(errno, &CALLS).run();
        let output = output.assert_code(0).stdout();
        assert!(output.contains("/dev/pts/0\r\nhi\r\n"), "{output}");
    }
}

#[test]
fn the_call_that_nothing_stands_in_for_is_named() {
    let host = crate::host!("python3");
    let output = host.nsl(sandbox(&["--rootfs", DIR], "true")).without(libc::ENOSYS, &["openat2"]).run();
    output.assert_refused(125, &["openat2", "Linux 5.11"]);
}
