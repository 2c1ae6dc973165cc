//! The command line: options before the command, and the commands.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use crate::cli::commands;
use crate::cli::completion;
use crate::names::{ComponentName, ContainerName, NameError, NodeName, ServiceName, UnitName};
use crate::ui::ColorChoice;

/// Deploy and look after containers on a few Linux machines
#[derive(Debug, Parser)]
#[command(
    name = "mcp",
    version,
    propagate_version = false,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or invalid definition, 3 node unreachable, 4 not allowed, 5 time is up (mcp wait)\n\nExample:\n  mcp deploy mcq && mcp ps mcq"
)]
pub struct Cli {
    /// The options before the command
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Read this config file instead of ~/.config/mcp/mcp.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Go to this node; may be given several times where several are asked
    #[arg(short, long, value_name = "NODE", add = completion::nodes())]
    pub node: Vec<NodeName>,
    /// Write one JSON document to stdout
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Leave out progress and hints
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Choose when to colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub color: ColorChoice,
}

/// The node options of a command that goes to nodes.
#[derive(Debug, Default, Args)]
pub struct NodeArgs {
    /// Go to this node; may be given several times where several are asked
    #[arg(short = 'n', long = "node", id = "own_node", value_name = "NODE", add = completion::nodes())]
    pub node: Vec<NodeName>,
}

/// The commands; the comment of each argument struct is its help text.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would replace the help text")]
pub enum Command {
    Deploy(commands::deploy::DeployArgs),
    Undeploy(commands::undeploy::UndeployArgs),
    Stop(commands::stop::StopArgs),
    Start(commands::start::StartArgs),
    Restart(commands::restart::RestartArgs),
    Ps(commands::ps::PsArgs),
    List(commands::list::ListArgs),
    Status(commands::status::StatusArgs),
    Logs(commands::logs::LogsArgs),
    Exec(commands::exec::ExecArgs),
    Run(commands::run_once::RunArgs),
    Wait(commands::wait::WaitArgs),
    Push(commands::push::PushArgs),
    Pull(commands::pull::PullArgs),
    History(commands::history::HistoryArgs),
    Release(commands::release::ReleaseArgs),
    Adopt(commands::adopt::AdoptArgs),
    Sync(commands::sync::SyncArgs),
    Purge(commands::purge::PurgeArgs),
    Diff(commands::diff::DiffArgs),
    Rollback(commands::rollback::RollbackArgs),
    #[command(subcommand)]
    Service(commands::service::ServiceCommand),
    #[command(subcommand)]
    Node(commands::node::NodeCommand),
    #[command(subcommand)]
    Boot(commands::boot::BootCommand),
    Login(commands::login::LoginArgs),
    #[command(
        subcommand,
        after_help = "Examples:\n  mcp import compose docker-compose.yml\n  mcp import quadlet ~/.config/containers/systemd/blog*.container\n  mcp import run -- podman run -d --name web -p 8080:80 docker.io/library/nginx:1.29"
    )]
    Import(commands::import::ImportCommand),
    Quickstart(commands::quickstart::QuickstartArgs),
    Lint(commands::lint::LintArgs),
    Render(commands::render::RenderArgs),
    Schema(commands::schema::SchemaArgs),
    Completions(commands::completions::CompletionsArgs),
    #[command(subcommand)]
    Agent(commands::agent::AgentCommand),
    Doctor(commands::doctor::DoctorArgs),
    Explain(commands::explain::ExplainArgs),
    Top(commands::top::TopArgs),
    #[command(hide = true)]
    Man(commands::man::ManArgs),
    Events(commands::events::EventsArgs),
    Reconcile(commands::reconcile::ReconcileArgs),
    AlertTest(commands::alert_test::AlertTestArgs),
}

/// A service, or one component of it: `mcq` or `metacrypt/api`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePath {
    /// The service.
    pub service: ServiceName,
    /// The component; `None`: all of them.
    pub component: Option<ComponentName>,
}

impl ServicePath {
    /// Returns the component as the wire has it: empty for all.
    pub fn wire_component(&self) -> String {
        self.component.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl FromStr for ServicePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.split_once('/') {
            Some((service, component)) => {
                Self { service: service.parse()?, component: Some(component.parse()?) }
            }
            None => Self { service: text.parse()?, component: None },
        })
    }
}

impl fmt::Display for ServicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.component {
            Some(component) => write!(f, "{}/{component}", self.service),
            None => write!(f, "{}", self.service),
        }
    }
}

/// A component was named to a command that takes whole services.
#[derive(Debug, thiserror::Error)]
pub enum NotWhole {
    /// It is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// One component was to be stopped.
    #[error(
        "only a whole service stays stopped; on its node, `systemctl --user stop {0}` stops this component until the next deploy, start or reboot"
    )]
    Stop(UnitName),
    /// One component was to be started.
    #[error("only a whole service is started; `mcp restart {0}` has this component run")]
    Start(ServicePath),
}

/// Reads the service that is to stop.
///
/// # Errors
///
/// It is no name, or that of a component.
pub fn to_stop(text: &str) -> Result<ServiceName, NotWhole> {
    let path: ServicePath = text.parse()?;
    match &path.component {
        Some(component) => Err(NotWhole::Stop(ContainerName::new(&path.service, component).unit())),
        None => Ok(path.service),
    }
}

/// Reads the service that is to start.
///
/// # Errors
///
/// It is no name, or that of a component.
pub fn to_start(text: &str) -> Result<ServiceName, NotWhole> {
    let path: ServicePath = text.parse()?;
    if path.component.is_some() { Err(NotWhole::Start(path)) } else { Ok(path.service) }
}
