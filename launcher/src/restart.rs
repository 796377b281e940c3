//! `--restart`: when a command that has ended is to run again. Knows no clock and starts nothing: told how a run ended, it
//! says how long to wait before the next, if there is to be one.

use crate::error::{Error, Result};
use std::time::Duration;

/// The first pause; each further one is twice as long, up to the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_mins(1);
/// A run of this length was a healthy one: what comes after it begins anew.
const HEALTHY: Duration = Duration::from_secs(10);

/// The words are docker's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    No,
    /// After a failure, but not after so many in a row.
    OnFailure(Option<u32>),
    /// `always` and `unless-stopped`: without a daemon, nobody is there who could start again what was stopped.
    Always,
}

impl Policy {
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |cause: String| {
            Error::new("use --restart", cause).hint("it is no, on-failure, on-failure:N, always or unless-stopped")
        };
        match text.split_once(':') {
            None => match text {
                "no" => Ok(Self::No),
                "on-failure" => Ok(Self::OnFailure(None)),
                "always" | "unless-stopped" => Ok(Self::Always),
                _ => Err(refused(format!("there is no policy '{text}'"))),
            },
            Some(("on-failure", count)) => match count.parse() {
                Ok(count @ 1..) => Ok(Self::OnFailure(Some(count))),
                _ => Err(refused(format!("'{count}' is no number of restarts"))),
            },
            Some((policy, _)) => Err(refused(format!("'{policy}' takes no number"))),
        }
    }
}

/// The runs of one command.
pub struct Restarts {
    policy: Policy,
    /// So many in a row were none of them healthy.
    in_a_row: u32,
}

impl Restarts {
    pub fn new(policy: Policy) -> Self {
        Self { policy, in_a_row: 0 }
    }

    /// A run has ended after this time, by failure or not; gives the pause before the next.
    pub fn next(&mut self, ran: Duration, has_failed: bool) -> Option<Duration> {
        if ran >= HEALTHY {
            self.in_a_row = 0;
        }
        let again = match self.policy {
            Policy::No => false,
            Policy::OnFailure(most) => has_failed && most.is_none_or(|most| self.in_a_row < most),
            Policy::Always => true,
        };
        let pause = FIRST.saturating_mul(1 << self.in_a_row.min(16)).min(LONGEST);
        self.in_a_row = self.in_a_row.saturating_add(1);
        again.then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn policies_are_dockers_words() {
        let parsed = |text| Policy::parse(text).map_err(|error| error.to_string());
        assert_eq!(parsed("no"), Ok(Policy::No));
        assert_eq!(parsed("on-failure"), Ok(Policy::OnFailure(None)));
        assert_eq!(parsed("on-failure:5"), Ok(Policy::OnFailure(Some(5))));
        assert_eq!((parsed("always"), parsed("unless-stopped")), (Ok(Policy::Always), Ok(Policy::Always)));
        for bad in ["", "yes", "on-failure:", "on-failure:0", "on-failure:-1", "on-failure:x", "always:3", "no:1"] {
            assert!(parsed(bad).unwrap_err().contains("on-failure:N"), "{bad}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_a_healthy_run() {
        let mut restarts = Restarts::new(Policy::Always);
        let pauses: Vec<u128> = (0..12).map(|_| restarts.next(MS, true).unwrap().as_millis()).collect();
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000];
        assert_eq!(pauses, expected);
        assert_eq!(restarts.next(HEALTHY.saturating_sub(MS), false), Some(LONGEST));
        assert_eq!((restarts.next(HEALTHY, false), restarts.next(MS, false)), (Some(FIRST), Some(2 * FIRST)));
        restarts.in_a_row = u32::MAX;
        assert_eq!(restarts.next(MS, true), Some(LONGEST));
    }

    #[test]
    fn failures_are_counted_and_success_is_the_end() {
        let mut restarts = Restarts::new(Policy::OnFailure(Some(2)));
        assert_eq!((restarts.next(MS, true), restarts.next(MS, true)), (Some(FIRST), Some(2 * FIRST)));
        assert_eq!(restarts.next(MS, true), None);
        assert_eq!(restarts.next(HEALTHY, true), Some(FIRST));
        assert_eq!(restarts.next(MS, false), None);
        assert_eq!(Restarts::new(Policy::No).next(MS, true), None);
    }
}
