//! What is remembered of a component's checks while the node is up, and what
//! follows from a failure: pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::definition::service::OnFailure;

/// Time without a restart after which the next one is the first again.
const QUIET: Duration = Duration::from_secs(3600);

/// Time between the first restart and the second; it doubles from there.
const FIRST_DELAY: Duration = Duration::from_secs(60);

/// Longest time between two restarts.
const LAST_DELAY: Duration = Duration::from_secs(30 * 60);

/// What is remembered of a component's checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// What was found wrong last; none: it is healthy.
    pub unhealthy: Option<Unhealthy>,
    /// How often the check had it restarted, since somebody else started it.
    pub restarts: u32,
    /// Those of them that came without a quiet hour in between.
    pub in_a_row: u32,
    /// When the last of them was, in seconds since boot.
    pub restarted_at_s: u64,
}

/// A run of a container that was found unhealthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unhealthy {
    /// The run: systemd's number of its invocation.
    pub invocation: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// Why, one short line that the component may have written.
    pub reason: String,
    /// What was done about it.
    pub done: Done,
}

/// What was done about an unhealthy component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// Nothing is to be done.
    Nothing,
    /// systemd was asked to restart it.
    Restarted,
    /// It was restarted not long ago: the next time is due then, in seconds
    /// since boot.
    Waits(u64),
    /// systemd was asked to stop it.
    Stopped,
}

/// A check that failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// The run of the container.
    pub invocation: String,
    /// Why.
    pub reason: String,
    /// Now, in milliseconds since 1970.
    pub at_ms: i64,
    /// Now, in seconds since boot.
    pub uptime_s: u64,
}

/// What the checks say of one run of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfRun<'a> {
    /// Nothing bad.
    Healthy,
    /// It is unhealthy.
    Unhealthy(&'a Unhealthy),
}

impl Record {
    /// Returns what is known of one run of the container: what was said of an
    /// earlier one says nothing of it.
    pub fn of_run(&self, invocation: &str) -> OfRun<'_> {
        match &self.unhealthy {
            Some(found) if found.invocation == invocation => OfRun::Unhealthy(found),
            Some(_) | None => OfRun::Healthy,
        }
    }

    /// Returns the record after a check that succeeded.
    #[must_use]
    pub fn recovered(self) -> Self {
        Self { unhealthy: None, ..self }
    }

    /// Returns the record after a check that failed for good; its `done` is
    /// what has to be done now.
    #[must_use]
    pub fn failed(self, miss: Miss, on_failure: OnFailure) -> Self {
        let since_ms = match self.of_run(&miss.invocation) {
            OfRun::Unhealthy(before) => before.since_ms,
            OfRun::Healthy => miss.at_ms,
        };
        let mut record = self;
        let done = match on_failure {
            OnFailure::None => Done::Nothing,
            OnFailure::Stop => Done::Stopped,
            OnFailure::Restart => record.restart(miss.uptime_s),
        };
        let (invocation, reason) = (miss.invocation, miss.reason);
        record.unhealthy = Some(Unhealthy { invocation, since_ms, reason, done });
        record
    }

    /// Counts a restart, if one is due.
    fn restart(&mut self, uptime_s: u64) -> Done {
        let quiet = Duration::from_secs(uptime_s.saturating_sub(self.restarted_at_s));
        if self.in_a_row == 0 || quiet >= QUIET {
            self.in_a_row = 0;
        } else {
            let due = self.restarted_at_s.saturating_add(delay(self.in_a_row).as_secs());
            if uptime_s < due {
                return Done::Waits(due);
            }
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
        self.restarted_at_s = uptime_s;
        Done::Restarted
    }
}

/// Returns how long after the n-th restart in a row the next one may come.
fn delay(restarts: u32) -> Duration {
    let doubled = restarts.saturating_sub(1).min(16);
    (FIRST_DELAY * 2u32.pow(doubled)).min(LAST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miss(run: &str, uptime_s: u64) -> Miss {
        let at_ms = i64::try_from(uptime_s).unwrap() * 1000;
        Miss { invocation: run.to_owned(), reason: "no answer".to_owned(), at_ms, uptime_s }
    }

    fn done(record: &Record) -> Done {
        record.unhealthy.as_ref().unwrap().done
    }

    #[test]
    fn restarts_come_ever_more_slowly_and_begin_anew_after_a_quiet_hour() {
        let mut record = Record::default();
        let mut at = Vec::new();
        for uptime_s in (1000..20_000).step_by(10) {
            record = record.failed(miss("a", uptime_s), OnFailure::Restart);
            if done(&record) == Done::Restarted {
                at.push(uptime_s);
            }
        }
        let gaps: Vec<u64> = at.windows(2).map(|w| w[1] - w[0]).collect();
        assert_eq!(gaps[..7], [60, 120, 240, 480, 960, 1800, 1800]);
        assert_eq!(usize::try_from(record.restarts).unwrap(), at.len());
        let last = *at.last().unwrap();
        record = record.recovered().failed(miss("b", last + 3601), OnFailure::Restart);
        assert_eq!((done(&record), record.in_a_row), (Done::Restarted, 1));
        record = record.recovered().failed(miss("c", last + 3620), OnFailure::Restart);
        assert_eq!(done(&record), Done::Waits(last + 3601 + 60));
    }

    #[test]
    fn a_verdict_is_about_one_run_and_keeps_its_time() {
        let first = Record::default().failed(miss("a", 5), OnFailure::None);
        let again = first.clone().failed(miss("a", 9), OnFailure::None);
        assert!(matches!(again.of_run("a"), OfRun::Unhealthy(u) if u.since_ms == 5000));
        assert_eq!(again.of_run("b"), OfRun::Healthy);
        let other = again.failed(miss("b", 9), OnFailure::Stop);
        assert!(matches!(other.of_run("b"), OfRun::Unhealthy(u) if u.since_ms == 9000));
        assert_eq!(done(&other), Done::Stopped);
        assert_eq!(other.recovered().of_run("b"), OfRun::Healthy);
    }
}
