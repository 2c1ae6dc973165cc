//! Looking at units: what has happened since the last look.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::drift::DriftKind;
use super::event::Event;
use super::flap::Verdict;
use super::kind::EventKind;
use super::seen::{self, ComponentState, Seen, Turn};
use super::watch::Monitor;
use crate::agent::engine::Engine;
use crate::agent::engine::status::{component_state, how_it_ended};
use crate::definition::service::Restart;
use crate::names::{ComponentName, ServiceName, UnitName};
use crate::podman::exits;
use crate::registry::{ObservationRow, RegistryError};
use crate::systemd::{ListedUnit, SystemdError, UnitState};
use crate::telemetry::Chain;

/// A unit that is watched.
#[derive(Debug)]
pub struct Tracked {
    /// Its service.
    pub service: ServiceName,
    /// Its component.
    pub component: ComponentName,
    /// Whether it is to run.
    pub desired: bool,
    /// How it was when it last was up or down.
    pub settled: Seen,
    /// The row of systemd's list then, for the sweep.
    pub listed: Option<ListedUnit>,
    /// When systemd starts it again.
    pub restart: Restart,
    /// The number of the container that runs.
    pub container: Option<String>,
}

impl Tracked {
    /// Makes a unit that nobody has seen yet.
    fn new(service: ServiceName, component: ComponentName) -> Self {
        Self {
            service,
            component,
            desired: false,
            settled: Seen::NEVER,
            listed: None,
            restart: Restart::Always,
            container: None,
        }
    }
}

impl Monitor {
    /// Takes up what the agent before has seen, and says that this one is
    /// here.
    pub(super) async fn remember(&mut self) -> Result<(), RegistryError> {
        let rows = self.tools.registry.observations().await?;
        let boot = self.tools.engine.boot_id().to_owned();
        let node = rows.iter().find(|row| row.service.is_empty());
        let booted = node.is_some_and(|node| node.invocation != boot);
        let first = node.is_none();
        let now = self.now();
        for row in rows.iter().filter(|row| !row.service.is_empty()) {
            let (Ok(service), Ok(component)) = (row.service.parse(), row.component.parse()) else {
                continue;
            };
            let unit = crate::names::ContainerName::new(&service, &component).unit();
            let state = row.state.parse().unwrap_or(ComponentState::Missing);
            let settled = if booted {
                Seen { state: ComponentState::Stopped, ..Seen::NEVER }
            } else {
                let invocation = row.invocation.clone();
                Seen { state, invocation, restarts: row.restarts, ended: String::new() }
            };
            if row.flapping {
                self.flaps.resume(unit.clone(), now);
            }
            let tracked = Tracked { settled, ..Tracked::new(service, component) };
            self.tracked.insert(unit, tracked);
        }
        self.known.load(self.tools.registry.open_events("drift", "drift_settled").await?);
        self.failing = self.failing_schedules().await?;
        let row = ObservationRow { invocation: boot, ..ObservationRow::default() };
        self.tools.registry.save_observations(vec![row]).await?;
        if booted || first {
            let booted = Event::of_node(EventKind::Booted, "the node has booted");
            self.tools.events.record(booted).await;
        }
        let version = concat!("mcp-agent ", env!("CARGO_PKG_VERSION"), " watches");
        self.tools.events.record(Event::of_node(EventKind::AgentStarted, version)).await;
        Ok(())
    }

    /// Follows the units of every service that is or comes; returns them.
    pub(super) fn follow(&mut self) -> BTreeSet<UnitName> {
        let mut units = BTreeSet::new();
        for deployment in self.tools.engine.deployments() {
            for container in &deployment.containers {
                let unit = container.name.unit();
                let tracked = self.tracked.entry(unit.clone()).or_insert_with(|| {
                    Tracked::new(deployment.service.clone(), container.spec.name.clone())
                });
                tracked.desired = deployment.active;
                tracked.restart = container.spec.restart;
                units.insert(unit);
            }
        }
        // A component that left goes when it is down: its end is still told.
        let gone: Vec<UnitName> =
            self.tracked.keys().filter(|unit| !units.contains(*unit)).cloned().collect();
        for unit in gone {
            if self
                .tracked
                .get(&unit)
                .is_some_and(|t| self.tools.engine.lately(&t.service).is_some())
            {
                units.insert(unit);
                continue;
            }
            self.flaps.forget(&unit);
            if let Some(tracked) = self.tracked.remove(&unit) {
                let (service, component) =
                    (tracked.service.to_string(), tracked.component.to_string());
                let registry = self.tools.registry.clone();
                tokio::spawn(async move {
                    if let Err(error) = registry.forget_observation(service, component).await {
                        tracing::warn!(error = %Chain(&error), "a component that is gone is still remembered");
                    }
                });
            }
        }
        units.extend(self.follow_schedules());
        units
    }

