//! What ends first: each limit of the machine's, what a sandbox takes of it, and for how many there is room.

use super::sample::Sample;
use super::snapshot::{AVAILABLE, FILES, IN_ALL, PROCESSES, Snapshot};
use std::fmt::Write;
use std::fs;

/// A pair of addresses for each sandbox, of the default pool's /16.
const POOL: f64 = 32_768.0;

/// `live` sandboxes made the difference between the two.
pub fn render(before: &Snapshot, after: &Snapshot, sample: &Sample, live: usize) -> String {
    let each = |index: usize| (after.0[index] - before.0[index]) / live as f64;
    let (processes, files, memory) = (each(PROCESSES), each(FILES), each(IN_ALL) + sample.memory());
    let limits = [
        ("addresses of the default pool", Some(POOL), 0.0, 1.0),
        ("kernel.pid_max", sysctl("kernel/pid_max"), before.0[PROCESSES], processes),
        ("kernel.threads-max", sysctl("kernel/threads-max"), before.0[PROCESSES], processes),
        ("fs.file-max", sysctl("fs/file-max"), before.0[FILES], files),
        ("user.max_net_namespaces", sysctl("user/max_net_namespaces"), 0.0, 1.0),
        ("user.max_mnt_namespaces", sysctl("user/max_mnt_namespaces"), 0.0, 1.0),
        ("user.max_pid_namespaces", sysctl("user/max_pid_namespaces"), 0.0, 1.0),
        ("memory, KiB", Some(before.0[AVAILABLE]), 0.0, memory),
    ];
    let mut rows: Vec<(f64, String)> = limits
        .into_iter()
        .filter_map(|(name, limit, used, taken)| {
            let room = ((limit? - used) / taken).floor();
            Some((room, format!("{name:<36} {:>10.0} {used:>10.0} {taken:>12.1} {room:>10.0}", limit?)))
        })
        .collect();
    rows.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut text = format!(
        "\n{:<36} {:>10} {:>10} {:>12} {:>10}\n",
        "what ends first", "limit", "in use", "a sandbox", "room for"
    );
    for (_, row) in rows {
        let _ = writeln!(text, "{row}");
    }
    text
}

fn sysctl(name: &str) -> Option<f64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}
