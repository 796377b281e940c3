//! Row 9: from sending a signal to an init, or to nsl, until its command has got it and has answered.

use crate::Result;
use crate::inits::{self, Init};
use crate::measure::Outcome;
use crate::processes::Running;
use crate::programs::Programs;
use crate::report::{Goal, Line, Panel, Report, Side, Unit};
use crate::rounds::interleave;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::io::Read;
use std::time::{Duration, Instant};

const PANEL: Panel = Panel { title: "Signal to an init until its command has answered", note: "µs" };
const PATIENCE: Duration = Duration::from_secs(5);
/// Both the init and the command are to wait again when the next signal comes.
const PAUSE: Duration = Duration::from_micros(200);
/// Whose figure is the goal's yardstick.
const YARDSTICK: &str = "tini";

struct Contender {
    name: &'static str,
    side: Side,
    installed: bool,
    running: Result<Running>,
}

pub fn run(programs: &Programs, rounds: usize, report: &mut Report) {
    let mut contenders = contenders(programs);
    let results = interleave(contenders.len(), rounds * 15, |index, _| match &mut contenders[index].running {
        Ok(running) => exchange(running),
        Err(error) => Err(error.clone()),
    });
    let outcome = |(contender, result): (&Contender, Result<_>)| {
        if contender.installed { result.into() } else { Outcome::NotInstalled }
    };
    let outcomes: Vec<Outcome> = contenders.iter().zip(results).map(outcome).collect();
    let yardstick = contenders.iter().position(|contender| contender.name == YARDSTICK);
    for (contender, outcome) in contenders.iter().zip(&outcomes) {
        let line = Line::new(9, format!("{}: signal", contender.name), outcome.clone(), contender.side);
        let line = line.unit(Unit::Microseconds).panel(PANEL);
        report.add(match (contender.side, yardstick) {
            (Side::Ours, Some(index)) => line.against((YARDSTICK, &outcomes[index])).goal(Goal::Ratio(1.5)),
            _ => line,
        });
    }
}

/// Everyone, waiting for signals.
fn contenders(programs: &Programs) -> Vec<Contender> {
    let task: [&OsStr; 2] = [programs.task.as_ref(), "answer".as_ref()];
    let bare = Running::as_pid_one(programs, &task, PATIENCE);
    let mut all = vec![Contender { name: "no init", side: Side::Harness, installed: true, running: bare }];
    for Init { name, program, side } in inits::all(programs) {
        let words: Vec<&OsStr> = [program.as_ref(), "--".as_ref()].into_iter().chain(task).collect();
        let running = Running::as_pid_one(programs, &words, PATIENCE);
        all.push(Contender { name, side, installed: program.is_file(), running });
    }
    let options = ["run", "--network", "none", "--"].map(OsStr::new);
    let words: Vec<&OsStr> = options.into_iter().chain(task).collect();
    let running = Running::itself(&programs.nsl, &words, PATIENCE);
    all.push(Contender { name: "nsl run", side: Side::Ours, installed: true, running });
    all
}

/// The microseconds of one signal and its answer.
fn exchange(running: &mut Running) -> Result<f64> {
    std::thread::sleep(PAUSE);
    let target = Pid::from_raw(running.target as i32);
    let mut answer = [0];
    let begin = Instant::now();
    kill(target, Signal::SIGUSR1).map_err(|error| format!("cannot signal: {error}"))?;
    running.output.read_exact(&mut answer).map_err(|error| format!("no answer: {error}"))?;
    let elapsed = begin.elapsed();
    if i32::from(answer[0]) == Signal::SIGUSR1 as i32 {
        Ok(elapsed.as_secs_f64() * 1e6)
    } else {
        Err(format!("signal {} came where SIGUSR1 was sent", answer[0]))
    }
}
