//! Taking a service off the node.

use super::starting::own_networks;
use super::{Accepted, Engine, EngineError, now_ms};
use crate::agent::progress::{Event, Outcome, OutcomeKind, Progress};
use crate::deployment::Deployment;
use crate::names::{Generation, ServiceName};
use crate::podman;
use crate::quadlet::arguments::volume_name;
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
        let accepted = self.accepted(service)?;
        let others: Vec<ServiceName> = self
            .all()
            .iter()
            .filter(|a| a.deployment.depends_on.contains(service))
            .map(|a| a.row.name.clone())
            .collect();
        if !others.is_empty() {
            return Err(EngineError::Needed { service: service.clone(), others });
        }
        let kind = if purge_data { PURGE } else { UNDEPLOY };
        let _busy = self.take(service, kind)?;
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
        self.carry_out_undeploy(&accepted, operation, purge_data, progress).await
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
        self.forget_things(deployment).await?;
        let step = progress.step("remove", service.as_str()).await;
        let nothing = crate::quadlet::UnitSet::new(service.clone(), false);
        let disk = self.on_disk(service).await?;
        let (store, name) = (self.tools().store.clone(), service.clone());
        tokio::task::spawn_blocking(move || store.remove_record(&name))
            .await
            .map_err(EngineError::Lost)??;
        self.install(&nothing, Some(disk.as_ref().unwrap_or(&accepted.set))).await?;
        step.done().await;
        self.remove_networks(deployment, progress).await;
        if purge_data {
            for volume in deployment.volumes() {
                let name = volume_name(service, volume);
                let step = progress.step("purge", format!("volume {name}")).await;
                podman::remove_volume(&name).await?;
                step.done().await;
            }
        }
        self.registry().delete_leases(service).await?;
        self.registry().finish_operation(operation, "done".to_owned(), now_ms()).await?;
        self.registry().delete_service(service).await?;
        self.refresh(service).await?;
        progress
            .tell(Event::Outcome(Outcome {
                service: service.clone(),
                kind: OutcomeKind::Done,
                generation: Generation(0),
                message: if purge_data {
                    "removed, with its volumes"
                } else {
                    "removed; its data is kept"
                }
                .to_owned(),
                failures: Vec::new(),
                changed,
                elapsed: progress.elapsed(),
            }))
            .await;
        Ok(())
    }

    /// Stops the units of volumes and of networks that nobody else uses:
    /// they only remember that the thing was made.
    async fn forget_things(&self, deployment: &Deployment) -> Result<(), EngineError> {
        use crate::names::UnitName;
        use crate::systemd::{JobMode, SystemdError};
        let others = self.others(&deployment.service);
        let mut units: Vec<UnitName> =
            own_networks(deployment, &others).into_iter().map(UnitName::network).collect();
        units.extend(
            deployment.volumes().into_iter().map(|v| UnitName::volume(&deployment.service, v)),
        );
        for unit in units {
            match self
                .manager()
                .stop(&unit, JobMode::IgnoreDependencies, std::time::Duration::from_secs(30))
                .await
            {
                Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn remove_networks(&self, deployment: &Deployment, progress: &Progress) {
        for network in own_networks(deployment, &self.others(&deployment.service)) {
            if let Err(error) = podman::remove_network(network).await {
                progress
                    .warn(format!("the network {network} is left behind: {}", Chain(&error)))
                    .await;
            }
        }
    }

    fn others(&self, service: &ServiceName) -> Vec<Deployment> {
        self.all().iter().filter(|a| a.row.name != *service).map(|a| a.deployment.clone()).collect()
    }
}
