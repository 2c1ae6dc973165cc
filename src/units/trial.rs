//! The directory in which a new generation is tried: below
//! `$XDG_RUNTIME_DIR`, which podman's generator searches first and which a
//! reboot empties. What is there takes the place of the files of the same
//! names in the configuration directory, and these are never touched.
//!
//! Measured with podman 5.4: drop-ins of the configuration directory apply to
//! the files here as well.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::disk::{at, discard, entries, make_directory, put, read_text, take};
use super::port_files;
use super::store::{UnitStore, UnitsError, check_name, exchange, is_quadlet, stage};
use crate::names::ServiceName;
use crate::quadlet::{Place, UnitSet};

/// Where generations are tried.
#[derive(Debug, Clone)]
pub struct TrialStore {
    root: PathBuf,
    staging: PathBuf,
    /// Where systemd looks before it looks into the configuration directory
    /// (`systemd.unit(5)`, "Unit File Load Path").
    control: PathBuf,
    config: UnitStore,
}

impl TrialStore {
    /// Makes a store in `$XDG_RUNTIME_DIR`, before the given one.
    pub fn new(runtime: &Path, config: UnitStore) -> Self {
        Self {
            root: runtime.join("containers/systemd/mcp"),
            // Outside the generator's search path, on the same file system.
            staging: runtime.join("containers/.mcp-staging"),
            control: runtime.join("systemd/user.control"),
            config,
        }
    }

    /// Returns the directory that holds one directory for each service that
    /// is being tried.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Has exactly the Quadlet files of a set be tried, and the sockets and
    /// forwarders that hold its ports. Its targets are left out: those in
    /// force do until then.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]; what was tried before is in place then, or the new.
    pub fn put(&self, set: &UnitSet) -> Result<(), UnitsError> {
        let new: BTreeMap<&str, &str> = set.of(Place::Quadlet).collect();
        for name in new.keys() {
            check_name(name)?;
        }
        if new.is_empty() {
            return self.remove(&set.service).map(drop);
        }
        self.put_ports(set)?;
        let (slot, live) = (self.staging.join(set.service.as_str()), self.directory(&set.service));
        discard(&slot)?;
        make_directory(&self.staging)?;
        stage(&slot, &new, &[], &live)?;
        self.link_foreign(&set.service, &slot)?;
        make_directory(&self.root)?;
        if live.symlink_metadata().is_ok() {
            exchange(&slot, &live).map_err(|error| at("put in place", &live)(error.into()))?;
        } else {
            fs::rename(&slot, &live).map_err(at("put in place", &live))?;
        }
        discard(&slot)
    }

    fn put_ports(&self, set: &UnitSet) -> Result<(), UnitsError> {
        let new: BTreeMap<&str, &str> =
            set.of(Place::Systemd).filter(|(name, _)| port_files::is_one(name)).collect();
        for name in port_files::of(&set.service, &self.control)? {
            if !new.contains_key(name.as_str()) {
                take(&self.control.join(name))?;
            }
        }
        for (name, text) in new {
            check_name(name)?;
            put(&self.control, name, text)?;
        }
        Ok(())
    }

