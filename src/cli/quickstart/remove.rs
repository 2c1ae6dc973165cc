//! Taking away what a quickstart made, and nothing else.

use std::fs;
use std::io;
use std::path::Path;

use super::host::{self, Host};
use super::make::own_agent;
use super::record::{self, Record};
use crate::cli::config::{Node, Settings};
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind, FileError};
use crate::cli::views::quickstart::QuickstartView;
use crate::cli::{connection, progress, status};
use crate::rpc::agent_v1 as proto;

/// Takes away what was made; what was changed or added since is kept.
///
/// # Errors
///
/// The agent does not answer, or something cannot be removed; the rest can
/// be removed by another try.
pub async fn remove(
    context: &Context<'_>,
    dry_run: bool,
    view: &mut QuickstartView,
) -> Result<Exit, CliError> {
    let path = record::path(context.environment);
    let Some(record) = record::load(&path)? else {
        view.unchanged("remove", "no quickstart has made anything here");
        return Ok(Exit::Done);
    };
    let (host, settings) = (Host::find(context.environment)?, context.settings()?);
    let node = own_agent(context.environment)?;
    let others = service((context, dry_run), (&settings, &node), &record, view).await?;
    let Some(others) = others else { return Ok(Exit::Shown(ErrorKind::Failed)) };
    definition(&record, dry_run, view)?;
    agent(&host, &record, (dry_run, &others), view)?;
    if let Some(image) = &record.image {
        if dry_run {
            view.planned("image", image.to_string());
        } else if !host::has_image(image)? {
            view.unchanged("image", format!("{image} is gone already"));
        } else {
            match host::remove_image(image) {
                Ok(()) => view.done("image", image.to_string()),
                Err(error) => view.kept("image", format!("{image}: {}", error.message())),
            }
        }
    }
    if dry_run {
        return Ok(Exit::Done);
    }
    gone(&path)?;
    record::tidy(&record.directories);
    Ok(Exit::Done)
}

/// Undeploys the example, unless it was changed; returns the services that are
/// left, or none if it could not be undeployed.
async fn service(
    (context, dry_run): (&Context<'_>, bool),
    (settings, node): (&Settings, &Node),
    record: &Record,
    view: &mut QuickstartView,
) -> Result<Option<Vec<String>>, CliError> {
    let failed = |status: tonic::Status| status::error(&node.name, &status);
    let mut client = match connection::open(settings, node).await {
        Ok(client) => client,
        // Cut off before there was an agent.
        Err(error) if error.kind == ErrorKind::Unreachable && !is_installed(context) => {
            view.unchanged("service", "there is no agent");
            return Ok(Some(Vec::new()));
        }
        Err(error) => return Err(error.hint("systemctl --user start mcp-agent")),
    };
    let list = client.list(proto::ListRequest {}).await.map_err(failed)?.into_inner();
    let mut names: Vec<String> = list.services.into_iter().map(|service| service.name).collect();
    let name = record.service.to_string();
    if !names.contains(&name) {
        view.unchanged("service", format!("{name} is not deployed"));
        return Ok(Some(names));
    }
    let request = proto::ServiceRequest { service: name.clone(), component: String::new() };
    let accepted = client.definition(request).await.map_err(failed)?.into_inner();
    if accepted.definition != record.text {
        view.kept("service", format!("{name} was changed since: mcp undeploy {name}"));
        return Ok(Some(names));
    }
    names.retain(|other| *other != name);
    if dry_run {
        view.planned("service", format!("mcp undeploy {name} --purge-data"));
        return Ok(Some(names));
    }
    let request = proto::UndeployRequest { service: name.clone(), purge_data: true };
    let answer = client.undeploy(request).await.map_err(failed)?.into_inner();
    let ended = progress::outcome(context, &node.name, answer).await?;
    if ended.succeeded() {
        view.done("service", format!("{name} is undeployed"));
        return Ok(Some(names));
    }
    view.failed("service", ended.message);
    Ok(None)
}

fn is_installed(context: &Context<'_>) -> bool {
    context.environment.user_config_dir().join("systemd/user/mcp-agent.service").exists()
}

fn definition(record: &Record, dry_run: bool, view: &mut QuickstartView) -> Result<(), CliError> {
    let path = &record.definition;
    let shown = path.display().to_string();
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            view.unchanged("definition", format!("{shown} is gone already"));
        }
        Err(error) => return Err(FileError::at("read", path)(error)),
        Ok(text) if text != record.text => {
            view.kept("definition", format!("{shown} was changed since"));
        }
        Ok(_) if dry_run => view.planned("definition", shown),
        Ok(_) => {
            gone(path)?;
            view.done("definition", shown);
        }
    }
    Ok(())
}

fn agent(
    host: &Host,
    record: &Record,
    (dry_run, others): (bool, &[String]),
    view: &mut QuickstartView,
) -> Result<(), CliError> {
    let command = if record.state { &["--uninstall", "--purge"][..] } else { &["--uninstall"] };
    if !record.agent {
        view.kept("agent", "it was there before");
    } else if !others.is_empty() {
        let more = format!(
            "it runs {}; afterwards: mcp-agent install --user {}",
            others.join(", "),
            command.join(" ")
        );
        view.kept("agent", more);
    } else if dry_run {
        view.planned("agent", format!("mcp-agent install --user {}", command.join(" ")));
    } else {
        host.install(command)?;
        view.done("agent", "its service and its state are removed");
    }
    Ok(())
}

fn gone(path: &Path) -> Result<(), CliError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::at("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
