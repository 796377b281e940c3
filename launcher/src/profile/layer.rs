//! Options that come from one place, and how those of one are put upon those of others.

use super::paths;
use super::table::{Table, Takes, WAITING};
use std::ffi::OsString;

/// Each option once, by its number, which is its place in the help; one without a value has `true` or `false`.
pub type Layer = Vec<(usize, Vec<OsString>)>;

pub fn holds(layer: &Layer, index: usize) -> bool {
    layer.iter().any(|(found, _)| *found == index)
}

/// Puts what comes later upon what is there: it wins. Lists grow; an empty value, as in systemd's units, or `false` takes
/// back what stood before.
pub fn put(all: &mut Layer, mut later: Layer, table: &Table) {
    for (index, values) in &mut later {
        let takes = table.takes(*index);
        let emptied = values.iter().rposition(|value| value.is_empty()).filter(|_| takes != Takes::Command);
        if emptied.is_some() || takes != Takes::Many {
            all.retain(|(before, _)| before != index);
        }
        let is_taken_back = takes == Takes::Nothing && *values == ["false"];
        let end = if is_taken_back { values.len() } else { emptied.map_or(0, |last| last + 1) };
        values.drain(..end);
    }
    later.retain(|(_, values)| !values.is_empty());
    // What one place says that cannot be is told, and not mended.
    all.retain(|(before, _)| !later.iter().any(|(index, _)| table.conflict(*index, *before)));
    leave_targets(all, &later, table);
    for (index, values) in later {
        match all.iter_mut().find(|(before, _)| *before == index) {
            Some((_, before)) => before.extend(values),
            None => all.push((index, values)),
        }
    }
}

/// Of two mounts with one target, the later one counts.
fn leave_targets(all: &mut Layer, later: &Layer, table: &Table) {
    let mut taken = Vec::new();
    for (index, values) in later {
        taken.extend(values.iter().filter_map(|value| paths::target(table.long(*index), value)));
    }
    for (index, values) in all.iter_mut() {
        let long = table.long(*index);
        values.retain(|value| paths::target(long, value).is_none_or(|target| !taken.contains(&target)));
    }
    all.retain(|(_, values)| !values.is_empty());
}

/// What a profile has ready for an option that is not there means nothing. `own` is what the command line says: of that,
/// clap tells.
pub fn leave_what_waits(all: &mut Layer, own: &[usize], table: &Table) {
    for (waiting, needed) in WAITING {
        let (Some(waiting), Some(needed)) = (table.find(waiting), table.find(needed)) else { continue };
        if !holds(all, needed) && !own.contains(&waiting) {
            all.retain(|(index, _)| *index != waiting);
        }
    }
}
