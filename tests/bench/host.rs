//! The machine and the versions that the figures belong to.

use std::fmt;
use std::fs;
use std::process::Command;

/// Name and value of each thing worth knowing, in the order in which they are shown.
pub struct Host(pub Vec<(&'static str, String)>);

/// The harness itself, and how it is told apart from others.
const HARNESS: &str = "plain interleaving: wall time of spawn and wait, contenders in turn, in a new order each round";

pub fn describe(extent: String, programs: &[&'static str]) -> Host {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut facts = vec![
        ("harness", HARNESS.to_owned()),
        ("date", first_line(Command::new("date").args(["--utc", "+%F %R UTC"]))),
        ("CPU", cpu()),
        ("cores", cores().to_string()),
        ("memory", memory()),
        ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()),
        ("load before", load.split(' ').next().unwrap_or_default().to_owned()),
        ("rounds", extent),
    ];
    facts.extend(programs.iter().map(|name| (*name, first_line(Command::new(name).arg("--version")))));
    Host(facts)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse().ok());
    total.map_or_else(|| "?".to_owned(), |kib: u64| format!("{} MiB", kib / 1024))
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
}

/// A warning when other work wanted more than a quarter of the machine before the bench began.
pub fn busy() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split(' ').next()?.parse().ok()?;
    let cores = cores();
    let busy = load > cores as f64 / 4.0;
    busy.then(|| format!("the machine was busy (load {load} on {cores} cores): measure again when it is not"))
}

/// What a program says first, on whichever stream it says it.
fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return "not installed".to_owned() };
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| writeln!(f, "{name:<12} {value}"))
    }
}
