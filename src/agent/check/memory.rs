//! The files in which checks are remembered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Record;
use crate::atomic_file;
use crate::names::{ContainerName, UnitName};

/// The directory of the records, below `$XDG_RUNTIME_DIR`: gone with a boot.
/// The units name it in `RuntimeDirectory=`.
pub const DIRECTORY: &str = "mcp-checks";

/// Says why a record could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct MemoryError {
    /// The file.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

/// The records of one user's checks.
#[derive(Debug, Clone)]
pub struct Memory {
    directory: PathBuf,
}

impl Memory {
    /// Makes a memory; `runtime` is `$XDG_RUNTIME_DIR`.
    pub fn new(runtime: &Path) -> Self {
        Self { directory: runtime.join(DIRECTORY) }
    }

    /// Returns the directory of the records. It is there once a component
    /// was checked.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the file with the record of a container's checks.
    pub fn file(&self, container: &ContainerName) -> PathBuf {
        self.path(container.as_str())
    }

    fn path(&self, container: &str) -> PathBuf {
        self.directory.join(format!("{container}.json"))
    }

    /// Reads the record of the container that a unit runs. What cannot be
    /// read counts as nothing remembered: the next check finds out.
    pub fn load(&self, unit: &UnitName) -> Record {
        let Ok(bytes) = fs::read(self.path(stem(unit))) else { return Record::default() };
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Writes the record of the container that a unit runs.
    ///
    /// # Errors
    ///
    /// [`MemoryError`]
    pub fn save(&self, unit: &UnitName, record: &Record) -> Result<(), MemoryError> {
        let path = self.path(stem(unit));
        let write = || {
            fs::create_dir_all(&self.directory)?;
            let text = serde_json::to_vec(record).map_err(io::Error::from)?;
            atomic_file::replace(&path, &text, 0o600)
        };
        write().map_err(|source| MemoryError { path: path.clone(), source })
    }

    /// Forgets what was found of a container: somebody starts it anew.
    ///
    /// # Errors
    ///
    /// [`MemoryError`]
    pub fn forget(&self, container: &ContainerName) -> Result<(), MemoryError> {
        let path = self.file(container);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(MemoryError { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The container's name: its unit's without the suffix.
fn stem(unit: &UnitName) -> &str {
    unit.as_str().trim_end_matches(".service")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(dir.path());
        let name = ContainerName::new(&"web".parse().unwrap(), &"api".parse().unwrap());
        memory.forget(&name).unwrap();
        assert_eq!(memory.load(&name.unit()), Record::default());
        let record = Record { restarts: 3, ..Record::default() };
        memory.save(&name.unit(), &record).unwrap();
        assert_eq!(memory.load(&name.unit()), record);
        assert!(memory.file(&name).ends_with("mcp-checks/web-api.json"));
        memory.forget(&name).unwrap();
        assert_eq!(memory.load(&name.unit()), Record::default());
    }
}
