//! The bench's own mount and network namespaces: nothing that a contender does reaches the machine's. A world is a
//! host as nsl finds it; the bench moves from one to another, so that what is live in one is not in the other.

use crate::{Result, programs};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::path::Path;

pub struct World {
    mounts: File,
    network: File,
}

impl World {
    /// Makes one, and moves this process into it. `floor` brings lo up and makes an uplink that leads nowhere, so that
    /// contenders find a host with a default route.
    pub fn create(floor: &Path) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("cannot make namespaces of its own: {error} (hint: the bench needs root)"))?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .map_err(|error| format!("cannot make mounts private: {error}"))?;
        programs::finish(std::process::Command::new(floor).arg("world"))?;
        stand_at_root()?;
        let namespace = |name: &str| {
            let file = format!("/proc/self/ns/{name}");
            File::open(&file).map_err(|error| format!("cannot open {file}: {error}"))
        };
        Ok(Self { mounts: namespace("mnt")?, network: namespace("net")? })
    }

    /// What is started from here on is started there.
    pub fn enter(&self) -> Result<()> {
        setns(&self.mounts, CloneFlags::CLONE_NEWNS)
            .and_then(|()| setns(&self.network, CloneFlags::CLONE_NEWNET))
            .map_err(|error| format!("cannot move to another host: {error}"))?;
        stand_at_root()
    }
}

fn stand_at_root() -> Result<()> {
    std::env::set_current_dir("/").map_err(|error| format!("cannot change directory to /: {error}"))
}

/// The devices of sandboxes in this network namespace. (/proc/net is that of the reader; /sys that of its mount.)
pub fn devices() -> usize {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    text.lines().filter(|line| line.trim_start().starts_with("nsl")).count()
}
