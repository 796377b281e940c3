//! What becomes of a sandbox, and who is told of it: a program that drives nsl, by a JSON object a line on the descriptor
//! of `--status-fd` (docs/driving.md has the schema: what is there stays, more may come); the sandbox's own notes, if it
//! has a name; and nsl's service manager, if it has one.
//!
//! No telling fails or holds the sandbox up: a reader that is gone, or that reads nothing for a second, is told nothing
//! more.

mod network;
mod reader;

pub use network::Network;

use crate::error::{Error, Result};
use crate::logs::{self, Dropped, Output};
use crate::notify::Manager;
use crate::service::{Exit, Service};
use serde::Serialize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Characters of a step and of a message: escaped as JSON has it, their line still fits into what a pipe takes at once
/// (`PIPE_BUF`).
const LONGEST: [usize; 2] = [150, 450];

/// Where events go: nowhere, unless somebody asked for them.
pub struct Events {
    to: Option<OwnedFd>,
    /// What is noted of a sandbox that has a name.
    service: Option<Service>,
    /// The service manager of this nsl.
    manager: Option<Manager>,
    /// The signal that ended the command.
    pub ended_by: Option<i32>,
    /// It was killed for want of memory.
    pub oom: bool,
    /// It ran for as long as it may.
    pub timed_out: bool,
    /// It was ended because it was not well.
    pub is_unwell: bool,
    /// So many connections were refused, if there was a list of those that are not.
    pub refused: Option<u64>,
}

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    /// RFC 3339, in UTC.
    time: String,
    #[serde(flatten)]
    details: Details<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Details<'a> {
    Started {
        pid: u32,
        hostname: &'a str,
        network: Option<Network<'a>>,
    },
    Stopped {
        signal: String,
    },
    Continued {},
    Restarting {
        code: u8,
        signal: Option<String>,
        pause_ms: u64,
    },
    Health {
        health: &'a str,
    },
    Exited {
        code: u8,
        signal: Option<String>,
        oom: bool,
        timed_out: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        refused: Option<u64>,
    },
    Failed {
        step: String,
        error: Option<String>,
        message: String,
        code: u8,
    },
}

impl Events {
    pub const NONE: Self = Self {
        to: None,
        service: None,
        manager: None,
        ended_by: None,
        oom: false,
        timed_out: false,
        is_unwell: false,
        refused: None,
    };

    /// They go to the caller's descriptor `number`. Files that nsl opens before this may be mistaken for it.
    pub fn open(number: i32) -> Result<Self> {
        let to = reader::adopt(number)?;
        Ok(Self { to: Some(to), ..Self::NONE })
    }

    /// Whom they go to.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().map(AsFd::as_fd)
    }

    /// From now on what happens is noted, too.
    pub fn register(&mut self, service: Service) -> &Service {
        self.service.insert(service)
    }

    /// Where the command says that it is ready, as long as somebody waits for that.
    pub fn notifications(&self) -> Option<BorrowedFd<'_>> {
        self.service.as_ref().and_then(Service::descriptor)
    }

    /// Something has come there.
    pub fn notified(&mut self) {
        while let Some(message) = self.service.as_mut().and_then(Service::hear) {
            self.manager.iter().for_each(|manager| manager.pass(&message));
        }
    }

    /// From now on a service manager is told, too, if this process has one.
    pub fn find_manager(&mut self) {
        self.manager = Manager::find();
    }

    /// The time until the manager's watchdog is to hear of nsl.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.manager.as_ref().and_then(|manager| manager.left(now))
    }

    pub fn leave_the_watchdog(&mut self) {
        self.manager.iter_mut().for_each(Manager::leave_the_watchdog);
    }

    /// Lets it hear, if it is time.
    pub fn beat(&mut self) {
        self.manager.iter_mut().for_each(|manager| manager.beat(Instant::now()));
    }

    pub fn started(&mut self, pid: u32, hostname: &str, network: Option<Network<'_>>) {
        if let Some(service) = &mut self.service {
            service.started(pid, network.as_ref().and_then(|network| serde_json::to_value(network).ok()));
        }
        let is_ready = !self.service.as_ref().is_some_and(Service::is_awaited);
        self.manager.iter().for_each(|manager| manager.started(pid, is_ready));
        self.tell("started", Details::Started { pid, hostname, network });
    }

    pub fn stopped(&mut self, signal: i32) {
        self.tell("stopped", Details::Stopped { signal: name(signal) });
    }

    pub fn continued(&mut self) {
        self.tell("continued", Details::Continued {});
    }

    /// Keeps the boot message of a sandbox that has a name.
    pub fn keep_boot(&self, message: BorrowedFd<'_>) -> Result<()> {
        self.service.as_ref().map_or(Ok(()), |service| service.keep_boot(message))
    }

    /// Where the output of one with a name goes, if not to the caller's streams.
    pub fn output(&mut self, log: &logs::Options) -> Result<Option<Output>> {
        self.service.as_mut().map_or(Ok(None), |service| service.output(log))
    }

    /// Not all of it is in the log: noted, and no event.
    pub fn dropped(&mut self, dropped: Dropped) {
        self.service.iter_mut().for_each(|service| service.dropped(dropped));
    }

    /// It was asked to end: noted, and no event.
    pub fn stopping(&mut self, signal: i32) {
        // Others may mean something else to the command.
        let is_asked = signal == libc::SIGTERM;
        self.manager.iter().filter(|_| is_asked).for_each(Manager::stopping);
        self.service.iter_mut().for_each(|service| service.stopping(is_asked));
    }

    /// Is the command to start again, as far as others have a word in it?
    pub fn may_restart(&self) -> bool {
        self.service.as_ref().is_some_and(Service::may_restart)
    }

    /// It has ended, and starts again after a pause.
    pub fn pause(&mut self, result: &Result<u8>, pause: Duration) {
        let exit = self.exit(result);
        let (code, signal) = (exit.code, exit.signal.clone());
        if let Some(service) = &mut self.service {
            service.pause(exit, pause);
        }
        self.tell("restarting", Details::Restarting { code, signal, pause_ms: pause.as_millis() as u64 });
    }

    /// What is known of the last start is no more of interest.
    pub fn begin_anew(&mut self) {
        (self.ended_by, self.oom, self.timed_out, self.is_unwell, self.refused) = (None, false, false, false, None);
    }

    /// What its checks say of it.
    pub fn health(&mut self, word: &str) {
        self.service.iter_mut().for_each(|service| service.health(word));
        self.manager.iter().for_each(|manager| manager.health(word));
        self.tell("health", Details::Health { health: word });
    }

    /// The socket on which the command is to say that it is ready.
    pub fn notify_socket(&self) -> Option<&Path> {
        self.service.as_ref().and_then(Service::notify_socket)
    }

    /// By which name it is found, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.service.as_ref().map(Service::name)
    }

    fn exit(&self, result: &Result<u8>) -> Exit {
        Exit {
            code: result.as_ref().map_or_else(Error::exit_code, |code| *code),
            signal: self.ended_by.map(name),
            oom: self.oom,
            timed_out: self.timed_out,
            refused: self.refused,
            error: result.as_ref().err().map(ToString::to_string),
        }
    }

    /// The last event: what became of it all.
    pub fn ended(&mut self, result: &Result<u8>) {
        let exit = self.exit(result);
        if let Some(service) = self.service.take() {
            service.ended(exit);
        }
        match result {
            Ok(code) => {
                let (signal, oom, timed_out) = (self.ended_by.map(name), self.oom, self.timed_out);
                self.tell("exited", Details::Exited { code: *code, signal, oom, timed_out, refused: self.refused });
            }
            Err(error) => {
                self.manager.iter().for_each(|manager| manager.failed(&error.to_string(), error.errno()));
                let short = |text: &str, length| text.chars().take(length).collect();
                let details = Details::Failed {
                    step: short(error.step(), LONGEST[0]),
                    error: error.errno().map(|errno| format!("{errno:?}")),
                    message: short(&error.to_string(), LONGEST[1]),
                    code: error.exit_code(),
                };
                self.tell("failed", details);
            }
        }
    }

    fn tell(&mut self, event: &str, details: Details<'_>) {
        let Some(to) = &self.to else { return };
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let Ok(mut line) = serde_json::to_vec(&Line { event, time, details }) else { return };
        line.push(b'\n');
        if let Err(errno) = reader::write(to, &line) {
            tracing::debug!("nobody reads of events any more: {errno}");
            self.to = None;
        }
    }
}

