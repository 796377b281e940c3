//! What a sandbox and its processes have used up to a moment; and what that is between two of them, in lines.

use super::super::entry::Entry;
use super::super::ps::row;
use super::super::ps::usage::{Processes, ticks_per_second};
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

#[derive(Clone)]
pub struct Sample {
    taken: Instant,
    processes: HashMap<u32, Process>,
    /// CPU time of all, those that have ended included.
    ticks: u64,
    /// Bytes that came and went; none where it has no network of its own.
    network: Option<(u64, u64)>,
}

#[derive(Clone)]
struct Process {
    ticks: u64,
    memory: u64,
    threads: u64,
    name: String,
}

impl Sample {
    pub fn take(entry: &Entry) -> Self {
        let mut sample = Self { taken: Instant::now(), processes: HashMap::new(), ticks: 0, network: None };
        let Some(init) = entry.state.init else { return sample };
        let all = Processes::read();
        sample.ticks = all.usage(init).unwrap_or_default().ticks;
        for (pid, one) in all.below(init).into_iter().flatten().filter(|(pid, _)| *pid != init.pid) {
            let (ticks, memory, threads) = (one.own_ticks, one.memory(), one.threads);
            sample.processes.insert(pid, Process { ticks, memory, threads, name: one.name.clone() });
        }
        if entry.state.network.is_some() {
            sample.network = network(init.pid);
        }
        sample
    }
}

/// Bytes that its devices received and sent, but for lo.
fn network(init: u32) -> Option<(u64, u64)> {
    let devices = procfs::process::Process::new(init.cast_signed()).and_then(|init| init.dev_status()).ok()?;
    let devices = devices.values().filter(|device| device.name != "lo");
    Some(devices.fold((0, 0), |(received, sent), device| (received + device.recv_bytes, sent + device.sent_bytes)))
}

/// At most `most` lines: of the sandbox, and of its processes, those that use most first.
pub fn lines(entry: &Entry, before: &Sample, now: &Sample, most: usize) -> Vec<String> {
    let elapsed_ms = (now.taken - before.taken).as_millis().max(1) as u64;
    let percent = |ticks: u64| {
        let thousandths = ticks * 1_000_000 / ticks_per_second() / elapsed_ms;
        format!("{}.{}%", thousandths / 10, thousandths % 10)
    };
    let mut processes: Vec<_> = now
        .processes
        .iter()
        .map(|(pid, process)| {
            let known = before.processes.get(pid).filter(|known| known.ticks <= process.ticks);
            (process.ticks - known.map_or(0, |known| known.ticks), *pid, process)
        })
        .collect();
    processes.sort_by_key(|(ticks, pid, process)| (std::cmp::Reverse((*ticks, process.memory)), *pid));
    let (memory, threads) = now
        .processes
        .values()
        .fold((0, 0), |(memory, threads), process| (memory + process.memory, threads + process.threads));
    let mut lines = vec![
        head(entry),
        format!(
            "cpu {}   memory {}   processes {}   threads {threads}{}",
            percent(now.ticks.saturating_sub(before.ticks)),
            row::size(memory),
            processes.len(),
            traffic(before, now, elapsed_ms)
        ),
        String::new(),
        "    PID      CPU    MEM  THREADS  COMMAND".to_owned(),
    ];
    for (ticks, pid, process) in processes.into_iter().take(most.saturating_sub(lines.len())) {
        let (percent, size, threads) = (percent(ticks), row::size(process.memory), process.threads);
        lines.push(format!("{pid:7}  {percent:>7}  {size:>5}  {threads:7}  {}", command(pid, &process.name)));
    }
    lines.truncate(most);
    lines
}

fn head(entry: &Entry) -> String {
    let mut line = format!("{}: {}", entry.state.name, row::words(entry, entry.uptime_ms()));
    let _ = match entry.state.restarts {
        0 => Ok(()),
        1 => write!(line, ", 1 restart"),
        restarts => write!(line, ", {restarts} restarts"),
    };
    line
}

fn traffic(before: &Sample, now: &Sample, elapsed_ms: u64) -> String {
    let Some((received, sent)) = now.network else { return String::new() };
    let (had_received, had_sent) = before.network.unwrap_or((received, sent));
    let rate = |now: u64, before: u64| row::size(now.saturating_sub(before) * 1000 / elapsed_ms);
    format!(
        "   received {} ({}/s)   sent {} ({}/s)",
        row::size(received),
        rate(received, had_received),
        row::size(sent),
        rate(sent, had_sent)
    )
}

/// Its command line; in brackets its name where it has none.
fn command(pid: u32, name: &str) -> String {
    let words = procfs::process::Process::new(pid.cast_signed()).and_then(|process| process.cmdline());
    match words {
        Ok(words) if !words.is_empty() => row::line(&words),
        _ => format!("[{}]", row::line(&[name.to_owned()])),
    }
}
