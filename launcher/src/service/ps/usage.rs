//! What the processes of sandboxes use: one look at every process of the host, from which each sandbox's are those that
//! descend from its init.

use super::super::process::Process;
use std::collections::HashMap;

/// Clock ticks of a second, and bytes of a page, never none.
pub fn ticks_per_second() -> u64 {
    procfs::ticks_per_second().max(1)
}

pub struct One {
    start_time: u64,
    pub name: String,
    /// CPU time of its own, in clock ticks.
    pub own_ticks: u64,
    pub threads: u64,
    /// Of its own, and of those that it has waited for.
    ticks: u64,
    pages: u64,
}

impl One {
    /// Bytes that it has in memory.
    pub fn memory(&self) -> u64 {
        self.pages * procfs::page_size()
    }
}

/// The processes of the host, at about one moment.
pub struct Processes {
    by_pid: HashMap<u32, One>,
    children: HashMap<u32, Vec<u32>>,
}

#[derive(Default)]
pub struct Usage {
    pub processes: u32,
    /// CPU time, in clock ticks.
    pub ticks: u64,
    /// What is in memory of each, in bytes; what they share is counted more than once.
    pub memory: u64,
}

impl Processes {
    pub fn read() -> Self {
        let mut all = Self { by_pid: HashMap::new(), children: HashMap::new() };
        // Who ends meanwhile is left out.
        for process in procfs::process::all_processes().into_iter().flatten().flatten() {
            let Ok(stat) = process.stat() else { continue };
            let waited = stat.cutime.max(0) as u64 + stat.cstime.max(0) as u64;
            let own_ticks = stat.utime + stat.stime;
            all.children.entry(stat.ppid as u32).or_default().push(stat.pid as u32);
            let one = One {
                start_time: stat.starttime,
                name: stat.comm,
                own_ticks,
                threads: stat.num_threads.max(0) as u64,
                ticks: own_ticks + waited,
                pages: stat.rss,
            };
            all.by_pid.insert(stat.pid as u32, one);
        }
        all
    }

    /// What an init and those below it use; none if it is not there any more.
    pub fn usage(&self, init: Process) -> Option<Usage> {
        let mut usage = Usage::default();
        for (_, one) in self.below(init)? {
            usage.processes += 1;
            usage.ticks += one.ticks;
            usage.memory += one.memory();
        }
        // The init itself is nsl's.
        usage.processes = usage.processes.saturating_sub(1);
        Some(usage)
    }

    /// An init and those below it; none if it is not there any more.
    pub fn below(&self, init: Process) -> Option<Vec<(u32, &One)>> {
        self.by_pid.get(&init.pid).filter(|found| found.start_time == init.start_time)?;
        let mut found = Vec::new();
        let mut left = vec![init.pid];
        while let Some(pid) = left.pop() {
            found.extend(self.by_pid.get(&pid).map(|one| (pid, one)));
            left.extend(self.children.get(&pid).into_iter().flatten());
        }
        Some(found)
    }
}
