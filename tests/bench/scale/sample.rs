//! What one sandbox holds: the mean of some.

use crate::Result;
use crate::memory::read_memory;
use crate::processes::{child_of, on_cpu};
use std::fs;
use std::process::Child;

pub const NAMES: [&str; 7] = [
    "private memory of nsl, KiB",
    "private memory of nsl-init, KiB",
    "private memory of the command, KiB",
    "descriptors of nsl",
    "descriptors of nsl-init",
    "mounts inside",
    "CPU time of nsl and nsl-init, ms",
];
/// How many are looked at.
const SIZE: usize = 20;

/// In the order of `NAMES`; not a number where there are none.
pub struct Sample(pub [f64; 7]);

impl Sample {
    pub fn take(launchers: &[Child]) -> Result<Self> {
        let every = launchers.len().div_ceil(SIZE).max(1);
        let figures: Vec<_> = launchers.iter().step_by(every).map(figures).collect::<Result<_>>()?;
        let mean =
            |index: usize| figures.iter().map(|figures: &[f64; 7]| figures[index]).sum::<f64>() / figures.len() as f64;
        Ok(Self(std::array::from_fn(mean)))
    }

    /// What is nsl's, its init's and the command's, in KiB.
    pub fn memory(&self) -> f64 {
        self.0[..3].iter().sum()
    }
}

fn figures(launcher: &Child) -> Result<[f64; 7]> {
    let launcher = launcher.id();
    let init = child_of(launcher).ok_or("nsl has no child")?;
    let command = child_of(init).ok_or("nsl-init has no child")?;
    let private = |pid| read_memory(pid).map(|(_, private)| private);
    let files = |pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) as f64;
    let mounts = fs::read_to_string(format!("/proc/{init}/mountinfo")).map_or(0, |text| text.lines().count()) as f64;
    let cpu = on_cpu(launcher).unwrap_or(0.0) + on_cpu(init).unwrap_or(0.0);
    Ok([private(launcher)?, private(init)?, private(command)?, files(launcher), files(init), mounts, cpu])
}
