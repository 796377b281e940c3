//! Options that come from one place, and how those of one are put upon those of others.

use super::paths;
use super::table::{Table, Takes, WAITING};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// By the option's number, which is its place in the help; one without a value has `true` or `false`.
pub type Layer = BTreeMap<usize, Vec<OsString>>;

/// Puts what comes later upon what is there: it wins. Lists grow; an empty value, as in systemd's units, or `false` takes
/// back what stood before.
pub fn put(all: &mut Layer, later: Layer, table: &Table) {
    let mut added = Layer::new();
    for (index, mut values) in later {
        let takes = table.takes(index);
        let emptied = values.iter().rposition(|value| value.is_empty()).filter(|_| takes != Takes::Command);
        if emptied.is_some() || takes != Takes::Many {
            all.remove(&index);
        }
        let rest = values.split_off(emptied.map_or(0, |last| last + 1));
        if !rest.is_empty() && (takes != Takes::Nothing || rest == ["true"]) {
            added.insert(index, rest);
        }
    }
    // What one place says that cannot be is told, and not mended.
    all.retain(|before, _| !added.keys().any(|index| table.conflict(*index, *before)));
    leave_targets(all, &added, table);
    for (index, values) in added {
        all.entry(index).or_default().extend(values);
    }
}

/// Of two mounts with one target, the later one counts.
fn leave_targets(all: &mut Layer, added: &Layer, table: &Table) {
    let targets = |(index, values): (&usize, &Vec<OsString>)| -> Vec<_> {
        values.iter().filter_map(|value| paths::target(table.long(*index), value)).collect()
    };
    let taken: Vec<_> = added.iter().flat_map(targets).collect();
    for (index, values) in all.iter_mut() {
        let is_taken =
            |value: &OsString| paths::target(table.long(*index), value).is_some_and(|at| taken.contains(&at));
        values.retain(|value| !is_taken(value));
    }
    all.retain(|_, values| !values.is_empty());
}

/// What a profile has ready for an option that is not there means nothing. `own` is what the command line says: of that,
/// clap tells.
pub fn leave_what_waits(all: &mut Layer, own: &[usize], table: &Table) {
    for (waiting, needed) in WAITING {
        let (Some(waiting), Some(needed)) = (table.find(waiting), table.find(needed)) else { continue };
        if !all.contains_key(&needed) && !own.contains(&waiting) {
            all.remove(&waiting);
        }
    }
}
