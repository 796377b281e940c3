//! `make bench`: how fast nsl starts and how little its init takes, beside its peers and beside what the kernel needs.
//!
//! How to read the figures:
//! - A time is wall time from starting a program to having its status, and includes what the harness costs: the line
//!   "bare `true`" shows how much. All contenders of a group run in turn, in a new random order each round, with a
//!   short pause before each; a figure is the median of all rounds, the spread its 10th and 90th percentile. Compare
//!   ratios, not milliseconds, between machines and days: both sides of a ratio come from the same rounds.
//! - The command is one static program that exits at once (true.rs), the same file everywhere.
//! - The floor (floor/) makes the calls that such a start cannot do without: six namespaces, a tmpfs, an overlay of `/`
//!   with an empty /run and /tmp and three files in /etc, /dev with its nodes, /dev/pts, /proc, /sys, a new root, what is
//!   hidden of /proc and /sys, capabilities, the seccomp filter, lo, and with a network a veth pair, an address of each
//!   family a side, forwarding and a default route. It has no init, NAT or check, so 1.0 cannot be reached. Remarks
//!   below the table say which mounts nsl makes and the floor does not, and the reverse.
//! - bwrap makes a user namespace on top (`--unshare-all`) and no network but lo; unshare makes namespaces and /proc.
//! - Row 4 is what an init adds to running `true` as PID 1 without one: the median of the differences within a round.
//! - Row 5 is read while the init waits for `sleep`, beside a second init of its kind, so that pages of its file are
//!   shared, as they are where there are many. RSS counts these, private memory does not. The files of tini and
//!   dumb-init need a libc besides.
//! - Row 6 is read beside a second sandbox, for the same reason.
//! - Row 7: two hosts, one empty and one with live sandboxes; starts take turns between them. The end of all is counted
//!   from the end of the input that they wait for, until no nsl is left, and until the kernel has taken away the last
//!   of the devices.
//! - Row 8: one process under the init makes orphans by a double fork, one after the other; the time ends when none is
//!   left, zombies included, as that process itself sees it. All is on one CPU, so that nothing which the init does is
//!   hidden; most of the time is still that of making them. The init's CPU time is the kernel's count. Zombies are
//!   then looked for from outside.
//! - Row 9: a process under the init waits for signals and answers each by a byte; the time is that of the round trip.
//!   All inits wait at once and get their signals in turn. "no init" is that process as PID 1.
//! - Row 10 counts, and has no median. SIGTERM goes to the init, or to nsl, at a random moment, the same for all in a
//!   round. SIGWINCH follows once the command runs: if the command gets that one alone, SIGTERM was lost. With `nsl run`,
//!   one that ends all before the command runs is not lost.
//! - Row 11 is the rate from the first byte to the last, all of them counted. A pipe is the command's own; a terminal is
//!   one of nsl's, whose bytes it hands on to the caller's.
//! - Row 12 is for comparison: programs that start `true` from an OCI bundle or a directory, and podman above runc.
//! - In rows 1 to 4, 7 and 12 a contender counts only if it proved before that it ran a command in namespaces of its
//!   own and handed on its exit status, and in all rows only if every run was as it has to be. Else it is "failed", with
//!   the reason, or "not installed", and has no figure.
//! - `--scale` is another table (scale.rs).
//!
//! Everything runs in mount and network namespaces of the bench's own: the machine's links, firewall, routes and
//! sysctls stay as they are. The init is the one that `nsl` embeds. `NSL_BENCH_LAUNCHER` and `NSL_BENCH_INIT` name
//! other binaries to measure. Exit code: 1 if one of nsl's own contenders failed; a missed goal is no failure.

#![allow(clippy::cast_precision_loss, reason = "figures are shown with four digits")]

mod bytes;
mod early;
mod host;
mod idle;
mod inits;
mod json;
mod latency;
mod many;
mod measure;
mod memory;
mod plot;
mod population;
mod processes;
mod programs;
mod proof;
mod reaping;
mod report;
mod rounds;
mod runtimes;
mod scale;
mod starts;
mod world;

use clap::Parser;
use programs::Programs;
use report::Report;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use world::World;

/// Errors end the bench and are only printed: their text is all that matters.
type Result<T> = std::result::Result<T, String>;

/// What the table's head names with its version.
const NAMED: [&str; 9] =
    ["bwrap", "unshare", "crun", "runc", "podman", "tini-static", "tini", "dumb-init", "catatonit"];
const ROWS: std::ops::RangeInclusive<i64> = 1..=12;

#[derive(Parser)]
#[command(about = "Measure nsl and nsl-init against their peers and against the kernel's own cost")]
struct Cli {
    /// 30 rounds in place of 200, 100 live sandboxes in place of 1,000: all rows in less than a minute
    #[arg(long)]
    quick: bool,
    /// Rounds of each group
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Where the figures go, relative to the workspace [default: target/bench/bench.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the plot goes, relative to the workspace [default: target/bench/bench.svg]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Only this row of the table, 1 to 12 (repeatable)
    #[arg(long, value_name = "ROW", value_parser = clap::value_parser!(u8).range(ROWS))]
    only: Vec<u8>,
    /// In place of the table: what so many live sandboxes take, and what ends first
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    scale: Vec<usize>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all of nsl's own contenders could be measured.
fn run(cli: Cli) -> Result<bool> {
    let rounds = cli.rounds.unwrap_or(if cli.quick { 30 } else { 200 }) as usize;
    let programs = Programs::prepare()?;
    let home = World::create(&programs.floor)?;
    if !cli.scale.is_empty() {
        let head = host::describe(rounds.to_string(), &[]);
        return scale::run(&programs, &home, &cli.scale, rounds, &head).map(|()| true);
    }

    let live = if cli.quick { 100 } else { 1000 };
    let quick = if cli.quick { " (--quick: figures of few rounds)" } else { "" };
    let mut report = Report::new(host::describe(format!("{rounds}{quick}"), &NAMED));
    report.remarks.extend(host::busy());
    let wanted = |rows: &[u8]| cli.only.is_empty() || rows.iter().any(|row| cli.only.contains(row));
    if wanted(&[1, 2, 3]) {
        starts::run(&programs, rounds, &mut report);
    }
    if wanted(&[4]) {
        inits::run(&programs, rounds, &mut report);
    }
    if wanted(&[5]) {
        memory::run(&programs, &mut report);
    }
    if wanted(&[6]) {
        idle::run(&programs, &mut report);
    }
    if wanted(&[7]) {
        many::run(&programs, &home, live, rounds, &mut report)?;
    }
    if wanted(&[8]) {
        reaping::run(&programs, rounds, &mut report);
    }
    if wanted(&[9]) {
        latency::run(&programs, rounds, &mut report);
    }
    if wanted(&[10]) {
        early::run(&programs, rounds, &mut report);
    }
    if wanted(&[11]) {
        bytes::run(&programs, rounds, &mut report);
    }
    if wanted(&[12]) {
        runtimes::run(&programs, &home, rounds, &mut report)?;
    }
    report.keep(&cli.only);
    if report.lines.iter().any(|line| matches!(line.outcome, measure::Outcome::NotInstalled)) {
        report.remark("what is not installed has no figure: make bench-peers installs what Debian has".to_owned());
    }

    print!("{report}");
    let place = |file: Option<PathBuf>, name| programs.root.join(file.unwrap_or_else(|| programs.folder.join(name)));
    write(&place(cli.json, "bench.json"), &json::render(&report))?;
    write(&place(cli.svg, "bench.svg"), &plot::render(&report))?;
    Ok(!report.ours_failed())
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}
