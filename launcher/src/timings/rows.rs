//! What is shown: a row for each step, of both sides, in the order in which they began.

use super::Moments;
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Who does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Nsl,
    Child,
    Init,
    Command,
}

impl Side {
    pub fn word(self) -> &'static str {
        match self {
            Self::Nsl => "nsl",
            Self::Child => "child",
            Self::Init => "init",
            Self::Command => "command",
        }
    }
}

/// A step.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub side: Side,
    pub step: String,
    /// What is done in the same time, and cannot be told apart from outside.
    pub with: Vec<String>,
    /// So many other steps it is a part of.
    pub depth: usize,
    /// Nothing but waiting for others.
    pub waits: bool,
    pub at: Duration,
    /// None: it did not come to an end.
    pub end: Option<Duration>,
}

impl Row {
    pub fn new(side: Side, step: String) -> Self {
        Self { side, step, with: Vec::new(), depth: 0, waits: false, at: Duration::ZERO, end: None }
    }

    /// What is written to the pipe when it begins: numbers, its words, and a NUL, which no step has.
    pub fn begin(&self, index: usize) -> Vec<u8> {
        let Self { step, depth, waits, at, .. } = self;
        format!("{index} {} {depth} {} {step}\0", at.as_nanos(), u8::from(*waits)).into_bytes()
    }

    /// And when it ends.
    pub fn end(index: usize, at: Duration) -> Vec<u8> {
        format!("{index} {}\0", at.as_nanos()).into_bytes()
    }
}

/// The steps of the child.
#[derive(Default)]
pub(super) struct Child(Vec<Row>);

impl Child {
    /// Takes what the pipe holds.
    pub fn read(pipe: BorrowedFd<'_>) -> Self {
        let mut bytes = Vec::new();
        if let Ok(pipe) = pipe.try_clone_to_owned() {
            // It does not block: whatever came before an error is there.
            let _ = File::from(pipe).read_to_end(&mut bytes);
        }
        let mut child = Self::default();
        for record in bytes.split(|byte| *byte == 0) {
            let _ = child.take(&String::from_utf8_lossy(record));
        }
        child
    }

    fn take(&mut self, record: &str) -> Option<()> {
        let mut fields = record.splitn(5, ' ');
        let index: usize = fields.next()?.parse().ok()?;
        let at = Duration::from_nanos(fields.next()?.parse().ok()?);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(depth), Some(waits), Some(step)) => {
                let (depth, waits) = (depth.parse().ok()?, waits == "1");
                self.0.push(Row { depth, waits, at, ..Row::new(Side::Child, step.to_owned()) });
            }
            _ => self.0.get_mut(index)?.end = Some(at),
        }
        Some(())
    }
}

/// The rows of all. The child's last step is an exec that only the init's report ends: what the init does until then is in
/// one row with it.
pub(super) fn all(steps: &[Row], Child(mut child): Child, moments: &Moments, by_init: &[Vec<String>; 2]) -> Vec<Row> {
    let Moments { ready, go, started, heard, failed, ended } = *moments;
    let [before, after] = by_init;
    let mut rows = steps.to_vec();
    if let Some(last) = child.last_mut().filter(|last| last.end.is_none()) {
        last.end = ready.or(failed);
        if ready.is_some() {
            last.side = Side::Init;
            last.with.clone_from(before);
        }
    }
    rows.append(&mut child);
    let mut add = |side, step: &str, waits, at, end: Option<Duration>| {
        // Stamps of two processors may differ by what is not worth a row.
        if end.is_none_or(|end| end >= at) {
            rows.push(Row { waits, at, end, ..Row::new(side, step.to_owned()) });
        }
    };
    if let Some(ready) = ready {
        add(Side::Init, "wait until nsl lets the command start", true, ready, go.or(ended));
    }
    if let Some(go) = go {
        add(Side::Nsl, "wait until the command has started", true, go, heard.or(failed).or(ended));
    }
    if let Some(started) = started {
        add(Side::Command, "run", false, started, ended);
    }
    if let (Some(ready), Some(go)) = (ready, go) {
        let (at, step) = (ready.max(go), nsl_shared::boot::InitStep::Execute.to_string());
        let end = started.or(failed);
        rows.push(Row { with: after.clone(), at, end, ..Row::new(Side::Init, step) });
    }
    rows.sort_by_key(|row| row.at);
    rows
}

impl Row {
    /// In whole microseconds, so that the end is the same number as the begin of what comes next.
    pub fn micros(&self) -> (u128, Option<u128>) {
        let at = self.at.as_micros();
        (at, self.end.map(|end| end.as_micros().saturating_sub(at)))
    }

    pub fn words(&self) -> Cow<'_, str> {
        if self.with.is_empty() {
            return Cow::Borrowed(&self.step);
        }
        let all: Vec<_> = std::iter::once(&*self.step).chain(self.with.iter().map(|step| &**step)).collect();
        Cow::Owned(all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_pipe_holds_is_read_as_far_as_it_is_whole() {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        let row =
            Row { at: Duration::from_nanos(1500), depth: 1, waits: true, ..Row::new(Side::Child, "a b\nc".into()) };
        for bytes in [row.begin(0), Row::end(0, Duration::from_nanos(4500)), b"1 2 0".to_vec()] {
            nix::unistd::write(&write, &bytes).unwrap();
        }
        let Child(rows) = Child::read(std::os::fd::AsFd::as_fd(&read));
        assert_eq!(rows.len(), 1);
        let read = &rows[0];
        assert_eq!((&*read.step, read.depth, read.waits, read.micros()), ("a b\nc", 1, true, (1, Some(3))));
    }
}
