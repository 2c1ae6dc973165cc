//! What an agent does first: finish or undo what its predecessor was at when
//! it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::boot::{Boots, PODMAN};
use super::deploy::{self, Cut, Deploy};
use super::{
    Busy, Engine, EngineError, ImageWish, accepted, lifecycle, now_ms, reconcile, release, rescue,
    undeploy,
};
use crate::agent::deploy_state::{DeployEvent, DeployState, Trial};
use crate::agent::plan::ImageState;
use crate::agent::progress::{OutcomeKind, Progress};
use crate::deployment::Container;
use crate::names::ServiceName;
use crate::quadlet::Place;
use crate::quadlet::render::node_units;
use crate::registry::OperationRow;
use crate::systemd::JobMode;
use crate::telemetry::Chain;
use crate::units::Installed;

/// An operation that an earlier agent was at when it ended.
#[derive(Debug)]
pub struct CutOff {
    /// None: somebody has asked for a stop, and nothing is left to be undone.
    row: Option<OperationRow>,
    busy: Busy,
}

impl Engine {
    /// Has the node's own units in place: the target that holds every
    /// service, and podman's pause process.
    ///
    /// # Errors
    ///
    /// The unit directories cannot be changed, or systemd does not answer.
    pub async fn prepare_node(&self) -> Result<(), EngineError> {
        let one_at_a_time = self.inner.units.lock().await;
        let stages = self.boot_targets();
        let (store, files) = (self.tools().store.clone(), node_units(PODMAN, &stages));
        let owed = self.inner.reload_owed.swap(true, Ordering::SeqCst);
        let installed = tokio::task::spawn_blocking(move || store.install_node_units(&files))
            .await
            .map_err(EngineError::Lost)??;
        let arranged = self.arrange_boot(Boots::Before).await?;
        if owed || arranged || installed != Installed::Unchanged {
            self.manager().reload().await?;
        }
        self.inner.reload_owed.store(false, Ordering::SeqCst);
        drop(one_at_a_time);
        let _one_at_a_time = self.inner.pause.lock().await;
        let unit = crate::names::UnitName::podman_ready();
        self.manager().start(&unit, JobMode::Replace, std::time::Duration::from_secs(60)).await?;
        Ok(())
    }

