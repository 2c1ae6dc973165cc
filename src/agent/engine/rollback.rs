//! Putting the generation before back, when the new one does not come up.

use std::collections::BTreeSet;

use super::accepted::container_units;
use super::boot::Boots;
use super::deploy::{Cut, Deploy, lease_rows};
use super::told::NOTHING_LEFT;
use super::{Engine, EngineError, ImageWish, Reload, now_ms, sockets};
use crate::agent::deploy_state::{DeployEvent, DeployState};
use crate::agent::progress::{Failure, Outcome, OutcomeKind, Progress, Step};
use crate::deployment::Container;
use crate::names::ComponentName;
use crate::quadlet::UnitSet;
use crate::registry::UNDONE;
use crate::telemetry::Chain;
use crate::units::Installed;

impl Engine {
    /// Undoes a deploy and tells how that went.
    pub(super) async fn back(
        &self,
        deploy: &mut Deploy,
        mut failures: Vec<Failure>,
        progress: &Progress,
    ) -> Outcome {
        let reason = failures.first().map(|f| f.explanation.clone()).unwrap_or_default();
        let result = self.undo(deploy, reason, progress).await;
        let (kind, message) = match (&result, &deploy.old) {
            (Ok(again), Some(_)) if again.is_empty() => {
                let stopped = deploy.cut_off == Some(Cut::Stop);
                let and = if stopped { ", and is being stopped" } else { "" };
                let message = format!("generation {} is in force again{and}", deploy.from);
                (OutcomeKind::RolledBack, message)
            }
            (Ok(again), None) if again.is_empty() => {
                (OutcomeKind::RolledBack, NOTHING_LEFT.to_owned())
            }
            (Ok(_), _) => (
                OutcomeKind::Failed,
                format!("generation {} did not come up again either", deploy.from),
            ),
            (Err(error), _) => {
                (OutcomeKind::Unsettled, format!("it could not be undone: {}", Chain(error)))
            }
        };
        match result {
            Ok(again) => failures.extend(again),
            Err(_) => self.leave_for_later(),
        }
        Outcome {
            service: deploy.service.clone(),
            kind,
            generation: deploy.from,
            message,
            failures,
            changed: deploy.changed.iter().cloned().collect(),
            elapsed: progress.elapsed(),
        }
    }

    async fn undo(
        &self,
        deploy: &mut Deploy,
        reason: String,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        self.note_failure(deploy, reason).await;
        self.remember(&deploy.new);
        let step = rollback_step(deploy, progress).await;
        if self.gives_way(&deploy.service) {
            deploy.cut_off = Some(Cut::Stop);
        }
        if deploy.cut_off == Some(Cut::Stop) {
            // The files come back all the same. What only the new generation
            // has is stopped once more below; the rest by whoever stops it.
            let stopped = self.stop_all(&deploy.new, progress).await;
            if let Err(why) = stopped.map_err(|error| Chain(&error).to_string()) {
                progress.warn(why).await;
            }
        }
        let touched = self.touched(deploy).await?;
        self.take_down_new(deploy).await?;
        let old_set = match &deploy.old {
            Some((_, set)) => set.clone(),
            None => UnitSet::new(deploy.service.clone(), false),
        };
        if deploy.old.as_ref().is_none_or(|(old, _)| !old.active) {
            self.leave_targets(&deploy.service).await?;
        }
        self.take_back(deploy, old_set).await?;
        self.old_images_back(deploy, progress).await;
        let failures = Box::pin(self.old_back_up(deploy, &touched, progress)).await?;
        let kept = deploy.old.as_ref().map(|(old, _)| old);
        if let Err(error) = self.drop_things(&deploy.new, kept, progress).await {
            let why = Chain(&error).to_string();
            progress.warn(format!("a network or a unit of a volume is left behind: {why}")).await;
        }
        match &deploy.old {
            Some((old, _)) => {
                self.registry().replace_leases(&deploy.service, &lease_rows(old)).await?;
            }
            None => {
                self.registry().delete_leases(&deploy.service).await?;
            }
        }
        let outcome = match (failures.is_empty(), deploy.cut_off) {
            // Whoever stopped it knows.
            (true, None | Some(Cut::Stop)) => "rolled back".to_owned(),
            (true, Some(cut)) => format!("{UNDONE}{}", cut.reason()),
            (false, _) => "failed".to_owned(),
        };
        self.refresh(&deploy.service).await?;
        // The last thing that can fail: until then it is taken up again.
        let (service, discarded) = (&deploy.service, deploy.new.generation);
        let ended = (deploy.operation, outcome, now_ms());
        self.registry().discard_generation(service, discarded, ended).await?;
        if failures.is_empty() {
            step.done().await;
        } else {
            step.failed("the generation before did not come up".to_owned()).await;
        }
        Ok(failures)
    }

    /// Has the components of the old generation up that are not, unless a boot
    /// does that or somebody stops the service.
    async fn old_back_up(
        &self,
        deploy: &mut Deploy,
        touched: &BTreeSet<ComponentName>,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let Some((old, _)) = deploy.old.as_ref().filter(|(old, _)| old.active) else {
            return Ok(Vec::new());
        };
        if deploy.cut_off == Some(Cut::Stop) {
            return Ok(Vec::new());
        }
        let failures = match self.start_in_order(old, touched, progress, None).await {
            Err(EngineError::GaveWay { .. }) => {
                deploy.cut_off = Some(Cut::Stop);
                return Ok(Vec::new());
            }
            started => started?,
        };
        if failures.is_empty() && deploy.cut_off != Some(Cut::Reboot) {
            self.reach_target(old).await?;
        }
        Ok(failures)
    }

