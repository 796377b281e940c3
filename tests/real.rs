//! A service from the real world: redis as a detached sandbox on a published port, under load while it is killed,
//! restarted and stopped.

use crate::harness::{DIR, Host, wait_until};
use crate::leaks::kill_hard;
use crate::services::{inspect, process, remove};

/// Debian's redis-tools has the server by another name.
const SERVER: &str = "redis-check-rdb";

/// Redis with a file that it appends all to, published on port 6379.
fn redis(host: &Host, options: &[&str]) {
    host.sh(&format!("mkdir -p {DIR}/redis; cp $(command -v {SERVER}) {DIR}/redis/redis-server"));
    let volume = format!("{DIR}/redis:/srv");
    let words = ["run", "-d", "--name", "redis", "-p", "6379:6379", "-v", &volume, "-w", "/srv"];
    let server =
        ["--", "/srv/redis-server", "--protected-mode", "no", "--appendonly", "yes", "--appendfsync", "always"];
    host.nsl([&words, options, &server].concat()).run().assert_prints("redis");
    await_answer(host);
}

fn await_answer(host: &Host) {
    wait_until("redis answers", || host.sh("timeout 1 redis-cli ping 2>/dev/null || true") == "PONG\n");
}

#[test]
fn redis_serves_under_load_while_it_is_restarted() {
    let host = crate::host!("redis-cli", "redis-benchmark", SERVER);
    redis(&host, &["--restart", "always"]);
    host.sh("redis-cli set kept 1");
    // Each connection that breaks is made again; what was acknowledged must be there at the end.
    let writer = "n=0; while [ $n -lt 3000 ]; do timeout 1 redis-cli set last $((n + 1)) 2>/dev/null | grep -q OK && n=$((n + 1)); \
        [ -e /tmp/test/enough ] && break; done; echo $n";
    let load = host.command("sh", ["-c", writer]).start();
    for restarts in 1..=5 {
        await_answer(&host);
        kill_hard(process(&host, "redis", "init"));
        wait_until("it is started again", || inspect(&host, "redis")["restarts"] == restarts);
    }
    await_answer(&host);
    host.sh("touch /tmp/test/enough");
    let acknowledged: u64 = load.finish().stdout().trim().parse().expect("a number");
    let last: u64 = host.sh("redis-cli get last").trim().parse().expect("a number");
    assert!(acknowledged > 0 && (last == acknowledged || last == acknowledged + 1), "{last} of {acknowledged}");
    assert_eq!(host.sh("redis-cli get kept"), "1\n");
    // And fifty clients at once.
    let output = host.sh("redis-benchmark -q -n 20000 -c 50 -t set,get --csv");
    assert_eq!(
        output.lines().filter(|line| line.starts_with("\"SET\"") || line.starts_with("\"GET\"")).count(),
        2,
        "{output}"
    );
    host.nsl(["stop", "redis"]).run().assert_prints("redis");
    assert_eq!(inspect(&host, "redis")["exit"]["code"], 0);
    assert!(host.nsl(["logs", "redis"]).run().stdout().contains("ready to exit, bye bye"));
    remove(&host, "redis");
    host.assert_clean();
}
