//! What every start needs: podman's pause process, networks and volumes.

use super::starting::MARGIN;
use super::{Engine, EngineError};
use crate::deployment::Deployment;
use crate::names::UnitName;
use crate::podman::{self, PodmanError, pause};
use crate::systemd::JobMode;
use crate::telemetry::Chain;

impl Engine {
    /// Makes sure that what every start needs is there: podman's pause
    /// process, and the networks and volumes of a deployment.
    pub(super) async fn make_ground(&self, deployment: &Deployment) -> Result<(), EngineError> {
        self.hold_pause_process().await?;
        let mut units: Vec<(UnitName, bool)> = Vec::new();
        for network in deployment.networks() {
            let there = podman::network(network).await.map(|found| found.is_some());
            units.push((UnitName::network(network), is_missing(there)));
        }
        for volume in deployment.volumes() {
            let unit = UnitName::volume(&deployment.service, volume);
            let described = deployment.volume_specs.contains_key(volume);
            let name = deployment.podman_volume(volume);
            let missing = described && is_missing(podman::volume_exists(&name).await);
            units.push((unit, missing));
        }
        for (unit, missing) in &units {
            // A unit only remembers that it was made once.
            let result = if *missing {
                self.manager().restart(unit, JobMode::IgnoreDependencies, MARGIN * 2).await?
            } else {
                self.manager().start(unit, JobMode::Replace, MARGIN * 2).await?
            };
            if !result.is_done() {
                tracing::warn!(%unit, %result, "a unit that containers need did not start");
            }
        }
        Ok(())
    }

    /// Has podman's pause process live; `podman system migrate`, for one, ends
    /// it.
    ///
    /// Without it a container cannot tell that it is ready (see [`pause`]).
    /// And the first podman that needs it makes it, in its own mount
    /// namespace: were that ours, all containers would find `/proc/sys` and
    /// most of the file system read-only, as our unit has them. So this comes
    /// before any podman that we call.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn hold_pause_process(&self) -> Result<(), EngineError> {
        // One at a time: a second restart of the unit would end the process
        // that the first has just made, under the containers that join it.
        let _one_at_a_time = self.inner.pause.lock().await;
        if pause::is_alive(&self.tools().runtime) {
            return Ok(());
        }
        // A boot may be starting the unit at this moment: waiting for that
        // start does not cut it off, as a restart would.
        let unit = UnitName::podman_ready();
        let mut result = self.manager().start(&unit, JobMode::Replace, MARGIN).await?;
        if !pause::is_alive(&self.tools().runtime) {
            // It had been started, and the process has gone since.
            result = self.manager().restart(&unit, JobMode::IgnoreDependencies, MARGIN).await?;
        }
        if !result.is_done() {
            tracing::warn!(%unit, %result, "podman's pause process could not be started");
        }
        Ok(())
    }
}

/// Tells whether podman lacks something; where it does not say, its unit is
/// believed.
fn is_missing(there: Result<bool, PodmanError>) -> bool {
    there
        .inspect_err(
            |error| tracing::debug!(error = %Chain(error), "podman does not say what it has"),
        )
        .is_ok_and(|there| !there)
}
