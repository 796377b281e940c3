//! What is asked for inside the root: -v, --tmpfs and --mount, a root that is read-only, sandboxes in sandboxes.

use crate::harness::{DIR, Host, NSL, Output, USER};
use crate::root::{sandbox, tiny_root};

/// Runs it as root and as the user; both must print this, and nothing on stderr.
#[track_caller]
fn both_print(host: &Host, options: &[&str], script: &str, expected: &str) {
    host.nsl(sandbox(options, script)).run().assert_prints(expected);
    host.nsl(sandbox(options, script)).as_user().run().assert_prints(expected);
}

/// Tries to write at all these places; prints those where it can.
const WRITE: &str = "for d in / /usr /etc /var /root /opt /run /tmp /dev /dev/shm; do
        (echo x > $d/nsl-test) 2>/dev/null && echo $d; done; true";

#[test]
fn a_read_only_root_can_be_written_in_run_tmp_and_dev_alone() {
    let host = crate::host!();
    both_print(&host, &["--read-only"], WRITE, "/run\n/tmp\n/dev\n/dev/shm");
    host.sh(&format!("mkdir -m 777 {DIR}/v"));
    let volume = format!("{DIR}/v:/opt");
    let script = format!("{WRITE}; chmod 666 /opt/nsl-test 2>&-; true");
    both_print(&host, &["--read-only", "-v", &volume], &script, "/opt\n/run\n/tmp\n/dev\n/dev/shm");
    assert_eq!(host.sh(&format!("ls {DIR}/v")), "nsl-test\n");
    host.sh("test ! -e /etc/nsl-test");
    let script = "stat -c '%n %a' /run /tmp; ls -A /run /tmp; cp /bin/true /tmp/true; /tmp/true && echo runs";
    both_print(&host, &["--read-only"], script, "/run 755\n/tmp 1777\n/run:\n\n/tmp:\nruns");
    // The names are there, and an empty root can be read-only as well.
    both_print(&host, &["--read-only"], "cat /etc/hostname", "nsl");
    let empty =
        ["--read-only", "--empty", "-v", "/usr:/usr", "-v", "/bin:/bin", "-v", "/lib:/lib", "-v", "/lib64:/lib64"];
    both_print(
        &host,
        &empty,
        &format!("exec 2>&-; {}", WRITE.replace("/usr /etc", "/etc")),
        "/run\n/tmp\n/dev\n/dev/shm",
    );
}

#[test]
fn what_is_mounted_over_run_and_tmp_takes_the_place_of_theirs() {
    let host = crate::host!();
    host.sh(&format!("mkdir -m 777 {DIR}/v; echo v > {DIR}/v/file"));
    let options = ["--read-only", "-v", &format!("{DIR}/v:/tmp:ro"), "--tmpfs", "/run:ro"];
    both_print(&host, &options, &format!("cat /tmp/file; {WRITE}"), "v\n/dev\n/dev/shm");
}

#[test]
fn a_directory_as_a_read_only_root_keeps_what_it_has() {
    let mut host = crate::host!();
    let root = tiny_root(&host);
    host.sh(&format!("mkdir {root}/sub {root}/usr; mount -t tmpfs -o mode=777 sub {root}/sub; chmod -R 777 {root}"));
    host.accept();
    let script = "cat /etc/name /etc/hostname; for d in / /etc /sub /run /tmp /dev; do
        (echo x > $d/x) 2>/dev/null && echo $d; done; (: > /etc/hosts) 2>/dev/null && echo hosts; exit 0";
    both_print(&host, &["--rootfs", &root, "--read-only"], script, "tiny\nnsl\n/run\n/tmp\n/dev");
    assert_eq!(host.sh(&format!("cd {root}; find . -name x; ls -A run tmp | cat")), "run:\n\ntmp:\n");
    both_print(&host, &["--rootfs", &root], "echo x > /sub/x; cat /sub/x; rm /sub/x", "x");
}

#[test]
fn the_whole_machine_keeps_its_mode_when_a_root_is_read_only() {
    let host = crate::host!();
    let before = host.sh("cut -d' ' -f5,6 /proc/self/mountinfo");
    host.nsl(sandbox(&["--read-only"], "true")).run().assert_prints("");
    assert_eq!(host.sh("cut -d' ' -f5,6 /proc/self/mountinfo"), before);
}

