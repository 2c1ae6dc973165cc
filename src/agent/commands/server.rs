//! `mcp-agent server`: load, log, prepare, build, serve.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::agent::environment::Environment;
use crate::agent::last_good::{self, Loaded};
use crate::agent::run::{self, Parts, RunError};
use crate::agent::signals::{self, Reload, Signals};
use crate::agent::upgrade::confirm;
use crate::supervise::TaskError;
use crate::telemetry::{self, Chain, Format, Level, LogHandle};

/// The arguments of `mcp-agent server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Read this configuration [default: /srv/mcp/mcp-agent.toml for the
    /// system's agent, else ~/.config/mcp/mcp-agent.toml; it may be absent]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Exit code when there is no usable configuration or registry and another
/// start will not help: `EX_CONFIG` of `sysexits.h`. Its unit does not restart
/// the agent then, so no other failure may end with this code: not that of a
/// program on trial, which is to be followed by the one before it.
pub const LASTING: u8 = 78;

/// Runs the agent until it is told to end: exit code 0; 1 when it failed,
/// [`LASTING`] when another start will not help.
pub async fn run<B>(args: ServerArgs, environment: Environment, build: B) -> ExitCode
where
    B: AsyncFnOnce(&mut Parts) -> Result<Routes, TaskError>,
{
    let lasting =
        if confirm::on_trial(&environment) { ExitCode::FAILURE } else { ExitCode::from(LASTING) };
    let loaded = match last_good::load_or_last_good(args.config.as_deref(), &environment) {
        Ok(loaded) => loaded,
        Err(error) => {
            log(Level::Info, Format::Text);
            tracing::error!("{}", Chain(&error));
            return lasting;
        }
    };
    let handle = log(loaded.settings.log.level, loaded.settings.log.format);
    if let Some(problem) = &loaded.problem {
        tracing::error!("{problem}");
    }
    let reload = (args.config, environment, handle);
    match start(loaded, reload, build).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the agent ended: {}", Chain(error.as_ref()));
            let is_lasting = error.downcast_ref::<RunError>().is_some_and(RunError::is_lasting);
            if is_lasting { lasting } else { ExitCode::FAILURE }
        }
    }
}

/// Starts the log; that there is one already is no reason not to run.
fn log(level: Level, format: Format) -> Option<LogHandle> {
    match telemetry::init(level, format) {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::warn!("{}", Chain(&error));
            None
        }
    }
}

async fn start<B>(
    loaded: Loaded,
    (path, environment, log): (Option<PathBuf>, Environment, Option<LogHandle>),
    build: B,
) -> Result<(), TaskError>
where
    B: AsyncFnOnce(&mut Parts) -> Result<Routes, TaskError>,
{
    let signals = Signals::register()?;
    let shutdown = CancellationToken::new();
    let mut parts = Parts::prepare(loaded.settings.clone(), shutdown.clone())?;
    if let Some(problem) = &loaded.problem {
        parts.problems.set(signals::CAUSE, problem.clone());
    }
    let reload = Reload {
        path,
        environment: environment.clone(),
        settings: Arc::clone(&parts.settings),
        log,
        members: parts.members.clone(),
        monitor: parts.monitor.clone(),
        boot: parts.boot.clone(),
        problems: parts.problems.clone(),
    };
    parts.supervisor.spawn("signals", signals.heed(reload, shutdown));
    let routes = build(&mut parts).await?;
    run::serve(parts, routes, async move || {
        let socket = &loaded.settings.server.socket;
        let confirmed = confirm::confirm(&environment, socket).await;
        confirmed.map_err(|error| RunError::Trial(Box::new(error)))?;
        if let Err(error) = last_good::save(&loaded) {
            tracing::warn!(%error, "cannot keep a copy of the configuration");
        }
        Ok(())
    })
    .await?;
    Ok(())
}
