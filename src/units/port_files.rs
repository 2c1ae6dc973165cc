//! The sockets and forwarders that hold a service's ports, and the units that
//! check its components, among all the files in the directory of systemd's
//! units.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::disk::{at, read_text};
use super::store::UnitsError;
use crate::names::{ServiceName, UnitName};
use crate::quadlet::released::is_released;
use crate::quadlet::unit_file::{self, Directive};

/// Returns the names of those files of ours that are part of a service.
pub(super) fn of(service: &ServiceName, directory: &Path) -> Result<Vec<String>, UnitsError> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at("list", directory)(error)),
    };
    let target = UnitName::service_target(service);
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(at("list", directory))?;
        let Some(name) = port_file(entry.file_name()) else { continue };
        match read_text(&entry.path()) {
            Ok(Some(text)) if belongs_to(&text, &target) => names.push(name),
            // A person's; what is no text is that too.
            Ok(_) | Err(UnitsError::NotText { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    names.sort();
    Ok(names)
}

fn port_file(name: OsString) -> Option<String> {
    let name = name.into_string().ok()?;
    is_one(&name).then_some(name)
}

/// Tells whether a file of systemd's may be one that holds ports or checks.
pub(super) fn is_one(name: &str) -> bool {
    const ENDS: [&str; 6] = [
        ".socket",
        "-forward.service",
        "-check.service",
        "-check.timer",
        "-schedule.service",
        "-schedule.timer",
    ];
    ENDS.iter().any(|end| name.ends_with(end))
}

/// Tells whether a unit is one that we wrote for a service, and did not hand
/// over since.
fn belongs_to(text: &str, target: &UnitName) -> bool {
    let owner =
        |d: &Directive| d.section == "Unit" && d.key == "PartOf" && d.value == target.as_str();
    text.trim_start().starts_with("# Made by MCP")
        && !is_released(text)
        && unit_file::directives(text).iter().any(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_we_wrote_for_the_service_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            crate::atomic_file::write(&dir.path().join(name), text.as_bytes(), 0o644).unwrap();
        };
        let ours = "# Made by MCP from a.toml, generation 1.\n\n[Unit]\nPartOf=web.target\n";
        write("web-80.socket", ours);
        write("web-forward.service", ours);
        write("web-check.timer", ours);
        write("mcp-core-check.service", "# Made by MCP: a stage.\n[Unit]\nAfter=web.target\n");
        write("web-api-80.socket", &ours.replace("web.target", "web-api.target"));
        write("hand.socket", "[Unit]\nPartOf=web.target\n");
        write("web.target", ours);
        fs::hard_link(dir.path().join("web-80.socket"), dir.path().join("other.service")).unwrap();
        let found = of(&"web".parse().unwrap(), dir.path()).unwrap();
        assert_eq!(found, ["web-80.socket", "web-check.timer", "web-forward.service"]);
        assert!(of(&"web".parse().unwrap(), &dir.path().join("none")).unwrap().is_empty());
    }
}