#[test]
fn a_tmpfs_has_the_options_it_is_given() {
    let host = crate::host!();
    let script =
        "findmnt -no FSTYPE,OPTIONS /opt | tail -n 1 | tr -s ' '; stat -c %a /opt; df --output=size /opt | tail -n 1 | tr -d ' '
        cp /bin/true /opt 2>/dev/null && /opt/true 2>/dev/null && echo runs; exit 0";
    let options = |text: &'static str| ["--tmpfs", text];
    let ends = |output: &Output, expected: &str| {
        let stdout = output.assert_code(0).assert_quiet().stdout();
        let lines: Vec<_> = stdout.lines().collect();
        assert!(lines[0].starts_with("tmpfs ") && lines[1..].join("\n") == expected, "{output}");
        lines[0].to_owned()
    };
    for as_user in [false, true] {
        let run = |text| {
            let invocation = host.nsl(sandbox(&options(text), script));
            if as_user { invocation.as_user().run() } else { invocation.run() }
        };
        let shown = ends(&run("/opt:size=1m"), "1777\n1024");
        assert!(shown.contains("rw,nosuid,nodev,noexec"), "{shown}");
        let shown = ends(&run("/opt:size=64k,mode=0700,exec"), "700\n64\nruns");
        assert!(shown.contains("rw,nosuid,nodev,relatime"), "{shown}");
        assert!(ends(&run("/opt:ro,size=64k"), "1777\n64").contains("ro,nosuid,nodev,noexec"));
    }
    let long = ["--mount", "type=tmpfs,dst=/opt,tmpfs-size=1m,tmpfs-mode=755"];
    ends(&host.nsl(sandbox(&long, script)).run(), "755\n1024");
    host.nsl(sandbox(&options("/opt:uid=5,gid=6"), "stat -c %u:%g /opt")).run().assert_prints("5:6");
    host.nsl(sandbox(&options("/dev/shm:size=64k"), "head -c 1m /dev/zero > /dev/shm/x; stat -c %s /dev/shm/x"))
        .run()
        .assert_code(0)
        .assert_stdout("65536");
    let foreign = host.nsl(sandbox(&options("/opt:uid=5"), "true")).as_user().run();
    foreign.assert_refused(125, &["mount a tmpfs on /opt", "hint", "user"]);
}

#[test]
fn an_overlay_shows_a_directory_and_keeps_what_is_written_to_itself() {
    let host = crate::host!();
    let name = format!("{DIR}/a, b:c\\d\"{}", "x".repeat(200));
    host.sh(&format!(
        "mkdir -p '{name}/sub'; chmod 2775 '{name}'; echo one > '{name}/file'; chown -R {USER}:{USER} '{name}'"
    ));
    let quoted = name.replace('"', "\"\"");
    let option = format!("type=overlay,\"source={quoted}\",target=/opt/view");
    let script = "cd /opt/view; stat -c %a .; cat file; echo two > file; rm -r sub; echo x > new; cat file; ls";
    both_print(&host, &["--mount", &option], script, "2775\none\ntwo\nfile\nnew");
    assert_eq!(host.sh(&format!("cd '{name}'; cat file; ls")), "one\nfile\nsub\n");
    // Root's view belongs to whom the directory belongs to; with an empty root as well, and twice.
    host.nsl(sandbox(&["--mount", &option], "stat -c %u:%g /opt/view")).run().assert_prints("1000:1000");
    let other = format!("{},ro", option.replace("/opt/view", "/srv"));
    let volumes = ["--empty", "-v", "/usr:/usr", "-v", "/bin:/bin", "-v", "/lib:/lib", "-v", "/lib64:/lib64"];
    let options = [&volumes[..], &["--mount", &option, "--mount", &other]].concat();
    let script = "echo two > /opt/view/file; cat /srv/file; (: > /srv/x) 2>&1 | grep -o Read-only";
    both_print(&host, &options, script, "one\nRead-only");
}

