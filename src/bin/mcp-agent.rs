//! `mcp-agent`: the daemon of one node.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use mcp::agent::Parts;
use mcp::agent::commands::{self, Cli, Command, args::Output};
use mcp::agent::service::Agent;
use mcp::agent::upgrade::handover;
use mcp::supervise::TaskError;
use tokio::runtime::Builder;
use tonic::service::Routes;

/// Builds the agent's service out of its parts.
///
/// A failure ends the agent with exit code 1; long-running tasks go to
/// `parts.supervisor`.
async fn service(parts: &mut Parts) -> Result<Routes, TaskError> {
    let agent = Agent::new(parts).await?;
    Ok(mcp::agent::run::routes(agent))
}

fn main() -> anyhow::Result<ExitCode> {
    // Only when a shell asks for arguments; then this ends the process.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    // While there is one thread: an upgraded program may take our place.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            tell(handover::unless_understood(&error))?;
            error.exit()
        }
    };
    tell(handover::before(&cli.command)?)?;
    // Libraries that ask for the process's provider get ours; that one is set
    // already cannot be.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = match cli.command {
        Command::Server(_) => Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
        Command::CheckConfig(_)
        | Command::Token(_)
        | Command::Install(_)
        | Command::Probe(_)
        | Command::Check(_)
        | Command::Forward(_)
        | Command::Session(_)
        | Command::Files(_)
        | Command::Version(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Snapshot(_)
        | Command::Restore(_)
        | Command::Doctor(_) => Builder::new_current_thread().enable_all().build()?,
    };
    let (mut data, mut words) = (io::stdout(), io::stderr());
    let output = Output { data: &mut data, words: &mut words };
    Ok(runtime.block_on(commands::args::run(cli, output, service))?)
}

fn tell(words: impl IntoIterator<Item = String>) -> io::Result<()> {
    words.into_iter().try_for_each(|line| writeln!(io::stderr(), "{line}"))
}
