//! The man pages, completions and notices of `make pages`: made from the definitions as they are now, read by the
//! programs that people read them with.

use crate::documents::ROOT;
use crate::harness::{DIR, Host};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const COMPLETE_IN_BASH: &str = include_str!("pages/complete.bash");
const COMPLETE_IN_ZSH: &str = include_str!("pages/complete.zsh");
const COMPLETE_IN_FISH: &str = include_str!("pages/complete.fish");

/// Where they are, made once.
pub fn pages() -> &'static Path {
    static PAGES: OnceLock<PathBuf> = OnceLock::new();
    PAGES.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
        let _ = fs::remove_dir_all(&directory);
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(ROOT).args(["run", "--quiet", "--offline", "--package", "nsl", "--example", "pages", "--"]);
        let output = cargo.arg(&directory).env("SOURCE_DATE_EPOCH", "1700000000").output().expect("run cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        directory
    })
}

/// A host does not see the machine's /tmp.
fn put(host: &Host, file: &str) -> String {
    let name = file.replace('/', "-");
    fs::copy(pages().join(file), host.path(DIR).join(&name)).expect("copy a page");
    format!("{DIR}/{name}")
}

fn man(page: &str) -> PathBuf {
    pages().join(format!("man/{page}.1"))
}

/// nsl, its subcommands and its init have one each.
fn names(host: &Host) -> Vec<String> {
    let mut names = vec!["nsl".to_owned()];
    names.extend(crate::help::subcommands(host).iter().map(|name| format!("nsl-{name}")));
    names
}

#[test]
fn each_subcommand_has_a_man_page_without_faults() {
    let host = crate::host!("mandoc");
    let mut expected: Vec<_> = names(&host).iter().map(|name| format!("{name}.1")).collect();
    let files = fs::read_dir(pages().join("man")).expect("the directory is there");
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort_unstable();
    expected.sort_unstable();
    assert_eq!(files, expected);
    for name in names(&host) {
        let page = put(&host, &format!("man/{name}.1"));
        host.command("mandoc", ["-T", "lint", "-W", "warning", &page]).run().assert_prints("");
        let text = plain(&name);
        assert!(text.contains(&format!(".TH {} 1 2023-11-14 \"nsl ", name.to_uppercase())), "{text}");
        let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        assert_eq!(sections[..3], ["NAME", "SYNOPSIS", "DESCRIPTION"], "{name}");
        assert!(sections.contains(&"OPTIONS") && sections.contains(&"\"EXIT STATUS\""), "{name}: {sections:?}");
        assert_eq!(sections.last(), Some(&"\"SEE ALSO\""), "{name}");
    }
}

/// Its text without marks.
fn plain(page: &str) -> String {
    let text = fs::read_to_string(man(page)).expect("the page is there");
    text.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\-", "-")
}

/// What the pages name is there to be read: none of them leads to one that is not.
#[test]
fn pages_of_nsls_that_are_named_are_there() {
    let host = crate::host!();
    for name in names(&host) {
        let text = plain(&name);
        for word in text.split([' ', ',', '\n']).filter_map(|word| word.strip_suffix("(1)")) {
            assert!(!word.starts_with("nsl") || man(word).is_file(), "{name}: {word}(1)");
        }
    }
}

#[test]
fn man_pages_have_every_option_of_the_help() {
    let host = crate::host!();
    for name in names(&host) {
        let help = match &*name {
            "nsl-init" => host.command(env!("NSL_INIT"), ["--help"]).run().stdout(),
            _ => host.nsl(name.split('-').skip(1).chain(["--help"])).run().stdout(),
        };
        let page = plain(&name);
        // Not those that a wrapped line happens to begin with.
        let lines = help.lines().filter(|line| (2..=6).contains(&(line.len() - line.trim_start().len())));
        let options = lines.filter_map(|line| line.trim_start().strip_prefix('-')?.split(['\t', ' ', ',', ';']).next());
        let missing: Vec<_> = options.filter(|option| !page.contains(&format!("\n-{option}"))).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} in\n{page}");
    }
}

/// cargo's own list is the measure: crates that are linked in, without procedural macros.
#[test]
fn notices_have_every_crate_that_is_linked_in() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(ROOT).args(["tree", "--offline", "--package", "nsl", "--package", "nsl-init"]);
    let output = cargo.args(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]).output();
    let tree = String::from_utf8(output.expect("run cargo").stdout).unwrap();
    let crates = tree.lines().filter(|line| !line.is_empty() && !line.starts_with("nsl"));
    let mut crates: Vec<_> = crates.map(|line| line.trim_end_matches(" (*)").replace(" v", " ")).collect();
    crates.sort_unstable();
    crates.dedup();
    let notices = fs::read_to_string(pages().join("NOTICES")).expect("the notices are there");
    let is_one = |line: &&str| line.ends_with(')') && line.split(' ').nth(1).is_some_and(is_version);
    let mut names: Vec<_> = notices.lines().filter(is_one).map(|line| line.split(" (").next().unwrap()).collect();
    names.sort_unstable();
    assert!(crates.len() > 20, "{tree}");
    assert_eq!(names, crates);
    for licence in ["Permission is hereby granted", "GNU LESSER GENERAL PUBLIC LICENSE"] {
        assert!(notices.contains(licence), "{licence}");
    }
}

