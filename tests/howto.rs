//! docs/tour.md and docs/howto-*.md: what their terminals, CI files and settings of other programs do. Their other
//! commands `documents` runs.

use crate::documents::{ROOT, is_as_shown, trimmed};
use crate::harness::{DIR, Host, NSL};
use crate::podman::Podman;
use crate::pty::Pty;
use std::fs;
use std::path::Path;

/// The path by which a shell finds nsl.
const PATH: &str = "/run/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The prompt of root's shell ends so, and so begins a line that is typed inside.
const PROMPT: &str = "# ";

fn read(document: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(ROOT).join(document)).expect("read a document")
}

/// The fences of a document in a language.
fn fences(text: &str, language: &str) -> Vec<String> {
    let opened = format!("\n```{language}\n");
    let fences = text.split(&opened).skip(1).filter_map(|rest| rest.split_once("\n```"));
    fences.map(|(fence, _)| fence.to_owned()).collect()
}

/// The one fence in a language of a document.
fn fence(document: &str, language: &str) -> String {
    let mut fences = fences(&read(document), language);
    assert_eq!(fences.len(), 1, "{document} has one fence marked {language}");
    fences.remove(0)
}

/// What is typed at a terminal, and the lines that are shown behind it.
fn typed(session: &str) -> Vec<(&str, Vec<&str>)> {
    let mut typed: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in session.lines().skip(1) {
        match (line.strip_prefix(PROMPT), typed.last_mut()) {
            (Some(words), _) => typed.push((words, Vec::new())),
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => panic!("{line:?} stands before the first line that is typed"),
        }
    }
    typed
}

/// Types each line of a session, and compares what comes; the last one ends it.
fn assert_is_as_typed(host: &Host, session: &str) {
    let command = session.lines().next().and_then(|line| line.strip_prefix("$ ")).expect("a session begins by '$ '");
    let invocation = host.command("sh", ["-c", command]).env("PATH", PATH).env("HOME", DIR);
    let mut pty = Pty::start(invocation);
    let typed = typed(session);
    let (last, others) = typed.split_last().expect("something is typed");
    pty.until(PROMPT);
    for (words, shown) in others {
        pty.line(words);
        pty.until("\r\n");
        let printed = pty.until(PROMPT);
        // The prompt's own line comes behind the last one.
        let printed = printed.rsplit_once('\n').map_or("", |(lines, _)| lines);
        assert!(is_as_shown(&trimmed(printed), &trimmed(&shown.join("\n"))), "{words}\n{printed}\nfor\n{shown:?}");
    }
    pty.line(last.0);
    pty.until("\r\n");
    for shown in &last.1 {
        pty.until(shown);
    }
    pty.end();
}

#[test]
fn a_shell_at_a_terminal_shows_what_the_tour_says() {
    let host = crate::host!("bash", "ps");
    let sessions = fences(&read("docs/tour.md"), "sh terminal");
    assert!(!sessions.is_empty(), "the tour shows a shell");
    for session in &sessions {
        assert_is_as_typed(&host, session);
    }
}

/// Reads YAML by names, and prints each script in it, with a line of `--` behind.
const SCRIPTS: &str = r#"
import sys, yaml
text = yaml.safe_load(sys.stdin)
if "jobs" in text:
    assert set(text) == {"name", True, "jobs"}, text  # YAML 1.1 reads the key `on` as true, and GitHub as text.
    [job] = text["jobs"].values()
    assert set(job) == {"runs-on", "steps"}, job
    assert all(set(step) in ({"uses"}, {"name", "run"}) for step in job["steps"]), job
    scripts = [step["run"] for step in job["steps"] if "run" in step]
else:
    [job] = text.values()
    assert set(job) == {"tags", "script"}, job
    scripts = job["script"]
for script in scripts:
    print(script.strip(), "--", sep="\n")
"#;

