//! `PlanSync` and `Purge`.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::deploy::wanted;
use super::{
    Agent, Answers, caller, component_name, convert, service_name, status::status, subject,
};
use crate::agent::engine::purge::{PurgeWish, Purged};
use crate::agent::engine::sync::{Difference, Wanted};
use crate::agent::engine::{EngineError, Prepared};
use crate::names::{ComponentName, ServiceName};
use crate::rpc::agent_v1 as pb;
use crate::telemetry::Chain;

/// Answers that wait for a slow caller before the planning waits too.
const ANSWERS: usize = 8;

impl Agent {
    pub(super) fn answer_plan_sync(
        &self,
        request: Request<pb::PlanSyncRequest>,
    ) -> Result<Response<Answers<pb::SyncAnswer>>, Status> {
        let by = caller(&request);
        let pb::PlanSyncRequest { deploys, defined, prune } = request.into_inner();
        let wish = Wanted {
            deploys: deploys
                .into_iter()
                .map(|d| wanted(d, by.clone()))
                .collect::<Result<_, _>>()?,
            defined: defined.iter().map(|name| service_name(name)).collect::<Result<_, _>>()?,
            prune,
        };
        let (tell, differences) = mpsc::channel(ANSWERS);
        let engine = self.engine.clone();
        tokio::spawn(async move {
            if engine.plan_sync(wish, &tell).await.is_err() {
                tracing::debug!("nobody waits for the plan of a sync any more");
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(differences).map(|d| Ok(answer(d))))))
    }

    pub(super) async fn answer_purge(
        &self,
        request: Request<pb::PurgeRequest>,
    ) -> Result<Response<pb::PurgeResponse>, Status> {
        let _note = subject(&request, &request.get_ref().service, &request.get_ref().component);
        let by = caller(&request);
        let request = request.into_inner();
        let named = !request.service.is_empty();
        let wish = PurgeWish {
            service: named.then(|| service_name(&request.service)).transpose()?,
            component: component_name(&request.component)?,
            defined: request.defined.iter().map(|d| defined(d)).collect::<Result<_, _>>()?,
            dry_run: request.dry_run,
            by,
        };
        let results = self.engine.purge_undefined(&wish).await.map_err(|e| status(&e))?;
        Ok(Response::new(pb::PurgeResponse { results: results.into_iter().map(purged).collect() }))
    }
}

fn defined(text: &str) -> Result<(ServiceName, Option<ComponentName>), Status> {
    let (service, component) = text.split_once('/').unwrap_or((text, ""));
    Ok((service_name(service)?, component_name(component)?))
}

fn purged(result: Purged) -> pb::PurgeResult {
    let Purged { service, component, kept } = result;
    pb::PurgeResult {
        service: service.to_string(),
        component: component.to_string(),
        purged: kept.is_none(),
        reason: kept.unwrap_or_else(|| "nobody defines it, and it is gone".to_owned()),
    }
}

fn answer(difference: Difference) -> pb::SyncAnswer {
    let told = |service: ServiceName, state: pb::SyncState| pb::SyncAnswer {
        service: service.to_string(),
        state: state.into(),
        ..pb::SyncAnswer::default()
    };
    match difference {
        Difference::Waiting(service) => told(service, pb::SyncState::Waiting),
        Difference::Kept(service) => told(service, pb::SyncState::Kept),
        Difference::Absent { service, needed_by } => {
            let refusal = if needed_by.is_empty() {
                String::new()
            } else {
                EngineError::Needed { service: service.clone(), others: needed_by }.to_string()
            };
            pb::SyncAnswer { refusal, ..told(service, pb::SyncState::Absent) }
        }
        Difference::Planned(prepared) => pb::SyncAnswer {
            service: prepared.deployment.service.to_string(),
            state: state(&prepared).into(),
            plan: Some(convert::plan(&prepared, &BTreeMap::new())),
            ..pb::SyncAnswer::default()
        },
        Difference::Refused(service, error) => pb::SyncAnswer {
            service: service.map(|s| s.to_string()).unwrap_or_default(),
            refusal: Chain(&error).to_string(),
            invalid: status(&error).code() == tonic::Code::InvalidArgument,
            ..pb::SyncAnswer::default()
        },
    }
}

fn state(prepared: &Prepared) -> pb::SyncState {
    match &prepared.old {
        None => pb::SyncState::New,
        Some(_) if !prepared.changes_nothing() => pb::SyncState::Changed,
        Some(old) if !old.is_worded_as(&prepared.request.definition) => pb::SyncState::Reworded,
        Some(_) => pb::SyncState::Unchanged,
    }
}
