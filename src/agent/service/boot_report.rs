//! `BootReport`.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::Agent;
use crate::agent::boot_report::{Attempt, Difference, Ended, Outcome, Timeline};
use crate::agent::engine::boot_report::{BootReport, Member};
use crate::names::UnitName;
use crate::rpc::agent_v1 as pb;
use crate::systemd::boot_journal::BootJournalError;
use crate::telemetry::Chain;

impl Agent {
    pub(super) async fn answer_boot_report(
        &self,
        request: Request<pb::BootReportRequest>,
    ) -> Result<Response<pb::BootReportResponse>, Status> {
        let report =
            self.engine.boot_report(request.get_ref().boot).await.map_err(|e| status(&e))?;
        Ok(Response::new(response(report)))
    }
}

fn status(error: &BootJournalError) -> Status {
    Status::failed_precondition(Chain(error).to_string())
}

fn response(report: BootReport) -> pb::BootReportResponse {
    let BootReport { journal, lines, members, chain, broken, difference, notes } = report;
    let since = |us: u64| us.saturating_sub(journal.began_us);
    pb::BootReportResponse {
        boot_id: journal.boot_id.clone(),
        began_at_us: i64::try_from(journal.began_at_us).unwrap_or(i64::MAX),
        machine_us: journal.began_us.saturating_sub(journal.machine_us),
        finished_us: journal.finished_us.map(since),
        span_us: since(journal.last_us),
        units: lines.into_iter().map(|line| unit(members.get(&line.unit), line)).collect(),
        chain: chain
            .into_iter()
            .map(|link| pb::BootLink {
                unit: link.unit.to_string(),
                begun_us: us(link.begun),
                ready_us: us(link.ready),
                gap_us: us(link.gap),
            })
            .collect(),
        broken: broken.map(|(broken, journal)| pb::BootBroken {
            unit: broken.unit.to_string(),
            at_us: broken.at.map(us),
            waited: names(broken.waited),
            journal,
        }),
        difference: difference.map(|(boot_id, found)| changes(boot_id, found)),
        notes,
    }
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn names(units: Vec<UnitName>) -> Vec<String> {
    units.into_iter().map(|unit| unit.to_string()).collect()
}

fn unit(member: Option<&Member>, line: Timeline) -> pb::BootUnit {
    let (outcome, result) = match line.outcome {
        Outcome::Ready => ("ready", String::new()),
        Outcome::Failed { result } => ("failed", result),
        Outcome::Retrying { result } => ("retrying", result),
        Outcome::Starting => ("starting", String::new()),
        Outcome::Blocked => ("blocked", String::new()),
        Outcome::Waiting => ("waiting", String::new()),
        Outcome::Stopped => ("stopped", String::new()),
        Outcome::Skipped => ("skipped", String::new()),
    };
    let text = |name: Option<String>| name.unwrap_or_default();
    pb::BootUnit {
        unit: line.unit.to_string(),
        service: text(member.and_then(|m| m.service.as_ref()).map(ToString::to_string)),
        component: text(member.and_then(|m| m.component.as_ref()).map(ToString::to_string)),
        stage: text(member.and_then(|m| m.stage.as_ref()).map(ToString::to_string)),
        ours: member.is_some(),
        outcome: outcome.to_owned(),
        result,
        said: line.said,
        ready_us: line.ready.map(us),
        fell_us: line.fell.map(us),
        attempts: line.attempts.into_iter().map(attempt).collect(),
    }
}

fn attempt(attempt: Attempt) -> pb::BootAttempt {
    let (ended, result) = match attempt.ended {
        Ended::Ready => ("ready", String::new()),
        Ended::Failed { result } => ("failed", result),
        Ended::Stopped => ("stopped", String::new()),
        Ended::Open => ("open", String::new()),
    };
    pb::BootAttempt {
        from_us: us(attempt.from),
        to_us: attempt.to.map(us),
        ended: ended.to_owned(),
        result,
    }
}

fn changes(boot_id: String, found: Difference) -> pb::BootDifference {
    let times = |list: Vec<(UnitName, Duration, Duration)>| {
        list.into_iter()
            .map(|(unit, before, now)| pb::BootChange {
                unit: unit.to_string(),
                before_us: us(before),
                now_us: us(now),
            })
            .collect()
    };
    pb::BootDifference {
        boot_id,
        slower: times(found.slower),
        faster: times(found.faster),
        failed: names(found.failed),
        mended: names(found.mended),
        added: names(found.new),
        gone: names(found.gone),
    }
}
