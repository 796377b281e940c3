//! Tests of the benchmark's own judgement: what is not there, what fails and what does not do its work has no figure,
//! and says why, in the table, in the JSON and in the plot.

// Of the modules only what contenders go through is tested here.
#![allow(dead_code)]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with four digits")]

mod host;
mod json;
mod measure;
mod plot;
mod proof;
mod report;
mod rounds;

use host::Host;
use measure::{Arena, Contender, Outcome};
use proof::Proof;
use report::{Goal, Line, Panel, Report, Side};
use std::ffi::OsString;
use std::path::PathBuf;

/// Errors are only printed.
type Result<T> = std::result::Result<T, String>;

const PANEL: Panel = Panel { title: "Start", note: "ms" };

/// A folder of the test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nsl-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// What became of a contender in five rounds, beside one that works.
    fn outcome(&self, contender: Contender) -> Outcome {
        let works = shell("works", "exit 0", "exit 42", Proof::Nothing);
        let mut outcomes = Arena::new(&self.0).compete(&[works, contender], 5);
        let Outcome::Measured(times) = &outcomes[0] else { panic!("what works has no figures") };
        assert!(times.len() == 5 && times.iter().all(|time| *time > 0.0), "{times:?}");
        outcomes.remove(1)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("remove the folder");
    }
}

/// A contender that runs one script when it is measured and another to prove itself.
fn shell(name: &'static str, measured: &str, proving: &str, proof: Proof) -> Contender {
    let words = |script: &str| ["/bin/sh", "-c", script].map(OsString::from).to_vec();
    Contender::of(name, words(measured), words(proving), proof)
}

/// That an outcome shows as words and as no figure, whatever it is compared with.
#[track_caller]
fn assert_shown(outcome: &Outcome, words: &str) {
    assert!(outcome.summary().is_none());
    let other = Outcome::Measured(vec![1.0, 2.0, 3.0]);
    let mut report = Report::new(Host(Vec::new()));
    let line = Line::new(1, "peer", outcome.clone(), Side::Peer).panel(PANEL);
    report.add(line.against(("other", &other)).goal(Goal::Ratio(1.0)));
    let line = Line::new(1, "ours", other, Side::Ours).panel(PANEL);
    report.add(line.against(("peer", outcome)).goal(Goal::Ratio(1.0)));

    let table = report.to_string();
    assert!(table.contains(words), "{table}");
    assert!(table.lines().any(|line| line.contains("ours") && line.ends_with("not measured")), "{table}");
    assert!(!table.contains(" met") && !table.contains(" of "), "{table}");
    let json: serde_json::Value = serde_json::from_str(&json::render(&report)).expect("JSON");
    let peer = &json["lines"][0];
    assert!(peer["median"].is_null() && peer["ratio"].is_null() && peer["met"].is_null(), "{peer}");
    assert!(json["lines"][1]["ratio"].is_null(), "{json}");
    let plot = plot::render(&report);
    let first = words.split(':').next().unwrap_or_default();
    // The one in its colour is that of the legend.
    assert!(plot.contains(&format!(">{first}</text>")), "{plot}");
    assert_eq!(plot.matches("<rect class=\"peer\"").count(), 1, "{plot}");
}

#[test]
fn a_peer_that_is_not_installed_is_shown_so() {
    let folder = Folder::new("absent");
    let absent = vec![OsString::from("/nowhere/peer")];
    let outcome = folder.outcome(Contender::of("peer", absent.clone(), absent, Proof::Sandbox));
    assert!(matches!(outcome, Outcome::NotInstalled));
    assert_shown(&outcome, "not installed");
}

#[test]
fn a_peer_that_exits_1_has_no_figure() {
    let folder = Folder::new("exits");
    let outcome = folder.outcome(shell("peer", "echo no cgroups here >&2; exit 1", "exit 42", Proof::Nothing));
    assert_shown(&outcome, "failed: exit status 1: no cgroups here");
}

#[test]
fn a_peer_that_fails_in_one_round_of_many_has_no_figure() {
    let folder = Folder::new("once");
    let count = folder.0.join("count");
    // Three runs that warm it up, then a round: in the second one it fails.
    let script = format!("echo >> {0}; [ $(wc -l < {0}) != 5 ]", count.display());
    let outcome = folder.outcome(shell("peer", &script, "exit 42", Proof::Nothing));
    assert_shown(&outcome, "failed: exit status 1");
}

#[test]
fn a_peer_that_runs_nothing_and_succeeds_has_no_figure() {
    let folder = Folder::new("nothing");
    let outcome = folder.outcome(shell("peer", "exit 0", "exit 0", Proof::Sandbox));
    assert_shown(&outcome, "failed: exit status 0 where the command's was 42");
}

#[test]
fn a_peer_without_namespaces_of_its_own_has_no_figure() {
    let folder = Folder::new("bare");
    let proving = "echo $$; cd /proc/self/ns; readlink mnt pid net ipc uts cgroup; exit 42";
    let outcome = folder.outcome(shell("peer", "exit 0", proving, Proof::Sandbox));
    assert_shown(&outcome, "failed: the command's mnt namespace is not new");
}

#[test]
fn a_peer_that_dies_of_a_signal_has_no_figure() {
    let folder = Folder::new("dies");
    let outcome = folder.outcome(shell("peer", "kill -9 $$", "exit 42", Proof::Nothing));
    assert_shown(&outcome, "failed: killed by a signal");
}
