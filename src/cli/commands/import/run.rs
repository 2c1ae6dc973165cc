//! `mcp import run`.

use std::path::PathBuf;

use clap::Args;

use super::group::OutputArgs;
use super::source::{LocalFiles, absolute, text};
use super::write::write;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::import::run;

/// Make a definition out of podman run or docker run
///
/// The command line stands behind --, or in FILE, or comes from stdin: there
/// quotes and lines that end with a backslash are read as a shell does, and
/// each podman run becomes a component.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp import run -- podman run -d --name web -p 8080:80 docker.io/library/nginx:1.29\n  mcp import run start.sh --name shop --stdout"
)]
pub struct RunArgs {
    /// A file with command lines; - or none is stdin
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The command line
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "file")]
    pub command: Vec<String>,
    /// Where it goes
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
///
/// Nothing can be made of the command line, or the definition cannot be
/// written.
pub fn run(context: &Context<'_>, args: &RunArgs) -> Result<Exit, CliError> {
    let here = absolute([&PathBuf::from(".")])?.pop().unwrap_or_default();
    let home = context.environment.home.as_deref().and_then(std::path::Path::to_str);
    let options = run::Options {
        name: args.output.name.as_ref().map(ToString::to_string),
        directory: here,
        home: home.unwrap_or("/").to_owned(),
    };
    let (source, read) = if args.command.is_empty() {
        let path = args.file.as_deref();
        let name = path.map_or("-".to_owned(), |path| path.display().to_string());
        (run::Source::Text { name: name.clone(), text: text(path)? }, vec![name])
    } else {
        (run::Source::Words(args.command.clone()), Vec::new())
    };
    let imported = run::import(&source, &mut LocalFiles, &options).map_err(CliError::usage)?;
    write(context, &args.output, &imported, read)
}
