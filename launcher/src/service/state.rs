//! What is noted of a sandbox, as its file has it. What is there stays, more may come: fields that are missing have
//! defaults, and a version that is not known is refused.

use super::process::Process;
use crate::error::{Error, Result};
use crate::logs::Dropped;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

pub const VERSION: u32 = 1;
/// How many of the latest starts are kept.
const STARTS: usize = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Starting,
    Running,
    Stopping,
    Restarting,
    Exited,
    /// Never noted, only found: its nsl was killed before it could note an end.
    Dead,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub version: u32,
    pub name: String,
    /// Times are RFC 3339, in UTC.
    pub created: String,
    pub command: Vec<String>,
    /// The command line as it was given.
    pub options: Vec<String>,
    /// The caller's directory.
    pub directory: Option<String>,
    pub status: Status,
    /// The nsl that carries it out.
    pub monitor: Process,
    /// Its PID 1, once the command runs.
    pub init: Option<Process>,
    pub started: Option<String>,
    pub ended: Option<String>,
    /// The same, in milliseconds from the machine's boot: nobody sets that clock.
    pub ended_after_boot_ms: Option<u64>,
    pub exit: Option<Exit>,
    /// When the next start is due, while it waits for that.
    pub next_start: Option<String>,
    pub restarts: u32,
    pub starts: Vec<Start>,
    pub health: Option<String>,
    /// As in the event `started`.
    pub network: Option<serde_json::Value>,
    pub log: Option<Log>,
    /// How long `nsl stop` waits unless told otherwise.
    pub stop_timeout_ms: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    pub code: u8,
    pub signal: Option<String>,
    pub oom: bool,
    pub timed_out: bool,
    /// As in the event `exited`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// What kept nsl from carrying it on.
    pub error: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    pub started: String,
    pub ended: Option<String>,
    pub code: Option<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    pub driver: String,
    pub path: Option<String>,
    /// What is not in it.
    pub dropped: Dropped,
}

impl State {
    /// Gives the bytes of a file their meaning; `name` is that of the directory.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let step = || format!("read the state of {name}");
        let newer = |version| {
            let cause = format!("it is that of a newer nsl: version {version}, and this one knows {VERSION}");
            Error::new(step(), cause).hint("use that nsl")
        };
        match serde_json::from_slice::<Self>(bytes) {
            Ok(state) if state.version > VERSION => Err(newer(state.version)),
            Ok(state) => Ok(state),
            // Of a version to come only that is sure.
            Err(error) => Err(match serde_json::from_slice::<Version>(bytes) {
                Ok(Version { version }) if version > VERSION => newer(version),
                _ => Error::new(step(), format!("it is damaged: {error}"))
                    .hint(format!("once it has ended, nsl rm {name} removes it")),
            }),
        }
    }

    pub fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The command runs, as of now.
    pub fn begin(&mut self, init: Option<Process>, network: Option<serde_json::Value>) {
        let now = now();
        (self.status, self.next_start) = (Status::Running, None);
        (self.init, self.network) = (init, network);
        (self.started, self.ended, self.ended_after_boot_ms, self.exit) = (Some(now.clone()), None, None, None);
        self.start(now);
    }

    /// It has ended, as of now.
    pub fn end(&mut self, exit: Exit) {
        (self.status, self.next_start, self.health) = (Status::Exited, None, None);
        self.end_start(exit);
    }

    /// One start has ended, as of now, and another follows after a pause. One that has not come to run is noted, too.
    pub fn pause(&mut self, exit: Exit, pause: Duration) {
        if matches!(self.status, Status::Starting | Status::Restarting) {
            self.start(now());
        }
        self.status = Status::Restarting;
        self.restarts = self.restarts.saturating_add(1);
        self.next_start = Some(time(SystemTime::now() + pause));
        self.health = None;
        self.end_start(exit);
    }

    fn start(&mut self, started: String) {
        self.starts.push(Start { started, ended: None, code: None });
        let surplus = self.starts.len().saturating_sub(STARTS);
        self.starts.drain(..surplus);
    }

    fn end_start(&mut self, exit: Exit) {
        let now = now();
        self.init = None;
        self.ended_after_boot_ms = Some(since_boot_ms());
        // One that was stopped in a pause has ended before.
        if let Some(start) = self.starts.last_mut().filter(|start| start.ended.is_none()) {
            (start.ended, start.code) = (Some(now.clone()), Some(exit.code));
        }
        (self.ended, self.exit) = (Some(now), Some(exit));
    }
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    version: u32,
}

pub fn now() -> String {
    time(SystemTime::now())
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// The clock that start times of processes are told by, which goes on while the machine sleeps.
pub fn since_boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let mut state = State { version: VERSION, name: "web".to_owned(), ..State::default() };
        state.begin(Some(Process { pid: 7, start_time: 8 }), Some(serde_json::json!({"address": "10.221.0.1"})));
        assert_eq!(State::parse("web", &state.encode().unwrap()).unwrap(), state);
        state.end(Exit { code: 143, signal: Some("SIGTERM".to_owned()), ..Exit::default() });
        let read = State::parse("web", &state.encode().unwrap()).unwrap();
        assert_eq!((read.status, read.init, read.starts[0].code), (Status::Exited, None, Some(143)));
        assert_eq!(read, state);
    }

    #[test]
    fn what_an_older_nsl_did_not_know_has_defaults_and_what_a_newer_one_knows_is_refused() {
        let old = State::parse("web", br#"{"version":1,"name":"web","status":"running","more":[1]}"#).unwrap();
        assert_eq!((old.status, old.init, old.stop_timeout_ms), (Status::Running, None, 0));
        assert_eq!(State::parse("web", b"{}").unwrap().version, 0);
        for new in [&br#"{"version":2,"status":{"is":"new"}}"#[..], br#"{"version":2,"name":"web"}"#] {
            let error = State::parse("web", new).unwrap_err().to_string();
            assert!(error.contains("a newer nsl") && error.contains("version 2"), "{error}");
        }
        for bad in [&b""[..], b"{", b"\0", br#"{"version":1,"status":"odd"}"#, br#"{"version":-1}"#] {
            assert!(State::parse("web", bad).unwrap_err().to_string().contains("damaged"), "{bad:?}");
        }
    }

    #[test]
    fn the_last_starts_are_kept() {
        let mut state = State::default();
        for _ in 0..STARTS + 5 {
            state.begin(None, None);
        }
        assert_eq!(state.starts.len(), STARTS);
    }
}
