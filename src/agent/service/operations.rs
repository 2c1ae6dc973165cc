//! `Undeploy`, `Stop`, `Start` and `Restart`.

use std::future::Future;

use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status};

use super::deploy::channel;
use super::{
    Agent, Answers, caller, component_name, convert, service_name, status::status, subject,
};
use crate::agent::engine::{Engine, EngineError};
use crate::agent::gate::AuditNote;
use crate::agent::progress::Progress;
use crate::names::ServiceName;
use crate::rpc::agent_v1 as pb;

type Operation = Result<Response<Answers<pb::Progress>>, Status>;

const RECONCILE: &str = "only a whole service can be reconciled; leave the component out";
/// Being stopped is kept for a service, not for one of its components.
const STOP: &str = "only a whole service can be stopped and started; to do without one component, take it out of the definition and deploy; for a moment, use systemctl --user stop";

impl Agent {
    pub(super) fn answer_undeploy(&self, request: &Request<pb::UndeployRequest>) -> Operation {
        let note = subject(request, &request.get_ref().service, "");
        let by = caller(request);
        let request = request.get_ref();
        let service = service_name(&request.service)?;
        let purge = request.purge_data;
        self.engine.accepted(&service).map_err(|e| status(&e))?;
        Ok(self.run(note, async move |engine: Engine, progress: Progress| {
            engine.undeploy(&service, purge, &by, &progress).await
        }))
    }

    pub(super) fn answer_release(&self, request: &Request<pb::ServiceRequest>) -> Operation {
        let note = subject(request, &request.get_ref().service, &request.get_ref().component);
        let by = caller(request);
        let service =
            self.all_of(request, "only a whole service can be released; leave the component out")?;
        Ok(self.run(note, async move |engine: Engine, progress: Progress| {
            engine.release(&service, &by, &progress).await
        }))
    }

    pub(super) fn answer_stop(&self, request: &Request<pb::ServiceRequest>) -> Operation {
        let note = subject(request, &request.get_ref().service, &request.get_ref().component);
        let by = caller(request);
        let service = whole(request.get_ref(), STOP)?;
        // What is not in force may be on its way, or not be undone yet.
        Ok(self.run(note, async move |engine: Engine, progress: Progress| {
            engine.stop(&service, &by, &progress).await
        }))
    }

    pub(super) fn answer_start(&self, request: &Request<pb::ServiceRequest>) -> Operation {
        let note = subject(request, &request.get_ref().service, &request.get_ref().component);
        let by = caller(request);
        let service = self.all_of(request, STOP)?;
        Ok(self.run(note, async move |engine: Engine, progress: Progress| {
            engine.start(&service, &by, &progress).await
        }))
    }

    pub(super) fn answer_restart(&self, request: &Request<pb::ServiceRequest>) -> Operation {
        let note = subject(request, &request.get_ref().service, &request.get_ref().component);
        let request = request.get_ref();
        let service = service_name(&request.service)?;
        let component = component_name(&request.component)?;
        self.engine.accepted(&service).map_err(|e| status(&e))?;
        Ok(self.run(note, async move |engine: Engine, progress: Progress| {
            engine.restart(&service, component.as_ref(), &progress).await
        }))
    }

    pub(super) fn answer_reconcile(&self, request: &Request<pb::ServiceRequest>) -> Operation {
        let note = subject(request, &request.get_ref().service, &request.get_ref().component);
        let by = caller(request);
        let service = self.all_of(request, RECONCILE)?;
        Ok(self.run(note, async move |engine: Engine, progress: Progress| {
            engine.reconcile(&service, &by, &progress).await
        }))
    }

    pub(super) async fn answer_plan_reconcile(
        &self,
        request: &Request<pb::ServiceRequest>,
    ) -> Result<Response<pb::PlanResponse>, Status> {
        let service = self.all_of(request, RECONCILE)?;
        let wanted = self.engine.plan_reconcile(&service).await.map_err(|e| status(&e))?;
        Ok(Response::new(convert::reconciliation(&wanted)))
    }

    /// Takes the name of a service that is deployed, and of no component.
    fn all_of(
        &self,
        request: &Request<pb::ServiceRequest>,
        refusal: &'static str,
    ) -> Result<ServiceName, Status> {
        let service = whole(request.get_ref(), refusal)?;
        self.engine.accepted(&service).map_err(|e| status(&e))?;
        Ok(service)
    }

    /// Runs an operation that goes on when the caller is gone; what it cannot
    /// even begin comes out of the stream as a status.
    fn run<F, O>(&self, note: AuditNote, operation: O) -> Response<Answers<pb::Progress>>
    where
        O: FnOnce(Engine, Progress) -> F,
        F: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        let (progress, answers) = channel(note);
        let task = tokio::spawn(operation(self.engine.clone(), progress));
        let end = futures_util::stream::once(async move {
            match task.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Err(status(&error))),
                Err(lost) => Some(Err(status(&EngineError::Lost(lost)))),
            }
        });
        Response::new(Box::pin(answers.chain(end.filter_map(|end| end))))
    }
}

/// Takes the name of a service, and of no component.
fn whole(request: &pb::ServiceRequest, refusal: &'static str) -> Result<ServiceName, Status> {
    if !request.component.is_empty() {
        return Err(status(&EngineError::WholeServiceOnly(refusal)));
    }
    service_name(&request.service)
}
