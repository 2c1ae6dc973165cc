//! What components use, looked at for as long as somebody watches.

use std::collections::BTreeMap;
use std::time::Instant;

use super::status::ComponentStatus;
use super::{Engine, EngineError};
use crate::agent::gate::now_ms;
use crate::agent::host::cgroups;
use crate::agent::usage::{Look, Rates};
use crate::names::{ServiceName, UnitName};
use crate::registry::EventQuery;

/// How far back events are counted.
const LATELY_MS: i64 = 3_600_000;
/// How many events are counted at most.
const MOST: usize = 10_000;

/// One sample.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Controllers that the user's systemd does not have.
    pub missing: Vec<&'static str>,
    /// The components.
    pub components: Vec<Row>,
}

/// A component in a sample.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its service.
    pub service: ServiceName,
    /// What it is.
    pub status: ComponentStatus,
    /// What it uses.
    pub look: Look,
    /// The same per second.
    pub rates: Rates,
    /// How many events there were of it lately, and the kind of the newest.
    pub events: (u32, String),
}

/// What is remembered from one sample to the next.
#[derive(Debug)]
pub struct Watcher {
    engine: Engine,
    service: Option<ServiceName>,
    began: Instant,
    before: BTreeMap<UnitName, Look>,
    events: Counted,
}

/// Events by service and component, as of the newest that was counted.
#[derive(Debug, Default)]
struct Counted {
    newest: Option<i64>,
    looked_at_ms: i64,
    by_component: BTreeMap<(String, String), (u32, String)>,
}

impl Engine {
    /// Begins to watch one service, or all.
    ///
    /// # Errors
    ///
    /// The service is not deployed.
    pub fn top(&self, service: Option<ServiceName>) -> Result<Watcher, EngineError> {
        if let Some(service) = &service {
            self.accepted(service)?;
        }
        Ok(Watcher {
            engine: self.clone(),
            service,
            began: Instant::now(),
            before: BTreeMap::new(),
            events: Counted::default(),
        })
    }
}

impl Watcher {
    /// Looks once more.
    ///
    /// # Errors
    ///
    /// The service is gone, or systemd or the registry does not answer.
    pub async fn sample(&mut self) -> Result<Sample, EngineError> {
        let statuses = self.engine.status(self.service.as_ref()).await?;
        let of_one = |c: &ComponentStatus| c.container.name.unit();
        let units: Vec<UnitName> =
            statuses.iter().flat_map(|s| s.components.iter().map(of_one)).collect();
        let usage = self.engine.manager().usage(&units).await?;
        let at_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut usage: BTreeMap<UnitName, _> =
            usage.into_iter().map(|usage| (usage.unit.clone(), usage)).collect();
        self.count_events().await?;
        let mut components = Vec::new();
        let mut now = BTreeMap::new();
        for service in statuses {
            let name = service.accepted.row.name.clone();
            for status in service.components {
                let unit = status.container.name.unit();
                let run = status.invocation.clone();
                let used = usage.remove(&unit).filter(|_| run.is_some());
                let look = Look { run, at_ns, usage: used };
                let before = self.before.get(&unit);
                let rates = before.map(|before| look.rates(before)).unwrap_or_default();
                let key = (name.to_string(), status.container.spec.name.to_string());
                let events = self.events.by_component.get(&key).cloned().unwrap_or_default();
                now.insert(unit, look.clone());
                components.push(Row { service: name.clone(), status, look, rates, events });
            }
        }
        self.before = now;
        let uid = rustix::process::geteuid().as_raw();
        let missing = cgroups::missing(&cgroups::look(uid));
        Ok(Sample { at_ms: now_ms(), missing, components })
    }

    /// Counts events anew if there are new ones, or some have grown old.
    async fn count_events(&mut self) -> Result<(), EngineError> {
        let newest = self.engine.tools().events.last().await?;
        let now = now_ms();
        let fresh = now.saturating_sub(self.events.looked_at_ms) < LATELY_MS / 60;
        if self.events.newest == Some(newest) && fresh {
            return Ok(());
        }
        let query = EventQuery {
            service: self.service.as_ref().map(ToString::to_string).unwrap_or_default(),
            since_ms: Some(now.saturating_sub(LATELY_MS)),
            limit: MOST,
            ..EventQuery::default()
        };
        let rows = self.engine.tools().events.select(query).await?;
        let mut by_component: BTreeMap<(String, String), (u32, String)> = BTreeMap::new();
        for row in rows.into_iter().filter(|row| !row.component.is_empty()) {
            let counted = by_component.entry((row.service, row.component)).or_default();
            counted.0 = counted.0.saturating_add(row.count.max(1));
            counted.1 = row.kind;
        }
        self.events = Counted { newest: Some(newest), looked_at_ms: now, by_component };
        Ok(())
    }
}
