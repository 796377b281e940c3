//! The report as an SVG of horizontal bars, a panel for each kind of figure, readable on light and dark pages.

use crate::report::{Line, Panel, Report, Side, Summary};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const NAMES: f64 = 230.0;
const BARS: f64 = 400.0;
const STEP: f64 = 24.0;
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#333}.title{font-weight:600}.small{font-size:11px;fill:#777}\
.ours{fill:#d9652b}.peer{fill:#6b8cae}.floor,.harness{fill:#a3a3a3}.spread{stroke:#333;stroke-width:1.2;opacity:.65}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.small{fill:#999}.spread{stroke:#eee}}";

pub fn render(report: &Report) -> String {
    let mut panels: Vec<Panel> = report.lines.iter().filter_map(|line| line.panel).collect();
    panels.dedup();
    let mut body = String::new();
    let mut top = 24.0;
    for panel in panels {
        top = draw_panel(&mut body, panel.title, &bars(report, panel), top);
    }
    let fact = |name| report.host.0.iter().find(|fact| fact.0 == name).map_or("", |fact| &fact.1);
    let note = format!(
        "Median and p10–p90 of {} rounds; Linux {}, {}, {}",
        fact("rounds"),
        fact("kernel"),
        fact("CPU"),
        fact("date")
    );
    let _ = writeln!(body, "<text class=\"small\" x=\"12\" y=\"{top}\">{}</text>", escape(&note));
    let height = top + 14.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>nsl: benchmark</title>\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

/// What a panel shows: each name once, the quickest or smallest first.
fn bars<'a>(report: &'a Report, panel: Panel) -> Vec<(&'a Line, Summary)> {
    let mut bars: Vec<(&Line, Summary)> = Vec::new();
    for line in report.lines.iter().filter(|line| line.panel == Some(panel)) {
        if let Some(summary) = line.outcome.summary()
            && bars.iter().all(|(other, _)| other.what != line.what)
        {
            bars.push((line, summary));
        }
    }
    bars.sort_by(|left, right| left.1.median.total_cmp(&right.1.median));
    bars
}

/// Draws below `top`; gives the next panel's top.
fn draw_panel(body: &mut String, title: &str, bars: &[(&Line, Summary)], top: f64) -> f64 {
    let _ = writeln!(body, "<text class=\"title\" x=\"12\" y=\"{top:.0}\">{}</text>", escape(title));
    let longest = bars.iter().map(|(_, summary)| summary.high).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| value.max(0.0) / longest * BARS;
    let mut y = top + 10.0;
    for (line, summary) in bars {
        let (length, low, high) = (scale(summary.median), NAMES + scale(summary.low), NAMES + scale(summary.high));
        let (base, middle) = (y + 15.0, y + 10.0);
        let _ = writeln!(
            body,
            "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{}\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"16\" rx=\"2\"/>\
             <line class=\"spread\" x1=\"{low:.1}\" y1=\"{middle:.1}\" x2=\"{high:.1}\" y2=\"{middle:.1}\"/>\
             <text x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            NAMES - 8.0,
            escape(&line.what),
            class(line.side),
            y + 2.0,
            high.max(NAMES + length) + 8.0,
            line.unit.show(summary.median),
        );
        y += STEP;
    }
    y + 30.0
}

fn class(side: Side) -> &'static str {
    match side {
        Side::Ours => "ours",
        Side::Peer => "peer",
        Side::Floor => "floor",
        Side::Harness => "harness",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