    /// Returns the text of a file that is being tried.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn read(&self, service: &ServiceName, name: &str) -> Result<Option<String>, UnitsError> {
        read_text(&self.directory(service).join(name))
    }

    /// Links what a person put beside the service's files, such as an
    /// environment file that an `extra` key names relative to them. Units and
    /// drop-ins are found where they are.
    fn link_foreign(&self, service: &ServiceName, slot: &Path) -> Result<(), UnitsError> {
        let beside = self.config.service_directory(service);
        for (name, kind) in entries(&beside)? {
            let drop_in = kind.is_dir() && name.rsplit_once('.').is_some_and(|(_, s)| s == "d");
            let link = slot.join(&name);
            if drop_in || is_quadlet(&name) || name.starts_with('.') {
                continue;
            }
            symlink(beside.join(&name), &link).map_err(at("link", &link))?;
        }
        Ok(())
    }

    /// Ends the trial of a service; tells whether there was one.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]; repeat it.
    pub fn remove(&self, service: &ServiceName) -> Result<bool, UnitsError> {
        let live = self.directory(service);
        let ports = port_files::of(service, &self.control)?;
        for name in &ports {
            take(&self.control.join(name))?;
        }
        if live.symlink_metadata().is_err() {
            return Ok(!ports.is_empty());
        }
        discard(&live)?;
        Ok(true)
    }

    /// Removes what a killed agent left in the staging directory.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn clean(&self) -> Result<(), UnitsError> {
        discard(&self.staging)
    }

    /// Tells whether a service is being tried.
    pub fn is_there(&self, service: &ServiceName) -> bool {
        self.directory(service).is_dir()
    }

    /// Lists the services that are being tried.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn services(&self) -> Result<Vec<ServiceName>, UnitsError> {
        let names = entries(&self.root)?.into_iter();
        Ok(names.filter_map(|(name, _)| name.parse().ok()).collect())
    }

    fn directory(&self, service: &ServiceName) -> PathBuf {
        self.root.join(service.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::atomic_file::write(path, text.as_bytes(), 0o644).unwrap();
    }

    fn listing(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            entries(directory).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_trial_takes_units_along_and_leaves_the_configuration_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        let beside = config.join("containers/systemd/mcp/web");
        write(&beside.join("web.container"), "old");
        write(&beside.join("web.container.d/x.conf"), "[Container]\n");
        write(&beside.join("web.env"), "A=1\n");
        write(&beside.join(".mcp-record.json"), "{}");
        let trial = TrialStore::new(&dir.path().join("run"), UnitStore::new(&config));
        let service: ServiceName = "web".parse().unwrap();
        let mut set = UnitSet::new(service.clone(), true);
        set.files.insert((Place::Quadlet, "web.container".to_owned()), "new".to_owned());
        set.files.insert((Place::Systemd, "web.target".to_owned()), "[Unit]\n".to_owned());

        trial.put(&set).unwrap();
        let live = trial.root().join("web");
        assert_eq!(listing(&live), ["web.container", "web.env"]);
        assert_eq!(fs::read(live.join("web.container")).unwrap(), b"new");
        assert_eq!(fs::read(live.join("web.env")).unwrap(), b"A=1\n");
        assert_eq!(fs::read(beside.join("web.container")).unwrap(), b"old");
        assert!(trial.is_there(&service));

        // Another set in its place, as after a pull or a crash.
        set.files.insert((Place::Quadlet, "web.image".to_owned()), "new".to_owned());
        trial.put(&set).unwrap();
        trial.put(&set).unwrap();
        assert_eq!(listing(&live), ["web.container", "web.env", "web.image"]);
        assert_eq!(listing(&trial.staging), [""; 0]);
        assert_eq!(trial.services().unwrap(), std::slice::from_ref(&service));

        assert!(trial.remove(&service).unwrap());
        assert!(!trial.remove(&service).unwrap());
        assert_eq!(listing(trial.root()), [""; 0]);
        assert_eq!(fs::read(beside.join("web.env")).unwrap(), b"A=1\n");
        assert!(!config.join("systemd").exists());
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let trial = TrialStore::new(dir.path(), UnitStore::new(dir.path()));
        let mut set = UnitSet::new("web".parse().unwrap(), true);
        set.files.insert((Place::Quadlet, "../evil.container".to_owned()), String::new());
        assert!(matches!(trial.put(&set), Err(UnitsError::Name { .. })));
        assert_eq!(listing(dir.path()), [""; 0]);
    }

    #[test]
    fn what_holds_ports_is_tried_where_systemd_looks_first() {
        let dir = tempfile::tempdir().unwrap();
        let trial = TrialStore::new(&dir.path().join("run"), UnitStore::new(dir.path()));
        let control = dir.path().join("run/systemd/user.control");
        let unit = "# Made by MCP from a.toml, generation 1.\n[Unit]\nPartOf=web.target\n";
        write(&control.join("hand.socket"), "[Unit]\nPartOf=web.target\n");
        let mut set = UnitSet::new("web".parse().unwrap(), true);
        for (place, name) in [
            (Place::Quadlet, "web.container"),
            (Place::Systemd, "web-80.socket"),
            (Place::Systemd, "web-forward.service"),
            (Place::Systemd, "web.target"),
        ] {
            set.files.insert((place, name.to_owned()), unit.to_owned());
        }
        trial.put(&set).unwrap();
        let there = |expected: &[&str]| {
            let mut names: Vec<String> =
                entries(&control).unwrap().into_iter().map(|(name, _)| name).collect();
            names.sort();
            assert_eq!(names, expected);
        };
        there(&["hand.socket", "web-80.socket", "web-forward.service"]);
        let socket = set.files.remove(&(Place::Systemd, "web-80.socket".to_owned())).unwrap();
        set.files.insert((Place::Systemd, "web-81.socket".to_owned()), socket);
        trial.put(&set).unwrap();
        there(&["hand.socket", "web-81.socket", "web-forward.service"]);
        assert_eq!(trial.read(&set.service, "web.container").unwrap().unwrap(), unit);
        assert!(trial.remove(&set.service).unwrap());
        there(&["hand.socket"]);
        assert!(!trial.remove(&set.service).unwrap());
    }
}
