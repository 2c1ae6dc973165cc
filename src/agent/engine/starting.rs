//! Starting components in order, and finding out why one does not start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::deploy::Deploy;
use super::{Engine, EngineError, failure};
use crate::agent::deploy_state::DeployEvent;
use crate::agent::progress::{Failure, Progress, Step};
use crate::deployment::{Container, Deployment};
use crate::names::{ComponentName, UnitName};
use crate::systemd::{ActiveState, Change, JobMode, JobResult, Jobs, ListedUnit, SystemdError};
use crate::telemetry::Chain;

/// What systemd needs on top of a unit's own timeouts.
pub(super) const MARGIN: Duration = Duration::from_secs(30);

/// What becomes of a component that does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    /// It is stopped: another generation comes back in its place.
    IsUndone,
    /// It is left to systemd, which goes on trying.
    IsLeft,
}

/// What came of starting a layer.
#[derive(Debug, Default)]
pub(super) struct Started {
    pub(super) ready: Vec<ComponentName>,
    pub(super) failures: Vec<Failure>,
}

impl Engine {
    /// Forgets how units ended, and what checks found of their containers.
    async fn forget_ends(
        &self,
        down: &[ListedUnit],
        containers: impl Iterator<Item = &Container>,
    ) -> Result<(), SystemdError> {
        for state in down {
            self.manager().reset_failed(&state.name).await?;
        }
        self.forget_checks(containers).await
    }

    /// Starts, or restarts alone, the given components of one layer, and
    /// waits until each is ready or has failed, or somebody stops the service.
    pub(super) async fn start_layer(
        &self,
        deployment: &Deployment,
        layer: &[ComponentName],
        failing: Failing,
        progress: &Progress,
    ) -> Result<Started, EngineError> {
        // Jobs that are left go on; a stop replaces them. None of them pulls.
        let started = Box::pin(self.start_and_wait(deployment, layer, failing, progress));
        self.unless_given_up(&deployment.service, started).await
    }

    async fn start_and_wait(
        &self,
        deployment: &Deployment,
        layer: &[ComponentName],
        failing: Failing,
        progress: &Progress,
    ) -> Result<Started, EngineError> {
        let containers: BTreeMap<UnitName, &Container> = layer
            .iter()
            .filter_map(|c| deployment.container(c))
            .map(|c| (c.name.unit(), c))
            .collect();
        let units: Vec<UnitName> = containers.keys().cloned().collect();
        let mut watch = self.manager().watch().await?;
        let listed = self.manager().listed(&units).await?;
        let (down, up): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .partition(|s| matches!(s.active, ActiveState::Inactive | ActiveState::Failed));
        self.forget_ends(&down, containers.values().copied()).await?;
        let (held, up) = self.holding_back(up).await?;
        let (down, up, held) = (names(down), names(up), names(held));
        let mut steps: BTreeMap<UnitName, Step<'_>> = BTreeMap::new();
        let restarts = up.iter().chain(&held).map(|unit| (unit, "restart"));
        for (unit, verb) in down.iter().map(|unit| (unit, "start")).chain(restarts) {
            steps.insert(unit.clone(), progress.step(verb, unit.as_str()).await);
        }
        let deadline = containers
            .values()
            .map(|c| c.start_timeout() + c.stop_timeout())
            .max()
            .unwrap_or_default()
            + MARGIN;
        // Starting brings requirements along; a restart must touch nothing
        // else, or it would restart everything that requires the unit.
        let mut starts = self.manager().start_all(&down, JobMode::Replace, deadline).await?;
        let mut restarts =
            self.manager().restart_all(&up, JobMode::IgnoreDependencies, deadline).await?;
        let mut attempts = self.manager().restart_all(&held, JobMode::Replace, deadline).await?;
        let mut started = Started::default();
        while !steps.is_empty() {
            let (unit, verdict) = tokio::select! {
                // All receivers may be cancelled: nothing is lost.
                (unit, result) = next(&mut starts, &mut restarts, &mut attempts) => (unit, verdict(result)),
                change = watch.next() => match self.gave_up(change, &steps).await? {
                    Some((unit, why)) => (unit, Err(why)),
                    None => continue,
                },
            };
            let Some(step) = steps.remove(&unit) else { continue };
            let Some(container) = containers.get(&unit) else { continue };
            match verdict {
                Ok(()) => {
                    step.done().await;
                    started.ready.push(container.spec.name.clone());
                }
                Err(why) => {
                    let failure = self.explained(deployment, container, &why).await?;
                    step.failed(failure.explanation.clone()).await;
                    started.failures.push(failure);
                    if failing == Failing::IsUndone {
                        // It would be tried again for ever.
                        self.stop_alone(std::slice::from_ref(container)).await?;
                    }
                }
            }
        }
        Ok(started)
    }

