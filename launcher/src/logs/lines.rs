//! Makes records of what a command writes, and puts them into the queue. Where there is no room, whole lines are left
//! out, counted, and told of in the log as soon as it can be written again.

use super::queue::{LIMIT, Queue, State};
use super::record::{self, Head, LONGEST};
use super::{Dropped, Source, Tally, Target};
use crate::sys;
use nix::errno::Errno;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// How long the command may be held up before lines are dropped, when nobody knows why the log is not written.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of a stream.
#[derive(Default)]
struct Stream {
    /// The beginning of a line whose end is yet to come.
    begun: Vec<u8>,
    /// Records of the present line were kept, or dropped.
    kept: bool,
    torn: bool,
    /// The last record that was kept is a part of a line.
    open: bool,
}

pub struct Lines {
    queue: Arc<Queue>,
    target: Arc<Mutex<Box<dyn Target>>>,
    /// Begins with the first line: who writes nothing pays nothing.
    thread: Option<JoinHandle<()>>,
    streams: [Stream; 2],
    /// All that is not in the log.
    dropped: Dropped,
    /// Of that, what the log does not tell yet, and why it happened.
    untold: Dropped,
    cause: Option<Errno>,
    /// What comes now is not kept.
    drops: bool,
    /// Since when there is no room.
    full_since: Option<Instant>,
}

impl Lines {
    pub fn new(target: Box<dyn Target>) -> Result<Self, Errno> {
        Ok(Self {
            queue: Queue::new()?,
            target: Arc::new(Mutex::new(target)),
            thread: None,
            streams: [Stream::default(), Stream::default()],
            dropped: Dropped::default(),
            untold: Dropped::default(),
            cause: None,
            drops: false,
            full_since: None,
        })
    }

