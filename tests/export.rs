//! `nsl init`: the embedded init as a file, for images and machines; whole, or not there.

use crate::harness::{DIR, Host, NSL, Output};
use crate::pty::Pty;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The init that nsl has inside.
fn init() -> Vec<u8> {
    fs::read(env!("NSL_INIT")).expect("read nsl-init")
}

/// The file is the init, executable for everybody, and alone in its directory, which is emptied then.
#[track_caller]
fn assert_written(host: &Host, directory: &str, name: &str) {
    let file = host.path(directory).join(name);
    assert!(fs::read(&file).expect("read the file") == init(), "{name} is not the init");
    let mode = fs::symlink_metadata(&file).expect("look at the file").permissions().mode();
    assert_eq!(mode, 0o100_755, "{name}: {mode:o}");
    assert_eq!(host.sh(&format!("ls -A {directory}")), format!("{name}\n"));
    host.sh(&format!("rm '{directory}/{name}'"));
}

#[test]
fn init_is_written_beside_the_caller() {
    let host = crate::host!();
    for umask in ["0022", "0077", "0777", "0"] {
        let script = format!("umask {umask}; exec {NSL} init");
        host.command("sh", ["-c", &script]).cwd(DIR).as_user().run().assert_prints("./nsl-init");
        assert_written(&host, DIR, "nsl-init");
    }
}

#[test]
fn file_or_directory_to_write_to_can_be_named() {
    let host = crate::host!();
    host.sh(&format!("mkdir {DIR}/sub {DIR}/other; ln -s ../sub {DIR}/other/link"));
    let sub = format!("{DIR}/sub");
    host.nsl(["init", "--output", "a b"]).cwd(&sub).run().assert_prints("a b");
    assert_written(&host, &sub, "a b");
    host.nsl(["init", "-o./-"]).cwd(&sub).run().assert_prints("./-");
    assert_written(&host, &sub, "-");
    for directory in ["sub", "sub/", "other/link"] {
        let directory = format!("{DIR}/{directory}");
        let file = format!("{}/nsl-init", directory.trim_end_matches('/'));
        host.nsl(["init", "-o", &directory]).run().assert_prints(&file);
        assert_written(&host, &sub, "nsl-init");
    }
    // Any bytes that are a name, and one as long as names can be.
    for name in ["\u{1f980}\n".to_owned(), "x".repeat(255)] {
        let output = host.nsl(["init", "-o", &name]).cwd(&sub).run();
        assert_eq!(output.assert_code(0).assert_quiet().stdout(), format!("{name}\n"));
        assert!(fs::read(host.path(&sub).join(&name)).expect("read the file") == init());
        fs::remove_file(host.path(&sub).join(&name)).expect("remove the file");
    }
}

#[test]
fn init_that_was_written_is_one() {
    let host = crate::host!();
    host.nsl(["init"]).cwd(DIR).run().assert_code(0);
    let words = ["--fork", "--pid", "--mount-proc", "--", "./nsl-init", "sh", "-c", "ps -p 1 -o comm=; exit 9"];
    host.command("unshare", words).cwd(DIR).run().assert_code(9).assert_stdout("nsl-init").assert_quiet();
}

#[test]
fn a_file_that_is_executed_is_replaced() {
    let host = crate::host!();
    host.nsl(["init", "-o", DIR]).run().assert_code(0);
    let words = ["sh", "-c", "echo up; read line; exit 3"];
    let mut running = host.command(format!("{DIR}/nsl-init"), words).start();
    assert_eq!(running.line(), "up");
    host.nsl(["init", "-o", DIR]).run().assert_prints(&format!("{DIR}/nsl-init"));
    assert_written(&host, DIR, "nsl-init");
    running.write("go\n");
    running.finish().assert_code(3).assert_quiet();
}

#[test]
fn nobody_finds_half_of_a_file() {
    let host = crate::host!();
    let (file, whole) = (host.path(DIR).join("nsl-init"), init());
    host.nsl(["init", "-o", DIR]).run().assert_code(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            host.sh(&format!("for n in $(seq 50); do {NSL} init -o {DIR} >/dev/null; done"));
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            assert!(fs::read(&file).expect("read the file") == whole, "half of the file was there");
        }
    });
    assert_written(&host, DIR, "nsl-init");
}

