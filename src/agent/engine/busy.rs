//! Which operation has a service, and how a stop gets it.
//!
//! A stop does not wait for a start or deploy to come to its own end, which can
//! be minutes away: that one is asked to give way, leaves what it waits for,
//! undoes what it has to undo, and ends.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{Engine, EngineError, deploy, lifecycle, now_ms, reconcile, release, undeploy};
use crate::agent::explain::Operation;
use crate::agent::progress::{Progress, Step};
use crate::names::ServiceName;

/// How long an operation that ended is remembered: systemd may tell its
/// listeners late what a unit has done by then.
const AFTERMATH: Duration = Duration::from_secs(10);

/// What can be given up at any moment: it leaves a service of which every file
/// and record is whole. A takeover is not: what ran before would run again.
const GIVES_WAY: [&str; 5] =
    [lifecycle::START, lifecycle::RESTART, deploy::KIND, reconcile::KIND, reconcile::HEAL];

/// What has nothing come up.
const ENDS: [&str; 4] = [lifecycle::STOP, undeploy::UNDEPLOY, undeploy::PURGE, release::RELEASE];

/// An operation that has a service.
#[derive(Debug)]
pub(super) struct UnderWay {
    operation: &'static str,
    since_ms: i64,
    /// Cancelled when it is to give way to a stop; none: it does not.
    gives_way: Option<CancellationToken>,
}

impl UnderWay {
    /// Returns what there is to know of it.
    fn told(&self) -> Operation {
        Operation {
            word: self.operation,
            recovers: self.operation == lifecycle::RECOVERY,
            starts: !Engine::ends(self.operation),
            gives_way: self.gives_way.is_some(),
            since_ms: self.since_ms,
        }
    }
}

/// A service taken for one operation; free again when dropped.
#[derive(Debug)]
pub(super) struct Busy {
    engine: Engine,
    pub(super) service: ServiceName,
}

impl Engine {
    fn busy(&self) -> MutexGuard<'_, BTreeMap<ServiceName, UnderWay>> {
        self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a service for one operation.
    pub(super) fn take(
        &self,
        service: &ServiceName,
        operation: &'static str,
    ) -> Result<Busy, EngineError> {
        self.try_take(service, operation).map_err(|(other, gives_way)| EngineError::Busy {
            service: service.clone(),
            operation: other,
            gives_way: gives_way.is_some(),
        })
    }

    /// Takes a service, or returns what has it, with what makes that give way.
    fn try_take(
        &self,
        service: &ServiceName,
        operation: &'static str,
    ) -> Result<Busy, (&'static str, Option<CancellationToken>)> {
        let mut busy = self.busy();
        if let Some(other) = busy.get(service) {
            return Err((other.operation, other.gives_way.clone()));
        }
        let gives_way = GIVES_WAY.contains(&operation).then(CancellationToken::new);
        let under_way = UnderWay { operation, since_ms: now_ms(), gives_way };
        busy.insert(service.clone(), under_way);
        Ok(Busy { engine: self.clone(), service: service.clone() })
    }

    /// Takes a service, if need be from an operation that is asked to give way;
    /// tells which that was.
    pub(super) async fn take_over(
        &self,
        service: &ServiceName,
        operation: &'static str,
        progress: &Progress,
    ) -> Result<(Busy, Option<&'static str>), EngineError> {
        // Before the look, so that no end is missed.
        let mut changes = self.changes();
        let mut from = None;
        let mut step: Option<Step<'_>> = None;
        loop {
            let (other, gives_way) = match self.try_take(service, operation) {
                Ok(busy) => {
                    if let Some(step) = step {
                        step.done().await;
                    }
                    return Ok((busy, from));
                }
                Err(refused) => refused,
            };
            let Some(gives_way) = gives_way else {
                if let Some(step) = step {
                    step.failed(format!("a {other} of {service} came in between")).await;
                }
                let service = service.clone();
                return Err(EngineError::Busy { service, operation: other, gives_way: false });
            };
            gives_way.cancel();
            if from.replace(other) != Some(other) {
                if let Some(step) = step.take() {
                    step.done().await;
                }
                step = Some(progress.step("give up", format!("{other} of {service}")).await);
            }
            // The sender is the engine's own, and outlives this.
            drop(changes.changed().await);
        }
    }

