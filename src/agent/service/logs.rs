//! `Logs`.

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};

use super::{Agent, Answers, component_name, service_name, since, status::status};
use crate::agent::engine::EngineError;
use crate::names::{ComponentName, ContainerName, ServiceName, UnitName};
use crate::rpc::agent_v1 as pb;
use crate::systemd::journal::{self, Entry, Follow, JournalError, LogQuery, Of};
use crate::telemetry::Chain;

impl Agent {
    pub(super) async fn answer_logs(
        &self,
        request: &Request<pb::LogsRequest>,
    ) -> Result<Response<Answers<pb::LogEntry>>, Status> {
        let request = request.get_ref();
        let service = service_name(&request.service)?;
        let component = component_name(&request.component)?;
        let units = self.units(&service, component.as_ref()).map_err(|e| status(&e))?;
        let since_us = match request.since.as_str() {
            "" => None,
            text => Some(
                since::parse(text, &jiff::Zoned::now())
                    .map_err(|e| Status::invalid_argument(e.to_string()))?,
            ),
        };
        let names: Vec<UnitName> = units.keys().cloned().collect();
        let mut past = Vec::new();
        let mut query = LogQuery { lines: None, since_us, follow: request.follow };
        if request.lines > 0 {
            let of = Of { units: &names, ..Of::default() };
            past = journal::newest(of, since_us, request.lines).await.map_err(|e| failed(&e))?;
            // What follows begins after the last of these.
            let now = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or_default();
            query.since_us = Some(past.last().map_or(now, |entry| entry.time_us + 1));
        }
        let past: Vec<_> = past.into_iter().map(|line| Ok(entry(line, &units))).collect();
        let past = futures_util::stream::iter(past);
        if request.lines > 0 && !request.follow {
            return Ok(Response::new(Box::pin(past)));
        }
        let follow = journal::follow(&names, &query).map_err(|e| failed(&e))?;
        let rest = futures_util::stream::unfold(Some((follow, units)), step);
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(past, rest))))
    }
}

impl Agent {
    /// Returns the units whose journal is asked for, with their components.
    ///
    /// A component's journal is there also when its service is not deployed:
    /// a first deploy that failed leaves nothing else behind.
    fn units(
        &self,
        service: &ServiceName,
        component: Option<&ComponentName>,
    ) -> Result<BTreeMap<UnitName, String>, EngineError> {
        let accepted = match (self.engine.accepted(service), component) {
            (Ok(accepted), _) => accepted,
            (Err(EngineError::NotDeployed { .. }), Some(component)) => {
                let unit = ContainerName::new(service, component).unit();
                return Ok(BTreeMap::from([(unit, component.to_string())]));
            }
            (Err(error), _) => return Err(error),
        };
        let containers = &accepted.deployment.containers;
        let units: BTreeMap<UnitName, String> = containers
            .iter()
            .filter(|c| component.is_none_or(|one| c.spec.name == *one))
            .flat_map(|c| {
                let scheduled = c.spec.schedules.iter().map(|s| c.name.schedule_unit(&s.name));
                let units = std::iter::once(c.name.unit()).chain(scheduled);
                units.map(|unit| (unit, c.spec.name.to_string()))
            })
            .collect();
        match component {
            Some(component) if units.is_empty() => Err(EngineError::NoComponent {
                service: service.clone(),
                component: component.clone(),
                known: containers.iter().map(|c| c.spec.name.to_string()).collect(),
            }),
            Some(_) | None => Ok(units),
        }
    }
}

type State = Option<(Follow, BTreeMap<UnitName, String>)>;

async fn step(state: State) -> Option<(Result<pb::LogEntry, Status>, State)> {
    let (mut follow, units) = state?;
    match follow.next().await {
        Ok(Some(line)) => {
            let line = entry(line, &units);
            Some((Ok(line), Some((follow, units))))
        }
        Ok(None) => None,
        Err(error) => Some((Err(failed(&error)), None)),
    }
}

fn entry(entry: Entry, units: &BTreeMap<UnitName, String>) -> pb::LogEntry {
    pb::LogEntry {
        time_us: i64::try_from(entry.time_us).unwrap_or(i64::MAX),
        component: units.get(&entry.unit).cloned().unwrap_or_else(|| entry.unit.to_string()),
        from_systemd: entry.from_systemd(),
        priority: u32::from(entry.priority),
        message: entry.message,
    }
}

fn failed(error: &JournalError) -> Status {
    Status::failed_precondition(Chain(error).to_string())
}