#[test]
fn a_signal_leaves_nothing_half_done() {
    let host = crate::host!();
    // Each of them comes at another moment; whether the file is there, it decides.
    let script = format!(
        "cd {DIR}; for n in $(seq 0 60); do
             {NSL} init >/dev/null & sleep 0.00$((n / 10))$((n % 10)); kill $! 2>/dev/null || true; wait $! || true
             rm -f nsl-init; test -z \"$(ls -A)\"
         done"
    );
    host.command("bash", ["-ec", &script]).run().assert_code(0);
}

#[test]
fn what_a_link_leads_to_is_replaced() {
    let host = crate::host!();
    host.sh(&format!("cd {DIR}; mkdir sub links; echo old > sub/target; ln -s ../sub/target links/link"));
    let link = format!("{DIR}/links/link");
    host.nsl(["init", "-o", &link]).run().assert_prints(&link);
    assert_eq!(host.sh(&format!("readlink {link}")), "../sub/target\n");
    assert_written(&host, &format!("{DIR}/sub"), "target");
    // Now it leads nowhere, so that there is nothing but itself.
    host.nsl(["init", "-o", &link]).run().assert_prints(&link);
    assert_written(&host, &format!("{DIR}/links"), "link");
}

#[test]
fn devices_and_pipes_are_not_replaced() {
    let host = crate::host!();
    host.sh(&format!(
        "cd {DIR}; mknod null c 1 3; mknod full c 1 7; mkfifo pipe; ln -s /proc/self/fd/1 stdout; stat -c '%n %F' * > ../kinds"
    ));
    let write = |name: &str| host.nsl(["init", "-o", name]).cwd(DIR).run();
    write("null").assert_prints("null");
    write("full").assert_refused(125, &["write full: No space left on device"]);
    let output = host.command("sh", ["-c", &format!("cat pipe & {NSL} init -o pipe >/dev/null; wait")]).cwd(DIR).run();
    assert!(output.assert_code(0).assert_quiet().stdout == init());
    assert!(write("stdout").assert_code(0).assert_quiet().stdout == [&init()[..], b"stdout\n"].concat());
    // A file that has lost its name, and that is all that a path leads to.
    let script = format!("exec 3>&1 >gone 4>&1; rm gone; {NSL} init -o stdout; cat /proc/$$/fd/4 >&3");
    let output = host.command("sh", ["-c", &script]).cwd(DIR).run();
    assert!(output.assert_code(0).assert_quiet().stdout.starts_with(b"stdout\n"));
    host.sh(&format!("cd {DIR}; stat -c '%n %F' * | diff ../kinds -; rm ../kinds"));
}

#[test]
fn a_full_disk_keeps_what_it_had() {
    let mut host = crate::host!();
    host.sh(&format!(
        "mkdir {DIR}/disk; mount -t tmpfs -o size=8k,mode=777 tmpfs {DIR}/disk; echo old > {DIR}/disk/nsl-init"
    ));
    host.accept();
    for invocation in [host.nsl(["init"]), host.nsl(["init"]).as_user()] {
        let output = invocation.cwd(format!("{DIR}/disk")).run();
        output.assert_refused(125, &["write ./nsl-init: No space left on device"]);
        assert_eq!(host.sh(&format!("cd {DIR}/disk; ls -A; cat nsl-init")), "nsl-init\nold\n");
    }
    host.sh(&format!("mount -o remount,size=100k {DIR}/disk"));
    host.accept();
    // The limit of file sizes: SIGXFSZ would end nsl without a word.
    let output =
        host.command("bash", ["-c", &format!("ulimit -f 4; exec {NSL} init")]).cwd(format!("{DIR}/disk")).run();
    output.assert_refused(125, &["write ./nsl-init: File too large"]);
    assert_eq!(host.sh(&format!("cd {DIR}/disk; ls -A; cat nsl-init")), "nsl-init\nold\n");
}

