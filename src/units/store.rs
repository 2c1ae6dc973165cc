//! Installing unit files, so that a crash leaves a service's old files or its
//! new ones, and repeating it mends whatever a crash left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::carry::carry;
use super::disk::{
    at, discard, entries, is_empty, make_directory, put, put_link, read_text, sync, take,
};
use super::port_files;
use crate::atomic_file;
use crate::names::{ServiceName, UnitName};
use crate::quadlet::{Place, UnitSet};

/// Suffixes of the files that podman's generator reads
/// (`podman-systemd.unit(5)`).
pub(super) const QUADLET_SUFFIXES: &[&str] =
    &["container", "image", "network", "volume", "pod", "kube", "build", "artifact"];

/// Says why units could not be installed, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum UnitsError {
    /// The file system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory of ours is a symbolic link or no directory.
    #[error("{} is no directory; move it away, then try again", path.display())]
    NotADirectory {
        /// The offender.
        path: PathBuf,
    },
    /// A unit file's name would leave its directory.
    #[error("{name:?} is no name for a unit file")]
    Name {
        /// The refused name.
        name: String,
    },
    /// A file that is to be taken away is not as it was.
    #[error("{} was changed meanwhile; look at it and try again", .0.display())]
    Changed(PathBuf),
    /// A unit file on disk is no UTF-8, so none of ours.
    #[error("{} is not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

/// What an installation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// These files were written or removed; systemd must be reloaded.
    Changed(Vec<PathBuf>),
    /// All was so already.
    Unchanged,
}

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// These files are gone; systemd must be reloaded.
    Removed(Vec<PathBuf>),
    /// There were none.
    Absent,
}

/// A service's files as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDisk {
    /// The files in our places, and whether the service is wanted.
    pub set: UnitSet,
    /// What a person put into the service's directory, such as drop-ins.
    pub foreign: Vec<PathBuf>,
}

/// The unit directories of the user.
#[derive(Debug, Clone)]
pub struct UnitStore {
    quadlet_root: PathBuf,
    systemd_root: PathBuf,
    staging: PathBuf,
}

impl UnitStore {
    /// Makes a store in a user's configuration directory, `~/.config`.
    pub fn new(config: &Path) -> Self {
        Self {
            quadlet_root: config.join("containers/systemd/mcp"),
            systemd_root: config.join("systemd/user"),
            // On the same file system, yet outside the generator's search
            // path, which is all of containers/systemd.
            staging: config.join("containers/.mcp-staging"),
        }
    }

    /// Returns the directory that holds one directory of Quadlet files for
    /// each service.
    pub fn quadlet_root(&self) -> &Path {
        &self.quadlet_root
    }

    /// Returns `~/.config/containers/systemd`, which podman's generator
    /// searches.
    pub fn search_root(&self) -> &Path {
        self.quadlet_root.parent().unwrap_or(&self.quadlet_root)
    }

    /// Returns the directory of the targets.
    pub fn systemd_root(&self) -> &Path {
        &self.systemd_root
    }

    /// Makes the disk hold exactly this set; `previous` is the set that was
    /// installed before, if known: what it had and the new one has not goes.
    ///
    /// The Quadlet directory is swapped in one step (`renameat2(2)`,
    /// `RENAME_EXCHANGE`); then come the targets, then the link. Nothing is
    /// touched if all is so already. May be repeated after a crash. Without
    /// `previous` every Quadlet file in the service's directory counts as
    /// ours; whatever else is there is kept, as are drop-ins.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]; the old Quadlet files or the new ones are then in
    /// place, whole.
    pub fn install(
        &self,
        set: &UnitSet,
        previous: Option<&UnitSet>,
    ) -> Result<Installed, UnitsError> {
        for (_, name) in set.files.keys() {
            check_name(name)?;
        }
        let mut changed = self.install_quadlet(set, previous)?;
        changed.extend(self.put_all(set.of(Place::Systemd))?);
        for name in self.stale(set, previous)? {
            changed.extend(take(&self.systemd_root.join(name))?);
        }
        let (link, target) = self.wants(&set.service);
        changed.extend(if set.wanted { put_link(&link, &target)? } else { take(&link)? });
        Ok(if changed.is_empty() { Installed::Unchanged } else { Installed::Changed(changed) })
    }

