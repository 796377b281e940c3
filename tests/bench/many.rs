//! Row 7: the start of a sandbox with a network beside many that live, against one on a host that has none; and how
//! long the end of all of them takes. The two hosts are two worlds, in which starts take turns.

use crate::Result;
use crate::measure::{Arena, Contender, Outcome, words};
use crate::population::{End, Population};
use crate::programs::Programs;
use crate::proof::Proof;
use crate::report::{Goal, Line, Panel, Report, Side, Unit};
use crate::rounds::interleave;
use crate::world::World;

const PANEL: Panel = Panel { title: "Start of a sandbox with a network beside others", note: "ms" };
/// What the goals are about; with fewer there is no verdict.
const GOAL: usize = 1000;

/// Leaves this process in `home`.
pub fn run(programs: &Programs, home: &World, live: usize, rounds: usize, report: &mut Report) -> Result<()> {
    let crowded = World::create(&programs.floor)?;
    let measured = measure(programs, [home, &crowded], live, rounds);
    home.enter()?;
    let (alone, beside, ends) = match measured {
        Ok(([alone, beside], end)) => (alone, beside, end.into()),
        Err(error) => {
            let failed = Outcome::Failed(error);
            (failed.clone(), failed.clone(), [failed.clone(), failed])
        }
    };
    let goal = |line: Line, goal| if live >= GOAL { line.goal(goal) } else { line };
    let figure = |what: String, outcome: &Outcome| Line::new(7, what, outcome.clone(), Side::Ours);
    report.add(figure("nsl run beside none".to_owned(), &alone).panel(PANEL));
    let beside = figure(format!("nsl run beside {live}"), &beside).panel(PANEL);
    report.add(goal(beside.against(("none", &alone)), Goal::Ratio(1.3)));
    let [processes, devices] = &ends;
    let end = figure(format!("end of {live}: processes"), processes).unit(Unit::Seconds);
    report.add(goal(end, Goal::Value(3.0)));
    report.add(figure(format!("end of {live}: devices"), devices).unit(Unit::Seconds));
    if live < GOAL {
        report.remark(format!("row 7: the goals are about {GOAL} live sandboxes, not {live}: no verdict"));
    }
    Ok(())
}

fn measure(programs: &Programs, hosts: [&World; 2], live: usize, rounds: usize) -> Result<([Outcome; 2], End)> {
    hosts[1].enter()?;
    let mut population = Population::new(programs, &["run"])?;
    population.grow(live)?;
    let starts = starts(programs, hosts, rounds)?;
    hosts[1].enter()?;
    Ok((starts, population.end()?))
}

pub fn start(programs: &Programs) -> Contender {
    Contender::new("nsl run", &words(&programs.nsl, "run --"), programs.commands(), Proof::Connected)
}

/// The milliseconds of starts in either world, in turns.
pub fn starts(programs: &Programs, hosts: [&World; 2], rounds: usize) -> Result<[Outcome; 2]> {
    let arena = Arena::new(&programs.folder);
    let start = start(programs);
    for host in hosts {
        host.enter()?;
        arena.admit(&start)?;
    }
    let times = interleave(2, rounds, |index, _| {
        hosts[index].enter()?;
        arena.time(&start)
    });
    let mut times = times.into_iter().map(Outcome::from);
    times.next().zip(times.next()).map(|(alone, beside)| [alone, beside]).ok_or_else(|| "no starts".to_owned())
}

impl From<End> for [Outcome; 2] {
    fn from(end: End) -> Self {
        [end.processes, end.devices].map(|seconds| Outcome::Measured(vec![seconds]))
    }
}
