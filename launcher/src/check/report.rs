//! What is found out, as lines: for people, coloured on a terminal, and as JSON.

use crate::error::{self, Error, Result};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

type Text = Cow<'static, str>;

/// The name of a line, and behind it what was found.
const NAME: usize = 11;

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// `nsl run` works, and something that it can be asked for does not.
    Limited,
    /// `nsl run` does not work.
    Missing,
    /// Nothing of nsl's own needs it.
    Absent,
    /// It could not be found out.
    Unknown,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }

    /// Green, amber, red (ECMA-48, "SGR").
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Limited => "\x1b[33m",
            Self::Missing => "\x1b[31m",
            Self::Absent | Self::Unknown => "",
        }
    }
}

/// Something that was found, and what mends it: a message of nsl's in its two parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    pub finding: Text,
    pub mend: Option<Text>,
}

impl Told {
    pub fn new(finding: impl Into<Text>) -> Self {
        Self { finding: finding.into(), mend: None }
    }

    pub fn mend(self, mend: impl Into<Text>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }

    /// The parts of a message, in the middle of which a hint may stand: "cannot …: … (hint: …); …".
    pub fn parse(message: &str) -> Self {
        const HINT: &str = " (hint: ";
        let Some((before, rest)) = message.split_once(HINT) else { return Self::new(message.to_owned()) };
        let mut depth = 1;
        let end = rest.find(|c| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        });
        let (hint, behind) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
        Self::new(format!("{before}{behind}")).mend(hint.to_owned())
    }
}

impl From<&Error> for Told {
    fn from(error: &Error) -> Self {
        Self::parse(&error.to_string())
    }
}

/// One subject.
#[derive(PartialEq, Eq, Serialize, Debug)]
pub struct Line {
    name: &'static str,
    verdict: Verdict,
    finding: Text,
    mend: Option<Text>,
    /// What is not to be had, for the sum.
    without: Option<&'static str>,
}

impl Line {
    pub fn ok(name: &'static str, finding: impl Into<Text>) -> Self {
        Self { name, verdict: Verdict::Ok, finding: finding.into(), mend: None, without: None }
    }

    pub fn absent(name: &'static str, finding: impl Into<Text>) -> Self {
        Self { verdict: Verdict::Absent, ..Self::ok(name, finding) }
    }

    pub fn unknown(name: &'static str, finding: impl Into<Text>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::ok(name, finding) }
    }

    /// `without` is what is not to be had because of it.
    pub fn limited(name: &'static str, without: &'static str, told: Told) -> Self {
        Self { verdict: Verdict::Limited, without: Some(without), ..Self::missing(name, told) }
    }

    pub fn missing(name: &'static str, told: Told) -> Self {
        let Told { finding, mend } = told;
        Self { name, verdict: Verdict::Missing, finding, mend, without: None }
    }

    pub fn is_ok(&self) -> bool {
        self.verdict == Verdict::Ok
    }

    #[cfg(test)]
    pub fn shown(&self) -> String {
        let mut out = String::new();
        self.show(&mut out, false);
        out
    }

    fn show(&self, out: &mut String, is_coloured: bool) {
        let colour = if is_coloured { self.verdict.colour() } else { "" };
        let end = if colour.is_empty() { "" } else { "\x1b[0m" };
        let _ = write!(out, "{colour}{:7}{end}  {:NAME$} {}", self.verdict.word(), self.name, self.finding);
        if let Some(mend) = &self.mend {
            let _ = write!(out, " (hint: {mend})");
        }
    }
}

/// All of it.
#[derive(Serialize)]
pub struct Report {
    pub works: bool,
    lines: Vec<Line>,
}

impl Report {
    /// `works` is what the trials say. Where they came out well, what else was found keeps `nsl run` from nothing.
    pub fn new(mut lines: Vec<Line>, works: bool) -> Self {
        for line in lines.iter_mut().filter(|line| works && line.verdict == Verdict::Missing) {
            line.verdict = Verdict::Limited;
        }
        Self { works, lines }
    }

    pub fn print(&self, as_json: bool) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let text = if as_json {
            serde_json::to_string_pretty(self).map_err(|error| Error::new("write JSON", error.to_string()))? + "\n"
        } else {
            let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
                || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
            self.text(out.is_terminal() && !unwanted)
        };
        error::told(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    fn text(&self, is_coloured: bool) -> String {
        let mut out = String::new();
        for line in &self.lines {
            line.show(&mut out, is_coloured);
            out.push('\n');
        }
        out + &self.sum() + "\n"
    }

    fn sum(&self) -> String {
        let mut without: Vec<_> = self.lines.iter().filter_map(|line| line.without).collect();
        without.dedup();
        match (self.works, without.is_empty()) {
            (true, true) => "nsl run works here".to_owned(),
            (true, false) => format!("nsl run works here; not: {}", without.join(", ")),
            (false, _) => "nsl run does not work here: see what is missing".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> (Text, Option<Text>) {
        let Told { finding, mend } = Told::parse(message);
        (finding, mend)
    }

    #[test]
    fn a_message_is_taken_apart_wherever_its_hint_stands() {
        let parts = |finding: &'static str, mend: &'static str| (finding.into(), Some(mend.into()));
        assert_eq!(told("cannot fly: no wings"), ("cannot fly: no wings".into(), None));
        assert_eq!(told("cannot fly: no wings (hint: walk)"), parts("cannot fly: no wings", "walk"));
        assert_eq!(told("no wings (hint: walk (or run)); it falls"), parts("no wings; it falls", "walk (or run)"));
        assert_eq!(told("cut (hint: short"), parts("cut", "short"));
    }

    fn lines() -> Vec<Line> {
        vec![
            Line::ok("kernel", "new"),
            Line::limited("limits", "limits", Told::new("none").mend("boot")),
            Line::missing("proc", Told::new("masked")),
            Line::absent("systemd", "not here"),
        ]
    }

    #[test]
    fn lines_have_their_word_and_the_sum_what_is_lost() {
        let text = Report::new(lines(), false).text(false);
        let expected = "ok       kernel      new\nlimited  limits      none (hint: boot)\nmissing  proc        masked\n\
            absent   systemd     not here\nnsl run does not work here: see what is missing\n";
        assert_eq!(text, expected);
        assert_eq!(Report::new(lines().into_iter().take(1).collect(), true).sum(), "nsl run works here");
    }

    #[test]
    fn where_a_sandbox_starts_nothing_is_missing() {
        let report = Report::new(lines(), true);
        assert!(report.lines.iter().all(|line| line.verdict != Verdict::Missing));
        assert_eq!(report.sum(), "nsl run works here; not: limits");
    }

    #[test]
    fn colour_is_around_the_word_alone() {
        let text = Report::new(lines(), false).text(true);
        assert!(text.starts_with("\x1b[32mok     \x1b[0m  kernel"), "{text:?}");
        assert!(text.contains("\n\x1b[33mlimited\x1b[0m ") && text.contains("\n\x1b[31mmissing\x1b[0m "), "{text:?}");
        assert!(text.contains("\nabsent   systemd"), "{text:?}");
    }
}