    /// Writes files of systemd's that differ, and syncs their directory once.
    pub(super) fn put_all<'a>(
        &self,
        files: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<PathBuf>, UnitsError> {
        let mut changed = Vec::new();
        for (name, text) in files {
            changed.extend(put(&self.systemd_root, name, text)?);
        }
        if !changed.is_empty() {
            sync(&self.systemd_root)?;
        }
        Ok(changed)
    }

    fn install_quadlet(
        &self,
        set: &UnitSet,
        previous: Option<&UnitSet>,
    ) -> Result<Vec<PathBuf>, UnitsError> {
        let live = self.service_directory(&set.service);
        self.check_directories(&live)?;
        let slot = self.staging.join(set.service.as_str());
        discard(&slot)?;
        let new: BTreeMap<&str, &str> = set.of(Place::Quadlet).collect();
        let old = Contents::load(&live)?;
        let ours = old.ours(&new, previous);
        let mut changed: Vec<PathBuf> = new
            .iter()
            .filter(|(name, text)| old.texts.get(**name).map(String::as_str) != Some(**text))
            .map(|(name, _)| live.join(name))
            .collect();
        changed.extend(ours.iter().filter(|n| !new.contains_key(n.as_str())).map(|n| live.join(n)));
        if changed.is_empty() {
            return Ok(changed);
        }
        make_directory(&self.staging)?;
        stage(&slot, &new, &old.foreign(&ours), &live)?;
        self.swap(&slot, &live, &ours)?;
        Ok(changed)
    }

