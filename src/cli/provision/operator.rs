//! What a run has on this side: a place for ssh's socket, and a name for the
//! token.

use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::error::{CliError, FileError};

/// Makes a private directory with a short path, for the socket of ssh's
/// connection.
pub(super) fn control(context: &Context<'_>) -> Result<PathBuf, CliError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let environment = context.environment;
    let directory = match &environment.runtime_dir {
        Some(runtime) => runtime.join("mcp-ssh"),
        None => environment.config_dir().join("ssh"),
    };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.map_err(FileError::at("create", &directory))?;
    Ok(directory)
}

/// Returns whom a token is for, as the audit shows it.
pub(super) fn bearer(context: &Context<'_>) -> String {
    let home = context.environment.home.as_deref().and_then(Path::file_name);
    let user = home.map_or("operator".into(), |name| name.to_string_lossy());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String =
        format!("{user}@{host}").chars().filter(|c| !c.is_control()).take(64).collect();
    name
}