    /// Tells whether something is under way on a service that gives way to a
    /// stop.
    pub(super) fn can_give_way(&self, service: &ServiceName) -> bool {
        self.busy().get(service).is_some_and(|under_way| under_way.gives_way.is_some())
    }

    /// Tells whether what is under way on a service is to give way.
    pub(super) fn gives_way(&self, service: &ServiceName) -> bool {
        let busy = self.busy();
        let gives_way = busy.get(service).and_then(|under_way| under_way.gives_way.as_ref());
        gives_way.is_some_and(CancellationToken::is_cancelled)
    }

    /// Tells whether an operation is one that has nothing come up.
    pub fn ends(operation: &'static str) -> bool {
        ENDS.contains(&operation)
    }

    /// Waits for something that may be left at any moment, unless what is
    /// under way on the service is to give way.
    ///
    /// # Errors
    ///
    /// [`EngineError::GaveWay`], and those of what is waited for.
    pub(super) async fn unless_given_up<T>(
        &self,
        service: &ServiceName,
        waiting: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let found = self.busy().get(service).map(|u| (u.operation, u.gives_way.clone()));
        let Some((operation, Some(gives_way))) = found else { return waiting.await };
        tokio::select! {
            biased;
            () = gives_way.cancelled() => {
                Err(EngineError::GaveWay { service: service.clone(), operation })
            }
            // The caller says that it may be left.
            done = waiting => done,
        }
    }

    /// Returns what is under way on a service.
    pub fn under_way(&self, service: &ServiceName) -> Option<&'static str> {
        self.busy().get(service).map(|under_way| under_way.operation)
    }

    /// Looks at something and at what is under way, by service, as both are at
    /// one moment: what a deploy brings goes with its operation.
    pub(super) fn with_operations<T>(
        &self,
        look: impl FnOnce() -> T,
    ) -> (T, BTreeMap<ServiceName, Operation>) {
        let busy = self.busy();
        let operations =
            busy.iter().map(|(service, under_way)| (service.clone(), under_way.told()));
        (look(), operations.collect())
    }

    /// Returns an operation that is under way, on whatever service.
    pub fn any_under_way(&self) -> Option<(ServiceName, &'static str)> {
        let busy = self.busy();
        busy.iter().next().map(|(service, under_way)| (service.clone(), under_way.operation))
    }

    /// Returns what is under way on a service, or ended a moment ago.
    pub fn lately(&self, service: &ServiceName) -> Option<&'static str> {
        self.at_it(service, None)
    }

    /// Returns the operation by which a unit of the service came into a state:
    /// one that is under way, or that ended a moment ago and after that. What
    /// gives way is at the stop that it gives way to.
    pub fn at_it(&self, service: &ServiceName, since: Option<SystemTime>) -> Option<&'static str> {
        if self.gives_way(service) {
            return Some(lifecycle::STOP);
        }
        self.under_way(service).or_else(|| {
            let ended = self.inner.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let (operation, at, then) = ended.get(service)?;
            let before = since.is_none_or(|since| since <= *then);
            (at.elapsed() < AFTERMATH && before).then_some(*operation)
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let inner = &self.engine.inner;
        inner.coming.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.service);
        let done = self.engine.busy().remove(&self.service);
        if let Some(UnderWay { operation, .. }) = done {
            let mut ended = inner.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.retain(|_, (_, at, _)| at.elapsed() < AFTERMATH);
            ended.insert(self.service.clone(), (operation, Instant::now(), SystemTime::now()));
        }
        inner.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

#[cfg(test)]
#[path = "busy_tests.rs"]
pub(super) mod tests;
