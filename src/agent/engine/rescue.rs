//! Bringing back what was lost: registry, unit files, podman's storage.
//!
//! ```text
//!  registry, unit files, podman's records --gather--> cases
//!       cases --rescue::plan (pure)--> steps: write, pull, start; and what is left
//!       steps --carry out--> each may be repeated; starts are journalled
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use super::boot::Boots;
use super::sources::{Content, Gathered};
use super::{Accepted, Engine, EngineError, now_ms};
use crate::agent::finding::Finding;
use crate::agent::progress::{Failure, Progress};
use crate::agent::rescue::{self, CHECK, Case, Rescue, Starting, Step, Worth};
use crate::agent::restored;
use crate::deployment::Container;
use crate::names::{ComponentName, Generation, ServiceName};
use crate::podman::records;
use crate::quadlet::UnitSet;
use crate::registry::NewOperation;
use crate::telemetry::Chain;

/// The kind of a row in the journal.
pub(super) const RESCUE: &str = "recover";

/// What is to be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Services that a person has named: what is not clear is done for them.
    pub named: BTreeSet<ServiceName>,
    /// What is started.
    pub starting: Starting,
    /// Services that an earlier attempt did not bring up.
    pub again: BTreeSet<ServiceName>,
    /// Who asks.
    pub by: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Rescued {
    /// What was done, in order.
    pub done: Vec<Step>,
    /// What is left to a person.
    pub left: Vec<Finding>,
    /// What did not work, and may when it is tried again.
    pub failures: Vec<Failure>,
    /// The services that did not come up.
    pub again: BTreeSet<ServiceName>,
}

impl Engine {
    /// Says what would bring back what was lost; changes nothing.
    ///
    /// # Errors
    ///
    /// A source cannot be read at all, or systemd or podman does not answer.
    pub async fn plan_rescue(&self, wish: &Wish) -> Result<Rescue, EngineError> {
        Ok(self.look(wish).await?.1)
    }

    async fn look(&self, wish: &Wish) -> Result<(Gathered, Rescue), EngineError> {
        let worth = Worth {
            registry_was_empty: self.inner.was_empty,
            restored: restored::is_noted(&self.tools().state_dir),
            removed: self.registry().removals().await?,
        };
        let gathered = self.gather(&worth, &wish.named).await?;
        let mut plan = rescue::plan(&gathered.cases, wish.starting);
        if wish.starting == Starting::Rescued {
            let again: Vec<Case> = gathered
                .cases
                .iter()
                .filter(|case| wish.again.contains(&case.service))
                .cloned()
                .collect();
            for step in rescue::plan(&again, Starting::All).steps {
                if !plan.steps.contains(&step) {
                    plan.steps.push(step);
                }
            }
        }
        plan.left.extend(gathered.left.iter().cloned());
        let forget = |service: &ServiceName| Step::Forget { service: service.clone() };
        plan.steps.extend(gathered.forgotten.iter().map(forget));
        Ok((gathered, plan))
    }

    /// Brings back what was lost, as far as it is clear how. May be repeated:
    /// what is there already is left alone.
    ///
    /// # Errors
    ///
    /// A source cannot be read at all, or systemd or podman does not answer.
    pub async fn rescue(&self, wish: &Wish, progress: &Progress) -> Result<Rescued, EngineError> {
        let (gathered, plan) = self.look(wish).await?;
        let mut rescued = Rescued { left: plan.left.clone(), ..Rescued::default() };
        for step in plan.steps {
            let service = step.service().clone();
            if rescued.again.contains(&service) && matches!(step, Step::Start { .. }) {
                continue;
            }
            let content = gathered.contents.get(&service);
            match self.carry_out(&step, content, wish, progress).await {
                Ok(failures) => {
                    if failures.is_empty() {
                        rescued.done.push(step);
                    } else {
                        rescued.again.insert(service);
                        rescued.failures.extend(failures);
                    }
                }
                Err(error) => {
                    tracing::error!(%service, error = %Chain(&error), "not brought back: {step}");
                    rescued.failures.push(failed(&service, &step, &error));
                    rescued.again.insert(service);
                }
            }
        }
        if rescued.failures.is_empty() {
            self.compared(&mut rescued);
        }
        Ok(rescued)
    }

    /// An earlier registry that a person put back has been compared with the
    /// rest, unless something is left to decide.
    fn compared(&self, rescued: &mut Rescued) {
        if rescued.left.iter().any(|finding| finding.check == CHECK) {
            return;
        }
        if let Err(error) = restored::clear(&self.tools().state_dir) {
            rescued.left.push(Finding::warning(
                CHECK,
                "",
                format!("The note that the registry was restored cannot be removed: {error}."),
            ));
        }
    }

