//! Runs what README.md, the other documents beside it and those in docs/ tell a reader to run, as root in a host of
//! its own.
//!
//! A fence marked `sh` is run. If one of its lines begins with `$ `, it is a session: each such line is a command
//! (one that ends with `\` goes on in the next line), and the lines behind it are what it prints, stderr included. `…`
//! stands for any text within a line, and alone on a line for any number of lines; white space at the ends of lines
//! doesn't count. A command that is shown to print nothing must succeed. Any other `sh` fence is a script that must
//! succeed, each of its commands included. All of a document is run in one directory, in order. Lines that begin with
//! `make` are not run: their targets must be in the Makefile, as must those of every `make …` in a line of
//! indented code or between backticks.
//!
//! A fence of another language (`text`, `console-example`, `rust` …) is not run; `sh podman` is one, which `embedding`
//! runs, and so are `sh pair` of `comparison`, `sh user` of `userns` and `sh terminal` of `howto`. One without a language,
//! one that says `bash`, `shell` or `console`, and one that is never closed are mistakes.

use crate::harness::{Host, VIEW};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The project's directory.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PATIENCE: Duration = Duration::from_mins(1);

/// Something of a document that is run, and the number of its first line.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    line: usize,
    run: Run,
}

#[derive(Debug, PartialEq, Eq)]
enum Run {
    Script(String),
    Session(Vec<Command>),
}

#[derive(Debug, PartialEq, Eq)]
struct Command {
    line: usize,
    words: String,
    prints: Vec<String>,
}

/// The blocks of a document that are run, or what is wrong with it.
fn blocks(text: &str) -> Result<Vec<Block>, String> {
    blocks_of(text, "sh")
}

/// The same for what is marked with this language.
pub fn blocks_of(text: &str, run: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((opened, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let mut body = Vec::new();
        loop {
            match lines.next() {
                None => return Err(format!("line {opened}: this fence is never closed")),
                Some((_, "```")) => break,
                Some((_, inside)) if inside.starts_with("```") => {
                    return Err(format!("line {opened}: another fence begins before this one is closed"));
                }
                Some((number, inside)) => body.push((number, inside)),
            }
        }
        match language.trim() {
            language if language == run => blocks.extend(block(opened + 1, &body)?),
            language @ ("" | "bash" | "shell" | "console") => {
                return Err(format!("line {opened}: a fence marked '{language}': sh is run, text is not"));
            }
            _ => {}
        }
    }
    Ok(blocks)
}

/// One `sh` fence; None if nothing in it is to be run.
fn block(line: usize, body: &[(usize, &str)]) -> Result<Option<Block>, String> {
    if !body.iter().any(|(_, text)| text.starts_with("$ ")) {
        let script: Vec<_> = body.iter().map(|(_, text)| *text).filter(|text| !is_make(text)).collect();
        let is_empty = script.iter().all(|text| text.is_empty() || text.starts_with('#'));
        return Ok((!is_empty).then(|| Block { line, run: Run::Script(script.join("\n")) }));
    }
    let mut commands: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for (number, text) in body {
        match (text.strip_prefix("$ "), commands.last_mut()) {
            (None, Some(command)) if goes_on => {
                command.words.push('\n');
                command.words.push_str(text);
                goes_on = text.ends_with('\\');
            }
            (Some(words), _) if !goes_on => {
                commands.push(Command { line: *number, words: words.to_owned(), prints: Vec::new() });
                goes_on = words.ends_with('\\');
            }
            (None, Some(command)) => command.prints.push((*text).to_owned()),
            (Some(_), _) => return Err(format!("line {number}: the command before this one goes on")),
            (None, None) => {
                return Err(format!("line {number}: this stands before the first command, which begins with '$ '"));
            }
        }
    }
    if goes_on {
        return Err(format!("line {line}: the last command of this fence goes on"));
    }
    commands.retain(|command| !is_make(&command.words));
    Ok((!commands.is_empty()).then_some(Block { line, run: Run::Session(commands) }))
}

fn is_make(text: &str) -> bool {
    text == "make" || text.starts_with("make ")
}

/// The targets of every `make …` that stands in code, with the lines they are on.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        fenced ^= line.starts_with("```");
        let mut codes: Vec<&str> = match line.strip_prefix("    ") {
            Some(code) => vec![code],
            None if fenced => vec![line.trim_start_matches("$ ")],
            None => Vec::new(),
        };
        if !fenced {
            codes.extend(line.split('`').skip(1).step_by(2));
        }
        let codes = codes.into_iter().flat_map(|code| code.split(" && "));
        for code in codes.map(|code| code.trim_start_matches("sudo ")).filter(|code| is_make(code)) {
            let words = code.split_ascii_whitespace().skip(1);
            let words = words.take_while(|word| !word.starts_with('#') && !word.contains('=') && *word != "…");
            targets.extend(words.map(|word| (number, word.to_owned())));
        }
    }
    targets
}

