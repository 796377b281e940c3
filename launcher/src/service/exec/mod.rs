//! `nsl exec`: one more command in a sandbox that runs. It gets what the sandbox's own command has: every namespace, the
//! cgroup, the capabilities, the filter, the limits; of the caller's it gets the streams, and nothing else.
//!
//! A child enters the sandbox and becomes an nsl-init, outside of the PID namespace, so that nobody inside sees or
//! traces it; its own child, the command, is born inside.

mod check;
mod join;
mod message;
mod orphans;
mod session;
mod target;

pub use check::Check;

use crate::cli;
use crate::error::{Error, Result};
use crate::hints;
use crate::image;
use crate::signals::Blocked;
use crate::spawn::Files;
use crate::terminal;
use session::Session;
use std::io::IsTerminal;
use target::Target;

/// Runs the command; returns its exit code.
pub fn exec(exec: &cli::Exec) -> Result<u8> {
    let has_terminal = has_terminal(exec)?;
    let target = Target::find(&exec.name)?;
    let blocked = Blocked::new()?;
    let message = message::Message::new(exec, &target, has_terminal)?;
    let boot = message.file(blocked.mask())?;
    let init = image::init().map_err(hints::memory_file)?;
    let (streams, relays) = if has_terminal {
        (terminal::pty_streams(), Vec::new())
    } else {
        terminal::plain_streams().map_err(|errno| Error::os("make pipes for the command", errno))?
    };
    let files = Files { init, boot, streams, preserved: Vec::new() };
    let init = join::start(&target, &message, files).map_err(|error| target.unless_ended(error))?;
    let signals = blocked.catch()?;
    let mut session = Session::new(&target, message.subject(), init, signals, relays);
    session.is_check = exec.check;
    session.run(has_terminal)
}

/// As nsl run has it.
fn has_terminal(exec: &cli::Exec) -> Result<bool> {
    let stdin = std::io::stdin().is_terminal();
    if exec.tty && !stdin {
        return Err(Error::new("use --tty", "stdin is no terminal").hint("leave --tty out"));
    }
    Ok(exec.tty || !exec.no_tty && stdin && std::io::stdout().is_terminal())
}
