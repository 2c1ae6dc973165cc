//! `mcp node provision`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::commands::node::address;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::provision::run::{Provision, Wanted};
use crate::names::NodeName;

/// Make a machine a node, over ssh, and add it to the config
///
/// Installs the packages, has the agent serve over TLS, makes a token, asks the
/// doctor, and writes the node into the config with the fingerprint that the
/// machine itself tells. What is so already is left alone: run it again after
/// an interruption, or to see that nothing is to be done.
///
/// ssh is the system's: its config, agents, jump hosts and known hosts count.
/// Who logs in is root, or may use sudo or doas. A machine that runs NixOS is
/// shown the module that makes it a node.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp node provision root@rift --packages ~/mcp-0.1.0\n  mcp node provision rift --name rift --dry-run"
)]
pub struct ProvisionArgs {
    /// The machine, as ssh calls it
    #[arg(value_name = "HOST")]
    pub host: String,
    /// What to call the node [default: its host name]
    #[arg(long)]
    pub name: Option<NodeName>,
    /// Install the packages in this directory [default: those of the
    /// machine's own sources]
    #[arg(long, value_name = "DIR")]
    pub packages: Option<PathBuf>,
    /// Have the agent serve at this address [default: the one that ssh reached]
    #[arg(long, value_name = "IP")]
    pub listen: Option<IpAddr>,
    /// Have the agent serve at this port
    #[arg(long, default_value_t = 9444, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Reach the agent there, host:port [default: where it serves]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub address: Option<String>,
    /// Ask for the password that sudo wants on the machine
    #[arg(long)]
    pub ask_sudo_password: bool,
    /// Look, and show each step that would change something
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs the command.
///
/// # Errors
///
/// The machine cannot be reached or made a node; what was done until then
/// need not be done again.
pub async fn run(context: &Context<'_>, args: &ProvisionArgs) -> Result<Exit, CliError> {
    let wanted = Wanted {
        host: &args.host,
        name: args.name.as_ref(),
        listen: args.listen,
        port: args.port,
        address: args.address.as_deref(),
        packages: args.packages.as_deref(),
        ask_sudo_password: args.ask_sudo_password,
        dry_run: args.dry_run,
    };
    let view = Provision::new(context, wanted)?.run().await?;
    context.show(&view, |view| view.text(context.ui.palette()))?;
    if view.nixos_module.is_some() {
        context.ui.error(&format!("{} runs NixOS: its configuration makes it a node", args.host));
        return Ok(Exit::Shown(ErrorKind::Failed));
    }
    Ok(if view.has_failures() { Exit::Shown(ErrorKind::Failed) } else { Exit::Done })
}
