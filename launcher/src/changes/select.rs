//! The changes that were asked for, by their paths.

use crate::changes::list::quoted;
use crate::changes::walk::{Change, Found};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The paths that were asked for, relative to `/`; none is all.
pub struct Selection(Vec<PathBuf>);

impl Selection {
    pub fn new(paths: &[PathBuf]) -> Result<Self> {
        paths.iter().map(|path| selected(path)).collect::<Result<_>>().map(Self)
    }

    /// Leaves the changes at these paths, below them, and the new directories on the way to them.
    pub fn apply(&self, found: &mut Found) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        for path in &self.0 {
            if !found.changes.iter().any(|change| change.path.starts_with(path)) && !found.directories.contains(path) {
                let step = format!("find changes at /{}", quoted(path));
                return Err(Error::new(step, "there are none").hint("nsl diff DIR lists them all"));
            }
        }
        let wanted: Vec<_> = found.changes.iter().map(|change| self.wants(&change.path)).collect();
        let with_ways = found.changes.iter().zip(&wanted).filter(|(_, wanted)| **wanted);
        let ways: BTreeSet<_> = with_ways.flat_map(|(change, _)| change.path.ancestors().skip(1)).collect();
        let is_way = |change: &Change| change.makes_directory() && ways.contains(&*change.path);
        let keep: Vec<_> =
            found.changes.iter().zip(&wanted).map(|(change, wanted)| *wanted || is_way(change)).collect();
        let mut keep = keep.into_iter();
        found.changes.retain(|_| keep.next().unwrap_or(false));
        Ok(())
    }

    fn wants(&self, path: &Path) -> bool {
        self.0.iter().any(|wanted| path.starts_with(wanted))
    }
}

fn selected(path: &Path) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => {
                return Err(Error::new(format!("use the path {}", quoted(path)), "'..' is in it"));
            }
            _ => {}
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_root_whatever_they_look_like() {
        for path in ["/etc/x", "etc/x", "etc//x/", "/./etc/./x"] {
            assert_eq!(selected(Path::new(path)).unwrap(), Path::new("etc/x"));
        }
        assert_eq!(selected(Path::new("/")).unwrap(), Path::new(""));
        assert!(selected(Path::new("/etc/../x")).is_err());
    }
}
