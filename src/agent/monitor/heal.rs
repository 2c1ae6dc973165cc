//! Healing: a service that says `heal = true` is brought back by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::backoff;
use super::event::Event;
use super::kind::EventKind;
use super::watch::Monitor;
use crate::agent::engine::EngineError;
use crate::agent::progress::{Outcome, OutcomeKind};
use crate::names::{ComponentName, ServiceName};
use crate::telemetry::Chain;

/// The pause after the first attempt, and the longest.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);
/// How long all has to be well before attempts are forgotten.
const FORGET: Duration = Duration::from_secs(1200);

/// How healing a service stands.
#[derive(Debug, Default)]
pub struct Healing {
    attempts: u32,
    /// Not before this, by the monitor's clock.
    not_before: Duration,
    under_way: bool,
    /// Why the last attempt failed, as it was told.
    failed: Option<String>,
}

/// A service that was tried to be healed.
#[derive(Debug)]
pub struct Healed {
    service: ServiceName,
    result: Result<Outcome, EngineError>,
}

impl Monitor {
    /// Begins to heal what drifts and may be healed.
    pub(super) fn heal(&mut self) {
        let now = self.now();
        self.healing.retain(|_, h| h.under_way || now < h.not_before.saturating_add(FORGET));
        for (service, healing) in &mut self.healing {
            if !healing.under_way && !self.known.of(service).any(|(_, kind)| kind.heals()) {
                healing.failed = None;
            }
        }
        for service in self.to_heal() {
            let healing = self.healing.entry(service.clone()).or_default();
            if healing.under_way || now < healing.not_before {
                continue;
            }
            healing.attempts = healing.attempts.saturating_add(1);
            healing.under_way = true;
            let left = self.left_alone(&service);
            let engine = self.tools.engine.clone();
            self.heals.spawn(async move {
                let result = engine.heal(&service, &left).await;
                Healed { service, result }
            });
        }
    }

    /// Returns the services that drift, say that they heal, and do not flap.
    fn to_heal(&self) -> Vec<ServiceName> {
        let heals = |service: &ServiceName| {
            self.known.of(service).any(|(_, kind)| kind.heals())
                && self.tools.engine.under_way(service).is_none()
                && !self
                    .tracked
                    .iter()
                    .any(|(unit, t)| t.service == *service && self.flaps.is_flapping(unit))
        };
        let all = self.tools.engine.all();
        let healing = all.iter().filter(|a| a.deployment.heal).map(|a| a.row.name.clone());
        healing.filter(heals).collect()
    }

    /// Returns the components that a person has stopped.
    fn left_alone(&self, service: &ServiceName) -> BTreeSet<ComponentName> {
        let Ok(accepted) = self.tools.engine.accepted(service) else { return BTreeSet::new() };
        let names = accepted.deployment.containers.iter().map(|c| c.spec.name.clone());
        names.filter(|name| self.is_stopped_by_hand(service, name.as_str())).collect()
    }

    /// Returns when the next attempt may be made.
    pub(super) fn next_heal(&self) -> Option<Instant> {
        let waiting = self.to_heal().into_iter().filter_map(|service| {
            let healing = self.healing.get(&service)?;
            (!healing.under_way).then_some(healing.not_before)
        });
        waiting.min().map(|at| self.moment(at))
    }

    /// Tells how an attempt went, and when the next may be.
    pub(super) async fn healed(&mut self, healed: Result<Healed, JoinError>) {
        let Healed { service, result } = match healed {
            Ok(healed) => healed,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "an attempt to heal was lost");
                self.healing.values_mut().for_each(|healing| healing.under_way = false);
                return;
            }
        };
        let now = self.now();
        let healing = self.healing.entry(service.clone()).or_default();
        healing.under_way = false;
        let pause = backoff::pause(healing.attempts, FIRST, LONGEST, 128);
        healing.not_before = now.saturating_add(pause);
        let attempt = healing.attempts;
        let event = match result {
            Ok(outcome) if outcome.kind == OutcomeKind::Done => {
                healing.failed = None;
                let reason = format!("attempt {attempt}: {}", outcome.message);
                Some(Event::of_service(EventKind::Healed, service.as_str(), reason))
            }
            Ok(outcome) if outcome.kind == OutcomeKind::Unchanged => None,
            Ok(outcome) => {
                let why =
                    outcome.failures.first().map_or(outcome.message, |f| f.explanation.clone());
                failed(&service, healing, why)
            }
            // Somebody is at it, who may well settle it.
            Err(EngineError::Busy { .. } | EngineError::GaveWay { .. }) => return,
            Err(error) => failed(&service, healing, Chain(&error).to_string()),
        };
        if let Some(event) = event {
            self.tools.events.record(event).await;
        }
        self.due.service(service);
    }
}

/// Returns what is told of an attempt that failed: nothing, if the one before
/// failed for the same reason.
fn failed(service: &ServiceName, healing: &mut Healing, why: String) -> Option<Event> {
    if healing.failed.as_ref() == Some(&why) {
        return None;
    }
    let reason = format!("attempt {}: {why}", healing.attempts);
    healing.failed = Some(why);
    Some(Event {
        mend: format!("mcp status {service}"),
        ..Event::of_service(EventKind::HealFailed, service.as_str(), reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_fail_alike_are_told_once() {
        let service: ServiceName = "shop".parse().unwrap();
        let mut healing = Healing::default();
        let mut told = |why: &str| {
            healing.attempts += 1;
            failed(&service, &mut healing, why.to_owned()).map(|event| event.reason)
        };
        assert_eq!(told("exit code 1").as_deref(), Some("attempt 1: exit code 1"));
        assert_eq!((told("exit code 1"), told("exit code 1")), (None, None));
        assert_eq!(told("no image").as_deref(), Some("attempt 4: no image"));
    }
}
