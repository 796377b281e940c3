//! What a contender shows before it is measured: that it does the work it is measured for.

use crate::Result;
use std::collections::BTreeMap;
use std::fs;

/// The status that the proving command ends with and that the contender has to hand on.
pub const STATUS: i32 = 42;

const NAMESPACES: [&str; 6] = ["mnt", "pid", "net", "ipc", "uts", "cgroup"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It only runs the command.
    Nothing,
    /// The command is a child of PID 1 and not PID 1.
    Init,
    /// The command's namespaces are new.
    Sandbox,
    /// And there is an eth0.
    Connected,
}

impl Proof {
    /// `said` is what `task prove` prints: its PID, its namespaces, its devices, its mounts.
    pub fn check(self, said: &str) -> Result<()> {
        let mut lines = said.lines();
        let pid = lines.next().unwrap_or_default();
        match self {
            Self::Nothing => Ok(()),
            Self::Init => match pid.parse::<u32>() {
                Ok(pid) if pid > 1 => Ok(()),
                _ => Err(format!("the command is not a child of an init (its PID: {pid})")),
            },
            Self::Connected if !said.contains("eth0:") => Err("there is no eth0 inside".to_owned()),
            Self::Sandbox | Self::Connected => NAMESPACES.iter().try_for_each(|name| {
                let outside = fs::read_link(format!("/proc/self/ns/{name}")).map_err(|error| error.to_string())?;
                let inside = lines.next().unwrap_or_default();
                let new = inside.starts_with(&format!("{name}:[")) && outside.as_os_str() != inside;
                if new { Ok(()) } else { Err(format!("the command's {name} namespace is not new")) }
            }),
        }
    }
}

/// Mount point and file system of each mount that a sandbox's proof shows, `/` aside.
pub fn mounts(said: &str) -> BTreeMap<String, String> {
    let parse = |line: &str| {
        let (fields, kind) = line.split_once(" - ")?;
        Some((fields.split(' ').nth(4)?.to_owned(), kind.split(' ').next()?.to_owned()))
    };
    said.lines().filter_map(parse).filter(|(point, _)| point != "/").collect()
}
