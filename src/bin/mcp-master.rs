//! `mcp-master`: the daemon of a fleet.

use clap::Parser as _;
use mcp::master::Cli;

fn main() {
    let Cli {} = Cli::parse();
}
