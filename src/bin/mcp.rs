//! The operator's command line.

use std::process::ExitCode;

use clap::CommandFactory as _;
use mcp::cli::args::Cli;
use mcp::cli::{self, Environment};
use mcp::ui::Streams;

fn main() -> anyhow::Result<ExitCode> {
    // Only when a shell asks for names; then this ends the process.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let environment = Environment::from_process();
    let run = cli::run(std::env::args_os(), &environment, Streams::process());
    Ok(ExitCode::from(runtime.block_on(run)))
}
