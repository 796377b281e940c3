//! Runs contenders in turn and times them. A contender is in only as long as every run of it ends with status 0.

use crate::Result;
use crate::proof::{self, Proof};
use crate::rounds::Random;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Lets the kernel finish, before a run, what it deferred of the one before (namespaces are dismantled in a kworker).
const PAUSE: Duration = Duration::from_millis(5);
const WARM_UP: usize = 3;
const PATIENCE: Duration = Duration::from_secs(10);

/// A program that is compared: `words` start the command that is appended to them.
pub struct Contender {
    pub name: &'static str,
    words: Vec<OsString>,
    /// What has to be there for it to run.
    needs: PathBuf,
    proof: Proof,
}

impl Contender {
    /// `options` are the words between `program` and the command; empty if the program is the command.
    pub fn new(name: &'static str, program: &Path, options: &str, proof: Proof) -> Self {
        let options = options.split_whitespace().map(OsString::from);
        let words = std::iter::once(program.as_os_str().to_owned()).chain(options).collect();
        Self { name, words, needs: program.to_owned(), proof }
    }

    /// An init, started by `program options`.
    pub fn starter(name: &'static str, program: &Path, options: &str, init: &Path, proof: Proof) -> Self {
        let mut contender = Self::new(name, program, options, proof);
        contender.words.extend([init.as_os_str().to_owned(), "--".into()]);
        init.clone_into(&mut contender.needs);
        contender
    }

    fn is_the_command(&self) -> bool {
        self.words.len() == 1
    }
}

/// What became of a contender: its figures, one a round, or why there are none.
#[derive(Clone)]
pub enum Outcome {
    Measured(Vec<f64>),
    NotInstalled,
    Failed(String),
}

impl Outcome {
    /// What each round took beyond what `base` took in it.
    pub fn beyond(&self, base: &Self) -> Self {
        match (self, base) {
            (Self::Measured(ours), Self::Measured(base)) => {
                Self::Measured(ours.iter().zip(base).map(|(ours, base)| ours - base).collect())
            }
            (Self::Measured(_), _) => Self::Failed("nothing to compare with".to_owned()),
            _ => self.clone(),
        }
    }
}

impl From<Result<Vec<f64>>> for Outcome {
    fn from(result: Result<Vec<f64>>) -> Self {
        result.map_or_else(Self::Failed, Self::Measured)
    }
}

/// Where the contenders' output goes, and the command that they all run.
pub struct Arena {
    command: PathBuf,
    output: PathBuf,
    errors: PathBuf,
}

impl Arena {
    pub fn new(folder: &Path, command: &Path) -> Self {
        Self { command: command.to_owned(), output: folder.join("output.txt"), errors: folder.join("errors.txt") }
    }

    /// Proves each contender, warms it up, then times all of them in `rounds` rounds: milliseconds, one a round.
    pub fn compete(&self, contenders: &[Contender], rounds: usize) -> Result<Vec<Outcome>> {
        let mut outcomes: Vec<Outcome> = contenders.iter().map(|contender| self.admit(contender)).collect();
        let mut starts = contenders.iter().map(|one| self.start_of(one, &[])).collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        let mut random = Random::new();
        for _ in 0..rounds {
            random.shuffle(&mut order);
            for &index in &order {
                if let Outcome::Measured(times) = &mut outcomes[index] {
                    sleep(PAUSE);
                    match time(&mut starts[index]) {
                        Ok(milliseconds) => times.push(milliseconds),
                        Err(error) => outcomes[index] = Outcome::Failed(self.explain(error)),
                    }
                }
            }
        }
        Ok(outcomes)
    }

    fn admit(&self, contender: &Contender) -> Outcome {
        if !contender.needs.is_file() {
            return Outcome::NotInstalled;
        }
        match self.prove(contender).and_then(|_| (0..WARM_UP).try_for_each(|_| self.try_once(contender))) {
            Ok(()) => Outcome::Measured(Vec::new()),
            Err(error) => Outcome::Failed(self.explain(error)),
        }
    }

    /// What the contender's proof printed, if it is one.
    pub fn prove(&self, contender: &Contender) -> Result<String> {
        let Some(script) = contender.proof.script() else { return Ok(String::new()) };
        let mut start = self.start_of(contender, &["/bin/sh", "-c", script])?;
        let status = patiently(start.spawn())?;
        let said = std::fs::read_to_string(&self.output).unwrap_or_default();
        match status {
            Some(proof::STATUS) => contender.proof.check(&said).map(|()| said),
            Some(other) => Err(format!("exit status {other} where the command's was {}", proof::STATUS)),
            None => Err("killed by a signal".to_owned()),
        }
    }

    fn try_once(&self, contender: &Contender) -> Result<()> {
        match patiently(self.start_of(contender, &[])?.spawn())? {
            Some(0) => Ok(()),
            status => Err(describe(status)),
        }
    }

    /// How to start a contender: a small environment, no input, and files that its output goes to, the same for all.
    /// Without `command` it runs `true`.
    fn start_of(&self, contender: &Contender, command: &[&str]) -> Result<Command> {
        let open =
            |path: &Path| File::create(path).map_err(|error| format!("cannot create {}: {error}", path.display()));
        let input = File::open("/dev/null").map_err(|error| format!("cannot open /dev/null: {error}"))?;
        let mut start = Command::new(&contender.words[0]);
        start.args(&contender.words[1..]).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        start.stdin(Stdio::from(input)).stdout(open(&self.output)?).stderr(open(&self.errors)?);
        if !command.is_empty() {
            start.args(command);
        } else if !contender.is_the_command() {
            start.arg(&self.command);
        }
        Ok(start)
    }

    /// Adds the last line that the contenders wrote to their standard error.
    fn explain(&self, error: String) -> String {
        let said = std::fs::read_to_string(&self.errors).unwrap_or_default();
        match said.trim().lines().next_back() {
            Some(line) => format!("{error}: {line}"),
            None => error,
        }
    }
}

fn time(start: &mut Command) -> Result<f64> {
    let begin = Instant::now();
    let status = start.spawn().and_then(|mut child| child.wait());
    let elapsed = begin.elapsed();
    match status {
        Ok(status) if status.success() => Ok(elapsed.as_secs_f64() * 1e3),
        Ok(status) => Err(describe(status.code())),
        Err(error) => Err(format!("cannot start: {error}")),
    }
}

fn describe(status: Option<i32>) -> String {
    status.map_or_else(|| "killed by a signal".to_owned(), |code| format!("exit status {code}"))
}

/// The exit status of a child that may hang.
fn patiently(child: std::io::Result<Child>) -> Result<Option<i32>> {
    let mut child = child.map_err(|error| format!("cannot start: {error}"))?;
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) if Instant::now() < end => sleep(Duration::from_millis(1)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no end within {} s", PATIENCE.as_secs()));
            }
            Err(error) => return Err(format!("cannot wait: {error}")),
        }
    }
}
