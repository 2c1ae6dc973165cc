//! Domain values to wire values.

use std::net::IpAddr;
use std::time::Duration;

use crate::agent::engine::history::{Difference, Past};
use crate::agent::engine::one_off::OneOffStatus;
use crate::agent::engine::reconcile::Reconciliation;
use crate::agent::engine::status::{ComponentStatus, ServiceStatus};
use crate::agent::engine::{Accepted, Prepared};
use crate::agent::finding::{Finding, Level};
use crate::agent::monitor::drift::Drift;
use crate::agent::plan::{Action, Effect, FileChange, FileChangeKind, ImageChange};
use crate::agent::progress::{Event, Failure, Outcome, OutcomeKind, StepState};
use crate::agent::rescue::{self, Rescue};
use crate::definition::service::Protocol;
use crate::deployment::{Container, Deployment, Image, Images, Publish};
use crate::names::ScheduleName;
use crate::quadlet::{Place, proof};
use crate::registry::{EventRow, UndoneRow};
use crate::rpc::agent_v1 as pb;
use crate::systemd::TimerState;
use crate::systemd::since_epoch_ms;

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Finding> for pb::Finding {
    fn from(finding: Finding) -> Self {
        let Finding { check, subject, level, message, mend } = finding;
        Self { check: check.to_owned(), subject, level: self::level(level).into(), message, mend }
    }
}

impl From<Drift> for pb::Drift {
    fn from(drift: Drift) -> Self {
        let Drift { kind, subject, reason, mend } = drift;
        Self { kind: kind.as_str().to_owned(), subject, reason, mend }
    }
}

impl From<EventRow> for pb::Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            at_ms: row.at_ms,
            kind: row.kind,
            service: row.service,
            component: row.component,
            unit: row.unit,
            desired: row.desired,
            previous: row.previous,
            observed: row.observed,
            drift: row.drift,
            subject: row.subject,
            reason: row.reason,
            mend: row.mend,
            count: row.count,
        }
    }
}

/// Converts what a reconcile would do.
pub(super) fn reconciliation(wanted: &Reconciliation) -> pb::PlanResponse {
    let service = wanted.accepted.row.name.as_str();
    let generation = wanted.accepted.row.generation.0;
    let mut files: Vec<pb::FileChange> =
        wanted.plan.files.iter().map(|f| file(f, service)).collect();
    if wanted.boot_link {
        let kind = if wanted.accepted.set.wanted {
            pb::ChangeKind::Added
        } else {
            pb::ChangeKind::Removed
        };
        files.push(pb::FileChange {
            path: format!("systemd/user/mcp.target.wants/{service}.target"),
            kind: kind.into(),
            diff: String::new(),
        });
    }
    let reload = |unit: &crate::names::UnitName| pb::UnitEffect {
        unit: unit.to_string(),
        action: pb::UnitAction::Reload.into(),
        reason: "systemd has not read its files as they are".to_owned(),
    };
    let mut effects: Vec<pb::UnitEffect> = wanted.unread.iter().map(reload).collect();
    effects.extend(wanted.plan.effects.iter().map(effect));
    pb::PlanResponse {
        service: service.to_owned(),
        generation,
        current: generation,
        files,
        commands: Vec::new(),
        effects,
        warnings: Vec::new(),
        images: Vec::new(),
    }
}

fn effect(effect: &Effect) -> pb::UnitEffect {
    pb::UnitEffect {
        unit: effect.container.unit().to_string(),
        action: match effect.action {
            Action::Start => pb::UnitAction::Start,
            Action::Restart => pb::UnitAction::Restart,
            Action::Stop => pb::UnitAction::Stop,
            Action::Switch => pb::UnitAction::Switch,
        }
        .into(),
        reason: effect.reason.clone(),
    }
}

/// Converts an event of an operation.
pub(super) fn event(event: Event) -> pb::Progress {
    let event = match event {
        Event::Step { name, subject, state, detail, elapsed } => {
            pb::progress::Event::Step(pb::Step {
                name: name.to_owned(),
                subject,
                state: match state {
                    StepState::Started => pb::StepState::Started,
                    StepState::Done => pb::StepState::Done,
                    StepState::Failed => pb::StepState::Failed,
                    StepState::Skipped => pb::StepState::Skipped,
                }
                .into(),
                detail,
                elapsed_ms: milliseconds(elapsed),
            })
        }
        Event::Warning(text) => pb::progress::Event::Warning(text),
        Event::Outcome(outcome) => pb::progress::Event::Outcome(self::outcome(outcome)),
    };
    pb::Progress { event: Some(event) }
}

/// Converts the plan of a recovery.
pub(super) fn rescue_plan(plan: Rescue) -> pb::RecoveryPlan {
    let step = |step: rescue::Step| pb::RecoveryStep {
        kind: step.kind().to_owned(),
        service: step.service().to_string(),
        message: step.to_string(),
    };
    pb::RecoveryPlan {
        steps: plan.steps.into_iter().map(step).collect(),
        left: plan.left.into_iter().map(pb::Finding::from).collect(),
    }
}

