//! Whether the node will come back from a reboot: the judgements, one file a
//! kind. They look at values that [`crate::agent::engine`] has gathered, and
//! change nothing.
//!
//! ```text
//!  files on disk --files--> as accepted?
//!  podman's generator, dry run --generated--> every unit made, and as meant?
//!  what systemd will load --units--> ours, not masked, not overridden?
//!                         --pulled_in--> started if it should be, and only then?
//!                         --order--> no circle?      --limits--> time enough?
//!  images, paths, ports, the probe's program --surroundings--> there?
//! ```

pub mod files;
pub mod generated;
pub mod limits;
pub mod order;
pub mod pulled_in;
pub mod surroundings;
pub mod units;

use super::finding::Finding;

/// Returns the findings, or one that says that all is well.
pub fn or_fine(findings: Vec<Finding>, fine: Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![fine] } else { findings }
}
