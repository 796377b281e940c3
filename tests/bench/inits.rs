//! Row 4: what an init adds to a command that is started as PID 1 of a new PID namespace.

use crate::Result;
use crate::measure::{Arena, Contender, Outcome};
use crate::programs::{Programs, installed};
use crate::proof::Proof;
use crate::report::{Goal, Line, Report, Side};
use std::path::PathBuf;

/// The inits that are compared, the yardstick of the goals first.
pub const PEERS: [&str; 4] = ["tini-static", "tini", "dumb-init", "catatonit"];
const PANEL: &str = "Init: start beyond a bare exec, ms";

/// An init that takes part in rows 8 to 10.
pub struct Init {
    pub name: &'static str,
    pub program: PathBuf,
    pub side: Side,
}

impl Init {
    /// The outcome of one that is not there, else that of `result`.
    pub fn outcome(&self, result: &Result<Vec<f64>>) -> Outcome {
        if self.program.is_file() { result.clone().into() } else { Outcome::NotInstalled }
    }
}

/// The peers in their order, ours last.
pub fn all(programs: &Programs) -> Vec<Init> {
    let peers = PEERS.map(|name| {
        let program = installed(name).unwrap_or_else(|| PathBuf::from(name));
        Init { name, program, side: Side::Peer }
    });
    let ours = Init { name: "nsl-init", program: programs.init.clone(), side: Side::Ours };
    peers.into_iter().chain([ours]).collect()
}

pub fn run(programs: &Programs, rounds: usize, report: &mut Report) -> Result<()> {
    let arena = Arena::new(&programs.folder, &programs.command);
    let bare = Contender::new("bare true as PID 1", &programs.floor, "pid --", Proof::Nothing);
    let ours = Contender::starter("nsl-init", &programs.floor, "pid --", &programs.init, Proof::Init);
    let peers = PEERS.map(|name| {
        let init = installed(name).unwrap_or_else(|| PathBuf::from(name));
        Contender::starter(name, &programs.floor, "pid --", &init, Proof::Init)
    });
    let contenders: Vec<Contender> = [bare, ours].into_iter().chain(peers).collect();
    let outcomes = arena.compete(&contenders, rounds)?;

    let beyond: Vec<Outcome> = outcomes[1..].iter().map(|outcome| outcome.beyond(&outcomes[0])).collect();
    report.add(Line::new(4, contenders[0].name, outcomes[0].clone(), Side::Harness));
    for (peer, outcome) in PEERS.into_iter().zip(&beyond[1..]) {
        report.add(Line::new(4, peer, outcome.clone(), Side::Peer).panel(PANEL));
    }
    let line = Line::new(4, "nsl-init", beyond[0].clone(), Side::Ours).panel(PANEL);
    report.add(line.against((PEERS[0], &beyond[1])).goal(Goal::Ratio(0.25)));
    Ok(())
}
