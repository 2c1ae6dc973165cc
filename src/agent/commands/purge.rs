//! What is left of an agent that goes for good: its state, and the units of
//! the node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::agent::config::ConfigError;
use crate::agent::environment::Environment;
use crate::agent::last_good;
use crate::names::UnitName;
use crate::registry::{RegistryError, peek};
use crate::units::{UnitStore, UnitsError};

const STAMP: &str = ".local/share/systemd/timers/stamp-mcp-agent-snapshot.timer";

/// Says why nothing was purged, or not all.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// It is the system's agent, whose state is that user's home.
    #[error("this user has the system's agent: apt purge mcp-agent")]
    System,
    /// Where things are cannot be told.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The registry cannot be read.
    #[error("it cannot be told whether services are deployed")]
    Registry(#[from] RegistryError),
    /// Something still runs.
    #[error(
        "{0} services are deployed, and nothing is purged; mcp list shows them, mcp undeploy removes them"
    )]
    Deployed(usize),
    /// The unit directories cannot be changed.
    #[error(transparent)]
    Units(#[from] UnitsError),
    /// The state cannot be removed.
    #[error("cannot remove {}", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is to go.
#[derive(Debug)]
pub struct Purge {
    state_dir: PathBuf,
    store: UnitStore,
    /// What systemd keeps of the timer of copies (`systemd.timer(5)`,
    /// `Persistent=`).
    stamp: Option<PathBuf>,
}

impl Purge {
    /// Looks at what is to go, and whether it may.
    ///
    /// # Errors
    ///
    /// A service is deployed, or that cannot be told.
    pub fn prepare(environment: &Environment) -> Result<Self, PurgeError> {
        if environment.system {
            return Err(PurgeError::System);
        }
        let settings = last_good::load_or_last_good(None, environment)?.settings;
        let store = UnitStore::new(&environment.config_dir(&settings.state_dir));
        let stamp = environment.home.as_ref().map(|home| home.join(STAMP));
        let known = if settings.database.exists() {
            peek::deployments(&settings.database)?.len()
        } else {
            0
        };
        match known.max(store.services()?.len()) {
            0 => Ok(Self { state_dir: settings.state_dir, store, stamp }),
            deployed => Err(PurgeError::Deployed(deployed)),
        }
    }

    /// Returns the directory of the agent's state.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Returns the units that the node has whatever runs on it.
    pub fn units(&self) -> [UnitName; 2] {
        [UnitName::everything(), UnitName::podman_ready()]
    }

    /// Removes all of it. What is gone already is no error.
    ///
    /// # Errors
    ///
    /// The file system refuses.
    pub fn run(&self) -> Result<(), PurgeError> {
        self.store.remove_node_units(&self.units())?;
        if let Some(stamp) = &self.stamp
            && let Err(source) = fs::remove_file(stamp)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(PurgeError::State { path: stamp.clone(), source });
        }
        match fs::remove_dir_all(&self.state_dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(PurgeError::State { path: self.state_dir.clone(), source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_file;

    #[test]
    fn only_a_node_without_services_is_purged_and_never_the_system_s() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            uid: 1000,
            host_name: "rift".to_owned(),
            xdg_config_home: Some(dir.path().join("config")),
            xdg_state_home: Some(dir.path().join("state")),
            ..Environment::default()
        };
        let system = Environment { system: true, ..environment.clone() };
        assert!(matches!(Purge::prepare(&system), Err(PurgeError::System)));
        let service = dir.path().join("config/containers/systemd/mcp/web");
        fs::create_dir_all(&service).unwrap();
        let refused = Purge::prepare(&environment);
        assert!(matches!(refused, Err(PurgeError::Deployed(1))), "{refused:?}");
        fs::remove_dir(&service).unwrap();
        let units = dir.path().join("config/systemd/user");
        fs::create_dir_all(&units).unwrap();
        fs::create_dir_all(dir.path().join("state/mcp/backups")).unwrap();
        for name in ["mcp.target", "mcp-podman.service", "mine.service"] {
            atomic_file::write(&units.join(name), b"[Unit]\n", 0o644).unwrap();
        }
        Purge::prepare(&environment).unwrap().run().unwrap();
        assert!(!dir.path().join("state/mcp").exists());
        let left: Vec<_> = fs::read_dir(&units).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["mine.service"]);
        Purge::prepare(&environment).unwrap().run().unwrap();
    }
}
