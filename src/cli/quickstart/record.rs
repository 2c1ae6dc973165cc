//! What a quickstart made, so that exactly that can be taken away again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::cli::environment::Environment;
use crate::cli::error::{CliError, FileError};
use crate::names::{ImageRef, ServiceName};

/// What was not there before, and was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The example service.
    pub service: ServiceName,
    /// The file of its definition.
    pub definition: PathBuf,
    /// What was written into it.
    pub text: String,
    /// The port on this machine.
    pub port: u16,
    /// The agent's service was installed.
    pub agent: bool,
    /// The agent's state, too, began with that.
    pub state: bool,
    /// The image, if it was not there before.
    pub image: Option<ImageRef>,
    /// Directories that were not there, innermost first.
    pub directories: Vec<PathBuf>,
}

/// The record is no record.
#[derive(Debug, thiserror::Error)]
#[error("{} is not what `mcp quickstart` wrote; look at it, and remove it", path.display())]
struct Unreadable {
    path: PathBuf,
    source: serde_json::Error,
}

/// Returns where the record is.
pub fn path(environment: &Environment) -> PathBuf {
    environment.state_dir().join("mcp-quickstart.json")
}

/// Reads the record, if there is one.
///
/// # Errors
///
/// It cannot be read, or is something else.
pub fn load(path: &Path) -> Result<Option<Record>, CliError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::at("read", path)(error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| CliError::failed(Unreadable { path: path.to_owned(), source }))
}

/// Writes the record.
///
/// # Errors
///
/// The file system refuses.
pub fn save(path: &Path, record: &Record) -> Result<(), CliError> {
    let text = serde_json::to_vec_pretty(record).map_err(CliError::failed)?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(FileError::at("make", directory))?;
    }
    atomic_file::write(path, &text, 0o600).map_err(FileError::at("write", path))
}

/// Returns the directories that are not there yet and that a quickstart, the
/// agent or systemd would make, innermost first.
pub fn missing_directories(environment: &Environment, definition: &Path) -> Vec<PathBuf> {
    let config = environment.user_config_dir();
    let units = config.join("systemd/user");
    let places = [
        config.join("containers/.mcp-staging"),
        config.join("containers/systemd/mcp"),
        units.join("default.target.wants"),
        units.join("timers.target.wants"),
        units.join("mcp.target.wants"),
        environment.data_dir().join("systemd/timers"),
        environment.state_dir(),
        definition.parent().unwrap_or(definition).to_owned(),
    ];
    let mut missing: Vec<PathBuf> = places
        .iter()
        .flat_map(|place| place.ancestors().take_while(|directory| !directory.exists()))
        .map(Path::to_owned)
        .collect();
    missing
        .sort_by(|a, b| b.components().count().cmp(&a.components().count()).then_with(|| a.cmp(b)));
    missing.dedup();
    missing
}

/// Removes directories, innermost first, as far as nothing is in them.
pub fn tidy(directories: &[PathBuf]) {
    for directory in directories {
        // What has something in it is in use.
        drop(fs::remove_dir(directory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_and_only_what_is_missing_is_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/mcp-quickstart.json");
        assert_eq!(load(&path).unwrap(), None);
        let environment = Environment { home: Some(dir.path().into()), ..Environment::default() };
        let definition = dir.path().join("a/b/hello.toml");
        let directories = missing_directories(&environment, &definition);
        for made in ["a/b", ".config/containers/.mcp-staging", ".config/systemd/user", ".local"] {
            assert!(directories.contains(&dir.path().join(made)), "{made}: {directories:?}");
        }
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::create_dir_all(dir.path().join(".config/systemd/user/timers.target.wants")).unwrap();
        atomic_file::write(&dir.path().join(".config/systemd/mine"), b"", 0o600).unwrap();
        tidy(&directories);
        assert!(
            !dir.path().join("a").exists() && !dir.path().join(".config/systemd/user").exists()
        );
        assert!(dir.path().join(".config/systemd/mine").exists());
        let record = Record {
            service: "hello".parse().unwrap(),
            definition,
            text: "name = \"hello\"\n".to_owned(),
            port: 8080,
            agent: true,
            state: false,
            image: Some("docker.io/library/busybox:1".parse().unwrap()),
            directories,
        };
        save(&path, &record).unwrap();
        assert_eq!(load(&path).unwrap(), Some(record));
        atomic_file::write(&path, b"{}", 0o600).unwrap();
        assert!(load(&path).unwrap_err().message().contains("look at it, and remove it"));
    }
}
