//! `nsl check`: what this host allows, and what mends it. No part of `nsl run`.
//!
//! It says what `nsl run` would do by itself, so it goes by the same functions: what can be read is read, what only a
//! trial tells is tried, in a child and namespaces of their own that leave nothing. Each file has one subject, and in it
//! facts are one thing, and what is made of them, which is pure, another.

mod host;
mod limits;
mod network;
mod places;
mod report;
mod sandbox;
mod trial;

use crate::cli;
use crate::error::Result;
use crate::spec::Caller;
use crate::sys;
use report::{Line, Report, Told};

/// Prints all that is found out; the exit code says if `nsl run` works.
pub fn check(options: &cli::Check) -> Result<u8> {
    sys::set_dispositions();
    let report = report()?;
    report.print(options.json)?;
    Ok(u8::from(!report.works))
}

fn report() -> Result<Report> {
    let caller = Caller::current();
    let start = trial::run(&["--network", "none"], false)?;
    let mut lines = vec![host::kernel(caller), host::user(caller)];
    lines.extend(sandbox::parts(caller, &start)?);
    lines.push(sandbox::start(&start));
    let stands = start.failure.is_none();
    let network = if stands { Some(network::trial(caller)?) } else { None };
    lines.push(sandbox::ids(stands)?);
    lines.extend(network::lines(caller, network.as_ref())?);
    lines.push(limits::line());
    lines.extend(places::lines());
    Ok(Report::new(lines, network.is_some_and(|network| network.failure.is_none())))
}

/// A line of what takes that which has failed.
fn not_tried(name: &'static str) -> Line {
    Line::unknown(name, "not tried, since no sandbox starts")
}
