//! Sandboxes that stay: each waits for the end of one input that all share, so that closing it ends them all at once.

use crate::measure::PATH;
use crate::programs::Programs;
use crate::{Result, world};
use std::fs::File;
use std::io::{ErrorKind, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(2);

pub struct Population {
    start: Command,
    /// Says a byte for each sandbox whose command runs.
    ready: UnixStream,
    /// What they say when they do not.
    errors: PathBuf,
    /// What they all wait for; gone when they are asked to end.
    input: Option<PipeWriter>,
    pub launchers: Vec<Child>,
}

/// How long an end took, in seconds.
pub struct End {
    /// Until every launcher is gone.
    pub processes: f64,
    /// Until the kernel has taken away the last of their devices.
    pub devices: f64,
}

impl Population {
    /// None yet. They will be `nsl options` with the command that waits, of the world that this process is in then.
    pub fn new(programs: &Programs, options: &[&str]) -> Result<Self> {
        let failed = |error: std::io::Error| format!("cannot prepare sandboxes that wait: {error}");
        let (theirs, input) = std::io::pipe().map_err(failed)?;
        let (ready, said) = UnixStream::pair().map_err(failed)?;
        ready.set_read_timeout(Some(Duration::from_millis(100))).map_err(failed)?;
        let errors = programs.folder.join("errors.txt");
        let mut start = Command::new(&programs.nsl);
        start.args(options).arg("--").arg(&programs.wait).env_clear().env("PATH", PATH);
        start.stdin(theirs).stdout(Stdio::from(OwnedFd::from(said))).stderr(File::create(&errors).map_err(failed)?);
        Ok(Self { start, ready, errors, input: Some(input), launchers: Vec::new() })
    }

    /// Starts sandboxes, one after the other, until so many live. The first that does not run is the end, with its words.
    pub fn grow(&mut self, count: usize) -> Result<()> {
        while self.launchers.len() < count {
            let nth = self.launchers.len() + 1;
            let launcher = self.start.spawn().map_err(|error| format!("cannot start sandbox {nth}: {error}"))?;
            self.launchers.push(launcher);
            if let Err(error) = self.await_last() {
                if let Some(mut launcher) = self.launchers.pop() {
                    let _ = launcher.kill();
                    let _ = launcher.wait();
                }
                return Err(format!("sandbox {nth} does not run: {error}"));
            }
        }
        Ok(())
    }

    /// Until the command of the last one runs.
    fn await_last(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            match self.ready.read_exact(&mut [0]) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.to_string()),
                Err(_) if begin.elapsed() > PATIENCE => return Err("it is too slow".to_owned()),
                Err(_) => {}
            }
            let ended = self.launchers.last_mut().map(Child::try_wait);
            if let Some(Ok(Some(status))) = ended {
                let said = std::fs::read_to_string(&self.errors).unwrap_or_default();
                return Err(format!("{status}: {}", said.trim().lines().next_back().unwrap_or("without a word")));
            }
        }
    }

    /// Ends them all, and waits until nothing of them is left in this network namespace.
    pub fn end(mut self) -> Result<End> {
        let begin = Instant::now();
        self.input = None;
        for launcher in &mut self.launchers {
            let status = launcher.wait().map_err(|error| format!("cannot wait: {error}"))?;
            if !status.success() {
                return Err(format!("a sandbox ended with {status}"));
            }
        }
        self.launchers.clear();
        let processes = begin.elapsed().as_secs_f64();
        while world::devices() > 0 {
            if begin.elapsed() > PATIENCE {
                return Err(format!("{} devices are left", world::devices()));
            }
            sleep(PAUSE);
        }
        Ok(End { processes, devices: begin.elapsed().as_secs_f64() })
    }
}

/// Whatever went wrong: none outlives the bench.
impl Drop for Population {
    fn drop(&mut self) {
        for launcher in &mut self.launchers {
            let _ = launcher.kill();
        }
        for launcher in &mut self.launchers {
            let _ = launcher.wait();
        }
    }
}
