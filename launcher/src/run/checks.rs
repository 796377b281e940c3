//! A sandbox's health while it runs: its checks, one at a time, and what comes of them.

use super::sandbox::Sandbox;
use crate::deadline::Deadline;
use crate::health::{Due, Health};
use crate::service::Check;
use std::time::Instant;
use tracing::{debug, info};

impl Sandbox<'_> {
    pub(super) fn mind_the_health(&mut self) {
        let Some(schedule) = &mut self.schedule else { return };
        match schedule.due(Instant::now()) {
            None => {}
            Some(Due::Kill) => self.check.iter().for_each(Check::kill),
            Some(Due::Check) => {
                let name = self.events.name().unwrap_or_default();
                match Check::start(name, schedule.command()) {
                    Ok(check) => self.check = Some(check),
                    Err(error) => {
                        info!("the check of its health has failed: {error}");
                        self.judge(false);
                    }
                }
            }
        }
    }

    /// A check has ended.
    pub(super) fn checked(&mut self) {
        if let Some(check) = self.check.take() {
            let is_well = check.finish();
            self.judge(is_well);
        }
    }

    fn judge(&mut self, is_well: bool) {
        let Some(schedule) = &mut self.schedule else { return };
        debug!(is_well, "its health was checked");
        if !schedule.checked(is_well, Instant::now()) {
            return;
        }
        let health = schedule.health;
        self.events.health(health.word());
        if health == Health::Unhealthy {
            // Where a service manager watches, it is for that to start it again.
            self.events.leave_the_watchdog();
        }
        if health == Health::Unhealthy && self.events.may_restart() {
            info!("the command is not well: it is asked to end, and starts again");
            // One that ends well by that starts again, too.
            self.events.is_unwell = true;
            self.schedule = None;
            let ending = self.ending.insert(Deadline::new(0, self.spec.grace_ms()));
            ending.start(Instant::now());
        }
    }
}
