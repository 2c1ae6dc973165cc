//! Networks and volumes: what outlives the containers that use it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Engine, EngineError};
use crate::agent::progress::Progress;
use crate::definition::service::ExtraKey;
use crate::deployment::Deployment;
use crate::import::containers::Line;
use crate::names::{NetworkName, UnitName};
use crate::podman::{self, inspect};
use crate::systemd::{JobMode, SystemdError};
use crate::telemetry::Chain;

/// Longest wait for a unit that has no process.
const QUICK: Duration = Duration::from_secs(30);

impl Engine {
    /// Removes the networks of a deployment that neither the one that is kept
    /// nor another service uses, and lets go of the units of volumes that the
    /// one that is kept does not have: they only remember that the volume was
    /// made, and another one may get its name.
    ///
    /// # Errors
    ///
    /// systemd does not answer. A network that podman keeps is a warning.
    pub(super) async fn drop_things(
        &self,
        gone: &Deployment,
        kept: Option<&Deployment>,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        for volume in gone.volumes() {
            let stays = |kept: &Deployment| {
                kept.volumes().contains(&volume)
                    && kept.podman_volume(volume) == gone.podman_volume(volume)
            };
            if !kept.is_some_and(stays) {
                self.stop_quietly(&UnitName::volume(&gone.service, volume)).await?;
            }
        }
        let neighbours = self.neighbours(&gone.service);
        let used: Vec<&NetworkName> =
            neighbours.iter().chain(kept).flat_map(Deployment::networks).collect();
        for network in gone.networks().into_iter().filter(|n| !used.contains(n)) {
            // Its unit only remembers that it was made.
            self.stop_quietly(&UnitName::network(network)).await?;
            self.hold_pause_process().await?;
            // Somebody else made it, and may need it still.
            if podman::network(network).await?.is_some_and(|there| !there.is_ours()) {
                continue;
            }
            if let Err(error) = podman::remove_network(network).await {
                let why = Chain(&error).to_string();
                progress.warn(format!("the network {network} is left behind: {why}")).await;
            }
        }
        Ok(())
    }

    /// Compares what a deployment describes with what podman has already and
    /// takes as it is; `made` are the deployments in force, whose things are
    /// as they describe them. Returns what is to be told of.
    ///
    /// # Errors
    ///
    /// A network is another one, or podman does not answer.
    pub(super) async fn check_present(
        &self,
        new: &Deployment,
        made: &[Deployment],
    ) -> Result<Vec<String>, EngineError> {
        let mut told = Vec::new();
        let is_made = |name: &NetworkName| made.iter().any(|d| d.networks().contains(&name));
        for (name, spec) in new.network_specs.iter().filter(|(name, _)| !is_made(name)) {
            self.hold_pause_process().await?;
            let Some(there) = podman::network(name).await? else { continue };
            let subnets: BTreeSet<&str> = there.subnets.iter().map(|s| s.subnet.as_str()).collect();
            let differs = there.internal != spec.internal
                || (spec.ipv6 && !there.ipv6_enabled)
                || !spec.subnets.iter().all(|subnet| subnets.contains(subnet.as_str()));
            if differs {
                return Err(EngineError::OtherNetwork { network: name.clone() });
            }
            if !is_so(&spec.makes().extra, &there.lines()) {
                told.push(format!("the network {name} is there already, and is taken as it is"));
            }
        }
        for (name, spec) in &new.volume_specs {
            let podmans = new.podman_volume(name);
            let known = made.iter().any(|d| {
                d.service == new.service
                    && d.volumes().contains(&name)
                    && d.podman_volume(name) == podmans
            });
            if spec.makes().is_empty() || known {
                continue;
            }
            self.hold_pause_process().await?;
            let there = inspect::volumes(std::slice::from_ref(&podmans)).await?;
            if there.iter().any(|there| !is_so(&spec.makes(), &there.lines())) {
                told.push(format!("the volume {podmans} is there already, and is taken as it is"));
            }
        }
        Ok(told)
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

/// Tells whether something that is there already is what lines say of it.
fn is_so(said: &[ExtraKey], there: &[Line]) -> bool {
    let has =
        |own: &ExtraKey| there.iter().any(|(key, value)| own.key == *key && own.value == *value);
    said.iter().all(has)
}
