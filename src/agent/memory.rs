//! Opening the registry when the agent starts: a sound one as it is, a damaged
//! one moved aside, and everything else told with its way out.

use super::backup::{self, newest_good, stamp};
use super::run::RunError;
use super::settings::Settings;
use crate::registry::snapshot::{Main, schema, set_aside};
use crate::registry::{Registry, RegistryError, newest_schema};

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
    copy_before_it_changes(settings, now_ms)?;
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

/// Keeps a copy of a registry that this program will bring to another schema:
/// the program of before cannot read that.
fn copy_before_it_changes(settings: &Settings, now_ms: i64) -> Result<(), RunError> {
    let (path, known) = (&settings.database, newest_schema());
    if !path.exists() {
        return Ok(());
    }
    // One that cannot be read, or is empty, is told about or made below.
    let Ok(found @ 1..) = schema(path) else { return Ok(()) };
    if found >= known {
        return Ok(());
    }
    let copy = backup::before_schema(path, &settings.backup, (found, now_ms))
        .map_err(|source| RunError::NoCopy { found, known, source })?;
    tracing::info!(copy = %copy.display(), found, known, "the registry gets a new schema");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::backup;
    use crate::agent::config;
    use crate::agent::environment::Environment;
    use std::path::Path;

    fn settings(directory: &Path) -> Settings {
        let environment = Environment {
            uid: rustix::process::geteuid().as_raw(),
            host_name: "rift".to_owned(),
            state_directory: Some(directory.to_owned()),
            ..Environment::default()
        };
        config::parse("", Path::new("a.toml"), &environment).unwrap()
    }

    #[tokio::test]
    async fn a_damaged_registry_is_kept_aside_and_a_new_one_begun() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let sound = open(&settings, 1).unwrap();
        assert!(sound.problem.is_none());
        sound.registry.close().await.unwrap();
        let copy = backup::make(&settings.database, &settings.backup, 1).unwrap().path;
        crate::atomic_file::write(&settings.database, &[7; 8192], 0o600).unwrap();
        let memory = open(&settings, 0).unwrap();
        memory.registry.ping().await.unwrap();
        let told = memory.problem.unwrap();
        assert!(told.contains("mcp.db.corrupt-19700101T000000.000Z"), "{told}");
        assert!(told.contains(&format!("mcp-agent restore {}", copy.display())), "{told}");
        let aside = dir.path().join("mcp.db.corrupt-19700101T000000.000Z");
        assert_eq!(std::fs::read(aside).unwrap(), [7; 8192]);
    }

    #[tokio::test]
    async fn a_registry_of_an_earlier_program_is_copied_before_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let path = &settings.database;
        crate::registry::make_old(path, 1);
        // Without a copy nothing changes.
        crate::atomic_file::write(&settings.backup.dir, b"in the way", 0o600).unwrap();
        let error = open(&settings, 1).unwrap_err();
        assert!(matches!(error, RunError::NoCopy { found: 1, .. }), "{error:?}");
        assert_eq!(schema(path).unwrap(), 1);
        std::fs::remove_file(&settings.backup.dir).unwrap();
        open(&settings, 1).unwrap().registry.close().await.unwrap();
        assert_eq!(schema(path).unwrap(), newest_schema());
        let copy = settings.backup.dir.join("mcp-schema-1-19700101T000000.001Z.db");
        assert_eq!(schema(&copy).unwrap(), 1);
        // Once is enough, and no daily copy pushes it out.
        open(&settings, 2).unwrap().registry.close().await.unwrap();
        for at in 3..6 {
            let one = backup::BackupSettings { keep: 1, ..settings.backup.clone() };
            backup::make(path, &one, at).unwrap();
        }
        assert!(copy.exists());
        assert_eq!(std::fs::read_dir(&settings.backup.dir).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_registry_of_a_later_program_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        open(&settings, 1).unwrap().registry.close().await.unwrap();
        let newer = |version: i64| {
            // The schema's number is at octet 60 of the file (sqlite.org/fileformat).
            let mut bytes = std::fs::read(&settings.database).unwrap();
            bytes[60..64].copy_from_slice(&i32::try_from(version).unwrap().to_be_bytes());
            crate::atomic_file::write(&settings.database, &bytes, 0o600).unwrap();
        };
        newer(9_999);
        let error = open(&settings, 1).unwrap_err();
        assert!(error.is_lasting(), "{error:?}");
        assert!(settings.database.exists());
    }
}
