//! docs/comparison.md: command lines of other programs and nsl's for the same do the same, and its figures can be
//! written anew.

use crate::documents::{Place, ROOT, blocks_of};
use crate::harness::{DIR, Host, PATIENCE};
use crate::podman::Podman;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn path() -> PathBuf {
    Path::new(ROOT).join("docs/comparison.md")
}

/// Runs what is marked so; what is shown behind a command of nsl's, the one before it prints as well.
#[track_caller]
fn assert_alike(marks: &[&str], sh: impl Fn(&str, &str) -> (i32, String)) {
    let document = fs::read_to_string(path()).expect("read the document");
    let mut failures = String::new();
    for mark in marks {
        let blocks = blocks_of(&document, mark).expect("the document has no mistakes");
        assert!(!blocks.is_empty(), "nothing is marked '{mark}'");
        for failure in blocks.into_iter().filter_map(|block| block.alike().check(&sh).err()) {
            let _ = writeln!(failures, "docs/comparison.md, {failure}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn command_lines_of_bwrap_and_unshare_are_translated() {
    let mut host = crate::host!("bwrap", "hostname");
    host.unlock("/var/tmp");
    let place = Place::new("comparison");
    assert_alike(&["sh pair"], |options, script| place.sh(&host, options, script));
}

#[test]
fn command_lines_of_podman_are_translated() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    podman.import("docker.io/library/busybox");
    fs::write(podman.host.path(DIR).join("wrapper"), podman.script()).expect("write a file");
    podman.host.sh("cd /tmp/test; mkdir bin; chmod 755 wrapper; mv wrapper bin/podman; ln -s /run/bin/nsl bin/nsl");
    assert_alike(&["sh podman", "sh pair podman"], |options, script| {
        let invocation = podman.host.command("sh", [options, &format!("exec 2>&1\n{script}")]).cwd(DIR);
        let invocation = invocation.env("NSL_STORE", "/tmp/test/store").timeout(PATIENCE);
        let output = invocation.env("PATH", "/tmp/test/bin:/usr/sbin:/usr/bin:/sbin:/bin").run();
        (output.code, output.stdout())
    });
}

/// Options that a text names.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| letter != '-' && !letter.is_ascii_alphanumeric());
    words.filter(|word| word.starts_with('-') && !word.trim_start_matches('-').is_empty())
}

/// What stands in the columns of nsl's, and on the left of what is the same.
#[test]
fn options_that_others_are_translated_to_are_nsls() {
    let host = crate::host!();
    let help = ["run", "exec"].map(|name| host.nsl([name, "--help"]).run().stdout()).concat();
    let known: Vec<_> = help.lines().flat_map(options).collect();
    let document = fs::read_to_string(path()).expect("read the document");
    let (mut is_nsls, mut count) = (false, 0);
    for line in document.lines() {
        let Some(row) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            is_nsls = is_nsls && line.starts_with("|---");
            continue;
        };
        let (others, own) = row.rsplit_once(" | ").expect("it has columns");
        if !is_nsls {
            is_nsls = own.starts_with("nsl");
            continue;
        }
        let same = if own.starts_with("the same") { others } else { "" };
        for option in options(own).chain(options(same)) {
            count += 1;
            assert!(known.contains(&option), "nsl has no {option}, as in: {line}");
        }
    }
    assert!(count > 60, "only {count} options are known as such");
}

/// Starts a command that tells when it runs and when it is asked to end, and asks its caller for the latter.
fn asked_to_end(host: &Host, program: &str, then: &str) -> String {
    let script = r#"trap "echo > heard; exit 4" TERM; echo > up; while :; do sleep 0.01; done"#;
    host.sh(&format!(
        "cd {DIR}; rm -f up heard; {program} sh -c '{script}' > /dev/null 2>&1 &
         until [ -e up ]; do sleep 0.01; done; kill $!; {then}"
    ))
}

const BWRAP: &str = "bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc --bind /tmp/test /tmp/test --";

fn kill_all(host: &Host) {
    for pid in host.processes() {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
    host.sh(&format!("cd {DIR}; rm -f up heard"));
}

#[test]
fn what_is_said_of_signals_is_so() {
    let host = crate::host!("bwrap");
    let wait = "code=0; wait $! || code=$?; echo $code; ls";
    let nsl = "/run/bin/nsl run --network none -v .:/here -w /here --";
    assert_eq!(asked_to_end(&host, nsl, wait), "4\nheard\nup\n");
    kill_all(&host);
    assert_eq!(asked_to_end(&host, BWRAP, wait), "143\nup\n");
    assert!(!host.processes().is_empty(), "the command does not live on");
    kill_all(&host);
    let blocked = asked_to_end(&host, "unshare --pid --fork --mount-proc", "grep SigBlk /proc/$!/status");
    let set = blocked.trim_start_matches("SigBlk:").trim();
    assert_ne!(
        u64::from_str_radix(set, 16).expect("a set of signals") & 1 << (Signal::SIGTERM as u32 - 1),
        0,
        "{blocked}"
    );
    kill_all(&host);
}

#[test]
fn what_is_said_of_those_left_behind_is_so() {
    let host = crate::host!("bwrap");
    let leave = "sh -c 'sleep 1000 > /dev/null 2>&1 & exit 0'";
    host.sh(&format!("/run/bin/nsl run --network none -- {leave}"));
    host.assert_clean();
    host.sh(&format!("unshare --pid --fork --mount-proc -- {leave}"));
    host.assert_clean();
    host.sh(&format!("{BWRAP} {leave} > /dev/null 2>&1"));
    assert!(!host.processes().is_empty(), "nothing is left behind");
    kill_all(&host);
    host.sh(&format!("{} {leave}", BWRAP.replace("bwrap", "bwrap --die-with-parent")));
    host.assert_clean();
}

#[test]
fn figures_are_those_of_the_benchmark() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("make a directory");
    let (measured, document) = (directory.join("bench.json"), directory.join("comparison.md"));
    let line = |what: &str, median: f64| format!(r#"{{"row": 2, "what": "{what}", "unit": "ms", "median": {median}}}"#);
    let lines = [line("nsl run", 3.0519), line("bwrap --unshare-all", 0.123_45)].join(",");
    fs::write(&measured, format!(r#"{{"lines": [{lines}]}}"#)).expect("write figures");
    fs::copy(path(), &document).expect("copy the document");
    let script = Path::new(ROOT).join("tests/bench/figures");
    let output = Command::new(script).args([&measured, &document]).output().expect("run the script");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(document).expect("read the document");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| ") && line.contains(" ms ")).collect();
    assert_eq!(rows, ["| the same with a network and NAT; the other without | 3.1 ms | bwrap 0.12 ms |"]);
}
