//! `WatchStatus`.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};

use super::{Agent, Answers, service_name};
use crate::rpc::agent_v1 as pb;

/// The longest time between two looks: a component that flaps is not told of
/// each time.
const SWEEP: Duration = Duration::from_secs(10);

struct Watch {
    agent: Agent,
    request: pb::StatusRequest,
    events: watch::Receiver<i64>,
    operations: watch::Receiver<u64>,
    shutdown: CancellationToken,
    told: Option<pb::StatusResponse>,
}

impl Agent {
    pub(super) fn answer_watch_status(
        &self,
        request: pb::StatusRequest,
    ) -> Result<Response<Answers<pb::StatusResponse>>, Status> {
        if !request.service.is_empty() {
            service_name(&request.service)?;
        }
        let watch = Watch {
            agent: self.clone(),
            request,
            events: self.events.newest(),
            operations: self.engine.changes(),
            shutdown: self.shutdown.clone(),
            told: None,
        };
        Ok(Response::new(Box::pin(futures_util::stream::unfold(Some(watch), step))))
    }
}

impl Watch {
    /// Waits for a status that was not told yet; none when the agent ends.
    async fn next(&mut self) -> Result<Option<pb::StatusResponse>, Status> {
        loop {
            // Before the look: what changes during it wakes us again.
            self.events.mark_unchanged();
            self.operations.mark_unchanged();
            let seen = match self.agent.look(self.request.clone()).await {
                Err(status) if status.code() == Code::NotFound => pb::StatusResponse::default(),
                other => other?,
            };
            if self.told.as_ref() != Some(&seen) {
                self.told = Some(seen.clone());
                return Ok(Some(seen));
            }
            // All may be cancelled: they only wait.
            tokio::select! {
                () = self.shutdown.cancelled() => return Ok(None),
                changed = self.events.changed() => if changed.is_err() {
                    return Ok(None);
                },
                changed = self.operations.changed() => if changed.is_err() {
                    return Ok(None);
                },
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }
}

async fn step(watch: Option<Watch>) -> Option<(Result<pb::StatusResponse, Status>, Option<Watch>)> {
    let mut watch = watch?;
    match watch.next().await {
        Ok(Some(seen)) => Some((Ok(seen), Some(watch))),
        Ok(None) => None,
        Err(status) => Some((Err(status), None)),
    }
}