    /// Waits until systemd's attempts at these containers that are under way
    /// have ended, and tells whether there were any: one may succeed, and to
    /// start it anew meanwhile would only throw away what it has done.
    pub(super) async fn await_attempts(
        &self,
        containers: &[&Container],
        progress: &Progress,
    ) -> Result<bool, EngineError> {
        let units: Vec<UnitName> = containers.iter().map(|c| c.name.unit()).collect();
        let began = Instant::now();
        let mut waited = false;
        let mut watch = self.manager().watch().await?;
        let mut steps: BTreeMap<UnitName, Step<'_>> = BTreeMap::new();
        loop {
            let states = self.manager().unit_states(&units).await?;
            let tried: BTreeSet<&UnitName> =
                states.iter().filter(|s| s.is_tried_again()).map(|s| &s.name).collect();
            for state in states.iter().filter(|s| !s.is_tried_again()) {
                match steps.remove(&state.name) {
                    Some(step) if state.active == ActiveState::Active => step.done().await,
                    Some(step) => step.failed("it failed once more".to_owned()).await,
                    None => {}
                }
            }
            for unit in &tried {
                if !steps.contains_key(*unit) {
                    steps.insert((*unit).clone(), progress.step("wait", unit.as_str()).await);
                }
            }
            let longest = containers
                .iter()
                .filter(|c| tried.contains(&c.name.unit()))
                .map(|c| c.start_timeout())
                .max();
            let Some(longest) = longest else { return Ok(waited) };
            waited = true;
            let deadline = began + longest + MARGIN;
            let Ok(change) = tokio::time::timeout_at(deadline, watch.next()).await else {
                // Whoever starts them finds out why.
                for step in steps.into_values() {
                    step.failed("timeout".to_owned()).await;
                }
                return Ok(waited);
            };
            drop(change?);
        }
    }

    /// Takes the units out whose jobs hold others back until one of systemd's
    /// attempts succeeds, as in a boot. A restart without regard to
    /// dependencies would let those go, one with regard keeps the job (seen
    /// with systemd 257); it restarts what requires them and is up, so where
    /// something is, they are restarted alone.
    async fn holding_back(
        &self,
        units: Vec<ListedUnit>,
    ) -> Result<(Vec<ListedUnit>, Vec<ListedUnit>), SystemdError> {
        let tries =
            |unit: &ListedUnit| unit.active == ActiveState::Activating && unit.job.is_some();
        if !units.iter().any(tries) {
            return Ok((Vec::new(), units));
        }
        let all = self.manager().list_units(&["*.service", "*.target"]).await?;
        let waits = |unit: &ListedUnit| unit.job.is_some() && unit.active == ActiveState::Inactive;
        if !all.iter().any(waits) {
            return Ok((Vec::new(), units));
        }
        let up: BTreeSet<UnitName> =
            all.into_iter().filter(|u| u.active == ActiveState::Active).map(|u| u.name).collect();
        let deployments = self.deployments();
        let needed: BTreeSet<&UnitName> = deployments
            .iter()
            .flat_map(|d| &d.containers)
            .filter(|c| up.contains(&c.name.unit()))
            .flat_map(|c| &c.requires)
            .collect();
        Ok(units.into_iter().partition(|unit| tries(unit) && !needed.contains(&unit.name)))
    }

