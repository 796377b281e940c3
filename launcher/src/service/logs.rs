//! `nsl logs`: what the command of a sandbox wrote.

use super::entry::Entry;
use super::place;
use crate::cli::{LogDriver, Logs};
use crate::error::{Error, Result};
use crate::logs::{Reader, Wanted};

pub fn logs(options: &Logs) -> Result<u8> {
    let name = &options.name;
    let wanted = Wanted::new(options)?;
    let Entry { state, alive, .. } = Entry::find(name)?;
    let step = || format!("show the log of {name}");
    let driver = state.log.as_ref().map_or(LogDriver::File.word(), |log| &log.driver);
    if driver == LogDriver::Journald.word() {
        return Err(Error::new(step(), "it is in the journal").hint(format!("journalctl NSL_NAME={name}")));
    }
    if driver == LogDriver::None.word() {
        return Err(Error::new(step(), "it runs with --log none: nothing is kept"));
    }
    if driver == LogDriver::Stdout.word() {
        return Err(Error::new(step(), "its output goes where that of its nsl goes").hint("--log file keeps it"));
    }
    let open = || place::logs().and_then(|logs| logs.open(name).transpose());
    let removed = || Error::new(step(), "there is none");
    let directory = open().ok_or_else(removed)??;
    let monitor = if options.follow && alive { state.monitor.open()? } else { None };
    Reader::new(directory, wanted)?.print(monitor.as_ref()).map(|()| 0)
}
