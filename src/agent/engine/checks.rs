//! What the checks of running components say, and keeping their units right.

use std::collections::BTreeSet;

use super::starting::MARGIN;
use super::status::ComponentState;
use super::{Accepted, Engine, EngineError};
use crate::agent::check::memory::Memory;
use crate::agent::check::record::{Done, OfRun, Record};
use crate::agent::check::run::uptime_s;
use crate::definition::service::OnFailure;
use crate::deployment::{Container, Readiness};
use crate::names::{ServiceName, UnitName};
use crate::podman::{Checks, Health, health};
use crate::systemd::{ActiveState, JobMode, LoadState, SystemdError, UnitState};

/// What is known of a component's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// In one word: podman's, or `ready`, or `none`.
    pub word: &'static str,
    /// Why it is unhealthy, or was stopped for being so.
    pub reason: String,
    /// What was done about that, and what follows.
    pub action: String,
    /// How often its check had it restarted.
    pub restarts: u32,
}

/// What is known of one component, before it is put into words.
struct Seen<'a> {
    service: &'a ServiceName,
    container: &'a Container,
    state: ComponentState,
    unit: &'a UnitState,
    record: Record,
    /// Whether its timer runs.
    watched: bool,
}

impl Engine {
    /// Returns the timers among those of the generations in force that run.
    pub(super) async fn running_timers(
        &self,
        accepted: &[std::sync::Arc<Accepted>],
    ) -> Result<BTreeSet<UnitName>, EngineError> {
        let timers: Vec<UnitName> = accepted
            .iter()
            .flat_map(|a| &a.deployment.containers)
            .filter(|c| c.is_checked())
            .map(|c| c.name.check_timer())
            .collect();
        let listed = self.manager().listed(&timers).await?;
        Ok(listed.into_iter().filter(|t| t.active == ActiveState::Active).map(|t| t.name).collect())
    }

    /// Returns what is known of a component's health.
    pub(super) fn condition(
        &self,
        service: &ServiceName,
        container: &Container,
        (state, unit): (ComponentState, &UnitState),
        timers: &BTreeSet<UnitName>,
    ) -> Condition {
        let record = if container.is_checked() {
            Memory::new(&self.tools().runtime).load(&unit.name)
        } else {
            Record::default()
        };
        let watched = timers.contains(&container.name.check_timer());
        let seen = Seen { service, container, state, unit, record, watched };
        let podmans = || match seen.unit.main_pid {
            Some(pid) => health::read(pid),
            None => Checks { health: Health::Unknown, reason: String::new() },
        };
        condition(&seen, podmans)
    }

    /// Forgets what checks found of containers that are started anew.
    pub(super) async fn forget_checks(
        &self,
        containers: impl Iterator<Item = &Container>,
    ) -> Result<(), SystemdError> {
        let memory = Memory::new(&self.tools().runtime);
        for container in containers.filter(|c| c.is_checked()) {
            if let Err(error) = memory.forget(&container.name) {
                let error = crate::telemetry::Chain(&error);
                tracing::warn!(container = %container.name, %error, "an old verdict stays");
            }
            self.manager().reset_failed(&container.name.check_unit()).await?;
        }
        Ok(())
    }