    /// Says why a component did not become ready: for itself, or because a
    /// boot stage before it is not.
    async fn explained(
        &self,
        deployment: &Deployment,
        container: &Container,
        why: &str,
    ) -> Result<Failure, EngineError> {
        let mut failure = failure::explain(self, container, why).await;
        let unit = container.name.unit();
        if let Some(stage) = self.stage_waited_for(&deployment.service, &unit).await? {
            failure.explanation = format!(
                "it waits for the boot stage {stage}, which is not ready; mcp boot plan shows what is in it"
            );
        }
        Ok(failure)
    }

    /// Looks whether a unit being started has failed and waits to be tried
    /// again: its job goes on through that (`RestartMode=direct`), so that
    /// what depends on it waits, but for a deploy once is enough.
    async fn gave_up(
        &self,
        change: Result<Change, SystemdError>,
        steps: &BTreeMap<UnitName, Step<'_>>,
    ) -> Result<Option<(UnitName, String)>, EngineError> {
        let units: Vec<UnitName> = match change? {
            Change::All => steps.keys().cloned().collect(),
            Change::Units(changed) => {
                changed.into_iter().filter(|u| steps.contains_key(u)).collect()
            }
        };
        let listed = self.manager().listed(&units).await?;
        // One whose restart has not begun yet still waits from before.
        let gave_up =
            |unit: &ListedUnit| unit.waits_to_be_tried() && unit.job.as_deref() != Some("restart");
        let Some(failed) = listed.into_iter().find(gave_up) else { return Ok(None) };
        let states = self.manager().unit_states(std::slice::from_ref(&failed.name)).await?;
        let ended = states.into_iter().find_map(|state| state.ended);
        Ok(Some((failed.name, ended.map(|ended| ended.result).unwrap_or_default())))
    }

