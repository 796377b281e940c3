//! `--timings`: how long each step of a start took, on both sides, and which side waited for the other.
//!
//! A step is a span with a field `step`, the same that `--log-level debug` tells of. Those of the child come by a pipe,
//! and what the init does is known by its reports, which the kernel stamps when they are sent. Without the option,
//! nothing here does more than see that it was not given.

mod rows;
mod show;
mod steps;

pub use steps::{Steps, is_step};

use crate::cli::{self, TimingsFormat};
use crate::error::{Error, Result};
use crate::plan::Plan;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::time::TimeSpec;
use nsl_shared::boot::Report;
use rows::{Child, Row, Side};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

static TIMINGS: OnceLock<Mutex<Timings>> = OnceLock::new();

/// What is known so far. All times are counted from the start of nsl.
struct Timings {
    format: TimingsFormat,
    begun: Instant,
    /// The steps of this process, in the order of their begin.
    steps: Vec<Row>,
    pipe: Pipe,
    /// What the init does before it is ready, and after nsl lets the command start.
    by_init: [Vec<String>; 2],
    /// When the last report was sent, as the kernel has it.
    sent: Option<Duration>,
    moments: Moments,
}

/// What the rows of the init and the command begin and end with.
#[derive(Default)]
struct Moments {
    /// The init has set all up.
    ready: Option<Duration>,
    /// nsl lets the command start.
    go: Option<Duration>,
    /// The command has been executed.
    started: Option<Duration>,
    /// The same, as nsl has heard it.
    heard: Option<Duration>,
    /// Something failed inside.
    failed: Option<Duration>,
    /// The command has ended.
    ended: Option<Duration>,
}

impl Timings {
    /// The time since the start of nsl, and the time of day, of the same moment: unless this process always has to wait
    /// for a processor in between.
    fn both_clocks(&self) -> (Duration, SystemTime) {
        const NEAR: Duration = Duration::from_micros(10);
        let read = || (self.begun.elapsed(), SystemTime::now());
        let is_near = |(before, _): &(Duration, SystemTime)| self.begun.elapsed().saturating_sub(*before) < NEAR;
        (0..10).map(|_| read()).find(is_near).unwrap_or_else(read)
    }
}

/// How the child's steps come to nsl.
enum Pipe {
    None,
    /// Both ends, until the clone; then the launcher reads.
    Launcher(OwnedFd, OwnedFd),
    Child(OwnedFd),
}

/// Room for some thousands of steps, where the system allows it; 64 KiB are always there.
const PIPE_SIZE: i32 = 1 << 20;

/// From here on steps are kept, if that is asked for and somebody can be told; `begun` is when nsl was started. The
/// command line has been read.
pub fn start(run: &cli::Run, begun: Instant) -> Result<()> {
    let Some(format) = run.timings else { return Ok(()) };
    let refused = |cause: &'static str| Error::new("use --timings", cause);
    if run.dry_run {
        return Err(refused("with --dry-run no step is taken").hint("leave one of them out"));
    }
    if run.detach {
        let cause = "it is told when all has ended, and with --detach nobody reads the stderr of nsl then";
        return Err(refused(cause).hint("--name alone leaves nsl in the foreground"));
    }
    let read = Row {
        at: Duration::ZERO,
        end: Some(begun.elapsed()),
        ..Row::new(Side::Nsl, "read the command line".to_owned())
    };
    let timings = Timings {
        format,
        begun,
        steps: vec![read],
        pipe: Pipe::None,
        by_init: [Vec::new(), Vec::new()],
        sent: None,
        moments: Moments::default(),
    };
    let _ = TIMINGS.set(Mutex::new(timings));
    Ok(())
}

/// Are steps timed?
pub fn are_on() -> bool {
    TIMINGS.get().is_some()
}

fn with(work: impl FnOnce(&mut Timings)) {
    if let Some(timings) = TIMINGS.get() {
        work(&mut timings.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Before the clone: lays the ways by which the child's times come here. `status` is the launcher's end of the socket.
pub fn connect(plan: &Plan, status: &OwnedFd) {
    with(|timings| {
        // A kernel that stamps nothing leaves the time at which a report is read.
        let _ = setsockopt(status, ReceiveTimestampns, &true);
        timings.by_init = plan.by_init();
        if let Ok((read, write)) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK) {
            let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
            timings.pipe = Pipe::Launcher(read, write);
        }
    });
}

/// In the child: what it does is not nsl's any more.
pub fn enter_child() {
    with(|timings| {
        timings.steps.clear();
        timings.pipe = match std::mem::replace(&mut timings.pipe, Pipe::None) {
            Pipe::Launcher(_, write) => Pipe::Child(write),
            pipe => pipe,
        };
    });
}

/// In the child, before it puts its descriptors in order for the init: one of them takes the number of the pipe's.
pub fn leave_child() {
    with(|timings| timings.pipe = Pipe::None);
}

/// The report that is read was sent at this time of day.
pub fn sent(time: TimeSpec) {
    with(|timings| {
        let sent = SystemTime::UNIX_EPOCH + Duration::from(time);
        let (now, today) = timings.both_clocks();
        timings.sent = today.duration_since(sent).ok().and_then(|age| now.checked_sub(age));
    });
}

/// A report was read.
pub fn heard(report: Report) {
    with(|timings| {
        let now = timings.begun.elapsed();
        let sent = timings.sent.unwrap_or(now);
        let moments = &mut timings.moments;
        match report {
            Report::Ready => moments.ready = Some(sent),
            // The clocks agree only so far, but what comes of something is not before it.
            Report::Started => {
                moments.started = [Some(sent), moments.ready, moments.go].into_iter().flatten().max();
                moments.heard = Some(now);
            }
            Report::ChildFailed { .. } | Report::InitFailed { .. } => moments.failed = Some(sent),
            Report::Exited { .. } => moments.ended = Some(sent),
            _ => {}
        }
    });
}

/// nsl lets the command start.
pub fn go() {
    with(|timings| timings.moments.go = Some(timings.begun.elapsed()));
}

/// The init has ended, and so has the command.
pub fn ended() {
    with(|timings| {
        timings.moments.ended.get_or_insert(timings.begun.elapsed());
    });
}

/// Tells all, at the end of nsl: until then stderr is the command's, and its terminal makes no lines.
pub fn tell(error: Option<&Error>) {
    with(|timings| {
        let total = timings.begun.elapsed();
        let child = match &timings.pipe {
            Pipe::Launcher(read, _) => Child::read(read.as_fd()),
            _ => Child::default(),
        };
        let rows = rows::all(&timings.steps, child, &timings.moments, &timings.by_init);
        let times = show::Times { rows: &rows, started: timings.moments.started, total };
        let text = match timings.format {
            TimingsFormat::Text => times.text(),
            TimingsFormat::Json => times.json(error),
        };
        // Where nobody can be told, the exit code is left.
        let _ = std::io::stderr().write_all(text.as_bytes());
    });
}