#[test]
fn mounts_are_made_from_the_top_down_whatever_their_order() {
    let host = crate::host!();
    host.sh(&format!("mkdir -p -m 777 {DIR}/v; echo v > {DIR}/v/file"));
    let volume = format!("{DIR}/v:/opt/a/b");
    both_print(
        &host,
        &["-v", &volume, "--tmpfs", "/opt/a", "--tmpfs", "/opt"],
        "cat /opt/a/b/file; ls /opt /opt/a",
        "v\n/opt:\na\n\n/opt/a:\nb",
    );
    let output = host.nsl(sandbox(&["-v", &volume, "--tmpfs", "/opt/a/b/"], "true")).run();
    output.assert_refused(125, &["mount on /opt/a/b", "two mounts", "hint"]);
}

#[test]
fn targets_that_nsl_has_itself_are_refused() {
    let host = crate::host!();
    for target in ["/proc", "/proc/sys", "/sys/fs", "/dev", "/proc/../x", "/"] {
        for options in
            [["-v", &format!("/usr:{target}")], ["--tmpfs", target], ["--mount", &format!("type=tmpfs,dst={target}")]]
        {
            host.nsl(sandbox(&options, "true")).run().assert_refused(125, &[target]);
        }
    }
}

#[test]
fn a_relative_source_is_one_of_the_working_directory() {
    let host = crate::host!();
    host.sh(&format!("mkdir -p {DIR}/v; echo v > {DIR}/v/file"));
    for options in [
        ["-v", "v:/mnt"],
        ["-v", "./v/../v:/mnt"],
        ["--mount", "type=bind,src=v,dst=/mnt"],
        ["--mount", "type=overlay,src=v,dst=/mnt"],
    ] {
        let options = [&options[..], &["-w", "/"]].concat();
        host.nsl(sandbox(&options, "cat /mnt/file")).cwd(DIR).run().assert_prints("v");
    }
}

