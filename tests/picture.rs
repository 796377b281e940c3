//! docs/terminal.svg, which the README shows: what a terminal shows when somebody types `TYPED`, as it was when the
//! picture was drawn. Numbers that another run has otherwise count for nothing here, as in the documents.

use crate::documents::{ROOT, line_is_as_shown};
use crate::pty::Pty;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Has the picture drawn anew.
const REWRITE: &str = "NSL_TESTS_REWRITE_PICTURE";

/// The prompts of bash on the host and inside, where Debian's default is in force.
const OUTSIDE: &str = "$ ";
const INSIDE: &str = "root@nsl:/# ";
/// What is typed, and the prompt that comes next.
const TYPED: [(&str, &str); 7] = [
    ("nsl run -- bash", INSIDE),
    ("ps -eo pid=,comm=", INSIDE),
    ("ip -brief -4 address show eth0", INSIDE),
    ("rm /etc/passwd; exit", OUTSIDE),
    ("ls /etc/passwd", OUTSIDE),
    ("nsl run -d --name web -p 8080:80 -w /srv -- busybox httpd -f", OUTSIDE),
    ("nsl ps", OUTSIDE),
];
const MOST_LINES: usize = 16;

/// Of letters and lines, in pixels.
const ADVANCE: f64 = 8.4;
const FONT: f64 = 14.0;
const LINE: f64 = 20.0;
const MARGIN: f64 = 18.0;

fn path() -> PathBuf {
    Path::new(ROOT).join("docs/terminal.svg")
}

/// A text as the file has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The picture of a terminal with these lines. It has a ground of its own, for light and dark pages alike; each text is
/// made to fit its columns, whatever font there is.
fn draw(lines: &[String]) -> String {
    let columns = lines.iter().map(String::len).max().unwrap_or_default();
    let at = |count: usize, step: f64| MARGIN + step * f64::from(u32::try_from(count).expect("a small picture"));
    let (width, height) = (at(columns, ADVANCE) + MARGIN, at(lines.len(), LINE) + MARGIN);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img" xml:space="preserve">
<title>nsl in a terminal</title>
<style>
text {{ font: {FONT}px ui-monospace, Menlo, "DejaVu Sans Mono", Consolas, monospace; fill: #c9d1d9; white-space: pre }}
.outside {{ fill: #7ee787 }}
.inside {{ fill: #ffa657 }}
.typed {{ fill: #ffffff; font-weight: bold }}
</style>
<rect x="0.5" y="0.5" width="{:.0}" height="{:.0}" rx="8" fill="#0d1117" stroke="#444c56"/>
"##,
        width - 1.0,
        height - 1.0
    );
    for (number, line) in lines.iter().enumerate() {
        let mut column = 0;
        for (class, text) in parts(line) {
            let (x, y) = (at(column, ADVANCE), at(number, LINE) + FONT);
            let length = at(text.len(), ADVANCE) - MARGIN;
            let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
            let (count, text) = (text.len(), escaped(text));
            let _ = writeln!(svg, "<text{class} x=\"{x:.1}\" y=\"{y:.0}\" textLength=\"{length:.1}\">{text}</text>");
            column += count;
        }
    }
    svg + "</svg>\n"
}

/// A prompt and what is typed behind it, or what is printed.
fn parts(line: &str) -> Vec<(&'static str, &str)> {
    for (class, prompt) in [("outside", OUTSIDE), ("inside", INSIDE)] {
        if let Some(typed) = line.strip_prefix(prompt) {
            return vec![(class, &line[..prompt.len()]), ("typed", typed)];
        }
    }
    vec![("", line)]
}

/// The lines of a picture that `draw` has made.
fn lines(svg: &str) -> Vec<String> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for (attributes, text) in svg.lines().filter_map(|line| line.strip_prefix("<text")?.split_once('>')) {
        let text = unescaped(text.trim_end_matches("</text>"));
        let y = attributes.split("y=").nth(1).and_then(|rest| rest.split('"').nth(1)).expect("a text has its place");
        match lines.last_mut().filter(|(last, _)| *last == y) {
            Some((_, line)) => line.push_str(&text),
            None => lines.push((y, text)),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

/// What a terminal shows, line by line, without the prompt at its end.
fn shown(pty: &Pty) -> Vec<String> {
    let all = pty.all().replace("\r\n", "\n");
    assert!(!all.contains(['\r', '\x1b']), "more than lines of text is shown: {all:?}");
    let mut lines: Vec<_> = all.lines().map(|line| line.trim_end().to_owned()).collect();
    assert_eq!(lines.pop().as_deref(), Some(OUTSIDE.trim_end()));
    lines
}

/// Words, and `…` for each number, and for the time that is so short that it has none.
fn pattern(line: &str) -> String {
    let mut pattern = String::new();
    for letter in line.replace("less than a second", "0").split_ascii_whitespace().collect::<Vec<_>>().join(" ").chars()
    {
        match letter {
            '0'..='9' if pattern.ends_with('…') => {}
            '0'..='9' => pattern.push('…'),
            _ => pattern.push(letter),
        }
    }
    pattern
}

#[test]
fn the_picture_of_a_terminal_shows_what_happens() {
    let host = crate::host!("bash", "busybox", "ps");
    let bash = host.command("bash", ["--noediting", "--norc"]).env("PS1", OUTSIDE);
    // Nothing of who runs the tests: no history, no settings.
    let bash = bash.env("HISTFILE", "").env("HOME", "/var/empty");
    let mut pty = Pty::start(bash.env("PATH", "/run/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    pty.until(OUTSIDE);
    for (line, prompt) in TYPED {
        pty.line(line);
        pty.until(&format!("\n{prompt}"));
    }
    let seen = shown(&pty);
    host.nsl(["rm", "-f", "web"]).run().assert_prints("web");
    pty.line("exit");
    assert_eq!(pty.end(), 0, "{}", pty.all());
    assert!(seen.len() <= MOST_LINES, "{seen:#?}");
    if std::env::var_os(REWRITE).is_some() {
        return fs::write(path(), draw(&seen)).expect("write the picture");
    }
    let picture = fs::read_to_string(path()).expect("read the picture");
    let drawn = lines(&picture);
    let squeezed = |line: &str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let is_as_drawn = seen.len() == drawn.len()
        && seen.iter().zip(&drawn).all(|(seen, drawn)| line_is_as_shown(&squeezed(seen), &pattern(drawn)));
    assert!(is_as_drawn, "{seen:#?}\nis not what docs/terminal.svg shows:\n{drawn:#?}\n{REWRITE}=1 draws it anew");
    assert!(draw(&drawn) == picture, "docs/terminal.svg was not drawn by this; {REWRITE}=1 draws it anew");
}

#[test]
fn numbers_of_a_picture_may_be_others() {
    let is = |seen: &str, drawn: &str| line_is_as_shown(seen, &pattern(drawn));
    assert!(is("eth0@if12 10.221.0.5/31", "eth0@if7   10.221.0.113/31"));
    assert!(is("Up 2 seconds 5", "Up less than a second   7"));
    assert!(!is("eth0@if12 DOWN", "eth0@if7 UP") && !is("2 bash", "2 sh"));
}
