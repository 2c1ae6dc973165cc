//! Who asks to stop a service that is busy, or could not be undone yet: kept
//! in files, so that an agent that is killed meanwhile is not the end of it.
//!
//! The last command of a person wins: a wish is carried out, or dropped when a
//! start, deploy or removal begins after it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::{Busy, Engine, EngineError, lifecycle, reconcile};
use crate::agent::progress::Progress;
use crate::atomic_file;
use crate::names::ServiceName;
use crate::telemetry::Chain;

/// Returns the wishes that an earlier agent was left with, by service, with
/// who has asked. One that cannot be read is left out.
pub(super) fn load(state_dir: &Path) -> BTreeMap<ServiceName, String> {
    let unread = |path: &Path, error: &io::Error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::error!(path = %path.display(), error = %Chain(error), "whom to stop cannot be read");
        }
    };
    let directory = directory(state_dir);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) => {
            unread(&directory, &error);
            return BTreeMap::new();
        }
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                unread(&directory, &error);
                continue;
            }
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(service) = name.and_then(|name| name.parse().ok()) else { continue };
        match std::fs::read_to_string(&path) {
            Ok(by) => drop(found.insert(service, by)),
            Err(error) => unread(&path, &error),
        }
    }
    found
}

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("stops")
}

/// Writes a wish so that a power loss does not take it.
fn write(state_dir: &Path, service: &ServiceName, by: &str) -> io::Result<()> {
    let directory = directory(state_dir);
    if !directory.exists() {
        std::fs::create_dir_all(&directory)?;
        atomic_file::sync_directory(state_dir)?;
    }
    atomic_file::write(&directory.join(service.as_str()), by.as_bytes(), 0o600)
}

/// Removes a wish so that a power loss does not bring it back.
fn remove(state_dir: &Path, service: &ServiceName) -> io::Result<()> {
    let directory = directory(state_dir);
    match std::fs::remove_file(directory.join(service.as_str())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| atomic_file::sync_directory(&directory)),
    }
}

impl Engine {
    /// Writes a wish down. A full disk must not keep it from being carried out.
    pub(super) async fn write_wish(&self, service: &ServiceName, by: &str) {
        let by = by.to_owned();
        let written = self.with_wish(service, move |dir, service| write(dir, service, &by));
        if let Err(error) = written.await {
            tracing::warn!(%service, error = %Chain(&error), "that it is to be stopped cannot be written down; only this agent knows");
        }
    }

    /// Drops a wish: it is settled, or a person wants something else since.
    pub(super) async fn drop_wish(&self, service: &ServiceName) {
        self.stops().remove(service);
        if let Err(error) = self.with_wish(service, remove).await {
            tracing::error!(%service, error = %Chain(&error), "that it was to be stopped cannot be forgotten; the next agent would stop it");
        }
    }

    /// Drops the wish that an operation of a person is the end of, once that
    /// has begun. A stop that waits for this very operation is none yet.
    pub(super) async fn overrule_stop(&self, service: &ServiceName) {
        let by = self.stops().get(service).cloned();
        if let Some(by) = by {
            tracing::info!(%service, "it is not stopped any more, as {by} had asked for");
            self.drop_wish(service).await;
        }
    }

    async fn with_wish(
        &self,
        service: &ServiceName,
        work: impl FnOnce(&Path, &ServiceName) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (state_dir, service) = (self.tools().state_dir.clone(), service.clone());
        let done = tokio::task::spawn_blocking(move || work(&state_dir, &service)).await;
        done.map_err(io::Error::other)?
    }

    /// Returns the wishes that wait for an operation to be undone.
    pub(super) fn stops(&self) -> MutexGuard<'_, BTreeMap<ServiceName, String>> {
        self.inner.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it in mind that somebody stops a service whose operation could
    /// not be undone.
    pub(super) async fn stop_when_undone(&self, service: &ServiceName, by: &str) {
        self.write_wish(service, by).await;
        self.stops().insert(service.clone(), by.to_owned());
        self.leave_for_later();
    }

    /// Stops what somebody has asked to stop, but for what was tried already.
    pub(super) async fn stop_all_as_asked(&self, tried: &BTreeSet<ServiceName>) {
        let wished: Vec<ServiceName> = self.stops().keys().cloned().collect();
        for service in wished.iter().filter(|service| !tried.contains(service)) {
            self.stop_if_asked(service).await;
        }
    }

    /// Stops a service whose operation is settled, if somebody has asked for
    /// it meanwhile.
    pub(super) async fn stop_if_asked(&self, service: &ServiceName) {
        if !self.stops().contains_key(service) {
            return;
        }
        let taken = match self.under_way(service) {
            // What else gives way is of a person, and drops the wish.
            Some(reconcile::KIND | reconcile::HEAL) => {
                let unheard = Progress::unheard();
                self.take_over(service, lifecycle::STOP, &unheard).await.map(|(busy, _)| busy)
            }
            Some(_) | None => self.take(service, lifecycle::STOP),
        };
        match taken {
            Ok(busy) => self.stop_as_asked(&busy).await,
            Err(error) => {
                tracing::info!(%service, "not stopped yet: {error}");
                self.leave_for_later();
            }
        }
    }

    /// Carries a wish out; it stays until that is done.
    pub(super) async fn stop_as_asked(&self, busy: &Busy) {
        let service = &busy.service;
        let by = self.stops().get(service).cloned();
        let Some(by) = by else { return };
        match self.stop_taken(busy, None, &by, &Progress::unheard()).await {
            // Nothing of a first deploy is left.
            Ok(()) | Err(EngineError::NotDeployed { .. }) => self.drop_wish(service).await,
            // It has the wish again.
            Err(EngineError::NotUndone { .. }) => {}
            Err(error) => {
                tracing::error!(%service, error = %Chain(&error), "not stopped yet");
                self.leave_for_later();
            }
        }
    }

    /// Tells whether a service is not there, and may be brought back yet.
    pub(super) fn may_come_back(&self, service: &ServiceName) -> bool {
        self.find(service).is_none() && !self.inner.brought_back.load(Ordering::SeqCst)
    }

    /// Stops what was lost, is brought back, and was to be stopped; what is
    /// not there by now does not come back.
    pub async fn stop_what_came_back(&self) {
        self.inner.brought_back.store(true, Ordering::SeqCst);
        self.stop_all_as_asked(&BTreeSet::new()).await;
    }
}

#[cfg(test)]
#[path = "wishes_tests.rs"]
mod tests;
