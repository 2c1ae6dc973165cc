//! Handing a service's files over to the user, so that a crash leaves them
//! where a boot finds them, and repeating it does the rest.

use std::fs;
use std::path::{Path, PathBuf};

use super::disk::{at, is_empty, put, put_link, read_text, sync, take};
use super::store::{UnitStore, UnitsError};
use crate::names::{ServiceName, UnitName};
use crate::quadlet::{Place, UnitSet};

impl UnitStore {
    /// Returns where the Quadlet files of a released service are: beside our
    /// own directory, where podman's generator finds them as well.
    pub fn released_directory(&self, service: &ServiceName) -> PathBuf {
        self.search_root().join(service.as_str())
    }

    /// Tells whether a released service's place is taken while its files are
    /// still in ours. An empty directory, as a takeover leaves one behind, gives
    /// way.
    pub fn cannot_release(&self, service: &ServiceName) -> bool {
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        let place = self.released_directory(service);
        let is_free = !is_there(&place)
            || (!place.is_symlink() && place.is_dir() && is_empty(&place).unwrap_or(false));
        !is_free && is_there(&self.service_directory(service))
    }

    /// Moves a service's files out of our directories; `ours` are their names,
    /// and `rewrite` turns the text of one into what it is to be. What a person
    /// put beside them, such as drop-ins, moves along. Returns the new place.
    ///
    /// The directory moves in one step, and is in the generator's search path
    /// before and after. The link that a boot follows is made before the one
    /// of ours goes. May be repeated after a crash.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]; repeat it to do the rest.
    pub fn release(
        &self,
        ours: &UnitSet,
        rewrite: impl Fn(&str) -> String,
    ) -> Result<PathBuf, UnitsError> {
        let service = &ours.service;
        let (live, new) = (self.service_directory(service), self.released_directory(service));
        if live.symlink_metadata().is_ok() {
            self.remove_record(service)?;
            fs::rename(&live, &new).map_err(at("move", &live))?;
            sync(self.quadlet_root())?;
            sync(self.search_root())?;
        }
        rewrite_all(&new, ours.of(Place::Quadlet).map(|(name, _)| name), &rewrite)?;
        let systemd = self.systemd_root();
        rewrite_all(systemd, ours.of(Place::Systemd).map(|(name, _)| name), &rewrite)?;
        let target = UnitName::service_target(service);
        if ours.wanted {
            let link = systemd.join("default.target.wants").join(target.as_str());
            put_link(&link, &Path::new("..").join(target.as_str()))?;
        }
        take(&self.boot_link(service))?;
        Ok(new)
    }
}

fn rewrite_all<'a>(
    directory: &Path,
    names: impl Iterator<Item = &'a str>,
    rewrite: &impl Fn(&str) -> String,
) -> Result<(), UnitsError> {
    for name in names {
        if let Some(text) = read_text(&directory.join(name))? {
            put(directory, name, &rewrite(&text))?;
        }
    }
    sync(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_moves_all_of_a_service_and_may_be_repeated_from_any_step() {
        let dir = tempfile::tempdir().unwrap();
        let store = UnitStore::new(dir.path());
        let service: ServiceName = "web".parse().unwrap();
        let mut set = UnitSet::new(service.clone(), true);
        set.files.insert((Place::Quadlet, "web.container".to_owned()), "[Container]\n".to_owned());
        set.files.insert((Place::Systemd, "web.target".to_owned()), "[Unit]\n".to_owned());
        store.install(&set, None).unwrap();
        store.write_record(&service, "{}").unwrap();
        let live = dir.path().join("containers/systemd/mcp/web");
        fs::create_dir(live.join("web.container.d")).unwrap();
        crate::atomic_file::write(&live.join("web.container.d/own.conf"), b"x", 0o644).unwrap();
        let new = dir.path().join("containers/systemd/web");
        crate::atomic_file::write(&dir.path().join("hand"), b"x", 0o644).unwrap();
        fs::create_dir(&new).unwrap();
        fs::rename(dir.path().join("hand"), new.join("hand.container")).unwrap();
        assert!(store.cannot_release(&service));
        fs::remove_file(new.join("hand.container")).unwrap();
        assert!(!store.cannot_release(&service), "an empty directory gives way");
        for _ in 0..2 {
            let text = |text: &str| format!("{}# x\n", text.replace("# x\n", ""));
            assert_eq!(store.release(&set, text).unwrap(), new);
            let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
            assert_eq!(read("containers/systemd/web/web.container"), "[Container]\n# x\n");
            assert_eq!(read("containers/systemd/web/web.container.d/own.conf"), "x");
            assert_eq!(read("systemd/user/default.target.wants/web.target"), "[Unit]\n# x\n");
            assert!(!new.join(".mcp-record.json").exists());
            assert!(!live.exists());
            assert!(!dir.path().join("systemd/user/mcp.target.wants/web.target").is_symlink());
        }
    }
}
