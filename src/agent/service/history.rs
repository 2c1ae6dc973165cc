//! `History`, `Diff` and `Rollback`.

use tonic::{Request, Response, Status};

use super::deploy::channel;
use super::{Agent, Answers, caller, convert, service_name, status::status, subject};
use crate::names::Generation;
use crate::rpc::agent_v1 as pb;

impl Agent {
    pub(super) async fn answer_history(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<pb::HistoryResponse>, Status> {
        let service = service_name(&request.get_ref().service)?;
        let past = self.engine.history(&service).await.map_err(|e| status(&e))?;
        Ok(Response::new(pb::HistoryResponse {
            generations: past.into_iter().map(convert::past).collect(),
        }))
    }

    pub(super) async fn answer_diff(
        &self,
        request: Request<pb::DiffRequest>,
    ) -> Result<Response<pb::DiffResponse>, Status> {
        let request = request.get_ref();
        let service = service_name(&request.service)?;
        let (from, to) = (given(request.from), given(request.to));
        let found = self.engine.difference(&service, from, to).await.map_err(|e| status(&e))?;
        Ok(Response::new(convert::difference(&found, service.as_str())))
    }

    pub(super) async fn answer_rollback(
        &self,
        request: Request<pb::RollbackRequest>,
    ) -> Result<Response<Answers<pb::Progress>>, Status> {
        let note = subject(&request, &request.get_ref().service, "");
        let by = caller(&request);
        let service = service_name(&request.get_ref().service)?;
        let to = given(request.get_ref().to);
        let (progress, answers) = channel(note);
        let step = progress.step("check", "").await;
        let back = self.engine.going_back(&service, to, by).await.map_err(|e| status(&e))?;
        let prepared = self.engine.prepare(back).await.map_err(|e| status(&e))?;
        step.done().await;
        self.engine.deploy(prepared, progress).await.map_err(|e| status(&e))?;
        Ok(Response::new(answers))
    }
}

/// 0 stands for "not given" on the wire.
fn given(number: u64) -> Option<Generation> {
    (number > 0).then_some(Generation(number))
}
