//! How a deploy ended, told as an event: once, however often the agent tries
//! to undo it.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use super::Engine;
use super::deploy::{Cut, Deploy};
use crate::agent::explain::undeployed::What;
use crate::agent::monitor::{Event, EventKind};
use crate::agent::progress::{Outcome, OutcomeKind};
use crate::names::{Generation, ServiceName};
use crate::registry::EventQuery;
use crate::telemetry::Chain;

/// What is told when a first deploy is undone.
pub(super) const NOTHING_LEFT: &str = "nothing of it is left on the node";

impl Engine {
    /// Records how a deploy ended. That it could not be undone yet is told
    /// when it begins, and when another reason comes up.
    pub(super) async fn record_outcome(&self, outcome: &Outcome, deploy: &Deploy) {
        let by = &deploy.by;
        let generation = outcome.generation;
        let why = outcome.failures.first().map_or(&outcome.message, |f| &f.explanation);
        let with_why = || format!("{}: {why}", outcome.message);
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
            let told = self.told_unsettled(&outcome.service, None).await;
            if told.is_some_and(|told| told.starts_with(&outcome.message)) {
                return;
            }
        }
        let unit = outcome.failures.first().map(|f| f.unit.clone()).unwrap_or_default();
        let service = outcome.service.as_str();
        let event = Event { unit, ..Event::of_service(kind, service, reason) };
        self.tell(&outcome.service, event, unsettled).await;
    }

    /// Tells that what could not be undone has ended outside of a deploy, if
    /// it was told that it could not; `to` is the generation that was wanted.
    pub(super) async fn tell_settled(
        &self,
        service: &ServiceName,
        since_ms: Option<i64>,
        to: Option<Generation>,
    ) {
        if self.told_unsettled(service, since_ms).await.is_none() {
            return;
        }
        let number = self.find(service).map(|accepted| accepted.row.generation);
        let (kind, reason) = match number {
            None => (EventKind::RolledBack, NOTHING_LEFT.to_owned()),
            Some(number) if to.is_none_or(|to| to == number) => {
                (EventKind::Deployed, format!("generation {number} is in force"))
            }
            Some(number) => {
                (EventKind::RolledBack, format!("generation {number} is in force again"))
            }
        };
        let event = Event::of_service(kind, service.as_str(), reason);
        self.tell(service, event, false).await;
    }

    async fn tell(&self, service: &ServiceName, event: Event, unsettled: bool) {
        if unsettled {
            self.unsettled().insert(service.clone(), event.reason.clone());
        } else {
            self.unsettled().remove(service);
        }
        self.tools().events.record(event).await;
    }

    /// Returns how it was told that a deploy could not be undone, by this
    /// agent or, since a moment, by one before; none: its end was told since.
    pub(super) async fn told_unsettled(
        &self,
        service: &ServiceName,
        since_ms: Option<i64>,
    ) -> Option<String> {
        // What the disk did not take was told all the same.
        if let Some(told) = self.unsettled().get(service) {
            return Some(told.clone());
        }
        let query = EventQuery {
            service: service.to_string(),
            kinds: What::ALL.iter().map(|kind| kind.event().as_str().to_owned()).collect(),
            since_ms,
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

    fn unsettled(&self) -> MutexGuard<'_, BTreeMap<ServiceName, String>> {
        self.inner.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