fn is_version(word: &str) -> bool {
    // What stands behind a plus is told of a version, and no part of its number.
    word.split('+').next().is_some_and(|number| number.split('.').count() == 3)
        && word.starts_with(|first: char| first.is_ascii_digit())
}

/// What bash, zsh or fish offers at the end of a line.
fn offered(host: &Host, shell: &str, line: &str) -> Vec<String> {
    let (script, file) = match shell {
        "bash" => (COMPLETE_IN_BASH, "nsl.bash"),
        "zsh" => (COMPLETE_IN_ZSH, "_nsl"),
        _ => (COMPLETE_IN_FISH, "nsl.fish"),
    };
    let file = put(host, &format!("completions/{file}"));
    // fish wants a home that it can write to.
    let output = host.command(shell, ["-c", script, shell, &file, line]).cwd(DIR).env("HOME", DIR).run();
    output.assert_quiet();
    let stdout = output.stdout();
    let words =
        stdout.lines().map(|line| line.split('\t').next().unwrap_or_default().trim_end_matches([' ', '/']).to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

#[track_caller]
fn offers(host: &Host, shell: &str, line: &str, expected: &[&str], others: &[&str]) {
    let offered = offered(host, shell, line);
    let has = |word: &&&str| offered.iter().any(|known| known == **word);
    let missing: Vec<_> = expected.iter().filter(|word| !has(word)).collect();
    let wrong: Vec<_> = others.iter().filter(has).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "{shell}: {line}: no {missing:?}, but {wrong:?} in {offered:?}");
}

/// Each offers the same where it knows the same.
fn assert_completes(shell: &str) {
    let host = crate::host!(shell, "sleep");
    host.sh(&format!("cd {DIR}; mkdir root work; touch rest.tar"));
    host.nsl(["run", "-d", "--network", "none", "--name", "web", "--", "sleep", "1000"]).run().assert_prints("web");
    let subcommands = crate::help::subcommands(&host);
    let subcommands: Vec<_> = subcommands.iter().map(|name| &**name).collect();
    offers(&host, shell, "nsl ", &subcommands, &["web"]);
    offers(&host, shell, "nsl r", &["run", "rm"], &["ps"]);
    offers(&host, shell, "nsl run --me", &["--memory"], &["--network"]);
    let networks = ["veth", "pasta", "none", "host"];
    offers(&host, shell, "nsl run --network ", &networks, &["root", "--ip"]);
    offers(&host, shell, "nsl run --network p", &["pasta"], &["veth"]);
    offers(&host, shell, "nsl run --log-level ", &["error", "trace"], &["root"]);
    offers(&host, shell, "nsl run --cap-drop NET_", &["NET_ADMIN", "NET_RAW"], &["KILL"]);
    offers(&host, shell, "nsl run --stop-signal T", &["TERM"], &["HUP"]);
    offers(&host, shell, "nsl kill -s ", &["TERM", "HUP"], &["web"]);
    offers(&host, shell, "nsl run --rootfs r", &["root", "rest.tar"], &["work"]);
    offers(&host, shell, "nsl run --network none -- slee", &["sleep"], &["--network"]);
    offers(&host, shell, "nsl stop ", &["web"], &["root"]);
    offers(&host, shell, "nsl exec w", &["web"], &["work"]);
    host.nsl(["rm", "-f", "web"]).run().assert_prints("web");
    host.assert_clean();
}

#[test]
fn bash_completes() {
    assert_completes("bash");
}

#[test]
fn zsh_completes() {
    assert_completes("zsh");
}

#[test]
fn fish_completes() {
    assert_completes("fish");
}

/// Those that stand in no definition.
#[test]
fn values_that_are_offered_are_taken() {
    let host = crate::host!("bash");
    for option in ["--network", "--restart", "--userns", "--cap-add", "--stop-signal"] {
        for value in offered(&host, "bash", &format!("nsl run {option} ")).iter().filter(|value| !value.ends_with(':'))
        {
            let words = ["run", "--dry-run", "-d", "--name", "web", option, value, "--", "true"];
            let said = host.nsl(words).run().stderr();
            assert!(
                !said.contains("read the command line") && !said.contains("there is no "),
                "{option} {value}: {said}"
            );
        }
    }
}
