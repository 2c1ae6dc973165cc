//! Stopping, starting and restarting a service that is deployed.

use std::collections::BTreeSet;

use super::accepted::container_units;
use super::boot::Boots;
use super::{Accepted, Busy, Engine, EngineError, now_ms};
use crate::agent::plan;
use crate::agent::progress::{Event, Failure, Outcome, OutcomeKind, Progress};
use crate::deployment::{Container, Deployment};
use crate::names::{ComponentName, Generation, ServiceName, UnitName};
use crate::quadlet::{Place, UnitSet};
use crate::registry::NewOperation;
use crate::systemd::ListedUnit;
use crate::telemetry::Chain;

/// Kinds of rows in the journal.
pub(super) const STOP: &str = "stop";
pub(super) const START: &str = "start";
pub(super) const RESTART: &str = "restart";

/// The word for finishing or undoing what an agent before was at.
pub(super) const RECOVERY: &str = "recovery";

impl Engine {
    /// Stops a service, now and for every boot to come. A start or deploy that
    /// is under way is given up.
    ///
    /// # Errors
    ///
    /// The service is not deployed, or busy with what cannot be given up; or a
    /// step failed: repeat it.
    pub async fn stop(
        &self,
        service: &ServiceName,
        by: &str,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        // Before anything gives way: whoever ends this agent does not end that.
        let written = self.can_give_way(service);
        if written {
            self.write_wish(service, by).await;
        }
        let (busy, given_up) = match self.take_over(service, STOP, progress).await {
            Ok(taken) => taken,
            Err(error) => {
                // Another stop has it then, or one before is kept in mind.
                let stays = matches!(error, EngineError::Busy { operation: STOP, .. });
                if written && !stays && !self.stops().contains_key(service) {
                    self.drop_wish(service).await;
                }
                return Err(error);
            }
        };
        let stopped = self.stop_taken(&busy, given_up, by, progress).await;
        let kept = self.stops().contains_key(service);
        match &stopped {
            // Also one of before that failed is tried again.
            Err(error) if kept => {
                tracing::debug!(%service, error = %Chain(error), "the stop is kept in mind");
                self.leave_for_later();
            }
            Ok(()) | Err(_) => self.drop_wish(service).await,
        }
        stopped
    }

    /// Stops a service that is taken for that, if need be from an operation
    /// that has given way.
    pub(super) async fn stop_taken(
        &self,
        Busy { service, .. }: &Busy,
        given_up: Option<&'static str>,
        by: &str,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let unfinished = self.registry().unfinished_operations().await?;
        if let Some(row) = unfinished.into_iter().find(|row| row.service == *service) {
            self.check_settled(service)?;
            self.stop_when_undone(service, by).await;
            return Err(EngineError::NotUndone { service: row.service, operation: row.kind });
        }
        let accepted = match (self.accepted(service), given_up) {
            (Ok(accepted), _) => accepted,
            (Err(EngineError::NotDeployed { .. }), Some(operation)) => {
                let message =
                    format!("the {operation} is given up, and nothing of it is left on the node");
                let nothing = (service, Generation::default());
                tell_outcome(progress, nothing, OutcomeKind::Done, &message, Vec::new()).await;
                return Ok(());
            }
            (Err(error), _) => return Err(error),
        };
        let operation = self.begin_simple(&accepted, STOP, by).await?;
        let done = self.carry_out_stop(&accepted, operation, progress).await;
        self.close(operation, done).await
    }

    pub(super) async fn carry_out_stop(
        &self,
        accepted: &Accepted,
        operation: i64,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let service = &accepted.row.name;
        let mut deployment = accepted.deployment.clone();
        deployment.active = false;
        // First what boots, then what runs: a crash between the two leaves a
        // service that is asked to be down, and is made so at the next start.
        self.switch(accepted, &deployment, progress).await?;
        let changed = self.stop_all(&deployment, progress).await?;
        self.registry().finish_operation(operation, "done".to_owned(), now_ms()).await?;
        let kind = if changed.is_empty() && !accepted.row.active {
            OutcomeKind::Unchanged
        } else {
            OutcomeKind::Done
        };
        tell_outcome(
            progress,
            (service, accepted.row.generation),
            kind,
            "stopped, and stays down after a reboot",
            changed,
        )
        .await;
        Ok(())
    }

