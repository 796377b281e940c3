//! Row 4: what an init adds to a command that is started as PID 1 of a new PID namespace.

use crate::Result;
use crate::measure::{Arena, Contender, Outcome, words};
use crate::programs::{Programs, installed};
use crate::proof::Proof;
use crate::report::{Goal, Line, Panel, Report, Side};
use std::path::{Path, PathBuf};

/// The inits that are compared, the yardstick of the goals first.
pub const PEERS: [&str; 4] = ["tini-static", "tini", "dumb-init", "catatonit"];
const PANEL: Panel = Panel { title: "What an init adds to a start", note: "ms beyond a bare exec as PID 1" };

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
        let program = installed(name);
        Init { name, program, side: Side::Peer }
    });
    let ours = Init { name: "nsl-init", program: programs.init.clone(), side: Side::Ours };
    peers.into_iter().chain([ours]).collect()
}

pub fn run(programs: &Programs, rounds: usize, report: &mut Report) {
    let arena = Arena::new(&programs.folder);
    let starter = words(&programs.floor, "pid --");
    let under = |name, init: &Path| {
        let before = [starter.as_slice(), &words(init, "--")].concat();
        Contender::new(name, &before, programs.commands(), Proof::Init).needs(init)
    };
    let bare = Contender::new("bare true as PID 1", &starter, programs.commands(), Proof::Nothing);
    let ours = under("nsl-init", &programs.init);
    let peers = PEERS.map(|name| under(name, &installed(name)));
    let contenders: Vec<Contender> = [bare, ours].into_iter().chain(peers).collect();
    let outcomes = arena.compete(&contenders, rounds);

    let beyond: Vec<Outcome> = outcomes[1..].iter().map(|outcome| outcome.beyond(&outcomes[0])).collect();
    report.add(Line::new(4, contenders[0].name, outcomes[0].clone(), Side::Harness));
    for (peer, outcome) in PEERS.into_iter().zip(&beyond[1..]) {
        report.add(Line::new(4, peer, outcome.clone(), Side::Peer).panel(PANEL));
    }
    let line = Line::new(4, "nsl-init", beyond[0].clone(), Side::Ours).panel(PANEL);
    report.add(line.against((PEERS[0], &beyond[1])).goal(Goal::Ratio(0.25)));
}
