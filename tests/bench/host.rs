//! The machine and the versions that the figures belong to.

use crate::inits::PEERS;
use std::fmt;
use std::fs;
use std::process::Command;

/// Name and value of each thing worth knowing, in the order in which they are shown.
pub struct Host(pub Vec<(&'static str, String)>);

pub fn describe(rounds: usize) -> Host {
    let cores = std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |count| count.to_string());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut facts = vec![
        ("date", first_line(Command::new("date").args(["--utc", "+%F %R UTC"]))),
        ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()),
        ("CPU", format!("{}, {cores} cores", cpu())),
        ("load before", load.split(' ').next().unwrap_or_default().to_owned()),
        ("rounds", rounds.to_string()),
    ];
    for peer in ["bwrap", "unshare"].into_iter().chain(PEERS) {
        facts.push((peer, first_line(Command::new(peer).arg("--version"))));
    }
    Host(facts)
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
    let cores = u32::try_from(std::thread::available_parallelism().ok()?.get()).ok()?;
    let busy = load > f64::from(cores) / 4.0;
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
