//! `nsl clean`: removes what sandboxes leave on a host by design, or because nsl was killed with all that would have
//! cleaned up. No part of `nsl run`.

use crate::error::{self, Error, Result};
use crate::{cgroup, net, store, sys};
use std::io::Write;

/// Removes it; what was done, and what is left to the host's owner, goes to stdout.
pub fn clean() -> Result<()> {
    sys::ignore_signals_of_writes();
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new("clean up", "what nsl leaves on a host is root's").hint("sudo nsl clean"));
    }
    for (number, what) in [(cgroup::sweep(), "cgroup"), (store::sweep(), "half-unpacked root")] {
        if number > 0 {
            let plural = if number == 1 { "" } else { "s" };
            say(&format!("removed {number} {what}{plural} of nsl that was killed"))?;
        }
    }
    let is_removed = net::remove_table()?;
    say(if is_removed { "removed the nftables table inet nsl" } else { "there is no nftables table inet nsl" })?;
    for setting in net::settings_that_are_on() {
        say(&format!("{setting} is on and stays so, since others may rely on it: sysctl {setting}=0 switches it off"))?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    error::told(writeln!(std::io::stdout(), "{line}"))
}
