//! Putting the units of a new generation where systemd reads them, once what
//! is in their way has ended.

use std::collections::BTreeSet;

use super::accepted::container_units;
use super::boot::Boots;
use super::deploy::Deploy;
use super::{Engine, EngineError, sockets};
use crate::agent::deploy_state::{DeployEvent, Trial};
use crate::agent::plan::Action;
use crate::agent::progress::Progress;
use crate::deployment::{Container, Deployment};
use crate::names::{ComponentName, UnitName};
use crate::systemd::{ActiveState, ListedUnit};

impl Engine {
    /// Stops what is gone, and has systemd know the new units.
    pub(super) async fn put_in_place(
        &self,
        deploy: &mut Deploy,
        trial: &Trial,
        progress: &Progress,
    ) -> Result<DeployEvent, EngineError> {
        let closed = self.close_changing(deploy).await?;
        // A running unit whose file is gone no longer knows how to stop.
        let mut stopping = deploy.gone();
        let old = deploy.old.iter().flat_map(|(old, _)| &old.containers);
        let gives: Vec<Container> = old
            .filter(|c| gives_port_away(c, &deploy.new) || sockets::holder_changes(c, &deploy.new))
            .filter(|c| stopping.iter().all(|s| s.name != c.name))
            .cloned()
            .collect();
        stopping.extend(gives);
        self.stop_first(deploy, stopping, progress).await?;
        if !deploy.new.active {
            self.leave_targets(&deploy.service).await?;
        }
        let plan = self.replan(deploy).await?;
        let starts = plan.effects.into_iter().filter(|e| e.action != Action::Stop);
        let wanted: BTreeSet<ComponentName> = starts.map(|e| e.component).collect();
        // Where nothing is started there is nothing to be tried.
        if !wanted.is_empty() || closed {
            let step = progress.step("install", deploy.service.as_str()).await;
            if trial.boot.is_some() {
                self.try_out(self.tried_set(deploy, trial).await?).await?;
            } else {
                let boots = Boots::As(&deploy.new);
                self.install(&deploy.set, deploy.disk.as_ref(), boots).await?;
            }
            step.done().await;
        }
        let before = self.invocations(&container_units(&deploy.new)).await?;
        Ok(DeployEvent::Installed { wanted, before })
    }

    /// Closes the ports that are not held as before, and tells whether there
    /// are any.
    async fn close_changing(&self, deploy: &Deploy) -> Result<bool, EngineError> {
        let Some((old, _)) = &deploy.old else { return Ok(false) };
        let changes = |c: &&Container| !deploy.new.active || sockets::hold_differs(c, &deploy.new);
        let changing: Vec<&Container> = old.containers.iter().filter(changes).collect();
        self.close_ports(old, &changing).await?;
        Ok(deploy.new.active && changing.iter().any(|c| !c.forwards.is_empty()))
    }

    /// Stops those containers that are not down.
    pub(super) async fn stop_first(
        &self,
        deploy: &mut Deploy,
        mut stopping: Vec<Container>,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let units: Vec<UnitName> = stopping.iter().map(|c| c.name.unit()).collect();
        let listed = self.manager().listed(&units).await?;
        let down =
            |unit: &ListedUnit| matches!(unit.active, ActiveState::Inactive | ActiveState::Failed);
        stopping.retain(|c| listed.iter().any(|u| u.name == c.name.unit() && !down(u)));
        if stopping.is_empty() {
            return Ok(());
        }
        let names = stopping.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
        let step = progress.step("stop", names).await;
        let stopped = self.stop_alone(&stopping.iter().collect::<Vec<_>>()).await?;
        deploy.changed.extend(stopped.iter().map(ToString::to_string));
        step.done().await;
        Ok(())
    }
}

/// Tells whether a container holds a port that another one is to get.
fn gives_port_away(old: &Container, new: &Deployment) -> bool {
    new.containers
        .iter()
        .filter(|n| n.name != old.name)
        .any(|n| n.occupied().iter().any(|p| old.occupied().iter().any(|o| o.clashes(p))))
}
