//! Handing a service over to the user: its units stay where podman and systemd
//! find them, and run on; nothing of it is ours any more.

use super::boot::Boots;
use super::{Accepted, Engine, EngineError, Reload, now_ms};
use crate::agent::monitor::{self, EventKind};
use crate::agent::progress::{Event, Outcome, OutcomeKind, Progress};
use crate::names::{Generation, ServiceName, UnitName};
use crate::quadlet::UnitSet;
use crate::quadlet::released::released;
use crate::registry::NewOperation;
use crate::telemetry::Chain;

/// The kind of its rows in the journal.
pub(super) const RELEASE: &str = "release";

impl Engine {
    /// Hands a service over to the user of the agent. Nothing is restarted,
    /// and a boot brings it in as before.
    ///
    /// # Errors
    ///
    /// The service is not deployed, busy, or needed by others; its files are
    /// not all there, or their new place is taken; or a step failed: repeat it.
    pub async fn release(
        &self,
        service: &ServiceName,
        by: &str,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let _busy = self.take(service, RELEASE)?;
        let accepted = self.accepted(service)?;
        let others = self.dependents(service);
        if !others.is_empty() {
            return Err(EngineError::Needed { service: service.clone(), others });
        }
        self.check_release(&accepted).await?;
        let operation = self
            .registry()
            .begin_operation(NewOperation {
                service: service.clone(),
                kind: RELEASE.to_owned(),
                state: "{}".to_owned(),
                from: accepted.row.generation,
                to: Generation(0),
                started_at_ms: now_ms(),
                by: by.to_owned(),
            })
            .await?;
        self.overrule_stop(service).await;
        let done = self.carry_out_release(&accepted, operation, progress).await;
        self.close(operation, done).await
    }

    async fn check_release(&self, accepted: &Accepted) -> Result<(), EngineError> {
        let service = &accepted.row.name;
        let refused = |why: String| EngineError::NotReleasable { service: service.clone(), why };
        let store = &self.tools().store;
        if store.cannot_release(service) {
            return Err(refused(format!(
                "there is {} already; move it away",
                store.released_directory(service).display()
            )));
        }
        let disk = self.on_disk(service).await?;
        let there = |set: &UnitSet| accepted.set.files.keys().all(|k| set.files.contains_key(k));
        if !disk.as_ref().is_some_and(there) {
            return Err(refused(format!(
                "not all of its unit files are there: mcp reconcile {service}"
            )));
        }
        Ok(())
    }

    pub(super) async fn carry_out_release(
        &self,
        accepted: &Accepted,
        operation: i64,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let service = &accepted.row.name;
        let step = progress.step("hand over", service.as_str()).await;
        let (store, name) = (self.tools().store.clone(), service.clone());
        let mut ours = accepted.set.clone();
        ours.wanted = accepted.row.active;
        let moved = move || {
            store.release(&ours, |text| released(text, &name))?;
            Ok(true)
        };
        self.change_files(moved, Boots::Gone(service), Reload::Now).await?;
        self.stop_quietly(&UnitName::gate(service)).await?;
        step.done().await;
        // The service first: should the rest be cut off, there is nothing left
        // to do for it.
        self.registry().delete_service(service).await?;
        self.registry().finish_operation(operation, "done".to_owned(), now_ms()).await?;
        self.refresh(service).await?;
        if let Err(error) = self.kept_in_podman(service).await {
            // The journal says that it is ours no more: the next start makes
            // up for it.
            let why = Chain(&error).to_string();
            progress
                .warn(format!("podman's storage still holds the service's record: {why}"))
                .await;
        }
        let place = self.tools().store.released_directory(service);
        let message = format!("released; its units are yours, in {}", place.display());
        let event =
            monitor::Event::of_service(EventKind::Released, service.as_str(), message.as_str());
        self.tools().events.record(event).await;
        progress
            .tell(Event::Outcome(Outcome {
                service: service.clone(),
                kind: OutcomeKind::Done,
                generation: Generation(0),
                message,
                failures: Vec::new(),
                changed: Vec::new(),
                elapsed: progress.elapsed(),
            }))
            .await;
        Ok(())
    }
}
