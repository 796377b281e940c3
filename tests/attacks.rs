//! Attacks: what others' sandboxes could be left by, and what an attacker would try who is root inside, who made the
//! root file system, or who works beside nsl on the host. Each comes through where the defence is taken out, by an
//! option or in a stand-in that does it the naive way, so that it is known to be one; and is held by the defence.
//!
//! Nothing here does harm when it comes through: what could change the machine is opened, not written.

mod calls;
mod descriptors;
mod exec;
mod files;
mod init;
mod kernel;
mod machine;
mod moved;
mod network;
mod privileges;
mod rootfs;
mod terminal;

use crate::documents::ROOT;
use crate::harness::{DIR, Host, Invocation, Output};
use std::fs;

/// A script for sh, or perl, in a sandbox without a network: `nsl run --network none OPTIONS -- PROGRAM … SCRIPT`.
fn sandbox<'a>(host: &'a Host, options: &[&str], command: &[&str]) -> Invocation<'a> {
    host.nsl(["run", "--network", "none"].iter().chain(options).chain(&["--"]).chain(command))
}

/// The attack says `through` in a line of its own if it succeeds, else `held` and what held it.
#[track_caller]
fn verdict(output: &Output) -> bool {
    let said = |word: &str| output.stdout().lines().any(|line| line.trim_start().starts_with(word));
    assert!(said("through") || said("held"), "the attack did not get as far as to tell how it went\n{output}");
    said("through")
}

#[track_caller]
fn held(invocation: Invocation<'_>) {
    let output = invocation.run();
    assert!(!verdict(&output), "the attack came through\n{output}");
}

#[track_caller]
fn through(invocation: Invocation<'_>) {
    let output = invocation.run();
    assert!(verdict(&output), "this is no attack: it fails without the defence as well\n{output}");
}

/// A root of one static program in a directory of the host, with a secret beside it; returns its path.
fn root(host: &Host) -> String {
    let root = format!("{DIR}/root");
    host.sh(&format!(
        "mkdir -p {root}/bin {root}/etc {root}/dev {root}/proc {root}/sys; cp $(command -v busybox) {root}/bin/busybox
         for name in cat chmod echo head id ls mkdir pwd readlink seq sh stat wc; do ln -s busybox {root}/bin/$name; done
         mkdir {DIR}/outside {DIR}/volume; echo secret > {DIR}/secret; echo volume > {DIR}/volume/marker"
    ));
    root
}

/// A script that runs in mount and PID namespaces, as the stand-ins do which have no more than that.
fn stand_in<'a>(host: &'a Host, script: &str) -> Invocation<'a> {
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"];
    host.command("unshare", namespaces.into_iter().chain(["sh", "-c", script]))
}

/// docs/security.md names the test of each attack, and every test here is named.
#[test]
fn the_document_names_the_tests_and_the_tests_are_there() {
    let document = include_str!("../docs/security.md");
    let mut named: Vec<_> = document.split('`').filter(|word| word.contains("::") && !word.contains(' ')).collect();
    let sources = [
        ("descriptors", include_str!("attacks/descriptors.rs")),
        ("exec", include_str!("attacks/exec.rs")),
        ("files", include_str!("attacks/files.rs")),
        ("init", include_str!("attacks/init.rs")),
        ("kernel", include_str!("attacks/kernel.rs")),
        ("machine", include_str!("attacks/machine.rs")),
        ("moved", include_str!("attacks/moved.rs")),
        ("network", include_str!("attacks/network.rs")),
        ("privileges", include_str!("attacks/privileges.rs")),
        ("rootfs", include_str!("attacks/rootfs.rs")),
        ("terminal", include_str!("attacks/terminal.rs")),
    ];
    let tests = sources.iter().flat_map(|(module, text)| {
        let functions = text.split("#[test]\nfn ").skip(1).filter_map(|test| test.split('(').next());
        functions.map(move |name| format!("{module}::{name}"))
    });
    let mut tests: Vec<_> = tests.collect();
    named.sort_unstable();
    tests.sort_unstable();
    assert_eq!(named, tests);
}

/// Behind the name of a file the document has names of tests that are in it.
#[test]
fn the_tests_of_the_defences_are_there_by_their_names() {
    let document = include_str!("../docs/security.md");
    let (_, rest) = document.split_once("## The defences").expect("there is such a part");
    let (part, _) = rest.split_once("\n## ").expect("another follows");
    let mut count = 0;
    for row in part.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let file = format!("{ROOT}/tests/{}", cells[1].trim_matches('`'));
        let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        for name in cells[2].split('`').skip(1).step_by(2) {
            count += 1;
            assert!(source.contains(&format!("#[test]\nfn {name}()")), "{file} has no test {name}");
        }
    }
    assert!(count > 20, "only {count} tests are named");
}
