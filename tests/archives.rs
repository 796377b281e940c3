//! Archives and OCI layouts as roots, and directories that keep nothing: what is unpacked, from what, how often, and
//! what the command sees of it.

mod faults;
mod hostile;
mod layers;
mod layout;
mod writer;

use crate::harness::{DIR, Host, Invocation, Output, USER};
use std::fs;
use writer::{Archive, gzip, zstd};

/// Where the tests' stores are; an ordinary user has another than root.
const STORE: &str = "/tmp/test/store";
const USERS_STORE: &str = "/tmp/test/users-store";

/// A root of one static program.
fn tiny(host: &Host) -> Archive {
    let busybox = host.sh("command -v busybox");
    let program = fs::read(host.path(busybox.trim())).expect("read busybox");
    let mut archive = Archive::new()
        .directory("./")
        .directory("./bin")
        .member(writer::FILE, "./bin/busybox", "", &program, |header| header.set_mode(0o755))
        .directory("./etc")
        .file("./etc/name", "tiny\n");
    for name in ["cat", "echo", "find", "id", "ls", "mkdir", "readlink", "rm", "sh", "stat", "test"] {
        archive = archive.symlink(&format!("./bin/{name}"), "busybox");
    }
    archive
}

/// Puts a file into the host's directory; returns its path there.
fn put(host: &Host, name: &str, bytes: &[u8]) -> String {
    fs::write(host.path(DIR).join(name), bytes).expect("write a file");
    format!("{DIR}/{name}")
}

/// `nsl run OPTIONS --rootfs PATH -- sh -c SCRIPT`, with the tests' store.
fn run<'a>(host: &'a Host, options: &[&str], path: &str, script: &str) -> Invocation<'a> {
    let words = [&["run", "--network", "none"], options, &["--rootfs", path, "--", "sh", "-c", script]].concat();
    host.nsl(words).env("NSL_STORE", STORE)
}