/// A host with a project, and with what a runner has: nsl as a tool of the project's, sudo, and a place to install to.
fn runner() -> Option<Host> {
    let mut host = Host::new(&["make", "python3", "curl"])?;
    host.sh(r#"mount -t tmpfs -o mode=755 tmpfs /usr/local/bin
        printf '#!/bin/sh\nexec "$@"\n' > /usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo
        mkdir /tmp/test/tools; cp /run/bin/nsl /tmp/test/tools/nsl
        cd /tmp/test; printf 'fetch:\n\techo source > source\ntest:\n\tcp source result; ! curl -s http://192.0.2.1\n\t-touch /etc/new\n' > Makefile"#);
    host.accept();
    Some(host)
}

/// The scripts of a CI file, as they stand there.
fn scripts(host: &Host, file: &str) -> Vec<String> {
    let output = host.command("python3", ["-c", SCRIPTS]).stdin(file).run();
    let text = output.assert_code(0).assert_quiet().stdout();
    text.split("--\n").map(str::trim).filter(|script| !script.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_workflow_of_github_does_what_the_page_says() {
    let Some(host) = runner() else { return };
    let scripts = scripts(&host, &fence("docs/howto-ci.md", "yaml github"));
    assert!(scripts.iter().any(|script| script.contains("nsl run")), "{scripts:?}");
    host.sh("chown -R daemon:daemon /tmp/test");
    for script in scripts {
        // The test is root, and the job's user is another one.
        let script = script.replace("$(id -un)", "daemon");
        host.command("sh", ["-ec", &script]).env("PATH", PATH).cwd(DIR).run().assert_code(0);
    }
    assert_eq!(host.sh("cd /tmp/test; cat result; stat -c %U result; ! ls /etc/new"), "source\ndaemon\n");
}

#[test]
fn a_job_of_gitlab_does_what_the_page_says() {
    let Some(host) = runner() else { return };
    let scripts = scripts(&host, &fence("docs/howto-ci.md", "yaml gitlab"));
    assert!(scripts.iter().any(|script| script.contains("nsl run")), "{scripts:?}");
    host.sh("chown -R 1000:1000 /tmp/test");
    for script in scripts {
        host.command("sh", ["-ec", &script]).env("PATH", PATH).as_user().cwd(DIR).run().assert_code(0);
    }
    assert_eq!(host.sh("cat /tmp/test/result; ! ls /etc/new"), "source\n");
}

#[test]
fn a_container_of_gitlabs_runner_holds_a_sandbox_as_the_page_says() {
    let mut host = crate::host!("podman", "runc", "busybox", "python3");
    let podman = Podman::new(&mut host);
    podman.host.sh(&format!("cp {NSL} {DIR}/root/nsl"));
    let script = "import sys, tomllib; print(*tomllib.loads(sys.stdin.read())['runners']['docker']['security_opt'])";
    let output = podman.host.command("python3", ["-c", script]).stdin(fence("docs/howto-ci.md", "toml")).run();
    let said = output.assert_code(0).stdout();
    assert!(read("docs/howto-ci.md").contains("`nsl run --proc host --profile build -- make test`"));
    let run = |options: &[&str], words: &[&str]| {
        let words = [&["/nsl", "run"], words, &["--network", "none", "--", "echo", "built"]].concat();
        podman.run(options, &words).run()
    };
    let options: Vec<_> = said.split_whitespace().flat_map(|option| ["--security-opt", option]).collect();
    run(&options, &["--proc", "host"]).assert_prints("built");
    // Both are needed.
    run(&[], &["--proc", "host"]).assert_code(125);
    run(&options, &[]).assert_code(125);
}

#[test]
fn what_is_typed_and_what_is_shown_are_told_apart() {
    assert_eq!(typed("$ sh\n# a b\nout\nput\n# exit"), [("a b", vec!["out", "put"]), ("exit", vec![])]);
    assert_eq!(fences("a\n```sh\nb\n```\n```sh c\nd\ne\n```\n", "sh c"), ["d\ne"]);
}
