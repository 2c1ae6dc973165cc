//! Putting aside what is taken over, and putting it back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::journal::{Aside, Journal, Journals};
use crate::agent::deploy_state::DeployState;
use crate::agent::engine::accepted::container_units;
use crate::agent::engine::boot::Boots;
use crate::agent::engine::deploy::Deploy;
use crate::agent::engine::starting::MARGIN;
use crate::agent::engine::{Engine, EngineError, Reload};
use crate::agent::progress::{Outcome, OutcomeKind, Progress};
use crate::deployment::Container;
use crate::import::containers::Inspected;
use crate::names::{BEFORE, ComponentName, ServiceName};
use crate::podman::{inspect, predecessor};
use crate::systemd::{JobMode, SystemdError};
use crate::telemetry::Chain;
use crate::units::foreign;

/// Longest wait for a container to come up again.
const BACK: Duration = Duration::from_secs(180);

impl Engine {
    fn journals(&self) -> Journals {
        Journals::new(&self.tools().state_dir)
    }

    /// Writes down what is to be put aside.
    pub(super) fn write_journal(
        &self,
        service: &ServiceName,
        journal: &Journal,
    ) -> Result<(), EngineError> {
        self.journals().write(service, journal).map_err(EngineError::AdoptionJournal)
    }

    /// Removes what was written down: nothing of it is left to be put back.
    pub(super) fn forget_journal(&self, service: &ServiceName) -> Result<(), EngineError> {
        self.journals().remove(service).map_err(EngineError::AdoptionJournal)
    }

