//! Row 5: the size of each init's file, and its memory while it waits for `sleep`.

use crate::Result;
use crate::inits::PEERS;
use crate::measure::Outcome;
use crate::processes::{self, child_of, state};
use crate::programs::{Programs, installed};
use crate::report::{Goal, Line, Panel, Report, Side, Unit};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts of each init: its pages may differ from one to the next.
const STARTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(5);
const PANEL: Panel = Panel { title: "Private memory of an init that waits", note: "KiB" };

/// Of one init, in KiB: each an `Outcome`, as the program may be missing or fail.
struct Sizes {
    file: Outcome,
    rss: Outcome,
    private: Outcome,
}

pub fn run(programs: &Programs, report: &mut Report) {
    let mut all = Vec::new();
    for name in PEERS {
        let init = installed(name);
        all.push((name, init.is_file().then(|| sizes(&programs.floor, &init)), Side::Peer));
    }
    all.push(("nsl-init", Some(sizes(&programs.floor, &programs.init)), Side::Ours));
    let goals = [("file", 32.0), ("RSS", 40.0), ("private memory", 16.0)];
    for (place, (thing, limit)) in goals.into_iter().enumerate() {
        for (name, sizes, side) in &all {
            let outcome = sizes
                .as_ref()
                .map_or(Outcome::NotInstalled, |sizes| [&sizes.file, &sizes.rss, &sizes.private][place].clone());
            let line = Line::new(5, format!("{name}: {thing}"), outcome, *side).unit(Unit::Kibibytes);
            let line = if place == 2 { line.panel(PANEL) } else { line };
            report.add(if *side == Side::Ours { line.goal(Goal::Value(limit)) } else { line });
        }
    }
}

fn sizes(floor: &Path, init: &Path) -> Sizes {
    let kibibytes = |bytes: u64| f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1024.0;
    let file = fs::metadata(init).map(|data| vec![kibibytes(data.len())]).map_err(|error| error.to_string());
    let memory: Result<Vec<_>> = (0..STARTS).map(|_| memory_of(floor, init)).collect();
    let (rss, private) = match memory {
        Ok(pairs) => (Ok(pairs.iter().map(|pair| pair.0).collect()), Ok(pairs.iter().map(|pair| pair.1).collect())),
        Err(error) => (Err(error.clone()), Err(error)),
    };
    Sizes { file: file.into(), rss: rss.into(), private: private.into() }
}

/// RSS and private memory of an init that waits, beside another one of its kind: what two share is not private.
fn memory_of(floor: &Path, init: &Path) -> Result<(f64, f64)> {
    let mut starters = [start(floor, init)?, start(floor, init)?];
    let inits = starters.each_mut().map(wait_until_idle);
    let [Ok(_), Ok(pid)] = inits else {
        starters.iter_mut().for_each(processes::end);
        return Err(inits.into_iter().find_map(Result::err).unwrap_or_default());
    };
    let read = read_memory(pid);
    starters.iter_mut().for_each(processes::end);
    read
}

fn start(floor: &Path, init: &Path) -> Result<Child> {
    let mut start = Command::new(floor);
    start.args(["pid", "--"]).arg(init).args(["--", "/bin/sleep", "1000"]).env_clear().stdin(Stdio::null());
    start.spawn().map_err(|error| format!("cannot start: {error}"))
}

/// RSS and private memory of a process, in KiB.
pub fn read_memory(pid: u32) -> Result<(f64, f64)> {
    let rollup = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&rollup).map_err(|error| format!("cannot read {rollup}: {error}"))?;
    Ok((field(&text, "Rss")?, field(&text, "Private_Clean")? + field(&text, "Private_Dirty")?))
}

fn field(rollup: &str, name: &str) -> Result<f64> {
    let value = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = value.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| format!("smaps_rollup has no {name}"))
}

/// The PID of the init, once its child is `sleep` and both sleep.
fn wait_until_idle(starter: &mut Child) -> Result<u32> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Ok(Some(status)) = starter.try_wait() {
            return Err(format!("ended with {status} where it had to wait"));
        }
        if let Some(init) = child_of(starter.id())
            && let Some(command) = child_of(init)
            && let (Some(init_state), Some(command_state)) = (state(init), state(command))
            && init_state.1 == 'S'
            && command_state == ("sleep".to_owned(), 'S')
        {
            return Ok(init);
        }
        sleep(Duration::from_millis(2));
    }
    Err(format!("no init that waits for its command within {} s", PATIENCE.as_secs()))
}
