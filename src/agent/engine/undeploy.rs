//! Taking a service off the node.

use std::collections::BTreeSet;

use super::boot::Boots;
use super::{Accepted, Engine, EngineError, now_ms};
use crate::agent::monitor::{self, EventKind};
use crate::agent::progress::{Event, Outcome, OutcomeKind, Progress};
use crate::deployment::Deployment;
use crate::names::{Generation, ServiceName};
use crate::podman;
use crate::registry::NewOperation;
use crate::telemetry::Chain;

/// Kinds of rows in the journal; the second takes volumes as well.
pub(super) const UNDEPLOY: &str = "undeploy";
pub(super) const PURGE: &str = "purge";

impl Engine {
    /// Stops a service and removes everything of it but its data; with
    /// `purge_data` its volumes too. Directories of the node are left alone
    /// in any case: they are not ours.
    ///
    /// # Errors
    ///
    /// The service is not deployed, busy, or needed by others; or a step
    /// failed: repeat it.
    pub async fn undeploy(
        &self,
        service: &ServiceName,
        purge_data: bool,
        by: &str,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let kind = if purge_data { PURGE } else { UNDEPLOY };
        let _busy = self.take(service, kind)?;
        let accepted = self.accepted(service)?;
        let others = self.dependents(service);
        if !others.is_empty() {
            return Err(EngineError::Needed { service: service.clone(), others });
        }
        self.remove_taken(&accepted, purge_data, by, progress).await
    }

    /// Returns the other services that need this one.
    pub(super) fn dependents(&self, service: &ServiceName) -> Vec<ServiceName> {
        let needs = |d: &Deployment| d.depends_on.contains(service);
        self.neighbours(service).into_iter().filter(needs).map(|d| d.service).collect()
    }

    /// Removes a service that is taken and that nothing needs.
    pub(super) async fn remove_taken(
        &self,
        accepted: &Accepted,
        purge_data: bool,
        by: &str,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let service = &accepted.row.name;
        let kind = if purge_data { PURGE } else { UNDEPLOY };
        let operation = self
            .registry()
            .begin_operation(NewOperation {
                service: service.clone(),
                kind: kind.to_owned(),
                state: "{}".to_owned(),
                from: accepted.row.generation,
                to: Generation(0),
                started_at_ms: now_ms(),
                by: by.to_owned(),
            })
            .await?;
        self.overrule_stop(service).await;
        let done = self.carry_out_undeploy(accepted, operation, purge_data, progress).await;
        self.close(operation, done).await
    }

    pub(super) async fn carry_out_undeploy(
        &self,
        accepted: &Accepted,
        operation: i64,
        purge_data: bool,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let service = &accepted.row.name;
        let deployment = &accepted.deployment;
        let changed = self.stop_all(deployment, progress).await?;
        self.end_one_offs(deployment, progress).await?;
        self.leave_volumes(deployment).await?;
        let step = progress.step("remove", service.as_str()).await;
        let nothing = crate::quadlet::UnitSet::new(service.clone(), false);
        let disk = self.on_disk(service).await?;
        let (store, name) = (self.tools().store.clone(), service.clone());
        tokio::task::spawn_blocking(move || store.remove_record(&name))
            .await
            .map_err(EngineError::Lost)??;
        let previous = Some(disk.as_ref().unwrap_or(&accepted.set));
        self.install(&nothing, previous, Boots::Gone(service)).await?;
        step.done().await;
        self.drop_things(deployment, None, progress).await?;
        let left = if purge_data { self.purge(deployment, progress).await? } else { Vec::new() };
        // The service first: should the rest be cut off, there is nothing
        // left to do for it.
        self.registry().delete_service(service).await?;
        self.registry().finish_operation(operation, "done".to_owned(), now_ms()).await?;
        self.refresh(service).await?;
        if let Err(error) = self.kept_in_podman(service).await {
            // The journal says that it was removed: the next start makes up
            // for it.
            let why = Chain(&error).to_string();
            progress
                .warn(format!("podman's storage still holds the service's record: {why}"))
                .await;
        }
        let (kind, message) = match (purge_data, left.is_empty()) {
            (false, _) => (OutcomeKind::Done, "removed; its data is kept".to_owned()),
            (true, true) => (OutcomeKind::Done, "removed, with its volumes".to_owned()),
            (true, false) => {
                let left = left.join(", ");
                (OutcomeKind::Failed, format!("removed, but these volumes could not be: {left}"))
            }
        };
        let event =
            monitor::Event::of_service(EventKind::Undeployed, service.as_str(), message.as_str());
        self.tools().events.record(event).await;
        progress
            .tell(Event::Outcome(Outcome {
                service: service.clone(),
                kind,
                generation: Generation(0),
                message,
                failures: Vec::new(),
                changed,
                elapsed: progress.elapsed(),
            }))
            .await;
        Ok(())
    }

    /// Removes every volume of a service, those of earlier generations too, but
    /// for those that others use or made; returns what could not be removed.
    async fn purge(
        &self,
        deployment: &Deployment,
        progress: &Progress,
    ) -> Result<Vec<String>, EngineError> {
        let mut left = Vec::new();
        self.hold_pause_process().await?;
        let neighbours = self.neighbours(&deployment.service);
        let others: BTreeSet<String> = neighbours.iter().flat_map(podmans_volumes).collect();
        let ours = podman::volumes_of(&deployment.service).await?;
        for name in &ours {
            if others.contains(name) {
                progress.warn(format!("the volume {name} stays: another service uses it")).await;
                continue;
            }
            let step = progress.step("purge", format!("volume {name}")).await;
            match podman::remove_volume(name).await {
                Ok(()) => step.done().await,
                Err(error) => {
                    let why = Chain(&error).to_string();
                    step.failed(why).await;
                    left.push(name.clone());
                }
            }
        }
        for name in podmans_volumes(deployment).filter(|name| !ours.contains(name)) {
            if !others.contains(&name) && podman::volume_exists(&name).await? {
                let mend = format!("podman volume rm {name}");
                progress
                    .warn(format!("the volume {name} stays: it was there before; {mend}"))
                    .await;
            }
        }
        Ok(left)
    }
}

/// Returns what podman calls the volumes of a service.
fn podmans_volumes(deployment: &Deployment) -> impl Iterator<Item = String> {
    deployment.volumes().into_iter().map(|volume| deployment.podman_volume(volume))
}
