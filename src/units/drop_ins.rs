//! Drop-ins: what a person adds to a unit (`systemd.unit(5)`, and
//! `podman-systemd.unit(5)` for those of Quadlet files).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::disk::at;
use super::store::{UnitStore, UnitsError};
use crate::names::ServiceName;

impl UnitStore {
    /// Lists the drop-ins of a service and of its units, by path; `runtime` is
    /// the directory of units that go with a boot.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn drop_ins(
        &self,
        service: &ServiceName,
        units: &[String],
        runtime: &Path,
    ) -> Result<Vec<PathBuf>, UnitsError> {
        let mut found = Vec::new();
        let live = self.service_directory(service);
        for path in children(&live)? {
            if path.extension().is_some_and(|suffix| suffix == "d") {
                found.extend(configurations(&path)?);
            }
        }
        for root in
            [self.systemd_root(), &self.systemd_root().with_file_name("user.control"), runtime]
        {
            for unit in units {
                found.extend(configurations(&root.join(format!("{unit}.d")))?);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Returns a number that differs when a file of a service, a drop-in of
    /// these units, or what podman's generator reads before them, has come,
    /// gone or been written since.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn stamp(&self, service: &ServiceName, units: &[String]) -> Result<u64, UnitsError> {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let live = self.service_directory(service);
        let mut paths = children(&live)?;
        for directory in paths.clone().iter().filter(|path| path.is_dir()) {
            paths.extend(children(directory)?);
        }
        // Some of a person's may be read in the place of ours.
        let beside = children(self.search_root())?;
        paths.extend(beside.into_iter().filter(|path| path != self.quadlet_root()));
        for name in super::store::targets(service) {
            paths.push(self.systemd_root().join(name));
        }
        paths.push(self.boot_link(service));
        for unit in units {
            paths.push(self.systemd_root().join(format!("{unit}.d")));
        }
        let mut hasher = DefaultHasher::new();
        for path in paths {
            path.hash(&mut hasher);
            if let Ok(metadata) = path.symlink_metadata() {
                metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).hash(&mut hasher);
                metadata.len().hash(&mut hasher);
                std::os::unix::fs::MetadataExt::ino(&metadata).hash(&mut hasher);
            }
        }
        Ok(hasher.finish())
    }
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, UnitsError> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(at("list", directory)(error)),
    };
    let paths: io::Result<Vec<PathBuf>> = listing.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(at("list", directory))?;
    paths.sort();
    Ok(paths)
}

fn configurations(directory: &Path) -> Result<Vec<PathBuf>, UnitsError> {
    let mut paths = children(directory)?;
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "conf"));
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_of_both_kinds_are_found_and_change_the_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let (store, service) = (UnitStore::new(dir.path()), "shop".parse().unwrap());
        let (units, runtime) = (["shop.service".to_owned()], dir.path().join("run"));
        let write = |path: &Path| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::atomic_file::write(path, b"[Service]\n", 0o644).unwrap();
        };
        let found = || store.drop_ins(&service, &units, &runtime).unwrap();
        assert!(found().is_empty());
        let mut stamp = store.stamp(&service, &units).unwrap();
        let ours = store.service_directory(&service).join("shop.container.d/a.conf");
        let systemds = store.systemd_root().join("shop.service.d/b.conf");
        for path in [&ours, &systemds] {
            write(path);
            let now = store.stamp(&service, &units).unwrap();
            assert_ne!(now, stamp);
            stamp = now;
        }
        write(&store.systemd_root().join("other.service.d/c.conf"));
        write(&runtime.join("shop.service.d/d.conf"));
        write(&runtime.join("shop.service.d/readme"));
        assert_eq!(found(), [ours, runtime.join("shop.service.d/d.conf"), systemds]);
    }
}