    /// Looks at every unit.
    pub(super) async fn look_at_all(&mut self) -> Result<(), SystemdError> {
        let units = self.tracked.keys().cloned().collect();
        self.look(&units).await?;
        let units = self.scheduled.keys().cloned().collect();
        self.look_at_schedules(&units).await
    }

    /// Looks at some units, and tells what they have done.
    pub(super) async fn look(&mut self, units: &BTreeSet<UnitName>) -> Result<(), SystemdError> {
        let units: Vec<UnitName> =
            units.iter().filter(|unit| self.tracked.contains_key(*unit)).cloned().collect();
        let states = self.tools.engine.manager().unit_states(&units).await?;
        let mut rows = Vec::new();
        for state in states {
            rows.extend(self.look_at(&state).await);
        }
        self.keep(rows).await;
        Ok(())
    }

    /// Keeps what was seen for the next agent.
    pub(super) async fn keep(&self, rows: Vec<ObservationRow>) {
        if !rows.is_empty()
            && let Err(error) = self.tools.registry.save_observations(rows).await
        {
            tracing::error!(error = %Chain(&error), "what was seen is not kept");
        }
    }

    async fn look_at(&mut self, state: &UnitState) -> Option<ObservationRow> {
        let now = Seen {
            state: component_state(state),
            invocation: state.invocation_id.clone().unwrap_or_default(),
            restarts: state.restarts,
            ended: how_it_ended(state),
        };
        let tracked = self.tracked.get_mut(&state.name)?;
        tracked.listed = Some(listed(state));
        if tracked.settled.invocation != now.invocation {
            tracked.container = None;
        }
        if tracked.container.is_none() && now.state == ComponentState::Running {
            tracked.container = state.main_pid.and_then(exits::container);
        }
        self.saw(state, now).await
    }

    /// Takes a unit as it is, and tells what it has done; returns what is to
    /// be kept.
    pub(super) async fn saw(&mut self, state: &UnitState, now: Seen) -> Option<ObservationRow> {
        let tracked = self.tracked.get_mut(&state.name)?;
        let before = tracked.settled.clone();
        if before == now || !seen::is_settled(now.state) || now.is_behind(&before) {
            return None;
        }
        tracked.settled = now.clone();
        let (service, component) = (tracked.service.clone(), tracked.component.clone());
        self.due.service(service.clone());
        // Of the time without an agent one line is enough.
        let between = seen::unseen_end(&before, &now).filter(|_| self.catching_up.is_none());
        let looks: Vec<&Seen> = [&before].into_iter().chain(&between).chain([&now]).collect();
        for (before, now) in looks.iter().zip(looks.iter().skip(1)) {
            if let Some(turn) = seen::turn(before, now) {
                self.turned(state, before, now, turn).await;
            }
        }
        Some(ObservationRow {
            service: service.to_string(),
            component: component.to_string(),
            state: now.state.to_string(),
            invocation: now.invocation,
            restarts: now.restarts,
            flapping: self.flaps.is_flapping(&state.name),
        })
    }

