//! What can go wrong in the registry.

use std::io;
use std::path::PathBuf;

use crate::names::{Generation, ServiceName};

/// Says why the registry could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database file could not be made or prepared.
    #[error("cannot prepare the database file {}", path.display())]
    File {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `SQLite` could not open the file.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is not a sound database.
    #[error(
        "the database {} is damaged ({problem}); move it away together with its -wal and -shm files and restore a copy",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The first thing that `PRAGMA quick_check` found.
        problem: String,
    },
    /// A later version of the program made the file.
    #[error(
        "the database {} has schema {found}, this program knows {known}; run the newer mcp-agent again",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The schema of the file.
        found: i64,
        /// The schema of this program.
        known: i64,
    },
    /// A step to the current schema failed; the file is as it was.
    #[error("cannot bring the database to schema {version}")]
    Migrate {
        /// The schema that could not be reached.
        version: i64,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The thread of the registry could not be started.
    #[error("cannot start the thread of the registry")]
    Thread(#[source] io::Error),
    /// The thread of the registry has ended; only a restart helps.
    #[error("the registry has stopped")]
    Stopped,
    /// The registry did not take the request in time.
    #[error("the registry is busy")]
    Busy,
    /// A statement failed; its transaction was undone.
    #[error("the registry could not {action}")]
    Statement {
        /// What was asked for.
        action: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The generation was accepted before; it cannot be planned again.
    #[error("generation {number} of {service} was already accepted")]
    GenerationTaken {
        /// Its service.
        service: ServiceName,
        /// Its number.
        number: Generation,
    },
    /// There is no such generation.
    #[error("there is no generation {number} of {service}")]
    NoGeneration {
        /// Its service.
        service: ServiceName,
        /// Its number.
        number: Generation,
    },
    /// The service has an unfinished operation.
    #[error("an operation on {service} is under way")]
    UnderWay {
        /// The service.
        service: ServiceName,
    },
    /// There is no such unfinished operation.
    #[error("there is no unfinished operation {id}")]
    NoOperation {
        /// Its identifier.
        id: i64,
    },
    /// There is no such service.
    #[error("there is no service {service}")]
    NoService {
        /// Its name.
        service: ServiceName,
    },
    /// Two routes want one port.
    #[error("port {port} is leased to another route")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// A lease names another service than the one it is stored for.
    #[error("a lease of {found} was given for {service}")]
    ForeignLease {
        /// The service whose leases were to be replaced.
        service: ServiceName,
        /// The service that the lease names.
        found: ServiceName,
    },
}
