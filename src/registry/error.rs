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
        "the database {} is damaged ({problem}); put a copy in its place with `mcp-agent restore FILE`, or start the agent: it moves the damaged file aside and takes what is deployed from the unit files",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The first thing that `PRAGMA quick_check` found.
        problem: String,
    },
    /// The file is a database of another program.
    #[error(
        "the database {} is of another program, not mcp-agent's; name another file as database.path in mcp-agent.toml, or move this one away",
        path.display()
    )]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A later version of the program made the file.
    #[error(
        "the database {} has schema {found}, this program knows {known}; install the newer mcp-agent again, or put a copy of before its installation in place with `mcp-agent restore FILE`",
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

impl RegistryError {
    /// Tells whether a statement found the file damaged.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Statement { source, .. } if super::connection::is_damage(source))
    }

    /// Tells whether the file may not be used by this user.
    pub fn is_denied(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
        match self {
            Self::File { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Open { source, .. } | Self::Migrate { source, .. } => {
                matches!(source.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
            }
            Self::Damaged { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Thread(_)
            | Self::Stopped
            | Self::Busy
            | Self::Statement { .. }
            | Self::GenerationTaken { .. }
            | Self::NoGeneration { .. }
            | Self::UnderWay { .. }
            | Self::NoOperation { .. }
            | Self::NoService { .. }
            | Self::PortTaken { .. }
            | Self::ForeignLease { .. } => false,
        }
    }
}
