//! Drift as it comes and goes: what differs now, against what has been told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::drift::{Drift, DriftKind};
use super::event::Event;
use super::kind::EventKind;
use super::watch::Monitor;
use crate::agent::engine::status::ServiceStatus;
use crate::agent::engine::{Accepted, EngineError};
use crate::names::ServiceName;
use crate::registry::EventRow;
use crate::systemd::SystemdError;
use crate::telemetry::Chain;
use crate::units::UnitsError;

/// What a drift is of: service and component, either empty for the whole;
/// kind; subject.
type Key = (String, String, String, String);

/// The drift that has been told, and how the files were then.
#[derive(Debug, Default)]
pub struct Known {
    told: BTreeMap<Key, Option<DriftKind>>,
    stamps: BTreeMap<ServiceName, u64>,
}

impl Known {
    /// Takes up what an earlier agent has told, and nobody has settled.
    pub(super) fn load(&mut self, open: Vec<EventRow>) {
        let key = |row: EventRow| (row.service, row.component, row.drift, row.subject);
        self.told = open.into_iter().map(|row| (key(row), None)).collect();
    }

    /// Returns the services of which drift has been told.
    pub(super) fn services(&self) -> BTreeSet<ServiceName> {
        self.told.keys().filter_map(|(service, ..)| service.parse().ok()).collect()
    }

    /// Returns the components that drift, with the kinds of it.
    pub(super) fn of<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = (&'a str, DriftKind)> {
        self.told
            .iter()
            .filter(move |((of, ..), _)| of == service.as_str())
            .filter_map(|((_, component, ..), kind)| kind.map(|kind| (component.as_str(), kind)))
    }
}

/// A drift, and where it is.
struct Found {
    component: String,
    desired: &'static str,
    observed: &'static str,
    drift: Drift,
}

impl Monitor {
    /// Looks for drift of the services that are due.
    pub(super) async fn find_differences(&mut self) -> Result<(), SystemdError> {
        for service in std::mem::take(&mut self.due.services) {
            // Half-way through an operation nothing is as it should be; its
            // end asks for another look.
            if self.tools.engine.under_way(&service).is_some() {
                continue;
            }
            match self.differences(&service).await {
                Ok(()) => {}
                Err(EngineError::Systemd(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%service, error = %Chain(&error), "the drift of a service cannot be found");
                }
            }
        }
        if std::mem::take(&mut self.due.strangers) {
            self.find_strangers().await;
        }
        Ok(())
    }

    /// Looks for the containers of no service.
    pub(super) async fn find_strangers(&mut self) {
        let strangers = self.tools.engine.strangers().await;
        let found = strangers.into_iter().map(|drift| Found {
            component: String::new(),
            desired: "",
            observed: "",
            drift,
        });
        self.tell("", found.collect()).await;
    }

    async fn differences(&mut self, service: &ServiceName) -> Result<(), EngineError> {
        let found = if let Ok(accepted) = self.tools.engine.accepted(service) {
            let stamps = self.stamps(&[accepted]).await;
            let mut statuses = self.tools.engine.status(Some(service)).await?;
            let mut found = Vec::new();
            for status in &mut statuses {
                self.tools.engine.add_file_drift(status).await?;
                found.extend(all_of(status));
            }
            self.known.stamps.extend(stamps);
            found
        } else {
            self.known.stamps.remove(service);
            Vec::new()
        };
        // It may have begun while we looked, or all may be going down.
        if self.tools.engine.under_way(service).is_some()
            || (!found.is_empty() && self.tools.engine.manager().is_stopping().await?)
        {
            return Ok(());
        }
        self.tell(service.as_str(), found).await;
        Ok(())
    }

    /// Tells what is new and what is over, of one service or of the node.
    async fn tell(&mut self, service: &str, found: Vec<Found>) {
        let key = |found: &Found| {
            let Drift { kind, subject, .. } = &found.drift;
            (service.to_owned(), found.component.clone(), kind.as_str().to_owned(), subject.clone())
        };
        let now: BTreeSet<Key> = found.iter().map(key).collect();
        let over: Vec<Key> = self
            .known
            .told
            .keys()
            .filter(|told| told.0 == service && !now.contains(*told))
            .cloned()
            .collect();
        for told in over {
            self.known.told.remove(&told);
            let (_, component, drift, subject) = told;
            let reason = format!("{subject}: {drift} is settled");
            let settled = Event {
                component,
                drift,
                subject,
                ..Event::of_service(EventKind::DriftSettled, service, reason)
            };
            self.tools.events.record(settled).await;
        }
        for found in found {
            let key = key(&found);
            if self.known.told.insert(key, Some(found.drift.kind)).is_some() {
                continue;
            }
            let unit = if found.drift.subject.contains(".service") {
                found.drift.subject.clone()
            } else {
                String::new()
            };
            let drift = Event {
                component: found.component,
                unit,
                desired: found.desired,
                observed: found.observed,
                drift: found.drift.kind.as_str().to_owned(),
                subject: found.drift.subject,
                mend: found.drift.mend,
                ..Event::of_service(EventKind::Drift, service, found.drift.reason)
            };
            self.tools.events.record(drift).await;
        }
    }

    /// Returns the services whose files are not as they were when they were
    /// compared last.
    pub(super) async fn stamps_changed(&self) -> Vec<ServiceName> {
        let all = self.stamps(&self.tools.engine.all()).await;
        let differs = |(service, stamp): (ServiceName, u64)| {
            (self.known.stamps.get(&service) != Some(&stamp)).then_some(service)
        };
        all.into_iter().filter_map(differs).collect()
    }

    /// Returns the stamps of services; one that cannot be had is told.
    async fn stamps(&self, services: &[Arc<Accepted>]) -> Vec<(ServiceName, u64)> {
        let stamps = match self.tools.engine.stamps(services).await {
            Ok(stamps) => stamps,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "a look at the files was lost");
                return Vec::new();
            }
        };
        let read = |(service, stamp): (ServiceName, Result<u64, UnitsError>)| match stamp {
            Ok(stamp) => Some((service, stamp)),
            Err(error) => {
                tracing::warn!(%service, error = %Chain(&error), "the files of a service cannot be looked at");
                None
            }
        };
        stamps.into_iter().filter_map(read).collect()
    }
}

fn all_of(status: &ServiceStatus) -> Vec<Found> {
    let word = |desired| if desired { "running" } else { "stopped" };
    let desired = word(status.accepted.row.active);
    let whole = status.drift.iter().map(|drift| Found {
        component: String::new(),
        desired,
        observed: "",
        drift: drift.clone(),
    });
    let parts = status.components.iter().flat_map(|component| {
        component.drift.iter().map(|drift| Found {
            component: component.container.spec.name.to_string(),
            desired: word(component.desired),
            observed: component.state.as_str(),
            drift: drift.clone(),
        })
    });
    whole.chain(parts).collect()
}
