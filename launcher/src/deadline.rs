//! `--timeout`: when the command is to be asked to end, and when it is to be killed. Knows no clock and sends nothing:
//! told the time, it says what is due.

use std::time::{Duration, Instant};

/// The time of one command.
pub struct Deadline {
    time: Duration,
    grace: Duration,
    state: State,
}

enum State {
    /// The command does not run yet.
    Waiting,
    /// To be asked then.
    Running(Instant),
    /// It was asked; to be killed then.
    Asked(Instant),
    /// It was killed.
    Killed,
    /// It ended in time.
    Over,
}

/// What is to happen now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    Ask,
    Kill,
}

impl Deadline {
    /// Both times are in milliseconds.
    pub fn new(time: u32, grace: u32) -> Self {
        let [time, grace] = [time, grace].map(|time| Duration::from_millis(time.into()));
        Self { time, grace, state: State::Waiting }
    }

    /// The command runs from `now` on.
    pub fn start(&mut self, now: Instant) {
        if let State::Waiting = self.state {
            self.state = State::Running(now + self.time);
        }
    }

    /// The command has ended. What it left behind has a time of its own, unless this one is up.
    pub fn command_ended(&mut self) {
        if let State::Running(_) = self.state {
            self.state = State::Over;
        }
    }

    /// The time until something is due, if anything will be.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Running(at) | State::Asked(at) => Some(at.saturating_duration_since(now)),
            State::Waiting | State::Killed | State::Over => None,
        }
    }

    /// What is due, each once.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        match self.state {
            State::Running(at) if at <= now => {
                self.state = State::Asked(now + self.grace);
                Some(Due::Ask)
            }
            State::Asked(at) if at <= now => {
                self.state = State::Killed;
                Some(Due::Kill)
            }
            _ => None,
        }
    }

    /// Was the command asked to end?
    pub fn has_passed(&self) -> bool {
        matches!(self.state, State::Asked(_) | State::Killed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_command_is_asked_then_killed_once_each() {
        let start = Instant::now();
        let mut deadline = Deadline::new(1000, 2000);
        assert_eq!((deadline.left(start), deadline.due(start + 100 * SECOND)), (None, None));
        deadline.start(start);
        assert_eq!((deadline.left(start), deadline.due(start)), (Some(SECOND), None));
        assert!(!deadline.has_passed());
        assert_eq!(deadline.due(start + SECOND), Some(Due::Ask));
        assert!(deadline.has_passed());
        assert_eq!((deadline.left(start + SECOND), deadline.due(start + SECOND)), (Some(2 * SECOND), None));
        // What ends after it was asked has not ended in time.
        deadline.command_ended();
        assert_eq!((deadline.due(start + 3 * SECOND), deadline.due(start + 9 * SECOND)), (Some(Due::Kill), None));
        assert_eq!((deadline.left(start), deadline.has_passed()), (None, true));
    }

    #[test]
    fn a_command_that_ended_in_time_is_left_alone() {
        let start = Instant::now();
        let mut deadline = Deadline::new(1000, 2000);
        deadline.start(start);
        deadline.command_ended();
        assert_eq!((deadline.left(start), deadline.due(start + 9 * SECOND)), (None, None));
        assert!(!deadline.has_passed());
    }

    #[test]
    fn time_spent_stopped_counts() {
        let start = Instant::now();
        let mut deadline = Deadline::new(1000, 2000);
        deadline.start(start);
        assert_eq!(deadline.due(start + 100 * SECOND), Some(Due::Ask));
        assert_eq!(deadline.left(start + 100 * SECOND), Some(2 * SECOND));
    }
}
