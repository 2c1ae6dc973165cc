//! What the unit that looked after a container said besides the container.

use super::LiveUnit;
use crate::import::note::Notes;
use crate::import::quadlet::{self, Around};
use crate::import::sheet::{Part, Sheet};

/// Tells whether `podman generate systemd` writes such a line into every unit
/// (`podman-generate-systemd(1)`).
fn is_generated(key: &str, value: &str) -> bool {
    match key {
        "Description" | "Documentation" | "KillMode" | "NotifyAccess" | "PIDFile"
        | "RequiresMountsFor" | "TimeoutStopSec" | "Type" | "ExecStart" => true,
        "Environment" => value.starts_with("PODMAN_SYSTEMD_UNIT="),
        "ExecStartPre" | "ExecStop" | "ExecStopPost" | "ExecReload" => {
            value.contains("podman ") || value.starts_with("/bin/rm -f %t/")
        }
        _ => false,
    }
}

/// Reads them.
pub(super) fn read(
    (part, sheet, notes): (&mut Part, &mut Sheet, Notes),
    around: &Around<'_>,
    unit: &LiveUnit,
) -> Notes {
    let own = |key: &str, value: &str| !unit.is_quadlet && is_generated(key, value);
    let file = (unit.path.as_str(), unit.text.as_str());
    quadlet::surroundings((part, sheet, notes), around, file, own)
}