    /// Starts a service, now and at every boot to come.
    ///
    /// # Errors
    ///
    /// The service is not deployed or busy; or a step failed.
    pub async fn start(
        &self,
        service: &ServiceName,
        by: &str,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let _busy = self.take(service, START)?;
        let accepted = self.accepted(service)?;
        let operation = self.begin_simple(&accepted, START, by).await?;
        let done = self.carry_out_start(&accepted, operation, progress).await;
        self.close(operation, done).await
    }

    pub(super) async fn carry_out_start(
        &self,
        accepted: &Accepted,
        operation: i64,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let mut deployment = accepted.deployment.clone();
        deployment.active = true;
        self.switch(accepted, &deployment, progress).await?;
        let all: Vec<&Container> = deployment.containers.iter().collect();
        let attempts = Box::pin(self.await_attempts(&all, progress));
        self.unless_given_up(&deployment.service, attempts).await?;
        let up = self.up(&container_units(&deployment)).await?;
        let wanted: BTreeSet<ComponentName> = deployment
            .containers
            .iter()
            .filter(|c| !up.contains(&c.name.unit()))
            .map(|c| c.spec.name.clone())
            .collect();
        let mut failures = self.pull_missing(&deployment, progress).await?;
        if failures.is_empty() {
            failures = self.start_in_order(&deployment, &wanted, progress, None).await?;
        }
        if failures.is_empty() {
            self.reach_target(&deployment).await?;
        }
        let ended = if failures.is_empty() { "done" } else { "failed" };
        self.registry().finish_operation(operation, ended.to_owned(), now_ms()).await?;
        tell_started(accepted, (wanted, failures), "started", progress).await;
        Ok(())
    }

    /// Restarts a service, or one component and nothing else.
    ///
    /// # Errors
    ///
    /// The service is not deployed, stopped or busy; or a step failed.
    pub async fn restart(
        &self,
        service: &ServiceName,
        component: Option<&ComponentName>,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let _busy = self.take(service, RESTART)?;
        let accepted = self.accepted(service)?;
        let deployment = &accepted.deployment;
        let wanted: BTreeSet<ComponentName> = match component {
            Some(one) => {
                known(deployment, one)?;
                let one = BTreeSet::from([one.clone()]);
                let along = self.taken_along(deployment, &one).await?;
                along.into_iter().map(|c| c.spec.name.clone()).chain(one).collect()
            }
            None => deployment.containers.iter().map(|c| c.spec.name.clone()).collect(),
        };
        if !deployment.active {
            return Err(EngineError::WholeServiceOnly("the service is stopped; start it instead"));
        }
        self.overrule_stop(service).await;
        let failures = self.start_in_order(deployment, &wanted, progress, None).await?;
        tell_started(&accepted, (wanted, failures), "restarted", progress).await;
        Ok(())
    }

    /// Puts on disk, and into the registry, whether a service runs.
    async fn switch(
        &self,
        accepted: &Accepted,
        deployment: &Deployment,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let service = &accepted.row.name;
        let name = if deployment.active { "enable" } else { "disable" };
        let step = progress.step(name, service.as_str()).await;
        let before = self.on_disk(service).await?;
        let set = self.switched(accepted, deployment)?;
        self.install(&set, before.as_ref(), Boots::As(deployment)).await?;
        let files = serde_json::to_string(&set).map_err(|source| EngineError::Stored {
            what: "unit set",
            service: service.clone(),
            source,
        })?;
        self.registry().set_service_active(service, deployment.active, files).await?;
        self.refresh(service).await?;
        self.keep_in_podman(service);
        step.done().await;
        Ok(())
    }

    /// The accepted files, with the service's targets as they are to be.
    /// Without podman a service can still be stopped: what pulls it in at
    /// boot goes, its targets stay as they are.
    fn switched(
        &self,
        accepted: &Accepted,
        deployment: &Deployment,
    ) -> Result<UnitSet, EngineError> {
        let mut set = accepted.set.clone();
        set.wanted = deployment.active;
        let toolchain = match self.toolchain() {
            Err(_) if !deployment.active => return Ok(set),
            other => other?,
        };
        let rendered = toolchain.renderer.render(deployment, &accepted.file_name)?;
        let targets = rendered.files.into_iter().filter(|((place, _), _)| *place == Place::Systemd);
        set.files.extend(targets);
        Ok(set)
    }

