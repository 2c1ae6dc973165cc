//! `Recover`, and what an agent brings back by itself when it starts.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Agent, Answers, caller, convert, service_name, status::status};
use crate::agent::engine::EngineError;
use crate::agent::engine::rescue::{Rescued, Wish, pause_after};
use crate::agent::finding::Finding;
use crate::agent::progress::{OutcomeKind, Progress};
use crate::agent::rescue::{Starting, Step};
use crate::rpc::agent_v1 as pb;
use crate::telemetry::Chain;

/// Events that wait for a slow caller.
const EVENTS: usize = 256;
/// The cause under which lost things are told.
const CAUSE: &str = "recover";

type Sender = mpsc::Sender<Result<pb::RecoverEvent, Status>>;

impl Agent {
    pub(super) fn answer_recover(
        &self,
        request: Request<pb::RecoverRequest>,
    ) -> Result<Response<Answers<pb::RecoverEvent>>, Status> {
        let by = caller(&request);
        let pb::RecoverRequest { dry_run, services } = request.into_inner();
        let named: BTreeSet<_> =
            services.iter().map(|name| service_name(name)).collect::<Result<_, _>>()?;
        let wish = Wish { named, starting: Starting::All, again: BTreeSet::new(), by };
        let (sender, receiver) = mpsc::channel(EVENTS);
        let agent = self.clone();
        // It goes on when the caller is gone.
        tokio::spawn(async move {
            if let Err(error) = agent.recover(wish, dry_run, &sender).await {
                // Nobody listens any more.
                drop(sender.send(Err(status(&error))).await);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn recover(&self, wish: Wish, dry_run: bool, sender: &Sender) -> Result<(), EngineError> {
        let plan = self.engine.plan_rescue(&wish).await?;
        tell(sender, pb::recover_event::Event::Plan(convert::rescue_plan(plan))).await;
        if dry_run {
            return Ok(());
        }
        self.engine.prepare_node().await?;
        let (progress, forwarding) = forward(sender.clone());
        let done = self.engine.rescue(&wish, &progress).await;
        let elapsed = progress.elapsed();
        drop(progress);
        if let Err(lost) = forwarding.await {
            tracing::error!(error = %Chain(&lost), "the steps of a recovery were not told");
        }
        let rescued = done?;
        self.tell_problems(&rescued);
        let (kind, message) = end(&rescued);
        let end = convert::rescue_end(kind, message, rescued.failures, elapsed);
        tell(sender, pb::recover_event::Event::End(end)).await;
        Ok(())
    }

    /// Has the registry know what the unit files alone can tell, before the
    /// agent serves.
    pub(super) async fn take_from_unit_files(&self) -> Result<(), EngineError> {
        let taken = self.engine.rebuild().await?;
        if taken.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = taken.iter().map(ToString::to_string).collect();
        let text = format!(
            "The registry did not know {}; what is deployed was taken from the unit files, without earlier generations.",
            names.join(", ")
        );
        self.problems.set("rebuilt", text);
        Ok(())
    }

    /// Brings back what was lost, as far as it is clear how, and tries again
    /// until it is there.
    pub(super) async fn bring_back(&self) {
        let mut wish = Wish {
            named: BTreeSet::new(),
            starting: Starting::Rescued,
            again: BTreeSet::new(),
            by: "the agent's start".to_owned(),
        };
        let mut attempt = 0;
        loop {
            match self.engine.rescue(&wish, &Progress::unheard()).await {
                Ok(rescued) => {
                    self.tell_problems(&rescued);
                    if rescued.failures.is_empty() {
                        return self.engine.stop_what_came_back().await;
                    }
                    wish.again = rescued.again;
                }
                Err(error) => {
                    let text = format!(
                        "It cannot be seen whether something was lost: {}; it is tried again.",
                        Chain(&error)
                    );
                    for news in self.problems.replace(CAUSE, vec![text]) {
                        tracing::error!("{news}");
                    }
                }
            }
            tokio::time::sleep(pause_after(attempt)).await;
            attempt += 1;
        }
    }

    /// Shows what was brought back, what was not, and what is left to a
    /// person.
    fn tell_problems(&self, rescued: &Rescued) {
        let brought: Vec<String> = loud(&rescued.done);
        if !brought.is_empty() {
            let text = format!("Lost things were brought back: {}.", brought.join("; "));
            self.problems.set("recovered", text);
        }
        let mut told: Vec<String> = rescued.left.iter().map(Finding::sentence).collect();
        told.extend(rescued.failures.iter().map(|failure| {
            format!("{}: {}; it is tried again.", failure.unit, failure.explanation)
        }));
        for news in self.problems.replace(CAUSE, told) {
            tracing::error!("{news}");
        }
    }
}

fn loud(steps: &[Step]) -> Vec<String> {
    let loud = steps.iter().filter(|step| !step.is_quiet());
    loud.map(|step| format!("{}: {step}", step.service())).collect()
}

fn end(rescued: &Rescued) -> (OutcomeKind, String) {
    if !rescued.failures.is_empty() {
        let names: Vec<String> = rescued.again.iter().map(ToString::to_string).collect();
        return (OutcomeKind::Failed, format!("not all is back: {}", names.join(", ")));
    }
    let brought: BTreeSet<String> = rescued
        .done
        .iter()
        .filter(|step| !step.is_quiet())
        .map(|s| s.service().to_string())
        .collect();
    let left = if rescued.left.is_empty() { "" } else { "; something is left to you" };
    if brought.is_empty() {
        return (OutcomeKind::Unchanged, format!("nothing is lost that can be brought back{left}"));
    }
    let names: Vec<String> = brought.into_iter().collect();
    (OutcomeKind::Done, format!("brought back: {}{left}", names.join(", ")))
}

async fn tell(sender: &Sender, event: pb::recover_event::Event) {
    let event = pb::RecoverEvent { event: Some(event) };
    if sender.send(Ok(event)).await.is_err() {
        tracing::trace!("the caller went away; the recovery goes on");
    }
}

/// Makes a progress whose steps go to the caller.
fn forward(sender: Sender) -> (Progress, tokio::task::JoinHandle<()>) {
    let (events, mut receiver) = mpsc::channel(EVENTS);
    let forwarding = tokio::spawn(async move {
        while let Some(event) = receiver.recv().await {
            match convert::event(event).event {
                Some(pb::progress::Event::Step(step)) => {
                    tell(&sender, pb::recover_event::Event::Step(step)).await;
                }
                Some(pb::progress::Event::Warning(text)) => {
                    tell(&sender, pb::recover_event::Event::Warning(text)).await;
                }
                // One service's; the recovery has its own end.
                Some(pb::progress::Event::Outcome(_)) | None => {}
            }
        }
    });
    (Progress::new(events), forwarding)
}
