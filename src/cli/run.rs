//! From arguments to an exit code.

use std::ffi::OsString;

use clap::Parser as _;
use clap::error::ErrorKind as ClapErrorKind;

use crate::cli::args::{Cli, Command};
use crate::cli::commands;
use crate::cli::context::{Context, Exit};
use crate::cli::environment::Environment;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::peers::Peers;
use crate::ui::{Choices, Streams, Ui};

/// Runs `mcp` with these arguments, the program's name first, and returns the
/// exit code.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    streams: Streams,
) -> u8 {
    let choices = |color, quiet| Choices { color, no_color: environment.no_color, quiet };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let ui = Ui::new(streams, choices(crate::ui::ColorChoice::default(), false));
            return usage(&ui, &error);
        }
    };
    let ui = Ui::new(streams, choices(cli.global.color, cli.global.quiet));
    let context = Context {
        ui: &ui,
        environment,
        config: cli.global.config,
        json: cli.global.json,
        nodes: cli.global.node,
        peers: Peers::default(),
    };
    let done = dispatch(&context, &cli.command).await;
    context.peers.warn(&ui);
    match done {
        Ok(exit) => exit.code(),
        Err(error) => {
            error.report(&ui);
            error.kind.exit_code()
        }
    }
}

/// Shows help, the version, or what is wrong with the arguments.
fn usage(ui: &Ui, error: &clap::Error) -> u8 {
    let asked_for =
        matches!(error.kind(), ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion);
    let palette = if asked_for { ui.palette() } else { ui.err_palette() };
    let text = error.render();
    let text = if palette.paints() { text.ansi().to_string() } else { text.to_string() };
    if !asked_for {
        ui.error_detail(text.trim_end());
        return ErrorKind::Usage.exit_code();
    }
    match ui.data(&text) {
        Ok(()) => Exit::Done.code(),
        Err(_) => ErrorKind::Failed.exit_code(),
    }
}

async fn dispatch(context: &Context<'_>, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::Deploy(args) => commands::deploy::run(context, args).await,
        Command::Undeploy(args) => commands::undeploy::run(context, args).await,
        Command::Stop(args) => commands::stop::run(context, args).await,
        Command::Start(args) => commands::start::run(context, args).await,
        Command::Restart(args) => commands::restart::run(context, args).await,
        Command::Ps(args) => commands::ps::run(context, args).await,
        Command::List(args) => commands::list::run(context, args).await,
        Command::Status(args) => commands::status::run(context, args).await,
        Command::Logs(args) => commands::logs::run(context, args).await,
        Command::Exec(args) => commands::exec::run(context, args).await,
        Command::Run(args) => commands::run_once::run(context, args).await,
        Command::Wait(args) => commands::wait::run(context, args).await,
        Command::Push(args) => commands::push::run(context, args).await,
        Command::Pull(args) => commands::pull::run(context, args).await,
        Command::History(args) => commands::history::run(context, args).await,
        Command::Adopt(args) => commands::adopt::run(context, args).await,
        Command::Release(args) => commands::release::run(context, args).await,
        Command::Sync(args) => commands::sync::run(context, args).await,
        Command::Purge(args) => commands::purge::run(context, args).await,
        Command::Diff(args) => commands::diff::run(context, args).await,
        Command::Rollback(args) => commands::rollback::run(context, args).await,
        Command::Service(command) => commands::service::run(context, command).await,
        Command::Node(command) => commands::node::run(context, command).await,
        Command::Boot(command) => commands::boot::run(context, command).await,
        Command::Login(args) => commands::login::run(context, args).await,
        Command::Import(command) => commands::import::dispatch(context, command),
        Command::Quickstart(args) => commands::quickstart::run(context, args).await,
        Command::Lint(args) => commands::lint::run(context, args),
        Command::Render(args) => commands::render::run(context, args),
        Command::Schema(args) => commands::schema::run(context, args),
        Command::Completions(args) => commands::completions::run(context, args),
        Command::Agent(command) => commands::agent::run(context, command).await,
        Command::Doctor(args) => commands::doctor::run(context, args).await,
        Command::Explain(args) => commands::explain::run(context, args).await,
        Command::Top(args) => commands::top::run(context, args).await,
        Command::Man(args) => commands::man::run(context, args),
        Command::Events(args) => commands::events::run(context, args).await,
        Command::Reconcile(args) => commands::reconcile::run(context, args).await,
        Command::AlertTest(args) => commands::alert_test::run(context, args).await,
    }
}
