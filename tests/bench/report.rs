//! The table: lines with their figures, ratios and goals, and how a terminal shows them.

use crate::host::Host;
use crate::measure::Outcome;
use std::fmt;

pub struct Report {
    pub host: Host,
    pub lines: Vec<Line>,
    pub remarks: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Ours,
    Peer,
    Floor,
    Harness,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Microseconds,
    Seconds,
    Kibibytes,
    MegabytesPerSecond,
    Percent,
    Count,
}

/// A limit, the limit included.
#[derive(Clone, Copy)]
pub enum Goal {
    /// The most that the ratio may be.
    Ratio(f64),
    /// The least that it may be.
    RatioAtLeast(f64),
    /// The most that the median may be.
    Value(f64),
}

/// What the plot shows together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Panel {
    pub title: &'static str,
    /// The unit, and what else one needs to know.
    pub note: &'static str,
}

pub struct Line {
    pub row: u8,
    pub what: String,
    pub outcome: Outcome,
    pub side: Side,
    pub unit: Unit,
    /// The ratio of the medians, and to whose.
    pub ratio: Option<(f64, &'static str)>,
    pub goal: Option<Goal>,
    /// The plot's panel that shows it.
    pub panel: Option<Panel>,
}

/// The figures of an outcome in short; `low` and `high` are the 10th and 90th percentile.
#[derive(Clone, Copy)]
pub struct Summary {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub runs: usize,
}

impl Outcome {
    pub fn summary(&self) -> Option<Summary> {
        let Self::Measured(figures) = self else { return None };
        let mut sorted = figures.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let tenth = |tenths: usize| sorted[(last * tenths + 5) / 10];
        let median = f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]);
        Some(Summary { median, low: tenth(1), high: tenth(9), runs: sorted.len() })
    }
}

impl Line {
    pub fn new(row: u8, what: impl Into<String>, outcome: Outcome, side: Side) -> Self {
        let what = what.into();
        Self { row, what, outcome, side, unit: Unit::Milliseconds, ratio: None, goal: None, panel: None }
    }

    /// Adds the ratio to another outcome, if both have figures and the other's is above zero.
    pub fn against(mut self, (name, other): (&'static str, &Outcome)) -> Self {
        if let (Some(ours), Some(other)) = (self.outcome.summary(), other.summary())
            && other.median > 0.0
        {
            self.ratio = Some((ours.median / other.median, name));
        }
        self
    }

    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    pub fn panel(mut self, panel: Panel) -> Self {
        self.panel = Some(panel);
        self
    }

    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Whether the goal is met; none without a goal or without what it is about.
    pub fn met(&self) -> Option<bool> {
        match self.goal? {
            Goal::Ratio(limit) => Some(self.ratio?.0 <= limit),
            Goal::RatioAtLeast(limit) => Some(self.ratio?.0 >= limit),
            Goal::Value(limit) => Some(self.outcome.summary()?.median <= limit),
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.goal, self.met()) {
            (None, _) => "",
            (_, Some(true)) => "met",
            (_, Some(false)) => "missed",
            (_, None) => "not measured",
        }
    }
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Seconds => "s",
            Self::Kibibytes => "KiB",
            Self::MegabytesPerSecond => "MB/s",
            Self::Percent => "%",
            Self::Count => "",
        }
    }

    pub fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds | Self::Seconds => format!("{value:.2}"),
            Self::Microseconds | Self::Kibibytes | Self::Percent => format!("{value:.1}"),
            Self::MegabytesPerSecond | Self::Count => format!("{value:.0}"),
        }
    }
}

impl Report {
    pub fn new(host: Host) -> Self {
        Self { host, lines: Vec::new(), remarks: Vec::new() }
    }

    pub fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// Drops the lines of other rows; none when `rows` is empty.
    pub fn keep(&mut self, rows: &[u8]) {
        self.lines.retain(|line| rows.is_empty() || rows.contains(&line.row));
    }

    pub fn ours_failed(&self) -> bool {
        self.lines.iter().any(|line| line.side == Side::Ours && line.outcome.summary().is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        let (what, spread) = ("what", "p10–p90");
        writeln!(f, "\nrow  {what:<28} {:>9}      {spread:<15} {:<20} {:<8}", "median", "ratio", "goal")?;
        let mut row = 0;
        for line in &self.lines {
            let number = if line.row == row { String::new() } else { line.row.to_string() };
            row = line.row;
            writeln!(f, "{}", format!("{number:>3}  {:<28} {line}", line.what).trim_end())?;
        }
        if !self.remarks.is_empty() {
            writeln!(f)?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "{remark}"))
    }
}

/// The line's figures: what stands right of its name.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = match (&self.outcome, self.outcome.summary()) {
            (_, Some(summary)) => summary,
            (Outcome::Failed(error), _) => return write!(f, "failed: {error}"),
            _ => return write!(f, "not installed"),
        };
        let show = |value| self.unit.show(value);
        let spread = match summary.runs {
            1 => String::new(),
            _ => format!("{}–{}", show(summary.low), show(summary.high)),
        };
        let ratio = self.ratio.map_or_else(String::new, |(ratio, name)| format!("{ratio:.2} of {name}"));
        let goal = match self.goal {
            None => String::new(),
            Some(Goal::Ratio(limit)) => format!("≤ {limit}"),
            Some(Goal::RatioAtLeast(limit)) => format!("≥ {limit}"),
            Some(Goal::Value(limit)) => format!("≤ {limit} {}", self.unit.name()).trim_end().to_owned(),
        };
        let (median, unit, verdict) = (show(summary.median), self.unit.name(), self.verdict());
        write!(f, "{median:>9} {unit:<4} {spread:<15} {ratio:<20} {goal:<8} {verdict}")
    }
}