/// The targets that a Makefile has.
fn rules(makefile: &str) -> Vec<&str> {
    let names = makefile.lines().filter_map(|line| line.split_once(':')).map(|(names, _)| names);
    names.filter(|names| !names.starts_with(['\t', '#', '.', ' '])).flat_map(str::split_ascii_whitespace).collect()
}

/// Is this what was shown?
pub fn is_as_shown(printed: &[&str], shown: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|skipped| is_as_shown(&printed[skipped..], rest)),
        Some((shown, rest)) => printed
            .split_first()
            .is_some_and(|(line, printed)| line_is_as_shown(line, shown) && is_as_shown(printed, rest)),
    }
}

pub fn line_is_as_shown(line: &str, shown: &str) -> bool {
    match shown.split_once('…') {
        None => line == shown,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
            ends.into_iter().any(|at| line_is_as_shown(&line[at..], rest))
        }),
    }
}

/// Lines without white space at their ends, and without empty ones at the end of all.
pub fn trimmed(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

/// The documents, by their paths in the project.
pub fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs"] {
        let entries = fs::read_dir(Path::new(ROOT).join(folder)).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| Path::new(folder).join(entry.file_name())));
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    assert!(found.contains(&PathBuf::from("README.md")), "there is no README.md in {ROOT}");
    found
}

/// A directory that a view of the host's root shows too, as it would a reader's: neither /tmp nor another mount.
pub struct Place(PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let place = Self(PathBuf::from(format!("/var/tmp/nsl-documents-{}-{name}", std::process::id())));
        let bin = place.0.join("bin");
        fs::create_dir_all(&bin).expect("make a directory for the programs");
        fs::create_dir(place.0.join("home")).expect("make a directory to run in");
        fs::copy(env!("CARGO_BIN_EXE_nsl"), bin.join("nsl")).expect("copy nsl");
        fs::copy(env!("NSL_INIT"), bin.join("nsl-init")).expect("copy nsl-init");
        place
    }

    /// Runs `script` there; its exit code and what it printed.
    pub fn sh(&self, host: &Host, options: &str, script: &str) -> (i32, String) {
        let path =
            format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.0.join("bin").display());
        let invocation = host.command("sh", [options, &format!("exec 2>&1\n{script}")]);
        // What is unpacked goes where the rest does.
        let invocation = invocation.env("NSL_STORE", self.0.join("store"));
        let output = invocation.env("PATH", path).cwd(self.0.join("home")).timeout(PATIENCE).run();
        (output.code, output.stdout())
    }
}

impl Block {
    /// Has a command that comes before one of nsl's print what that one does.
    pub fn alike(mut self) -> Self {
        if let Run::Session(commands) = &mut self.run {
            for index in 1..commands.len() {
                let (before, rest) = commands.split_at_mut(index);
                if let (Some(other), Some(own)) = (before.last_mut(), rest.first())
                    && own.words.starts_with("nsl ")
                    && other.prints.is_empty()
                {
                    other.prints.clone_from(&own.prints);
                }
            }
        }
        self
    }

