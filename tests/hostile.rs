//! Roots made by somebody who means no good, and roots that change or go while nsl starts: a correct run or one clear
//! line, and nothing changed outside.

use crate::harness::{DIR, Host, Output, USER};
use crate::root::{sandbox, tiny_root};
use std::time::{Duration, Instant};

/// A directory outside of every root, with what nobody may touch; `outside` tells if somebody did.
fn make_outside(host: &Host) {
    host.sh(&format!(
        "mkdir -p {DIR}/outside/sub; cd {DIR}/outside; for f in hosts hostname resolv.conf null; do echo host > $f; done
         chmod -R a+rwX ."
    ));
}

fn outside(host: &Host) -> String {
    host.sh(&format!(
        "cd {DIR}/outside; find . | sort; cat hosts hostname resolv.conf null; cat /etc/hosts /etc/hostname"
    ))
}

/// It ran, or was refused in one line that says what to do.
#[track_caller]
fn assert_run_or_refused(output: &Output, printed: &str) {
    if output.code == 0 {
        output.assert_prints(printed);
    } else {
        output.assert_refused(125, &["hint: "]);
    }
}

#[test]
fn whatever_stands_in_the_place_of_a_directory_leads_nowhere() {
    let host = crate::host!("python3");
    let root = tiny_root(&host);
    make_outside(&host);
    let before = outside(&host);
    let up = "../../../../../../../..";
    let things = [
        format!("ln -s {DIR}/outside"),
        format!("ln -s {up}{DIR}/outside"),
        "ln -s /proc/self/root".into(),
        "ln -s /proc/1/cwd".into(),
        "ln -s .".into(),
        "ln -s loop".into(),
        "ln -s nowhere/at/all".into(),
        "mkfifo -m 666".into(),
        "python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])'".into(),
        "mkn() { mknod -m 666 $1 c 1 3; }; mkn".into(),
        "touch".into(),
    ];
    for name in ["etc", "dev", "proc", "sys", "tmp", "run"] {
        for thing in &things {
            host.sh(&format!(
                "cd {root}; rm -rf dev etc loop proc run sys tmp; ln -s loop loop; {thing} {name}; chown -hR {USER} ."
            ));
            let was = host.sh(&format!("stat -c '%F %N' {root}/{name}"));
            let options = ["--rootfs", &root, "--read-only", "-v", &format!("{DIR}/outside:/tmp/out:ro")];
            for options in [&options[..2], &options] {
                let output = host.nsl(sandbox(options, "echo started")).run();
                assert_run_or_refused(&output, "started");
                let output = host.nsl(sandbox(options, "echo started")).as_user().run();
                assert_run_or_refused(&output, "started");
            }
            // What was there is there; nobody was kept waiting by it, or wrote to it.
            assert_eq!(host.sh(&format!("stat -c '%F %N' {root}/{name}")), was);
            assert_eq!(outside(&host), before, "{name}: {thing}");
        }
    }
}

#[test]
fn targets_through_links_that_lead_nowhere_are_refused() {
    let host = crate::host!();
    let root = tiny_root(&host);
    make_outside(&host);
    let before = outside(&host);
    host.sh(&format!(
        "cd {root}; ln -s loop loop; ln -s /proc/self/root magic; ln -s nowhere broken; ln -s / self; touch file; mkdir proc"
    ));
    let cases: &[(&str, &[&str])] = &[
        ("/loop", &["hint: links in the root"]),
        ("/loop/x", &["hint: links in the root"]),
        ("/magic/x", &["hint: "]),
        ("/broken", &["hint: the source is gone, or a link in the root"]),
        ("/self", &["hint: in this root the target is a link to the root itself"]),
        ("/self/self", &["link to the root itself"]),
        ("/file/x", &["Not a directory", "hint: "]),
        ("/file", &["Not a directory", "hint: "]),
    ];
    for (target, words) in cases {
        for option in [format!("--volume={DIR}/outside:{target}"), format!("--tmpfs={target}")] {
            let output = host.nsl(sandbox(&["--rootfs", &root, &option], "true")).run();
            output.assert_refused(125, words);
        }
    }
    // A file's target can be made where a link leads, in the root.
    host.sh(&format!("rm {root}/broken; ln -s {DIR}/outside/new {root}/broken; mkdir -p {root}{DIR}/outside"));
    let options = ["--rootfs", &root, "-v", &format!("{DIR}/outside/null:/broken")];
    host.nsl(sandbox(&options, "cat /broken")).run().assert_prints("host");
    host.sh(&format!("rm -r {root}/tmp"));
    assert_eq!(outside(&host), before);
}

#[test]
fn deep_targets_are_made_and_ones_too_long_are_refused() {
    let host = crate::host!();
    let deep = format!("/opt{}", "/d".repeat(1500));
    let script = format!("cat {deep}/hostname");
    host.nsl(sandbox(&["-v", &format!("/etc:{deep}:ro")], &script)).run().assert_code(0);
    let long = format!("/opt/{}", "d".repeat(256));
    let deep = format!("/opt{}", "/d".repeat(2500));
    for target in [long, deep] {
        let output = host.nsl(sandbox(&["-v", &format!("/etc:{target}")], "true")).run();
        output.assert_refused(125, &["File name too long"]);
    }
    let root = format!("{DIR}/{}", format!("{}/", "r".repeat(100)).repeat(30));
    host.sh(&format!("mkdir -p {root}/bin; cp $(command -v busybox) {root}/bin/sh"));
    host.nsl(sandbox(&["--rootfs", &root], "echo started")).run().assert_prints("started");
}