    async fn begin_simple(
        &self,
        accepted: &Accepted,
        kind: &'static str,
        by: &str,
    ) -> Result<i64, EngineError> {
        let operation = self
            .registry()
            .begin_operation(NewOperation {
                service: accepted.row.name.clone(),
                kind: kind.to_owned(),
                state: "{}".to_owned(),
                from: accepted.row.generation,
                to: accepted.row.generation,
                started_at_ms: now_ms(),
                by: by.to_owned(),
            })
            .await?;
        // A stop is the end of one when it is done.
        if kind != STOP {
            self.overrule_stop(&accepted.row.name).await;
        }
        Ok(operation)
    }

    /// Stops every component, those that depend on others first.
    pub(super) async fn stop_all(
        &self,
        deployment: &Deployment,
        progress: &Progress,
    ) -> Result<Vec<String>, EngineError> {
        let listed = self.manager().listed(&container_units(deployment)).await?;
        let up: BTreeSet<UnitName> =
            listed.into_iter().filter(runs_or_waits).map(|unit| unit.name).collect();
        let effects = plan::stops(deployment, &up);
        self.leave_targets(&deployment.service).await?;
        let held: Vec<&Container> = deployment.containers.iter().collect();
        self.close_ports(deployment, &held).await?;
        for layer in deployment.layers().iter().rev() {
            let containers: Vec<&Container> = layer
                .iter()
                .filter(|c| effects.iter().any(|e| e.component == **c))
                .filter_map(|c| deployment.container(c))
                .collect();
            if containers.is_empty() {
                continue;
            }
            let names = containers.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
            let step = progress.step("stop", names).await;
            self.stop_alone(&containers).await?;
            step.done().await;
        }
        // What crashes over and over is not up, and is still being tried.
        let down: Vec<&Container> =
            deployment.containers.iter().filter(|c| !up.contains(&c.name.unit())).collect();
        self.stop_alone(&down).await?;
        Ok(effects.into_iter().map(|e| e.component.to_string()).collect())
    }

    /// Takes the service's targets down without what they hold: components
    /// are stopped one by one, in order.
    pub(super) async fn leave_targets(&self, service: &ServiceName) -> Result<(), EngineError> {
        let targets = [
            UnitName::service_target(service),
            UnitName::ready_target(service),
            // Nothing requires it: it is stopped so that none of it is left.
            UnitName::gate(service),
        ];
        for unit in targets {
            self.stop_quietly(&unit).await?;
        }
        Ok(())
    }

    /// Closes the row of an operation that failed, so that it can be asked
    /// for again at once.
    pub(super) async fn close<T>(
        &self,
        operation: i64,
        done: Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        if done.is_err()
            && let Err(error) =
                self.registry().finish_operation(operation, "failed".to_owned(), now_ms()).await
        {
            tracing::error!(operation, %error, "a failed operation stays open");
            self.leave_for_later();
        }
        done
    }
}

/// Tells whether a unit is up, or will be: its start may wait for another, and
/// would go on as soon as that is stopped.
fn runs_or_waits(unit: &ListedUnit) -> bool {
    unit.is_up() || unit.job.is_some()
}

/// Refuses a component that a deployment does not have.
pub(super) fn known(deployment: &Deployment, component: &ComponentName) -> Result<(), EngineError> {
    if deployment.container(component).is_some() {
        return Ok(());
    }
    Err(EngineError::NoComponent {
        service: deployment.service.clone(),
        component: component.clone(),
        known: deployment.containers.iter().map(|c| c.spec.name.to_string()).collect(),
    })
}

async fn tell_outcome(
    progress: &Progress,
    (service, generation): (&ServiceName, Generation),
    kind: OutcomeKind,
    message: &str,
    changed: Vec<String>,
) {
    progress
        .tell(Event::Outcome(Outcome {
            service: service.clone(),
            kind,
            generation,
            message: message.to_owned(),
            failures: Vec::new(),
            changed,
            elapsed: progress.elapsed(),
        }))
        .await;
}

async fn tell_started(
    accepted: &Accepted,
    (wanted, failures): (BTreeSet<ComponentName>, Vec<Failure>),
    done: &str,
    progress: &Progress,
) {
    let (kind, message) = match (failures.is_empty(), wanted.is_empty()) {
        (true, true) => (OutcomeKind::Unchanged, "it runs already"),
        (true, false) => (OutcomeKind::Done, done),
        (false, _) => (OutcomeKind::Failed, "not every component is ready"),
    };
    progress
        .tell(Event::Outcome(Outcome {
            service: accepted.row.name.clone(),
            kind,
            generation: accepted.row.generation,
            message: message.to_owned(),
            failures,
            changed: wanted.iter().map(ToString::to_string).collect(),
            elapsed: progress.elapsed(),
        }))
        .await;
}
