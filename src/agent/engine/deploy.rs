//! Carrying out a prepared deploy, one saved state after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use super::accepted::container_units;
use super::{Accepted, Busy, Engine, EngineError, KEEP_GENERATIONS, Prepared, Request, now_ms};
use crate::agent::deploy_state::{DeployEvent, DeployState};
use crate::agent::plan::{self, Action};
use crate::agent::progress::{Event, Failure, Outcome, OutcomeKind, Progress};
use crate::deployment::{Container, Deployment};
use crate::names::{ComponentName, Generation, ServiceName, UnitName};
use crate::podman;
use crate::quadlet::{Place, UnitSet};
use crate::registry::{Commit, GenerationRow, LeaseRow, NewOperation};
use crate::systemd::{JobMode, journal};
use crate::telemetry::Chain;

/// The kind of a deploy's row in the journal.
pub(super) const KIND: &str = "deploy";

/// Longest wait for a pull; the unit's own timeout is 15 minutes.
const PULL: Duration = Duration::from_secs(960);

/// A deploy under way: the old side, the new one, and where it stands.
#[derive(Debug)]
pub(super) struct Deploy {
    pub(super) operation: i64,
    pub(super) by: String,
    pub(super) service: ServiceName,
    /// What was in force; none: nothing.
    pub(super) old: Option<(Deployment, UnitSet)>,
    pub(super) from: Generation,
    pub(super) new: Deployment,
    pub(super) set: UnitSet,
    /// Files on disk before anything was touched.
    pub(super) disk: Option<UnitSet>,
    pub(super) state: DeployState,
    pub(super) changed: BTreeSet<String>,
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
        let service = &prepared.deployment.service;
        let in_force = self.find(service).map(|a| a.row.generation);
        if in_force != prepared.old.as_ref().map(|o| o.row.generation) {
            return Err(EngineError::Overtaken { service: service.clone() });
        }
        if let Some(old) =
            prepared.old.as_ref().filter(|o| prepared.plan.is_empty() && o.set == prepared.set)
        {
            let outcome = self.nothing_to_do(old, &prepared.request, &progress).await?;
            progress.tell(Event::Outcome(outcome)).await;
            return Ok(());
        }
        let deploy = self.begin(prepared).await?;
        let engine = self.clone();
        tokio::spawn(async move { engine.finish(deploy, busy, progress).await });
        Ok(())
    }

    /// Takes over the text of a definition that means what is in force.
    async fn nothing_to_do(
        &self,
        old: &Accepted,
        request: &Request,
        progress: &Progress,
    ) -> Result<Outcome, EngineError> {
        let service = &old.row.name;
        if old.definition != request.definition || old.file_name != request.file_name {
            let (text, file) = (request.definition.clone(), request.file_name.clone());
            self.registry().reword_definition(service, text, file).await?;
            self.refresh(service).await?;
        }
        Ok(Outcome {
            service: service.clone(),
            kind: OutcomeKind::Unchanged,
            generation: old.row.generation,
            message: String::new(),
            failures: Vec::new(),
            changed: Vec::new(),
            elapsed: progress.elapsed(),
        })
    }

    async fn begin(&self, p: Prepared) -> Result<Deploy, EngineError> {
        let service = p.deployment.service.clone();
        let stored = |what: &'static str, text: serde_json::Result<String>| {
            text.map_err(|source| EngineError::Stored { what, service: service.clone(), source })
        };
        let from = p.old.as_ref().map(|o| o.row.generation).unwrap_or_default();
        let row = GenerationRow {
            service: service.clone(),
            number: p.deployment.generation,
            definition: p.request.definition,
            file_name: p.request.file_name,
            deployment: stored("deployment", serde_json::to_string(&p.deployment))?,
            files: stored("unit set", serde_json::to_string(&p.set))?,
            created_at_ms: now_ms(),
            created_by: p.request.by.clone(),
        };
        // First the ports: should another service have taken one since they
        // were planned, nothing has begun.
        self.registry().replace_leases(&service, &lease_rows(&p.deployment)).await?;
        self.registry().insert_generation(row).await?;
        let operation = self
            .registry()
            .begin_operation(NewOperation {
                service: service.clone(),
                kind: KIND.to_owned(),
                state: stored("state", serde_json::to_string(&DeployState::Planned))?,
                from,
                to: p.deployment.generation,
                started_at_ms: now_ms(),
                by: p.request.by.clone(),
            })
            .await?;
        Ok(Deploy {
            operation,
            by: p.request.by,
            service,
            old: p.old.map(|o| (o.deployment.clone(), o.set.clone())),
            from,
            new: p.deployment,
            set: p.set,
            disk: p.disk,
            state: DeployState::Planned,
            changed: BTreeSet::new(),
        })
    }

    /// Goes on with a deploy until it is committed or rolled back.
    pub(super) async fn finish(&self, mut deploy: Deploy, busy: Busy, progress: Progress) {
        let outcome = match self.forward(&mut deploy, &progress).await {
            Ok(failures) if failures.is_empty() => committed(&deploy, &progress),
            Ok(failures) => self.back(&mut deploy, failures, &progress).await,
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
        tracing::info!(service = %deploy.service, generation = %outcome.generation, outcome = ?outcome.kind, "deploy ended: {}", outcome.message);
        drop(busy);
        progress.tell(Event::Outcome(outcome)).await;
    }

    /// Saves the state that comes after an event, before acting on it.
    pub(super) async fn advance(
        &self,
        deploy: &mut Deploy,
        event: DeployEvent,
    ) -> Result<(), EngineError> {
        deploy.state = deploy.state.clone().next(event)?;
        let state = serde_json::to_string(&deploy.state).map_err(|source| EngineError::Stored {
            what: "state",
            service: deploy.service.clone(),
            source,
        })?;
        self.registry().save_operation_state(deploy.operation, state).await?;
        Ok(())
    }

    /// Takes every step that is left; returns what failed.
    async fn forward(
        &self,
        deploy: &mut Deploy,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        if matches!(deploy.state, DeployState::RollingBack { .. }) {
            let DeployState::RollingBack { reason, .. } = &deploy.state else {
                return Ok(Vec::new());
            };
            return Ok(vec![interrupted(reason)]);
        }
        if matches!(deploy.state, DeployState::Planned | DeployState::Pulling) {
            let missing = self.missing_images(&deploy.new).await?;
            if !missing.is_empty() {
                if deploy.state == DeployState::Planned {
                    self.advance(deploy, DeployEvent::ImagesMissing).await?;
                }
                let failures = self.pull(deploy, &missing, progress).await?;
                if !failures.is_empty() {
                    return Ok(failures);
                }
            }
            self.advance(deploy, DeployEvent::ImagesThere).await?;
        }
        if deploy.state == DeployState::Installing {
            let event = self.put_in_place(deploy, progress).await?;
            self.advance(deploy, event).await?;
        }
        let failures = self.start_wanted(deploy, progress).await?;
        if failures.is_empty() {
            self.commit(deploy, progress).await?;
        }
        Ok(failures)
    }

    async fn missing_images(&self, new: &Deployment) -> Result<Vec<Container>, EngineError> {
        if !new.active {
            return Ok(Vec::new());
        }
        let up = self.invocations(&container_units(new)).await?;
        let mut missing: Vec<Container> = Vec::new();
        for container in &new.containers {
            let known = missing.iter().any(|m| m.image == container.image);
            let running = up.get(&container.name.unit()).is_some_and(Option::is_some);
            // What runs unchanged has its image; only the rest is asked for.
            let same = running
                && self.find(&new.service).is_some_and(|a| {
                    a.deployment
                        .container(&container.spec.name)
                        .is_some_and(|c| c.image == container.image)
                });
            if !known && !same && !podman::image_exists(&container.image).await? {
                missing.push(container.clone());
            }
        }
        Ok(missing)
    }

    /// Pulls images by their units, beside what runs.
    async fn pull(
        &self,
        deploy: &Deploy,
        missing: &[Container],
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let mut failures = Vec::new();
        for container in missing.iter().filter(|c| c.image.is_local()) {
            failures.push(Failure {
                component: container.spec.name.to_string(),
                unit: container.name.unit().to_string(),
                result: "missing".to_owned(),
                explanation: format!(
                    "the image {} is not in this node's store, and no registry has it",
                    container.image
                ),
                journal: Vec::new(),
            });
        }
        if !failures.is_empty() {
            return Ok(failures);
        }
        // The old files, and the new image units beside them.
        let mut beside =
            deploy.disk.clone().unwrap_or_else(|| UnitSet::new(deploy.service.clone(), false));
        beside.files.extend(
            deploy
                .set
                .files
                .iter()
                .filter(|((place, name), _)| *place == Place::Quadlet && is_image(name))
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        self.install(&beside, None).await?;
        for container in missing {
            let unit = container.name.image_unit();
            let step = progress.step("pull", container.image.as_str()).await;
            let result = self.manager().start(&unit, JobMode::Replace, PULL).await?;
            if result.is_done() {
                step.done().await;
                continue;
            }
            let journal = journal::last_lines(&unit, None, 10).await.map_or_else(
                |error| vec![Chain(&error).to_string()],
                |entries| entries.into_iter().map(|e| e.message).collect(),
            );
            let explanation = format!("the image {} cannot be pulled", container.image);
            step.failed(explanation.clone()).await;
            failures.push(Failure {
                component: container.spec.name.to_string(),
                unit: unit.to_string(),
                result: result.to_string(),
                explanation,
                journal,
            });
        }
        Ok(failures)
    }

    /// Stops what is gone, swaps the files, reloads.
    async fn put_in_place(
        &self,
        deploy: &mut Deploy,
        progress: &Progress,
    ) -> Result<DeployEvent, EngineError> {
        let mut stopping: Vec<&Container> = match &deploy.old {
            Some((old, _)) => old
                .containers
                .iter()
                .filter(|c| {
                    !deploy.new.active || deploy.new.containers.iter().all(|n| n.name != c.name)
                })
                .collect(),
            None => Vec::new(),
        };
        let units: Vec<UnitName> = stopping.iter().map(|c| c.name.unit()).collect();
        let up = self.invocations(&units).await?;
        stopping.retain(|c| up.get(&c.name.unit()).is_some_and(Option::is_some));
        // A running unit whose file is gone no longer knows how to stop.
        if !stopping.is_empty() {
            let names = stopping.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
            let step = progress.step("stop", names).await;
            let stopped = self.stop_alone(&stopping).await?;
            deploy.changed.extend(stopped.iter().map(ToString::to_string));
            step.done().await;
        }
        if !deploy.new.active {
            self.leave_targets(&deploy.service).await?;
        }
        let wanted = self.wanted(deploy).await?;
        let step = progress.step("install", deploy.service.as_str()).await;
        self.install(&deploy.set, deploy.disk.as_ref()).await?;
        step.done().await;
        let before = self.invocations(&container_units(&deploy.new)).await?;
        Ok(DeployEvent::Installed { wanted, before })
    }

    /// Returns the components that the plan starts or restarts, as things
    /// are now.
    async fn wanted(&self, deploy: &Deploy) -> Result<BTreeSet<ComponentName>, EngineError> {
        let up = self.invocations(&container_units(&deploy.new)).await?;
        let up: BTreeSet<UnitName> =
            up.into_iter().filter(|(_, id)| id.is_some()).map(|(unit, _)| unit).collect();
        let accepted = deploy.old.as_ref().map(|(deployment, set)| plan::Side { deployment, set });
        let present = plan::Present { accepted, disk: deploy.disk.as_ref(), up: &up };
        let plan = plan::plan(present, plan::Side { deployment: &deploy.new, set: &deploy.set });
        Ok(plan
            .effects
            .into_iter()
            .filter(|e| matches!(e.action, Action::Start | Action::Restart))
            .map(|e| e.component)
            .collect())
    }

    async fn start_wanted(
        &self,
        deploy: &mut Deploy,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let DeployState::Starting { wanted, before, ready } = deploy.state.clone() else {
            return Ok(Vec::new());
        };
        // After a crash: what has a new invocation is on its way already, or
        // ready; what has the old one has not been touched.
        let now = self.invocations(&container_units(&deploy.new)).await?;
        let left: BTreeSet<ComponentName> = wanted
            .into_iter()
            .filter(|component| {
                let Some(container) = deploy.new.container(component) else { return false };
                let unit = container.name.unit();
                let (was, is) =
                    (before.get(&unit).cloned().flatten(), now.get(&unit).cloned().flatten());
                is.is_none() || (was == is && !ready.contains(component))
            })
            .collect();
        let new = deploy.new.clone();
        let failures = self.start_in_order(&new, &left, progress, Some(deploy)).await?;
        if failures.is_empty() && new.active {
            self.reach_target(&new).await?;
        }
        Ok(failures)
    }

    async fn commit(&self, deploy: &Deploy, progress: &Progress) -> Result<(), EngineError> {
        let step = progress.step("commit", format!("generation {}", deploy.new.generation)).await;
        self.registry()
            .commit(Commit {
                operation: deploy.operation,
                service: deploy.service.clone(),
                number: deploy.new.generation,
                active: deploy.new.active,
                by: deploy.by.clone(),
                at_ms: now_ms(),
            })
            .await?;
        self.refresh(&deploy.service).await?;
        // It is in force: what follows can be made up for.
        let accepted = self.accepted(&deploy.service)?;
        if let Err(error) = self.write_record(&accepted).await {
            progress
                .warn(format!("the record beside the units is missing: {}", Chain(&error)))
                .await;
        }
        if let Err(error) =
            self.registry().prune_generations(&deploy.service, KEEP_GENERATIONS).await
        {
            progress.warn(format!("old generations are not removed: {}", Chain(&error))).await;
        }
        step.done().await;
        Ok(())
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

/// Tells whether a Quadlet file makes an image unit.
fn is_image(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|e| e == "image")
}

/// Returns the rows of a deployment's leases.
pub(super) fn lease_rows(deployment: &Deployment) -> Vec<LeaseRow> {
    deployment
        .containers
        .iter()
        .flat_map(|c| {
            c.leased.iter().map(|(route, port)| LeaseRow {
                service: deployment.service.clone(),
                component: c.spec.name.clone(),
                route: route.clone(),
                port: *port,
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