    /// Puts the staged directory in the place of the live one, and throws the
    /// old one away.
    fn swap(&self, slot: &Path, live: &Path, ours: &BTreeSet<String>) -> Result<(), UnitsError> {
        make_directory(&self.quadlet_root)?;
        let empty = is_empty(slot)?;
        let exists = live.symlink_metadata().is_ok();
        match (exists, empty) {
            (true, false) => match exchange(slot, live) {
                Ok(()) => {}
                // Old ZFS, NFS and the like cannot swap.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    replace_one_by_one(slot, live, ours)?;
                }
                Err(error) => return Err(at("put in place", live)(error.into())),
            },
            (true, true) => {
                fs::remove_dir(slot).map_err(at("remove", slot))?;
                fs::rename(live, slot).map_err(at("move away", live))?;
            }
            (false, false) => fs::rename(slot, live).map_err(at("put in place", live))?,
            (false, true) => {}
        }
        // The swap is one change of the file system: it need not be synced in
        // the staging directory too, whose content means nothing.
        sync(&self.quadlet_root)?;
        if exists {
            // A person may have added a drop-in while we staged.
            for name in Contents::load(slot)?.foreign(ours) {
                if live.join(&name).symlink_metadata().is_err() {
                    make_directory(live)?;
                    carry(&slot.join(&name), &live.join(&name))
                        .map_err(at("carry over", &live.join(&name)))?;
                }
            }
        }
        discard(slot)
    }

    /// Removes a service's files. What a person put beside them stays.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]; repeat it to remove the rest.
    pub fn remove(&self, service: &ServiceName, set: &UnitSet) -> Result<Removed, UnitsError> {
        let nothing = UnitSet::new(service.clone(), false);
        match self.install(&nothing, Some(set))? {
            Installed::Changed(paths) => Ok(Removed::Removed(paths)),
            Installed::Unchanged => Ok(Removed::Absent),
        }
    }

    /// Reads a service's files, to compare them with the desired ones;
    /// `None` if there are none.
    ///
    /// Of systemd's files it finds [`UnitName::service_target`],
    /// [`UnitName::ready_target`], what holds the ports of components, and
    /// what checks them.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn read(&self, service: &ServiceName) -> Result<Option<OnDisk>, UnitsError> {
        let live = self.service_directory(service);
        self.check_directories(&live)?;
        let contents = Contents::load(&live)?;
        let mut set = UnitSet::new(service.clone(), self.wants(service).0.is_symlink());
        let none = BTreeMap::new();
        let ours = contents.ours(&none, None);
        let foreign = contents.foreign(&ours).into_iter().map(|name| live.join(name)).collect();
        for (name, text) in contents.texts {
            if ours.contains(&name) {
                set.files.insert((Place::Quadlet, name), text);
            }
        }
        for name in self.systemd_files(service)? {
            if let Some(text) = read_text(&self.systemd_root.join(&name))? {
                set.files.insert((Place::Systemd, name), text);
            }
        }
        if set.files.is_empty() && !set.wanted {
            return Ok(None);
        }
        Ok(Some(OnDisk { set, foreign }))
    }

    /// Lists the services that have Quadlet files.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn services(&self) -> Result<Vec<ServiceName>, UnitsError> {
        let mut services = Vec::new();
        for (name, kind) in entries(&self.quadlet_root)? {
            if kind.is_dir()
                && let Ok(service) = name.parse()
            {
                services.push(service);
            }
        }
        services.sort();
        Ok(services)
    }

    /// Installs the units that the node needs whatever runs on it, such as
    /// `mcp.target`, and the link that pulls `mcp.target` in at boot.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn install_node_units(&self, files: &[(String, String)]) -> Result<Installed, UnitsError> {
        for (name, _) in files {
            check_name(name)?;
        }
        let mut changed = self.put_all(files.iter().map(|(n, t)| (n.as_str(), t.as_str())))?;
        let everything = UnitName::everything();
        let link = self.systemd_root.join("default.target.wants").join(everything.as_str());
        changed.extend(put_link(&link, &Path::new("..").join(everything.as_str()))?);
        Ok(if changed.is_empty() { Installed::Unchanged } else { Installed::Changed(changed) })
    }

    /// Removes the units of the node by their names, and directories of ours
    /// that hold nothing any more. May be repeated.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn remove_node_units(&self, names: &[UnitName]) -> Result<(), UnitsError> {
        self.install_boot_units(&[])?;
        let everything = UnitName::everything();
        let link = self.systemd_root.join("default.target.wants").join(everything.as_str());
        let files = names.iter().map(|name| self.systemd_root.join(name.as_str()));
        for path in files.chain([link, self.systemd_root.join(super::boot::RECORD)]) {
            take(&path)?;
        }
        let wants = self.systemd_root.join(format!("{everything}.wants"));
        for directory in [wants.as_path(), &self.quadlet_root] {
            // What has something in it is in use.
            drop(fs::remove_dir(directory));
        }
        Ok(())
    }

    /// Removes what a killed agent left in the staging directory. Call it at
    /// the start, before anything is installed or checked.
    ///
    /// # Errors
    ///
    /// [`UnitsError`]
    pub fn clean(&self) -> Result<(), UnitsError> {
        if self.staging.is_symlink() {
            return Err(UnitsError::NotADirectory { path: self.staging.clone() });
        }
        discard(&self.staging)
    }

    pub(super) fn service_directory(&self, service: &ServiceName) -> PathBuf {
        self.quadlet_root.join(service.as_str())
    }

    /// Returns the link that pulls a service in at boot, and what it says.
    fn wants(&self, service: &ServiceName) -> (PathBuf, PathBuf) {
        let target = UnitName::service_target(service);
        let directory = self.systemd_root.join(format!("{}.wants", UnitName::everything()));
        (directory.join(target.as_str()), Path::new("..").join(target.as_str()))
    }

    /// Returns the link that pulls a service in at boot.
    pub(super) fn boot_link(&self, service: &ServiceName) -> PathBuf {
        self.wants(service).0
    }

    /// Returns systemd's files to remove: those of the previous set, or all of
    /// the service, less the new ones.
    fn stale(&self, set: &UnitSet, previous: Option<&UnitSet>) -> Result<Vec<String>, UnitsError> {
        let old: Vec<String> = match previous {
            Some(previous) => {
                previous.of(Place::Systemd).map(|(name, _)| name.to_owned()).collect()
            }
            None => self.systemd_files(&set.service)?,
        };
        let new: BTreeSet<&str> = set.of(Place::Systemd).map(|(name, _)| name).collect();
        Ok(old.into_iter().filter(|n| !new.contains(n.as_str()) && check_name(n).is_ok()).collect())
    }

    /// Returns the names of systemd's files that a service has or may have:
    /// its targets, and what holds its ports.
    fn systemd_files(&self, service: &ServiceName) -> Result<Vec<String>, UnitsError> {
        let mut files: Vec<String> = targets(service).into();
        files.extend(port_files::of(service, &self.systemd_root)?);
        Ok(files)
    }

    /// Refuses symbolic links: the swap would take away the link, and what it
    /// points at is not ours to fill.
    fn check_directories(&self, live: &Path) -> Result<(), UnitsError> {
        for path in [self.quadlet_root.as_path(), live, self.staging.as_path()] {
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(UnitsError::NotADirectory { path: path.to_owned() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at("look at", path)(error)),
            }
        }
        Ok(())
    }
}

