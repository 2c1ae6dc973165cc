//! `mcp-master`: the daemon of a fleet.

use clap::{CommandFactory as _, Parser as _};
use mcp::master::{self, Cli};

fn main() -> anyhow::Result<()> {
    // Only when a shell asks for arguments; then this ends the process.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    Ok(master::run(&Cli::parse(), &mut std::io::stdout())?)
}
