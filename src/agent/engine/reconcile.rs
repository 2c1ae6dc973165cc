//! Bringing what is back to what was deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::boot::Boots;
use super::status::ComponentState;
use super::{Accepted, Engine, EngineError, now_ms};
use crate::agent::monitor::drift::DriftKind;
use crate::agent::monitor::{Event, EventKind};
use crate::agent::plan::{self, Action, Plan};
use crate::agent::progress::{self, Failure, Outcome, OutcomeKind, Progress};
use crate::deployment::Deployment;
use crate::names::{ComponentName, ServiceName, UnitName};
use crate::quadlet::UnitSet;
use crate::registry::NewOperation;
use crate::telemetry::Chain;

/// The kind of a reconcile's row in the journal.
pub(super) const KIND: &str = "reconcile";
/// What it is called when nobody has asked for it.
pub(super) const HEAL: &str = "heal";

/// What a reconcile will change.
#[derive(Debug)]
pub struct Reconciliation {
    /// What is desired.
    pub accepted: Arc<Accepted>,
    /// Files and units.
    pub plan: Plan,
    /// Whether the link that a boot follows comes or goes.
    pub boot_link: bool,
    /// The units whose files systemd has to read again, though they are right.
    pub unread: Vec<UnitName>,
    /// The files as they are.
    disk: Option<UnitSet>,
}

impl Reconciliation {
    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty() && !self.boot_link && self.unread.is_empty()
    }

    /// Says what is done, for an event or an outcome.
    fn message(&self) -> String {
        let mut parts = Vec::new();
        let names = |names: Vec<&str>| names.join(", ");
        let files = self.plan.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>();
        if !files.is_empty() {
            parts.push(format!("put back {}", names(files)));
        }
        if self.boot_link {
            parts.push("set its link for the boot right".to_owned());
        }
        for (action, verb) in
            [(Action::Start, "started"), (Action::Restart, "restarted"), (Action::Stop, "stopped")]
        {
            let units: Vec<&str> = self.plan.of(action).map(|e| e.container.as_str()).collect();
            if !units.is_empty() {
                parts.push(format!("{verb} {}", names(units)));
            }
        }
        if parts.is_empty() {
            "had systemd read its files again".to_owned()
        } else {
            parts.join("; ")
        }
    }
}

/// What the journal keeps of a reconcile.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    #[serde(default)]
    left: BTreeSet<ComponentName>,
}

impl Engine {
    /// Returns what a reconcile would change.
    ///
    /// # Errors
    ///
    /// The service is not deployed, systemd does not answer, or the unit
    /// directories cannot be read.
    pub async fn plan_reconcile(
        &self,
        service: &ServiceName,
    ) -> Result<Reconciliation, EngineError> {
        self.reconciliation(service, &BTreeSet::new()).await
    }

    /// Plans a reconcile that leaves some components, and what depends on
    /// them, as they are.
    async fn reconciliation(
        &self,
        service: &ServiceName,
        left: &BTreeSet<ComponentName>,
    ) -> Result<Reconciliation, EngineError> {
        let accepted = self.accepted(service)?;
        let disk = self.on_disk(service).await?;
        let mut statuses = self.status(Some(service)).await?;
        let (mut up, mut unread) = (BTreeSet::new(), Vec::new());
        for status in &mut statuses {
            self.add_file_drift(status).await?;
            for component in &status.components {
                let unit = component.container.name.unit();
                let stale = |d: &crate::agent::monitor::drift::Drift| {
                    matches!(d.kind, DriftKind::NotReloaded | DriftKind::UnitMissing)
                };
                if component.drift.iter().any(stale) {
                    unread.push(unit.clone());
                }
                // systemd is at those that come, go, or wait to be restarted.
                if !matches!(
                    component.state,
                    ComponentState::Stopped | ComponentState::Failed | ComponentState::Missing
                ) {
                    up.insert(unit);
                }
            }
        }
        let side = plan::Side { deployment: &accepted.deployment, set: &accepted.set };
        // What a tag means is a matter of deploys.
        let images = BTreeMap::new();
        let present =
            plan::Present { accepted: Some(side), disk: disk.as_ref(), up: &up, images: &images };
        let mut plan = plan::plan(present, side);
        let left = with_dependants(left, &accepted.deployment);
        plan.effects.retain(|effect| !left.contains(&effect.component));
        if !plan.files.is_empty() {
            // The reload that follows reads them all.
            unread.clear();
        }
        let boot_link = disk.as_ref().is_some_and(|set| set.wanted) != accepted.set.wanted;
        Ok(Reconciliation { accepted, plan, boot_link, unread, disk })
    }

    /// Brings a service back to what was deployed: files, what boots, what
    /// runs.
    ///
    /// # Errors
    ///
    /// The service is not deployed or busy; or a step failed: repeat it.
    pub async fn reconcile(
        &self,
        service: &ServiceName,
        by: &str,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let _busy = self.take(service, KIND)?;
        let outcome = self.journalled(service, &BTreeSet::new(), by, progress).await?;
        if outcome.kind == OutcomeKind::Done {
            let event = Event::of_service(
                EventKind::Reconciled,
                service.as_str(),
                format!("{by} asked for it: {}", outcome.message),
            );
            self.tools().events.record(event).await;
        }
        progress.tell(progress::Event::Outcome(outcome)).await;
        Ok(())
    }

