//! `nsl wait`: waits until sandboxes have ended, and prints their exit codes.

use super::entry::Entry;
use super::state::Status;
use super::{each, print};
use crate::cli::Wait;
use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags};

pub fn wait(options: &Wait) -> Result<u8> {
    each(&options.names, |name| {
        loop {
            let entry = Entry::find(name)?;
            let Entry { state, .. } = &entry;
            let step = || format!("tell how {name} ended");
            match (entry.status(), &state.exit) {
                (Status::Exited, Some(exit)) => return print(&format!("{}\n", exit.code)),
                (Status::Exited, None) => return Err(Error::new(step(), "it was not noted")),
                (Status::Dead, _) => return Err(Error::new(step(), "its nsl was killed, and it with it")),
                _ => {}
            }
            // One that cannot be opened has ended since.
            if let Some(monitor) = state.monitor.open() {
                let _ = rustix::event::poll(&mut [PollFd::new(&monitor, PollFlags::IN)], None);
            }
        }
    })
}
