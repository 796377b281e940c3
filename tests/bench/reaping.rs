//! Row 8: orphans that end under an init as fast as one process can make them: how long until all are reaped, what
//! CPU time the init takes for it, and whether a zombie stays. All happens on one CPU, so that the time is that of the
//! whole work, and none of the init's hides behind what makes the orphans.

use crate::Result;
use crate::inits::{self, Init, PEERS};
use crate::measure::Outcome;
use crate::processes::{Running, children_of, on_cpu, on_one_cpu, state};
use crate::programs::Programs;
use crate::report::{Goal, Line, Panel, Report, Side, Unit};
use crate::rounds::interleave;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_mins(1);
const PANEL: Panel =
    Panel { title: "Orphans reaped by an init", note: "ms, all on one CPU, most of it the making of them" };

/// Of one start of an init: milliseconds, and a number.
#[derive(Clone, Copy)]
struct Figures {
    wall: f64,
    cpu: f64,
    zombies: f64,
}

/// With the usual 200 rounds, 20 starts of each init with 5,000 orphans, which are 100,000.
pub fn run(programs: &Programs, rounds: usize, report: &mut Report) {
    let (starts, orphans) = (rounds.div_ceil(10), rounds * 25);
    let inits = inits::all(programs);
    let outcomes = on_one_cpu(|| interleave(inits.len(), starts, |index, _| start(programs, &inits[index], orphans)));
    report.remark(format!("row 8: {starts} starts of each init, {orphans} orphans each"));
    let figures = |index: usize, pick: fn(&Figures) -> f64| {
        let figures = outcomes[index].as_ref().map(|all| all.iter().map(pick).collect());
        inits[index].outcome(&figures.map_err(Clone::clone))
    };
    let all = |pick| -> Vec<Outcome> { (0..inits.len()).map(|index| figures(index, pick)).collect() };
    let (wall, cpu) = (all(|figures| figures.wall), all(|figures| figures.cpu));
    for (outcomes, what, is_wall) in [(&wall, "orphans reaped", true), (&cpu, "CPU time for it", false)] {
        for (init, outcome) in inits.iter().zip(outcomes) {
            let line = Line::new(8, format!("{}: {what}", init.name), outcome.clone(), init.side);
            let line = if is_wall { line.panel(PANEL) } else { line };
            report.add(match init.side {
                Side::Ours if is_wall => line.against((PEERS[0], &outcomes[0])).goal(Goal::Ratio(1.0)),
                Side::Ours => line.against((PEERS[0], &outcomes[0])),
                _ => line,
            });
        }
    }
    for (init, outcome) in inits.iter().zip(all(|figures| figures.zombies)) {
        let sum = match outcome {
            Outcome::Measured(counts) => Outcome::Measured(vec![counts.iter().sum()]),
            other => other,
        };
        let line = Line::new(8, format!("{}: zombies left", init.name), sum, init.side).unit(Unit::Count);
        report.add(if init.side == Side::Ours { line.goal(Goal::Value(0.0)) } else { line });
    }
}

fn start(programs: &Programs, init: &Init, orphans: usize) -> Result<Figures> {
    let orphans = orphans.to_string();
    let words: [&OsStr; 5] =
        [init.program.as_ref(), "--".as_ref(), programs.task.as_ref(), "orphans".as_ref(), orphans.as_ref()];
    let mut running = Running::as_pid_one(programs, &words, PATIENCE)?;
    let mut line = String::new();
    let mut output = BufReader::new(&mut running.output);
    output.read_line(&mut line).map_err(|error| format!("no end of the orphans: {error}"))?;
    let (nanoseconds, made) = line.trim().split_once(' ').ok_or("the task ended too early")?;
    if made != orphans {
        return Err(format!("room for {made} of {orphans} orphans"));
    }
    let left = children_of(running.target).into_iter().filter(|child| state(*child).is_some_and(|(_, is)| is == 'Z'));
    let zombies = f64::from(u32::try_from(left.count()).unwrap_or(u32::MAX));
    let cpu = on_cpu(running.target).ok_or("the kernel tells no time on the CPU")?;
    let wall = nanoseconds.parse::<f64>().map_err(|error| error.to_string())? / 1e6;
    Ok(Figures { wall, cpu, zombies })
}