/// Converts the end of a recovery.
pub(super) fn rescue_end(
    kind: OutcomeKind,
    message: String,
    failures: Vec<Failure>,
    elapsed: Duration,
) -> pb::RecoveryEnd {
    pb::RecoveryEnd {
        kind: self::kind(kind).into(),
        message,
        failures: failures.into_iter().map(failure).collect(),
        elapsed_ms: milliseconds(elapsed),
    }
}

fn kind(kind: OutcomeKind) -> pb::OutcomeKind {
    match kind {
        OutcomeKind::Done => pb::OutcomeKind::Done,
        OutcomeKind::Unchanged => pb::OutcomeKind::Unchanged,
        OutcomeKind::RolledBack => pb::OutcomeKind::RolledBack,
        OutcomeKind::Failed | OutcomeKind::Unsettled => pb::OutcomeKind::Failed,
    }
}

fn outcome(outcome: Outcome) -> pb::Outcome {
    pb::Outcome {
        service: outcome.service.to_string(),
        kind: kind(outcome.kind).into(),
        generation: outcome.generation.0,
        message: outcome.message,
        failures: outcome.failures.into_iter().map(failure).collect(),
        changed: outcome.changed,
        elapsed_ms: milliseconds(outcome.elapsed),
    }
}

fn failure(failure: Failure) -> pb::Failure {
    pb::Failure {
        component: failure.component,
        unit: failure.unit,
        result: failure.result,
        explanation: failure.explanation,
        journal: failure.journal,
    }
}

/// Converts a plan; `before` are the generator's texts of the units in force.
pub(super) fn plan(
    prepared: &Prepared,
    before: &std::collections::BTreeMap<String, String>,
) -> pb::PlanResponse {
    let none = std::collections::BTreeMap::new();
    let after = prepared.report.as_ref().map_or(&none, |r| &r.units);
    let shown = |units: &std::collections::BTreeMap<String, String>, unit: &str| {
        units
            .get(unit)
            .and_then(|text| proof::arguments(text))
            .map(|a| a.shown())
            .unwrap_or_default()
    };
    let old = prepared.old.iter().flat_map(|o| &o.deployment.containers);
    let mut units: Vec<String> =
        old.chain(&prepared.deployment.containers).map(|c| c.name.unit().to_string()).collect();
    units.sort();
    units.dedup();
    let commands = units
        .into_iter()
        .map(|unit| pb::CommandChange {
            before: shown(before, &unit),
            after: shown(after, &unit),
            unit,
        })
        .filter(|c| c.before != c.after && prepared.report.is_some())
        .collect();
    pb::PlanResponse {
        service: prepared.deployment.service.to_string(),
        generation: if prepared.plan.is_empty() {
            prepared.old.as_ref().map_or(0, |o| o.row.generation.0)
        } else {
            prepared.deployment.generation.0
        },
        current: prepared.old.as_ref().map_or(0, |o| o.row.generation.0),
        files: prepared
            .plan
            .files
            .iter()
            .map(|f| file(f, prepared.deployment.service.as_str()))
            .collect(),
        commands,
        effects: prepared.plan.effects.iter().map(effect).collect(),
        warnings: prepared.warnings(),
        images: prepared.plan.images.iter().map(image_change).collect(),
    }
}

fn image_change(change: &ImageChange) -> pb::ImageChange {
    pb::ImageChange {
        component: change.component.to_string(),
        image: change.image.to_string(),
        before: change.before.to_string(),
        after: change.after.to_string(),
    }
}

fn file(change: &FileChange, service: &str) -> pb::FileChange {
    let path = match change.place {
        Place::Quadlet => format!("containers/systemd/mcp/{service}/{}", change.name),
        Place::Systemd => format!("systemd/user/{}", change.name),
    };
    let diff = similar::TextDiff::from_lines(&change.before, &change.after);
    let (a, b) = (format!("a/{path}"), format!("b/{path}"));
    pb::FileChange {
        kind: match change.kind {
            FileChangeKind::Added => pb::ChangeKind::Added,
            FileChangeKind::Changed => pb::ChangeKind::Changed,
            FileChangeKind::Removed => pb::ChangeKind::Removed,
        }
        .into(),
        diff: diff.unified_diff().context_radius(3).header(&a, &b).to_string(),
        path,
    }
}

/// Converts what the registry holds of a service.
pub(super) fn registered(accepted: &Accepted) -> pb::RegisteredService {
    pb::RegisteredService {
        name: accepted.row.name.to_string(),
        active: accepted.row.active,
        generation: accepted.row.generation.0,
        deployed_at_ms: accepted.row.deployed_at_ms,
        deployed_by: accepted.row.deployed_by.clone(),
        comment: accepted.deployment.comment.clone().unwrap_or_default(),
        components: registered_components(&accepted.deployment, &accepted.images),
    }
}

fn registered_components(deployment: &Deployment, images: &Images) -> Vec<pb::RegisteredComponent> {
    let lease = |(route, port): &(crate::names::RouteName, u16)| pb::PortLease {
        route: route.to_string(),
        port: u32::from(*port),
    };
    let component = |c: &Container| pb::RegisteredComponent {
        name: c.spec.name.to_string(),
        image: c.image.to_string(),
        ports: c.leased.iter().map(lease).collect(),
        image_id: image_id(images.get(&c.spec.name)),
        image_digest: image_digest(images.get(&c.spec.name)),
    };
    deployment.containers.iter().map(component).collect()
}

