//! `Top`.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use super::{Agent, Answers, service_name, status::status};
use crate::agent::engine::top::{Row, Sample, Watcher};
use crate::rpc::agent_v1 as pb;
use crate::systemd::since_epoch_ms;

/// How often at most, and how seldom, somebody may look.
const INTERVALS_MS: std::ops::RangeInclusive<u32> = 200..=60_000;

impl Agent {
    pub(super) async fn answer_top(
        &self,
        request: pb::TopRequest,
    ) -> Result<Response<Answers<pb::TopSample>>, Status> {
        if !INTERVALS_MS.contains(&request.interval_ms) {
            return Err(Status::invalid_argument("the interval must be from 0.2 to 60 seconds"));
        }
        let service =
            if request.service.is_empty() { None } else { Some(service_name(&request.service)?) };
        let mut watcher = self.engine.top(service).map_err(|e| status(&e))?;
        // The first comes with the answer, so that a refusal does.
        let first = watcher.sample().await.map_err(|e| status(&e))?;
        let watch = Watch {
            watcher,
            interval: Duration::from_millis(u64::from(request.interval_ms)),
            shutdown: self.shutdown.clone(),
        };
        let first = futures_util::stream::iter([Ok(sample(first))]);
        let rest = futures_util::stream::unfold(Some(watch), step);
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(first, rest))))
    }
}

/// Somebody who watches. It looks when the next sample is asked for, and ends
/// when nobody asks any more.
struct Watch {
    watcher: Watcher,
    interval: Duration,
    shutdown: CancellationToken,
}

async fn step(watch: Option<Watch>) -> Option<(Result<pb::TopSample, Status>, Option<Watch>)> {
    let mut watch = watch?;
    tokio::select! {
        // It ends with the agent, which would wait for its readers.
        () = watch.shutdown.cancelled() => return None,
        // May be cancelled: it only waits.
        () = tokio::time::sleep(watch.interval) => {}
    }
    match watch.watcher.sample().await {
        Ok(found) => Some((Ok(sample(found)), Some(watch))),
        Err(error) => Some((Err(status(&error)), None)),
    }
}

fn sample(found: Sample) -> pb::TopSample {
    let system = rustix::system::sysinfo();
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    pb::TopSample {
        at_ms: found.at_ms,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory: system.totalram.saturating_mul(u64::from(system.mem_unit)),
        missing: found.missing.into_iter().map(str::to_owned).collect(),
        components: found.components.into_iter().map(component).collect(),
    }
}

fn component(row: Row) -> pb::TopComponent {
    let Row { service, status, look, rates, events } = row;
    let usage = look.usage;
    let used = |pick: fn(&crate::systemd::Usage) -> Option<u64>| usage.as_ref().and_then(pick);
    pb::TopComponent {
        service: service.to_string(),
        component: status.container.spec.name.to_string(),
        state: status.state.as_str().to_owned(),
        health: status.condition.word.to_owned(),
        restarts: status.restarts,
        since_ms: status.since.map_or(0, since_epoch_ms),
        cpu_ns: used(|usage| usage.cpu_ns),
        cpu: rates.cpu,
        memory: used(|usage| usage.memory),
        io_read: rates.io_read,
        io_written: rates.io_written,
        tasks: used(|usage| usage.tasks),
        events: events.0,
        last_event: events.1,
    }
}
