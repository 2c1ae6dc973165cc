//! Making what a quickstart makes.

use std::fs;
use std::path::PathBuf;

use super::example;
use super::host::{self, Host};
use super::record::{self, Record};
use crate::atomic_file;
use crate::cli::config::{Address, Node, Settings};
use crate::cli::context::{Context, Exit};
use crate::cli::environment::Environment;
use crate::cli::error::{CliError, ErrorKind, FileError};
use crate::cli::views::quickstart::QuickstartView;
use crate::cli::{connection, local, progress, status};
use crate::names::{ImageRef, ServiceName};
use crate::rpc::agent_v1 as proto;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What the example is called.
    pub service: ServiceName,
    /// What it runs.
    pub image: ImageRef,
    /// Where it listens on this machine; none: the first port that is free.
    pub port: Option<u16>,
    /// Whether it is only to be said what would be done.
    pub dry_run: bool,
}

/// Says why the example cannot be made.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error("there is a definition {} already, and no quickstart made it", .0.display())]
    Taken(PathBuf),
    #[error("a quickstart has made the service {0} here")]
    Another(ServiceName),
    #[error("the service {0} is deployed already, and no quickstart made it")]
    Deployed(ServiceName),
}

/// Returns the agent of this user.
///
/// # Errors
///
/// None: the name is one.
pub fn own_agent(environment: &Environment) -> Result<Node, CliError> {
    let runtime = environment.runtime_dir.clone().unwrap_or_default();
    let name = "local".parse().map_err(CliError::failed)?;
    let address = Address::Socket(runtime.join("mcp/agent.sock"));
    Ok(Node { name, address, token_path: None })
}

/// Makes an agent and a service that runs, as far as they are not there.
///
/// # Errors
///
/// Something is missing or in the way; what was made so far is on record.
pub async fn make(
    context: &Context<'_>,
    wish: &Wish,
    view: &mut QuickstartView,
) -> Result<Exit, CliError> {
    let (environment, settings) = (context.environment, context.settings()?);
    let host = Host::find(environment)?;
    let path = record::path(environment);
    let definition = local::path(&settings, &wish.service);
    // Before anything is asked: even a look makes a directory.
    let missing = record::missing_directories(environment, &definition);
    let checked = host.check();
    if wish.dry_run || checked.is_err() {
        record::tidy(&missing);
    }
    view.notes = checked?;
    view.done("check", "podman and systemd are ready for containers of yours");
    let (record, is_new) = match record::load(&path)? {
        Some(record) if record.service == wish.service => (record, false),
        Some(record) => {
            let error = MakeError::Another(record.service);
            return Err(CliError::failed(error).hint("mcp quickstart --remove"));
        }
        None => (plan(environment, wish, (definition, missing))?, true),
    };
    view.serves(record.port);
    if wish.dry_run {
        tell_plan(view, &record, is_new);
        return Ok(Exit::Done);
    }
    if is_new {
        record::save(&path, &record)?;
    }
    let node = own_agent(environment)?;
    if record.agent && connection::open(&settings, &node).await.is_err() {
        context.ui.status("installing the agent as a service of yours");
        host.install(&[])?;
        view.done("agent", "installed and started: systemctl --user status mcp-agent");
    } else {
        view.unchanged("agent", "it runs");
    }
    refuse_foreign(&settings, &node, &record, is_new).await?;
    write_definition(&record, view)?;
    deploy(context, &settings, (&node, &record), view).await
}

/// Looks at what is there, so that only what is made is taken away again.
fn plan(
    environment: &Environment,
    wish: &Wish,
    (definition, directories): (PathBuf, Vec<PathBuf>),
) -> Result<Record, CliError> {
    if definition.symlink_metadata().is_ok() {
        let error = MakeError::Taken(definition);
        return Err(CliError::failed(error).hint("mcp quickstart --name OTHER"));
    }
    let port = host::free_port(wish.port)?;
    let unit = environment.user_config_dir().join("systemd/user/mcp-agent.service");
    let image = wish.image.clone();
    let is_local = image.as_str().starts_with("localhost/");
    Ok(Record {
        text: example::definition(&wish.service, &image, port),
        service: wish.service.clone(),
        directories,
        definition,
        port,
        agent: !unit.exists(),
        state: !environment.state_dir().join("mcp").exists(),
        image: (!is_local && !host::has_image(&image)?).then_some(image),
    })
}

fn tell_plan(view: &mut QuickstartView, record: &Record, is_new: bool) {
    let tell = |view: &mut QuickstartView, name, detail: String| {
        if is_new { view.planned(name, detail) } else { view.unchanged(name, detail) }
    };
    if record.agent {
        tell(view, "agent", "mcp-agent install --user".to_owned());
    } else {
        view.unchanged("agent", "it is installed");
    }
    tell(view, "definition", record.definition.display().to_string());
    tell(view, "deploy", record.service.to_string());
}

/// A service of that name that somebody else deployed is left alone.
async fn refuse_foreign(
    settings: &Settings,
    node: &Node,
    record: &Record,
    is_new: bool,
) -> Result<(), CliError> {
    if !is_new {
        return Ok(());
    }
    let mut client = connection::open(settings, node).await?;
    let list =
        client.list(proto::ListRequest {}).await.map_err(|s| status::error(&node.name, &s))?;
    if list.into_inner().services.iter().any(|known| known.name == record.service.as_str()) {
        let error = MakeError::Deployed(record.service.clone());
        return Err(
            CliError::failed(error).hint("mcp quickstart --remove; mcp quickstart --name OTHER")
        );
    }
    Ok(())
}

fn write_definition(record: &Record, view: &mut QuickstartView) -> Result<(), CliError> {
    let path = &record.definition;
    if path.exists() {
        view.unchanged("definition", path.display().to_string());
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(FileError::at("make", directory))?;
    }
    atomic_file::write(path, record.text.as_bytes(), 0o644)
        .map_err(FileError::at("write", path))?;
    view.done("definition", path.display().to_string());
    Ok(())
}

async fn deploy(
    context: &Context<'_>,
    settings: &Settings,
    (node, record): (&Node, &Record),
    view: &mut QuickstartView,
) -> Result<Exit, CliError> {
    let definition = local::required(&record.definition)?;
    definition.check(&record.service)?;
    let request = proto::DeployRequest {
        definition: definition.text,
        file_name: record.definition.display().to_string(),
        component: String::new(),
        pull: false,
    };
    let mut client = connection::open(settings, node).await?;
    let answer = client.deploy(request).await.map_err(|s| status::error(&node.name, &s))?;
    let ended = progress::outcome(context, &node.name, answer.into_inner()).await?;
    if !ended.succeeded() {
        view.failed("deploy", ended.message);
        return Ok(Exit::Shown(ErrorKind::Failed));
    }
    if ended.outcome == "unchanged" {
        view.unchanged("deploy", record.service.to_string());
    } else {
        view.done("deploy", format!("{} runs, and is healthy", record.service));
    }
    view.next(&record.service);
    Ok(Exit::Done)
}