fn image_id(image: Option<&Image>) -> String {
    image.map(|i| i.id.to_string()).unwrap_or_default()
}

fn image_digest(image: Option<&Image>) -> String {
    image.and_then(|i| i.digest.clone()).unwrap_or_default()
}

/// Converts a generation of the past.
pub(super) fn past(past: Past) -> pb::GenerationInfo {
    pb::GenerationInfo {
        number: past.summary.number.0,
        in_force: past.in_force,
        created_at_ms: past.summary.created_at_ms,
        created_by: past.summary.created_by,
        file_name: past.summary.file_name,
        components: registered_components(&past.deployment, &past.images),
    }
}

/// Converts the difference of two generations.
pub(super) fn difference(found: &Difference, service: &str) -> pb::DiffResponse {
    let (before, after) = &found.definitions;
    let heads = (format!("generation {}", found.from), format!("generation {}", found.to));
    let diff = similar::TextDiff::from_lines(before, after);
    pb::DiffResponse {
        from: found.from.0,
        to: found.to.0,
        definition: diff.unified_diff().context_radius(3).header(&heads.0, &heads.1).to_string(),
        files: found.files.iter().map(|f| file(f, service)).collect(),
    }
}

/// Converts what is seen of a service.
pub(super) fn service_status(status: ServiceStatus) -> pb::ServiceStatus {
    pb::ServiceStatus {
        name: status.accepted.row.name.to_string(),
        active: status.accepted.row.active,
        generation: status.accepted.row.generation.0,
        operation: status.operation.map_or("", |operation| operation.word).to_owned(),
        drifts: status.drift.into_iter().map(pb::Drift::from).collect(),
        components: status
            .components
            .into_iter()
            .map(|c| component_status(c, &status.accepted.images))
            .collect(),
    }
}

/// Converts an operation that was cut off and undone.
pub(super) fn undone(undone: UndoneRow) -> pb::Undone {
    pb::Undone {
        service: undone.service.to_string(),
        generation: undone.to.0,
        by: undone.by,
        at_ms: undone.at_ms,
        reason: undone.reason,
    }
}

fn component_status(status: ComponentStatus, images: &Images) -> pb::ComponentStatus {
    let c = &status.container;
    let image = images.get(&c.spec.name);
    pb::ComponentStatus {
        name: c.spec.name.to_string(),
        unit: c.name.unit().to_string(),
        image: c.image.to_string(),
        version: c.image.version().to_owned(),
        desired: if status.desired { "running" } else { "stopped" }.to_owned(),
        state: status.state.as_str().to_owned(),
        health: status.condition.word.to_owned(),
        result: status.result.unwrap_or_default(),
        since_ms: status.since.map_or(0, since_epoch_ms),
        restarts: status.restarts,
        ports: ports(c),
        sub_state: status.sub,
        drift: status.drift.iter().map(|d| format!("{}; {}", d.reason, d.mend)).collect(),
        drifts: status.drift.into_iter().map(pb::Drift::from).collect(),
        health_reason: status.condition.reason,
        health_action: status.condition.action,
        image_id: image_id(image),
        image_digest: image_digest(image),
        schedules: status
            .schedules
            .iter()
            .map(|(name, state)| schedule_status(c, name, state))
            .collect(),
        one_offs: status.one_offs.iter().map(one_off_status).collect(),
    }
}

fn one_off_status(one_off: &OneOffStatus) -> pb::OneOffStatus {
    let since_ms = one_off.since.map_or(0, since_epoch_ms);
    pb::OneOffStatus { unit: one_off.unit.to_string(), since_ms }
}

fn schedule_status(c: &Container, name: &ScheduleName, state: &TimerState) -> pb::ScheduleStatus {
    // One that somebody began by hand has no time at which its timer did.
    let ran = state.last.is_some() || state.result != "success";
    pb::ScheduleStatus {
        name: name.to_string(),
        unit: c.name.schedule_unit(name).to_string(),
        next_ms: state.next.map_or(0, since_epoch_ms),
        last_ms: state.last.map_or(0, since_epoch_ms),
        running: state.running,
        result: if ran && !state.running { state.result.clone() } else { String::new() },
        status: state.status,
    }
}

/// The ports of a container as `address:host->container/protocol`.
fn ports(container: &Container) -> Vec<String> {
    container.reachable().iter().map(port).collect()
}

fn port(port: &Publish) -> String {
    let address = match port.address {
        None => "*".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
    };
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{address}:{}->{}/{protocol}", port.host, port.container)
}

/// Returns a level for the wire.
pub(super) fn level(level: Level) -> pb::FindingLevel {
    match level {
        Level::Fine => pb::FindingLevel::Fine,
        Level::Warning => pb::FindingLevel::Warning,
        Level::Failed => pb::FindingLevel::Failed,
    }
}