pub(super) fn targets(service: &ServiceName) -> [String; 2] {
    [UnitName::service_target(service), UnitName::ready_target(service)]
        .map(|unit| unit.as_str().to_owned())
}

pub(super) fn check_name(name: &str) -> Result<(), UnitsError> {
    let bad = name.is_empty() || name.starts_with('.') || name.contains(['/', '\0', '\n']);
    if bad { Err(UnitsError::Name { name: name.to_owned() }) } else { Ok(()) }
}

/// What is in a service's directory.
#[derive(Default)]
struct Contents {
    /// Regular files that are text.
    texts: BTreeMap<String, String>,
    /// All the rest.
    others: BTreeSet<String>,
}

impl Contents {
    fn load(directory: &Path) -> Result<Self, UnitsError> {
        let mut contents = Self::default();
        for (name, kind) in entries(directory)? {
            let path = directory.join(&name);
            let text = if kind.is_file() && is_quadlet(&name) { read_text(&path)? } else { None };
            match text {
                Some(text) => drop(contents.texts.insert(name, text)),
                None => drop(contents.others.insert(name)),
            }
        }
        Ok(contents)
    }

    /// Returns the entries that are ours: the names of the new set and of the
    /// previous one; without a previous one every Quadlet file, for the
    /// directory is the service's.
    fn ours(&self, new: &BTreeMap<&str, &str>, previous: Option<&UnitSet>) -> BTreeSet<String> {
        let before: Option<BTreeSet<&str>> =
            previous.map(|set| set.of(Place::Quadlet).map(|(name, _)| name).collect());
        let is_ours = |name: &&String| {
            new.contains_key(name.as_str())
                || before
                    .as_ref()
                    .map_or(self.texts.contains_key(*name), |b| b.contains(name.as_str()))
        };
        self.texts.keys().chain(&self.others).filter(is_ours).cloned().collect()
    }

    fn foreign(&self, ours: &BTreeSet<String>) -> Vec<String> {
        self.texts.keys().chain(&self.others).filter(|n| !ours.contains(*n)).cloned().collect()
    }
}

pub(super) fn is_quadlet(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, suffix)| QUADLET_SUFFIXES.contains(&suffix))
}

pub(super) fn stage(
    slot: &Path,
    files: &BTreeMap<&str, &str>,
    foreign: &[String],
    live: &Path,
) -> Result<(), UnitsError> {
    fs::create_dir(slot).map_err(at("make", slot))?;
    for (name, text) in files {
        let path = slot.join(name);
        atomic_file::replace(&path, text.as_bytes(), 0o644).map_err(at("write", &path))?;
    }
    for name in foreign {
        let path = live.join(name);
        carry(&path, &slot.join(name)).map_err(at("carry over", &path))?;
    }
    sync(slot)
}

pub(super) fn exchange(slot: &Path, live: &Path) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, slot, CWD, live, RenameFlags::EXCHANGE)
}

/// Puts the staged files in place where a file system cannot swap: each file
/// is then the old one or the new one, and repeating finishes the work.
fn replace_one_by_one(slot: &Path, live: &Path, ours: &BTreeSet<String>) -> Result<(), UnitsError> {
    let staged = Contents::load(slot)?;
    for name in staged.texts.keys().filter(|name| ours.contains(*name)) {
        fs::rename(slot.join(name), live.join(name)).map_err(at("put in place", live))?;
    }
    for name in ours.iter().filter(|name| !staged.texts.contains_key(*name)) {
        take(&live.join(name))?;
    }
    sync(live)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