fn as_user(invocation: Invocation<'_>) -> Invocation<'_> {
    invocation.as_user().env("NSL_STORE", USERS_STORE)
}

/// The roots that a store has, by their digests; nothing half-done is in it.
#[track_caller]
fn roots(host: &Host, store: &str) -> Vec<String> {
    let names = |part: &str| {
        let entries = fs::read_dir(host.path(store).join(part)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    assert!(names("new").is_empty(), "something was left half-done: {:?}", names("new"));
    let mut roots = names("roots");
    roots.sort();
    roots
}

/// What nsl told, at level info, about having unpacked something; nothing if it has not.
fn told(output: &Output) -> String {
    let stderr = output.stderr();
    stderr.split_inclusive('\n').filter(|line| line.starts_with("nsl: unpacked ")).collect()
}

#[test]
fn an_archive_of_any_format_and_name_is_a_root_that_keeps_nothing() {
    let host = crate::host!("busybox");
    let bytes = tiny(&host).end();
    let script = "cat /etc/name /etc/hostname; echo x > /etc/name; echo y > /new; cat /etc/name; ls /";
    let expected = "tiny\nnsl\nx\nbin\ndev\netc\nnew\nproc\nsys";
    for (name, bytes) in [("a", bytes.clone()), ("b.tar", gzip(&bytes)), ("c.gz", zstd(&bytes))] {
        let archive = put(&host, name, &bytes);
        for _ in 0..2 {
            run(&host, &[], &archive, script).run().assert_prints(expected);
            as_user(run(&host, &[], &archive, script)).run().assert_prints(expected);
        }
    }
    assert_eq!(roots(&host, STORE).len(), 3);
    assert_eq!(roots(&host, STORE), roots(&host, USERS_STORE));
    assert_eq!(
        host.sh(&format!("cat {STORE}/roots/*/etc/name; ls -d {STORE}/roots/*/new 2>/dev/null || true")),
        "tiny\ntiny\ntiny\n"
    );
    // Nobody else finds the set-user-ID programs in it.
    assert_eq!(host.sh(&format!("stat -c %a {STORE} {USERS_STORE}")), "700\n700\n");
}

#[test]
fn an_archive_is_unpacked_once_whatever_it_is_called_and_again_when_it_changes() {
    let host = crate::host!("busybox");
    let archive = put(&host, "a", &tiny(&host).end());
    let start = || run(&host, &["--log-level", "info"], &archive, "cat /etc/name").run();
    let first = start();
    assert!(told(first.assert_code(0).assert_stdout("tiny")).contains("16 entries\n"), "{first}");
    for change in ["true", "touch a", "cp a b; mv b a"] {
        host.sh(&format!("cd {DIR}; {change}"));
        assert_eq!(told(start().assert_code(0).assert_stdout("tiny")), "");
        assert_eq!(roots(&host, STORE).len(), 1);
    }
    put(&host, "a", &tiny(&host).file("etc/name", "other\n").end());
    assert!(told(start().assert_code(0).assert_stdout("other")).contains("17 entries\n"));
    assert_eq!(roots(&host, STORE).len(), 2);
    // Emptied, it fills itself again.
    host.sh(&format!("rm -r {STORE}/roots/*"));
    start().assert_code(0).assert_stdout("other");
    assert_eq!(roots(&host, STORE).len(), 1);
}

/// Starts with the archive until the store knows it: a file that was changed just now may change again unseen.
fn settle(host: &Host, archive: &str) {
    crate::harness::wait_until("the store knows the file", || {
        run(host, &[], archive, "echo started").run().assert_prints("started");
        host.path(STORE).join("index").read_dir().is_ok_and(|entries| entries.count() == 1)
    });
}

#[test]
fn an_archive_that_was_left_alone_is_not_read_again() {
    let host = crate::host!("busybox");
    let archive = put(&host, "a", &tiny(&host).end());
    host.sh(&format!("touch -d '1 hour ago' {archive}"));
    settle(&host, &archive);
    let read_by_nsl = |script: &str| {
        let mut running = run(&host, &[], &archive, script).start();
        assert_eq!(running.line(), "ready");
        let io = fs::read_to_string(format!("/proc/{}/io", running.pid())).expect("read what nsl has read");
        running.finish().assert_prints("");
        let bytes = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a line rchar");
        bytes.parse::<u64>().expect("a number")
    };
    let size = fs::metadata(host.path(&archive)).expect("look at the archive").len();
    let read = read_by_nsl("echo ready; cat");
    assert!(read < 100_000 && size > 500_000, "{read} bytes read, of an archive with {size}");
    host.sh(&format!("touch {archive}"));
    assert!(read_by_nsl("echo ready; cat") > size);
}

#[test]
fn owners_modes_times_and_attributes_are_kept_as_root() {
    let host = crate::host!("busybox");
    let change = |mode: u32, id: u64| {
        move |header: &mut tar::Header| {
            header.set_mode(mode);
            header.set_uid(id);
            header.set_gid(id + 1);
        }
    };
    let capability: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let attributes: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.security.capability", capability),
        ("SCHILY.xattr.user.colour", b"blue\n"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
    ];
    let bytes = tiny(&host)
        .member(writer::FILE, "etc/suid", "", b"x", change(0o4755, 7))
        .member(writer::DIRECTORY, "closed", "", b"", change(0o3500, 8))
        .member(writer::FILE, "closed/file", "", b"x", change(0, 9))
        .member(writer::SYMLINK, "link", "etc/suid", b"", change(0o777, 10))
        .member(writer::FIFO, "fifo", "", b"", change(0o620, 11))
        .records(&attributes)
        .file("attributes", "x")
        .member(writer::CHARACTER, "null", "", b"", change(0o666, 0))
        .member(writer::BLOCK, "disk", "", b"", change(0o660, 0))
        .end();
    let archive = put(&host, "a", &bytes);
    let files = "etc/suid closed closed/file link fifo";
    let script = format!("cd /; stat -c '%n %a %u %g %Y' {files}; ls null disk 2>/dev/null || echo none");
    let line = |name: &str, mode: u32, id: u32| format!("{name} {mode:o} {id} {} 1000000000\n", id + 1);
    let output = run(&host, &["--log-level", "info"], &archive, &script).run();
    let expected = [
        line("etc/suid", 0o4755, 7),
        line("closed", 0o3500, 8),
        line("closed/file", 0, 9),
        line("link", 0o777, 10),
        line("fifo", 0o620, 11),
        "none".to_owned(),
    ];
    output.assert_code(0).assert_stdout(&expected.concat());
    assert!(told(&output).ends_with("24 entries, without 2 devices\n"), "{output}");
    let file = host.path(STORE).join("roots").join(&roots(&host, STORE)[0]).join("attributes");
    let mut names = vec![0; 4096];
    let length = rustix::fs::listxattr(&file, &mut names).expect("list the attributes");
    let mut names: Vec<_> = names[..length].split_inclusive(|byte| *byte == 0).collect();
    names.sort_unstable();
    assert_eq!(names, [&b"security.capability\0"[..], b"user.colour\0"]);
    let mut value = [0; 9];
    let length = rustix::fs::getxattr(&file, "user.colour", &mut value).expect("read an attribute");
    assert_eq!(&value[..length], b"blue\n");
    // An ordinary user owns it all, can look into every directory, and lends nobody its rights.
    let script = format!("cd /; stat -c '%n %a %u %g %Y' {files}");
    let line = |name: &str, mode: u32| format!("{name} {mode:o} {USER} {USER} 1000000000\n");
    let expected = [
        line("etc/suid", 0o755),
        line("closed", 0o1700),
        line("closed/file", 0),
        line("link", 0o777),
        line("fifo", 0o620),
    ];
    as_user(run(&host, &[], &archive, &script)).run().assert_prints(expected.concat().trim());
    assert_eq!(roots(&host, USERS_STORE).len(), 1);
}

#[test]
fn a_file_takes_the_place_of_another_and_is_never_written_through_a_link() {
    let host = crate::host!("busybox");
    host.sh(&format!("mkdir {DIR}/outside; echo host > {DIR}/outside/file"));
    let out = format!("{DIR}/outside/file");
    let bytes = tiny(&host)
        .symlink("etc/a", &out)
        .file("etc/a", "file over link\n")
        .symlink("etc/b", &format!("{DIR}/outside"))
        .directory("etc/b")
        .file("etc/b/file", "directory over link\n")
        .file("etc/c", "x")
        .symlink("etc/c", "a")
        .directory("etc/d")
        .file("etc/d", "file over empty directory\n")
        .file("etc/e", "one\n")
        .link("etc/e", "etc/name")
        .link("etc/e", "etc/e")
        .symlink("inside", "etc")
        .file("inside/f", "through a link that stays\n")
        .symlink("rooted", "/etc")
        .file("//rooted/./g", "through one that is absolute\n")
        .end();
    let archive = put(&host, "a", &bytes);
    let script = "cd etc; cat a b/file c d e f g; readlink c";
    let expected = "file over link\ndirectory over link\nfile over link\nfile over empty directory\ntiny\n\
        through a link that stays\nthrough one that is absolute\na";
    run(&host, &[], &archive, script).run().assert_prints(expected);
    as_user(run(&host, &[], &archive, script)).run().assert_prints(expected);
    assert_eq!(host.sh(&format!("ls {DIR}/outside; cat {out}")), "file\nhost\n");
}

#[test]
fn a_directory_keeps_nothing_when_it_is_ephemeral() {
    let mut host = crate::host!("busybox");
    let long = format!("{DIR}/{}/a:b,c\\d", "long/".repeat(60));
    put(&host, "a", &tiny(&host).file("etc/hostname", "old\n").end());
    host.sh(&format!("mkdir -p '{long}'; tar -C '{long}' -xf {DIR}/a"));
    let before = host.sh(&format!("cd '{long}'; ls -laR"));
    let script = "cat /etc/name /etc/hostname; echo x > /etc/x; rm -r /etc/name; ls /etc";
    let expected = "tiny\nnsl\nhostname\nhosts\nresolv.conf\nx";
    run(&host, &["-x"], &long, script).run().assert_prints(expected);
    assert_eq!(host.sh(&format!("cd '{long}'; ls -laR")), before);
    // What another owns, an ordinary user sees and can't change.
    let script = "cat /etc/name /etc/hostname; echo x > /etc/x; (echo x > /etc/name) 2>/dev/null || cat /etc/x";
    as_user(run(&host, &["-x"], &long, script)).run().assert_prints("tiny\nnsl\nx");
    host.sh(&format!("chown -R {USER}:{USER} '{long}'"));
    as_user(run(&host, &["-x"], &long, "echo x > /etc/name; cat /etc/name")).run().assert_prints("x");
    host.sh(&format!("grep -q tiny '{long}/etc/name'; ! test -e '{long}/etc/x'"));
    // With an archive it says what is so anyway.
    run(&host, &["-x"], &format!("{DIR}/a"), "cat /etc/name").run().assert_prints("tiny");
    // What is mounted below is no part of the directory.
    host.sh(&format!("mkdir {DIR}/m; tar -C {DIR}/m -xf {DIR}/a; mkdir {DIR}/m/mnt; mount -t tmpfs m {DIR}/m/mnt; echo m > {DIR}/m/mnt/m"));
    host.accept();
    run(&host, &["-x"], &format!("{DIR}/m"), "ls /mnt").run().assert_prints("");
    let output = as_user(run(&host, &["-x"], &format!("{DIR}/m"), "ls /mnt")).run();
    output.assert_refused(125, &["mount an overlay of /tmp/test/m on /", "mounts below"]);
}

#[test]
fn ephemeral_is_for_a_root_that_is_named() {
    let host = crate::host!();
    host.nsl(["run", "-x", "--", "true"]).run().assert_refused(125, &["--rootfs"]);
}

#[test]
fn links_in_the_places_of_mounts_and_names_lead_nowhere() {
    let host = crate::host!("busybox");
    host.sh(&format!("mkdir {DIR}/outside; echo host > {DIR}/outside/hosts"));
    let up = format!("../../../../../../../../..{DIR}/outside");
    let outside = format!("{DIR}/outside");
    let before = host.sh("cat /etc/hosts");
    for target in [&*outside, &up, "/proc/1/root/etc", "etc2", "/nowhere", "dev"] {
        let bytes = tiny(&host).directory("etc2").file("etc2/hosts", "old\n");
        let bytes = ["dev", "proc", "sys"].iter().fold(bytes, |bytes, name| bytes.symlink(name, target));
        let archive = put(&host, "a", &bytes.end());
        let script = "cat /etc/hostname; stat -c %F /dev /proc /sys; cat /proc/self/comm; ls /dev/null /sys/class/net";
        let expected = "nsl\ndirectory\ndirectory\ndirectory\ncat\n/dev/null\n\n/sys/class/net:\nlo";
        run(&host, &[], &archive, script).run().assert_prints(expected);
        as_user(run(&host, &[], &archive, script)).run().assert_prints(expected);
        let bytes = Archive::new().symlink("etc", target).file("x", "x").end();
        // The rest comes from a volume: its own would be below /etc.
        let archive =
            put(&host, "b", &[&tiny(&host).directory("etc2").file("etc2/hosts", "old\n").bytes()[..], &bytes].concat());
        host.sh(&format!("cd {DIR}; rm -rf dir; mkdir dir; tar -C dir --exclude ./etc -xf {archive}"));
        for source in [format!("{DIR}/dir")] {
            for user in [false, true] {
                let start = run(&host, &["-x"], &source, "cat /etc/hosts 2>/dev/null; echo started");
                let output = if user { as_user(start) } else { start }.run();
                output.assert_code(0).assert_quiet();
                assert!(output.stdout().ends_with("started\n"), "{output}");
                let has_names = output.stdout().contains(" nsl\n");
                assert!(has_names || target != "etc2" || user, "{output}");
            }
        }
        assert_eq!(host.sh(&format!("ls {outside}; cat {outside}/hosts /etc/hosts")), format!("hosts\nhost\n{before}"));
    }
}

#[test]
fn a_store_of_somebody_else_is_not_used() {
    let host = crate::host!("busybox");
    let archive = put(&host, "a", &tiny(&host).end());
    host.sh(&format!("mkdir {STORE}; chown {USER} {STORE}"));
    let words = ["the store /tmp/test/store belongs to another user"];
    run(&host, &[], &archive, "true").run().assert_refused(125, &words);
    assert_eq!(host.sh(&format!("ls -A {STORE}")), "");
    // Not even where it says that the archive is there already.
    host.sh(&format!("chown 0 {STORE}; touch -d '1 hour ago' {archive}"));
    settle(&host, &archive);
    host.sh(&format!("chown {USER} {STORE}"));
    run(&host, &[], &archive, "true").run().assert_refused(125, &words);
    let relative = run(&host, &[], &archive, "true").env("NSL_STORE", "store").run();
    relative.assert_refused(125, &["NSL_STORE", "not an absolute path"]);
}

#[test]
fn the_store_of_an_ordinary_user_is_in_its_cache() {
    let host = crate::host!("busybox");
    let archive = put(&host, "a", &tiny(&host).end());
    let words = ["run", "--network", "none", "--rootfs", &archive, "--", "cat", "/etc/name"];
    let start = || host.nsl(words).as_user();
    start().env("HOME", DIR).run().assert_prints("tiny");
    start().env("HOME", "/none").env("XDG_CACHE_HOME", format!("{DIR}/cache")).run().assert_prints("tiny");
    assert_eq!(roots(&host, &format!("{DIR}/.cache/nsl/store")).len(), 1);
    assert_eq!(roots(&host, &format!("{DIR}/cache/nsl/store")).len(), 1);
    start().env("HOME", "").run().assert_refused(125, &["find the store for archives", "NSL_STORE"]);
}