#[test]
fn layers_that_a_user_may_not_read_are_refused() {
    let host = crate::host!();
    let root = tiny_root(&host);
    host.sh(&format!("chmod 000 {root}"));
    let overlay = format!("type=overlay,src={root},dst=/opt");
    for options in [["--rootfs", &root], ["--mount", &overlay]] {
        host.nsl(sandbox(&options, "true")).as_user().run().assert_refused(125, &[&root, "Permission denied"]);
    }
    // A layer with parts that cannot be read shows the rest.
    host.sh(&format!("chmod 755 {root}; chmod 000 {root}/etc; chmod 755 {DIR}"));
    let script = "ls /opt; ls /opt/etc 2>/dev/null || echo closed";
    host.nsl(sandbox(&["--mount", &overlay], script)).as_user().run().assert_prints("bin\netc\nclosed");
}

#[test]
fn a_root_where_nothing_may_be_executed_is_told() {
    let mut host = crate::host!();
    let root = tiny_root(&host);
    host.sh(&format!("mount --bind {root} {root}; mount -o remount,bind,noexec {root}; chmod -R a+rwX {root}"));
    host.accept();
    let output = host.nsl(sandbox(&["--rootfs", &root], "true")).run();
    output.assert_refused(126, &["execute sh", "Permission denied", "hint"]);
    let output = host.nsl(sandbox(&["--rootfs", &root], "true")).as_user().run();
    output.assert_refused(126, &["execute sh", "Permission denied", "hint"]);
}

#[test]
fn thousands_of_mounts_below_a_root_come_along() {
    let mut host = crate::host!("python3");
    let root = tiny_root(&host);
    host.sh(&format!("mkdir {root}/m; mount -t tmpfs -o mode=755 m {root}/m; cd {root}/m; mkdir $(seq 11)
        for i in $(seq 11); do mount --rbind {root}/m {root}/m/$i; done; mkdir {root}/proc; chmod -R a+rwX {root}/etc {root}/bin; chmod a+rwx {root}"));
    host.accept();
    let script = "grep -c ' /m' /proc/self/mountinfo; (: > /m/11/10/9/x) 2>/dev/null || echo closed";
    let options = ["--rootfs", &root, "--read-only"];
    let start = Instant::now();
    host.nsl(sandbox(&options, script)).run().assert_prints("2048\nclosed");
    host.nsl(sandbox(&options, script)).as_user().run().assert_prints("2048\nclosed");
    host.nsl(sandbox(&options, script)).without(libc::ENOSYS, &["mount_setattr"]).run().assert_prints("2048\nclosed");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// Runs it over and over while `change`, in python, goes on in a directory; each must run or be refused.
fn while_changing(host: &Host, change: &str, options: &[&str], codes: &[i32]) {
    // renameat2(2) with RENAME_EXCHANGE.
    let forever = format!(
        "import ctypes, os
def exchange(one, other): ctypes.CDLL(None).syscall({}, -100, one, -100, other, 2)
print('ready', flush=True)
while True:
 {change}",
        libc::SYS_renameat2
    );
    let mut changing = host.command("python3", ["-c", &forever]).cwd(DIR).start();
    assert_eq!(changing.line(), "ready");
    for _ in 0..30 {
        let output = host.nsl(sandbox(options, "echo started")).run();
        assert!(codes.contains(&output.code), "{output}");
        assert!(output.stderr().lines().count() <= 1, "{output}");
    }
    drop(changing);
}

#[test]
fn a_root_that_is_moved_or_deleted_meanwhile_is_run_or_refused() {
    let host = crate::host!("python3");
    let root = tiny_root(&host);
    make_outside(&host);
    let before = outside(&host);
    let options = ["--rootfs", &root[..]];
    while_changing(&host, "os.rename('root', 'moved'); os.rename('moved', 'root')", &options, &[0, 125]);
    let empty = format!("{DIR}/empty");
    let change = "os.makedirs('empty/proc', exist_ok=True); os.rmdir('empty/proc'); os.rmdir('empty')";
    // Of an empty root no command can be started.
    let change = format!("try: {change}\n except OSError: os.system('rm -rf empty')");
    while_changing(&host, &change, &["--rootfs", &empty], &[125, 127]);
    assert_eq!(outside(&host), before);
    host.sh(&format!("rm -rf {empty}"));
}

#[test]
fn links_that_come_and_go_meanwhile_lead_nowhere() {
    let host = crate::host!("python3");
    let root = tiny_root(&host);
    make_outside(&host);
    let before = outside(&host);
    for name in ["dev", "etc", "proc", "sys", "tmp", "srv"] {
        host.sh(&format!(
            "cd {root}; rm -rf dev proc sys tmp srv; mkdir dev proc sys tmp srv; ln -s {DIR}/outside {DIR}/link-{name}"
        ));
        let swap = format!("exchange(b'root/{name}', b'link-{name}')");
        let options =
            ["--rootfs", &root, "--read-only", "-v", &format!("{DIR}/outside:/srv/made:ro"), "--tmpfs", "/tmp/made"];
        while_changing(&host, &swap, &options, &[0, 125]);
        assert_eq!(outside(&host), before, "{name}");
        host.sh(&format!("cd {DIR}; rm -rf link-{name} root/{name}"));
    }
}
