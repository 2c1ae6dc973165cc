//! A sync on one node: what its agent says differs, and carrying that out.

use std::collections::BTreeSet;

use crate::cli::commands::sync::SyncArgs;
use crate::cli::config::Node;
use crate::cli::context::Context;
use crate::cli::definitions::{Defined, Definitions};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::views::operation::OperationView;
use crate::cli::views::plan::PlanView;
use crate::cli::views::sync::{Action, State, SyncService};
use crate::cli::{progress, status};
use crate::names::ServiceName;
use crate::rpc::agent_v1::{self as proto, SyncState};
use crate::rpc::client::AgentClient;
use crate::ui::{visible, visible_lines};

/// What one node is to have.
#[derive(Debug)]
pub struct Part<'a> {
    /// The definitions for this node, in order.
    pub here: &'a [Defined],
    /// All of them.
    pub all: &'a Definitions,
    /// Whether what nobody defines is taken away.
    pub prune: bool,
}

/// A node's part of a sync, planned.
#[derive(Debug)]
pub struct Planned {
    /// Its services, in the order in which they are taken.
    pub services: Vec<SyncService>,
    /// What is wrong with what the node refuses.
    pub refused: Vec<ErrorKind>,
}

/// The plan says what was not asked for.
#[derive(Debug, thiserror::Error)]
#[error("{service}: the node planned what it was not asked for")]
struct Unasked {
    service: String,
}

