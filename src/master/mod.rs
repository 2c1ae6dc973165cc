//! `mcp-master`: one per fleet. Today it answers `--version` and `--help`.

use clap::Parser;

/// Look after a fleet of nodes (nothing yet: nodes work without a master)
#[derive(Debug, Parser)]
#[command(name = "mcp-master", version, arg_required_else_help = true)]
pub struct Cli {}
