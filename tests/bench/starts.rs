//! Rows 1 to 3: the start of a sandbox, against bwrap and against the floor.

use crate::Result;
use crate::measure::{Arena, Contender};
use crate::programs::{Programs, installed};
use crate::proof::{self, Proof};
use crate::report::{Goal, Line, Report, Side};
use std::collections::BTreeMap;
use std::path::PathBuf;

const PANEL: &str = "Start of a sandbox that runs true, ms";
/// Places in the list of contenders.
const BARE: usize = 0;
const FLOOR: usize = 1;
const FLOOR_VETH: usize = 2;
const BWRAP: usize = 3;
const UNSHARE: usize = 4;
const NSL: usize = 5;
const NSL_VETH: usize = 6;

fn contenders(programs: &Programs) -> [Contender; 7] {
    let peer = |name: &str| installed(name).unwrap_or_else(|| PathBuf::from(name));
    let (floor, nsl) = (&programs.floor, &programs.nsl);
    let bwrap = "--unshare-all --ro-bind / / --proc /proc --dev /dev";
    let unshare = "--mount --pid --net --ipc --uts --cgroup --fork --mount-proc";
    [
        Contender::new("bare true", &programs.command, "", Proof::Nothing),
        Contender::new("floor, lo only", floor, "none --", Proof::Sandbox),
        Contender::new("floor, veth", floor, "veth --", Proof::Connected),
        Contender::new("bwrap --unshare-all", &peer("bwrap"), bwrap, Proof::Sandbox),
        Contender::new("unshare, same namespaces", &peer("unshare"), unshare, Proof::Sandbox),
        Contender::new("nsl run --network none", nsl, "run --network none --", Proof::Sandbox),
        Contender::new("nsl run", nsl, "run --", Proof::Connected),
    ]
}

pub fn run(programs: &Programs, rounds: usize, report: &mut Report) -> Result<()> {
    let arena = Arena::new(&programs.folder, &programs.command);
    let contenders = contenders(programs);
    let outcomes = arena.compete(&contenders, rounds)?;
    let line =
        |row, index: usize, side| Line::new(row, contenders[index].name, outcomes[index].clone(), side).panel(PANEL);
    let bwrap = ("bwrap", &outcomes[BWRAP]);

    report.add(line(1, BARE, Side::Harness));
    report.add(line(1, UNSHARE, Side::Peer));
    report.add(line(1, BWRAP, Side::Peer));
    report.add(line(1, NSL, Side::Ours).against(bwrap).goal(Goal::Ratio(0.75)));
    report.add(line(2, BWRAP, Side::Peer));
    report.add(line(2, NSL_VETH, Side::Ours).against(bwrap).goal(Goal::Ratio(1.0)));
    report.add(line(3, FLOOR, Side::Floor).against(bwrap));
    report.add(line(3, NSL, Side::Ours).against(("floor", &outcomes[FLOOR])).goal(Goal::Ratio(1.3)));
    report.add(line(3, FLOOR_VETH, Side::Floor).against(bwrap));
    report.add(line(3, NSL_VETH, Side::Ours).against(("floor", &outcomes[FLOOR_VETH])).goal(Goal::Ratio(1.3)));
    if let (Ok(least), Ok(ours)) = (arena.prove(&contenders[FLOOR]), arena.prove(&contenders[NSL])) {
        let (least, ours) = (proof::mounts(&least), proof::mounts(&ours));
        report.remark(format!("row 3: mounts of nsl that the floor does not make: {}", beyond(&ours, &least)));
        report.remark(format!("row 3: mounts of the floor that nsl does not make: {}", beyond(&least, &ours)));
    }
    Ok(())
}

fn beyond(some: &BTreeMap<String, String>, others: &BTreeMap<String, String>) -> String {
    let missing = some.iter().filter(|(point, kind)| others.get(*point) != Some(kind));
    let names: Vec<_> = missing.map(|(point, kind)| format!("{point} ({kind})")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