    /// Stops containers and nothing else, and waits until they are down.
    pub(super) async fn stop_alone(
        &self,
        containers: &[&Container],
    ) -> Result<Vec<ComponentName>, EngineError> {
        let units: Vec<UnitName> = containers.iter().map(|c| c.name.unit()).collect();
        let deadline =
            containers.iter().map(|c| c.stop_timeout()).max().unwrap_or_default() + MARGIN;
        let mut jobs =
            self.manager().stop_all(&units, JobMode::IgnoreDependencies, deadline).await?;
        let mut stopped = Vec::new();
        while let Some((unit, result)) = jobs.next().await {
            match result {
                Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            stopped.extend(
                containers.iter().filter(|c| c.name.unit() == unit).map(|c| c.spec.name.clone()),
            );
        }
        for unit in &units {
            self.manager().reset_failed(unit).await?;
        }
        self.forget_checks(containers.iter().copied()).await?;
        Ok(stopped)
    }

    /// Starts components layer by layer; those that are ready are noted in
    /// `journal`, a deploy under way. The first layer with a failure is the
    /// last.
    pub(super) async fn start_in_order(
        &self,
        deployment: &Deployment,
        wanted: &BTreeSet<ComponentName>,
        progress: &Progress,
        mut journal: Option<&mut Deploy>,
    ) -> Result<Vec<Failure>, EngineError> {
        let closed = self.open_ports(deployment, progress).await?;
        if !closed.is_empty() {
            return Ok(closed);
        }
        if wanted.is_empty() {
            self.settle_stand_ins(deployment, progress).await?;
            return Ok(Vec::new());
        }
        let failing = if journal.is_some() { Failing::IsUndone } else { Failing::IsLeft };
        self.make_ground(deployment).await?;
        let wanted = &self.free_holders(deployment, wanted.clone(), progress).await?;
        for layer in deployment.layers() {
            let layer: Vec<ComponentName> =
                layer.into_iter().filter(|c| wanted.contains(c)).collect();
            if layer.is_empty() {
                continue;
            }
            let started = self.renew(deployment, &layer, failing, progress).await?;
            if let Some(deploy) = journal.as_deref_mut() {
                for component in &started.ready {
                    deploy.changed.insert(component.to_string());
                    self.advance(deploy, DeployEvent::Ready(component.clone())).await?;
                }
            }
            if !started.failures.is_empty() {
                return Ok(started.failures);
            }
        }
        self.settle_stand_ins(deployment, progress).await?;
        Ok(Vec::new())
    }

    /// Returns what is up and lives in the network of one of these components.
    pub(super) async fn taken_along<'a>(
        &self,
        deployment: &'a Deployment,
        holders: &BTreeSet<ComponentName>,
    ) -> Result<Vec<&'a Container>, SystemdError> {
        let holders = deployment.containers.iter().filter(|c| holders.contains(&c.spec.name));
        let mut joined: Vec<&Container> =
            holders.flat_map(|holder| deployment.joined(holder)).collect();
        let units: Vec<UnitName> = joined.iter().map(|c| c.name.unit()).collect();
        let listed = self.manager().listed(&units).await?;
        joined.retain(|c| listed.iter().any(|u| u.name == c.name.unit() && u.is_up()));
        Ok(joined)
    }

    /// Stops what lives in the network of containers that are made anew, each
    /// as it wants to be stopped, and has it started as well. The unit of such
    /// a container would only kill it.
    async fn free_holders(
        &self,
        deployment: &Deployment,
        mut wanted: BTreeSet<ComponentName>,
        progress: &Progress,
    ) -> Result<BTreeSet<ComponentName>, EngineError> {
        let joined = self.taken_along(deployment, &wanted).await?;
        if joined.is_empty() {
            return Ok(wanted);
        }
        let names = joined.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
        let step = progress.step("stop", names).await;
        wanted.extend(self.stop_alone(&joined).await?);
        step.done().await;
        Ok(wanted)
    }

    /// Starts the components of one layer, or makes them anew: with a hand-over
    /// where one is possible. The first failure is the last.
    async fn renew(
        &self,
        deployment: &Deployment,
        layer: &[ComponentName],
        failing: Failing,
        progress: &Progress,
    ) -> Result<Started, EngineError> {
        let (mut plain, mut switched) = (Vec::new(), Vec::new());
        for container in layer.iter().filter_map(|c| deployment.container(c)) {
            if self.is_switched(container).await? {
                switched.push(container);
            } else {
                plain.push(container.spec.name.clone());
            }
        }
        let mut all = Started::default();
        if !plain.is_empty() {
            all = self.start_layer(deployment, &plain, failing, progress).await?;
        }
        for container in switched {
            if !all.failures.is_empty() {
                break;
            }
            let one = self.switch_over(deployment, container, failing, progress).await?;
            all.ready.extend(one.ready);
            all.failures.extend(one.failures);
        }
        Ok(all)
    }

    /// Has the service's target active, so that `systemctl --user` shows the
    /// service as what it is: up.
    pub(super) async fn reach_target(&self, deployment: &Deployment) -> Result<(), EngineError> {
        let unit = UnitName::service_target(&deployment.service);
        let listed = self.manager().listed(std::slice::from_ref(&unit)).await?;
        if listed.iter().any(|unit| unit.active == ActiveState::Active) {
            return Ok(());
        }
        let result = self.manager().start(&unit, JobMode::Replace, MARGIN * 4).await?;
        if !result.is_done() {
            tracing::warn!(%unit, %result, "the service's target did not start");
        }
        Ok(())
    }
}

fn names(listed: Vec<ListedUnit>) -> Vec<UnitName> {
    listed.into_iter().map(|unit| unit.name).collect()
}

async fn next(
    starts: &mut Jobs,
    restarts: &mut Jobs,
    attempts: &mut Jobs,
) -> (UnitName, Result<JobResult, SystemdError>) {
    loop {
        tokio::select! {
            // A closed queue is out of the race; all closed cannot be while
            // a step is open, for each step has a job.
            Some(outcome) = starts.next() => return outcome,
            Some(outcome) = restarts.next() => return outcome,
            Some(outcome) = attempts.next() => return outcome,
            else => std::future::pending().await,
        }
    }
}

fn verdict(result: Result<JobResult, SystemdError>) -> Result<(), String> {
    match result {
        Ok(JobResult::Done) => Ok(()),
        Ok(other) => Err(other.to_string()),
        Err(SystemdError::Deadline { .. }) => Err("timeout".to_owned()),
        Err(error) => Err(Chain(&error).to_string()),
    }
}
