//! `nsl ps`: the sandboxes that there are, with what they use.

pub(super) mod row;
pub(super) mod usage;

use super::entry::Entry;
use super::state::Status;
use super::{claim, place};
use super::{name, print};
use crate::cli::Ps;
use crate::error::{Error, Result};
use crate::log;
use row::Row;
use usage::Processes;

pub fn ps(options: &Ps) -> Result<u8> {
    let (entries, failed) = read_all()?;
    let shown = |entry: &Entry| options.all || !matches!(entry.status(), Status::Exited | Status::Dead);
    let entries: Vec<Entry> = entries.into_iter().filter(shown).collect();
    if options.quiet {
        let lines: Vec<[&str; 2]> = entries.iter().map(|entry| [&entry.state.name, "\n"]).collect();
        print(&lines.concat().concat())?;
    } else {
        // After the states: whoever runs by one of them is there by now.
        let processes = Processes::read();
        let rows: Vec<Row> = entries.iter().map(|entry| Row::new(entry, &processes)).collect();
        let text = if options.json {
            let json =
                serde_json::to_string_pretty(&rows).map_err(|error| Error::new("write JSON", error.to_string()))?;
            json + "\n"
        } else {
            row::table(&rows)
        };
        print(&text)?;
    }
    failed.map_or(Ok(0), Err)
}

/// All that can be read, in the order of their names, and the last error. One that comes or goes meanwhile is there, or
/// is not.
fn read_all() -> Result<(Vec<Entry>, Option<Error>)> {
    let Some(states) = place::states()? else { return Ok((Vec::new(), None)) };
    let step = || format!("read {}", states.path().display());
    let mut names = states.names().map_err(|errno| super::directory::os(step(), errno))?;
    names.sort_unstable();
    let mut failed: Option<Error> = None;
    let mut entries = Vec::with_capacity(names.len());
    for name in names.iter().filter(|name| name::check(name).is_ok()) {
        match Entry::read(&states, name) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => claim::sweep(place::make_states()?, name),
            Err(error) => {
                if let Some(before) = failed.replace(error) {
                    log::tell(&before.to_string());
                }
            }
        }
    }
    Ok((entries, failed))
}