#[test]
fn a_device_in_somebodys_directory_is_none_but_one_asked_for_by_name_is() {
    let mut host = crate::host!();
    let root = tiny_root(&host);
    host.sh(&format!("mount -t tmpfs -o mode=777,dev v {root}/etc; mkdir {root}/v; cp -r {root}/bin {root}/v
        mknod -m 666 {root}/v/zero c 1 5; mknod -m 666 {root}/etc/zero c 1 5; mkdir {root}/proc; chmod -R a+rwX {root}; mkdir {DIR}/v; mount -t tmpfs v {DIR}/v; mknod -m 666 {DIR}/v/zero c 1 5"));
    host.accept();
    let script = "for f in /v/zero /etc/zero; do head -c 1 $f > /dev/null 2>&1 && echo $f; done; exit 0";
    let busybox = format!("busybox() {{ /bin/busybox \"$@\"; }}; head() {{ busybox head \"$@\"; }}; {script}");
    host.sh(&format!("head -c 1 {root}/v/zero {root}/etc/zero {DIR}/v/zero > /dev/null"));
    host.nsl(sandbox(&["--rootfs", &root], &busybox)).run().assert_prints("");
    host.nsl(sandbox(
        &["-v", &format!("{root}/v:/v"), "-v", &format!("{DIR}/v:/mnt")],
        "head -c 1 /v/zero; head -c 1 /mnt/zero",
    ))
    .run()
    .assert_code(1)
    .assert_stdout("");
    let named = ["-v", &format!("{DIR}/v/zero:/dev/nought"), "-v", "/dev/zero:/opt/zero"];
    both_print(&host, &named, "head -c 4 /dev/nought | od -An -tx1; head -c 1 /opt/zero | wc -c", "00 00 00 00\n1");
}

#[test]
fn a_device_of_the_hosts_that_is_none_is_not_bound() {
    let mut host = crate::host!();
    host.sh(&format!("touch {DIR}/full; mknod {DIR}/zero c 1 3; mount --bind {DIR}/full /dev/full"));
    host.accept();
    let output = host.nsl(sandbox(&[], "true")).as_user().run();
    output.assert_refused(125, &["devices", "hint", "/dev"]);
    host.sh(&format!("umount /dev/full; mount --bind {DIR}/zero /dev/zero"));
    host.accept();
    host.nsl(sandbox(&[], "true")).as_user().run().assert_refused(125, &["devices", "hint"]);
    host.nsl(sandbox(&[], "head -c 1 /dev/zero | wc -c")).run().assert_prints("1");
}

#[test]
fn other_file_systems_are_copy_on_write_for_a_user_as_well() {
    let mut host = crate::host!();
    host.sh(&format!("mount -t tmpfs -o mode=777 srv /srv; echo one > /srv/file; chown {USER}:{USER} /srv/file"));
    host.accept();
    host.nsl(sandbox(&[], "cat /srv/file; echo two > /srv/file; cat /srv/file"))
        .as_user()
        .run()
        .assert_prints("one\ntwo");
    assert_eq!(host.sh("cat /srv/file"), "one\n");
}

#[test]
fn the_terminal_is_the_console() {
    let host = crate::host!("script");
    for options in ["", "--read-only"] {
        let words = format!(
            "{NSL} run --network none {options} -t -- sh -c 'stat -Lc %t:%T /dev/console $(tty); echo hi > /dev/console'"
        );
        for invocation in [
            host.command("script", ["-qec", &words, "/dev/null"]),
            host.command("script", ["-qec", &words, "/dev/null"]).as_user(),
        ] {
            let output = invocation.run();
            let stdout = output.assert_code(0).stdout();
            assert!(stdout.contains("88:0\r\n88:0\r\nhi\r\n"), "{output}");
        }
    }
    host.nsl(sandbox(&[], "ls /dev/console 2>/dev/null || echo none")).run().assert_prints("none");
}

#[test]
fn sandboxes_in_sandboxes_work_three_deep_and_say_what_is_read_only() {
    let host = crate::host!();
    let volume = format!("{NSL}:{NSL}");
    let inner = [NSL, "run", "--network", "none", "-v", &volume];
    let first: Vec<&str> = ["run", "--network", "none", "--nested", "-v", &volume, "--"].into();
    for as_user in [false, true] {
        let run = |more: &[&str], script: &str| {
            let words = [&first[..], more, &["sh", "-c", script]].concat();
            let invocation = host.nsl(&words);
            if as_user { invocation.as_user().run() } else { invocation.run() }
        };
        // Without this one, nobody can map the root of the sandbox to the root of the next.
        let second = [&inner[..], &["--nested", "--cap-add", "setfcap", "--"]].concat();
        let third = [&inner[..], &["--"]].concat();
        let script = "echo x > /tmp/x; cat /tmp/x /etc/hostname; echo $$";
        let output = run(&third, script);
        output.assert_code(0).assert_stdout("x\nnsl\n2");
        let output = run(&[&second[..], &third].concat(), script);
        output.assert_code(0).assert_stdout("x\nnsl\n2");
    }
}

#[test]
fn a_root_that_can_be_no_lower_layer_is_shown_read_only() {
    let mut host = crate::host!();
    // Two overlays are as many as the kernel stacks.
    host.sh(&format!("mkdir {DIR}/1 {DIR}/2; cd {DIR}; mount -t tmpfs up 1; mkdir 1/u1 1/w1 1/u2 1/w2
        mount -t overlay -o lowerdir=/,upperdir=1/u1,workdir=1/w1 o 2; mount -t overlay -o lowerdir=2,upperdir=1/u2,workdir=1/w2 o 2
        mount -t proc proc 2/proc; mount --rbind /sys 2/sys; mount --rbind /dev 2/dev; mount --rbind /run 2/run; mkdir -p 2/{DIR}"));
    host.accept();
    let script =
        format!("{WRITE}; cat /etc/hostname; (: > /etc/hosts) 2>/dev/null && echo hosts; stat -c '%n %a' /run /tmp");
    let root = format!("{DIR}/2");
    let words = [&["chroot", &root, NSL][..], &sandbox(&[], &script)].concat();
    let output = host.command("unshare", ["-m", "--propagation", "private", "--"].iter().chain(&words)).run();
    let expected = "/run\n/tmp\n/dev\n/dev/shm\nnsl\n/run 755\n/tmp 1777";
    output.assert_code(0).assert_stdout(expected);
    let stderr = output.stderr();
    assert!(stderr.lines().count() == 1 && stderr.contains("can be no lower layer here: it is read-only"), "{output}");
}
