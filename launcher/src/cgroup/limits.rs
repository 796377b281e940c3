//! What the sandbox may use at most, and the files of a cgroup that say so.

use super::place::Controllers;
use crate::units::CPU_PERIOD;
use std::fmt;

/// Limits of a sandbox as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Microseconds of CPU time in each [`CPU_PERIOD`].
    pub cpu: Option<u64>,
    /// Processes and threads of the command's.
    pub processes: Option<u32>,
}

impl Limits {
    /// The controllers that these limits need.
    pub fn controllers(&self) -> Controllers {
        let needed = [
            self.memory.map(|_| Controllers::MEMORY),
            self.cpu.map(|_| Controllers::CPU),
            self.processes.map(|_| Controllers::PIDS),
        ];
        needed.into_iter().flatten().fold(Controllers::default(), Controllers::and)
    }

    /// The files to write, with their contents.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, String)> {
        let memory = self.memory.map(|bytes| ("memory.max", bytes.to_string()));
        let cpu = self.cpu.map(|quota| ("cpu.max", format!("{quota} {CPU_PERIOD}")));
        // The init is one of them.
        let processes = self.processes.map(|number| ("pids.max", (number + 1).to_string()));
        memory.into_iter().chain(cpu).chain(processes)
    }

    /// The limit of memory as one would type it.
    pub fn memory_option(&self) -> String {
        let bytes = self.memory.unwrap_or_default();
        let (number, unit) = scaled(bytes, &["", "k", "m", "g", "t"]);
        format!("--memory {number}{unit}")
    }
}

/// The largest unit of which `bytes` are a whole number.
fn scaled<'a>(bytes: u64, units: &[&'a str; 5]) -> (u64, &'a str) {
    let index = (1..units.len()).rev().find(|index| bytes != 0 && bytes.trailing_zeros() as usize >= 10 * index);
    let index = index.unwrap_or_default();
    (bytes >> (10 * index), units[index])
}

/// "64 MiB of memory, 1.5 CPUs, 100 processes".
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |is_one: bool, ending: &'static str| if is_one { "" } else { ending };
        let memory = self.memory.map(|bytes| {
            let (number, unit) = scaled(bytes, &["bytes", "KiB", "MiB", "GiB", "TiB"]);
            format!("{number} {unit} of memory")
        });
        let cpu = self.cpu.map(|quota| {
            let (whole, rest) = (quota / CPU_PERIOD, quota % CPU_PERIOD);
            let number = format!("{whole}.{rest:05}");
            let number = number.trim_end_matches('0').trim_end_matches('.');
            format!("{number} CPU{}", plural(quota == CPU_PERIOD, "s"))
        });
        let processes = self.processes.map(|number| format!("{number} process{}", plural(number == 1, "es")));
        let parts: Vec<_> = [memory, cpu, processes].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_as_they_are_meant() {
        let limits = |memory, cpu, processes| Limits { memory, cpu, processes };
        let cases = [
            (limits(Some(64 << 20), Some(150_000), Some(100)), "64 MiB of memory, 1.5 CPUs, 100 processes"),
            (limits(Some(3 << 29), Some(100_000), Some(1)), "1536 MiB of memory, 1 CPU, 1 process"),
            (limits(Some(100_001), Some(1000), None), "100001 bytes of memory, 0.01 CPUs"),
            (limits(None, Some(2_000_000), None), "20 CPUs"),
            (limits(None, None, None), ""),
        ];
        for (limits, expected) in cases {
            assert_eq!(limits.to_string(), expected);
        }
        assert_eq!(cases[1].0.memory_option(), "--memory 1536m");
        assert_eq!(cases[2].0.memory_option(), "--memory 100001");
        assert_eq!(limits(Some(1 << 40), None, None).memory_option(), "--memory 1t");
    }

    #[test]
    fn each_limit_has_its_controller_and_its_file() {
        let limits = Limits { memory: Some(4096), cpu: Some(50_000), processes: Some(9) };
        assert_eq!(limits.controllers().to_string(), "memory cpu pids");
        let files: Vec<_> = limits.files().map(|(file, content)| format!("{file}={content}")).collect();
        assert_eq!(files, ["memory.max=4096", "cpu.max=50000 100000", "pids.max=10"]);
        assert!(Limits::default().controllers().is_empty());
    }
}
