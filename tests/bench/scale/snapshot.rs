//! What of the machine is in use, by the kernel's own accounts.

use crate::{Result, world};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(200);
/// The caches of the kernel that grew the most: so many are shown.
const CACHES: usize = 12;
/// What the kernel itself takes, as /proc/meminfo names it.
const KERNEL: [&str; 6] = ["SUnreclaim", "SReclaimable", "Shmem", "KernelStack", "PageTables", "Percpu"];

pub const NAMES: [&str; 13] = [
    "kernel: slabs, KiB",
    "kernel: reclaimable slabs, KiB",
    "kernel: files in memory, KiB",
    "kernel: stacks, KiB",
    "kernel: page tables, KiB",
    "kernel: per CPU, KiB",
    "kernel, in all, KiB",
    "available memory, KiB",
    "open files",
    "processes",
    "devices",
    "network namespaces",
    "cgroups",
];
pub const IN_ALL: usize = 6;
pub const AVAILABLE: usize = 7;
pub const FILES: usize = 8;
pub const PROCESSES: usize = 9;

/// In the order of `NAMES`; and nft's words for the rules in this network namespace.
pub struct Snapshot(pub [f64; 13], pub String, Vec<Cache>);

/// A cache of the kernel's, from /proc/slabinfo.
struct Cache {
    name: String,
    objects: f64,
    kib: f64,
}

impl Snapshot {
    pub fn take() -> Result<Self> {
        let meminfo = read("/proc/meminfo")?;
        let memory = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map_or(0.0, first)
        };
        let kernel = KERNEL.map(memory);
        let load = read("/proc/loadavg")?;
        let caches = all_caches();
        let mut figures = [0.0; 13];
        figures[..IN_ALL].copy_from_slice(&kernel);
        figures[IN_ALL] = kernel.iter().sum();
        figures[AVAILABLE] = memory("MemAvailable");
        figures[FILES] = first(&read("/proc/sys/fs/file-nr")?);
        figures[PROCESSES] = load.split_once('/').map_or(0.0, |(_, all)| first(all));
        figures[10] = world::devices() as f64;
        figures[11] = namespaces(&caches);
        figures[12] = directories(Path::new("/sys/fs/cgroup")) as f64;
        let rules = Command::new("nft").args(["list", "ruleset"]).output();
        let rules = rules.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Ok(Self(figures, rules.unwrap_or_default(), caches))
    }
}

/// Those that grew the most, by memory; each sandbox's share.
pub fn caches(before: &Snapshot, after: &Snapshot, live: usize) -> String {
    let mut grown: Vec<Cache> = after.2.iter().map(|cache| cache.beyond(&before.2)).collect();
    grown.sort_by(|left, right| right.kib.total_cmp(&left.kib));
    let mut text = format!("\n{:<36} {:>10} {:>10}\n", "of a sandbox in the kernel's caches", "objects", "KiB");
    for Cache { name, objects, kib } in grown.iter().take(CACHES) {
        let _ = writeln!(text, "{name:<36} {:>10.1} {:>10.1}", objects / live as f64, kib / live as f64);
    }
    text
}

impl Cache {
    fn beyond(&self, before: &[Self]) -> Self {
        let old = before.iter().find(|other| other.name == self.name);
        let (objects, kib) = old.map_or((0.0, 0.0), |old| (old.objects, old.kib));
        Self { name: self.name.clone(), objects: self.objects - objects, kib: self.kib - kib }
    }
}

/// Waits until there are no more network namespaces than before, as the kernel takes them apart later, in one worker
/// for all; or until somebody else has obviously made more.
pub fn settle(before: &Snapshot) {
    let begin = Instant::now();
    while namespaces(&all_caches()) > namespaces(&before.2) && begin.elapsed() < PATIENCE {
        sleep(PAUSE);
    }
}

fn namespaces(caches: &[Cache]) -> f64 {
    caches.iter().find(|cache| cache.name == "net_namespace").map_or(0.0, |cache| cache.objects)
}

/// Objects in use, and the memory of all slabs, whose pages have 4 KiB.
fn all_caches() -> Vec<Cache> {
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words.get(index)?.parse::<f64>().ok();
        Some(Cache { name: (*words.first()?).to_owned(), objects: number(1)?, kib: number(14)? * number(5)? * 4.0 })
    };
    fs::read_to_string("/proc/slabinfo").unwrap_or_default().lines().filter_map(parse).collect()
}

fn directories(path: &Path) -> usize {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.map(|entry| 1 + directories(&entry.path())).sum()
}

/// The number that a text begins with.
fn first(text: &str) -> f64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))
}
