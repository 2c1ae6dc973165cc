//! What a service's unit files alone do not say: the definition that they
//! were made from. It lies beside them, so that a lost registry can be made
//! again from the unit directories.

use super::disk::{put, read_text, sync, take};
use super::store::{UnitStore, UnitsError};
use crate::names::ServiceName;

/// No Quadlet suffix, so podman's generator passes it over.
const NAME: &str = ".mcp-record.json";

impl UnitStore {
    /// Writes the record of a service whose files are installed.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn write_record(&self, service: &ServiceName, text: &str) -> Result<(), UnitsError> {
        let directory = self.service_directory(service);
        if put(&directory, NAME, text)?.is_some() {
            sync(&directory)?;
        }
        Ok(())
    }

    /// Reads the record of a service, if there is one.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn read_record(&self, service: &ServiceName) -> Result<Option<String>, UnitsError> {
        read_text(&self.service_directory(service).join(NAME))
    }

    /// Removes the record of a service, before its files go.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn remove_record(&self, service: &ServiceName) -> Result<(), UnitsError> {
        take(&self.service_directory(service).join(NAME)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadlet::{Place, UnitSet};

    #[test]
    fn a_record_outlives_installations_and_goes_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = UnitStore::new(dir.path());
        let service: ServiceName = "web".parse().unwrap();
        let mut set = UnitSet::new(service.clone(), true);
        set.files.insert((Place::Quadlet, "web.container".to_owned()), "[Container]\n".to_owned());
        store.install(&set, None).unwrap();
        assert_eq!(store.read_record(&service).unwrap(), None);
        store.write_record(&service, "{}").unwrap();
        let old = set.clone();
        set.files.insert((Place::Quadlet, "web.volume".to_owned()), "[Volume]\n".to_owned());
        store.install(&set, Some(&old)).unwrap();
        assert_eq!(store.read_record(&service).unwrap().as_deref(), Some("{}"));
        assert_eq!(store.read(&service).unwrap().unwrap().set, set);
        store.remove_record(&service).unwrap();
        store.remove_record(&service).unwrap();
        store.remove(&service, &set).unwrap();
        assert!(!dir.path().join("containers/systemd/mcp/web").exists());
    }
}
