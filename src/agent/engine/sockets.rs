//! The sockets and forwarders that hold the ports of components that are
//! deployed blue-green.

use super::{Engine, EngineError};
use crate::agent::progress::{Failure, Progress};
use crate::deployment::{Container, Deployment};
use crate::names::UnitName;
use crate::systemd::{ActiveState, JobMode, JobResult, Manager, SystemdError};
use crate::telemetry::Chain;

/// Longest wait for a socket, or a forwarder on its way up.
const QUICK: std::time::Duration = std::time::Duration::from_secs(30);

/// How many lines of the journal go with a failure.
const LINES: u32 = 5;

impl Engine {
    /// Has the ports of every component held; returns what could not be.
    pub(super) async fn open_ports(
        &self,
        deployment: &Deployment,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        for container in &deployment.containers {
            let Some(forwarder) = container.forwarder() else { continue };
            let sockets: Vec<UnitName> = container.sockets().collect();
            let down = self.not_active(&sockets).await?;
            let closed = self.not_active(std::slice::from_ref(&forwarder)).await?;
            if down.is_empty() && closed.is_empty() {
                continue;
            }
            let step = progress.step("listen", container.name.as_str()).await;
            if !down.is_empty() && closed.is_empty() {
                // systemd does not add a socket to a service that runs.
                self.stop_unit(&forwarder, stopping(deployment)).await?;
            }
            for unit in down.into_iter().chain([forwarder]) {
                self.manager().reset_failed(&unit).await?;
                let result = self.manager().start(&unit, JobMode::Replace, QUICK).await;
                if let Some(failure) = failure(self.manager(), (container, &unit), result).await {
                    step.failed(failure.explanation.clone()).await;
                    return Ok(vec![failure]);
                }
            }
            step.done().await;
        }
        Ok(Vec::new())
    }

    /// Lets go of the ports of components, so that others can have them:
    /// connections may go on for as long as the deployment says.
    pub(super) async fn close_ports(
        &self,
        deployment: &Deployment,
        containers: &[&Container],
    ) -> Result<(), EngineError> {
        for container in containers {
            self.drop_stand_in(&deployment.service, container).await?;
            for socket in container.sockets() {
                self.stop_unit(&socket, QUICK).await?;
            }
            if let Some(forwarder) = container.forwarder() {
                self.stop_unit(&forwarder, stopping(deployment)).await?;
            }
        }
        Ok(())
    }

    /// Returns what should hold the ports of deployments and is down.
    pub(super) async fn closed_ports(
        &self,
        deployments: impl Iterator<Item = &Deployment>,
    ) -> Result<Vec<UnitName>, EngineError> {
        let units: Vec<UnitName> =
            deployments.flat_map(|d| &d.containers).flat_map(Container::port_units).collect();
        if units.is_empty() { Ok(units) } else { self.not_active(&units).await }
    }

    async fn not_active(&self, units: &[UnitName]) -> Result<Vec<UnitName>, EngineError> {
        let listed = self.manager().listed(units).await?;
        Ok(listed
            .into_iter()
            .filter(|unit| unit.active != ActiveState::Active)
            .map(|unit| unit.name)
            .collect())
    }

    async fn stop_unit(
        &self,
        unit: &UnitName,
        deadline: std::time::Duration,
    ) -> Result<(), EngineError> {
        match self.manager().stop(unit, JobMode::IgnoreDependencies, deadline).await {
            Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Tells whether the ports of a component are held in another way, or are
/// others, in another generation.
pub(super) fn hold_differs(before: &Container, after: &Deployment) -> bool {
    after
        .containers
        .iter()
        .find(|c| c.name == before.name)
        .is_none_or(|after| after.forwards != before.forwards)
}

/// Tells whether podman holds the ports in one generation, and a forwarder in
/// the other: the container must end before its ports can change hands.
pub(super) fn holder_changes(before: &Container, after: &Deployment) -> bool {
    let forwarded = |c: &Container| !c.forwards.is_empty();
    after
        .containers
        .iter()
        .any(|after| after.name == before.name && forwarded(after) != forwarded(before))
}

/// How long a forwarder may take to end.
fn stopping(deployment: &Deployment) -> std::time::Duration {
    deployment.deploy.drain + QUICK
}

async fn failure(
    manager: &Manager,
    (container, unit): (&Container, &UnitName),
    result: Result<JobResult, SystemdError>,
) -> Option<Failure> {
    let result = match result {
        Ok(JobResult::Done) => return None,
        Ok(other) => other.to_string(),
        Err(error) => Chain(&error).to_string(),
    };
    let journal = match manager.last_lines(unit, None, LINES).await {
        Ok(entries) => entries.into_iter().map(|entry| entry.message).collect(),
        Err(error) => vec![Chain(&error).to_string()],
    };
    Some(Failure {
        component: container.spec.name.to_string(),
        unit: unit.to_string(),
        result,
        explanation: "its ports cannot be listened on; something else may have them: ss -lntp"
            .to_owned(),
        journal,
    })
}
