//! `Plan` and `Deploy`.

use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Agent, Answers, caller, component_name, convert, status::status, subject};
use crate::agent::engine;
use crate::agent::gate::AuditNote;
use crate::agent::progress::{Event, OutcomeKind, Progress};
use crate::rpc::agent_v1 as pb;

/// Events that wait for a slow caller before the operation waits too.
const EVENTS: usize = 256;

impl Agent {
    pub(super) async fn answer_plan(
        &self,
        request: Request<pb::DeployRequest>,
    ) -> Result<Response<pb::PlanResponse>, Status> {
        let by = caller(&request);
        let prepared =
            self.engine.prepare(wanted(request.into_inner(), by)?).await.map_err(|e| status(&e))?;
        let before = self.engine.generated(&prepared).await.map_err(|e| status(&e))?;
        Ok(Response::new(convert::plan(&prepared, &before)))
    }

    pub(super) async fn answer_deploy(
        &self,
        request: Request<pb::DeployRequest>,
    ) -> Result<Response<Answers<pb::Progress>>, Status> {
        let note = subject(&request, &request.get_ref().file_name, &request.get_ref().component);
        let by = caller(&request);
        let (progress, answers) = channel(note.clone());
        let step = progress.step("check", "").await;
        let prepared =
            self.engine.prepare(wanted(request.into_inner(), by)?).await.map_err(|e| status(&e))?;
        let component =
            prepared.request.component.as_ref().map(|c| format!("/{c}")).unwrap_or_default();
        note.subject(format!("{}{component}", prepared.deployment.service));
        step.done().await;
        for warning in prepared.warnings() {
            progress.warn(warning).await;
        }
        self.engine.deploy(prepared, progress).await.map_err(|e| status(&e))?;
        Ok(Response::new(answers))
    }
}

pub(super) fn wanted(request: pb::DeployRequest, by: String) -> Result<engine::Request, Status> {
    Ok(engine::Request {
        component: component_name(&request.component)?,
        definition: request.definition,
        file_name: if request.file_name.is_empty() {
            "definition".to_owned()
        } else {
            request.file_name
        },
        images: if request.pull {
            engine::ImageWish::PullAgain
        } else {
            engine::ImageWish::AsThere
        },
        by,
    })
}

/// Makes a progress and the stream that carries it to the caller; the audit
/// is told the outcome on the way.
pub(super) fn channel(note: AuditNote) -> (Progress, Answers<pb::Progress>) {
    let (events, receiver) = mpsc::channel(EVENTS);
    let stream = ReceiverStream::new(receiver).map(move |event| {
        if let Event::Outcome(outcome) = &event {
            let code = match outcome.kind {
                OutcomeKind::Done => "done",
                OutcomeKind::Unchanged => "unchanged",
                OutcomeKind::RolledBack => "rolled_back",
                OutcomeKind::Failed | OutcomeKind::Unsettled => "failed",
            };
            note.outcome(code, outcome.message.clone());
        }
        Ok(convert::event(event))
    });
    (Progress::new(events), Box::pin(stream))
}
