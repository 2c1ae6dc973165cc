//! Deployment to unit files, and the proof that podman reads them as meant.
//!
//! ```text
//! Deployment --view--> strings, escaped --templates--> UnitSet
//!      |                                                 | podman's generator (edge: units)
//!      +-- arguments: what podman run must get == proof == what ExecStart says
//! ```
//!
//! Pure: imports [`crate::deployment`] and what that imports.

pub mod arguments;
pub mod boot_graph;
pub mod boot_units;
mod checks;
pub mod command_line;
pub mod escape;
pub mod known_keys;
pub mod one_off;
pub mod podman_version;
pub mod proof;
pub mod released;
pub mod render;
mod schedules;
pub mod shadowed;
mod systemd_keys;
mod things;
pub mod unit_file;
pub mod unit_set;
mod view;

pub use podman_version::PodmanVersion;
pub use render::{RenderError, Renderer};
pub use unit_set::{Place, UnitSet};
