//! Jobs: systemd's queued starts and stops, and how they end.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use zbus::OwnedObjectPath;

use super::manager::SystemdError;
use super::proxy::{JobRemoved, JobRemovedStream, SystemdProxy};
use crate::names::UnitName;

/// What to ask of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `StartUnit`
    Start,
    /// `StopUnit`
    Stop,
    /// `RestartUnit`
    Restart,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    async fn ask(
        self,
        proxy: &SystemdProxy<'static>,
        unit: &UnitName,
        mode: JobMode,
    ) -> Result<OwnedObjectPath, SystemdError> {
        let (unit_text, mode) = (unit.as_str(), mode.as_str());
        let job = match self {
            Self::Start => proxy.start_unit(unit_text, mode).await,
            Self::Stop => proxy.stop_unit(unit_text, mode).await,
            Self::Restart => proxy.restart_unit(unit_text, mode).await,
        };
        job.map_err(|e| SystemdError::unit(self.as_str(), unit, e))
    }
}

/// How a new job deals with those already queued (`org.freedesktop.systemd1(5)`,
/// `StartUnit()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobMode {
    /// Brings in the unit's requirements and replaces conflicting jobs.
    Replace,
    /// The unit alone, without its requirements and ordering.
    IgnoreDependencies,
}

impl JobMode {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::IgnoreDependencies => "ignore-dependencies",
        }
    }
}

/// How a job ended (`org.freedesktop.systemd1(5)`, signal `JobRemoved`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// The unit did what was asked.
    Done,
    /// The unit failed.
    Failed,
    /// The job's own timeout passed (`JobTimeoutSec=`).
    Timeout,
    /// A unit that it requires did not start.
    Dependency,
    /// Somebody cancelled the job, or another job replaced it.
    Canceled,
    /// Nothing was to be done in the unit's present state.
    Skipped,
    /// A result that a newer systemd added, and the rare `invalid`, `assert`,
    /// `unsupported`, `collected`, `once`.
    Other(String),
}

