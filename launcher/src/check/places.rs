//! Where services and archives leave their traces, and the service manager. Nothing is made.

use super::{Line, Told};
use crate::error::{Error, Result};
use crate::{hints, logs, service, store};
use nix::unistd::AccessFlags;
use std::path::{Path, PathBuf};

pub fn lines() -> Vec<Line> {
    let states = service::states_path().and_then(usable).map_err(hints::states);
    let logs = service::logs_path().and_then(usable).map_err(hints::logs);
    let store = store::location().and_then(usable).map_err(|error| match error.errno() {
        Some(_) => error.hint("NSL_STORE can name a place that is writable for you"),
        None => error,
    });
    vec![
        judge("states", "sandboxes with a name", states),
        judge("logs", "their logs", logs),
        judge("store", "archives as a root", store),
        judge_manager(Path::new("/run/systemd/system").exists(), logs::has_journal()),
    ]
}

/// Can this directory be written to or, where it is not there, be made?
fn usable(path: PathBuf) -> Result<PathBuf> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
    match nix::unistd::access(there, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Ok(path),
        Err(errno) => Err(Error::os(format!("write to {}", there.display()), errno)),
    }
}

fn judge(name: &'static str, without: &'static str, place: Result<PathBuf>) -> Line {
    match place {
        Ok(path) => Line::ok(name, format!("in {}", path.display())),
        Err(error) => Line::limited(name, without, Told::from(&error)),
    }
}

fn judge_manager(is_booted: bool, has_journal: bool) -> Line {
    const NAME: &str = "systemd";
    match (is_booted, has_journal) {
        (true, true) => Line::ok(NAME, "runs, and the journal listens"),
        (true, false) => Line::absent(NAME, "runs without a journal, which --log journald takes"),
        (false, true) => Line::absent(NAME, "does not run, which nsl unit takes; the journal listens"),
        (false, false) => Line::absent(NAME, "does not run, which nsl unit and --log journald take"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_not_there_is_as_good_as_what_is_above_it() {
        let below = std::env::temp_dir().join("nsl-none/of/these");
        assert_eq!(usable(below.clone()).ok(), Some(below));
        let refused = hints::states(Error::os("write to /run", nix::errno::Errno::EROFS));
        let shown = judge("states", "sandboxes with a name", Err(refused)).shown();
        assert!(
            shown.starts_with("limited  states      cannot write to /run: Read-only file system (hint: "),
            "{shown}"
        );
    }

    #[test]
    fn no_service_manager_is_no_lack() {
        assert!(judge_manager(true, true).shown().starts_with("ok "));
        for (is_booted, has_journal) in [(true, false), (false, true), (false, false)] {
            assert!(judge_manager(is_booted, has_journal).shown().starts_with("absent "));
        }
    }
}