    /// Stops what only the new generation has, and what would be in the way
    /// of the old one.
    async fn take_down_new(&self, deploy: &Deploy) -> Result<(), EngineError> {
        // Of a service that was stopped nothing may stay up.
        let stays = |c: &Container| {
            deploy.old.as_ref().is_some_and(|(old, _)| {
                old.active && old.containers.iter().any(|o| o.name == c.name)
            })
        };
        let old = deploy.old.as_ref().map(|(old, _)| old);
        let closing =
            |c: &&Container| !stays(c) || old.is_none_or(|old| sockets::hold_differs(c, old));
        let closing: Vec<&Container> = deploy.new.containers.iter().filter(closing).collect();
        self.close_ports(&deploy.new, &closing).await?;
        let gone =
            |c: &&Container| !stays(c) || old.is_some_and(|old| sockets::holder_changes(c, old));
        // What was there before a takeover is not the new generation's.
        let others = self.not_started_by(deploy).await?;
        let gone: Vec<&Container> = deploy
            .new
            .containers
            .iter()
            .filter(gone)
            .filter(|c| !others.contains(&c.spec.name))
            .collect();
        self.stop_alone(&gone).await?;
        Ok(())
    }

    /// Ends the trial, and has the old files in place: they were never
    /// touched, unless the new generation was being promoted or could not be
    /// tried.
    async fn take_back(&self, deploy: &Deploy, old_set: UnitSet) -> Result<(), EngineError> {
        let (trial, store) = (self.trial().clone(), self.tools().store.clone());
        let (service, new_set) = (deploy.service.clone(), deploy.set.clone());
        let change = move || {
            let ended = trial.remove(&service)?;
            Ok(store.install(&old_set, Some(&new_set))? != Installed::Unchanged || ended)
        };
        let boots = match &deploy.old {
            Some((old, _)) => Boots::As(old),
            None => Boots::Gone(&deploy.service),
        };
        self.change_files(change, boots, Reload::Now).await?;
        Ok(())
    }

    /// Has the names of images mean what the old generation ran. Where that
    /// cannot be, it comes back with what is there, and that is said.
    async fn old_images_back(&self, deploy: &mut Deploy, progress: &Progress) {
        let Some((old, set)) = &deploy.old else { return };
        if deploy.cut_off != Some(Cut::Stop) {
            match self.images_back((old, set), &deploy.old_images, progress).await {
                Ok(failures) => {
                    for failure in failures {
                        progress.warn(failure.explanation).await;
                    }
                    return;
                }
                Err(EngineError::GaveWay { .. }) => deploy.cut_off = Some(Cut::Stop),
                Err(error) => {
                    let why = Chain(&error).to_string();
                    return progress.warn(why).await;
                }
            }
        }
        let wish = ImageWish::Exactly(deploy.old_images.clone());
        match self.name_images(old, &wish).await {
            // What is gone is pulled when the service is started.
            Ok(()) | Err(EngineError::ImageGone { .. }) => {}
            Err(error) => {
                let why = Chain(&error).to_string();
                progress.warn(why).await;
            }
        }
    }

    /// Journals that a deploy is being undone. What the disk cannot take must
    /// not keep the old generation from coming back.
    async fn note_failure(&self, deploy: &mut Deploy, reason: String) {
        if matches!(deploy.state, DeployState::RollingBack { .. }) {
            return;
        }
        let before = deploy.state.clone();
        let failed = DeployEvent::Failed(reason);
        if let Err(error) = self.advance(deploy, failed.clone()).await {
            tracing::error!(service = %deploy.service, error = %Chain(&error), "a rollback is not journalled");
            deploy.state = before.next(failed).unwrap_or_else(|_| deploy.state.clone());
        }
    }

    /// Returns the old components that are down, or run the new generation.
    async fn touched(&self, deploy: &Deploy) -> Result<BTreeSet<ComponentName>, EngineError> {
        let Some((old, _)) = &deploy.old else { return Ok(BTreeSet::new()) };
        if deploy.cut_off == Some(Cut::Reboot) {
            // The boot starts them, each at its time.
            return Ok(BTreeSet::new());
        }
        let DeployState::RollingBack { before, .. } = &deploy.state else {
            return Ok(BTreeSet::new());
        };
        let now = self.invocations(&container_units(old)).await?;
        Ok(old
            .containers
            .iter()
            .filter(|c| {
                let unit = c.name.unit();
                let is = now.get(&unit).cloned().flatten();
                is.is_none() || before.get(&unit).is_some_and(|was| *was != is)
            })
            .map(|c| c.spec.name.clone())
            .collect())
    }
}

/// Begins the step that undoes a deploy. Before the first deploy there is
/// nothing to come back.
async fn rollback_step<'a>(deploy: &Deploy, progress: &'a Progress) -> Step<'a> {
    match deploy.old {
        Some(_) => progress.step("rollback", format!("generation {}", deploy.from)).await,
        None => progress.step("remove", deploy.service.as_str()).await,
    }
}
