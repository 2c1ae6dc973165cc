//! The registry: `SQLite`, the memory of the agent. All SQL is here.
//!
//! It remembers; it is not the truth. Desired state is the last accepted
//! generation, observed state is what systemd says, and a lost registry can be
//! rebuilt from the unit files. May import `names` and `atomic_file`.
//!
//! ```text
//!  Registry (clone) --closure--> bounded queue --> thread "registry" --> SQLite
//!       ^                                               |
//!       +------------------ oneshot <-------------------+
//! ```
//!
//! One closure is one transaction; the methods that make them are in one file
//! a table family, with the row type and its SQL.

pub mod audit;
pub mod connection;
pub mod deploys;
pub mod error;
pub mod events;
pub mod generations;
pub mod leases;
mod migrate;
pub mod observations;
pub mod peek;
mod row;
pub mod services;
pub mod snapshot;
pub mod tokens;

pub use audit::AuditRow;
pub use connection::Registry;
pub use deploys::{EndedRow, NewOperation, OperationRow, UNDONE, UndoneRow};
pub use error::RegistryError;
pub use events::{EventQuery, EventRow};
pub use generations::{Commit, GenerationRow, GenerationState, GenerationSummary};
pub use leases::LeaseRow;
#[cfg(test)]
pub(crate) use migrate::make_old;
pub use migrate::newest as newest_schema;
pub use observations::ObservationRow;
pub use services::ServiceRow;
pub use tokens::{Revoked, TokenRow};
