//! What a program that drives nsl is told: a JSON object a line on the descriptor of `--status-fd`. docs/driving.md has
//! the schema: what is there stays, more may come.
//!
//! Nothing here fails or holds the sandbox up: a reader that is gone, or that reads nothing for a second, is told
//! nothing more.

use crate::error::{Error, Result};
use crate::logs::{self, Dropped, Output};
use crate::net::{self, Made, Pasta, Port};
use crate::notify::Manager;
use crate::service::{Exit, Service};
use crate::sys;
use ipnet::IpNet;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;
use serde::Serialize;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// A pipe takes so much as a whole or not at all.
const PIPE_BUF: usize = 4096;
/// How long a reader may let a full pipe be full.
const PATIENCE: Duration = Duration::from_secs(1);
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

/// The network of a sandbox.
#[derive(Serialize)]
pub struct Network<'a> {
    /// What --network says.
    kind: &'a str,
    /// Of a named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// That of IPv4, or of IPv6 if there is no other.
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    /// All of them.
    addresses: Vec<Ends>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    ports: Vec<Lead>,
}

/// A port of the host, and what it leads to.
#[derive(Serialize)]
struct Lead {
    /// None: all of the host's.
    host_ip: Option<IpAddr>,
    host_port: u16,
    container_port: u16,
    protocol: String,
}

impl From<&Port> for Lead {
    fn from(port: &Port) -> Self {
        let Port { address, host, inside, protocol } = *port;
        Self { host_ip: address, host_port: host, container_port: inside, protocol: protocol.to_string() }
    }
}

#[derive(Serialize)]
struct Ends {
    address: IpAddr,
    prefix: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl<'a> From<&'a Made> for Network<'a> {
    fn from(made: &'a Made) -> Self {
        let ends = |ends: net::Ends| Ends::new(ends.inside, Some(ends.host.addr()));
        let addresses = made.addresses.ends().map(ends).collect();
        let name = made.network.as_deref();
        Self { name, ..Self::new("veth", addresses, Some(&made.device), made.ports()) }
    }
}

impl<'a> From<&'a Pasta> for Network<'a> {
    fn from(pasta: &'a Pasta) -> Self {
        let ends = pasta.addresses().iter().map(|inside| Ends::new(*inside, None));
        Self::new("pasta", ends.collect(), None, pasta.ports())
    }
}

impl<'a> Network<'a> {
    fn new(kind: &'a str, addresses: Vec<Ends>, device: Option<&'a str>, ports: &[Port]) -> Self {
        let first = addresses.first();
        Self {
            kind,
            name: None,
            address: first.map(|ends| ends.address),
            gateway: first.and_then(|ends| ends.gateway),
            addresses,
            device,
            ports: ports.iter().map(Lead::from).collect(),
        }
    }
}

impl Ends {
    fn new(inside: IpNet, gateway: Option<IpAddr>) -> Self {
        Self { address: inside.addr(), prefix: inside.prefix_len(), gateway }
    }
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

    /// Takes over the caller's descriptor `number`. Files that nsl opens before this may be mistaken for it.
    pub fn open(number: i32) -> Result<Self> {
        let step = || format!("use --status-fd {number}");
        let duplicate = |stream: &dyn AsFd| rustix::io::fcntl_dupfd_cloexec(stream.as_fd(), 3).ok();
        let mut to = match number {
            ..=0 => return Err(Error::new(step(), "it is no descriptor to write to")),
            1 => duplicate(&std::io::stdout()),
            2 => duplicate(&std::io::stderr()),
            _ => sys::adopt(number),
        }
        .ok_or_else(|| Error::new(step(), "it is not open").hint(format!("as in {number}>events")))?;
        let is_writable = rustix::fs::fcntl_getfl(&to)
            .is_ok_and(|flags| flags.intersects(OFlags::WRONLY | OFlags::RDWR) && !flags.contains(OFlags::PATH));
        if !is_writable {
            return Err(Error::new(step(), "it is open for reading only"));
        }
        // A reader that is gone is an error of the write.
        sys::ignore_signals_of_writes();
        open_anew(&mut to);
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
        if let Err(errno) = write(to, &line) {
            tracing::debug!("nobody reads of events any more: {errno}");
            self.to = None;
        }
    }
}

fn name(signal: i32) -> String {
    nsl_shared::signal::Signal::new(signal).map_or_else(|| signal.to_string(), |signal| signal.to_string())
}

/// Not to block is a property of an open file, and the caller's must stay as it is: a pipe or device is opened anew, in
/// the same place, where it can be. Otherwise a write follows only on the word of poll(2).
fn open_anew(file: &mut OwnedFd) {
    let kind = rustix::fs::fstat(&*file).map(|found| FileType::from_raw_mode(found.st_mode));
    if !matches!(kind, Ok(FileType::Fifo | FileType::CharacterDevice)) {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(anew) = rustix::fs::open(format!("/proc/self/fd/{}", file.as_raw_fd()), flags, Mode::empty()) {
        let _ = rustix::io::dup3(&anew, file, rustix::io::DupFlags::CLOEXEC);
    }
}

/// Writes a line within [`PATIENCE`], with one call unless it is longer than a pipe takes at once, or fails.
fn write(to: &OwnedFd, mut line: &[u8]) -> std::result::Result<(), Errno> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
        match nix::poll::poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Ok(0) => return Err(Errno::EAGAIN),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        let written = match rustix::net::send(to, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::NOTSOCK) => rustix::io::write(to, line),
            result => result,
        };
        match written {
            Ok(length) if length == line.len() => return Ok(()),
            // Half a line, on a disk that is full for one: what would follow could not be read.
            Ok(length) if length == 0 || line.len() <= PIPE_BUF => return Err(Errno::EIO),
            Ok(length) => line = &line[length..],
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if !left.is_zero() => {}
            Err(errno) => return Err(Errno::from_raw(errno.raw_os_error())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
