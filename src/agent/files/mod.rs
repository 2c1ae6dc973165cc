//! Files of a service's data directory: whose they are to be, and the program
//! that reads and writes them.
//!
//! ```text
//!  caller <--gRPC--> relay <--pipes--> podman unshare -- mcp-agent files (worker)
//!                      |                                       |
//!              owner: whose files        below the data directory, as root of
//!                                        the user's own namespaces
//! ```
//!
//! A container's users other than root are subordinate ids of the agent's
//! user: only root of the user's namespaces can read their files, and give
//! them any (`user_namespaces(7)`). The worker is that, and runs no container.

pub mod command;
pub mod owner;
pub mod relay;
pub mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::settings::Settings;
use crate::names::ServiceName;

/// Transfers at the same time; each has two processes.
const TRANSFERS: usize = 8;

/// Where the services' data directories are.
#[derive(Debug, Clone)]
pub struct DataDirs {
    dir: PathBuf,
    /// What is the agent's own.
    own: Vec<PathBuf>,
    /// One for each transfer that may begin.
    pub turns: Arc<Semaphore>,
    /// One for each look at names: whoever types a path keeps no file waiting.
    pub listings: Arc<Semaphore>,
}

impl DataDirs {
    /// Takes what the configuration says.
    pub fn new(settings: &Settings) -> Self {
        let own = vec![settings.state_dir.clone(), settings.database.clone()];
        let turns = || Arc::new(Semaphore::new(TRANSFERS));
        Self { dir: settings.files_dir.clone(), own, turns: turns(), listings: turns() }
    }

    /// Returns the directory that holds them all.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the data directory of a service; none if that would reach what
    /// is the agent's own.
    pub fn of(&self, service: &ServiceName) -> Option<PathBuf> {
        let directory = self.dir.join(service.as_str());
        let reaches = |own: &PathBuf| own.starts_with(&directory) || directory.starts_with(own);
        (!self.own.iter().any(reaches)).then_some(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_own_directory_is_no_services() {
        let dirs = DataDirs {
            dir: "/srv".into(),
            own: vec!["/srv/mcp".into(), "/srv/data/mcp.db".into()],
            turns: Arc::new(Semaphore::new(1)),
            listings: Arc::new(Semaphore::new(1)),
        };
        let of = |name: &str| dirs.of(&name.parse().unwrap());
        assert_eq!(of("mcq"), Some("/srv/mcq".into()));
        assert_eq!(of("mcp-master"), Some("/srv/mcp-master".into()));
        assert_eq!(of("data"), None);
        assert_eq!(dirs.dir(), Path::new("/srv"));
    }
}
