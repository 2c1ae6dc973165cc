//! `mcp schema`.

use clap::Args;

use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::definition;

/// Print the JSON Schema of definitions, for editors
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mcp schema > ~/.config/mcp/service.schema.json")]
pub struct SchemaArgs {}

/// Runs the command.
///
/// # Errors
///
/// The output cannot be written.
pub fn run(context: &Context<'_>, _: &SchemaArgs) -> Result<Exit, CliError> {
    // The schema is a document either way.
    context.document(&definition::json_schema())?;
    Ok(Exit::Done)
}
