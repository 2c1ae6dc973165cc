//! The command line of `mcp-agent`, and what runs each command.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tonic::service::Routes;

use super::{check_config, completions, doctor, install, man, restore, server, snapshot, token};
use crate::agent::Parts;
use crate::agent::environment::Environment;
use crate::agent::upgrade::trial_run::Identity;
use crate::agent::{check, files, forward, probe, session};
use crate::supervise::TaskError;
use crate::telemetry::Chain;

/// Exit code for a mistake in the arguments or the configuration.
pub const USAGE: u8 = 2;

/// Run the MCP agent of this node, or prepare it
#[derive(Debug, Parser)]
#[command(name = "mcp-agent", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `mcp-agent` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent in the foreground
    Server(server::ServerArgs),
    /// Check a configuration, and print what it means
    CheckConfig(check_config::CheckConfigArgs),
    /// Make, list and revoke bearer tokens for calls over TCP
    Token(token::TokenArgs),
    /// Run the agent as a service of this user, or stop doing so
    Install(install::InstallArgs),
    /// Wait until something answers; run by units that have no check of
    /// podman's
    Probe(probe::ProbeArgs),
    /// Look once whether a running component is healthy; run by units
    Check(check::CheckArgs),
    /// Hand connections to the container that serves now; run by units of
    /// services that are deployed blue-green
    Forward(forward::ForwardArgs),
    /// Hold a session of mcp exec or mcp run; run by units
    Session(session::attend::SessionArgs),
    /// Send or receive files of a service; run by the agent in the user's
    /// namespaces
    #[command(hide = true)]
    Files(files::worker::FilesArgs),
    /// Print the version
    Version(VersionArgs),
    /// Print a shell's completion script
    Completions(completions::CompletionsArgs),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::ManArgs),
    /// Make a copy of the registry and prove it; the agent may run
    Snapshot(snapshot::SnapshotArgs),
    /// Put a copy in the place of the registry; the agent must be stopped
    Restore(restore::RestoreArgs),
    /// Look for what is wrong with the node, and name the commands that mend it
    Doctor(doctor::DoctorArgs),
}

/// The arguments of `mcp-agent version`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct VersionArgs {
    /// Print the number of the registry's schema that this program knows
    #[arg(long)]
    pub schema: bool,
    /// Write one JSON document: program, version, schema of the registry, arch
    #[arg(long, conflicts_with = "schema")]
    pub json: bool,
}

/// Says why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] crate::agent::config::ConfigError),
    /// A token could not be made, listed or revoked.
    #[error(transparent)]
    Token(#[from] token::TokenError),
    /// The service of this user could not be changed.
    #[error(transparent)]
    Install(#[from] install::InstallError),
    /// What was probed never answered.
    #[error(transparent)]
    Probe(Box<probe::ProbeError>),
    /// What was checked is unhealthy.
    #[error(transparent)]
    Check(Box<check::CheckError>),
    /// Nothing could be forwarded.
    #[error(transparent)]
    Forward(#[from] forward::ForwardError),
    /// There was no session.
    #[error(transparent)]
    Session(#[from] session::attend::SessionError),
    /// There is no new copy of the registry.
    #[error(transparent)]
    Snapshot(#[from] snapshot::SnapshotCommandError),
    /// The copy is not in place.
    #[error(transparent)]
    Restore(#[from] restore::RestoreError),
    /// The node is not well.
    #[error(transparent)]
    Doctor(#[from] doctor::DoctorError),
    /// A manual page could not be written.
    #[error(transparent)]
    Man(#[from] crate::manual::PageError),
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// Where a command prints: data, and words for a person.
pub struct Output<'a> {
    /// Data.
    pub data: &'a mut dyn Write,
    /// Status, warnings and hints.
    pub words: &'a mut dyn Write,
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

/// Runs a command and returns the exit code: 0 done, 1 failed, 2 a mistake in
/// the arguments or the configuration. `build` makes the agent's service out
/// of its parts, for the command `server`.
///
/// # Errors
///
/// Nobody reads what is printed.
pub async fn run<B>(cli: Cli, mut output: Output<'_>, build: B) -> io::Result<ExitCode>
where
    B: AsyncFnOnce(&mut Parts) -> Result<Routes, TaskError>,
{
    let environment = Environment::of_process();
    let result = match cli.command {
        Command::Server(args) => return Ok(server::run(args, environment, build).await),
        Command::CheckConfig(args) => check_config::run(&args, &environment, &mut output),
        Command::Token(args) => token::run(args, &environment, &mut output).await,
        Command::Install(args) => install::run(&args, &environment, &mut output).await,
        Command::Probe(args) => {
            probe::run(args, output.words).await.map_err(|e| CommandError::Probe(Box::new(e)))
        }
        Command::Check(args) => {
            check::run::run(args, &environment).await.map_err(|e| CommandError::Check(Box::new(e)))
        }
        Command::Forward(args) => forward::run(args).await.map_err(CommandError::Forward),
        Command::Session(args) => session::attend::run(args).await.map_err(CommandError::Session),
        Command::Files(args) => return Ok(files::worker::run(&args)),
        Command::Version(args) => version(args, &mut output),
        Command::Completions(args) => completions::run(&args, &mut output),
        Command::Man(args) => man::run(&args),
        Command::Snapshot(args) => snapshot::run(args, &environment, &mut output),
        Command::Restore(args) => restore::run(&args, &environment, &mut output),
        Command::Doctor(args) => doctor::run(&args, &environment, &mut output).await,
    };
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // What was told already is not told again.
        Err(CommandError::Doctor(doctor::DoctorError::Told(_))) => Ok(ExitCode::FAILURE),
        Err(error) => {
            writeln!(output.words, "error: {}", Chain(&error))?;
            Ok(match error {
                CommandError::Config(_) => ExitCode::from(USAGE),
                CommandError::Token(_)
                | CommandError::Install(_)
                | CommandError::Probe(_)
                | CommandError::Check(_)
                | CommandError::Forward(_)
                | CommandError::Session(_)
                | CommandError::Snapshot(_)
                | CommandError::Restore(_)
                | CommandError::Doctor(_)
                | CommandError::Man(_)
                | CommandError::Output(_) => ExitCode::FAILURE,
            })
        }
    }
}

fn version(args: VersionArgs, output: &mut Output<'_>) -> Result<(), CommandError> {
    let own = Identity::own();
    if args.json {
        serde_json::to_writer_pretty(&mut *output.data, &own).map_err(io::Error::from)?;
        writeln!(output.data)?;
    } else if args.schema {
        writeln!(output.data, "{}", own.schema)?;
    } else {
        writeln!(output.data, "{} {}", own.program, own.version)?;
    }
    Ok(())
}
