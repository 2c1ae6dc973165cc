//! Networks and volumes: what outlives the containers that use it.

use std::time::Duration;

use super::{Engine, EngineError};
use crate::agent::progress::Progress;
use crate::deployment::Deployment;
use crate::names::{NetworkName, UnitName};
use crate::podman;
use crate::systemd::{JobMode, SystemdError};
use crate::telemetry::Chain;

/// Longest wait for a unit that has no process.
const QUICK: Duration = Duration::from_secs(30);

impl Engine {
    /// Removes the networks of a deployment that neither the one that is kept
    /// nor another service uses.
    ///
    /// # Errors
    ///
    /// systemd does not answer. A network that podman keeps is a warning.
    pub(super) async fn drop_networks(
        &self,
        gone: &Deployment,
        kept: Option<&Deployment>,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let neighbours = self.neighbours(&gone.service);
        let used: Vec<&NetworkName> =
            neighbours.iter().chain(kept).flat_map(Deployment::networks).collect();
        for network in gone.networks().into_iter().filter(|n| !used.contains(n)) {
            // Its unit only remembers that it was made.
            self.stop_quietly(&UnitName::network(network)).await?;
            if let Err(error) = podman::remove_network(network).await {
                let why = Chain(&error).to_string();
                progress.warn(format!("the network {network} is left behind: {why}")).await;
            }
        }
        Ok(())
    }

    /// Lets go of the units that made a deployment's volumes; the volumes
    /// stay.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub(super) async fn leave_volumes(&self, deployment: &Deployment) -> Result<(), EngineError> {
        for volume in deployment.volumes() {
            self.stop_quietly(&UnitName::volume(&deployment.service, volume)).await?;
        }
        Ok(())
    }

    /// Stops a unit without a process, and nothing else; one that systemd
    /// does not know is fine.
    pub(super) async fn stop_quietly(&self, unit: &UnitName) -> Result<(), EngineError> {
        match self.manager().stop(unit, JobMode::IgnoreDependencies, QUICK).await {
            Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
