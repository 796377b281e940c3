//! Sandboxes with a name: what is known of each lies in a directory of its own, and the kernel, by a lock, says which of
//! them live. There is no daemon: the nsl that carries a sandbox out writes its state, and every other one reads it.

mod claim;
mod directory;
mod entry;
mod exec;
mod inspect;
mod kill;
mod lock;
mod logs;
mod monitor;
mod name;
mod options;
mod place;
mod process;
mod ps;
mod ready;
mod registration;
mod rm;
mod state;
mod stop;
mod top;
mod wait;

pub use directory::Directory;
pub use exec::{Check, exec};
pub use inspect::inspect;
pub use kill::kill;
pub use logs::logs;
pub use monitor::{Caller, Side, detach};
pub use name::check as check_name;
pub use options::options;
pub use place::{logs_path, states_path};
pub use ps::ps;
pub use registration::Service;
pub use rm::rm;
pub use state::Exit;
pub use stop::stop;
pub use top::top;
pub use wait::wait;

use crate::error::{self, Error, Result};
use crate::log;
use std::io::Write;

/// Does the same with each name; one that fails keeps none of the others from it. All errors but the last, which is
/// returned, are told at once.
fn each(names: &[String], mut work: impl FnMut(&str) -> Result<()>) -> Result<u8> {
    let mut failed: Option<Error> = None;
    for name in names {
        if let Err(error) = work(name)
            && let Some(before) = failed.replace(error)
        {
            log::tell(&before.to_string());
        }
    }
    failed.map_or(Ok(0), Err)
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    error::told(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}
