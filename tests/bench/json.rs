//! The report as JSON, for those who compare one run with another.

use crate::measure::Outcome;
use crate::report::{Goal, Line, Report};

pub fn render(report: &Report) -> String {
    let host = report.host.0.iter().map(|(name, value)| format!("    {}: {}", text(name), text(value)));
    let lines = report.lines.iter().map(|entry| format!("    {}", line(entry)));
    let remarks = report.remarks.iter().map(|remark| format!("    {}", text(remark)));
    format!(
        "{{\n  \"host\": {{\n{}\n  }},\n  \"lines\": [\n{}\n  ],\n  \"remarks\": [\n{}\n  ]\n}}\n",
        host.collect::<Vec<_>>().join(",\n"),
        lines.collect::<Vec<_>>().join(",\n"),
        remarks.collect::<Vec<_>>().join(",\n"),
    )
}

fn line(line: &Line) -> String {
    let mut object =
        format!("{{\"row\": {}, \"what\": {}, \"unit\": {}", line.row, text(&line.what), text(line.unit.name()));
    let mut add = |name: &str, value: String| object.extend([", \"", name, "\": ", &value]);
    match (&line.outcome, line.outcome.summary()) {
        (_, Some(summary)) => {
            add("median", number(summary.median));
            add("p10", number(summary.low));
            add("p90", number(summary.high));
            add("runs", summary.runs.to_string());
        }
        (Outcome::Failed(error), _) => add("failed", text(error)),
        _ => add("installed", "false".to_owned()),
    }
    if let Some((ratio, name)) = line.ratio {
        add("ratio", number(ratio));
        add("against", text(name));
    }
    match line.goal {
        Some(Goal::Ratio(limit)) => add("goal_ratio", number(limit)),
        Some(Goal::RatioAtLeast(limit)) => add("goal_ratio_at_least", number(limit)),
        Some(Goal::Value(limit)) => add("goal", number(limit)),
        None => {}
    }
    if let Some(met) = line.met() {
        add("met", met.to_string());
    }
    object.push('}');
    object
}

/// Four digits after the point: a tenth of a microsecond.
fn number(value: f64) -> String {
    format!("{value:.4}")
}

fn text(value: &str) -> String {
    let mut quoted = String::from('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => quoted.extend(format!("\\u{:04x}", control as u32).chars()),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
