//! Putting aside what is taken over, and putting it back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::journal::{Aside, Journal, Journals};
use crate::agent::engine::boot::Boots;
use crate::agent::engine::starting::MARGIN;
use crate::agent::engine::{Engine, EngineError, Reload};
use crate::agent::progress::{Outcome, OutcomeKind, Progress};
use crate::import::containers::Inspected;
use crate::names::{BEFORE, ComponentName, ServiceName};
use crate::podman::{inspect, predecessor};
use crate::systemd::{JobMode, SystemdError};
use crate::telemetry::Chain;
use crate::units::foreign;

/// What podman starts a container by itself with, at a boot too
/// (`podman-restart.service`).
const BY_ITSELF: &[&str] = &["always", "unless-stopped", "on-failure"];

/// Longest wait for a container to come up again.
const BACK: Duration = Duration::from_secs(180);

impl Engine {
    fn journals(&self) -> Journals {
        Journals::new(&self.tools().state_dir)
    }

    /// Writes the journal, then puts aside what is in it. The reload that
    /// makes systemd see it is that of the deploy which follows.
    pub(super) async fn put_aside(
        &self,
        service: &ServiceName,
        journal: Journal,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let journals = self.journals();
        journals.write(service, &journal).map_err(EngineError::AdoptionJournal)?;
        for aside in journal.containers.iter().rev().filter(|aside| !aside.in_place) {
            let step = progress.step("stop", aside.name.as_str()).await;
            self.hold_volumes(aside).await?;
            self.stop_aside(aside).await?;
            step.done().await;
            for (from, to) in &aside.volumes {
                let step = progress.step("copy", format!("volume {from} to {to}")).await;
                predecessor::copy_volume(from, to).await?;
                step.done().await;
            }
            if predecessor::exists(&aside.name).await? {
                if BY_ITSELF.contains(&aside.restart_policy.as_str()) {
                    predecessor::restart_policy(&aside.name, "no").await?;
                }
                predecessor::rename(&aside.name, &format!("{}{BEFORE}", aside.name)).await?;
            }
        }
        let (kept, files) = (journals.kept(service), journal.files);
        let take_away = move || {
            foreign::keep(&files, &kept)?;
            foreign::take_away(&files)?;
            Ok(!files.is_empty())
        };
        self.change_files(take_away, Boots::Before, Reload::Later).await?;
        Ok(())
    }

    /// Has the data of volumes without a name outlive containers that go with
    /// their end.
    async fn hold_volumes(&self, aside: &Aside) -> Result<(), EngineError> {
        for (number, (from, _)) in aside.volumes.iter().enumerate() {
            predecessor::hold_volume(&holder(aside, number), from, &aside.image).await?;
        }
        Ok(())
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

    /// Returns the components that a takeover has not touched, as long as it
    /// has not been settled.
    pub(in crate::agent::engine) fn left_in_place(
        &self,
        service: &ServiceName,
    ) -> BTreeSet<ComponentName> {
        let journal = self.journals().read(service).ok().flatten();
        let all = journal.into_iter().flat_map(|journal| journal.containers);
        all.filter(|aside| aside.in_place).map(|aside| aside.component).collect()
    }

    /// Ends the takeover that a deploy was part of, if it was: what is in
    /// force needs nothing of before, and what is not gives way to it.
    pub(in crate::agent::engine) async fn settle_adoption(
        &self,
        outcome: Outcome,
        progress: &Progress,
    ) -> Outcome {
        let service = outcome.service.clone();
        let failed = |outcome: Outcome, why: String| Outcome {
            kind: OutcomeKind::Failed,
            message: format!("{}; {why}", outcome.message),
            ..outcome
        };
        let journal = match self.journals().read(&service) {
            Ok(Some(journal)) => journal,
            Ok(None) => return outcome,
            Err(error) => {
                return failed(outcome, format!("what was put aside cannot be read: {error}"));
            }
        };
        if self.find(&service).is_none() && outcome.kind == OutcomeKind::Failed {
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
                failed(outcome, format!("what was before is not settled: {}", Chain(&error)))
            }
        }
    }

    /// Ends a takeover; returns the containers of before that are still there.
    async fn end_adoption(
        &self,
        service: &ServiceName,
        journal: &Journal,
    ) -> Result<Vec<String>, EngineError> {
        self.drop_holders(journal).await?;
        let mut stays = Vec::new();
        for aside in journal.containers.iter().filter(|aside| !aside.in_place) {
            let name = format!("{}{BEFORE}", aside.name);
            if predecessor::exists(&name).await? {
                stays.push(name);
            }
        }
        self.journals().remove(service).map_err(EngineError::AdoptionJournal)?;
        Ok(stays)
    }

    async fn drop_holders(&self, journal: &Journal) -> Result<(), EngineError> {
        for aside in &journal.containers {
            for number in 0..aside.volumes.len() {
                predecessor::remove(&holder(aside, number)).await?;
            }
        }
        Ok(())
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
        for aside in &journal.containers {
            self.back_up(service, aside).await?;
        }
        self.drop_holders(journal).await?;
        self.journals().remove(service).map_err(EngineError::AdoptionJournal)?;
        step.done().await;
        Ok(())
    }

    /// Has a container run again as before.
    async fn back_up(&self, service: &ServiceName, aside: &Aside) -> Result<(), EngineError> {
        let before = format!("{}{BEFORE}", aside.name);
        if predecessor::exists(&before).await? {
            // podman leaves one behind whose conmon systemd had to kill.
            let left = inspect::containers(std::slice::from_ref(&aside.name)).await?;
            if left.first().and_then(Inspected::service) == Some(service.as_str()) {
                predecessor::remove(&aside.name).await?;
            }
            predecessor::rename(&before, &aside.name).await?;
            if BY_ITSELF.contains(&aside.restart_policy.as_str()) {
                predecessor::restart_policy(&aside.name, &aside.restart_policy).await?;
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
        for service in services {
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
            tracing::info!(service = %outcome.service, "the takeover is settled: {}", outcome.message);
        }
    }
}

fn holder(aside: &Aside, number: usize) -> String {
    format!("{}-{number}-held{BEFORE}", aside.name)
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
