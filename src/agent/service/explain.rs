//! `Explain`.

use tonic::{Request, Response, Status};

use super::{Agent, component_name, convert, service_name, status::status};
use crate::agent::engine::EngineError;
use crate::agent::engine::explain::{ExplainedComponent, ExplainedService};
use crate::agent::engine::failing::ExplainedSchedule;
use crate::agent::explain::{Cause, Explanation, Owner};
use crate::rpc::agent_v1 as pb;
use crate::telemetry::Chain;

impl Agent {
    pub(super) async fn answer_explain(
        &self,
        request: &Request<pb::ServiceRequest>,
    ) -> Result<Response<pb::ExplainResponse>, Status> {
        let request = request.get_ref();
        let service =
            if request.service.is_empty() { None } else { Some(service_name(&request.service)?) };
        let component = component_name(&request.component)?;
        let answer = match self.engine.explain(service.as_ref(), component.as_ref()).await {
            Ok(found) => pb::ExplainResponse {
                services: found.into_iter().map(explained_service).collect(),
                node: None,
            },
            // That is the explanation.
            Err(EngineError::Systemd(error)) => pb::ExplainResponse {
                services: Vec::new(),
                node: Some(explanation(away(&self.engine.owner(), &Chain(&error).to_string()))),
            },
            Err(error) => return Err(status(&error)),
        };
        Ok(Response::new(answer))
    }
}

/// Explains that the user's systemd is away, and with it everything.
fn away(owner: &Owner, said: &str) -> Explanation {
    let Owner { user, uid, .. } = owner;
    let reason = format!(
        "The systemd of user {user} is not there, so nothing of it runs: it was stopped or killed, or the user does not linger."
    );
    Explanation::failed(Cause::UserManager, reason)
        .shown_by(said)
        .mend(format!("sudo loginctl enable-linger {user}"))
        .mend(format!("sudo systemctl start user@{uid}"))
        .mend("mcp doctor")
}

fn explained_service(found: ExplainedService) -> pb::ExplainedService {
    pb::ExplainedService {
        service: found.service.to_string(),
        generation: found.generation.0,
        active: found.active,
        notes: found.notes.into_iter().map(explanation).collect(),
        components: found.components.into_iter().map(component).collect(),
        schedules: found.schedules.into_iter().map(schedule).collect(),
    }
}

fn component(found: ExplainedComponent) -> pb::Explanation {
    let ExplainedComponent { evidence, explanation: explained } = found;
    let unit = &evidence.unit;
    pb::Explanation {
        component: evidence.container.spec.name.to_string(),
        unit: evidence.container.name.unit().to_string(),
        state: evidence.state.as_str().to_owned(),
        since_ms: unit.since_ms.unwrap_or_default(),
        started_ms: unit.started_ms.unwrap_or_default(),
        next_try_ms: unit.next_try_ms.unwrap_or_default(),
        restarts: evidence.restarts,
        waits_for: evidence
            .chain
            .into_iter()
            .map(|link| pb::ExplainedLink { name: link.name, state: link.state })
            .collect(),
        ..explanation(explained)
    }
}

fn schedule(found: ExplainedSchedule) -> pb::Explanation {
    let ExplainedSchedule { component, run, explanation: explained } = found;
    pb::Explanation {
        component: component.to_string(),
        schedule: run.schedule.to_string(),
        unit: run.unit.to_string(),
        state: if run.ending.is_some() { "failed" } else { "running" }.to_owned(),
        since_ms: run.since_ms.unwrap_or_default(),
        next_try_ms: run.next_ms.unwrap_or_default(),
        ..explanation(explained)
    }
}

fn explanation(explained: Explanation) -> pb::Explanation {
    let Explanation { cause, level, reason, evidence, mend } = explained;
    pb::Explanation {
        cause: cause.as_str().to_owned(),
        level: convert::level(level).into(),
        reason,
        evidence,
        mend,
        ..pb::Explanation::default()
    }
}