    /// Says what is not as the document has it. `sh` runs a script with these options; it gives the exit code, and what
    /// was printed.
    pub fn check(&self, sh: impl Fn(&str, &str) -> (i32, String)) -> Result<(), String> {
        match &self.run {
            Run::Script(script) => match sh("-euc", script) {
                (0, _) => Ok(()),
                (code, printed) => {
                    Err(format!("line {}: this script exits with {code}; it printed\n{printed}", self.line))
                }
            },
            Run::Session(commands) => commands.iter().try_for_each(|command| {
                let (code, printed) = sh("-c", &command.words);
                let shown = command.prints.join("\n");
                let is_right = is_as_shown(&trimmed(&printed), &trimmed(&shown)) && (code == 0 || !shown.is_empty());
                let Command { line, words, .. } = command;
                let failure = || {
                    format!(
                        "line {line}: {words}\nexit code {code}, it printed\n{printed}\nand the document shows\n{shown}"
                    )
                };
                is_right.then_some(()).ok_or_else(failure)
            }),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn documents_say_what_happens() {
    let mut host = crate::host!("bash", "busybox", "curl", "git", "make", "ps", "python3", "strace");
    host.unlock("/var/tmp");
    let mut failures = String::new();
    let mut count = 0;
    for path in documents() {
        let text = fs::read_to_string(Path::new(ROOT).join(&path)).expect("read a document");
        let results = match blocks(&text) {
            Err(mistake) => vec![Err(mistake)],
            Ok(blocks) => {
                count += blocks.len();
                let place = Place::new(&path.display().to_string().replace('/', "-"));
                // What changes the host's own files gets a root for it, which is there later than the place.
                let own = text.contains("$ nsl apply").then(|| Host::with_root(&[], VIEW).expect("a host with a root"));
                let host = own.as_ref().unwrap_or(&host);
                blocks.iter().map(|block| block.check(|options, script| place.sh(host, options, script))).collect()
            }
        };
        for failure in results.into_iter().filter_map(Result::err) {
            let _ = writeln!(failures, "{}, {failure}", path.display());
        }
    }
    assert!(failures.is_empty(), "documents and programs differ\n{failures}");
    assert!(count > 0, "no document shows a command");
}

#[test]
fn documents_name_targets_that_the_makefile_has() {
    let makefile = fs::read_to_string(Path::new(ROOT).join("Makefile")).expect("read the Makefile");
    let rules = rules(&makefile);
    for path in documents() {
        let text = fs::read_to_string(Path::new(ROOT).join(&path)).expect("read a document");
        for (line, target) in targets(&text) {
            assert!(
                rules.contains(&&*target),
                "{}, line {line}: the Makefile has no target '{target}'",
                path.display()
            );
        }
    }
}

#[test]
fn scripts_and_sessions_are_told_apart() {
    let text = "a\n```sh\n# why\ntrue\nmake run\n```\n```sh\n$ echo a \\\nb\na b\n$ make test\nlots\n$ true\n```\n```text\n$ no\n```\n";
    let command = |line, words: &str, prints: &[&str]| Command {
        line,
        words: words.to_owned(),
        prints: prints.iter().map(|line| (*line).to_owned()).collect(),
    };
    let session = vec![command(8, "echo a \\\nb", &["a b"]), command(13, "true", &[])];
    assert_eq!(
        blocks(text),
        Ok(vec![
            Block { line: 3, run: Run::Script("# why\ntrue".to_owned()) },
            Block { line: 8, run: Run::Session(session) },
        ])
    );
    assert_eq!(blocks("```sh\nmake run  # builds\n```\n"), Ok(vec![]));
}

#[test]
fn mistakes_in_documents_are_told_with_their_line() {
    for (text, mistake) in [
        ("\n```sh\ntrue\n", "line 2: this fence is never closed"),
        ("```sh\n```sh\n", "line 1: another fence begins before this one is closed"),
        ("```\n```\n", "line 1: a fence marked '': sh is run, text is not"),
        ("```bash\n```\n", "line 1: a fence marked 'bash': sh is run, text is not"),
        ("```sh\nout\n$ in\n```\n", "line 2: this stands before the first command, which begins with '$ '"),
        ("```sh\n$ a \\\n$ b\n```\n", "line 3: the command before this one goes on"),
        ("```sh\n$ a \\\n```\n", "line 2: the last command of this fence goes on"),
    ] {
        assert_eq!(blocks(text), Err(mistake.to_owned()), "{text}");
    }
}

#[test]
fn ellipses_stand_for_any_text() {
    let is = |printed: &str, shown: &str| is_as_shown(&trimmed(printed), &trimmed(shown));
    assert!(is("a  \nb\n\n", "a\nb"));
    assert!(is("eth0@if7: up 1 ms\n", "eth0@if…: … ms"));
    assert!(is("a\nb\nc\nd\n", "a\n…\nd") && is("a\nd\n", "a\n…\nd") && is("", "…"));
    assert!(!is("a\nb\n", "a") && !is("a\n", "a\nb") && !is("ab\n", "a…c") && !is("", "a"));
}

#[test]
fn targets_are_found_in_code_only() {
    let text = "make it, `make a b=c && sudo make k` and `make`\n\n    make d-e   # says f\n```sh\n$ make g\nmake h\n```\n`x` make i `y`";
    let found = targets(text);
    let found: Vec<_> = found.iter().map(|(line, target)| (*line, &**target)).collect();
    assert_eq!(found, [(1, "a"), (1, "k"), (3, "d-e"), (5, "g"), (6, "h")]);
    assert_eq!(rules("A := b\nA ?= c\nall: b  ## x\n\techo c:\nd e:\n.PHONY: f\n# g: h\n"), ["A", "all", "d", "e"]);
}
