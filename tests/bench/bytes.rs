//! Row 11: what a command writes, on its way to the caller: through a pipe, and through a terminal, where nsl stands
//! between two of them. Against the same command with the same pipe or terminal and no sandbox. The time is that from
//! the first byte to the last; every byte is counted.

use crate::Result;
use crate::measure::{Outcome, PATH, words};
use crate::processes::on_one_cpu;
use crate::programs::{Programs, installed};
use crate::report::{Goal, Line, Panel, Report, Side, Unit};
use crate::rounds::interleave;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const PIPE: Panel = Panel { title: "What a command writes to a pipe", note: "MB/s: here longer is better" };
const TERMINAL: Panel = Panel { title: "What a command writes to a terminal", ..PIPE };
const MIB: usize = 1 << 20;

/// Who stands between the command and its caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Nobody,
    Nsl,
    /// script(1), which hands on a terminal's bytes and does nothing else.
    Script,
}

struct Contender {
    what: &'static str,
    between: Between,
    terminal: bool,
}

const PIPES: &[Contender] = &[
    Contender { what: "a pipe, no sandbox", between: Between::Nobody, terminal: false },
    Contender { what: "a pipe, nsl run", between: Between::Nsl, terminal: false },
];
const TERMINALS: &[Contender] = &[
    Contender { what: "a terminal, no sandbox", between: Between::Nobody, terminal: true },
    Contender { what: "a terminal, nsl run", between: Between::Nsl, terminal: true },
    Contender { what: "a terminal, script(1)", between: Between::Script, terminal: true },
];

pub fn run(programs: &Programs, rounds: usize, report: &mut Report) {
    let (pipes, terminals) = (rounds.div_ceil(2), rounds.div_ceil(10));
    // A pipe is quickest where both ends share a CPU's cache, which is the scheduler's affair.
    on_one_cpu(|| compare(programs, PIPES, PIPE, pipes, report));
    compare(programs, TERMINALS, TERMINAL, terminals, report);
    report
        .remark(format!("row 11: {pipes} times 256 MiB by a pipe on one CPU, {terminals} times 32 MiB by a terminal"));
}

/// The first of them is what the others are compared with.
fn compare(programs: &Programs, contenders: &[Contender], panel: Panel, rounds: usize, report: &mut Report) {
    let rates = interleave(contenders.len(), rounds, |index, _| rate(programs, &contenders[index]));
    let outcomes: Vec<Outcome> = rates.into_iter().map(Outcome::from).collect();
    for (contender, outcome) in contenders.iter().zip(&outcomes) {
        let line = |outcome: &Outcome, side| {
            Line::new(11, contender.what, outcome.clone(), side).unit(Unit::MegabytesPerSecond).panel(panel)
        };
        let bare = ("no sandbox", &outcomes[0]);
        report.add(match contender.between {
            Between::Nobody => line(outcome, Side::Harness),
            Between::Nsl => line(outcome, Side::Ours).against(bare).goal(Goal::RatioAtLeast(0.9)),
            Between::Script if !installed("script").is_file() => line(&Outcome::NotInstalled, Side::Peer),
            Between::Script => line(outcome, Side::Peer).against(bare),
        });
    }
}

/// Megabytes a second.
fn rate(programs: &Programs, contender: &Contender) -> Result<f64> {
    let bytes = if contender.terminal { 32 * MIB } else { 256 * MIB };
    let mut command = words(&programs.task, &format!("flood {bytes}"));
    match contender.between {
        Between::Nobody => {}
        Between::Nsl => command = [words(&programs.nsl, "run --network none --"), command].concat(),
        Between::Script => {
            let line = command.join(OsStr::new(" "));
            command = ["script".into(), "-qec".into(), line, "/dev/null".into()].to_vec();
        }
    }
    if contender.terminal {
        // With it as the controlling terminal, as a shell has one.
        command.splice(0..0, ["setsid".into(), "--ctty".into()]);
    }
    let mut start = Command::new(&command[0]);
    start.args(&command[1..]).env_clear().env("PATH", PATH).stderr(Stdio::null());
    let failed = |error: std::io::Error| format!("cannot start: {error}");
    let (source, expected) = if contender.terminal {
        let (master, slave) = terminal().map_err(|error| format!("cannot make a terminal: {error}"))?;
        start.stdin(slave.try_clone().map_err(failed)?).stdout(slave);
        // A terminal ends a line by two bytes.
        (master, bytes + bytes / 64)
    } else {
        let (ours, theirs) = std::io::pipe().map_err(failed)?;
        start.stdin(Stdio::null()).stdout(theirs);
        (OwnedFd::from(ours), bytes)
    };
    let mut child = start.spawn().map_err(failed)?;
    // It holds the ends that are the command's.
    drop(start);
    let took = drain(source.into(), expected);
    finish(&mut child, took)
}

/// Both ends of a new one.
fn terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    Ok((master, slave))
}

fn finish(child: &mut Child, took: Result<f64>) -> Result<f64> {
    if took.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("cannot wait: {error}"))?;
    took.and_then(|rate| if status.success() { Ok(rate) } else { Err(format!("ended with {status}")) })
}

/// Reads to the end.
fn drain(mut source: File, expected: usize) -> Result<f64> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut begin, mut count) = (None, 0);
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                begin.get_or_insert_with(Instant::now);
                count += length;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The master of a terminal that nobody has open any more.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => break,
            Err(error) => return Err(format!("cannot read: {error}")),
        }
    }
    let elapsed = begin.ok_or("it wrote nothing")?.elapsed().as_secs_f64();
    if count == expected { Ok(count as f64 / 1e6 / elapsed) } else { Err(format!("{count} of {expected} bytes came")) }
}
