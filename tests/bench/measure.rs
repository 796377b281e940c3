//! Runs contenders in turn and times them. A contender is in only as long as every run of it ends with status 0.

use crate::Result;
use crate::proof::{self, Proof};
use crate::rounds::Random;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Lets the kernel finish, before a run, what it deferred of the one before (namespaces are dismantled in a kworker).
const PAUSE: Duration = Duration::from_millis(5);
/// What contenders find programs by.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
const WARM_UP: usize = 3;
const PATIENCE: Duration = Duration::from_secs(10);

/// A program that is compared, in its two commands: one is timed, the other shows that the first does its work.
pub struct Contender {
    pub name: &'static str,
    measured: Vec<OsString>,
    proving: Vec<OsString>,
    /// What has to be there for it to run.
    needs: PathBuf,
    proof: Proof,
    /// It has a turn in each round, or in each fifth one, or so.
    every: usize,
}

/// What contenders run: a program that is timed, and `task`, which proves.
#[derive(Clone, Copy)]
pub struct Commands<'a> {
    pub measured: &'a Path,
    pub task: &'a Path,
}

impl Contender {
    /// `before` are the words in front of either command, the program first.
    pub fn new(name: &'static str, before: &[OsString], commands: Commands, proof: Proof) -> Self {
        let with = |words: &[&OsStr]| before.iter().cloned().chain(words.iter().map(OsString::from)).collect();
        let proving = with(&[commands.task.as_os_str(), OsStr::new("prove")]);
        Self::of(name, with(&[commands.measured.as_os_str()]), proving, proof)
    }

    pub fn of(name: &'static str, measured: Vec<OsString>, proving: Vec<OsString>, proof: Proof) -> Self {
        let needs = measured.first().map(PathBuf::from).unwrap_or_default();
        Self { name, measured, proving, needs, proof, every: 1 }
    }

    /// Its program only starts what may be missing: `needs`.
    pub fn needs(mut self, needs: &Path) -> Self {
        needs.clone_into(&mut self.needs);
        self
    }

    pub fn every(mut self, rounds: usize) -> Self {
        self.every = rounds;
        self
    }
}

/// A program and its options.
pub fn words(program: &Path, options: &str) -> Vec<OsString> {
    [program.as_os_str().to_owned()].into_iter().chain(options.split_whitespace().map(OsString::from)).collect()
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

/// Where the contenders' output goes.
pub struct Arena {
    output: PathBuf,
    errors: PathBuf,
}

impl Arena {
    pub fn new(folder: &Path) -> Self {
        Self { output: folder.join("output.txt"), errors: folder.join("errors.txt") }
    }

    /// Proves each contender, warms it up, then times all of them in `rounds` rounds: milliseconds, one a turn.
    pub fn compete(&self, contenders: &[Contender], rounds: usize) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = contenders.iter().map(|contender| self.admitted(contender)).collect();
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        let mut random = Random::new();
        for round in 0..rounds {
            random.shuffle(&mut order);
            for &index in &order {
                if round % contenders[index].every == 0
                    && let Outcome::Measured(times) = &mut outcomes[index]
                {
                    match self.time(&contenders[index]) {
                        Ok(milliseconds) => times.push(milliseconds),
                        Err(error) => outcomes[index] = Outcome::Failed(error),
                    }
                }
            }
        }
        outcomes
    }

    fn admitted(&self, contender: &Contender) -> Outcome {
        if !contender.needs.is_file() {
            return Outcome::NotInstalled;
        }
        self.admit(contender).map_or_else(Outcome::Failed, |()| Outcome::Measured(Vec::new()))
    }

    /// Lets one in that does its work, after it has run a few times.
    pub fn admit(&self, contender: &Contender) -> Result<()> {
        self.prove(contender)
            .and_then(|_| (0..WARM_UP).try_for_each(|_| self.try_once(contender)))
            .map_err(|error| self.explain(error))
    }

    /// The milliseconds of one run.
    pub fn time(&self, contender: &Contender) -> Result<f64> {
        let mut start = self.start_of(&contender.measured)?;
        sleep(PAUSE);
        time(&mut start).map_err(|error| self.explain(error))
    }

    /// What the contender's proof printed, if it is one.
    pub fn prove(&self, contender: &Contender) -> Result<String> {
        if contender.proof == Proof::Nothing {
            return Ok(String::new());
        }
        let status = patiently(self.start_of(&contender.proving)?.spawn())?;
        let said = std::fs::read_to_string(&self.output).unwrap_or_default();
        match status {
            Some(proof::STATUS) => contender.proof.check(&said).map(|()| said),
            Some(other) => Err(format!("exit status {other} where the command's was {}", proof::STATUS)),
            None => Err("killed by a signal".to_owned()),
        }
    }

    fn try_once(&self, contender: &Contender) -> Result<()> {
        match patiently(self.start_of(&contender.measured)?.spawn())? {
            Some(0) => Ok(()),
            status => Err(describe(status)),
        }
    }

    /// How to start a contender: a small environment, no input, and files that its output goes to, the same for all.
    fn start_of(&self, words: &[OsString]) -> Result<Command> {
        let open =
            |path: &Path| File::create(path).map_err(|error| format!("cannot create {}: {error}", path.display()));
        let input = File::open("/dev/null").map_err(|error| format!("cannot open /dev/null: {error}"))?;
        let (program, arguments) = words.split_first().ok_or("a contender has no words")?;
        let mut start = Command::new(program);
        start.args(arguments).env_clear().env("PATH", PATH);
        start.stdin(Stdio::from(input)).stdout(open(&self.output)?).stderr(open(&self.errors)?);
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
