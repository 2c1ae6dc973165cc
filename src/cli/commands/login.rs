//! `mcp login`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::config::{Address, Node, Settings};
use crate::cli::connection;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind, FileError};
use crate::cli::views::info::InfoView;
use crate::cli::{local, status};
use crate::rpc::agent_v1 as proto;
use crate::secret::Secret;
use crate::ui::visible;

/// Most bytes that are read as a token.
const MAX_TOKEN: u64 = 16 * 1024;

/// Check a token with a node and keep it
///
/// The token is asked for, or read from a file. The agent's owner makes one
/// with `mcp-agent token create`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp login -n rift\n  pass show mcp | mcp login --token-file -"
)]
pub struct LoginArgs {
    /// Read the token from this file; - for standard input
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Which node checks it; otherwise the first that takes tokens
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Why there was nothing to log in with or to.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("no node takes tokens: an agent on this machine knows you by the socket")]
    NoNode,
    #[error("there is no terminal to ask for the token on")]
    NoTerminal,
    #[error("the token is empty")]
    Empty,
    #[error("cannot read the token")]
    Read(#[source] std::io::Error),
}

/// Runs the command.
///
/// # Errors
///
/// There is no token, the node does not take it, or it cannot be kept.
pub async fn run(context: &Context<'_>, args: &LoginArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let node = node(context, &settings, args)?;
    let token = token(context, &node, args.token_file.as_deref())?;
    let mut client = connection::open_as(&node, Some(&token)).await?;
    let info = client.info(proto::InfoRequest {}).await;
    let info = info.map_err(|refused| {
        let mut error = status::error(&node.name, &refused);
        if error.kind == ErrorKind::NotAllowed {
            // To log in once more is what just failed.
            error.hints = vec!["mcp-agent token create, on the node".to_owned()];
        }
        error
    })?;
    let view = InfoView::from(info.into_inner());
    local::write(&settings.token_path(&node), format!("{}\n", token.reveal()).as_bytes(), 0o600)?;
    if settings.token.is_some() {
        context.ui.warning("MCP_TOKEN is set and will be used instead of the token just kept");
    }
    context.show(&view, |view| {
        format!("{}: you are {}, {}\n", node.name, visible(&view.caller), visible(&view.role))
    })?;
    Ok(Exit::Done)
}

fn node(context: &Context<'_>, settings: &Settings, args: &LoginArgs) -> Result<Node, CliError> {
    let takes_tokens = |node: &&Node| matches!(node.address, Address::Tls { .. });
    if !args.node.node.is_empty() || !context.nodes.is_empty() {
        return context.one_node(settings, &args.node.node, None);
    }
    settings
        .nodes
        .iter()
        .find(takes_tokens)
        .cloned()
        .ok_or_else(|| CliError::usage(LoginError::NoNode).hint("mcp node add NAME HOST:PORT"))
}

fn token(
    context: &Context<'_>,
    node: &Node,
    file: Option<&Path>,
) -> Result<Secret<String>, CliError> {
    let text = match file {
        Some(path) if path == Path::new("-") => {
            let mut text = String::new();
            let mut input = std::io::stdin().take(MAX_TOKEN);
            input.read_to_string(&mut text).map_err(|e| CliError::failed(LoginError::Read(e)))?;
            text
        }
        Some(path) => std::fs::read_to_string(path).map_err(FileError::at("read", path))?,
        None if context.ui.can_ask() => {
            rpassword::prompt_password(format!("Token for {}: ", node.name))
                .map_err(|error| CliError::failed(LoginError::Read(error)))?
        }
        None => {
            let error = CliError::usage(LoginError::NoTerminal);
            return Err(error.hint("mcp login --token-file FILE"));
        }
    };
    match text.trim() {
        "" => Err(CliError::usage(LoginError::Empty)),
        token => Ok(Secret::new(token.to_owned())),
    }
}
