//! `mcp service new|show|edit|export`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::editor;
use crate::cli::error::{CliError, OutputError};
use crate::cli::local::{self, LocalDefinition};
use crate::cli::starter::{self, Starter};
use crate::cli::status;
use crate::cli::views::service::{DefinitionView, FileView, StarterView};
use crate::names::{ComponentName, ServiceName};
use crate::rpc::agent_v1 as proto;
use crate::ui::visible_lines;

/// Look at service definitions
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Write a definition to begin with, with comments on what else there is
    #[command(
        after_help = "Examples:\n  mcp service new web --image docker.io/library/nginx:1.27 --port 127.0.0.1:8080:80\n  mcp service new web --image localhost/web:1 --volume data:/data --stdout"
    )]
    New(NewArgs),
    /// Print the definition that the node accepted last
    #[command(after_help = "Example:\n  mcp service show mcq")]
    Show(ShowArgs),
    /// Edit the local definition with $VISUAL or $EDITOR
    ///
    /// A copy is edited; it is checked before it takes the file's place. One
    /// that is given up with mistakes is kept, and it is said where.
    #[command(after_help = "Example:\n  mcp service edit mcq && mcp deploy mcq --dry-run")]
    Edit(EditArgs),
    /// Write the definition that the node accepted last to the services directory
    #[command(
        after_help = "Examples:\n  mcp service export mcq\n  mcp service export mcq --stdout"
    )]
    Export(ExportArgs),
}

/// The arguments of `mcp service new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The service
    pub service: ServiceName,
    /// Its image, with registry and tag
    #[arg(long)]
    pub image: String,
    /// Name of its component, if it is not that of the service
    #[arg(long, value_name = "NAME")]
    pub component: Option<ComponentName>,
    /// Publish a port, host:container or address:host:container; may be given several times
    #[arg(long, value_name = "PORT")]
    pub port: Vec<String>,
    /// Mount a volume or a path of the node, source:target or source:target:options
    #[arg(long, value_name = "VOLUME")]
    pub volume: Vec<String>,
    /// Set a variable: NAME=value
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Print it instead
    #[arg(long, conflicts_with = "force")]
    pub stdout: bool,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
    /// The node that it is for
    #[command(flatten)]
    pub node: NodeArgs,
}

/// The arguments of `mcp service show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// The arguments of `mcp service edit`.
#[derive(Debug, Args)]
pub struct EditArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
}

/// The arguments of `mcp service export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
    /// Print it instead
    #[arg(long, conflicts_with = "force")]
    pub stdout: bool,
    /// Overwrite a file that differs
    #[arg(long)]
    pub force: bool,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
enum ServiceError {
    #[error("{} differs from the definition on the node", .0.display())]
    Differs(PathBuf),
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    #[error("there is {} already", .0.display())]
    Exists(PathBuf),
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked, or a file is invalid or cannot be written.
pub async fn run(context: &Context<'_>, command: &ServiceCommand) -> Result<Exit, CliError> {
    match command {
        ServiceCommand::New(args) => new(context, args),
        ServiceCommand::Show(args) => {
            let view = definition(context, &args.service, &args.node).await?;
            print(context, &view)
        }
        ServiceCommand::Edit(args) => edit(context, args),
        ServiceCommand::Export(args) => export(context, args).await,
    }
}

fn new(context: &Context<'_>, args: &NewArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let path = local::path(&settings, &args.service);
    let chosen = context.nodes.iter().chain(&args.node.node).next_back();
    let wanted = Starter {
        image: args.image.clone(),
        component: args.component.clone(),
        node: chosen.cloned(),
        ports: args.port.clone(),
        volumes: args.volume.clone(),
        env: args.env.clone(),
    };
    let text = starter::text(&args.service, &wanted).map_err(CliError::usage)?;
    let made = LocalDefinition { path: path.clone(), text };
    made.check(&args.service)?;
    if args.stdout {
        if context.json {
            let service = args.service.to_string();
            context.show(&StarterView { service, definition: made.text }, |_| String::new())?;
        } else {
            context.ui.data(&made.text).map_err(OutputError::from)?;
        }
        return Ok(Exit::Done);
    }
    if local::load(&path)?.is_some() && !args.force {
        let hint = format!("mcp service edit {}", args.service);
        return Err(CliError::usage(ServiceError::Exists(path)).hint(hint));
    }
    local::save(&path, &made.text, local::PUBLIC)?;
    told(context, &args.service, &path, true)?;
    context.ui.hint(&format!("mcp service edit {0} && mcp deploy {0} --dry-run", args.service));
    Ok(Exit::Done)
}

async fn definition(
    context: &Context<'_>,
    service: &ServiceName,
    node: &NodeArgs,
) -> Result<DefinitionView, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, service, &node.node).await?;
    let request = proto::ServiceRequest { service: service.to_string(), component: String::new() };
    let node = &target.node.name;
    let answer = target.client.definition(request).await.map_err(|s| status::error(node, &s))?;
    let answer = answer.into_inner();
    Ok(DefinitionView {
        service: service.to_string(),
        node: node.to_string(),
        generation: answer.generation,
        definition: answer.definition,
    })
}

/// Prints a definition: harmless on a terminal, byte for byte elsewhere.
fn print(context: &Context<'_>, view: &DefinitionView) -> Result<Exit, CliError> {
    if context.json {
        context.show(view, |_| String::new())?;
    } else if context.ui.out_is_terminal() {
        let text = visible_lines(&view.definition);
        context.ui.data_line(text.trim_end()).map_err(OutputError::from)?;
    } else {
        context.ui.data(&view.definition).map_err(OutputError::from)?;
    }
    Ok(Exit::Done)
}

async fn export(context: &Context<'_>, args: &ExportArgs) -> Result<Exit, CliError> {
    let view = definition(context, &args.service, &args.node).await?;
    if args.stdout {
        return print(context, &view);
    }
    let path = local::path(&context.settings()?, &args.service);
    let changed = match local::load(&path)? {
        Some(local) if local.text == view.definition => false,
        Some(_) if !args.force => {
            let hint = format!("mcp service export {} --force", args.service);
            return Err(CliError::failed(ServiceError::Differs(path)).hint(hint));
        }
        Some(_) | None => {
            local::save(&path, &view.definition, local::PRIVATE)?;
            true
        }
    };
    told(context, &args.service, &path, changed)
}

fn edit(context: &Context<'_>, args: &EditArgs) -> Result<Exit, CliError> {
    let path = local::path(&context.settings()?, &args.service);
    let Some(local) = local::load(&path)? else {
        let hint = format!("mcp service export {}", args.service);
        return Err(CliError::usage(ServiceError::Missing(path)).hint(hint));
    };
    let changed = editor::edit(context, &local, &args.service)?;
    told(context, &args.service, &path, changed)?;
    if changed {
        context.ui.hint(&format!("mcp deploy {} --dry-run", args.service));
    }
    Ok(Exit::Done)
}

fn told(
    context: &Context<'_>,
    service: &ServiceName,
    path: &Path,
    changed: bool,
) -> Result<Exit, CliError> {
    let path = path.display().to_string();
    let view = FileView { service: service.to_string(), path, changed };
    context.show(&view, |view| {
        format!("{}: {}\n", view.path, if view.changed { "written" } else { "unchanged" })
    })?;
    Ok(Exit::Done)
}
