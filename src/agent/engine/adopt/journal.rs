//! What a takeover has put aside, on disk before anything is touched: enough
//! to put it all back.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Predecessor;
use super::thing_files::ThingFiles;
use crate::agent::engine::EngineError;
use crate::atomic_file;
use crate::names::{ComponentName, ServiceName, UnitName};
use crate::units::foreign::{self, Foreign};

/// What a takeover puts aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The containers, in the order in which they are started.
    pub(super) containers: Vec<Aside>,
    /// Their unit files, and those of what only they name.
    pub(super) files: Vec<Foreign>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Aside {
    pub(super) name: String,
    /// Podman's number of it.
    pub(super) id: String,
    pub(super) component: ComponentName,
    /// The unit that looks after it; none: podman does.
    pub(super) unit: Option<UnitName>,
    /// Whether it stays up.
    pub(super) in_place: bool,
    /// How podman starts it again by itself, if it does.
    pub(super) restart_policy: Option<String>,
    /// Seconds that it gets for its end.
    pub(super) stop_timeout: u64,
    /// Volumes, and the names of those that get their data.
    pub(super) volumes: Vec<(String, String)>,
}

impl Journal {
    /// Takes down what is to be put aside. `links` is
    /// `~/.config/systemd/user`.
    pub(super) fn new(
        all: &[Predecessor],
        things: &ThingFiles,
        links: &Path,
    ) -> Result<Self, EngineError> {
        let mut files = Vec::new();
        for unit in all.iter().filter_map(|p| p.live.unit.as_ref()) {
            files.extend(foreign::read(Path::new(&unit.path), &unit.name, links)?);
        }
        for thing in &things.aside {
            files.extend(foreign::read(&thing.path, &thing.unit(), links)?);
        }
        let containers = all.iter().map(|p| {
            let host = &p.live.container.host_config;
            Aside {
                name: p.container.clone(),
                id: p.live.container.id.clone(),
                component: p.component.clone(),
                unit: p.unit.clone(),
                in_place: p.restarts.is_empty(),
                restart_policy: host.restart_policy.argument(),
                stop_timeout: p.live.container.config.stop_timeout,
                volumes: p.volumes.iter().map(|v| (v.from.clone(), v.to.clone())).collect(),
            }
        });
        Ok(Self { containers: containers.collect(), files })
    }
}

/// The journals of a node, below the agent's directory.
#[derive(Debug, Clone)]
pub(super) struct Journals {
    root: PathBuf,
}

impl Journals {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("adopted") }
    }

    /// Returns where copies of what was put aside are kept.
    pub(super) fn kept(&self, service: &ServiceName) -> PathBuf {
        self.root.join(service.as_str())
    }

    fn path(&self, service: &ServiceName) -> PathBuf {
        self.root.join(format!("{service}.json"))
    }

    pub(super) fn write(&self, service: &ServiceName, journal: &Journal) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(journal)?;
        std::fs::create_dir_all(&self.root)?;
        // Units of people may hold what only they should see.
        atomic_file::write(&self.path(service), &text, 0o600)
    }

    /// Reads the journal of a takeover that has not been settled.
    pub(super) fn read(&self, service: &ServiceName) -> io::Result<Option<Journal>> {
        match std::fs::read(self.path(service)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&self, service: &ServiceName) -> io::Result<()> {
        match std::fs::remove_file(self.path(service)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns the services whose takeover has not been settled.
    pub(super) fn unsettled(&self) -> io::Result<Vec<ServiceName>> {
        let listing = match std::fs::read_dir(&self.root) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut services = Vec::new();
        for entry in listing {
            let name = entry?.file_name();
            let service = name.to_str().and_then(|name| name.strip_suffix(".json"));
            services.extend(service.and_then(|service| service.parse().ok()));
        }
        Ok(services)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_comes_back_until_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let journals = Journals::new(dir.path());
        let service: ServiceName = "web".parse().unwrap();
        assert_eq!(journals.unsettled().unwrap(), []);
        assert_eq!(journals.read(&service).unwrap(), None);
        let aside = Aside {
            name: "web".to_owned(),
            id: "c".to_owned(),
            component: "web".parse().unwrap(),
            unit: Some(UnitName::from_systemd("web.service")),
            in_place: false,
            restart_policy: Some("on-failure:5".to_owned()),
            stop_timeout: 10,
            volumes: vec![("a".to_owned(), "b".to_owned())],
        };
        let journal = Journal { containers: vec![aside], files: Vec::new() };
        journals.write(&service, &journal).unwrap();
        assert_eq!(journals.read(&service).unwrap(), Some(journal));
        assert_eq!(journals.unsettled().unwrap(), std::slice::from_ref(&service));
        journals.remove(&service).unwrap();
        journals.remove(&service).unwrap();
        assert_eq!(journals.unsettled().unwrap(), []);
    }
}
