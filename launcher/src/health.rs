//! `--health-cmd`: when a sandbox is looked at, and what the looks come to. Knows no clock and starts nothing: told the
//! time and how each check ended, it says what is due.

use crate::cli::Run;
use crate::error::{Error, Result};
use crate::units;
use std::time::{Duration, Instant};

/// How a sandbox is, as far as its checks tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

impl Health {
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What is to happen now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    Check,
    /// The check has had its time.
    Kill,
}

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checks {
    pub command: String,
    interval: Duration,
    timeout: Duration,
    retries: u32,
    start_period: Duration,
}

impl Checks {
    pub fn new(run: &Run) -> Result<Option<Self>> {
        let Some(command) = run.health_cmd.clone() else { return Ok(None) };
        let time = |option: &str, text: &str| {
            units::milliseconds(option, text).map(|milliseconds| Duration::from_millis(milliseconds.into()))
        };
        let some = |option: &'static str, text: &str| match time(option, text)? {
            Duration::ZERO => Err(Error::new(format!("use {option}"), "it must be more than nothing")),
            time => Ok(time),
        };
        Ok(Some(Self {
            command,
            interval: some("--health-interval", &run.health_interval)?,
            timeout: some("--health-timeout", &run.health_timeout)?,
            retries: run.health_retries,
            start_period: time("--health-start-period", &run.health_start_period)?,
        }))
    }
}

/// The checks of one run of a command. One is over before the next begins.
pub struct Schedule {
    checks: Checks,
    pub health: Health,
    /// Failures in a row that count.
    failures: u32,
    /// Until then failures do not count, unless a check has succeeded.
    grace_until: Instant,
    next: Next,
}

enum Next {
    CheckAt(Instant),
    KillAt(Instant),
    /// It was killed.
    End,
}

impl Schedule {
    /// The command runs since `now`.
    pub fn new(checks: Checks, now: Instant) -> Self {
        let (next, grace_until) = (Next::CheckAt(now + checks.interval), now + checks.start_period);
        Self { checks, health: Health::Starting, failures: 0, grace_until, next }
    }

    pub fn command(&self) -> &str {
        &self.checks.command
    }

    /// The time until something is due.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        match self.next {
            Next::CheckAt(at) | Next::KillAt(at) => Some(at.saturating_duration_since(now)),
            Next::End => None,
        }
    }

    /// What is due, each once.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        match self.next {
            Next::CheckAt(at) if at <= now => {
                self.next = Next::KillAt(now + self.checks.timeout);
                Some(Due::Check)
            }
            Next::KillAt(at) if at <= now => {
                self.next = Next::End;
                Some(Due::Kill)
            }
            _ => None,
        }
    }

    /// A check has ended, well or not; one that was killed has not. Says if that changes anything.
    pub fn checked(&mut self, is_well: bool, now: Instant) -> bool {
        let in_time = matches!(self.next, Next::KillAt(_));
        self.next = Next::CheckAt(now + self.checks.interval);
        let before = self.health;
        if is_well && in_time {
            (self.health, self.failures) = (Health::Healthy, 0);
        } else if self.health != Health::Starting || now >= self.grace_until {
            self.failures += 1;
            if self.failures >= self.checks.retries {
                self.health = Health::Unhealthy;
            }
        }
        self.health != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(start: Instant) -> Schedule {
        let checks = Checks {
            command: "true".to_owned(),
            interval: 10 * SECOND,
            timeout: 2 * SECOND,
            retries: 2,
            start_period: 25 * SECOND,
        };
        Schedule::new(checks, start)
    }

    #[test]
    fn checks_follow_each_other_and_have_their_time() {
        let start = Instant::now();
        let mut all = schedule(start);
        assert_eq!((all.left(start), all.due(start)), (Some(10 * SECOND), None));
        assert_eq!(all.due(start + 10 * SECOND), Some(Due::Check));
        assert_eq!((all.due(start + 11 * SECOND), all.left(start + 11 * SECOND)), (None, Some(SECOND)));
        assert_eq!(all.due(start + 12 * SECOND), Some(Due::Kill));
        // However long its end takes, nothing else begins.
        assert_eq!((all.due(start + 90 * SECOND), all.left(start + 90 * SECOND)), (None, None));
        // One that was killed has not succeeded, whatever its code is.
        assert!(all.checked(true, start + 91 * SECOND) || all.health == Health::Starting);
        assert_eq!(all.left(start + 91 * SECOND), Some(10 * SECOND));
    }

    #[test]
    fn failures_count_in_a_row_and_after_the_start() {
        let start = Instant::now();
        let mut all = schedule(start);
        let mut check = |at: u32, is_well| {
            assert_eq!(all.due(start + at * SECOND), Some(Due::Check));
            let changed = all.checked(is_well, start + at * SECOND);
            (changed, all.health)
        };
        assert_eq!((check(10, false), check(20, false)), ((false, Health::Starting), (false, Health::Starting)));
        assert_eq!(check(30, true), (true, Health::Healthy));
        assert_eq!((check(40, false), check(50, true)), ((false, Health::Healthy), (false, Health::Healthy)));
        assert_eq!((check(60, false), check(70, false)), ((false, Health::Healthy), (true, Health::Unhealthy)));
        assert_eq!((check(80, false), check(90, true)), ((false, Health::Unhealthy), (true, Health::Healthy)));
    }
}
