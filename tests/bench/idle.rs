//! Row 6: the private memory of nsl and of its init while a sandbox waits, beside another one: pages of nsl's file are
//! not private where two share them. What the command takes is its own affair.

use crate::Result;
use crate::measure::Outcome;
use crate::memory::read_memory;
use crate::processes::{Running, child_of, state};
use crate::programs::Programs;
use crate::report::{Goal, Line, Report, Side, Unit};
use std::ffi::OsStr;
use std::thread::sleep;
use std::time::{Duration, Instant};

const STARTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(5);
/// Two readings that are the same this far apart are those of a sandbox at rest.
const REST: Duration = Duration::from_millis(50);

pub fn run(programs: &Programs, report: &mut Report) {
    for (name, options) in [("nsl run", &["run", "--"][..]), ("--network none", &["run", "--network", "none", "--"])] {
        let readings: Result<Vec<_>> = (0..STARTS).map(|_| memory_of(programs, options)).collect();
        let outcome = |pick: fn(&(f64, f64)) -> f64| -> Outcome {
            readings.as_ref().map(|all| all.iter().map(pick).collect()).map_err(Clone::clone).into()
        };
        let line = |what: &str, pick: fn(&(f64, f64)) -> f64| {
            Line::new(6, format!("{name}: {what}"), outcome(pick), Side::Ours).unit(Unit::Kibibytes)
        };
        report.add(line("nsl", |(launcher, _)| *launcher));
        report.add(line("nsl-init", |(_, init)| *init));
        report.add(line("both", |(launcher, init)| launcher + init).goal(Goal::Value(600.0)));
    }
}

/// The private memory of both, in KiB.
fn memory_of(programs: &Programs, options: &[&str]) -> Result<(f64, f64)> {
    let words: Vec<&OsStr> = options.iter().map(OsStr::new).chain([programs.wait.as_os_str()]).collect();
    let _other = Running::itself(&programs.nsl, &words, PATIENCE)?;
    let running = Running::itself(&programs.nsl, &words, PATIENCE)?;
    let end = Instant::now() + PATIENCE;
    let mut before = None;
    while Instant::now() < end {
        let now = both(running.target)?;
        let at_rest = |pid| state(pid).is_some_and(|(_, state)| state == 'S');
        if before == Some(now) && at_rest(running.target) {
            return Ok(now);
        }
        before = Some(now);
        sleep(REST);
    }
    Err(format!("its memory changes for {} s", PATIENCE.as_secs()))
}

fn both(launcher: u32) -> Result<(f64, f64)> {
    let init = child_of(launcher).ok_or("nsl has no child")?;
    Ok((read_memory(launcher)?.1, read_memory(init)?.1))
}
