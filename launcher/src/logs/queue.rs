//! Records on their way from the monitor's loop, which waits for nobody, to the thread that writes them, which may wait
//! for a disk for ever. Both buffers together are bounded.
//!
//! The thread takes and frees no memory: the loop may start processes (clone3) meanwhile, and a lock of the allocator's
//! that the thread held would be held in the child for ever.

use super::record;
use super::{Dropped, Target};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of records that wait, at most, but for one that is large; as many are being written.
pub const LIMIT: usize = 256 << 10;
/// What is kept of a buffer while there is nothing to write.
const KEPT: usize = 8 << 10;
/// How long until the next attempt after one that failed.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the last of it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// It calls write(2) and little else.
const STACK: usize = 64 << 10;

pub struct Queue {
    state: Mutex<State>,
    /// There is something to write, or there will be nothing more.
    filled: Condvar,
    /// Readable when the loop has something to do.
    event: EventFd,
}

#[derive(Default)]
pub struct State {
    /// What is to be written next.
    pub pending: Vec<u8>,
    /// The other buffer, empty.
    spare: Vec<u8>,
    /// What counts if neither is written: of those that wait, and of those that are being written.
    pub waiting: Dropped,
    writing: Dropped,
    /// The loop wants to know when there is room.
    pub wants_room: bool,
    /// Why the last attempt failed.
    pub failed: Option<Errno>,
    /// No more will come.
    closed: bool,
    /// What the thread gave up at the end.
    given_up: Dropped,
    done: bool,
}

impl Queue {
    pub fn new() -> Result<Arc<Self>, Errno> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Arc::new(Self { state: Mutex::default(), filled: Condvar::new(), event }))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was put into it.
    pub fn fill(&self) {
        self.filled.notify_one();
    }

    pub fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// The event is seen. Is there nothing to write, and are the buffers larger than what usually comes?
    pub fn tend(&self) -> bool {
        let _ = self.event.read();
        let state = self.lock();
        state.pending.is_empty() && state.spare.capacity() + state.pending.capacity() > 2 * KEPT
    }

    /// Gives buffers back in which nothing is.
    pub fn shrink(&self) {
        let mut state = self.lock();
        if state.pending.is_empty() {
            (state.pending, state.spare) = (Vec::new(), Vec::new());
        }
    }

    fn tell(&self) {
        let _ = self.event.write(1);
    }

    /// Starts the thread that writes to `target`.
    pub fn start(self: &Arc<Self>, target: Arc<Mutex<Box<dyn Target>>>) -> std::io::Result<JoinHandle<()>> {
        let queue = Arc::clone(self);
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(batch) = queue.take() {
                queue.carry(&mut **target, batch);
            }
            queue.lock().done = true;
            queue.tell();
        })
    }

    /// The next records; none at the end.
    fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        while state.pending.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let spare = mem::take(&mut state.spare);
        state.writing = mem::take(&mut state.waiting);
        let batch = mem::replace(&mut state.pending, spare);
        if mem::take(&mut state.wants_room) {
            self.tell();
        }
        Some(batch)
    }

    /// Writes them, in as many attempts as it takes; once no more will come, in one.
    fn carry(&self, target: &mut dyn Target, mut batch: Vec<u8>) {
        let mut done = 0;
        loop {
            let is_last = self.lock().closed;
            let Err(failure) = target.write(&batch[done..]) else { break };
            done += failure.done;
            let mut state = self.lock();
            if state.failed.replace(failure.errno).is_none() {
                self.tell();
            }
            if is_last {
                state.given_up += record::tally(&batch[done..]);
                break;
            }
            // What is put into the queue meanwhile is no reason to try again.
            drop(self.filled.wait_timeout_while(state, PAUSE, |state| !state.closed));
        }
        let mut state = self.lock();
        if !state.closed {
            state.failed = None;
        }
        batch.clear();
        let is_large = batch.capacity() + state.pending.capacity() > 2 * KEPT;
        (state.spare, state.writing) = (batch, Dropped::default());
        if state.pending.is_empty() && (is_large || mem::take(&mut state.wants_room)) {
            self.tell();
        }
    }

    /// No more will come. Waits until all is written, but not for ever; returns what is not.
    pub fn close(&self, thread: JoinHandle<()>) -> Dropped {
        self.lock().closed = true;
        self.filled.notify_one();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let _ = self.event.read();
            let state = self.lock();
            if state.done {
                let given_up = state.given_up;
                drop(state);
                let _ = thread.join();
                return given_up;
            }
            let mut lost = state.waiting;
            lost += state.writing;
            drop(state);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return lost;
            }
            let left = PollTimeout::try_from(left.as_millis().max(1)).unwrap_or(PollTimeout::MAX);
            let _ = nix::poll::poll(&mut [PollFd::new(self.event(), PollFlags::POLLIN)], left);
        }
    }
}
