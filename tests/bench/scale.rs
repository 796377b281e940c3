//! `--scale`: what live sandboxes with a network take, of each kind of thing that a machine has little of; whether a
//! start still takes what it took without them; and whether all is as before when they are gone. No goal, no plot.
//!
//! What the kernel has in use is the whole machine's, so that whatever else runs shows in it: do it on a quiet one.
//! The programs' private memory, their descriptors and mounts are those of some of the sandboxes.

mod limits;
mod sample;
mod snapshot;

use crate::host::Host;
use crate::measure::{Arena, Outcome};
use crate::population::{End, Population};
use crate::programs::Programs;
use crate::world::World;
use crate::{Result, many};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use sample::Sample;
use snapshot::{Snapshot, settle};
use std::fmt::Write;

/// What was seen beside so many live sandboxes.
struct Step {
    live: usize,
    /// The start of one more on a host without any, and beside them: medians, in ms.
    starts: [f64; 2],
    /// The CPU time of such starts, in ms: what else the machine does has less of a share in it.
    cpu: [f64; 2],
    snapshot: Snapshot,
    sample: Sample,
}

/// Leaves this process in `home`.
pub fn run(programs: &Programs, home: &World, lives: &[usize], rounds: usize, host: &Host) -> Result<()> {
    print!("{host}");
    let crowded = World::create(&programs.floor)?;
    // What stays of the first sandbox on a host, its table, is not of those that are counted.
    let fresh = Snapshot::take()?;
    let mut first = Population::new(programs, &["run"])?;
    first.grow(1)?;
    first.end()?;
    settle(&fresh);

    let before = Snapshot::take()?;
    let mut population = Population::new(programs, &["run"])?;
    let mut steps = Vec::new();
    for &live in lives {
        if let Err(refusal) = population.grow(live) {
            println!("\nthe end, with {} live: {refusal}", population.launchers.len());
            break;
        }
        let hosts = [home, &crowded];
        let starts = starts(programs, hosts, rounds)?;
        let cpu = [cpu_of_starts(programs, home, rounds)?, cpu_of_starts(programs, &crowded, rounds)?];
        let (snapshot, sample) = (Snapshot::take()?, Sample::take(&population.launchers)?);
        steps.push(Step { live, starts, cpu, snapshot, sample });
        eprintln!("{live} live: a start takes {:.2} ms, on a host without any {:.2} ms", starts[1], starts[0]);
    }
    let end = population.end()?;
    settle(&before);
    let after = Snapshot::take()?;
    print!("{}", render(&before, &steps, &after, &end));
    home.enter()
}

fn starts(programs: &Programs, hosts: [&World; 2], rounds: usize) -> Result<[f64; 2]> {
    let [none, beside] = many::starts(programs, hosts, rounds)?;
    let median = |outcome: &Outcome| match (outcome, outcome.summary()) {
        (_, Some(summary)) => Ok(summary.median),
        (Outcome::Failed(error), _) => Err(error.clone()),
        _ => Err("a start was not measured".to_owned()),
    };
    Ok([median(&none)?, median(&beside)?])
}

/// The mean of all that such a start waits for: nsl, its init and the command. Leaves this process in `host`.
fn cpu_of_starts(programs: &Programs, host: &World, rounds: usize) -> Result<f64> {
    host.enter()?;
    let arena = Arena::new(&programs.folder);
    let start = many::start(programs);
    let before = cpu_of_children()?;
    for _ in 0..rounds {
        arena.time(&start)?;
    }
    Ok((cpu_of_children()? - before) / rounds as f64)
}

/// In ms, of those that have been waited for.
fn cpu_of_children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| format!("cannot read CPU times: {error}"))?;
    let time = usage.user_time() + usage.system_time();
    Ok(time.num_microseconds() as f64 / 1e3)
}

fn render(before: &Snapshot, steps: &[Step], after: &Snapshot, end: &End) -> String {
    let mut text = String::new();
    let mut row = |name: &str, cells: Vec<String>, left: Option<f64>| {
        let left = left.map_or_else(String::new, |left| format!("{left:+.0}"));
        let mut line = format!("{name:<36}");
        for cell in cells {
            let _ = write!(line, " {cell:>10}");
        }
        let _ = writeln!(text, "{}", format!("{line} {left:>14}").trim_end());
    };
    let cells = |figure: &dyn Fn(&Step) -> f64, digits: usize| -> Vec<String> {
        let show = |figure: f64| if figure.is_finite() { format!("{figure:.digits$}") } else { String::new() };
        steps.iter().map(|step| show(figure(step))).collect()
    };
    row("\nlive sandboxes", steps.iter().map(|step| step.live.to_string()).collect(), None);
    row("start on a host without any, ms", cells(&|step| step.starts[0], 2), None);
    row("start beside them, ms", cells(&|step| step.starts[1], 2), None);
    row("ratio", cells(&|step| step.starts[1] / step.starts[0], 2), None);
    row("CPU time, without any, ms", cells(&|step| step.cpu[0], 2), None);
    row("CPU time, beside them, ms", cells(&|step| step.cpu[1], 2), None);
    for (index, name) in sample::NAMES.iter().enumerate() {
        row(name, cells(&|step| step.sample.0[index], 1), None);
    }
    for (index, name) in snapshot::NAMES.iter().enumerate() {
        let each = |step: &Step| (step.snapshot.0[index] - before.0[index]) / step.live as f64;
        row(name, cells(&each, 2), Some(after.0[index] - before.0[index]));
    }
    let _ = writeln!(
        text,
        "\nThe figures are those of one sandbox, the last column what is left of all when they have ended."
    );
    let rules = if after.1 == before.1 { "as before" } else { "not as before" };
    let (processes, devices) = (end.processes, end.devices);
    let _ = writeln!(
        text,
        "end: no process after {processes:.2} s, no device after {devices:.2} s; nft's rules are {rules}"
    );
    if let Some(last) = steps.last() {
        text.push_str(&snapshot::caches(before, &last.snapshot, last.live));
        text.push_str(&limits::render(before, &last.snapshot, &last.sample, last.live));
    }
    text
}
