//! The rows as a table of 100 columns, or as one JSON object.

use super::rows::Row;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

const COLUMNS: usize = 100;

/// A table: when each step began, how long it worked or waited, in µs; whose it is; its words.
pub(super) fn text(rows: &[Row], started: Option<Duration>, total: Duration) -> String {
    let mut text = match started {
        Some(started) => format!("nsl: the command started {} µs after nsl, which ended", started.as_micros()),
        None => "nsl: the command did not start; nsl ended".to_owned(),
    };
    let _ = writeln!(text, " after {} µs", total.as_micros());
    let _ = writeln!(text, "{:>9} {:>8} {:>8}  {:<7}  step", "at", "worked", "waited", "who");
    for row in rows {
        let (at, took) = row.micros();
        let took = took.map_or_else(|| "no end".to_owned(), |took| took.to_string());
        let (worked, waited) = if row.waits { ("", &*took) } else { (&*took, "") };
        let start = format!("{at:>9} {worked:>8} {waited:>8}  {:<7}  {:2$}", row.side.word(), "", 2 * row.depth);
        let words = row.words();
        for (index, line) in wrapped(&words, COLUMNS - start.len()).iter().enumerate() {
            let start = if index == 0 { &start } else { &" ".repeat(start.len()) };
            let _ = writeln!(text, "{start}{line}");
        }
    }
    text
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

/// All times are in µs from the start of nsl.
#[derive(Serialize)]
struct Report<'a> {
    started_us: Option<u128>,
    total_us: u128,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    side: &'static str,
    step: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    with: &'a [String],
    depth: usize,
    wait: bool,
    at_us: u128,
    took_us: Option<u128>,
}

pub(super) fn json(rows: &[Row], started: Option<Duration>, total: Duration) -> String {
    let step = |row| {
        let Row { side, step, with, depth, waits, .. }: &Row = row;
        let (at_us, took_us) = row.micros();
        Step { side: side.word(), step, with, depth: *depth, wait: *waits, at_us, took_us }
    };
    let started_us = started.map(|started| started.as_micros());
    let report = Report { started_us, total_us: total.as_micros(), steps: rows.iter().map(step).collect() };
    serde_json::to_string(&report).map(|line| line + "\n").unwrap_or_default()
}