impl Part<'_> {
    fn request(&self) -> proto::PlanSyncRequest {
        proto::PlanSyncRequest {
            deploys: self.here.iter().map(deploy_request).collect(),
            defined: self.all.names().iter().map(ToString::to_string).collect(),
            prune: self.prune,
        }
    }

    /// Asks a node what differs.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    pub async fn plan(
        &self,
        context: &Context<'_>,
        node: &Node,
        mut client: AgentClient,
    ) -> Result<Planned, CliError> {
        let told = |s: &tonic::Status| status::error(&node.name, s);
        let mut answers =
            client.plan_sync(self.request()).await.map_err(|s| told(&s))?.into_inner();
        let mut planned = Planned { services: Vec::new(), refused: Vec::new() };
        while let Some(answer) = answers.message().await.map_err(|s| told(&s))? {
            if answer.state() == SyncState::Waiting {
                context.ui.status(&format!(
                    "{}: waits for what is under way on {}",
                    node.name,
                    visible(&answer.service)
                ));
                continue;
            }
            let invalid = answer.invalid;
            let service = self.service(node, answer);
            if service.state == State::Refused {
                planned.refused.push(if invalid { ErrorKind::Usage } else { ErrorKind::Failed });
                context.ui.error(&visible_lines(&format!(
                    "node {}: {}: {}",
                    node.name, service.service, service.reason
                )));
            }
            planned.services.push(service);
        }
        Ok(planned)
    }

    fn service(&self, node: &Node, answer: proto::SyncAnswer) -> SyncService {
        let asked = self.defined(&answer.service).is_some();
        let (state, action) = match answer.state() {
            // Whatever the agent says: only what was sent is deployed, and
            // only what nobody defines undeployed.
            SyncState::New | SyncState::Changed | SyncState::Reworded if !asked => {
                (State::Refused, Action::None)
            }
            SyncState::Absent if self.all.names().iter().any(|n| n.as_str() == answer.service) => {
                (State::Kept, Action::None)
            }
            SyncState::New => (State::New, Action::Deploy),
            SyncState::Changed => (State::Changed, Action::Deploy),
            SyncState::Reworded => (State::Reworded, Action::Deploy),
            SyncState::Unchanged => (State::Unchanged, Action::None),
            SyncState::Absent if self.prune && answer.refusal.is_empty() => {
                (State::Absent, Action::Undeploy)
            }
            SyncState::Absent => (State::Absent, Action::None),
            SyncState::Kept => (State::Kept, Action::None),
            SyncState::Unspecified | SyncState::Waiting => (State::Refused, Action::None),
        };
        let mut service = SyncService::new(node.name.as_str(), answer.service, state);
        service.action = action;
        service.reason = match state {
            State::Kept => self.why_kept(&service.service),
            State::Absent if !self.prune => {
                format!(
                    "no definition; --prune undeploys it, mcp service export {} writes one",
                    service.service
                )
            }
            State::New
            | State::Changed
            | State::Reworded
            | State::Unchanged
            | State::Absent
            | State::Refused => answer.refusal,
        };
        if let Some(plan) = answer.plan {
            service.planned(PlanView::new(node.name.as_str(), plan));
        }
        service
    }

    fn defined(&self, service: &str) -> Option<&Defined> {
        self.here.iter().find(|d| d.service.name.as_str() == service)
    }

    fn why_kept(&self, service: &str) -> String {
        let Ok(name) = service.parse::<ServiceName>() else {
            return String::new();
        };
        if let Some(broken) = self.all.broken_of(&name) {
            let path = broken.path.display();
            return if broken.unclear {
                format!("it is not clear for which node its definition is: {path}")
            } else {
                format!("its definition cannot be used: {path}")
            };
        }
        let node = self.all.good.get(&name).and_then(|d| d.service.node.as_ref());
        node.map(|node| format!("its definition is for node {node}")).unwrap_or_default()
    }

    /// Carries out what was planned, one service after the other. What depends
    /// on one that failed is not tried.
    ///
    /// # Errors
    ///
    /// The node went away, or does not allow it; what was done by then is in
    /// `services`.
    pub async fn carry_out(
        &self,
        context: &Context<'_>,
        node: &Node,
        client: &mut AgentClient,
        services: &mut [SyncService],
    ) -> Result<(), CliError> {
        let mut lost = None;
        let mut failed: BTreeSet<String> = services
            .iter()
            .filter(|s| s.state == State::Refused)
            .map(|s| s.service.clone())
            .collect();
        for service in services.iter_mut().filter(|s| s.action != Action::None) {
            if lost.is_some() {
                service.error = Some("not tried: the node was lost".to_owned());
                continue;
            }
            if let Some(missing) = self.missing(&service.service, &failed) {
                failed.insert(service.service.clone());
                service.error = Some(format!("not tried: it depends on {missing}"));
                continue;
            }
            match self.settle(context, node, client, service).await {
                Ok(view) => {
                    progress::show_failures(context.ui, &view);
                    if !view.succeeded() {
                        failed.insert(service.service.clone());
                    }
                    let line = view.text(context.ui.err_palette());
                    context.ui.status(&format!("{}: {}", node.name, line.trim_end()));
                    service.outcome = Some(view);
                }
                Err(error) => {
                    service.error = Some(error.message());
                    failed.insert(service.service.clone());
                    if error.kind == ErrorKind::Failed || error.kind == ErrorKind::Usage {
                        error.report(context.ui);
                    } else {
                        lost = Some(error);
                    }
                }
            }
        }
        lost.map_or(Ok(()), Err)
    }

    /// Returns what a service depends on and was not deployed.
    fn missing(&self, service: &str, failed: &BTreeSet<String>) -> Option<String> {
        let defined = self.defined(service)?;
        let mut needs = defined.service.depends_on.iter().map(ToString::to_string);
        needs.find(|name| failed.contains(name))
    }

    async fn settle(
        &self,
        context: &Context<'_>,
        node: &Node,
        client: &mut AgentClient,
        service: &SyncService,
    ) -> Result<OperationView, CliError> {
        let stream = match (service.action, self.defined(&service.service)) {
            (Action::Deploy, Some(defined)) => client.deploy(deploy_request(defined)).await,
            (Action::Undeploy, None) => {
                let service = service.service.clone();
                client.undeploy(proto::UndeployRequest { service, purge_data: false }).await
            }
            (Action::Deploy, None) | (Action::Undeploy, Some(_)) | (Action::None, _) => {
                return Err(CliError::failed(Unasked { service: service.service.clone() }));
            }
        };
        let stream = stream.map_err(|s| status::error(&node.name, &s))?.into_inner();
        let about = format!("node {}, {}", node.name, visible(&service.service));
        progress::heard(&node.name, stream, |told| match told {
            progress::Told::Step(_) => {}
            progress::Told::Warning(text) => {
                context.ui.warning(&visible_lines(&format!("{about}: {text}")));
            }
        })
        .await
    }
}

fn deploy_request(defined: &Defined) -> proto::DeployRequest {
    proto::DeployRequest {
        definition: defined.local.text.clone(),
        file_name: defined.local.path.display().to_string(),
        component: String::new(),
        pull: false,
    }
}

/// Tells whether a sync was asked to take services away that it found.
pub fn takes_away<'a>(
    args: &SyncArgs,
    services: impl IntoIterator<Item = &'a SyncService>,
) -> Vec<String> {
    if !args.prune || args.dry_run {
        return Vec::new();
    }
    services
        .into_iter()
        .filter(|s| s.action == Action::Undeploy)
        .map(|s| format!("{} ({})", s.service, s.node))
        .collect()
}
