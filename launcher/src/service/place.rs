//! Where the directories of sandboxes are: states in /run, which does not outlive the machine, logs beside those of
//! others; for an ordinary user in the directories that his session has for such.

use super::directory::Directory;
use crate::error::{Error, Result};
use crate::hints;
use rustix::fs::OFlags;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The directory in each of them.
const OURS: &str = "nsl";

/// Where states are, made if it is not there.
pub fn make_states() -> Result<Directory> {
    runtime()?.make(OURS)
}

/// Where states are, if there are any.
pub fn states() -> Result<Option<Directory>> {
    runtime()?.open(OURS)
}

/// Where states are or will be, whether or not there are any.
pub fn states_path() -> Result<PathBuf> {
    states().and_then(|_| Ok(runtime()?.path().join(OURS)))
}

/// The same for logs.
pub fn logs_path() -> Result<PathBuf> {
    Ok(if is_root() { Path::new("/var/log").join(OURS) } else { state_home()?.join(OURS).join("log") })
}

/// Where the log of a sandbox is, made if it is not there.
pub fn make_logs(name: &str) -> Result<Directory> {
    let make = || {
        if is_root() {
            return Directory::given(Path::new("/var/log"))?.make(OURS)?.make(name);
        }
        let state = state_home()?;
        std::fs::create_dir_all(&state).map_err(|error| Error::io(format!("make {}", state.display()), &error))?;
        Directory::given(&state)?.make(OURS)?.make("log")?.make(name)
    };
    make().map_err(hints::logs)
}

/// Where the logs of sandboxes are, if there are any.
pub fn logs() -> Option<Directory> {
    let open = |path: &Path, names: &[&str]| -> Option<Directory> {
        let mut directory = Directory::given(path).ok()?;
        for name in names {
            directory = directory.open(name).ok()??;
        }
        Some(directory)
    };
    if is_root() { open(Path::new("/var/log"), &[OURS]) } else { open(&state_home().ok()?, &[OURS, "log"]) }
}

/// Takes a log away that nothing was written to.
pub fn remove_empty_log(name: &str) {
    let Some(logs) = logs() else { return };
    let Ok(Some(log)) = logs.open(name) else { return };
    let is_empty = |file: &String| {
        log.file(file, OFlags::RDONLY).and_then(rustix::fs::fstat).is_ok_and(|found| found.st_size == 0)
    };
    if log.names().is_ok_and(|files| files.iter().all(is_empty)) && log.clear("").is_ok() {
        let _ = logs.remove_directory(name);
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn runtime() -> Result<Directory> {
    if is_root() {
        return Directory::given(Path::new("/run"));
    }
    let step = "find the directory of your sandboxes";
    let hint = "log in as this user, or set XDG_RUNTIME_DIR to a directory of yours that is in memory";
    let path = variable("XDG_RUNTIME_DIR").map(PathBuf::from).ok_or("it is not set");
    match path.and_then(|path| if path.is_absolute() { Ok(path) } else { Err("it is not absolute") }) {
        Ok(path) => Directory::given(&path).map_err(|error| error.hint(hint)),
        Err(cause) => Err(Error::new(step, format!("it is named by XDG_RUNTIME_DIR, and {cause}")).hint(hint)),
    }
}

fn state_home() -> Result<PathBuf> {
    let by_home = || variable("HOME").map(|home| Path::new(&home).join(".local/state"));
    let directory = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(by_home);
    let cause = || Error::new("find a directory for the log", "neither XDG_STATE_HOME nor HOME is set");
    directory.ok_or_else(|| cause().hint("set XDG_STATE_HOME to a directory of yours"))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
