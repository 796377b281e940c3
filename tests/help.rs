//! What nsl says of itself: its help texts, word for word, and what it makes of slips of the finger.

use crate::documents::ROOT;
use crate::harness::{DIR, Host};
use std::fs;
use std::path::Path;

/// Has the texts in tests/golden/help written anew.
const REWRITE: &str = "NSL_TESTS_REWRITE_HELP";

/// The text that tests/golden/help has of a program or subcommand.
#[track_caller]
fn assert_is_golden(name: &str, text: &str) {
    let path = Path::new(ROOT).join(format!("tests/golden/help/{name}.txt"));
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "the help is not that of {}:\n{text}\nIf it is what it should be: {REWRITE}=1 cargo test --test e2e help::",
        path.display()
    );
}

fn said(host: &Host, args: &[&str]) -> String {
    let output = host.nsl(args).run();
    output.assert_code(0).assert_quiet();
    output.stdout()
}

/// Those that nsl's own help lists.
pub fn subcommands(host: &Host) -> Vec<String> {
    let help = said(host, &["--help"]);
    let entries = help.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("  "));
    let names: Vec<_> = entries.map(|(name, _)| name.to_owned()).filter(|name| !name.contains(' ')).collect();
    assert!(names.len() >= 15 && names[0] == "run", "{help}");
    names
}

#[test]
fn help_of_nsl_and_its_subcommands_is_what_was_agreed_on() {
    let host = crate::host!();
    let help = said(&host, &["--help"]);
    assert_is_golden("nsl", &help);
    assert_eq!(said(&host, &["-h"]), help);
    for name in subcommands(&host) {
        let [brief, full] = ["-h", "--help"].map(|option| said(&host, &[&name, option]));
        assert_is_golden(&name, &format!("$ nsl {name} -h\n{brief}\n$ nsl {name} --help\n{full}"));
        assert!(full.contains("\nExit status: "), "{full}");
    }
    let init = host.command(env!("NSL_INIT"), ["--help"]).run();
    assert_is_golden("nsl-init", &init.assert_code(0).stdout());
}

#[test]
fn help_is_asked_for_by_options_and_by_a_word() {
    let host = crate::host!();
    assert_eq!(said(&host, &["help"]), said(&host, &["--help"]));
    assert_eq!(said(&host, &["help", "help"]), said(&host, &["--help"]));
    assert_eq!(said(&host, &["help", "run"]), said(&host, &["run", "--help"]));
    assert_eq!(said(&host, &["help", "exec"]), said(&host, &["exec", "--help"]));
    host.nsl(["help", "rnu"]).run().assert_refused(125, &["'rnu'", "did you mean run?"]);
    // Of the command's words none is nsl's.
    host.nsl(["run", "--network", "none", "--", "sh", "-c", "echo $0", "--help"]).run().assert_prints("--help");
}

#[test]
fn nsl_alone_shows_its_help_as_a_failure() {
    let host = crate::host!();
    let output = host.nsl([""; 0]).run();
    output.assert_code(125).assert_stdout("");
    assert_eq!(output.stderr(), said(&host, &["--help"]), "{output}");
}

#[test]
fn the_version_is_a_line() {
    let host = crate::host!();
    assert_eq!(said(&host, &["--version"]), format!("nsl {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(said(&host, &["-V"]), said(&host, &["--version"]));
}

#[test]
fn who_slips_is_told_what_it_was_meant_to_be() {
    let host = crate::host!();
    let cases: &[(&[&str], &str)] = &[
        (&["rnu", "--", "true"], "run"),
        (&["lgos", "web"], "logs"),
        (&["ls"], "ps"),
        (&["run", "--evn", "A=1", "true"], "--env"),
        (&["run", "--uts", "hsot", "true"], "host"),
        (&["run", "--netwrok", "none", "true"], "--network"),
        (&["run", "--network=nonee", "true"], "none"),
        (&["run", "--network", "vteh", "true"], "veth"),
        (&["run", "--log-level", "wran", "true"], "warn"),
        (&["run", "--ipc", "hots", "true"], "host"),
        (&["run", "--log", "jornald", "true"], "journald"),
        (&["run", "--stop-signal", "TREM", "true"], "TERM"),
        (&["run", "--stop-signal", "sigquti", "true"], "QUIT"),
        (&["kill", "-s", "HPU", "web"], "HUP"),
        (&["run", "--cap-add", "NET_ADMN", "true"], "NET_ADMIN"),
        (&["run", "--cap-drop", "CAP_KLIL", "true"], "KILL"),
        (&["run", "--ulimit", "nofiles=3", "true"], "nofile"),
        (&["exec", "--usr", "0", "web", "id"], "--user"),
        (&["stop", "--tiem", "3s", "web"], "--time"),
        (&["run", "--net", "none", "true"], "--network"),
        (&["run", "--vol", "/usr:/x", "true"], "--volume"),
    ];
    for (args, meant) in cases {
        host.nsl(*args).run().assert_refused(125, &[&format!("(hint: did you mean {meant}?)")]);
    }
}

#[test]
fn what_is_no_slip_is_told_where_to_look() {
    let host = crate::host!();
    let cases: &[(&[&str], &str)] = &[
        (&["/bin/sh"], "nsl run -- COMMAND"),
        (&["--such"], "see nsl --help"),
        (&["run"], "nsl run -- bash"),
        (&["run", "--xyzzy", "true"], "see nsl run --help"),
        (&["run", "--network", "xyzzy", "true"], "see nsl run --help"),
        (&["run", "--network", "veth:A", "true"], "such as veth:web"),
        (&["run", "--stop-signal", "99", "true"], "such as HUP, TERM or RTMIN+3"),
        (&["run", "--cap-add", "FLY", "true"], "capabilities(7) lists them"),
        (&["run", "--ulimit", "x=3", "true"], "one of as, core, cpu"),
        (&["wait"], "see nsl wait --help"),
        (&["run", "--restart", "always", "true"], "see nsl run --help"),
        (&["run", "--gateway", "192.0.2.1"], "nsl run -- bash"),
        (&["run", "--rm", "true"], "leave it out: only with -d or --name"),
        (&["run", "-it", "bash"], "leave it out: stdin is always passed on"),
        (&["--network", "none", "--", "true"], "an option stands behind its subcommand: nsl run --network"),
        (&["version"], "nsl --version"),
        (&["-v"], "nsl --version"),
        (&["run", "-v", "/usr", "true"], "such as -v /srv/data:/data"),
        (&["run", "-v", "/a:/b:/c:ro", "true"], "a name with a colon"),
        (&["run", "--network", "none", "-p", "80", "true"], "leave one of the two out"),
    ];
    for (args, hint) in cases {
        host.nsl(*args).run().assert_refused(125, &["hint: ", hint]);
    }
    host.assert_clean();
    assert_eq!(host.sh(&format!("ls {DIR}")), "");
}
