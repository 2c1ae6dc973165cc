//! `PlanAdopt` and `Adopt`.

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};

use super::deploy::channel;
use super::{Agent, Answers, caller, convert, service_name, status::status, subject};
use crate::agent::engine::adopt::{Adoption, Predecessor};
use crate::import::Note;
use crate::import::containers::VolumeCopy;
use crate::rpc::agent_v1 as pb;

impl Agent {
    pub(super) async fn answer_plan_adopt(
        &self,
        request: Request<pb::PlanAdoptRequest>,
    ) -> Result<Response<pb::PlanAdoptResponse>, Status> {
        let _note = subject(&request, &request.get_ref().service, "");
        let by = caller(&request);
        let service = service_name(&request.get_ref().service)?;
        let adoption = self.engine.plan_adoption(&service, &by).await.map_err(|e| status(&e))?;
        Ok(Response::new(plan(adoption)))
    }

    pub(super) async fn answer_adopt(
        &self,
        request: Request<pb::AdoptRequest>,
    ) -> Result<Response<Answers<pb::Progress>>, Status> {
        let note = subject(&request, &request.get_ref().service, "");
        let by = caller(&request);
        let pb::AdoptRequest { service, fingerprint } = request.into_inner();
        let service = service_name(&service)?;
        let (progress, answers) = channel(note);
        let adopted = self.engine.adopt(&service, &fingerprint, &by, progress).await;
        adopted.map_err(|e| status(&e))?;
        Ok(Response::new(answers))
    }
}

fn plan(adoption: Adoption) -> pb::PlanAdoptResponse {
    let plan = convert::plan(&adoption.prepared, &BTreeMap::new());
    pb::PlanAdoptResponse {
        definition: adoption.prepared.request.definition,
        notes: adoption.notes.into_iter().map(note).collect(),
        containers: adoption.predecessors.into_iter().map(container).collect(),
        left_alone: adoption.left_alone,
        plan: Some(plan),
        fingerprint: adoption.fingerprint,
    }
}

fn note(note: Note) -> pb::ImportNote {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    pb::ImportNote {
        kind: note.kind.as_str().to_owned(),
        file: note.place.file,
        line: number(note.place.line),
        column: number(note.place.column),
        what: note.what,
        message: note.message,
    }
}

fn container(p: Predecessor) -> pb::AdoptedContainer {
    let copy = |VolumeCopy { from, to, target }| pb::VolumeCopy { from, to, target };
    pb::AdoptedContainer {
        container: p.container,
        component: p.component.to_string(),
        unit: p.unit.map(|unit| unit.to_string()).unwrap_or_default(),
        restarts: p.restarts,
        gone: p.difference.gone,
        added: p.difference.new,
        changes: p.changes,
        volumes: p.volumes.into_iter().map(copy).collect(),
    }
}
