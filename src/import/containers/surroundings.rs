//! What the unit that looked after a container said besides the container.

use super::LiveUnit;
use crate::definition::model::Definition;
use crate::import::note::Notes;
use crate::import::quadlet::{self, Around};
use crate::import::sheet::Part;

/// Keys that `podman generate systemd` writes into every unit
/// (`podman-generate-systemd(1)`).
const GENERATED: &[&str] = &[
    "Description",
    "Documentation",
    "Environment",
    "ExecReload",
    "ExecStart",
    "ExecStartPre",
    "ExecStop",
    "ExecStopPost",
    "KillMode",
    "NotifyAccess",
    "PIDFile",
    "RequiresMountsFor",
    "TimeoutStopSec",
    "Type",
];

/// Reads them.
pub(super) fn read(
    (part, service, notes): (&mut Part, &mut Definition, Notes),
    around: &Around<'_>,
    unit: &LiveUnit,
    is_alone: bool,
) -> Notes {
    let own = if unit.is_quadlet { &[] } else { GENERATED };
    let file = (unit.path.as_str(), unit.text.as_str());
    quadlet::surroundings((part, service, notes), around, file, (is_alone, own))
}