#[test]
fn places_that_cannot_be_written_to_are_told() {
    let mut host = crate::host!();
    host.sh(&format!(
        "cd {DIR}; mkdir disk closed taken taken/nsl-init; chmod 755 closed; touch file mounted; ln -s loop loop
         mount -t tmpfs tmpfs disk; touch disk/nsl-init; mount -o remount,ro disk; mount --bind file mounted"
    ));
    host.accept();
    let before = host.sh(&format!("ls -lAR {DIR}"));
    let unchanged = |output: &Output, words: &[&str]| {
        output.assert_refused(125, words);
        assert_eq!(host.sh(&format!("ls -lAR {DIR}")), before);
    };
    let case = |file: &str, words: &[&str]| unchanged(&host.nsl(["init", "-o", file]).cwd(DIR).run(), words);
    case("absent/x", &["write absent/x: No such file or directory", "hint: its directory must be there"]);
    case("absent/", &["write absent/: Not a directory"]);
    case("file/x", &["write file/x: Not a directory"]);
    case("taken", &["write taken/nsl-init: Is a directory"]);
    case("loop", &["write loop: Too many"]);
    case("mounted", &["write mounted: ", "busy", "hint: something is mounted there"]);
    case("disk", &["write disk/nsl-init: Read-only file system"]);
    case("disk/new", &["write disk/new: Read-only file system"]);
    case(&"x".repeat(256), &["File name too long"]);
    let user = host.nsl(["init", "-o", "closed"]).cwd(DIR).as_user().run();
    unchanged(&user, &["write closed/nsl-init: Permission denied", "hint: its directory must be writable"]);
}

#[test]
fn init_goes_to_stdout_when_asked_to() {
    let host = crate::host!();
    for invocation in [host.nsl(["init", "-o", "-"]), host.nsl(["init", "--output=-"]).as_user()] {
        assert!(invocation.run().assert_code(0).assert_quiet().stdout == init());
    }
    host.command("sh", ["-c", &format!("umask 0; {NSL} init -o - > x; chmod 755 x")]).cwd(DIR).run().assert_code(0);
    assert_written(&host, DIR, "x");
    host.sh(&format!("{NSL} init -o - > /dev/null"));
}

#[test]
fn stdout_that_takes_nothing_is_told() {
    let host = crate::host!();
    let run = |script: &str| host.command("bash", ["-c", &format!("{NSL} {script}")]).cwd(DIR).run();
    run("init -o - > /dev/full").assert_refused(125, &["write to stdout: No space left on device"]);
    run("init -o - >&-").assert_refused(125, &["write to stdout: it is closed"]);
    for streams in ["", "2>&1"] {
        let script = format!("read line; exec {NSL} init -o - {streams}");
        let mut running = host.command("sh", ["-c", &script]).start();
        running.stdout = None;
        running.write("go\n");
        let output = running.finish();
        assert!(output.assert_code(125).stderr().contains("write to stdout: Broken pipe") == streams.is_empty());
    }
    let mut pty = Pty::start(host.nsl(["init", "-o", "-"]));
    assert_eq!(pty.end(), 125);
    let told = "nsl: cannot write to stdout: it is a terminal (hint: name a file: nsl init --output FILE)\r\n";
    assert_eq!(pty.all(), told);
    // The file is there; only its name went nowhere.
    run("init > /dev/full").assert_refused(125, &["write to stdout: No space left on device"]);
    assert_written(&host, DIR, "nsl-init");
    run("init <&- >&- 2>&-").assert_prints("");
    assert_written(&host, DIR, "nsl-init");
}

#[test]
fn wrong_usage_names_the_help_that_helps() {
    let host = crate::host!();
    for args in [&["init", "x"][..], &["init", "--mode"], &["init", "-o"]] {
        host.nsl(args).run().assert_refused(125, &["read the command line", "hint: see nsl init --help"]);
    }
    let help = host.nsl(["init", "--help"]).run();
    assert!(help.assert_code(0).assert_quiet().stdout().contains("--output <FILE>"), "{help}");
}
