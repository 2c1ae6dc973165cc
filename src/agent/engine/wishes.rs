//! Who asks to stop a service that is busy, or could not be undone yet: kept
//! in files, so that an agent that is killed meanwhile is not the end of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use super::Engine;
use crate::atomic_file;
use crate::names::ServiceName;
use crate::telemetry::Chain;

/// Returns the wishes that an earlier agent was left with, by service, with
/// who has asked.
pub(super) fn load(state_dir: &Path) -> BTreeMap<ServiceName, String> {
    let read = || -> io::Result<BTreeMap<ServiceName, String>> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(directory(state_dir))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(service) = name.and_then(|name| name.parse().ok()) {
                found.insert(service, std::fs::read_to_string(path)?);
            }
        }
        Ok(found)
    };
    read().unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::error!(error = %Chain(&error), "whom to stop cannot be read");
        }
        BTreeMap::new()
    })
}

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("stops")
}

impl Engine {
    /// Writes a wish down. A full disk must not keep it from being carried out.
    pub(super) fn write_wish(&self, service: &ServiceName, by: &str) {
        let path = self.wish(service);
        let write = || {
            std::fs::create_dir_all(directory(&self.tools().state_dir))?;
            atomic_file::write(&path, by.as_bytes(), 0o600)
        };
        if let Err(error) = write() {
            tracing::warn!(%service, error = %Chain(&error), "that it is to be stopped cannot be written down; only this agent knows");
        }
    }

    /// Forgets a wish that is settled.
    pub(super) fn forget_wish(&self, service: &ServiceName) {
        match std::fs::remove_file(self.wish(service)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(%service, error = %Chain(&error), "that it was to be stopped cannot be forgotten");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn wish(&self, service: &ServiceName) -> PathBuf {
        directory(&self.tools().state_dir).join(service.as_str())
    }

    /// Returns the wishes that wait for an operation to be undone.
    pub(super) fn stops(&self) -> MutexGuard<'_, BTreeMap<ServiceName, String>> {
        self.inner.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