    /// What to wait for beside the command's output.
    pub fn event(&self) -> Option<BorrowedFd<'_>> {
        self.thread.as_ref().map(|_| self.queue.event())
    }

    /// When it is time to go on without room.
    pub fn due(&self) -> Option<Instant> {
        self.full_since.map(|since| since + PATIENCE)
    }

    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Gives back what a flood took.
    pub fn shrink(&self) {
        self.queue.shrink();
        sys::give_memory_back();
    }

    /// The event came: tells what there is to tell. True if more memory is held than is needed now.
    pub fn tend(&mut self) -> bool {
        let is_large = self.queue.tend();
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        if self.untold != Dropped::default() && has_room(&state) {
            self.tell(&mut state, &record::heads(SystemTime::now()));
            queue.fill();
        }
        is_large
    }

    /// Takes lines, as many as there is room for, and the others too once waiting for room is in vain. Returns how many
    /// bytes that were.
    pub fn take(&mut self, source: Source, bytes: &[u8]) -> usize {
        self.begin();
        let heads = record::heads(SystemTime::now());
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        let mut rest = bytes;
        while !rest.is_empty() {
            self.drops = !has_room(&state);
            if !self.drops {
                self.full_since = None;
                self.tell(&mut state, &heads);
            } else if self.waits(&mut state) {
                break;
            }
            let end = memchr::memchr(b'\n', rest);
            let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            let text = &line[..end.unwrap_or(line.len())];
            self.put(&mut state, (source, &heads), text, end.is_some());
            rest = after;
        }
        drop(state);
        queue.fill();
        bytes.len() - rest.len()
    }

    /// Is there still hope for room?
    fn waits(&mut self, state: &mut State) -> bool {
        // From now on it is told when there is.
        state.wants_room = true;
        self.cause = state.failed;
        let since = *self.full_since.get_or_insert_with(Instant::now);
        state.failed.is_none() && self.thread.is_some() && since.elapsed() < PATIENCE
    }

    fn begin(&mut self) {
        if self.thread.is_none() {
            // Without one what does not fit is dropped; the next line tries again.
            self.thread = self.queue.start(Arc::clone(&self.target)).ok();
        }
    }

    /// Makes records of a line, or of a part of one, with what there is of it already.
    fn put(&mut self, state: &mut State, (source, heads): (Source, &[Head; 2]), mut text: &[u8], is_whole: bool) {
        let mut begun = std::mem::take(&mut self.streams[source as usize].begun);
        while begun.len() + text.len() > LONGEST {
            let (now, later) = text.split_at(LONGEST - begun.len());
            self.record(state, (source, heads), false, [&begun, now]);
            begun.clear();
            text = later;
        }
        if is_whole {
            self.record(state, (source, heads), true, [&begun, text]);
        } else {
            begun.extend_from_slice(text);
            self.streams[source as usize].begun = begun;
        }
    }

    fn record(&mut self, state: &mut State, (source, heads): (Source, &[Head; 2]), is_whole: bool, text: [&[u8]; 2]) {
        let head = &heads[source as usize];
        let stream = &mut self.streams[source as usize];
        let bytes = (text[0].len() + text[1].len()) as u64 + u64::from(is_whole);
        let is_first = !stream.kept && !stream.torn;
        if stream.torn || self.drops {
            let lines = u64::from(is_whole && !stream.kept);
            stream.torn = true;
            let lost = Tally { lines, bytes };
            self.dropped.add(source, lost);
            self.untold.add(source, lost);
        } else {
            // The end of the line before was dropped.
            if is_first && stream.open {
                record::put(&mut state.pending, head, true, [&[], &[]]);
            }
            record::put(&mut state.pending, head, is_whole, text);
            state.waiting.add(source, Tally { lines: is_whole.into(), bytes });
            stream.open = !is_whole;
            stream.kept = true;
        }
        if is_whole {
            (stream.kept, stream.torn) = (false, false);
        }
    }

    /// Has the log say what is not in it.
    fn tell(&mut self, state: &mut State, heads: &[Head; 2]) {
        let untold = std::mem::take(&mut self.untold);
        for source in Source::ALL {
            if let Some(words) = words(source, untold.of(source), self.cause) {
                record::put(&mut state.pending, &heads[Source::Stderr as usize], true, [words.as_bytes(), &[]]);
            }
        }
    }

    /// No more will come: puts the rest into the queue, and waits until all is written.
    pub fn close(&mut self) {
        let heads = record::heads(SystemTime::now());
        let queue = Arc::clone(&self.queue);
        self.drops = false;
        for source in Source::ALL {
            let begun = std::mem::take(&mut self.streams[source as usize].begun);
            if !begun.is_empty() {
                self.begin();
                self.record(&mut queue.lock(), (source, &heads), false, [&begun, &[]]);
            }
            // A line that never ended, of which nothing is there.
            let stream = std::mem::take(&mut self.streams[source as usize]);
            if stream.torn && !stream.kept {
                self.dropped.add(source, Tally { lines: 1, bytes: 0 });
                self.untold.add(source, Tally { lines: 1, bytes: 0 });
            }
        }
        let Some(thread) = self.thread.take() else { return };
        let lost = queue.close(thread);
        self.dropped += lost;
        self.untold += lost;
        let mut state = queue.lock();
        self.cause = state.failed.or(self.cause);
        state.pending.clear();
        self.tell(&mut state, &heads);
        // Held by a thread that still waits, it cannot be written to.
        if let (false, Ok(mut target)) = (state.pending.is_empty(), self.target.try_lock()) {
            let _ = target.write(&state.pending);
        }
    }
}

/// For a line of any length that is read at once.
fn has_room(state: &State) -> bool {
    state.pending.len() < LIMIT
}

/// How many lines of a stream are missing, and why.
fn words(source: Source, Tally { lines, bytes }: Tally, cause: Option<Errno>) -> Option<String> {
    let cause = cause.map_or("the log is written too slowly", Errno::desc);
    let stream = source.word();
    match (lines, bytes) {
        (0, 0) => None,
        (0, _) => Some(format!("nsl: the end of a line ({bytes} bytes) of {stream} was dropped: {cause}")),
        (1, _) => Some(format!("nsl: 1 line ({bytes} bytes) of {stream} was dropped: {cause}")),
        _ => Some(format!("nsl: {lines} lines ({bytes} bytes) of {stream} were dropped: {cause}")),
    }
}
