//! Opening the registry when the agent starts: a sound one as it is, a damaged
//! one moved aside, and everything else told with its way out.

use super::backup::{newest_good, stamp};
use super::run::RunError;
use super::settings::Settings;
use crate::registry::snapshot::{Main, set_aside};
use crate::registry::{Registry, RegistryError};

/// The registry, and what was wrong with the one before.
#[derive(Debug)]
pub struct Memory {
    /// The registry.
    pub registry: Registry,
    /// What the operator has to know, if the file was damaged.
    pub problem: Option<String>,
}

/// Opens the registry. A damaged file is moved aside, never overwritten; what
/// is deployed is then taken from the unit files.
///
/// # Errors
///
/// [`RunError`]: the file cannot be used, is another program's, or is of a
/// later version.
pub fn open(settings: &Settings, now_ms: i64) -> Result<Memory, RunError> {
    let path = &settings.database;
    let damage = match Registry::open(path) {
        Ok(registry) => return Ok(Memory { registry, problem: None }),
        Err(RegistryError::Damaged { problem, .. }) => problem,
        Err(error) if error.is_denied() => {
            return Err(RunError::Denied { path: path.clone(), uid: settings.uid, source: error });
        }
        Err(error) => return Err(error.into()),
    };
    let aside = set_aside(path, "corrupt", &stamp(now_ms), Main::Moved)?;
    let registry = Registry::open(path)?;
    let copy = newest_good(&settings.backup.dir).map_or_else(
        || format!("There is no copy of it in {}.", settings.backup.dir.display()),
        |copy| {
            format!(
                "To have those back: systemctl stop mcp-agent; mcp-agent restore {}; systemctl start mcp-agent.",
                copy.display()
            )
        },
    );
    let problem = format!(
        "The registry was damaged ({damage}) and is now {}; what is deployed was taken from the unit files. Tokens, the audit and earlier generations are not in them. {copy}",
        aside.display()
    );
    tracing::error!("{problem}");
    Ok(Memory { registry, problem: Some(problem) })
}