    /// Refuses what would get in the way of a takeover that is not settled.
    pub(in crate::agent::engine) fn check_settled(
        &self,
        service: &ServiceName,
    ) -> Result<(), EngineError> {
        match self.journals().read(service) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(EngineError::Unsettled { service: service.clone() }),
            Err(error) => Err(EngineError::AdoptionJournal(error)),
        }
    }

    /// Puts aside what is in the journal. The reload that makes systemd see it
    /// is that of the deploy which follows.
    pub(super) async fn put_aside(
        &self,
        service: &ServiceName,
        journal: Journal,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        for aside in journal.containers.iter().rev().filter(|aside| !aside.in_place) {
            let step = progress.step("stop", aside.name.as_str()).await;
            self.stop_aside(aside).await?;
            step.done().await;
            for (from, to) in &aside.volumes {
                if predecessor::volume_exists(to).await? {
                    // Another container of these uses it too.
                    continue;
                }
                let step = progress.step("copy", format!("volume {from} to {to}")).await;
                predecessor::copy_volume(service, from, to).await?;
                step.done().await;
            }
            if predecessor::exists(&aside.name).await? {
                self.keep_down(aside, progress).await;
                predecessor::rename(&aside.name, &format!("{}{BEFORE}", aside.name)).await?;
            }
        }
        let (kept, files) = (self.journals().kept(service), journal.files);
        let take_away = move || {
            foreign::keep(&files, &kept)?;
            foreign::take_away(&files)?;
            Ok(!files.is_empty())
        };
        self.change_files(take_away, Boots::Before, Reload::Later).await?;
        Ok(())
    }

    /// Has podman not start a container at a boot any more.
    async fn keep_down(&self, aside: &Aside, progress: &Progress) {
        if aside.restart_policy.is_some()
            && let Err(error) = predecessor::restart_policy(&aside.name, "no").await
        {
            let (name, why) = (&aside.name, Chain(&error).to_string());
            progress
                .warn(format!("podman may start {name}{BEFORE} at a boot; remove it before: {why}"))
                .await;
        }
    }

    async fn stop_aside(&self, aside: &Aside) -> Result<(), EngineError> {
        let timeout = Duration::from_secs(aside.stop_timeout);
        let Some(unit) = &aside.unit else {
            return Ok(predecessor::stop(&aside.name, timeout).await?);
        };
        match self.manager().stop(unit, JobMode::IgnoreDependencies, timeout + MARGIN).await {
            Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.manager().reset_failed(unit).await?;
        Ok(())
    }

    /// Returns the components whose units an unsettled takeover has found up,
    /// and which a deploy that has come this far has not started: with the
    /// number of their runs before it started any.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub(in crate::agent::engine) async fn not_started_by(
        &self,
        deploy: &Deploy,
    ) -> Result<BTreeSet<ComponentName>, EngineError> {
        let journal =
            self.journals().read(&deploy.service).map_err(EngineError::AdoptionJournal)?;
        if journal.is_none() {
            return Ok(BTreeSet::new());
        }
        let none = BTreeMap::new();
        let before = match &deploy.state {
            DeployState::RollingBack { before, .. } => before,
            DeployState::Planned
            | DeployState::Pulling
            | DeployState::Installing { .. }
            | DeployState::Starting { .. }
            | DeployState::Promoting { .. } => &none,
        };
        let now = self.invocations(&container_units(&deploy.new)).await?;
        let is_old = |c: &&Container| {
            let unit = c.name.unit();
            let was = before.get(&unit);
            was.is_none_or(|was| was.is_some() && now.get(&unit) == Some(was))
        };
        Ok(deploy.new.containers.iter().filter(is_old).map(|c| c.spec.name.clone()).collect())
    }

    /// Ends the takeover that a deploy was part of, if it was: what is in
    /// force needs nothing of before, and what is not gives way to it.
    pub(in crate::agent::engine) async fn settle_adoption(
        &self,
        outcome: Outcome,
        progress: &Progress,
    ) -> Outcome {
        let service = outcome.service.clone();
        let failed = |outcome: Outcome, kind, why: String| Outcome {
            kind,
            message: format!("{}; {why}", outcome.message),
            ..outcome
        };
        let journal = match self.journals().read(&service) {
            Ok(Some(journal)) => journal,
            Ok(None) => return outcome,
            Err(error) => {
                let why = format!("what was put aside cannot be read: {error}");
                // It goes on being undone; the rest nobody tries again.
                let goes_on = outcome.kind == OutcomeKind::Unsettled;
                let kind = if goes_on { outcome.kind } else { OutcomeKind::Failed };
                return failed(outcome, kind, why);
            }
        };
        if self.find(&service).is_none() && outcome.kind == OutcomeKind::Unsettled {
            // It is undone later; only then there is room for what was before.
            return outcome;
        }
        let settled = if self.find(&service).is_some() {
            let ended = self.end_adoption(&service, &journal).await;
            ended.map(|stays| taken_over(&stays, &outcome.message))
        } else {
            let back = self.put_back(&service, &journal, progress).await;
            back.map(|()| "everything is as it was before".to_owned())
        };
        match settled {
            Ok(message) => Outcome { message, ..outcome },
            Err(error) => {
                self.leave_for_later();
                let why = format!("what was before is not settled: {}", Chain(&error));
                failed(outcome, OutcomeKind::Unsettled, why)
            }
        }
    }

    /// Ends a takeover; returns the containers of before that are still there.
    async fn end_adoption(
        &self,
        service: &ServiceName,
        journal: &Journal,
    ) -> Result<Vec<String>, EngineError> {
        let mut stays = Vec::new();
        for aside in journal.containers.iter().filter(|aside| !aside.in_place) {
            let name = format!("{}{BEFORE}", aside.name);
            if predecessor::exists(&name).await? {
                stays.push(name);
            }
        }
        self.forget_journal(service)?;
        Ok(stays)
    }

    async fn put_back(
        &self,
        service: &ServiceName,
        journal: &Journal,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let step = progress.step("put back", service.as_str()).await;
        let files = journal.files.clone();
        let back = move || {
            foreign::put_back(&files)?;
            Ok(true)
        };
        self.change_files(back, Boots::Before, Reload::Now).await?;
        let mut failed = Vec::new();
        for aside in &journal.containers {
            // One that does not come up must not keep the others down.
            if let Err(error) = self.back_up(service, aside).await {
                failed.push(error);
            }
        }
        if let Some(first) = failed.into_iter().next() {
            let why = Chain(&first).to_string();
            step.failed(why).await;
            return Err(first);
        }
        for (from, to) in journal.containers.iter().flat_map(|aside| &aside.volumes) {
            if predecessor::volume_exists(from).await? {
                crate::podman::remove_volume(to).await?;
            }
        }
        self.forget_journal(service)?;
        step.done().await;
        Ok(())
    }

    /// Has a container run again as before.
    async fn back_up(&self, service: &ServiceName, aside: &Aside) -> Result<(), EngineError> {
        let before = format!("{}{BEFORE}", aside.name);
        let renamed = inspect::containers(std::slice::from_ref(&before)).await.unwrap_or_default();
        if !aside.in_place && renamed.first().is_some_and(|found| found.id == aside.id) {
            // podman leaves one behind whose conmon systemd had to kill.
            let left = inspect::containers(std::slice::from_ref(&aside.name)).await;
            let left = left.unwrap_or_default();
            if left.first().and_then(Inspected::service) == Some(service.as_str()) {
                predecessor::remove(&aside.name).await?;
            }
            predecessor::rename(&before, &aside.name).await?;
        }
        if let (Some(policy), false) = (&aside.restart_policy, aside.in_place) {
            // Only where it was taken away: podman cannot do that to every
            // container that runs.
            let now = inspect::containers(std::slice::from_ref(&aside.name)).await?;
            let now = now.first().and_then(|found| found.host_config.restart_policy.argument());
            if now.as_ref() != Some(policy) {
                predecessor::restart_policy(&aside.name, policy).await?;
            }
        }
        let Some(unit) = &aside.unit else {
            return Ok(predecessor::start(&aside.name).await?);
        };
        let result = self.manager().start(unit, JobMode::Replace, BACK).await?;
        if result.is_done() {
            return Ok(());
        }
        Err(EngineError::NotBack { unit: unit.clone(), result: result.as_str().to_owned() })
    }

    /// Settles takeovers whose deploy has ended, or was never begun.
    pub(in crate::agent::engine) async fn settle_adoptions(&self) {
        let services = match self.journals().unsettled() {
            Ok(services) => services,
            Err(error) => {
                tracing::error!(%error, "what was put aside for takeovers cannot be listed");
                return;
            }
        };
        let open = match self.registry().unfinished_operations().await {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the registry does not answer");
                return;
            }
        };
        for service in services {
            // First its deploy is finished or undone.
            if open.iter().any(|row| row.service == service) {
                continue;
            }
            // What is busy has somebody at it.
            let Ok(_busy) = self.take(&service, super::ADOPT) else { continue };
            tracing::warn!(%service, "a takeover was cut off; finishing or undoing it");
            let cut_off = Outcome {
                service,
                kind: OutcomeKind::RolledBack,
                generation: crate::names::Generation::default(),
                message: String::new(),
                failures: Vec::new(),
                changed: Vec::new(),
                elapsed: Duration::ZERO,
            };
            let outcome = self.settle_adoption(cut_off, &Progress::unheard()).await;
            let (service, message) = (&outcome.service, &outcome.message);
            if matches!(outcome.kind, OutcomeKind::Failed | OutcomeKind::Unsettled) {
                tracing::error!(%service, "the takeover is not settled{message}");
            } else {
                tracing::info!(%service, "the takeover is settled: {message}");
                self.tell_settled(service).await;
            }
        }
    }
}

fn taken_over(stays: &[String], message: &str) -> String {
    let mut parts =
        Vec::from_iter(Some(message).filter(|text| !text.is_empty()).map(str::to_owned));
    if !stays.is_empty() {
        let names = stays.join(" ");
        parts.push(format!("what ran before is stopped; once it is not needed: podman rm {names}"));
    }
    parts.join("; ")
}
