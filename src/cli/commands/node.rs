//! `mcp node list|add|remove`, and the way to `mcp node provision`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::NodeArgs;
use crate::cli::commands::provision::{self, ProvisionArgs};
use crate::cli::completion;
use crate::cli::config::settings::{is_address, path};
use crate::cli::config::{Address, Node, edit};
use crate::cli::connection;
use crate::cli::context::{Answer, Context, Exit};
use crate::cli::error::{CliError, FileError};
use crate::cli::views::nodes::{NodeChangeView, NodeView, NodesView};
use crate::cli::views::problem::NodeProblem;
use crate::cli::{local, status};
use crate::names::NodeName;
use crate::rpc::agent_v1 as proto;
use crate::rpc::tls::{Fingerprint, Trust};

/// Look after the nodes of the config
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes, and ask each agent for its version
    #[command(after_help = "Example:\n  mcp node list")]
    List(NodeArgs),
    /// Add a node to the config
    ///
    /// Without --fingerprint and --ca-cert, the fingerprint that the agent
    /// shows is asked about: compare it with that of `mcp-agent check-config` there.
    #[command(
        after_help = "Examples:\n  mcp node add rift 100.95.252.120:9444\n  mcp node add rift rift.net:9444 --ca-cert /etc/mcp/ca.pem"
    )]
    Add(AddArgs),
    /// Remove a node from the config; nothing on it changes
    #[command(after_help = "Example:\n  mcp node remove rift")]
    Remove(RemoveArgs),
    #[expect(missing_docs, reason = "a comment here would replace the help text")]
    Provision(ProvisionArgs),
}

/// The arguments of `mcp node add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// What to call it
    pub name: NodeName,
    /// Where its agent is, host:port
    #[arg(value_parser = address)]
    pub address: String,
    /// The SHA-256 fingerprint of its certificate
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "ca_cert")]
    pub fingerprint: Option<Fingerprint>,
    /// A file of certificates that may have signed its certificate
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
}

/// The arguments of `mcp node remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The node
    #[arg(add = completion::nodes())]
    pub name: NodeName,
}

/// Why the config was not changed.
#[derive(Debug, thiserror::Error)]
enum NodeError {
    #[error("there is a node called {0} already")]
    Exists(NodeName),
    #[error("there is no node called {0}")]
    Unknown(NodeName),
    #[error("the certificate at {0} has not been confirmed; its fingerprint is {1}")]
    Unconfirmed(String, Fingerprint),
    #[error("`{0}` is not host:port")]
    Address(String),
}

/// Takes `host:port`, for clap.
pub(super) fn address(text: &str) -> Result<String, impl std::error::Error + use<>> {
    if is_address(text) { Ok(text.to_owned()) } else { Err(NodeError::Address(text.to_owned())) }
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid or cannot be written, or the node's certificate was
/// not confirmed.
pub async fn run(context: &Context<'_>, command: &NodeCommand) -> Result<Exit, CliError> {
    match command {
        NodeCommand::List(args) => list(context, args).await,
        NodeCommand::Add(args) => add(context, args).await,
        NodeCommand::Remove(args) => remove(context, args),
        NodeCommand::Provision(args) => provision::run(context, args).await,
    }
}

async fn list(context: &Context<'_>, args: &NodeArgs) -> Result<Exit, CliError> {
    let answers = context
        .ask(&args.node, async |node, mut client| {
            let answer = client.info(proto::InfoRequest {}).await;
            answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
        })
        .await?;
    let (mut view, mut errors) = (NodesView::default(), Vec::new());
    for Answer { node, result } in answers {
        let problem = result.as_ref().err().map(|error| NodeProblem::new(&node, error));
        let (agent, error) = match result {
            Ok(info) => (Some(info.into()), None),
            Err(error) => (None, Some(error)),
        };
        errors.extend(error);
        let (name, address) = (node.name.to_string(), node.address.to_string());
        view.nodes.push(NodeView { name, address, agent, problem });
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    for node in &view.nodes {
        for problem in node.agent.iter().flat_map(|agent| &agent.problems) {
            context.ui.warning(&format!("{}: {}", node.name, crate::ui::visible(problem)));
        }
    }
    Ok(context.finish(&errors))
}

async fn add(context: &Context<'_>, args: &AddArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let known = settings.nodes.iter().any(|node| node.name == args.name);
    if known && !settings.nothing_configured {
        let error = CliError::usage(NodeError::Exists(args.name.clone()));
        return Err(error.hint(format!("mcp node remove {}", args.name)));
    }
    let trust = match (&args.fingerprint, &args.ca_cert) {
        (Some(fingerprint), _) => Trust::Pin(*fingerprint),
        (None, Some(path)) => {
            Trust::CaFile(std::fs::canonicalize(path).map_err(FileError::at("find", path))?)
        }
        (None, None) => Trust::Pin(confirmed(context, args).await?),
    };
    let address = Address::Tls { addresses: vec![args.address.clone()], trust };
    let node = Node { name: args.name.clone(), address, token_path: None };
    let text = config_text(context)?;
    let edited = edit::add_node(&text, &node).map_err(CliError::usage)?;
    changed(context, &args.name, &edited)?;
    context.ui.hint(&format!("mcp login -n {}", args.name));
    if let Some(socket) = settings.unnamed_socket().filter(|socket| socket.exists()) {
        context.ui.warning(&format!(
            "the agent of this machine was asked as long as no node was known, and is not any more; to go on, give it a table of its own in the config: [[nodes]] name = \"local\", socket = \"{}\"",
            socket.display()
        ));
    }
    Ok(Exit::Done)
}

/// Asks whether the certificate that is seen is the right one.
async fn confirmed(context: &Context<'_>, args: &AddArgs) -> Result<Fingerprint, CliError> {
    let seen = connection::seen_fingerprint(&args.name, &args.address).await?;
    let unconfirmed = || {
        let hint = format!("mcp node add {} {} --fingerprint {seen}", args.name, args.address);
        let error = CliError::usage(NodeError::Unconfirmed(args.address.clone(), seen));
        error.hint(format!("if that is the fingerprint that the agent prints: {hint}"))
    };
    if !context.ui.can_ask() {
        return Err(unconfirmed());
    }
    context
        .ui
        .error_detail(&format!("The agent at {} shows the certificate\n  {seen}", args.address));
    if context.ui.ask("Is that the fingerprint that the agent prints?").map_err(CliError::failed)? {
        Ok(seen)
    } else {
        Err(unconfirmed())
    }
}

fn remove(context: &Context<'_>, args: &RemoveArgs) -> Result<Exit, CliError> {
    // A config that is wrong elsewhere must not stop its repair, so only the
    // text is looked at.
    let edited = edit::remove_node(&config_text(context)?, args.name.as_str());
    let Some(edited) = edited.map_err(CliError::usage)? else {
        let error = CliError::usage(NodeError::Unknown(args.name.clone()));
        return Err(error.hint("mcp node list"));
    };
    changed(context, &args.name, &edited)?;
    Ok(Exit::Done)
}

fn config_text(context: &Context<'_>) -> Result<String, CliError> {
    let path = path(context.environment, context.config.as_deref());
    Ok(local::load(&path)?.map(|file| file.text).unwrap_or_default())
}

fn changed(context: &Context<'_>, node: &NodeName, edited: &str) -> Result<(), CliError> {
    let path = path(context.environment, context.config.as_deref());
    local::save(&path, edited, local::PUBLIC)?;
    let view = NodeChangeView { node: node.to_string(), path: path.display().to_string() };
    context.show(&view, |view| format!("{}: written to {}\n", view.node, view.path))
}
