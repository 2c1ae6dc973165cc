//! The task that tells of components that fall sick and recover.
//!
//! ```text
//!  systemd: units of containers (signals) --+
//!  engine: an operation ended --------------+--> which runs are there --> HealthWatch
//!                                                                            | inotify
//!  events <------------------- unhealthy, healthy --------------------------+
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::watch::{HealthChange, HealthWatch, Watched};
use crate::agent::engine::Engine;
use crate::agent::monitor::{EventKind, Events};
use crate::deployment::{Container, Readiness};
use crate::names::{ComponentName, ServiceName, UnitName};
use crate::registry::Registry;
use crate::systemd::{ActiveState, Change, SystemdError, UnitWatch};
use crate::telemetry::Chain;

/// How often a user manager that does not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Follows the health of everything that runs.
#[derive(Debug)]
pub struct Follower {
    /// Says what is to run.
    pub engine: Engine,
    /// Takes what is seen.
    pub events: Events,
    /// Knows what was told last.
    pub registry: Registry,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime: PathBuf,
}

/// Says why health cannot be followed at the moment.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    #[error("the files of checks cannot be watched")]
    Files(#[from] io::Error),
}

/// The containers with a check, by unit.
type Checked = BTreeMap<UnitName, (ServiceName, ComponentName, Container)>;

/// What there is to follow, and what of it runs.
#[derive(Debug, Default)]
struct Runs {
    checked: Checked,
    running: BTreeMap<UnitName, Watched>,
}

/// What has happened.
#[derive(Debug)]
enum News {
    /// Something else may be desired than before.
    Desired,
    /// Units have changed.
    Units(Change),
    /// Components fell sick or recovered.
    Health(Vec<HealthChange>),
}

impl Follower {
    /// Follows until the shutdown.
    ///
    /// # Errors
    ///
    /// None; tasks return a result.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        // What the shutdown cuts off, the next agent sees again.
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.follow() => {}
        }
        Ok(())
    }

    async fn follow(&self) {
        let mut health = loop {
            match self.begin().await {
                Ok(health) => break health,
                Err(error) => tracing::error!(%error, "the health of containers is not watched"),
            }
            tokio::time::sleep(RETRY * 60).await;
        };
        loop {
            let error = self.followed(&mut health).await;
            tracing::debug!(error = %Chain(&error), "health cannot be followed; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Begins with what the agent before has told: that is not told again.
    async fn begin(&self) -> io::Result<HealthWatch> {
        let mut health = HealthWatch::new(&self.runtime)?;
        let (begin, end) = (EventKind::Unhealthy.as_str(), EventKind::Healthy.as_str());
        match self.registry.open_events(begin, end).await {
            Ok(rows) => {
                health.recall(rows.into_iter().map(|row| UnitName::from_systemd(row.unit)));
            }
            Err(error) => tracing::error!(error = %Chain(&error), "what was told last is lost"),
        }
        Ok(health)
    }

    /// Follows as long as the connection holds; returns why it did not.
    async fn followed(&self, health: &mut HealthWatch) -> FollowError {
        let mut units = match self.engine.manager().watch_units().await {
            Ok(units) => units,
            Err(error) => return error.into(),
        };
        let mut desired = self.engine.changes();
        let mut runs = Runs::default();
        // At first everything is new.
        let mut news = News::Desired;
        loop {
            let next = async {
                self.take_up(news, &mut units, &mut runs, health).await?;
                // Every arm may be cancelled: nothing is lost.
                tokio::select! {
                    change = units.next() => Ok(News::Units(change?)),
                    Ok(()) = desired.changed() => Ok(News::Desired),
                    changes = health.next() => Ok(News::Health(changes?)),
                }
            };
            match next.await {
                Ok(next) => news = next,
                Err(error) => return error,
            }
        }
    }

    /// Has what runs followed, and tells what has changed.
    async fn take_up(
        &self,
        news: News,
        units: &mut UnitWatch,
        runs: &mut Runs,
        health: &mut HealthWatch,
    ) -> Result<(), FollowError> {
        let look: BTreeSet<UnitName> = match news {
            News::Health(changes) => {
                self.tell(&runs.checked, changes).await;
                return Ok(());
            }
            News::Units(Change::Units(changed)) => changed,
            News::Units(Change::All) => runs.checked.keys().cloned().collect(),
            News::Desired => {
                runs.checked = self.checked();
                runs.running.retain(|unit, _| runs.checked.contains_key(unit));
                units.set(runs.checked.keys().cloned().collect()).await?;
                runs.checked.keys().cloned().collect()
            }
        };
        self.look(health, &look, runs).await?;
        let missed = health.follow(runs.running.values().cloned().collect())?;
        self.tell(&runs.checked, missed).await;
        Ok(())
    }

    fn checked(&self) -> Checked {
        let mut checked = Checked::new();
        for deployment in self.engine.deployments() {
            for container in deployment.containers {
                if matches!(
                    container.readiness,
                    Readiness::Command { .. } | Readiness::Probe { .. }
                ) {
                    let names = (deployment.service.clone(), container.spec.name.clone());
                    checked.insert(container.name.unit(), (names.0, names.1, container));
                }
            }
        }
        checked
    }

    /// Finds out which runs of these units there are.
    async fn look(
        &self,
        health: &HealthWatch,
        units: &BTreeSet<UnitName>,
        Runs { checked, running }: &mut Runs,
    ) -> Result<(), SystemdError> {
        let units: Vec<UnitName> =
            units.iter().filter(|unit| checked.contains_key(*unit)).cloned().collect();
        for state in self.engine.manager().unit_states(&units).await? {
            let run = state.main_pid.zip(state.invocation_id);
            let watched = match (state.active, run, checked.get(&state.name)) {
                (ActiveState::Active, Some((pid, invocation)), Some((_, _, container))) => {
                    health.watched(container, &invocation, pid)
                }
                _ => None,
            };
            match watched {
                Some(watched) => running.insert(state.name, watched),
                None => running.remove(&state.name),
            };
        }
        Ok(())
    }

    async fn tell(&self, checked: &Checked, changes: Vec<HealthChange>) {
        for HealthChange { unit, healthy, reason } in changes {
            let Some((service, component, container)) = checked.get(&unit) else { continue };
            let reason = match (healthy, container.on_failure().as_str()) {
                (true, _) => "its check succeeds again".to_owned(),
                (false, follows) => format!("{reason} (on_failure = \"{follows}\")"),
            };
            let names = (service.as_str(), component.as_str());
            self.events.health(names, &unit, healthy, reason).await;
        }
    }
}
