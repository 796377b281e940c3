//! A line of `nsl ps`, as words and as JSON.

use super::super::entry::Entry;
use super::super::state::{self, Status};
use super::usage::{Processes, ticks_per_second};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

#[derive(Serialize)]
pub struct Row {
    name: String,
    status: Status,
    /// The status in words.
    #[serde(rename = "description")]
    words: String,
    /// The init's, as the host has it.
    pid: Option<u32>,
    uptime_ms: Option<u64>,
    /// The time that it has used of CPUs.
    cpu_ms: Option<u64>,
    memory_bytes: Option<u64>,
    processes: Option<u32>,
    ports: Vec<String>,
    health: Option<String>,
    restarts: u32,
    /// Lines of its output that are not in the log.
    dropped_lines: u64,
    command: Vec<String>,
}

impl Row {
    pub fn new(entry: &Entry, processes: &Processes) -> Self {
        let state = &entry.state;
        let status = entry.status();
        let init = state.init.filter(|_| entry.alive && status != Status::Exited);
        let usage = init.and_then(|init| processes.usage(init));
        let uptime_ms = entry.uptime_ms();
        Self {
            name: state.name.clone(),
            status,
            words: words(entry, uptime_ms),
            pid: init.map(|init| init.pid),
            uptime_ms,
            cpu_ms: usage.as_ref().map(|usage| usage.ticks * 1000 / ticks_per_second()),
            memory_bytes: usage.as_ref().map(|usage| usage.memory),
            processes: usage.as_ref().map(|usage| usage.processes),
            ports: init.and(state.network.as_ref()).map(ports).unwrap_or_default(),
            health: state.health.clone(),
            restarts: state.restarts,
            dropped_lines: state.log.as_ref().map_or(0, |log| log.dropped.lines()),
            command: state.command.clone(),
        }
    }

    fn cells(&self) -> [String; 8] {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let ports = (!self.ports.is_empty()).then(|| self.ports.join(","));
        [
            self.name.clone(),
            match self.dropped_lines {
                0 => self.words.clone(),
                1 => format!("{}, 1 line dropped", self.words),
                lines => format!("{}, {lines} lines dropped", self.words),
            },
            or_none(self.pid.map(|pid| pid.to_string())),
            or_none(self.cpu_ms.zip(self.uptime_ms).map(share)),
            or_none(self.memory_bytes.map(size)),
            or_none(self.processes.map(|count| count.to_string())),
            or_none(ports),
            line(&self.command),
        ]
    }
}

/// The status as one says it.
pub fn words(entry: &Entry, uptime_ms: Option<u64>) -> String {
    let state = &entry.state;
    let ago = || state.ended_after_boot_ms.map(|ended| state::since_boot_ms().saturating_sub(ended));
    match entry.status() {
        Status::Starting => "Starting".to_owned(),
        Status::Running => {
            let health = state.health.as_ref().map(|health| format!(" ({health})")).unwrap_or_default();
            format!("Up {}{health}", duration(uptime_ms.unwrap_or_default()))
        }
        Status::Stopping => "Stopping".to_owned(),
        Status::Restarting => format!("Restarting ({})", state.restarts),
        Status::Exited => {
            let code = state.exit.as_ref().map_or(0, |exit| exit.code);
            format!("Exited ({code}) {} ago", duration(ago().unwrap_or_default()))
        }
        Status::Dead => "Dead".to_owned(),
    }
}

/// A time in its largest unit.
fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (count, unit) = match seconds {
        0 => return "less than a second".to_owned(),
        1..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3600, "hour"),
        172_800..1_209_600 => (seconds / 86_400, "day"),
        _ => (seconds / 604_800, "week"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

/// How much of one CPU it has used since its start.
fn share((used, uptime): (u64, u64)) -> String {
    let thousandths = used * 1000 / uptime.max(1);
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

/// A size in a unit in which it is a number of at most four digits, rounded down.
pub fn size(bytes: u64) -> String {
    let mut shown = bytes * 10;
    for unit in ["", "K", "M", "G"] {
        if shown < 10_000 {
            let tenths = if unit.is_empty() || shown >= 1000 { String::new() } else { format!(".{}", shown % 10) };
            return format!("{}{tenths}{unit}", shown / 10);
        }
        shown /= 1024;
    }
    format!("{}T", shown / 10)
}

/// What is published: the port of the host, and the one that it leads to.
fn ports(network: &Value) -> Vec<String> {
    let published = network["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = |port: &Value| {
        let number = |name: &str| port[name].as_u64().unwrap_or_default();
        let ip = match port["host_ip"].as_str() {
            Some(ip) if ip.contains(':') => format!("[{ip}]:"),
            Some(ip) => format!("{ip}:"),
            None => String::new(),
        };
        let protocol = port["protocol"].as_str().unwrap_or_default();
        format!("{ip}{}->{}/{protocol}", number("host_port"), number("container_port"))
    };
    published.iter().map(shown).collect()
}

/// A command as one types it, on one line: what a terminal would obey is shown by name.
pub fn line(command: &[String]) -> String {
    let shown = |word: &String| {
        word.chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect::<String>()
    };
    command.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// The lines below a heading, in columns.
pub fn table(rows: &[Row]) -> String {
    let heading = ["NAME", "STATUS", "PID", "CPU", "MEM", "PROCS", "PORTS", "COMMAND"].map(str::to_owned);
    let lines: Vec<[String; 8]> = std::iter::once(heading).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(text, "{cell:width$}   ");
        }
        text.push_str(&line[7]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        for (ms, words) in
            [(0, "less than a second"), (1000, "1 second"), (119_000, "119 seconds"), (120_000, "2 minutes")]
        {
            assert_eq!(duration(ms), words);
        }
        assert_eq!(duration(2 * 3_600_000), "2 hours");
        assert_eq!(duration(48 * 3_600_000), "2 days");
        assert_eq!(duration(14 * 86_400_000), "2 weeks");
        for (bytes, words) in
            [(0, "0"), (999, "999"), (1023, "0.9K"), (2048, "2.0K"), (150 << 20, "150M"), (3 << 30, "3.0G")]
        {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn cpu_time_is_a_share_of_the_time() {
        let shares = [(0, 0), (1, 1000), (10, 10_000), (1500, 1000), (999, 1000)].map(share);
        assert_eq!(shares, ["0.0%", "0.1%", "0.1%", "150.0%", "99.9%"]);
    }

    #[test]
    fn ports_are_shown_with_where_they_lead() {
        let network = serde_json::json!({"ports": [
            {"host_ip": null, "host_port": 8080, "container_port": 80, "protocol": "tcp"},
            {"host_ip": "127.0.0.1", "host_port": 53, "container_port": 53, "protocol": "udp"},
            {"host_ip": "::1", "host_port": 1, "container_port": 2, "protocol": "tcp"}]});
        assert_eq!(ports(&network), ["8080->80/tcp", "127.0.0.1:53->53/udp", "[::1]:1->2/tcp"]);
        assert!(ports(&Value::Null).is_empty());
    }

    #[test]
    fn a_command_cannot_speak_to_the_terminal() {
        assert_eq!(line(&["a".to_owned(), "b\x1b[2J\n\u{9b}c ä".to_owned()]), "a b\\u{1b}[2J\\n\\u{9b}c ä");
    }
}
