//! The files of containers that stand in for others while a deploy hands
//! over: in the runtime directory, so that no boot ever starts one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::carry::carry;
use super::disk::{at, make_directory, put, take};
use super::store::{UnitStore, UnitsError};
use crate::names::{ContainerName, ServiceName};

/// Directory below `$XDG_RUNTIME_DIR`, which podman's generator searches too.
const ROOT: &str = "containers/systemd/mcp-next";

/// The stand-ins of a user's node.
#[derive(Debug, Clone)]
pub struct StandIns {
    root: PathBuf,
}

impl StandIns {
    /// Makes a store in a user's runtime directory, `$XDG_RUNTIME_DIR`.
    pub fn new(runtime: &Path) -> Self {
        Self { root: runtime.join(ROOT) }
    }

    /// Writes the file of the container that stands in for another one, with
    /// a copy of the drop-ins that a person gave to that one.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn put(
        &self,
        (service, container): (&ServiceName, &ContainerName),
        text: &str,
        store: &UnitStore,
    ) -> Result<(), UnitsError> {
        self.remove(service, container)?;
        let directory = self.root.join(service.as_str());
        make_directory(&directory)?;
        let theirs = store.service_directory(service).join(drop_ins(container));
        let ours = directory.join(drop_ins(&container.stand_in()));
        if theirs.is_dir() {
            carry(&theirs, &ours).map_err(at("copy", &theirs))?;
        }
        put(&directory, &file(&container.stand_in()), text).map(drop)
    }

    /// Removes the file of the container that stands in for another one;
    /// tells whether there was one.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]; repeat it.
    pub fn remove(
        &self,
        service: &ServiceName,
        container: &ContainerName,
    ) -> Result<bool, UnitsError> {
        let directory = self.root.join(service.as_str());
        let ours = directory.join(drop_ins(&container.stand_in()));
        match fs::remove_dir_all(&ours) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove", &ours)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let was = take(&directory.join(file(&container.stand_in())))?.is_some();
        match fs::remove_dir(&directory) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(at("remove", &directory)(error))
            }
            Ok(()) | Err(_) => Ok(was),
        }
    }

    /// Tells whether a container has a stand-in.
    pub fn has(&self, service: &ServiceName, container: &ContainerName) -> bool {
        self.root.join(service.as_str()).join(file(&container.stand_in())).exists()
    }
}

fn file(container: &ContainerName) -> String {
    format!("{container}.container")
}

fn drop_ins(container: &ContainerName) -> String {
    format!("{container}.container.d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_has_the_drop_ins_of_its_original_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (config, runtime) = (dir.path().join("config"), dir.path().join("run"));
        let store = UnitStore::new(&config);
        let stand_ins = StandIns::new(&runtime);
        let service: ServiceName = "web".parse().unwrap();
        let container = ContainerName::new(&service, &"api".parse().unwrap());
        let theirs = config.join("containers/systemd/mcp/web/web-api.container.d");
        fs::create_dir_all(&theirs).unwrap();
        crate::atomic_file::write(&theirs.join("x.conf"), b"[Container]\n", 0o644).unwrap();
        assert!(!stand_ins.has(&service, &container));
        for text in ["[Container]\n", "[Container]\nImage=a\n"] {
            stand_ins.put((&service, &container), text, &store).unwrap();
            let root = runtime.join(ROOT).join("web");
            assert_eq!(fs::read_to_string(root.join("web-api-next.container")).unwrap(), text);
            assert!(root.join("web-api-next.container.d/x.conf").is_file());
        }
        assert!(stand_ins.has(&service, &container));
        assert!(stand_ins.remove(&service, &container).unwrap());
        assert!(!stand_ins.remove(&service, &container).unwrap());
        assert!(!runtime.join(ROOT).join("web").exists());
    }
}