    /// Ends checks and schedules whose files are gone, after systemd has been
    /// reloaded. Those that are there are started by the containers themselves.
    pub(super) async fn drop_gone_checks(&self) -> Result<(), SystemdError> {
        let listed = self
            .manager()
            .list_units(&[
                "*-check.timer",
                "*-check.service",
                "*-schedule.timer",
                "*-schedule.service",
            ])
            .await?;
        let deployments = self.deployments();
        let ours: BTreeSet<UnitName> = deployments
            .iter()
            .flat_map(|d| &d.containers)
            .flat_map(|c| [c.name.check_timer(), c.name.check_unit()])
            .collect();
        let scheduled = |unit: &UnitName| {
            deployments.iter().flat_map(|d| &d.containers).any(|c| c.name.has_schedule(unit))
        };
        for unit in listed.into_iter().filter(|unit| unit.load == LoadState::NotFound) {
            if (ours.contains(&unit.name) || scheduled(&unit.name))
                && unit.active != ActiveState::Failed
            {
                match self.manager().stop(&unit.name, JobMode::IgnoreDependencies, MARGIN).await {
                    Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            // A timer fails when what it starts is gone.
            self.manager().reset_failed(&unit.name).await?;
        }
        Ok(())
    }
}

fn condition(seen: &Seen<'_>, podmans: impl FnOnce() -> Checks) -> Condition {
    let restarts = seen.record.restarts;
    let found = seen.record.unhealthy.as_ref();
    let run = seen.unit.invocation_id.as_deref().unwrap_or_default();
    let bad = |reason: &str, done: Option<Done>| Condition {
        word: "unhealthy",
        reason: reason.to_owned(),
        action: action(seen, done),
        restarts,
    };
    let good = |word| Condition { word, restarts, ..Condition::default() };
    match (&seen.container.readiness, seen.state) {
        (Readiness::Command { .. }, ComponentState::Running) => {
            let checks = podmans();
            if checks.health != Health::Unhealthy {
                return good(checks.health.as_str());
            }
            match seen.record.of_run(run) {
                OfRun::Unhealthy(found) => bad(&checks.reason, Some(found.done)),
                OfRun::Healthy => bad(&checks.reason, None),
            }
        }
        (Readiness::Probe { .. }, ComponentState::Running) => match seen.record.of_run(run) {
            OfRun::Unhealthy(found) => bad(&found.reason, Some(found.done)),
            // Its unit is active only once the probe has succeeded; what has
            // no timer was not asked since.
            OfRun::Healthy => good(if seen.watched { "healthy" } else { "ready" }),
        },
        (Readiness::Command { .. } | Readiness::Probe { .. }, ComponentState::Starting) => {
            good("starting")
        }
        (_, ComponentState::Stopped | ComponentState::Failed)
            if found.is_some_and(|f| f.done == Done::Stopped) =>
        {
            Condition {
                word: "none",
                ..bad(found.map_or("", |f| f.reason.as_str()), Some(Done::Stopped))
            }
        }
        _ => good("none"),
    }
}

/// Says what was done about an unhealthy component, and what follows.
fn action(seen: &Seen<'_>, done: Option<Done>) -> String {
    let service = seen.service;
    match (done, seen.container.on_failure()) {
        (Some(Done::Restarted), _) => "its check has it restarted".to_owned(),
        (Some(Done::Waits(due)), _) => {
            let left = due.saturating_sub(uptime_s().unwrap_or_default());
            let times = seen.record.restarts;
            format!("its check restarted it {times} times; the next restart is due in {left} s")
        }
        (Some(Done::Stopped), _) => {
            format!("its check stopped it; it is down until it is started: mcp start {service}")
        }
        (Some(Done::Nothing), _) | (None, OnFailure::None) => {
            format!(
                "it is left as it is (on_failure = \"none\"); mcp restart {service}/{} restarts it",
                seen.container.spec.name
            )
        }
        (None, OnFailure::Restart) => "its check is about to have it restarted".to_owned(),
        (None, OnFailure::Stop) => "its check is about to stop it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::check::record::Miss;
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;

    fn container(health: &str) -> Container {
        let text = format!(
            "name = \"web\"\n[[components]]\nname = \"api\"\nimage = \"i:1\"\nports = [\"80:80\"]\n{health}\n"
        );
        let service = crate::definition::load(&text).unwrap();
        let facts = NodeFacts::default();
        let deployment = resolve(&service, &facts, &Leases::new(), None, Generation(1)).unwrap();
        deployment.containers.into_iter().next().unwrap()
    }

    fn unit(run: &str) -> UnitState {
        UnitState {
            name: UnitName::from_systemd("web-api.service"),
            load: LoadState::Loaded,
            active: ActiveState::Active,
            sub: "running".to_owned(),
            job: None,
            since: None,
            moved: None,
            invocation_id: Some(run.to_owned()),
            restarts: 0,
            main_pid: None,
            ended: None,
            by_itself: false,
        }
    }

    /// The condition of a component whose run `a` was found unhealthy.
    fn shown(health: &str, (state, run): (ComponentState, &str), podman: Health) -> String {
        let container = container(health);
        let miss = Miss {
            invocation: "a".to_owned(),
            reason: "no answer".to_owned(),
            at_ms: 1,
            uptime_s: 0,
        };
        let record = if container.is_checked() {
            Record::default().failed(miss, container.on_failure())
        } else {
            Record::default()
        };
        let (service, unit) = ("web".parse().unwrap(), unit(run));
        let (container, unit) = (&container, &unit);
        let seen =
            Seen { service: &service, container, state, unit, record, watched: run != "unwatched" };
        let found = condition(&seen, || Checks { health: podman, reason: "exit 7".to_owned() });
        format!("{}|{}|{}|{}", found.word, found.reason, found.action, found.restarts)
    }

    #[test]
    fn what_a_probe_found_counts_for_the_run_that_it_asked() {
        use ComponentState::{Running, Starting, Stopped};
        let tcp = |more: &str| format!("health = {{ tcp = 80{more} }}");
        let shown = |more: &str, state, run| shown(&tcp(more), (state, run), Health::Unknown);
        assert_eq!(
            shown("", Running, "a"),
            "unhealthy|no answer|it is left as it is (on_failure = \"none\"); mcp restart web/api restarts it|0"
        );
        assert_eq!(shown("", Running, "b"), "healthy|||0");
        assert_eq!(shown("", Running, "unwatched"), "ready|||0");
        assert_eq!(shown("", Starting, "a"), "starting|||0");
        assert_eq!(shown("", Stopped, "a"), "none|||0");
        let restart = ", on_failure = \"restart\"";
        assert_eq!(
            shown(restart, Running, "a"),
            "unhealthy|no answer|its check has it restarted|1"
        );
        assert_eq!(shown(restart, Running, "b"), "healthy|||1");
        let stop = ", on_failure = \"stop\"";
        assert_eq!(
            shown(stop, Stopped, "a"),
            "none|no answer|its check stopped it; it is down until it is started: mcp start web|0"
        );
    }

    #[test]
    fn podmans_verdict_is_shown_with_what_follows() {
        let shown = |more: &str, podman| {
            let health = format!("health = {{ cmd = [\"x\"]{more} }}");
            shown(&health, (ComponentState::Running, "b"), podman)
        };
        assert!(shown("", Health::Unhealthy).starts_with("unhealthy|exit 7|it is left as it is"));
        assert_eq!(
            shown(", on_failure = \"stop\"", Health::Unhealthy),
            "unhealthy|exit 7|its check is about to stop it|0"
        );
        assert_eq!(shown("", Health::Healthy), "healthy|||0");
        assert_eq!(shown("", Health::Unknown), "unknown|||0");
    }
}
