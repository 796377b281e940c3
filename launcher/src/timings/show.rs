//! The rows as a table of 100 columns, or as one JSON object.

use super::rows::Row;
use crate::error::Error;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

const COLUMNS: usize = 100;

/// All that is known at the end.
pub(super) struct Times<'a> {
    pub rows: &'a [Row],
    /// When the command was executed.
    pub started: Option<Duration>,
    /// How long nsl has lived.
    pub total: Duration,
}

impl Times<'_> {
    /// When each step began, how long it worked or waited, in µs; who takes it; its words, indented if it is a part of
    /// another.
    pub fn text(&self) -> String {
        let mut text = match self.started {
            Some(started) => format!("nsl: the command started {} µs after nsl, which ended", started.as_micros()),
            None => "nsl: the command did not start; nsl ended".to_owned(),
        };
        let _ = writeln!(text, " after {} µs", self.total.as_micros());
        let _ = writeln!(text, "{:>9} {:>8} {:>8}  {:<7}  step", "at", "worked", "waited", "who");
        for row in self.rows {
            let (at, took) = row.micros();
            let took = took.map_or_else(|| "no end".to_owned(), |took| took.to_string());
            let (worked, waited) = if row.waits { ("", &*took) } else { (&*took, "") };
            let indent = 2 * row.depth;
            let start = format!("{at:>9} {worked:>8} {waited:>8}  {:<7}  {:indent$}", row.side.word(), "");
            for (index, line) in wrapped(&row.words(), COLUMNS.saturating_sub(start.len())).iter().enumerate() {
                let start = if index == 0 { &start } else { &" ".repeat(start.len()) };
                let _ = writeln!(text, "{start}{line}");
            }
        }
        text
    }

    /// One object, a line; docs/driving.md has the schema.
    pub fn json(&self, error: Option<&Error>) -> String {
        let step = |row| {
            let Row { side, step, with, depth, waits, .. }: &Row = row;
            let (at_us, took_us) = row.micros();
            Step { side: side.word(), words: step, with, depth: *depth, wait: *waits, at_us, took_us }
        };
        let report = Report {
            started_us: self.started.map(|started| started.as_micros()),
            total_us: self.total.as_micros(),
            error: error.map(ToString::to_string),
            steps: self.rows.iter().map(step).collect(),
        };
        serde_json::to_string(&report).map(|line| line + "\n").unwrap_or_default()
    }
}

/// Lines of so many columns, unless a word is longer; nothing in them moves a terminal's cursor.
fn wrapped(words: &str, columns: usize) -> Vec<String> {
    let safe: String = words.chars().map(|one| if one.is_control() { '?' } else { one }).collect();
    let mut lines: Vec<String> = Vec::new();
    for word in safe.split(' ') {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= columns) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The object. All times are in µs from the start of nsl.
#[derive(Serialize)]
struct Report<'a> {
    started_us: Option<u128>,
    total_us: u128,
    error: Option<String>,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    side: &'static str,
    #[serde(rename = "step")]
    words: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    with: &'a [String],
    depth: usize,
    wait: bool,
    at_us: u128,
    took_us: Option<u128>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_move_no_cursor() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a longer-than-that b", 5), ["a", "longer-than-that", "b"]);
        assert_eq!(wrapped("red\u{1b}[31m\nline", 80), ["red?[31m?line"]);
    }
}