    async fn carry_out(
        &self,
        step: &Step,
        content: Option<&Content>,
        wish: &Wish,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let service = step.service();
        let busy = self.take(service, RESCUE)?;
        let told = progress.step(step.kind(), service.as_str()).await;
        if !step.is_quiet() {
            tracing::warn!(%service, "recovery: {step}");
        }
        let failures = match (step, content) {
            (Step::Registry { .. }, Some(content)) => {
                self.still_at(service, content.registered)?;
                let set =
                    UnitSet { wanted: content.record.deployment.active, ..content.set.clone() };
                self.take_in(content.record.clone(), &set).await?;
                Vec::new()
            }
            (Step::Units { .. }, Some(content)) => {
                self.still_at(service, Some(content.record.deployment.generation))?;
                self.write_units(content, wish.named.contains(service)).await?;
                Vec::new()
            }
            (Step::UnitRecord { .. }, _) => {
                self.write_record(&*self.accepted(service)?).await?;
                Vec::new()
            }
            (Step::PodmanRecord { .. }, _) => {
                self.kept_in_podman(service).await?;
                Vec::new()
            }
            (Step::Forget { .. }, _) => {
                records::remove(service.as_str()).await?;
                Vec::new()
            }
            (Step::Pull { .. }, _) => {
                self.get_images_back(&*self.accepted(service)?, progress).await?
            }
            // It is to be stopped, and is when all is back.
            (Step::Start { .. }, _) if self.stops().contains_key(service) => Vec::new(),
            (Step::Start { .. }, _) => {
                self.bring_up(&*self.accepted(service)?, wish, progress).await?
            }
            (Step::Registry { .. } | Step::Units { .. }, None) => Vec::new(),
        };
        match failures.first() {
            None => told.done().await,
            Some(failure) => told.failed(failure.explanation.clone()).await,
        }
        drop(busy);
        Ok(failures)
    }

    /// Refuses to go on if a service was deployed since it was looked at.
    fn still_at(
        &self,
        service: &ServiceName,
        expected: Option<Generation>,
    ) -> Result<(), EngineError> {
        if self.find(service).map(|accepted| accepted.row.generation) == expected {
            return Ok(());
        }
        Err(EngineError::Overtaken { service: service.clone() })
    }

    /// Writes the unit files that are missing; those of a service that a
    /// person has named, all.
    async fn write_units(&self, content: &Content, all: bool) -> Result<(), EngineError> {
        let disk = self.on_disk(&content.set.service).await?;
        let mut set = content.set.clone();
        if !all {
            set.files.extend(disk.iter().flat_map(|disk| disk.files.clone()));
        }
        self.install(&set, disk.as_ref(), Boots::As(&content.record.deployment)).await?;
        Ok(())
    }

    /// Gets the images of a service again: the very ones that it ran, or, where
    /// no image registry has those any more, what their names mean now.
    async fn get_images_back(
        &self,
        accepted: &Accepted,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let side = (&accepted.deployment, &accepted.set);
        let failures = self.images_back(side, &accepted.images, progress).await?;
        for failure in failures {
            let what = &failure.explanation;
            progress.warn(format!("{what}; what its name means now is taken instead")).await;
        }
        let lost = self.images_lost(&accepted.deployment).await?;
        let mut wanted: Vec<Container> = Vec::new();
        for container in &accepted.deployment.containers {
            let is_lost = lost.iter().any(|(component, _)| *component == container.spec.name);
            let is_new = wanted.iter().all(|other| other.image != container.image);
            if is_lost && is_new && !container.image.is_local() {
                wanted.push(container.clone());
            }
        }
        self.start_pulls(&accepted.row.name, &wanted, progress).await
    }

    /// Starts what does not run of a service, in order; journalled, so that an
    /// agent that is killed here goes on at its next start.
    async fn bring_up(
        &self,
        accepted: &Accepted,
        wish: &Wish,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let operation = self
            .registry()
            .begin_operation(NewOperation {
                service: accepted.row.name.clone(),
                kind: RESCUE.to_owned(),
                state: "{}".to_owned(),
                from: accepted.row.generation,
                to: accepted.row.generation,
                started_at_ms: now_ms(),
                by: wish.by.clone(),
            })
            .await?;
        self.carry_out_rescue(accepted, operation, progress).await
    }

    /// Starts what does not run of a service and can.
    pub(super) async fn carry_out_rescue(
        &self,
        accepted: &Accepted,
        operation: i64,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let deployment = &accepted.deployment;
        let started = async {
            let lost = self.images_lost(deployment).await?;
            let wanted: BTreeSet<ComponentName> = self
                .down(deployment)
                .await?
                .into_iter()
                .filter(|component| lost.iter().all(|(needs, _)| needs != component))
                .collect();
            let failures = self.start_in_order(deployment, &wanted, progress, None).await?;
            if failures.is_empty() && lost.is_empty() {
                self.reach_target(deployment).await?;
            }
            Ok::<_, EngineError>(failures)
        };
        let started = if deployment.active { started.await } else { Ok(Vec::new()) };
        let outcome = if started.as_ref().is_ok_and(Vec::is_empty) { "done" } else { "failed" };
        self.registry().finish_operation(operation, outcome.to_owned(), now_ms()).await?;
        started
    }
}

fn failed(service: &ServiceName, step: &Step, error: &EngineError) -> Failure {
    Failure {
        component: String::new(),
        unit: service.to_string(),
        result: String::new(),
        explanation: format!("could not {step}: {}", Chain(error)),
        journal: Vec::new(),
    }
}

/// How long to wait before what did not work is tried again: longer each
/// time, up to five minutes.
pub fn pause_after(attempt: u32) -> Duration {
    Duration::from_secs(10) * 2_u32.saturating_pow(attempt.min(5)).min(30)
}
