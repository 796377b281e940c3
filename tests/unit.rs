//! `nsl unit`: what systemd reads from it is what was meant.

use crate::harness::{DIR, Host};
use crate::services::{remove, start};
use std::fs;

/// A line of the unit, without its name.
fn line<'a>(unit: &'a str, name: &str) -> &'a str {
    let found = unit.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("no {name} in\n{unit}"))
}

fn unit(host: &Host, words: &[&str]) -> String {
    let output = host.nsl([&["unit", "--"], words].concat()).cwd(DIR).run();
    output.assert_code(0).assert_quiet();
    output.stdout()
}

/// What systemd has to say of it.
fn verify(host: &Host, unit: &str) {
    let path = format!("{DIR}/web.service");
    fs::write(host.path(&path), unit).expect("write the unit");
    host.command("systemd-analyze", ["verify", "--recursive-errors=no", &path]).run().assert_prints("");
    fs::remove_file(host.path(&path)).expect("remove it");
}

/// The words of a command line, as systemd.syntax(7) and systemd.service(5) tell.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            None => rest.split_once(' ').unwrap_or((rest, "")),
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                let end = end.expect("a quote at the end");
                (&quoted[..end], quoted[end + 1..].trim_start())
            }
        };
        words.push(unescaped(word));
        rest = after;
    }
    words
}

fn unescaped(word: &str) -> String {
    let (mut text, mut letters) = (String::new(), word.chars());
    while let Some(c) = letters.next() {
        match c {
            '\\' => match letters.next().expect("something is escaped") {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'x' => {
                    let digits: String = letters.by_ref().take(2).collect();
                    text.push(char::from(u8::from_str_radix(&digits, 16).expect("two digits")));
                }
                other => text.push(other),
            },
            '%' | '$' => assert_eq!(letters.next(), Some(c), "doubled in {word}"),
            _ => {}
        }
        if c != '\\' {
            text.push(c);
        }
    }
    text
}

#[test]
fn a_command_is_read_as_it_was_typed() {
    let host = crate::host!("systemd-analyze");
    let command = [
        "sh",
        "-c",
        "echo \"$HOME\" '%n' ${A} \\$x\n\techo `id`; exit 1",
        "",
        " ",
        ";",
        "-d",
        "--",
        "--restart",
        "100%",
        "$$",
        "%%",
        "\\",
        "\\\\",
        "\"",
        "a'b",
        "\u{1}\u{1b}[2J",
        "ü€",
        "@x",
        "-",
        "tr\\x41il\\",
        "#",
        "[Service]",
        "a=b",
    ];
    let unit = unit(&host, &[&["-e", "A=1 $b%c", "--"], &command[..]].concat());
    verify(&host, &unit);
    let read = words(line(&unit, "ExecStart"));
    assert_eq!(read[1..5], ["run", "-e", "A=1 $b%c", "--"]);
    assert_eq!(read[5..], command);
}

#[test]
fn what_systemd_does_itself_is_left_to_it() {
    let host = crate::host!("systemd-analyze");
    let options = ["-d", "--name", "web", "--restart", "always", "--stop-timeout", "30s", "-m", "64m", "--ready"];
    let text =
        unit(&host, &[&options[..], &["--health-cmd", "true", "--cap-add", "sys_time", "--", "sleep", "9"]].concat());
    verify(&host, &text);
    let start = words(line(&text, "ExecStart"))[1..].join(" ");
    let rest = "--stop-timeout 30s -m 64m --ready --health-cmd true --cap-add sys_time -- sleep 9";
    assert_eq!(start, format!("run --name web {rest}"));
    let lines = [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("KillMode", "mixed"),
        ("Delegate", "yes"),
        ("Restart", "always"),
        ("StartLimitIntervalSec", "0"),
        ("TimeoutStopSec", "35000ms"),
        ("WatchdogSignal", "SIGTERM"),
        ("SyslogIdentifier", "web"),
        ("WorkingDirectory", DIR),
        ("WantedBy", "multi-user.target"),
        ("NoNewPrivileges", "yes"),
        ("SuccessExitStatus", "143"),
    ];
    for (name, value) in lines {
        assert_eq!(line(&text, name), value, "{name}");
    }
    let dropped = line(&text, "CapabilityBoundingSet");
    assert!(
        dropped.starts_with("~CAP_") && dropped.contains("SYS_MODULE") && !dropped.contains("SYS_TIME"),
        "{dropped}"
    );
    let few = unit(&host, &["--restart", "on-failure:4", "--", "true"]);
    assert_eq!((line(&few, "Restart"), line(&few, "StartLimitBurst")), ("on-failure", "5"));
    let quit = unit(&host, &["--stop-signal", "QUIT", "--", "true"]);
    assert_eq!(line(&quit, "SuccessExitStatus"), "131 143");
    assert!(!few.contains("Watchdog") && !few.contains("SyslogIdentifier"), "{few}");
    verify(&host, &few);
    assert_eq!(line(&unit(&host, &["--restart", "no", "--", "true"]), "Restart"), "no");
    let all = unit(&host, &["--privileged", "--", "true"]);
    assert!(!all.contains("Capability") && !all.contains("NoNewPrivileges"), "{all}");
}

#[test]
fn a_sandbox_that_is_known_becomes_a_unit() {
    let host = crate::host!("systemd-analyze");
    start(&host, "web", &["--restart", "on-failure", "--", "sh", "-c", "exec sleep \"$0\"", "1000"]);
    let unit = host.nsl(["unit", "web"]).run();
    unit.assert_code(0).assert_quiet();
    let text = unit.stdout();
    verify(&host, &text);
    let read = words(line(&text, "ExecStart"));
    assert_eq!(read[1..].join(" "), "run --name web --network none -- sh -c exec sleep \"$0\" 1000");
    assert_eq!(line(&text, "WorkingDirectory"), "/");
    remove(&host, "web");
    host.nsl(["unit", "web"]).run().assert_refused(125, &["there is no such sandbox"]);
}

#[test]
fn what_cannot_be_a_unit_is_refused() {
    let host = crate::host!();
    for (words, told) in [
        (&["--tty", "--", "true"][..], "--tty"),
        (&["--dry-run", "--", "true"], "--dry-run"),
        (&["--status-fd", "3", "--", "true"], "--status-fd"),
        (&["--no-such-option", "--", "true"], "--no-such-option"),
        (&["--restart", "often", "-d", "--", "true"], "policy"),
        (&["--stop-timeout", "soon", "--", "true"], "--stop-timeout"),
        (&["-m", "64m"], "COMMAND"),
    ] {
        host.nsl([&["unit", "--"], words].concat()).run().assert_refused(125, &[told]);
    }
    host.sh(&format!("mkdir '{DIR}/a\\b'"));
    let odd = host.nsl(["unit", "--", "--", "true"]).cwd(format!("{DIR}/a\\b")).run();
    odd.assert_refused(125, &["takes no such path"]);
    host.sh(&format!("rmdir '{DIR}/a\\b'"));
}
