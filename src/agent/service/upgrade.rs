//! `Upgrade` and `AgentStatus`: another program in the agent's place.

use tonic::{Code, Request, Response, Status, Streaming};

use super::{Agent, caller};
use crate::agent::gate::AuditNote;
use crate::agent::upgrade::receive::{Head, ReceiveError};
use crate::agent::upgrade::record::{Ended, Outcome, Process, Program, Record};
use crate::agent::upgrade::running::NotNow;
use crate::names::ProgramVersion;
use crate::registry::newest_schema;
use crate::rpc::agent_v1 as pb;
use crate::rpc::agent_v1::upgrade_request::Part;
use crate::systemd::invocation::{self, MainProcess};
use crate::telemetry::Chain;

/// Lines of the journal of a trial that failed.
const LINES: u32 = 20;

impl Agent {
    pub(super) async fn answer_upgrade(
        &self,
        request: Request<Streaming<pb::UpgradeRequest>>,
    ) -> Result<Response<pb::UpgradeResponse>, Status> {
        let by = caller(&request);
        let note = request.extensions().get::<AuditNote>().cloned().unwrap_or_default();
        let mut parts = request.into_inner();
        let (head, dry_run) = head(parts.message().await?)?;
        note.subject(format!("sha256:{}", head.sha256.short()));
        let busy = self.engine.any_under_way().map(|(service, what)| (service.to_string(), what));
        let _alone = self.running.take(busy).map_err(|error| not_now(&error))?;
        let mut incoming = self.running.begin(head).map_err(|error| refused(&error))?;
        while let Some(pb::UpgradeRequest { part }) = parts.message().await? {
            let Some(Part::Data(data)) = part else { return Err(out_of_order()) };
            incoming.write(&data).await.map_err(|error| refused(&error))?;
        }
        let identity = incoming.finish().await.map_err(|error| refused(&error))?;
        let answer = pb::UpgradeResponse {
            from: ProgramVersion::own().to_string(),
            to: identity.version.to_string(),
            schema_from: newest_schema(),
            schema_to: identity.schema,
        };
        let sha256 = incoming.head().sha256.short().to_owned();
        let dry = if dry_run { ", dry run" } else { "" };
        note.subject(format!("{} to {}, sha256:{sha256}{dry}", answer.from, answer.to));
        if !dry_run {
            self.running.keep(incoming, identity, by).await.map_err(|error| refused(&error))?;
            tracing::info!(to = answer.to, "ending for an upgrade");
            self.shutdown.cancel();
        }
        Ok(Response::new(answer))
    }

    pub(super) async fn answer_agent_status(&self) -> pb::AgentStatusResponse {
        let (record, problem) = match self.running.record() {
            Ok(record) => (record, String::new()),
            Err(error) => (Record::default(), Chain(&error).to_string()),
        };
        let last = match record.last {
            Some(ended) => Some(end(ended).await),
            None => None,
        };
        let sha256 = self.running.sha256().await;
        pb::AgentStatusResponse {
            node: self.node.to_string(),
            version: ProgramVersion::own().to_string(),
            started_at_ms: self.running.started_at_ms(),
            program: self.running.path(),
            sha256: sha256.map(String::from).unwrap_or_default(),
            upgraded: self.running.is_upgraded(),
            installed: self.running.installed().to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            schema: newest_schema(),
            waiting: record.trial.map(|trial| program(trial.program)),
            last,
            problem,
        }
    }
}

/// Takes the first message.
fn head(first: Option<pb::UpgradeRequest>) -> Result<(Head, bool), Status> {
    let Some(pb::UpgradeRequest { part: Some(Part::Head(head)) }) = first else {
        return Err(out_of_order());
    };
    let pb::UpgradeHead { sha256, size, dry_run } = head;
    let sha256 = sha256.parse().map_err(|error| refused(&ReceiveError::Sha256(error)))?;
    Ok((Head { sha256, size }, dry_run))
}

fn out_of_order() -> Status {
    Status::invalid_argument("an upgrade begins with one head, and data follows")
}

fn not_now(error: &NotNow) -> Status {
    let code = match error {
        NotNow::Unsupervised => Code::FailedPrecondition,
        NotNow::UnderWay | NotNow::OnTrial | NotNow::Busy { .. } => Code::Aborted,
    };
    Status::new(code, error.to_string())
}

fn refused(error: &ReceiveError) -> Status {
    let code = match error {
        ReceiveError::Sha256(_)
        | ReceiveError::TooLarge { .. }
        | ReceiveError::Elf(_)
        | ReceiveError::OtherMachine { .. } => Code::InvalidArgument,
        ReceiveError::Size { .. } | ReceiveError::Content { .. } => Code::DataLoss,
        ReceiveError::NoRoom { .. } => Code::ResourceExhausted,
        ReceiveError::TrialRun(_) | ReceiveError::TooOld { .. } => Code::FailedPrecondition,
        ReceiveError::Store(_) | ReceiveError::Write { .. } => Code::Internal,
    };
    Status::new(code, Chain(error).to_string())
}

fn program(program: Program) -> pb::UpgradedProgram {
    let Program { version, sha256, by, at_ms, size: _, schema: _, installed: _ } = program;
    pb::UpgradedProgram { version: version.to_string(), sha256: sha256.into(), by, at_ms }
}

/// Says what the journal knows the process of a trial by, which had ended when
/// the agent of before was started.
fn of_trial(process: Process, ended_ms: i64) -> MainProcess {
    let Process { pid, boot_id, began_ms } = process;
    MainProcess { pid, boot_id, began_ms, ended_ms }
}

async fn end(ended: Ended) -> pb::UpgradeEnd {
    let Ended { program: upgraded, outcome, reason, at_ms, invocation, process } = ended;
    let journal = match outcome {
        Outcome::Returned if !invocation.is_empty() => {
            let main = process.map(|process| of_trial(process, at_ms));
            invocation::lines_of(&invocation, main.as_ref(), LINES).await.unwrap_or_else(|error| {
                vec![format!("(the journal cannot be read: {})", Chain(&error))]
            })
        }
        Outcome::Returned | Outcome::Confirmed | Outcome::Superseded | Outcome::Damaged => {
            Vec::new()
        }
    };
    let outcome = outcome.as_str().to_owned();
    pb::UpgradeEnd { program: Some(program(upgraded)), outcome, reason, at_ms, journal }
}
