//! `nsl inspect`: all that is known of sandboxes, as JSON.

use super::entry::Entry;
use super::state::{State, Status};
use super::{each, print};
use crate::cli::Names;
use crate::error::{Error, Result};
use serde::Serialize;

/// What is noted, with what is so now.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    state: State,
    alive: bool,
    /// Milliseconds since the command started.
    uptime_ms: Option<u64>,
}

pub fn inspect(options: &Names) -> Result<u8> {
    let mut all = Vec::new();
    let result = each(&options.names, |name| {
        let entry = Entry::find(name)?;
        let (status, uptime_ms, alive) = (entry.status(), entry.uptime_ms(), entry.alive);
        let state = State { status, ..entry.state };
        all.push(Shown { state, alive: alive && status != Status::Exited, uptime_ms });
        Ok(())
    });
    let json = serde_json::to_string_pretty(&all).map_err(|error| Error::new("write JSON", error.to_string()))?;
    print(&format!("{json}\n"))?;
    result
}
