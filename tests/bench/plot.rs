//! The report as an SVG: a card of panels with horizontal bars, nsl's in another colour. It has a ground of its own, so
//! that it can be read on any page, and follows the reader's choice of light or dark.

use crate::measure::Outcome;
use crate::report::{Line, Panel, Report, Side, Summary};
use std::fmt::Write;

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 28.0;
const GAP: f64 = 36.0;
const STEP: f64 = 21.0;
const BAR: f64 = 13.0;
/// Room for the figure behind the longest bar.
const FIGURE: f64 = 64.0;
/// Above the bars of a panel, and below them: its words, its axis.
const HEAD: f64 = 42.0;
const FOOT: f64 = 44.0;
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.title{font-size:20px;font-weight:600}.panel{font-size:14px;font-weight:600}.quiet{font-size:11px;fill:#59636e}\
.name{text-anchor:end}.tick{font-size:10px;fill:#59636e;text-anchor:middle}.strong{font-weight:700}\
.ground{fill:#fff;stroke:#d1d9e0}.grid{stroke:#d1d9e0;stroke-width:1}\
.ours{fill:#d4551b}.peer{fill:#8797a9}.floor{fill:#c3ccd6}.spread{stroke:#1f2328;stroke-width:1.2;opacity:.7}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet,.tick{fill:#9198a1}.ground{fill:#0d1117;stroke:#3d444d}\
.grid{stroke:#3d444d}.ours{fill:#f0803c}.peer{fill:#6f8196}.floor{fill:#47525e}.spread{stroke:#f0f6fc}}";

pub fn render(report: &Report) -> String {
    let mut panels: Vec<Panel> = Vec::new();
    for panel in report.lines.iter().filter_map(|line| line.panel) {
        if !panels.contains(&panel) {
            panels.push(panel);
        }
    }
    let mut body = String::new();
    let mut top = heading(&mut body, report);
    // The first has the whole width, the others share it by two, and one that is left over has it again.
    let (first, others) = panels.split_at(panels.len().min(1));
    for row in first.chunks(1).chain(others.chunks(2)) {
        let width = if row.len() == 1 { WIDTH - 2.0 * MARGIN } else { (WIDTH - 2.0 * MARGIN - GAP) / 2.0 };
        let ends = row.iter().enumerate().map(|(column, panel)| {
            let place = Place { left: MARGIN + column as f64 * (width + GAP), top, width };
            draw(&mut body, *panel, &lines(report, *panel), &place)
        });
        top = ends.fold(top, f64::max);
    }
    let height = top + 6.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-labelledby=\"title\">\n<title id=\"title\">nsl beside its peers: medians with their spread</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" x=\".5\" y=\".5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"10\"/>\n{body}</svg>\n",
        WIDTH - 1.0,
        height - 1.0
    )
}

/// What is compared, how, and where; gives the place of the first panel.
fn heading(body: &mut String, report: &Report) -> f64 {
    let fact = |name| report.host.0.iter().find(|fact| fact.0 == name).map_or("", |fact| &fact.1);
    text(body, "title", MARGIN, 44.0, "nsl beside its peers");
    let how =
        format!("Medians, and by a thin line the 10th to the 90th percentile; rounds in turns: {}", fact("rounds"));
    text(body, "quiet", MARGIN, 64.0, &how);
    let (cpu, cores, kernel, date) = (fact("CPU"), fact("cores"), fact("kernel"), fact("date"));
    let whose = format!("{cpu}, {cores} cores, Linux {kernel}, load {}, {date}", fact("load before"));
    text(body, "quiet", MARGIN, 80.0, &whose);
    let mut left = WIDTH - MARGIN - 238.0;
    for (class, name, width) in [("ours", "nsl", 46.0), ("peer", "others", 62.0), ("floor", "none, or the least", 0.0)]
    {
        let _ = writeln!(body, "<rect class=\"{class}\" x=\"{left}\" y=\"34\" width=\"11\" height=\"11\" rx=\"2\"/>");
        text(body, "", left + 16.0, 44.0, name);
        left += width + 4.0;
    }
    116.0
}

/// Where a panel is drawn.
struct Place {
    left: f64,
    top: f64,
    width: f64,
}

/// What a panel shows: each name once, the shortest bar first, and last what could not be measured.
fn lines(report: &Report, panel: Panel) -> Vec<&Line> {
    let mut lines: Vec<&Line> = Vec::new();
    for line in report.lines.iter().filter(|line| line.panel == Some(panel)) {
        if lines.iter().all(|other| other.what != line.what) {
            lines.push(line);
        }
    }
    let length = |line: &Line| line.outcome.summary().map_or(f64::INFINITY, |summary| summary.median);
    lines.sort_by(|left, right| length(left).total_cmp(&length(right)));
    lines
}

/// Gives where the panel ends.
fn draw(body: &mut String, panel: Panel, lines: &[&Line], place: &Place) -> f64 {
    text(body, "panel", place.left, place.top, panel.title);
    text(body, "quiet", place.left, place.top + 16.0, panel.note);
    let names = lines.iter().map(|line| label(line).chars().count()).max().unwrap_or(0) as f64 * 7.0 + 8.0;
    let (zero, first) = (place.left + names, place.top + HEAD - 14.0);
    let bottom = first + lines.len() as f64 * STEP;
    let end = longest(lines);
    let scale = |value: f64| value.clamp(0.0, end) / end * (place.width - names - FIGURE);
    for value in ticks(end) {
        let x = zero + scale(value);
        let _ = writeln!(body, "<path class=\"grid\" d=\"M{x:.1} {first:.1}V{bottom:.1}\"/>");
        text(body, "tick", x, bottom + 13.0, &value.to_string());
    }
    for (index, line) in lines.iter().enumerate() {
        let top = first + index as f64 * STEP;
        let base = top + STEP / 2.0 + 4.0;
        let strong = if line.side == Side::Ours { " strong" } else { "" };
        text(body, &format!("name{strong}"), zero - 8.0, base, label(line));
        match line.outcome.summary() {
            Some(summary) => bar(body, line, &summary, (zero, top), &scale),
            None => text(body, "quiet", zero + 6.0, base, why(&line.outcome)),
        }
    }
    bottom + FOOT
}

fn bar(body: &mut String, line: &Line, summary: &Summary, (zero, top): (f64, f64), scale: &dyn Fn(f64) -> f64) {
    let class = match line.side {
        Side::Ours => "ours",
        Side::Peer => "peer",
        Side::Floor | Side::Harness => "floor",
    };
    let (length, low, high) = (scale(summary.median), zero + scale(summary.low), zero + scale(summary.high));
    let (above, middle) = (top + (STEP - BAR) / 2.0, top + STEP / 2.0);
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{zero:.1}\" y=\"{above:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>"
    );
    if summary.runs > 1 {
        let _ = writeln!(body, "<path class=\"spread\" d=\"M{low:.1} {middle:.1}H{high:.1}\"/>");
    }
    let strong = if line.side == Side::Ours { "strong" } else { "" };
    let figure = line.unit.show(summary.median);
    text(body, strong, high.max(zero + length) + 7.0, middle + 4.0, &figure);
}

/// The name without what the panel's title says.
fn label(line: &Line) -> &str {
    line.what.split(": ").next().unwrap_or_default()
}

fn why(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Failed(_) => "failed",
        _ => "not installed",
    }
}

/// The end of the axis: a spread far beyond all medians is cut off.
fn longest(lines: &[&Line]) -> f64 {
    let summaries = || lines.iter().filter_map(|line| line.outcome.summary());
    let median = summaries().map(|summary| summary.median).fold(0.0, f64::max);
    let high = summaries().map(|summary| summary.high).fold(0.0, f64::max);
    let longest = median.max(high.min(1.25 * median));
    if longest > 0.0 { longest } else { 1.0 }
}

/// Round numbers from 0 to `end`, three to six of them.
fn ticks(end: f64) -> Vec<f64> {
    let rough = 10_f64.powf((end / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0].map(|times| times * rough).into_iter().find(|step| end / step <= 5.0);
    let step = step.unwrap_or(10.0 * rough);
    // Whole steps, then scaled: sums of tenths are not round.
    (0..=(end / step) as u32).map(|number| (f64::from(number) * step * 1e6).round() / 1e6).collect()
}

fn text(body: &mut String, class: &str, x: f64, y: f64, words: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(body, "<text{class} x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>");
}
