//! Row 10: a SIGTERM 0 to 3 ms after the launch of an init, and how often nobody ever gets it. "plain" is a PID 1 as
//! any starter makes it, whose signals the kernel drops until it blocks or catches them; "blocked" is one whose
//! starter has blocked all signals, as nsl does, so that only the init itself can lose one.

use crate::Result;
use crate::inits;
use crate::measure::Outcome;
use crate::programs::Programs;
use crate::report::{Goal, Line, Panel, Report, Side, Unit};
use crate::rounds::{Random, interleave};
use std::ffi::OsStr;
use std::process::{Command, Stdio};

const PANEL: Panel = Panel {
    title: "SIGTERM lost, sent 0–3 ms after the launch",
    note: "% of all; blocked: by a starter that blocks signals first",
};
const LATEST_US: u64 = 3000;

struct Contender<'a> {
    what: String,
    /// The way in which `task early` starts it.
    how: &'static str,
    words: Vec<&'a OsStr>,
    side: Side,
    installed: bool,
}

pub fn run(programs: &Programs, rounds: usize, report: &mut Report) {
    let inits = inits::all(programs);
    let mut contenders = Vec::new();
    for how in ["plain", "blocked"] {
        contenders.extend(inits.iter().map(|init| Contender {
            what: format!("{}, {how}: lost", init.name),
            how,
            words: vec![init.program.as_ref(), "--".as_ref()],
            side: init.side,
            installed: init.program.is_file(),
        }));
    }
    let words = [programs.nsl.as_ref(), "run".as_ref(), "--network".as_ref(), "none".as_ref(), "--".as_ref()];
    contenders.push(Contender {
        what: "nsl run: lost".to_owned(),
        how: "same",
        words: words.to_vec(),
        side: Side::Ours,
        installed: true,
    });

    let mut random = Random::new();
    let delays: Vec<u64> = (0..rounds).map(|_| random.below(LATEST_US + 1)).collect();
    let outcomes =
        interleave(contenders.len(), rounds, |index, round| lost(programs, &contenders[index], delays[round]));
    report.remark(format!("row 10: one SIGTERM to each of {rounds} starts"));
    for (contender, lost) in contenders.into_iter().zip(outcomes) {
        let share = lost.map(|all| {
            let (lost, sent) = all.iter().fold((0.0, 0.0), |(lost, sent), is_lost| (lost + is_lost, sent + 1.0));
            vec![100.0 * lost / sent]
        });
        let outcome = if contender.installed { share.into() } else { Outcome::NotInstalled };
        let line = Line::new(10, contender.what, outcome, contender.side).unit(Unit::Percent).panel(PANEL);
        // What the kernel drops before the init runs, no init can mend.
        let is_goal = contender.side == Side::Ours && contender.how != "plain";
        report.add(if is_goal { line.goal(Goal::Value(0.0)) } else { line });
    }
}

/// 1 if the signal was lost, else 0.
fn lost(programs: &Programs, contender: &Contender<'_>, delay: u64) -> Result<f64> {
    let mut start = Command::new(&programs.task);
    start.args(["early", contender.how, &delay.to_string(), "--"]).args(&contender.words);
    start.arg(&programs.task).arg("answer").env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let output = start.stdin(Stdio::null()).output().map_err(|error| format!("cannot start: {error}"))?;
    match output.status.code() {
        Some(0) => Ok(0.0),
        Some(1) => Ok(1.0),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(said.trim().lines().next_back().unwrap_or("it failed").to_owned())
        }
    }
}
