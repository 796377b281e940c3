//! How a sandbox was asked for, for who asks for it again.

use super::entry::Entry;
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;

/// Its options and command, and the directory from which it was started.
pub fn options(name: &str) -> Result<(Vec<OsString>, Option<PathBuf>)> {
    let state = Entry::find(name)?.state;
    // "nsl run", then the rest.
    let words: Vec<OsString> = state.options.iter().skip(2).map(Into::into).collect();
    let cause = || Error::new(format!("read how {name} was started"), "it was not noted");
    if words.is_empty() { Err(cause()) } else { Ok((words, state.directory.map(Into::into))) }
}
