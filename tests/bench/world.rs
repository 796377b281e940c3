//! The bench's own mount and network namespaces: nothing that a contender does reaches the machine's.

use crate::{Result, programs};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::path::Path;

/// Moves this process into them. `floor` brings lo up and makes an uplink that leads nowhere, so that contenders find
/// a host with a default route.
pub fn enter(floor: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("cannot make namespaces of its own: {error} (hint: the bench needs root)"))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| format!("cannot make mounts private: {error}"))?;
    programs::finish(std::process::Command::new(floor).arg("world"))?;
    std::env::set_current_dir("/").map_err(|error| format!("cannot change directory to /: {error}"))
}
