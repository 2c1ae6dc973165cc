//! `Events` and `TestAlerts`.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Agent, Answers, caller, component_name, service_name, since, subject};
use crate::agent::monitor::{Event, EventKind, Events, alerts};
use crate::registry::{EventQuery, EventRow, RegistryError};
use crate::rpc::agent_v1 as pb;
use crate::telemetry::Chain;

impl Agent {
    pub(super) async fn answer_events(
        &self,
        request: &Request<pb::EventsRequest>,
    ) -> Result<Response<Answers<pb::Event>>, Status> {
        let request = request.get_ref();
        let newest = self.events.newest();
        let last = self.events.last().await.map_err(|e| failed(&e))?;
        let mut query = query(request)?;
        // A higher number than there is comes from a registry that is gone.
        if query.after > last {
            query.after = 0;
        }
        let past = self.events.select(query.clone()).await.map_err(|e| failed(&e))?;
        if !request.follow {
            let past: Vec<_> = past.into_iter().map(|row| Ok(pb::Event::from(row))).collect();
            return Ok(Response::new(Box::pin(futures_util::stream::iter(past))));
        }
        // What is new is read from the registry as well: nothing is lost on a
        // reader that is slow.
        let after = past.last().map_or(last, |row| row.id.max(last));
        let rest = EventQuery { after, since_ms: None, limit: usize::MAX, ..query };
        let follow = Follow {
            events: self.events.clone(),
            newest,
            query: rest,
            waiting: past.into(),
            shutdown: self.shutdown.clone(),
        };
        // Tells the reader that it is being followed, and from where.
        let first = futures_util::stream::iter([Ok(pb::Event::default())]);
        let rest = futures_util::stream::unfold(Some(follow), step);
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(first, rest))))
    }

    pub(super) async fn answer_test_alerts(
        &self,
        request: &Request<pb::TestAlertsRequest>,
    ) -> Result<Response<pb::TestAlertsResponse>, Status> {
        let _note = subject(request, "", "");
        let reason = format!("{} tries the alerts", caller(request));
        let notice = self.events.sample(&Event::of_node(EventKind::Test, reason));
        let settings = Arc::clone(&self.monitor.borrow());
        let findings = alerts::test(&settings, &notice).await;
        let findings = findings.into_iter().map(pb::Finding::from).collect();
        Ok(Response::new(pb::TestAlertsResponse { findings }))
    }
}

fn query(request: &pb::EventsRequest) -> Result<EventQuery, Status> {
    if !request.service.is_empty() {
        service_name(&request.service)?;
    }
    component_name(&request.component)?;
    for kind in &request.kinds {
        kind.parse::<EventKind>().map_err(|e| Status::invalid_argument(e.to_string()))?;
    }
    let since_ms = match request.since.as_str() {
        "" => None,
        text => {
            let us = since::parse(text, &jiff::Zoned::now())
                .map_err(|e| Status::invalid_argument(e.to_string()))?;
            Some(i64::try_from(us / 1000).unwrap_or(i64::MAX))
        }
    };
    let limit = match request.lines {
        0 => usize::MAX,
        lines => usize::try_from(lines).unwrap_or(usize::MAX),
    };
    Ok(EventQuery {
        service: request.service.clone(),
        component: request.component.clone(),
        kinds: request.kinds.clone(),
        since_ms,
        after: request.after,
        limit,
    })
}

struct Follow {
    events: Events,
    newest: watch::Receiver<i64>,
    query: EventQuery,
    waiting: VecDeque<EventRow>,
    shutdown: CancellationToken,
}

impl Follow {
    async fn next(&mut self) -> Result<Option<EventRow>, RegistryError> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                return Ok(Some(row));
            }
            let newest = *self.newest.borrow_and_update();
            if newest > self.query.after {
                let rows = self.events.select(self.query.clone()).await?;
                self.query.after = rows.last().map_or(newest, |row| row.id.max(newest));
                self.waiting = rows.into();
                continue;
            }
            // Both may be cancelled: they only wait. It ends with the agent,
            // which would wait for its readers.
            tokio::select! {
                () = self.shutdown.cancelled() => return Ok(None),
                changed = self.newest.changed() => if changed.is_err() {
                    return Ok(None);
                },
            }
        }
    }
}

async fn step(follow: Option<Follow>) -> Option<(Result<pb::Event, Status>, Option<Follow>)> {
    let mut follow = follow?;
    match follow.next().await {
        Ok(Some(row)) => Some((Ok(row.into()), Some(follow))),
        Ok(None) => None,
        Err(error) => Some((Err(failed(&error)), None)),
    }
}

fn failed(error: &RegistryError) -> Status {
    Status::internal(Chain(error).to_string())
}
