//! Output that goes to the journal: what journald gets, whether it is there, gone for a while, or reads nothing.

use crate::harness::{Host, wait_until};
use crate::services::{detached, inspect, remove, start};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const SOCKET: &str = "/run/systemd/journal/socket";

/// What stands in for journald.
struct Journal(UnixDatagram);

impl Journal {
    fn new(host: &Host) -> Self {
        let path = host.path(SOCKET);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make the directory");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(path).expect("make the socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set the timeout");
        Self(socket)
    }

    /// The next message, as lines; none if none comes.
    fn next(&self) -> Option<Vec<String>> {
        let mut message = vec![0; 100_000];
        let length = self.0.recv(&mut message).ok()?;
        assert_eq!(message[length - 1], b'\n');
        Some(String::from_utf8_lossy(&message[..length - 1]).split('\n').map(str::to_owned).collect())
    }
}

fn without_journal(host: &Host) {
    host.sh("rm -r /run/systemd/journal");
}

#[test]
fn each_line_is_a_message_with_fields() {
    let host = crate::host!();
    detached(&host, "web", &["--log", "journald", "--", "true"])
        .run()
        .assert_refused(125, &[SOCKET, "No such file", "hint: is systemd-journald running?"]);
    let journal = Journal::new(&host);
    let script = "echo a=b; head -c 20000 /dev/zero | tr '\\0' x; echo; sleep 0.1; echo err >&2";
    start(&host, "web", &["--log", "journald", "--", "sh", "-c", script]);
    let fields = |priority: u8, stream: &str, message: &str| {
        let stream = format!("NSL_STREAM={stream}");
        let message = format!("MESSAGE={message}");
        let priority = format!("PRIORITY={priority}");
        [&*priority, "SYSLOG_IDENTIFIER=web", "NSL_NAME=web", &*stream, &*message].map(str::to_owned).to_vec()
    };
    let partial = [fields(6, "stdout", &"x".repeat(16384)), vec!["NSL_PARTIAL=1".to_owned()]].concat();
    let expected =
        [fields(6, "stdout", "a=b"), partial, fields(6, "stdout", &"x".repeat(3616)), fields(3, "stderr", "err")];
    for message in expected {
        assert_eq!(journal.next(), Some(message));
    }
    host.nsl(["wait", "web"]).run().assert_prints("0");
    host.nsl(["logs", "web"]).run().assert_refused(125, &["it is in the journal", "hint: journalctl NSL_NAME=web"]);
    assert_eq!(inspect(&host, "web")["log"]["driver"], "journald");
    remove(&host, "web");
    without_journal(&host);
}

#[test]
fn a_journal_that_comes_back_gets_what_was_written_meanwhile() {
    let host = crate::host!();
    let journal = Journal::new(&host);
    start(
        &host,
        "web",
        &["--log", "journald", "--", "sh", "-c", "n=0; while :; do echo $((n += 1)); sleep 0.001; done"],
    );
    let number = |message: Vec<String>| message[4].strip_prefix("MESSAGE=").expect("a message").parse::<u32>();
    let mut last = 0;
    let mut journal = Some(journal);
    for _ in 0..3 {
        let now = journal.take().expect("a journal");
        for _ in 0..20 {
            last += 1;
            assert_eq!(number(now.next().expect("a message")), Ok(last));
        }
        // What is in its queue goes with it.
        now.0.set_nonblocking(true).expect("not to wait");
        drop(now);
        let now = Journal::new(&host);
        let next = number(now.next().expect("a message")).expect("a number");
        assert!(next > last);
        last = next;
        journal = Some(now);
    }
    assert_eq!(inspect(&host, "web")["log"]["dropped"]["stdout"]["lines"], 0);
    remove(&host, "web");
    without_journal(&host);
}

#[test]
fn a_journal_that_reads_nothing_holds_nobody_up() {
    let host = crate::host!();
    let journal = Journal::new(&host);
    start(&host, "web", &["--log", "journald", "--", "sh", "-c", "seq 100000; seq 100000 >&2; exec sleep 1000"]);
    let dropped = |stream: &str| inspect(&host, "web")["log"]["dropped"][stream]["lines"].as_u64().expect("a number");
    wait_until("lines of both are dropped", || dropped("stdout") > 0 && dropped("stderr") > 0);
    let init = crate::services::process(&host, "web", "init");
    let command = crate::leaks::child_of(init).expect("the command");
    wait_until("all is written", || {
        fs::read_to_string(format!("/proc/{command}/comm")).is_ok_and(|name| name == "sleep\n")
    });
    let mut got = [0; 2];
    let mut told = Vec::new();
    loop {
        let message = journal.next().expect("a message");
        let text = message[4].strip_prefix("MESSAGE=").expect("a message");
        match text.strip_prefix("nsl: ") {
            Some(words) => told.push(words.to_owned()),
            None => got[usize::from(message[3].ends_with("stderr"))] += 1,
        }
        if told.iter().any(|words| words.contains("stderr")) {
            break;
        }
    }
    assert!(told.iter().all(|words| words.ends_with("were dropped: the log is written too slowly")), "{told:?}");
    wait_until("what was dropped is noted in full", || {
        got[0] + dropped("stdout") == 100_000 && got[1] + dropped("stderr") == 100_000
    });
    remove(&host, "web");
    without_journal(&host);
}
