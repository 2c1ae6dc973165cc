//! Carrying out a prepared deploy, one saved state after the other.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use tokio::sync::oneshot;

use super::accepted::container_units;
use super::{Busy, Engine, EngineError, ImageWish, Prepared, now_ms};
use crate::agent::deploy_state::{DeployEvent, DeployState};
use crate::agent::plan::{self, Plan};
use crate::agent::progress::{Event, Failure, Outcome, OutcomeKind, Progress};
use crate::deployment::{Container, Deployment, Images, conflicts};
use crate::names::{ComponentName, Generation, ServiceName, UnitName};
use crate::podman::Stored;
use crate::quadlet::{Place, UnitSet, render};
use crate::registry::{GenerationRow, LeaseRow, NewOperation};
use crate::systemd::ActiveState;
use crate::telemetry::Chain;

/// The kind of a deploy's row in the journal.
pub(super) const KIND: &str = "deploy";

/// A deploy under way: the old side, the new one, and where it stands.
#[derive(Debug)]
pub(super) struct Deploy {
    pub(super) operation: i64,
    /// When that began, in milliseconds since the Unix epoch.
    pub(super) since_ms: i64,
    pub(super) by: String,
    pub(super) service: ServiceName,
    /// What was in force; none: nothing.
    pub(super) old: Option<(Deployment, UnitSet)>,
    /// The images that it was accepted with.
    pub(super) old_images: Images,
    pub(super) from: Generation,
    pub(super) new: Deployment,
    pub(super) set: UnitSet,
    /// Which images it is to run.
    pub(super) wish: ImageWish,
    /// The only component that was asked for.
    pub(super) only: Option<ComponentName>,
    /// Files on disk before anything was touched.
    pub(super) disk: Option<UnitSet>,
    pub(super) state: DeployState,
    /// What cut it off, if it is undone without having failed.
    pub(super) cut_off: Option<Cut>,
    pub(super) changed: BTreeSet<String>,
}

/// What cut a deploy off that is undone for that reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The agent ended before anything was touched.
    Early,
    /// The node went down: it has booted the generation before by itself.
    Reboot,
    /// What was being tried is gone, and the node is still up.
    TrialGone,
    /// Somebody stops the service.
    Stop,
}

impl Cut {
    /// Returns why, for people.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Early => "the agent ended before anything was touched",
            Self::Reboot => "the node went down before it was ready",
            Self::TrialGone => "its files were removed before it was ready",
            Self::Stop => "somebody stopped the service before it was ready",
        }
    }
}

impl Deploy {
    /// Returns which operation it is, and when that began.
    pub(super) fn of(&self) -> (i64, i64) {
        (self.operation, self.since_ms)
    }

    /// Returns the containers that the new generation has not, or does not
    /// run.
    pub(super) fn gone(&self) -> Vec<Container> {
        let old = self.old.iter().flat_map(|(old, _)| &old.containers);
        let stays = |c: &&Container| self.new.containers.iter().any(|n| n.name == c.name);
        old.filter(|c| !self.new.active || !stays(c)).cloned().collect()
    }

    /// Returns the containers that are as they were: what is being tried of
    /// them is what is wanted.
    fn as_before(&self) -> Vec<&Container> {
        let Some((_, old)) = self.old.as_ref().filter(|_| self.new.active) else {
            return Vec::new();
        };
        let same = |c: &&Container| {
            let key = (Place::Quadlet, render::container_file(&c.name));
            old.files.contains_key(&key) && old.files.get(&key) == self.set.files.get(&key)
        };
        self.new.containers.iter().filter(same).collect()
    }
}

/// How far a deploy went.
enum Went {
    /// The new generation is in force.
    Through,
    /// Nothing was to be done after all.
    Nowhere,
    /// It failed.
    Wrong(Vec<Failure>),
}

