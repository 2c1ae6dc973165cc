//! Deployment to unit files, and the proof that podman reads them as meant.
//! Pure: imports [`crate::deployment`] and what that imports.

pub mod unit_set;

pub use unit_set::{Place, UnitSet};
