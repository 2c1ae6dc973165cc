//! How a deploy ended, told as an event: once, however often the agent tries
//! to undo it.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use super::Engine;
use super::deploy::{Cut, Deploy};
use crate::agent::explain::undeployed::What;
use crate::agent::monitor::{Event, EventKind};
use crate::agent::progress::{Outcome, OutcomeKind};
use crate::names::ServiceName;
use crate::registry::EventQuery;
use crate::telemetry::Chain;

/// What is told when a first deploy is undone.
pub(super) const NOTHING_LEFT: &str = "nothing of it is left on the node";

/// What was told of a deploy that could not be undone yet.
#[derive(Debug)]
pub(super) struct Told {
    operation: i64,
    reason: String,
}

/// Tells whether a reason is a message, alone or with why after it.
fn says(reason: &str, message: &str) -> bool {
    let rest = reason.strip_prefix(message);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

impl Engine {
    /// Records how a deploy ended. That it could not be undone yet is told
    /// when it begins, and when another reason comes up.
    pub(super) async fn record_outcome(&self, outcome: &Outcome, deploy: &Deploy) {
        let by = &deploy.by;
        let generation = outcome.generation;
        let with_why = || match outcome.failures.first() {
            Some(failure) => format!("{}: {}", outcome.message, failure.explanation),
            None => outcome.message.clone(),
        };
        let (kind, reason) = match outcome.kind {
            OutcomeKind::Done | OutcomeKind::Unchanged => {
                (EventKind::Deployed, format!("generation {generation}, by {by}"))
            }
            OutcomeKind::RolledBack => match deploy.cut_off {
                Some(cut @ Cut::Stop) => (EventKind::GivenUp, cut.reason().to_owned()),
                Some(Cut::Early | Cut::Reboot | Cut::TrialGone) | None => {
                    (EventKind::RolledBack, with_why())
                }
            },
            OutcomeKind::Failed | OutcomeKind::Unsettled => (EventKind::DeployFailed, with_why()),
        };
        let unsettled = outcome.kind == OutcomeKind::Unsettled;
        if unsettled {
            let told = self.told_unsettled(&outcome.service, Some(deploy.of())).await;
            if told.is_some_and(|told| says(&told, &outcome.message)) {
                return;
            }
        }
        let unit = outcome.failures.first().map(|f| f.unit.clone()).unwrap_or_default();
        let service = outcome.service.as_str();
        let event = Event { unit, ..Event::of_service(kind, service, reason) };
        self.tell(&outcome.service, event, unsettled.then_some(deploy.operation)).await;
    }

    /// Tells that what could not be undone has ended outside of a deploy, if
    /// it was told that it could not.
    pub(super) async fn tell_settled(&self, service: &ServiceName) {
        if self.told_unsettled(service, None).await.is_none() {
            return;
        }
        let (kind, reason) = match self.find(service).map(|accepted| accepted.row.generation) {
            None => (EventKind::RolledBack, NOTHING_LEFT.to_owned()),
            Some(number) => (EventKind::Deployed, format!("generation {number} is in force")),
        };
        let event = Event::of_service(kind, service.as_str(), reason);
        self.tell(service, event, None).await;
    }

    async fn tell(&self, service: &ServiceName, event: Event, unsettled: Option<i64>) {
        match unsettled {
            Some(operation) => {
                let told = Told { operation, reason: event.reason.clone() };
                self.unsettled().insert(service.clone(), told);
            }
            None => drop(self.unsettled().remove(service)),
        }
        self.tools().events.record(event).await;
    }

    /// Returns how it was told that a deploy could not be undone, by this
    /// agent or, since that began, by one before; none: its end was told since.
    pub(super) async fn told_unsettled(
        &self,
        service: &ServiceName,
        of: Option<(i64, i64)>,
    ) -> Option<String> {
        // What the disk did not take was told all the same.
        if let Some(told) = self.unsettled().get(service)
            && of.is_none_or(|(operation, _)| operation == told.operation)
        {
            return Some(told.reason.clone());
        }
        let query = EventQuery {
            service: service.to_string(),
            kinds: What::ALL.iter().map(|kind| kind.event().as_str().to_owned()).collect(),
            since_ms: of.map(|(_, since_ms)| since_ms),
            limit: 1,
            ..EventQuery::default()
        };
        match self.tools().events.select(query).await {
            Ok(mut last) => last
                .pop()
                .filter(|row| row.kind == EventKind::DeployFailed.as_str())
                .map(|row| row.reason),
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "what was told last is not known");
                None
            }
        }
    }

    fn unsettled(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Told>> {
        self.inner.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
pub(super) mod tests;