impl Engine {
    /// Begins a prepared deploy; its events come through `progress`, the last
    /// one its outcome. The deploy goes on when nobody listens any more.
    ///
    /// # Errors
    ///
    /// The service is busy, or the registry does not answer: nothing has
    /// changed then.
    pub async fn deploy(&self, prepared: Prepared, progress: Progress) -> Result<(), EngineError> {
        let busy = self.take(&prepared.deployment.service, KIND)?;
        self.check_settled(&prepared.deployment.service)?;
        let service = &prepared.deployment.service;
        let now = self.find(service).map(|a| (a.row.generation, a.row.active));
        if now != prepared.old.as_ref().map(|o| (o.row.generation, o.row.active)) {
            return Err(EngineError::Overtaken { service: service.clone() });
        }
        if let Some(old) = prepared.old.as_ref().filter(|_| prepared.changes_nothing()) {
            self.overrule_stop(service).await;
            let outcome = self.nothing_to_do(old, &prepared.request, &progress).await?;
            progress.tell(Event::Outcome(outcome)).await;
            return Ok(());
        }
        self.reserve(&prepared.deployment)?;
        let engine = self.clone();
        let (tell, begun) = oneshot::channel();
        // From here on it goes on without the caller, who may go at any time.
        tokio::spawn(async move {
            match engine.begin(prepared).await {
                Ok(deploy) => {
                    drop(tell.send(Ok(())));
                    engine.finish(deploy, busy, progress).await;
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        });
        begun.await.unwrap_or(Ok(()))
    }

    /// Checks once more that a deployment gets along with the others of the
    /// node, those under way included, and keeps its place among them.
    pub(super) fn reserve(&self, deployment: &Deployment) -> Result<(), EngineError> {
        let mut coming = self.inner.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.all();
        let all: Vec<&Deployment> =
            in_force.iter().map(|a| &a.deployment).chain(coming.values()).collect();
        let conflicts = conflicts(deployment, &all);
        if !conflicts.is_empty() {
            return Err(EngineError::Resolve(conflicts));
        }
        coming.insert(deployment.service.clone(), deployment.clone());
        Ok(())
    }

    pub(super) async fn begin(&self, p: Prepared) -> Result<Deploy, EngineError> {
        let service = p.deployment.service.clone();
        let stored = |what, text| stored(what, &service, text);
        let from = p.old.as_ref().map(|o| o.row.generation).unwrap_or_default();
        let row = GenerationRow {
            service: service.clone(),
            number: p.deployment.generation,
            definition: p.request.definition,
            file_name: p.request.file_name,
            deployment: stored("deployment", serde_json::to_string(&p.deployment))?,
            files: stored("unit set", serde_json::to_string(&p.set))?,
            images: None,
            created_at_ms: now_ms(),
            created_by: p.request.by.clone(),
        };
        let since_ms = now_ms();
        let operation = self
            .registry()
            .begin_operation(NewOperation {
                service: service.clone(),
                kind: KIND.to_owned(),
                state: stored("state", serde_json::to_string(&DeployState::Planned))?,
                from,
                to: p.deployment.generation,
                started_at_ms: since_ms,
                by: p.request.by.clone(),
            })
            .await?;
        self.overrule_stop(&service).await;
        let leases = leases_of_both(&p.deployment, p.old.as_ref().map(|o| &o.deployment));
        let prepared = async {
            self.registry().insert_generation(row).await?;
            self.registry().replace_leases(&service, &leases).await
        };
        if let Err(error) = prepared.await {
            self.registry().finish_operation(operation, "failed".to_owned(), now_ms()).await?;
            return Err(error.into());
        }
        Ok(Deploy {
            operation,
            since_ms,
            by: p.request.by,
            wish: p.request.images,
            only: p.request.component,
            old_images: p.old.as_ref().map(|o| o.images.clone()).unwrap_or_default(),
            service,
            old: p.old.map(|o| (o.deployment.clone(), o.set.clone())),
            from,
            new: p.deployment,
            set: p.set,
            disk: p.disk,
            state: DeployState::Planned,
            cut_off: None,
            changed: BTreeSet::new(),
        })
    }

    /// Goes on with a deploy until it is committed or rolled back.
    pub(super) async fn finish(&self, deploy: Deploy, busy: Busy, progress: Progress) {
        self.finish_after(Ok(()), deploy, busy, progress).await;
    }

    /// As [`Self::finish`], after something that may have failed: then the
    /// deploy is undone.
    pub(super) async fn finish_after(
        &self,
        before: Result<(), EngineError>,
        mut deploy: Deploy,
        busy: Busy,
        progress: Progress,
    ) {
        let went = match before {
            Ok(()) => self.forward(&mut deploy, &progress).await,
            Err(error) => Err(error),
        };
        let outcome = match went {
            Ok(Went::Through) => committed(&deploy, &progress),
            Ok(Went::Nowhere) => unchanged(&deploy.service, deploy.from, &progress),
            Ok(Went::Wrong(failures)) => self.back(&mut deploy, failures, &progress).await,
            Err(error) => {
                let failure = Failure {
                    component: String::new(),
                    unit: String::new(),
                    result: "error".to_owned(),
                    explanation: Chain(&error).to_string(),
                    journal: Vec::new(),
                };
                self.back(&mut deploy, vec![failure], &progress).await
            }
        };
        let outcome = self.settle_adoption(outcome, &progress).await;
        tracing::info!(service = %deploy.service, generation = %outcome.generation, outcome = ?outcome.kind, "deploy ended: {}", outcome.message);
        drop(busy);
        self.record_outcome(&outcome, &deploy).await;
        progress.tell(Event::Outcome(outcome)).await;
    }

    /// Saves the state that comes after an event, before acting on it.
    pub(super) async fn advance(
        &self,
        deploy: &mut Deploy,
        event: DeployEvent,
    ) -> Result<(), EngineError> {
        deploy.state = deploy.state.clone().next(event)?;
        let state = stored("state", &deploy.service, serde_json::to_string(&deploy.state))?;
        self.registry().save_operation_state(deploy.operation, state).await?;
        Ok(())
    }

    /// Takes every step that is left.
    async fn forward(&self, deploy: &mut Deploy, progress: &Progress) -> Result<Went, EngineError> {
        if let DeployState::RollingBack { reason, .. } = &deploy.state {
            return Ok(Went::Wrong(vec![interrupted(reason)]));
        }
        if matches!(deploy.state, DeployState::Planned | DeployState::Pulling) {
            let pulls = deploy.wish == ImageWish::PullAgain;
            let failures = self.get_images(deploy, progress).await?;
            if !failures.is_empty() {
                return Ok(Went::Wrong(failures));
            }
            let as_before = deploy.as_before();
            let attempts = Box::pin(self.await_attempts(&as_before, progress));
            let waited = self.unless_given_up(&deploy.service, attempts).await?;
            if (pulls || waited) && self.is_in_force(deploy).await? {
                self.forget(deploy).await?;
                return Ok(Went::Nowhere);
            }
            let trial = self.trial_of(deploy).await?;
            self.advance(deploy, DeployEvent::ImagesThere(trial)).await?;
        }
        if let DeployState::Installing { trial } = deploy.state.clone() {
            let event = self.put_in_place(deploy, &trial, progress).await?;
            self.advance(deploy, event).await?;
        }
        if let DeployState::Starting { .. } = deploy.state {
            let failures = self.start_wanted(deploy, progress).await?;
            if !failures.is_empty() {
                return Ok(Went::Wrong(failures));
            }
            self.advance(deploy, DeployEvent::AllReady).await?;
        }
        self.promote(deploy, progress).await?;
        Ok(Went::Through)
    }

    /// Has every image there. A name that was pulled and means another image
    /// now goes on meaning the old one until the new generation is ready.
    async fn get_images(
        &self,
        deploy: &mut Deploy,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let wanted = self.to_pull(deploy).await?;
        if !wanted.is_empty() {
            if deploy.state == DeployState::Planned {
                self.advance(deploy, DeployEvent::ImagesMissing).await?;
            }
            let before = Stored::read().await;
            let failures = self.pull(deploy, &wanted, progress).await?;
            if !failures.is_empty() {
                return Ok(failures);
            }
            if deploy.wish == ImageWish::PullAgain && self.can_try() {
                deploy.wish = self.hold_back(deploy, &before).await?;
            }
        }
        Ok(Vec::new())
    }

    /// Plans once more, as things are now: images may have been pulled, and
    /// units may have died.
    pub(super) async fn replan(&self, deploy: &Deploy) -> Result<Plan, EngineError> {
        let up = self.up(&container_units(&deploy.new)).await?;
        let accepted = deploy.old.as_ref().map(|(deployment, set)| plan::Side { deployment, set });
        let images = self.image_states_of(&deploy.new, &deploy.old_images, &deploy.wish).await?;
        let present =
            plan::Present { accepted, disk: deploy.disk.as_ref(), up: &up, images: &images };
        let done = self.done(accepted).await?;
        let new = plan::Side { deployment: &deploy.new, set: &deploy.set };
        Ok(plan::plan_around(present, &done, new))
    }

    async fn start_wanted(
        &self,
        deploy: &mut Deploy,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let DeployState::Starting { wanted, before, ready, .. } = deploy.state.clone() else {
            return Ok(Vec::new());
        };
        // After a crash: what is up under a new invocation was started from the
        // new files and is ready; the rest has to be started, or again.
        let units = container_units(&deploy.new);
        let states = self.manager().unit_states(&units).await?;
        let started = |unit: &UnitName| {
            states.iter().any(|s| {
                let was = before.get(unit).cloned().flatten();
                s.name == *unit && s.active == ActiveState::Active && s.invocation_id != was
            })
        };
        let left: BTreeSet<ComponentName> = wanted
            .into_iter()
            .filter(|component| !ready.contains(component))
            .filter(|component| {
                deploy.new.container(component).is_some_and(|c| !started(&c.name.unit()))
            })
            .collect();
        let new = deploy.new.clone();
        if !new.active {
            return Ok(Vec::new());
        }
        self.start_in_order(&new, &left, progress, Some(deploy)).await
    }
}

fn committed(deploy: &Deploy, progress: &Progress) -> Outcome {
    let what = match (deploy.new.active, deploy.changed.len()) {
        (false, _) => "it is stopped, as the definition says".to_owned(),
        (true, 0) => "nothing had to be restarted".to_owned(),
        (true, _) => String::new(),
    };
    Outcome {
        service: deploy.service.clone(),
        kind: OutcomeKind::Done,
        generation: deploy.new.generation,
        message: what,
        failures: Vec::new(),
        changed: deploy.changed.iter().cloned().collect(),
        elapsed: progress.elapsed(),
    }
}

pub(super) fn unchanged(
    service: &ServiceName,
    generation: Generation,
    progress: &Progress,
) -> Outcome {
    Outcome {
        service: service.clone(),
        kind: OutcomeKind::Unchanged,
        generation,
        message: String::new(),
        failures: Vec::new(),
        changed: Vec::new(),
        elapsed: progress.elapsed(),
    }
}

/// Says of what something could not be stored.
pub(super) fn stored(
    what: &'static str,
    service: &ServiceName,
    text: serde_json::Result<String>,
) -> Result<String, EngineError> {
    text.map_err(|source| EngineError::Stored { what, service: service.clone(), source })
}

/// Returns the leases of a deploy: ports that the new generation gives up stay
/// leased until it is in force, as the old one may come back.
fn leases_of_both(new: &Deployment, old: Option<&Deployment>) -> Vec<LeaseRow> {
    let mut leases = lease_rows(new);
    let kept = old.into_iter().flat_map(lease_rows);
    leases.extend(kept.filter(|k| {
        new.containers
            .iter()
            .all(|c| c.spec.name != k.component || c.leases().all(|(route, _)| route != k.route))
    }));
    leases
}

/// Returns the rows of a deployment's leases.
pub(super) fn lease_rows(deployment: &Deployment) -> Vec<LeaseRow> {
    deployment
        .containers
        .iter()
        .flat_map(|c| {
            c.leases().map(|(route, port)| LeaseRow {
                service: deployment.service.clone(),
                component: c.spec.name.clone(),
                route,
                port,
            })
        })
        .collect()
}

fn interrupted(reason: &str) -> Failure {
    Failure {
        component: String::new(),
        unit: String::new(),
        result: "failed".to_owned(),
        explanation: reason.to_owned(),
        journal: Vec::new(),
    }
}