fn name(signal: i32) -> String {
    nsl_shared::signal::Signal::new(signal).map_or_else(|| signal.to_string(), |signal| signal.to_string())
}

#[cfg(test)]
mod tests {
    use super::reader::PATIENCE;
    use super::*;
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    use std::fs::File;
    use std::io::{BufRead, BufReader, Write};

    /// Events, and the lines that came of what `work` did with them.
    fn lines_of(work: impl FnOnce(&mut Events)) -> Vec<String> {
        let (read, write) = nix::unistd::pipe().unwrap();
        let mut events = Events { to: Some(write), ..Events::NONE };
        work(&mut events);
        drop(events);
        BufReader::new(File::from(read)).lines().map(std::result::Result::unwrap).collect()
    }

    #[test]
    fn each_event_is_a_line() {
        let lines = lines_of(|events| {
            events.started(7, "box", None);
            events.stopped(20);
            events.continued();
            events.ended_by = Some(15);
            events.ended(&Ok(143));
            events.ended(&Err(Error::os("make a \"thing\"", Errno::EPERM).hint("do\nnot")));
        });
        let ends = [
            r#","pid":7,"hostname":"box","network":null}"#,
            r#","signal":"SIGTSTP"}"#,
            "Z\"}",
            r#","code":143,"signal":"SIGTERM","oom":false,"timed_out":false}"#,
            r#","step":"make a \"thing\"","error":"EPERM","message":"cannot make a \"thing\": Operation not permitted (hint: do\nnot)","code":125}"#,
        ];
        let starts = ["started", "stopped", "continued", "exited", "failed"];
        assert_eq!(lines.len(), ends.len());
        for ((line, start), end) in lines.iter().zip(starts).zip(ends) {
            assert!(line.starts_with(&format!(r#"{{"event":"{start}","time":"2"#)) && line.ends_with(end), "{line}");
        }
    }

    #[test]
    fn the_longest_line_fits_into_a_pipe() {
        let lines = lines_of(|events| events.ended(&Err(Error::new("\u{1}".repeat(5000), "x"))));
        assert!((3500..4096).contains(&lines[0].len()), "{}", lines[0].len());
    }

    #[test]
    fn a_reader_that_does_not_read_is_given_up_in_time() {
        let (_read, write) = nix::unistd::pipe().unwrap();
        let mut filler = File::from(write.try_clone().unwrap());
        while nix::poll::poll(&mut [PollFd::new(write.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(1) {
            filler.write_all(&[0; 4096]).unwrap();
        }
        let mut events = Events { to: Some(write), ..Events::NONE };
        let start = Instant::now();
        events.continued();
        assert!(events.to.is_none() && start.elapsed() < PATIENCE * 3);
    }
}
