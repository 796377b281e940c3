//! Rows 1 to 3: the start of a sandbox, against bwrap and against the floor.

use crate::measure::{Arena, Contender, words};
use crate::programs::{Programs, installed};
use crate::proof::{self, Proof};
use crate::report::{Goal, Line, Panel, Report, Side};
use std::collections::BTreeMap;

const PANEL: Panel = Panel { title: "Start of a sandbox that runs true", note: "ms, with a view of the host's files" };
/// Places in the list of contenders.
const BARE: usize = 0;
const FLOOR: usize = 1;
const FLOOR_VETH4: usize = 2;
const FLOOR_VETH: usize = 3;
const BWRAP: usize = 4;
const UNSHARE: usize = 5;
const NSL: usize = 6;
const NSL_VETH: usize = 7;

fn contenders(programs: &Programs) -> Vec<Contender> {
    let (floor, nsl) = (&programs.floor, &programs.nsl);
    let bwrap = "--unshare-all --ro-bind / / --proc /proc --dev /dev";
    let unshare = "--mount --pid --net --ipc --uts --cgroup --fork --mount-proc";
    let all = [
        ("bare true", Vec::new(), Proof::Nothing),
        ("floor, lo only", words(floor, "none --"), Proof::Sandbox),
        ("floor, veth of IPv4", words(floor, "veth4 --"), Proof::Connected),
        ("floor, veth", words(floor, "veth --"), Proof::Connected),
        ("bwrap --unshare-all", words(&installed("bwrap"), bwrap), Proof::Sandbox),
        ("unshare, same namespaces", words(&installed("unshare"), unshare), Proof::Sandbox),
        ("nsl run --network none", words(nsl, "run --network none --"), Proof::Sandbox),
        ("nsl run", words(nsl, "run --"), Proof::Connected),
    ];
    all.into_iter().map(|(name, before, proof)| Contender::new(name, &before, programs.commands(), proof)).collect()
}

pub fn run(programs: &Programs, rounds: usize, report: &mut Report) {
    let arena = Arena::new(&programs.folder);
    let contenders = contenders(programs);
    let outcomes = arena.compete(&contenders, rounds);
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
    report.add(line(3, FLOOR_VETH4, Side::Floor).against(bwrap));
    report.add(line(3, FLOOR_VETH, Side::Floor).against(bwrap));
    report.add(line(3, NSL_VETH, Side::Ours).against(("floor", &outcomes[FLOOR_VETH])).goal(Goal::Ratio(1.3)));
    if let (Ok(least), Ok(ours)) = (arena.prove(&contenders[FLOOR]), arena.prove(&contenders[NSL])) {
        let (least, ours) = (proof::mounts(&least), proof::mounts(&ours));
        report.remark(format!("row 3: mounts of nsl that the floor does not make: {}", beyond(&ours, &least)));
        report.remark(format!("row 3: mounts of the floor that nsl does not make: {}", beyond(&least, &ours)));
    }
}

fn beyond(some: &BTreeMap<String, String>, others: &BTreeMap<String, String>) -> String {
    let missing = some.iter().filter(|(point, kind)| others.get(*point) != Some(kind));
    let names: Vec<_> = missing.map(|(point, kind)| format!("{point} ({kind})")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
