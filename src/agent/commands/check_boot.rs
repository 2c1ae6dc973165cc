//! The boot stages of a configuration, beside the services that the registry
//! knows.

use std::io;
use std::path::Path;

use super::args::Output;
use crate::deployment::{Deployment, Sequence, Stage};
use crate::names::ServiceName;
use crate::registry::peek;
use crate::telemetry::Chain;

/// Prints the stages, and what is wrong with them.
///
/// # Errors
///
/// The output cannot be written.
pub(super) fn print(
    sequence: &Sequence,
    database: &Path,
    output: &mut Output<'_>,
) -> io::Result<()> {
    if sequence.stages.is_empty() {
        return writeln!(output.data, "{:<21} none", "boot.sequence");
    }
    for stage in &sequence.stages {
        writeln!(output.data, "{:<21} {}", "boot.sequence", shown(stage))?;
    }
    let rows = match peek::deployments(database) {
        Ok(rows) => rows,
        Err(error) => {
            let why = Chain(&error);
            return writeln!(
                output.words,
                "note: the stages were not compared with what is deployed: {why}"
            );
        }
    };
    let mut deployments: Vec<Deployment> = Vec::new();
    for (active, text) in rows {
        match serde_json::from_str::<Deployment>(&text) {
            Ok(deployment) => deployments.push(Deployment { active, ..deployment }),
            Err(error) => writeln!(output.words, "warning: the registry: {error}")?,
        }
    }
    for problem in problems(sequence, &deployments) {
        writeln!(output.words, "warning: {problem}")?;
    }
    Ok(())
}

fn problems(sequence: &Sequence, deployments: &[Deployment]) -> Vec<String> {
    let all: Vec<&Deployment> = deployments.iter().collect();
    let names: Vec<ServiceName> = deployments.iter().map(|d| d.service.clone()).collect();
    let refused = sequence
        .check(&all, None)
        .err()
        .map(|error| format!("the agent will not put these stages in force: {}", Chain(&error)));
    let unknown = Some(sequence.told_unknown(&names)).filter(|told| !told.is_empty());
    let active = deployments.iter().filter(|d| d.active);
    let health = active.filter_map(|d| sequence.check_health(d).err());
    let health = health.map(|error| Chain(&error).to_string());
    refused.into_iter().chain(unknown).chain(health).collect()
}

fn shown(stage: &Stage) -> String {
    let services: Vec<&str> = stage.services.iter().map(ServiceName::as_str).collect();
    let required = if stage.required { "required" } else { "not required" };
    let health = stage.health.map_or("none", crate::deployment::StageHealth::as_str);
    format!(
        "{}: {required}, timeout {} s, health {health}: {}",
        stage.name,
        stage.timeout.as_secs(),
        services.join(", ")
    )
}