    /// Does the same with nobody asking, and leaves alone what a person has
    /// stopped.
    ///
    /// # Errors
    ///
    /// As [`reconcile`](Self::reconcile).
    pub async fn heal(
        &self,
        service: &ServiceName,
        left: &BTreeSet<ComponentName>,
    ) -> Result<Outcome, EngineError> {
        let _busy = self.take(service, HEAL)?;
        self.journalled(service, left, HEAL, &Progress::unheard()).await
    }

    async fn journalled(
        &self,
        service: &ServiceName,
        left: &BTreeSet<ComponentName>,
        by: &str,
        progress: &Progress,
    ) -> Result<Outcome, EngineError> {
        let accepted = self.accepted(service)?;
        let state = serde_json::to_string(&State { left: left.clone() }).map_err(|source| {
            EngineError::Stored { what: "state", service: service.clone(), source }
        })?;
        let operation = self
            .registry()
            .begin_operation(NewOperation {
                service: service.clone(),
                kind: KIND.to_owned(),
                state,
                from: accepted.row.generation,
                to: accepted.row.generation,
                started_at_ms: now_ms(),
                by: by.to_owned(),
            })
            .await?;
        let done = async {
            let outcome = self.bring_back(service, left, progress).await?;
            let word = if outcome.failures.is_empty() { "done" } else { "failed" };
            self.registry().finish_operation(operation, word.to_owned(), now_ms()).await?;
            Ok(outcome)
        };
        self.close(operation, done.await).await
    }

    /// Takes up a reconcile that was cut off.
    pub(super) async fn recover_reconcile(
        &self,
        service: &ServiceName,
        operation: i64,
        state: &str,
    ) -> Result<(), EngineError> {
        let state: State = serde_json::from_str(state).unwrap_or_else(|error| {
            tracing::warn!(%service, error = %Chain(&error), "the state of a reconcile cannot be read; all of the service is brought back");
            State::default()
        });
        self.bring_back(service, &state.left, &Progress::unheard()).await?;
        self.registry().finish_operation(operation, "done".to_owned(), now_ms()).await?;
        Ok(())
    }

    async fn bring_back(
        &self,
        service: &ServiceName,
        left: &BTreeSet<ComponentName>,
        progress: &Progress,
    ) -> Result<Outcome, EngineError> {
        let step = progress.step("check", service.as_str()).await;
        let wanted = self.reconciliation(service, left).await?;
        step.done().await;
        if wanted.is_empty() {
            return Ok(outcome(&wanted, OutcomeKind::Unchanged, Vec::new(), progress));
        }
        let accepted = &wanted.accepted;
        if !wanted.plan.files.is_empty() || wanted.boot_link || !wanted.unread.is_empty() {
            let step = progress.step("install", service.as_str()).await;
            if !wanted.unread.is_empty() {
                self.owe_reload();
            }
            let boots = Boots::As(&accepted.deployment);
            self.install(&accepted.set, wanted.disk.as_ref(), boots).await?;
            step.done().await;
        }
        if !accepted.deployment.active {
            self.stop_all(&accepted.deployment, progress).await?;
            return Ok(outcome(&wanted, OutcomeKind::Done, Vec::new(), progress));
        }
        let starts: BTreeSet<ComponentName> =
            wanted.plan.effects.iter().map(|effect| effect.component.clone()).collect();
        let failures = self.start_in_order(&accepted.deployment, &starts, progress, None).await?;
        // The target would start what is to be left alone.
        if failures.is_empty() && left.is_empty() {
            self.reach_target(&accepted.deployment).await?;
        }
        let kind = if failures.is_empty() { OutcomeKind::Done } else { OutcomeKind::Failed };
        Ok(outcome(&wanted, kind, failures, progress))
    }
}

fn outcome(
    wanted: &Reconciliation,
    kind: OutcomeKind,
    failures: Vec<Failure>,
    progress: &Progress,
) -> Outcome {
    let message = match kind {
        OutcomeKind::Done => wanted.message(),
        OutcomeKind::Unchanged => "everything is as it was deployed".to_owned(),
        OutcomeKind::RolledBack | OutcomeKind::Failed | OutcomeKind::Unsettled => {
            "not every component is ready".to_owned()
        }
    };
    Outcome {
        service: wanted.accepted.row.name.clone(),
        kind,
        generation: wanted.accepted.row.generation,
        message,
        failures,
        changed: wanted.plan.effects.iter().map(|e| e.component.to_string()).collect(),
        elapsed: progress.elapsed(),
    }
}

/// Adds to components all that depends on them: to start those would start
/// these.
fn with_dependants(
    components: &BTreeSet<ComponentName>,
    deployment: &Deployment,
) -> BTreeSet<ComponentName> {
    let mut all = components.clone();
    for container in deployment.layers().iter().flatten().filter_map(|c| deployment.container(c)) {
        if container.spec.depends_on.iter().any(|other| all.contains(other)) {
            all.insert(container.spec.name.clone());
        }
    }
    all
}
