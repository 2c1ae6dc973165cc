//! `mcp import quadlet`.

use std::path::PathBuf;

use clap::Args;

use super::group::OutputArgs;
use super::source::{LocalFiles, absolute};
use super::write::write;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::import::quadlet;

/// Make a definition out of Quadlet files
///
/// All files together become one service: each .container a component, what
/// they name as .network, .volume, .image and .pod goes with them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp import quadlet ~/.config/containers/systemd/web.container\n  mcp import quadlet blog*.container blog.network --name blog"
)]
pub struct QuadletArgs {
    /// The Quadlet files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where it goes
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
///
/// Nothing can be made of the files, or the definition cannot be written.
pub fn run(context: &Context<'_>, args: &QuadletArgs) -> Result<Exit, CliError> {
    let files = absolute(&args.files)?;
    let name = args.output.name.as_ref().map(ToString::to_string);
    let (imported, read) =
        quadlet::import(&files, &mut LocalFiles, name.as_deref()).map_err(CliError::usage)?;
    write(context, &args.output, &imported, read)
}