    /// Tells what a unit has done, unless it does so all the time.
    async fn turned(&mut self, state: &UnitState, before: &Seen, now: &Seen, turn: Turn) {
        let unit = &state.name;
        let Some(tracked) = self.tracked.get(unit) else { return };
        let (service, component) = (tracked.service.clone(), tracked.component.clone());
        // What systemd has not seen yet happens now.
        let seen = component_state(state) == now.state;
        let since = if seen { state.moved.or(state.since) } else { Some(SystemTime::now()) };
        let operation = self.tools.engine.at_it(&service, since);
        if turn.is_cut_off(now) && operation.is_some_and(Engine::ends) {
            // That it is stopped is told next.
            return;
        }
        let verdict = if let Some(operation) = operation {
            // One more crash while the operation is at work is not its doing.
            let changes = turn.kind != EventKind::Failed;
            if let Some(transitions) = changes.then(|| self.flaps.begin_anew(unit)).flatten() {
                self.flapping_ended(unit, transitions, format!("mcp {operation} changed it")).await;
            }
            Verdict::Tell
        } else if self.catching_up.is_some() {
            Verdict::Tell
        } else {
            self.flaps.turn(unit, self.now(), self.settings().limits())
        };
        let why = match operation {
            Some(operation) if turn.kind == EventKind::Failed => format!("during mcp {operation}"),
            Some(operation) => format!("by mcp {operation}"),
            None => self.catching_up.unwrap_or_default().to_owned(),
        };
        let parts = [turn.reason.clone(), why];
        let reason: Vec<&str> =
            parts.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        let mut event = Event {
            component: component.to_string(),
            unit: unit.to_string(),
            desired: if tracked.desired { "running" } else { "stopped" },
            previous: before.state.as_str(),
            observed: now.state.as_str(),
            ..Event::of_service(turn.kind, service.as_str(), reason.join("; "))
        };
        match verdict {
            Verdict::Count => return,
            Verdict::Tell => {}
            Verdict::Begin(transitions) => {
                let window = self.settings().flap_window;
                event.kind = EventKind::Flapping;
                event.count = transitions;
                let last =
                    if event.reason.is_empty() { turn.kind.to_string() } else { event.reason };
                event.reason = format!(
                    "it came and went {transitions} times within {window}, the last time: {last}; what it does is counted from here on"
                );
            }
        }
        if matches!(event.kind, EventKind::Failed | EventKind::Flapping) {
            event.mend = format!("mcp logs {service}/{component}");
        }
        self.tools.events.record(event).await;
    }

    /// Tells of units that have stopped flapping.
    pub(super) async fn end_flapping(&mut self) {
        for (unit, transitions) in self.flaps.quiet(self.now(), self.settings().limits()) {
            let Some(tracked) = self.tracked.get(&unit) else { continue };
            let (state, window) = (tracked.settled.state, self.settings().flap_window);
            self.flapping_ended(&unit, transitions, format!("it has been {state} for {window}"))
                .await;
        }
    }

    async fn flapping_ended(&self, unit: &UnitName, transitions: u32, why: String) {
        let Some(tracked) = self.tracked.get(unit) else { return };
        let event = Event {
            component: tracked.component.to_string(),
            unit: unit.to_string(),
            desired: if tracked.desired { "running" } else { "stopped" },
            observed: tracked.settled.state.as_str(),
            count: transitions,
            ..Event::of_service(
                EventKind::FlappingEnded,
                tracked.service.as_str(),
                format!("{why}, after {transitions} transitions"),
            )
        };
        self.tools.events.record(event).await;
    }

    /// Looks at what signals may have missed: the list of units, and at times
    /// the files and podman's list of containers.
    pub(super) async fn sweep(&mut self, with_files: bool) -> Result<(), SystemdError> {
        let units: Vec<UnitName> = self.tracked.keys().cloned().collect();
        let rows = self.tools.engine.manager().listed(&units).await?;
        let differs = |row: &ListedUnit| {
            self.tracked.get(&row.name).is_some_and(|t| t.listed.as_ref() != Some(row))
        };
        let changed: BTreeSet<UnitName> =
            rows.into_iter().filter(differs).map(|row| row.name).collect();
        if !changed.is_empty() {
            self.look(&changed).await?;
        }
        if with_files {
            for service in self.stamps_changed().await {
                self.due.service(service);
            }
            self.strangers_due();
        }
        Ok(())
    }

    /// Tells whether a component was stopped by a person, itself or with what
    /// it requires, or by its check.
    pub(super) fn is_stopped_by_hand(&self, service: &ServiceName, component: &str) -> bool {
        use DriftKind::{StoppedByCheck, StoppedByHand, StoppedWith};
        let stays = |kind| matches!(kind, StoppedByHand | StoppedWith | StoppedByCheck);
        self.known.of(service).any(|(of, kind)| of == component && stays(kind))
    }
}

fn listed(state: &UnitState) -> ListedUnit {
    ListedUnit {
        name: state.name.clone(),
        load: state.load.clone(),
        active: state.active.clone(),
        sub: state.sub.clone(),
        job: state.job.clone(),
    }
}
