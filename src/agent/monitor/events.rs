//! Where events go: into the registry, to whoever follows them, to alerts.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::event::{Event, Notice};
use crate::agent::gate::now_ms;
use crate::names::{NodeName, UnitName};
use crate::registry::{EventQuery, EventRow, Registry, RegistryError};
use crate::telemetry::Chain;

/// Events that wait for alerts at most; what comes beyond is not told, only
/// recorded.
const QUEUE: usize = 256;

/// Takes events. Clones share everything.
#[derive(Debug, Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    node: NodeName,
    newest: watch::Sender<i64>,
    alerts: mpsc::Sender<Notice>,
}

impl Events {
    /// Makes the handle, and the receiver of what alerts are about.
    pub fn new(registry: Registry, node: NodeName) -> (Self, mpsc::Receiver<Notice>) {
        let (alerts, told) = mpsc::channel(QUEUE);
        let inner = Inner { registry, node, newest: watch::Sender::new(0), alerts };
        (Self { inner: Arc::new(inner) }, told)
    }

    /// Records an event and tells everybody of it. One that cannot be
    /// recorded, for the disk is full, is still told.
    pub async fn record(&self, event: Event) {
        let mut row = event.row(now_ms());
        let EventRow { service, component, .. } = &row;
        tracing::info!(event = event.kind.as_str(), %service, %component, drift = %event.drift, "{}", event.reason);
        match self.inner.registry.record_event(row.clone()).await {
            Ok(id) => {
                row.id = id;
                self.inner.newest.send_replace(id);
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "an event could not be recorded");
            }
        }
        let notice = Notice::new(self.inner.node.as_str(), row);
        if let Err(error) = self.inner.alerts.try_send(notice) {
            tracing::error!(%error, "an event is not told to alerts: too many wait");
        }
    }

    /// Returns what wakes whoever follows events: the number of the newest.
    pub fn newest(&self) -> watch::Receiver<i64> {
        self.inner.newest.subscribe()
    }

    /// Returns the events that a query selects, oldest first.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn select(&self, query: EventQuery) -> Result<Vec<EventRow>, RegistryError> {
        self.inner.registry.events(query).await
    }

    /// Returns the number of the newest event that the registry holds.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn last(&self) -> Result<i64, RegistryError> {
        self.inner.registry.newest_event().await
    }

    /// Makes a notice that is not recorded, to try alerts with.
    pub fn sample(&self, event: &Event) -> Notice {
        Notice::new(self.inner.node.as_str(), event.row(now_ms()))
    }

    /// Tells that a check of a component that runs has begun to fail, or to
    /// succeed again.
    pub async fn health(
        &self,
        (service, component): (&str, &str),
        unit: &UnitName,
        healthy: bool,
        reason: String,
    ) {
        use super::kind::EventKind;
        let (kind, previous, observed) = if healthy {
            (EventKind::Healthy, "unhealthy", "healthy")
        } else {
            (EventKind::Unhealthy, "healthy", "unhealthy")
        };
        let event = Event {
            component: component.to_owned(),
            unit: unit.to_string(),
            desired: "running",
            previous,
            observed,
            mend: format!("mcp logs {service}/{component}"),
            ..Event::of_service(kind, service, reason)
        };
        self.record(event).await;
    }
}
