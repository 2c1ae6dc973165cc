//! `mcp import compose`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::group::OutputArgs;
use super::source::{LocalFiles, absolute};
use super::write::write;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::import::compose;

/// Make a definition out of a compose project
///
/// Each compose service becomes a component. Variables come from --set, the
/// shell, and .env beside the first file, in this order. What cannot be
/// carried over is told with its place.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp import compose docker-compose.yml\n  mcp import compose compose.yaml compose.prod.yaml --profile worker --stdout"
)]
pub struct ComposeArgs {
    /// The compose files; later ones are laid over earlier ones
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Bring in the services of this profile; "*": of every one
    #[arg(long, value_name = "PROFILE")]
    pub profile: Vec<String>,
    /// Read variables from this file instead of .env
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Set a variable of the files
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Where it goes
    #[command(flatten)]
    pub output: OutputArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write NAME=VALUE".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
///
/// Nothing can be made of the files, or the definition cannot be written.
pub fn run(context: &Context<'_>, args: &ComposeArgs) -> Result<Exit, CliError> {
    let files = absolute(&args.files)?;
    let home = context.environment.home.as_deref().and_then(std::path::Path::to_str);
    let options = compose::Options {
        name: args.output.name.as_ref().map(ToString::to_string),
        profiles: args.profile.clone(),
        env_files: absolute(&args.env_file)?,
        set: args.set.iter().cloned().collect::<BTreeMap<_, _>>(),
        shell: context
            .environment
            .shell
            .as_ref()
            .map(|shell| shell.reveal().clone())
            .unwrap_or_default(),
        home: home.unwrap_or("/").to_owned(),
    };
    let (imported, read) = compose::import(&files, &mut LocalFiles, &options).map_err(|error| {
        let missing =
            matches!(error, compose::ComposeError::Required(_) | compose::ComposeError::Images(_));
        let error = CliError::usage(error);
        if missing { error.hint("--set NAME=VALUE, or a line in .env") } else { error }
    })?;
    write(context, &args.output, &imported, read)
}