impl From<&str> for JobResult {
    fn from(text: &str) -> Self {
        match text {
            "done" => Self::Done,
            "failed" => Self::Failed,
            "timeout" => Self::Timeout,
            "dependency" => Self::Dependency,
            "canceled" => Self::Canceled,
            "skipped" => Self::Skipped,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl JobResult {
    /// Tells whether the unit is now as asked.
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// Returns systemd's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Dependency => "dependency",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

type Outcome = (UnitName, Result<JobResult, SystemdError>);

/// Jobs under way. Dropping it stops the waiting, not the jobs.
#[derive(Debug)]
pub struct Jobs {
    outcomes: mpsc::Receiver<Outcome>,
    _worker: AbortOnDropHandle<()>,
}

impl Jobs {
    /// Listens for ends of jobs, then asks for one job a unit.
    pub(super) async fn queue(
        proxy: SystemdProxy<'static>,
        verb: Verb,
        units: &[UnitName],
        mode: JobMode,
        deadline: Duration,
    ) -> Result<Self, SystemdError> {
        // Before asking: a job can end before the answer that names it.
        let removed =
            proxy.receive_job_removed().await.map_err(|e| SystemdError::call("JobRemoved", e))?;
        let (sender, outcomes) = mpsc::channel(units.len().max(1));
        let asks = FuturesUnordered::new();
        for unit in units {
            let (proxy, unit) = (proxy.clone(), unit.clone());
            let ask: Ask = Box::pin(async move {
                let answer = verb.ask(&proxy, &unit, mode).await;
                (unit, answer)
            });
            asks.push(ask);
        }
        let worker = Worker {
            proxy,
            asked: units.to_vec(),
            running: Vec::new(),
            early: HashMap::new(),
            sender,
        };
        let task = tokio::spawn(worker.run(asks, removed, deadline));
        Ok(Self { outcomes, _worker: AbortOnDropHandle::new(task) })
    }

    /// Returns the next unit whose job ended, or whose job there never was;
    /// `None` after the last.
    ///
    /// May be cancelled: nothing is lost.
    pub async fn next(&mut self) -> Option<(UnitName, Result<JobResult, SystemdError>)> {
        self.outcomes.recv().await
    }
}

type Ask = BoxFuture<'static, (UnitName, Result<OwnedObjectPath, SystemdError>)>;

struct Worker {
    proxy: SystemdProxy<'static>,
    /// Units whose job has no path yet.
    asked: Vec<UnitName>,
    running: Vec<(OwnedObjectPath, UnitName)>,
    /// Jobs that ended while some answers were due, whoever asked for them.
    early: HashMap<OwnedObjectPath, JobResult>,
    sender: mpsc::Sender<Outcome>,
}

impl Worker {
    async fn run(
        mut self,
        mut asks: FuturesUnordered<Ask>,
        mut removed: JobRemovedStream,
        deadline: Duration,
    ) {
        let end = tokio::time::sleep_until(Instant::now() + deadline);
        tokio::pin!(end);
        while !(self.asked.is_empty() && self.running.is_empty()) {
            // All three arms may be cancelled: the streams keep what they
            // have not handed out, and the deadline is a point in time.
            tokio::select! {
                Some((unit, answer)) = asks.next() => self.answered(unit, answer).await,
                signal = removed.next() => match signal {
                    Some(signal) => self.ended(&signal).await,
                    None => return self.disconnected().await,
                },
                () = &mut end => {
                    // Nobody reads the signals from here on.
                    drop(removed);
                    return self.expired(deadline).await;
                }
            }
        }
    }

    async fn answered(&mut self, unit: UnitName, answer: Result<OwnedObjectPath, SystemdError>) {
        self.asked.retain(|asked| *asked != unit);
        match answer {
            Ok(job) => match self.early.get(&job) {
                Some(result) => self.tell(unit, Ok(result.clone())).await,
                None => self.running.push((job, unit)),
            },
            Err(error) => self.tell(unit, Err(error)).await,
        }
        if self.asked.is_empty() {
            self.early.clear();
        }
    }

    async fn ended(&mut self, signal: &JobRemoved) {
        let args = match signal.args() {
            Ok(args) => args,
            Err(error) => {
                tracing::warn!(%error, "systemd sent a JobRemoved that cannot be read");
                return;
            }
        };
        let result = JobResult::from(args.result.as_str());
        let (ended, running) =
            std::mem::take(&mut self.running).into_iter().partition(|(job, _)| *job == args.job);
        self.running = running;
        let ended: Vec<(OwnedObjectPath, UnitName)> = ended;
        for (_, unit) in ended {
            self.tell(unit, Ok(result.clone())).await;
        }
        if !self.asked.is_empty() {
            self.early.insert(args.job, result);
        }
    }

    async fn disconnected(mut self) {
        for unit in self.unfinished() {
            self.tell(unit, Err(SystemdError::Disconnected)).await;
        }
    }

    async fn expired(mut self, deadline: Duration) {
        for (job, unit) in std::mem::take(&mut self.running) {
            if let Some(id) = job_number(job.as_str())
                && let Err(error) = self.proxy.cancel_job(id).await
            {
                // It may have ended in this very moment.
                tracing::debug!(%error, %unit, "the job could not be cancelled");
            }
            self.asked.push(unit);
        }
        let seconds = deadline.as_secs();
        for unit in self.unfinished() {
            let error = SystemdError::Deadline { unit: unit.clone(), seconds };
            self.tell(unit, Err(error)).await;
        }
    }

    fn unfinished(&mut self) -> Vec<UnitName> {
        let mut units = std::mem::take(&mut self.asked);
        units.extend(std::mem::take(&mut self.running).into_iter().map(|(_, unit)| unit));
        units
    }

    /// Never waits: the channel has room for one outcome a unit.
    async fn tell(&self, unit: UnitName, result: Result<JobResult, SystemdError>) {
        if self.sender.send((unit, result)).await.is_err() {
            tracing::debug!("nobody waits for these jobs any more");
        }
    }
}

/// Parses the number out of `/org/freedesktop/systemd1/job/4711`.
fn job_number(path: &str) -> Option<u32> {
    path.strip_prefix("/org/freedesktop/systemd1/job/")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_systemds_words() {
        for word in ["done", "failed", "timeout", "dependency", "canceled", "skipped", "frozen"] {
            assert_eq!(JobResult::from(word).as_str(), word);
        }
        assert_eq!(JobResult::from("frozen"), JobResult::Other("frozen".to_owned()));
        assert!(JobResult::Done.is_done());
        assert!(!JobResult::Skipped.is_done());
    }

    #[test]
    fn job_paths_carry_a_number() {
        assert_eq!(job_number("/org/freedesktop/systemd1/job/4711"), Some(4711));
        assert_eq!(job_number("/org/freedesktop/systemd1/job/x"), None);
        assert_eq!(job_number("/"), None);
    }
}
