//! The units of the boot order, which belong to the node and to no service.

use super::disk::{entries, put, read_text, sync, take};
use super::store::{Installed, UnitStore, UnitsError, check_name};
use crate::names::{ServiceName, UnitName};
use crate::quadlet::boot_units::MARK;

/// No suffix of a unit, so systemd passes it over.
pub(super) const RECORD: &str = ".mcp-boot.json";

impl UnitStore {
    /// Makes the disk hold exactly these units of the boot order: others of
    /// ours go, what a person made stays. May be repeated after a crash.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn install_boot_units(&self, files: &[(String, String)]) -> Result<Installed, UnitsError> {
        for (name, _) in files {
            check_name(name)?;
        }
        let mut changed = self.put_all(files.iter().map(|(n, t)| (n.as_str(), t.as_str())))?;
        for (name, _) in entries(self.systemd_root())? {
            let path = self.systemd_root().join(&name);
            let stale = is_boot_unit(&name) && files.iter().all(|(new, _)| *new != name);
            if stale && read_text(&path)?.is_some_and(|text| text.starts_with(MARK)) {
                changed.extend(take(&path)?);
            }
        }
        Ok(if changed.is_empty() { Installed::Unchanged } else { Installed::Changed(changed) })
    }

    /// Lists the services whose ready target is on disk: those that a stage
    /// can wait for.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn services_with_targets(&self) -> Result<Vec<ServiceName>, UnitsError> {
        let is_there = |service: &ServiceName| {
            self.systemd_root().join(UnitName::ready_target(service).as_str()).exists()
        };
        Ok(self.services()?.into_iter().filter(is_there).collect())
    }

    /// Writes what the units of the boot order were made from.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn write_boot_record(&self, text: &str) -> Result<(), UnitsError> {
        if put(self.systemd_root(), RECORD, text)?.is_some() {
            sync(self.systemd_root())?;
        }
        Ok(())
    }

    /// Reads what the units of the boot order were made from, if there are
    /// any.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn read_boot_record(&self) -> Result<Option<String>, UnitsError> {
        read_text(&self.systemd_root().join(RECORD))
    }
}

fn is_boot_unit(name: &str) -> bool {
    let ours = name.starts_with("mcp-");
    name.ends_with("-gate.target")
        || (ours && (name.ends_with(".target") || name.ends_with("-check.service")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_file;

    #[test]
    fn stale_units_of_ours_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = UnitStore::new(dir.path());
        let ours = |name: &str| (name.to_owned(), format!("{MARK}.\n[Unit]\n"));
        let files = [ours("a-gate.target"), ours("mcp-one.target"), ours("mcp-one-check.service")];
        assert!(
            matches!(store.install_boot_units(&files).unwrap(), Installed::Changed(c) if c.len() == 3)
        );
        assert_eq!(store.install_boot_units(&files).unwrap(), Installed::Unchanged);
        for foreign in ["garden-gate.target", "mcp-two.target"] {
            let path = store.systemd_root().join(foreign);
            atomic_file::write(&path, b"[Unit]\n", 0o644).unwrap();
        }
        store.install_boot_units(&files[..1]).unwrap();
        let mut left: Vec<String> =
            entries(store.systemd_root()).unwrap().into_iter().map(|(name, _)| name).collect();
        left.sort();
        assert_eq!(left, ["a-gate.target", "garden-gate.target", "mcp-two.target"]);
        assert_eq!(store.read_boot_record().unwrap(), None);
        store.write_boot_record("[]").unwrap();
        assert_eq!(store.read_boot_record().unwrap().as_deref(), Some("[]"));
    }
}
