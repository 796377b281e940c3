//! `nsl wait`: waits until sandboxes have ended, and prints their exit codes.

use super::entry::Entry;
use super::state::Status;
use super::{each, print};
use crate::cli::Names;
use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(1);

pub fn wait(options: &Names) -> Result<u8> {
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
            match state.monitor.open()? {
                Some(monitor) => drop(rustix::event::poll(&mut [PollFd::new(&monitor, PollFlags::IN)], None)),
                // It has ended since, and is looked at again; or it lets go of its lock in a moment.
                None => std::thread::sleep(PAUSE),
            }
        }
    })
}
