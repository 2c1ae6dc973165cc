//! The program that runs: what it is, and its replacement.

use std::path::{Path, PathBuf};

use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::handover::installed_path;
use super::receive::{Head, Incoming, ReceiveError};
use super::record::{Program, Record};
use super::store::{self, Store, StoreError};
use super::trial_run::Identity;
use crate::agent::environment::Environment;
use crate::agent::gate::now_ms;
use crate::names::Sha256Text;

/// Says why no upgrade can begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// Nobody would start the agent again.
    #[error(
        "this agent was not started by systemd, and nobody would start it again; stop it and start its service"
    )]
    Unsupervised,
    /// Another upgrade comes in.
    #[error("another upgrade is under way")]
    UnderWay,
    /// This program is to show first that it works.
    #[error("this agent is on trial itself; ask again in a moment")]
    OnTrial,
    /// Something on the node would be cut off.
    #[error("a {operation} of {service} is under way; wait for its end: mcp status {service}")]
    Busy {
        /// The service.
        service: String,
        /// What is done with it.
        operation: &'static str,
    },
}

/// The program that runs.
#[derive(Debug)]
pub struct Running {
    store: Store,
    database: PathBuf,
    installed: String,
    is_upgraded: bool,
    is_supervised: bool,
    started_at_ms: i64,
    sha256: OnceCell<Option<Sha256Text>>,
    one_at_a_time: Mutex<()>,
}

impl Running {
    /// Takes the program of this process, which begins now.
    pub fn new(environment: &Environment, database: &Path) -> Self {
        Self {
            store: Store::new(&environment.state_dir()),
            database: database.to_owned(),
            installed: installed_path(environment),
            is_upgraded: environment.installed.is_some(),
            is_supervised: environment.invocation.is_some(),
            started_at_ms: now_ms(),
            sha256: OnceCell::new(),
            one_at_a_time: Mutex::new(()),
        }
    }

    /// Returns the path by which units call the installed program.
    pub fn installed(&self) -> &str {
        &self.installed
    }

    /// Tells whether it runs in the place of the installed one.
    pub fn is_upgraded(&self) -> bool {
        self.is_upgraded
    }

    /// Returns when it began, in milliseconds since the Unix epoch.
    pub fn started_at_ms(&self) -> i64 {
        self.started_at_ms
    }

    /// Returns the file that runs; a file that was replaced since is named as
    /// it was.
    pub fn path(&self) -> String {
        let running = std::env::current_exe().map(|path| path.to_string_lossy().into_owned());
        running.unwrap_or_default().trim_end_matches(" (deleted)").to_owned()
    }

    /// Returns the SHA-256 of the file that runs, if it can be read.
    pub async fn sha256(&self) -> Option<Sha256Text> {
        let read = async || tokio::task::spawn_blocking(store::own_sha256).await.ok().flatten();
        self.sha256.get_or_init(read).await.clone()
    }

    /// Returns what is known of upgrades.
    ///
    /// # Errors
    ///
    /// The record is not ours, or none.
    pub fn record(&self) -> Result<Record, StoreError> {
        self.store.load()
    }

    /// Takes the agent for one upgrade. `busy` is an operation that it would
    /// cut off.
    ///
    /// # Errors
    ///
    /// [`NotNow`]
    pub fn take(&self, busy: Option<(String, &'static str)>) -> Result<MutexGuard<'_, ()>, NotNow> {
        if !self.is_supervised {
            return Err(NotNow::Unsupervised);
        }
        let alone = self.one_at_a_time.try_lock().map_err(|_taken| NotNow::UnderWay)?;
        // A record that cannot be read is told when it is to be written.
        if self.record().is_ok_and(|record| record.begun().is_some()) {
            return Err(NotNow::OnTrial);
        }
        if let Some((service, operation)) = busy {
            return Err(NotNow::Busy { service, operation });
        }
        Ok(alone)
    }

    /// Makes room for a program.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]
    pub fn begin(&self, head: Head) -> Result<Incoming, ReceiveError> {
        Incoming::begin(&self.store, head)
    }

    /// Puts what came on trial: the next start of the agent is that.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]
    pub async fn keep(
        &self,
        incoming: Incoming,
        identity: Identity,
        by: String,
    ) -> Result<(), ReceiveError> {
        let Head { sha256, size } = incoming.head().clone();
        let file = PathBuf::from(&self.installed);
        let installed = tokio::task::spawn_blocking(move || store::sha256_of(&file)).await;
        let Identity { version, schema, program: _, arch: _ } = identity;
        let program = Program {
            version,
            // A file that cannot be read now will be another one then.
            installed: installed.ok().flatten().unwrap_or_else(|| sha256.clone()),
            sha256,
            size,
            schema,
            by,
            at_ms: now_ms(),
        };
        incoming.keep(&self.store, &program, &self.database)
    }
}
