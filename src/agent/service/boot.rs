//! `BootPlan`, and the boot sequence that a reload of the configuration
//! brings.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use super::status::status;
use super::{Agent, RETRY};
use crate::agent::engine::boot::{StageState, is_unordered};
use crate::agent::engine::{Accepted, EngineError};
use crate::deployment::model::Probe;
use crate::deployment::{Container, Readiness, Sequence, Stage};
use crate::names::{ServiceName, UnitName};
use crate::rpc::agent_v1 as pb;
use crate::telemetry::Chain;

/// The cause under which a boot order that could not be written is told.
const CAUSE: &str = "boot_order";

/// Puts each new boot sequence in force, until the agent ends.
pub(super) async fn follow(
    agent: Agent,
    mut wanted: watch::Receiver<Arc<Sequence>>,
    shutdown: CancellationToken,
) -> Result<(), EngineError> {
    loop {
        // All may be cancelled: a change stays noted until it is looked at.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = wanted.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
        }
        let sequence = Arc::clone(&wanted.borrow_and_update());
        while let Err(error) = agent.engine.want_boot(Arc::clone(&sequence)).await {
            let text =
                format!("The boot order is not as the configuration says: {}.", Chain(&error));
            if agent.problems.set(CAUSE, text.clone()) {
                tracing::error!("{text}");
            }
            // May be cancelled: the next start takes it up.
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        agent.problems.clear(CAUSE);
    }
}

impl Agent {
    pub(super) async fn answer_boot_plan(&self) -> Result<Response<pb::BootPlanResponse>, Status> {
        let found = self.engine.boot_states().await.map_err(|e| status(&e))?;
        let sequence = self.engine.boot_sequence();
        let accepted = self.engine.all();
        let names: Vec<ServiceName> = accepted.iter().map(|a| a.row.name.clone()).collect();
        let of = |stage: Option<&Stage>| -> Vec<pb::BootService> {
            let here = |a: &&Arc<Accepted>| sequence.stage_of(&a.row.name) == stage;
            accepted.iter().filter(here).map(|a| service(a, &sequence, stage)).collect()
        };
        let stages = found.iter().map(|(stage, how_far)| pb::BootStage {
            services: of(Some(stage)),
            unknown: sequence
                .unknown(&names)
                .filter(|(of, _)| of.name == stage.name)
                .map(|(_, service)| service.to_string())
                .collect(),
            ..boot_stage(stage, *how_far)
        });
        let stages = stages.collect();
        Ok(Response::new(pb::BootPlanResponse { stages, services: of(None) }))
    }
}

fn boot_stage(stage: &Stage, how_far: StageState) -> pb::BootStage {
    pb::BootStage {
        name: stage.name.to_string(),
        unit: UnitName::stage(&stage.name).to_string(),
        required: stage.required,
        timeout_s: u32::try_from(stage.timeout.as_secs()).unwrap_or(u32::MAX),
        health: stage.health.map(|health| health.as_str().to_owned()).unwrap_or_default(),
        state: how_far.as_str().to_owned(),
        services: Vec::new(),
        unknown: Vec::new(),
    }
}

fn service(accepted: &Accepted, sequence: &Sequence, stage: Option<&Stage>) -> pb::BootService {
    let deployment = &accepted.deployment;
    let component = |c: &Container| pb::BootComponent {
        name: c.spec.name.to_string(),
        unit: c.name.unit().to_string(),
        ready: ready(c, stage),
        waits_for: c.spec.depends_on.iter().map(ToString::to_string).collect(),
    };
    pb::BootService {
        name: deployment.service.to_string(),
        active: deployment.active,
        depends_on: deployment.depends_on.iter().map(ToString::to_string).collect(),
        components: deployment.containers.iter().map(component).collect(),
        unordered: is_unordered(accepted, sequence),
    }
}

/// Says what makes a component ready.
fn ready(container: &Container, stage: Option<&Stage>) -> String {
    match &container.readiness {
        Readiness::Command { words, .. } => {
            let words: Vec<&str> =
                words.iter().map(String::as_str).filter(|word| *word != "CMD-SHELL").collect();
            format!("{} succeeds in it", words.join(" "))
        }
        Readiness::Probe { probe, .. } => format!("{} answers", shown(probe)),
        Readiness::Ended { .. } => "it has ended with 0".to_owned(),
        Readiness::Started => {
            let probes = stage.map(|stage| stage.probes(container)).unwrap_or_default();
            if probes.is_empty() {
                return "it runs".to_owned();
            }
            let probes: Vec<String> = probes.iter().map(shown).collect();
            format!("it runs; the stage, when {} answers", probes.join(" and "))
        }
    }
}

fn shown(probe: &Probe) -> String {
    let s = |tls: &bool| if *tls { "s" } else { "" };
    match probe {
        Probe::Tcp { address, container: _ } => format!("tcp://{address}"),
        Probe::Http { address, path, tls, host: _ } => format!("http{}://{address}{path}", s(tls)),
        Probe::Grpc { address, service, tls } => format!("grpc{}://{address}/{service}", s(tls)),
    }
}
