//! What became of services and deploys that are not there any more.

use std::sync::PoisonError;

use super::explain::{ExplainedService, read_journal};
use super::{Engine, EngineError};
use crate::agent::explain::undeployed::{self, Past, What};
use crate::agent::explain::{Evidence, Journal};
use crate::agent::gate::now_ms;
use crate::definition::suggest;
use crate::deployment::Deployment;
use crate::names::{Generation, ServiceName, UnitName};
use crate::registry::EventQuery;

impl Engine {
    /// Remembers a deployment that is taken back: the registry forgets it.
    pub(super) fn remember(&self, taken_back: &Deployment) {
        let mut all = self.inner.taken_back.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(taken_back.service.clone(), taken_back.clone());
    }

    pub(super) async fn explain_absent(
        &self,
        service: &ServiceName,
    ) -> Result<ExplainedService, EngineError> {
        let all = self.all();
        let past = self.latest_of(service).await?;
        let near = suggest::closest(service.as_str(), all.iter().map(|a| a.row.name.as_str()));
        let near = all.iter().map(|a| &a.row.name).find(|name| Some(name.as_str()) == near);
        let explanation = undeployed::explain(service, past.as_ref(), near, &self.owner());
        Ok(ExplainedService {
            service: service.clone(),
            generation: Generation(0),
            active: false,
            notes: vec![explanation],
            components: Vec::new(),
            schedules: Vec::new(),
        })
    }

    /// Returns the last that happened to a service as a whole.
    pub(super) async fn latest_of(
        &self,
        service: &ServiceName,
    ) -> Result<Option<Past>, EngineError> {
        let query = EventQuery {
            service: service.to_string(),
            kinds: What::ALL.iter().map(|kind| kind.event().as_str().to_owned()).collect(),
            limit: 1,
            ..EventQuery::default()
        };
        let Some(row) = self.tools().events.select(query).await?.pop() else { return Ok(None) };
        let Some(kind) = What::ALL.into_iter().find(|kind| kind.event().as_str() == row.kind)
        else {
            return Ok(None);
        };
        let journal = match row.unit.as_str() {
            "" => Journal::default(),
            unit => read_journal(self.manager(), &UnitName::from_systemd(unit), None).await,
        };
        let component = self.component_of_past(service, &row.unit, &journal).await?;
        let ago_ms = now_ms().saturating_sub(row.at_ms);
        Ok(Some(Past { kind, reason: row.reason, unit: row.unit, ago_ms, journal, component }))
    }

    /// Gathers what is known of the component of a deploy that was taken back
    /// by which it failed; none: an agent before this one took it back.
    async fn component_of_past(
        &self,
        service: &ServiceName,
        unit: &str,
        journal: &Journal,
    ) -> Result<Option<Box<Evidence>>, EngineError> {
        let taken_back = self
            .inner
            .taken_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(service)
            .cloned();
        let Some(deployment) = taken_back else { return Ok(None) };
        let mut all = deployment.containers.iter();
        let Some(container) = all.find(|c| c.name.unit().as_str() == unit) else {
            return Ok(None);
        };
        let named = (service.clone(), container.clone());
        let mut evidence = self.nothing_known(named, &deployment);
        evidence.journal = journal.clone();
        self.look_closer(&mut evidence).await?;
        Ok(Some(Box::new(evidence)))
    }
}