    /// Returns the stops that are to be made up for and the operations that
    /// were cut off, each with its service taken, so that nothing else is done
    /// to it before.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn cut_off(&self) -> Result<Vec<CutOff>, EngineError> {
        let open = self.registry().unfinished_operations().await?;
        let wished: Vec<ServiceName> = self.stops().keys().cloned().collect();
        let mut found: Vec<CutOff> = wished
            .iter()
            .filter(|service| open.iter().all(|row| row.service != **service))
            .filter_map(|service| self.take(service, lifecycle::STOP).ok())
            .map(|busy| CutOff { row: None, busy })
            .collect();
        for row in open {
            // What is busy has somebody at it.
            let Ok(busy) = self.take(&row.service, lifecycle::RECOVERY) else { continue };
            if row.kind == deploy::KIND
                && let Ok(Some(new)) = accepted::stored(self.registry(), &row.service, row.to).await
            {
                // So that it is told what is on its way, and keeps its place.
                self.inner
                    .coming
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(row.service.clone(), new.deployment);
            }
            found.push(CutOff { row: Some(row), busy });
        }
        Ok(found)
    }

    /// Finishes or undoes operations that were cut off. What goes wrong with
    /// one is logged, and does not keep the others from being looked at.
    pub async fn recover(&self, cut_off: Vec<CutOff>) {
        let mut tried = BTreeSet::new();
        for CutOff { row, busy } in cut_off {
            let service = busy.service.clone();
            tried.insert(service.clone());
            let Some(row) = row else {
                if !self.may_come_back(&service) {
                    self.stop_as_asked(&busy).await;
                }
                continue;
            };
            let (id, kind) = (row.id, row.kind.clone());
            tracing::warn!(%service, kind, "an operation was cut off; finishing or undoing it");
            if let Err(error) = self.recover_one(row, busy).await {
                tracing::error!(%service, operation = id, error = %Chain(&error), "the operation could not be finished");
                self.leave_for_later();
            }
            self.stop_if_asked(&service).await;
        }
        self.settle_adoptions().await;
        self.stop_all_as_asked(&tried).await;
    }

    async fn recover_one(&self, row: OperationRow, busy: Busy) -> Result<(), EngineError> {
        let progress = Progress::unheard();
        if row.kind == deploy::KIND {
            return self.recover_deploy(row, busy, progress).await;
        }
        let Some(accepted) = self.find(&row.service) else {
            self.registry().finish_operation(row.id, "done".to_owned(), now_ms()).await?;
            return Ok(());
        };
        let stops = self.stops().contains_key(&row.service);
        match row.kind.as_str() {
            lifecycle::START | reconcile::KIND | rescue::RESCUE if stops => {
                self.registry().finish_operation(row.id, "failed".to_owned(), now_ms()).await?;
                Ok(())
            }
            lifecycle::STOP => self.carry_out_stop(&accepted, row.id, &progress).await,
            rescue::RESCUE => {
                let failures = self.carry_out_rescue(&accepted, row.id, &progress).await?;
                for failure in failures {
                    tracing::error!(service = %row.service, component = failure.component, "not brought back: {}", failure.explanation);
                }
                Ok(())
            }
            lifecycle::START => self.carry_out_start(&accepted, row.id, &progress).await,
            reconcile::KIND => self.recover_reconcile(&row.service, row.id, &row.state).await,
            kind @ (undeploy::UNDEPLOY | undeploy::PURGE) => {
                let purge = kind == undeploy::PURGE;
                self.carry_out_undeploy(&accepted, row.id, purge, &progress).await
            }
            release::RELEASE => self.carry_out_release(&accepted, row.id, &progress).await,
            other => {
                tracing::error!(kind = other, "this agent does not know such an operation");
                self.registry().finish_operation(row.id, "unknown".to_owned(), now_ms()).await?;
                Ok(())
            }
        }
    }

    async fn recover_deploy(
        &self,
        row: OperationRow,
        busy: Busy,
        progress: Progress,
    ) -> Result<(), EngineError> {
        let state = serde_json::from_str(&row.state).unwrap_or_else(|error| {
            tracing::error!(service = %row.service, %error, "the state of a deploy cannot be read; undoing it");
            DeployState::RollingBack {
                before: BTreeMap::new(),
                reason: "its state could not be read".to_owned(),
                trial: Trial::default(),
            }
        });
        let Some(new) = accepted::stored(self.registry(), &row.service, row.to).await? else {
            // The agent ended before the generation was written down.
            self.registry().finish_operation(row.id, "done".to_owned(), now_ms()).await?;
            return Ok(());
        };
        let accepted = self.find(&row.service);
        let old_images = accepted.as_ref().map(|a| a.images.clone()).unwrap_or_default();
        let old = accepted.map(|a| (a.deployment.clone(), a.set.clone()));
        // Whatever is there now, the old files or the new: what is stale of
        // either goes when the right ones are put in place.
        let disk = match state {
            DeployState::Planned | DeployState::Pulling => self.on_disk(&row.service).await?,
            DeployState::Installing { .. }
            | DeployState::Starting { .. }
            | DeployState::Promoting { .. }
            | DeployState::RollingBack { .. } => old.as_ref().map(|(_, set)| set.clone()),
        };
        let mut deploy = Deploy {
            operation: row.id,
            since_ms: row.started_at_ms,
            by: row.by,
            service: row.service,
            old,
            old_images,
            wish: wish(&state),
            only: None,
            from: row.from,
            new: new.deployment,
            set: new.set,
            disk,
            state,
            cut_off: None,
            changed: BTreeSet::new(),
        };
        self.after_a_reboot(&mut deploy).await?;
        if self.stops().contains_key(&deploy.service) {
            deploy.cut_off = Some(Cut::Stop);
            let service = deploy.service.clone();
            let given_up = Err(EngineError::GaveWay { service, operation: deploy::KIND });
            self.finish_after(given_up, deploy, busy, progress).await;
            return Ok(());
        }
        if matches!(deploy.state, DeployState::Planned | DeployState::Pulling) {
            self.undo_early(deploy, busy).await;
            return Ok(());
        }
        self.finish(deploy, busy, progress).await;
        Ok(())
    }

    /// Undoes a deploy that has touched nothing that runs: as if it had not
    /// been asked for, unless it was told already that it cannot be undone.
    async fn undo_early(&self, mut deploy: Deploy, busy: Busy) {
        let progress = Progress::unheard();
        deploy.cut_off = Some(Cut::Early);
        let outcome = self.back(&mut deploy, Vec::new(), &progress).await;
        let outcome = self.settle_adoption(outcome, &progress).await;
        tracing::info!(service = %deploy.service, "the deploy is undone: {}", outcome.message);
        drop(busy);
        let told = self.told_unsettled(&deploy.service, Some(deploy.of())).await;
        if told.is_some() || outcome.kind == OutcomeKind::Unsettled {
            self.record_outcome(&outcome, &deploy).await;
        }
    }

    /// Looks whether a deploy was cut off by more than the end of its agent.
    /// Then the node has booted the generation before by itself, and the new
    /// one is discarded; unless its files were in place already.
    async fn after_a_reboot(&self, deploy: &mut Deploy) -> Result<(), EngineError> {
        let is_there = self.trial().is_there(&deploy.service);
        if !deploy.state.has_lost_its_trial(&self.inner.boot_id, is_there) {
            return Ok(());
        }
        let images = deploy.state.trial().map(|t| t.images.clone()).unwrap_or_default();
        let promoting = matches!(deploy.state, DeployState::Promoting { .. });
        if promoting && self.has_files_of(deploy).await? {
            tracing::warn!(service = %deploy.service, "the node went down while a generation was put in force; going on");
            return self.go_on_after_a_reboot(deploy, Trial { boot: None, images }).await;
        }
        let same_boot = deploy.state.trial().and_then(|t| t.boot.as_ref());
        let same_boot = same_boot == Some(&self.inner.boot_id);
        let cut = if same_boot { Cut::TrialGone } else { Cut::Reboot };
        let reason = cut.reason().to_owned();
        tracing::warn!(service = %deploy.service, generation = %deploy.new.generation, "{reason}; it is discarded");
        deploy.cut_off = Some(cut);
        if !matches!(deploy.state, DeployState::RollingBack { .. }) {
            deploy.state = deploy.state.clone().next(DeployEvent::Failed(reason))?;
        }
        Ok(())
    }

    /// Has the rest of a generation in place whose units the node has booted,
    /// and what a boot has not started of it started.
    async fn go_on_after_a_reboot(
        &self,
        deploy: &mut Deploy,
        trial: Trial,
    ) -> Result<(), EngineError> {
        self.name_images(&deploy.new, &deploy.wish).await?;
        let boots = Boots::As(&deploy.new);
        self.install(&deploy.set, deploy.disk.as_ref(), boots).await?;
        let before = self.invocations(&accepted::container_units(&deploy.new)).await?;
        let images = self.image_states_of(&deploy.new, &deploy.old_images, &deploy.wish).await?;
        let is_wrong = |container: &&Container| {
            let up = before.get(&container.name.unit()).is_some_and(Option::is_some);
            let other = |i: &ImageState| i.running.is_some() && i.running != i.named;
            !up || images.get(&container.name).is_some_and(other)
        };
        let wrong = deploy.new.containers.iter().filter(is_wrong);
        let wanted = wrong.map(|c| c.spec.name.clone()).collect();
        deploy.state = DeployState::Starting { wanted, before, ready: BTreeSet::new(), trial };
        Ok(())
    }

    /// Tells whether the configuration directory holds the new generation.
    async fn has_files_of(&self, deploy: &Deploy) -> Result<bool, EngineError> {
        let disk = self.on_disk(&deploy.service).await?;
        Ok(disk.is_some_and(|disk| disk.of(Place::Quadlet).eq(deploy.set.of(Place::Quadlet))))
    }
}

/// Returns which images a deploy that is gone on with is to run.
fn wish(state: &DeployState) -> ImageWish {
    match state.trial() {
        Some(trial) if !trial.images.is_empty() => ImageWish::Exactly(trial.images.clone()),
        Some(_) | None => ImageWish::AsThere,
    }
}
