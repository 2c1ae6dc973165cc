//! The directories in which podman's generator looks, and a copy of them with
//! one service's files exchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::carry::carry;
use super::store::is_quadlet;
use crate::quadlet::{Place, UnitSet};

/// Deepest directory that is looked at.
const DEPTH: u32 = 8;

/// A user's search path, the strongest first (`podman-systemd.unit(5)`,
/// "Podman rootless unit search path").
#[derive(Debug, Clone)]
pub struct SearchPath {
    /// Where the files of the set are put.
    set_root: PathBuf,
    /// The service has no files here.
    empty_root: Option<PathBuf>,
    live_root: PathBuf,
    directories: Vec<(PathBuf, Scope)>,
    /// Files that will not be there.
    left_out: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Searched with all below.
    Own,
    /// All users' own; what is below a number is another user's.
    Shared,
}

impl SearchPath {
    /// Returns the own user's search path, with the given directory in the
    /// place of `~/.config/containers/systemd`, where a set will be. Nothing
    /// is being tried then.
    pub fn own(live_root: &Path) -> Self {
        let uid = rustix::process::getuid().as_raw();
        let runtime = match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(directory) if !directory.is_empty() => PathBuf::from(directory),
            Some(_) | None => PathBuf::from(format!("/run/user/{uid}")),
        };
        let users = Path::new("/etc/containers/systemd/users");
        let trial_root = runtime.join("containers/systemd");
        Self {
            set_root: live_root.to_owned(),
            empty_root: Some(trial_root.clone()),
            live_root: live_root.to_owned(),
            directories: vec![
                (trial_root, Scope::Own),
                (live_root.to_owned(), Scope::Own),
                (users.join(uid.to_string()), Scope::Own),
                (users.to_owned(), Scope::Shared),
            ],
            left_out: BTreeSet::new(),
        }
    }

    /// Returns the same search path without some files, drop-ins beside them
    /// included.
    #[must_use]
    pub fn without(self, left_out: &BTreeSet<PathBuf>) -> Self {
        Self { left_out: left_out.clone(), ..self }
    }

    /// Returns the same search path while the set is being tried: it is in
    /// the directory that comes first, before the files that there are.
    #[must_use]
    pub fn tried(self) -> Self {
        match self.empty_root {
            Some(trial_root) => Self { set_root: trial_root, empty_root: None, ..self },
            None => self,
        }
    }

    /// Returns what is left of the own user's search path after a reboot:
    /// everything but the runtime directory.
    pub fn at_boot(live_root: &Path) -> Self {
        let mut path = Self::own(live_root);
        path.directories.remove(0);
        path
    }

    /// Returns a search path of one directory.
    pub fn only(live_root: &Path) -> Self {
        let directories = vec![(live_root.to_owned(), Scope::Own)];
        let (set_root, live_root) = (live_root.to_owned(), live_root.to_owned());
        let left_out = BTreeSet::new();
        Self { set_root, empty_root: None, live_root, directories, left_out }
    }

    /// Returns the files that podman's generator reads in the place of ours
    /// with these names: the first of each name that it comes by before it
    /// comes to `ours`, past what is being tried in `trial`. In a directory
    /// come its files, then what is below it, by name.
    ///
    /// # Errors
    ///
    /// A directory cannot be listed.
    pub fn before(
        &self,
        (ours, trial): (&Path, &Path),
        names: &BTreeSet<&str>,
    ) -> io::Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        for (directory, _) in &self.directories {
            first_of(directory, (ours, trial, names), &mut found, DEPTH)?;
            if *directory == self.live_root {
                break;
            }
        }
        Ok(found)
    }

    /// Fills the empty directory `scratch` with a copy of the search path;
    /// the service of `set` has the files of `set`.
    pub(super) fn copy(&self, set: Option<&UnitSet>, scratch: &Path) -> io::Result<Copied> {
        let ours = set.map(|set| Path::new("mcp").join(set.service.as_str()));
        let mut copied = Copied { places: Vec::new() };
        for (number, (real, scope)) in self.directories.iter().enumerate() {
            let copy = scratch.join(number.to_string());
            fs::create_dir_all(&copy)?;
            let has_set = *real == self.set_root;
            let has_others = has_set || self.empty_root.as_deref() == Some(real);
            let skip = ours.as_ref().filter(|_| has_others).map(|ours| real.join(ours));
            Walk { skip, scope: *scope, left_out: &self.left_out }.copy(real, &copy, DEPTH)?;
            if let (Some(set), Some(ours)) = (set, ours.as_ref().filter(|_| has_set)) {
                write(set, &copy.join(ours))?;
                if *real == self.live_root {
                    carry_drop_ins(&real.join(ours), &copy.join(ours))?;
                }
            }
            copied.places.push((copy, real.clone()));
        }
        Ok(copied)
    }
}

/// Which copy stands for which directory.
#[derive(Debug)]
pub(super) struct Copied {
    places: Vec<(PathBuf, PathBuf)>,
}

impl Copied {
    /// Returns the copies, as `QUADLET_UNIT_DIRS` wants them.
    pub(super) fn directories(&self) -> std::ffi::OsString {
        let copies: Vec<&std::ffi::OsStr> =
            self.places.iter().map(|(copy, _)| copy.as_os_str()).collect();
        copies.join(std::ffi::OsStr::new(":"))
    }

    /// Puts the real paths into a message about the copies.
    pub(super) fn translate(&self, message: &str) -> String {
        self.places.iter().fold(message.to_owned(), |message, (copy, real)| {
            let directory = |path: &Path| format!("{}/", path.display());
            message.replace(&directory(copy), &directory(real))
        })
    }
}

/// Adds the first file of each name below a directory to those found; tells
/// whether it came to ours.
fn first_of(
    directory: &Path,
    (ours, trial, names): (&Path, &Path, &BTreeSet<&str>),
    found: &mut BTreeMap<String, PathBuf>,
    depth: u32,
) -> io::Result<bool> {
    let mut entries = list(directory)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let (directories, files): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.iter().map(fs::DirEntry::path).partition(|path| path.is_dir());
    for path in files {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| names.contains(name)) {
            found.entry(name.to_owned()).or_insert(path);
        }
    }
    for path in directories {
        if path == ours {
            return Ok(true);
        }
        if path == trial {
            continue;
        }
        if depth > 0 && first_of(&path, (ours, trial, names), found, depth - 1)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes the set's Quadlet files.
fn write(set: &UnitSet, copy: &Path) -> io::Result<()> {
    fs::create_dir_all(copy)?;
    for (name, text) in set.of(Place::Quadlet) {
        // Gone after the check: nothing to sync for.
        fs::File::create_new(copy.join(name))?.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// Puts beside them what a person put there.
fn carry_drop_ins(live: &Path, copy: &Path) -> io::Result<()> {
    for entry in list(live)? {
        if entry.file_type()?.is_dir() {
            carry(&entry.path(), &copy.join(entry.file_name()))?;
        }
    }
    Ok(())
}

struct Walk<'a> {
    skip: Option<PathBuf>,
    scope: Scope,
    left_out: &'a BTreeSet<PathBuf>,
}

impl Walk<'_> {
    fn copy(&self, from: &Path, to: &Path, depth: u32) -> io::Result<()> {
        for entry in list(from)? {
            let (path, name) = (entry.path(), entry.file_name());
            let text = name.to_string_lossy();
            let number = text.bytes().all(|byte| byte.is_ascii_digit());
            let foreign = self.scope == Scope::Shared && depth == DEPTH && number;
            let left_out = self.left_out.contains(&path)
                || path
                    .to_str()
                    .and_then(|p| p.strip_suffix(".d"))
                    .is_some_and(|beside| self.left_out.contains(Path::new(beside)));
            if self.skip.as_deref() == Some(&path) || foreign || left_out {
                continue;
            }
            let (kind, copy) = (entry.file_type()?, to.join(&name));
            if kind.is_dir() && depth > 0 {
                fs::create_dir(&copy)?;
                self.copy(&path, &copy, depth - 1)?;
            } else if kind.is_symlink() {
                link(&path, &copy)?;
            } else if kind.is_file() && (is_quadlet(&text) || text.ends_with(".conf")) {
                carry(&path, &copy)?;
            }
        }
        Ok(())
    }
}

/// Copies a link. One to its neighbour is the instance of a template and stays
/// as it is; any other would point nowhere from the copy, unless made whole.
fn link(path: &Path, copy: &Path) -> io::Result<()> {
    let target = fs::read_link(path)?;
    let target = if target.components().count() == 1 {
        target
    } else {
        fs::canonicalize(path).unwrap_or(target)
    };
    symlink(target, copy)
}

fn list(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Ok(listing) => listing.collect(),
        // Nothing there, or a directory of root's that the generator, run as
        // the same user, cannot read either.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::atomic_file::write(path, text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn the_copy_has_the_new_files_the_drop_ins_and_all_other_services() {
        let dir = tempfile::tempdir().unwrap();
        let live = dir.path().join("systemd");
        write(&live.join("hand.container"), "hand");
        write(&live.join("README"), "no unit");
        write(&live.join("mcp/other/other.container"), "other");
        write(&live.join("mcp/web/web.container"), "old");
        write(&live.join("mcp/web/web.image"), "old");
        write(&live.join("mcp/web/web.container.d/x.conf"), "drop-in");
        symlink("hand.container", live.join("hand@1.container")).unwrap();
        symlink("mcp/other/other.container", live.join("far.container")).unwrap();
        let mut set = UnitSet::new("web".parse().unwrap(), true);
        set.files.insert((Place::Quadlet, "web.container".to_owned()), "new".to_owned());
        let scratch = dir.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let copied = SearchPath::only(&live).copy(Some(&set), &scratch).unwrap();
        let copy = scratch.join("0");
        assert_eq!(copied.directories(), copy.as_os_str());
        let read = |name: &str| fs::read_to_string(copy.join(name)).ok();
        assert_eq!(read("mcp/web/web.container").as_deref(), Some("new"));
        assert_eq!(read("mcp/web/web.image"), None);
        assert_eq!(read("mcp/web/web.container.d/x.conf").as_deref(), Some("drop-in"));
        assert_eq!(read("mcp/other/other.container").as_deref(), Some("other"));
        assert_eq!(read("far.container").as_deref(), Some("other"));
        assert_eq!(
            fs::read_link(copy.join("hand@1.container")).unwrap(),
            Path::new("hand.container")
        );
        assert_eq!(read("README"), None);
        let message = format!("in {}/hand.container, x", copy.display());
        assert_eq!(copied.translate(&message), format!("in {}/hand.container, x", live.display()));
    }

    #[test]
    fn what_is_tried_comes_before_what_is_there_and_nothing_else_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (live, run) = (dir.path().join("live"), dir.path().join("run"));
        write(&live.join("mcp/web/web.container"), "old");
        write(&live.join("mcp/web/web.container.d/x.conf"), "drop-in");
        write(&run.join("mcp/web/web.container"), "left");
        write(&run.join("mcp/other/other.container"), "tried too");
        let mut set = UnitSet::new("web".parse().unwrap(), true);
        set.files.insert((Place::Quadlet, "web.container".to_owned()), "new".to_owned());
        let mut path = SearchPath::only(&live);
        path.directories.insert(0, (run.clone(), Scope::Own));
        path.empty_root = Some(run);
        let copied = |path: &SearchPath, name: &str| {
            let scratch = dir.path().join(name);
            fs::create_dir(&scratch).unwrap();
            path.copy(Some(&set), &scratch).unwrap();
            move |name: &str| fs::read_to_string(scratch.join(name)).ok()
        };
        let after = copied(&path, "after");
        assert_eq!(after("0/mcp/web/web.container"), None);
        assert_eq!(after("1/mcp/web/web.container").as_deref(), Some("new"));
        let tried = copied(&path.tried(), "tried");
        assert_eq!(tried("0/mcp/web/web.container").as_deref(), Some("new"));
        assert_eq!(tried("1/mcp/web/web.container").as_deref(), Some("old"));
        assert_eq!(tried("0/mcp/other/other.container").as_deref(), Some("tried too"));
        for read in [&after as &dyn Fn(&str) -> Option<String>, &tried] {
            assert_eq!(read("1/mcp/web/web.container.d/x.conf").as_deref(), Some("drop-in"));
        }
    }

    #[test]
    fn what_is_read_in_the_place_of_ours_is_what_comes_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let (live, run) = (dir.path().join("live"), dir.path().join("run"));
        let ours = live.join("mcp");
        write(&ours.join("web/net.network"), "ours");
        let mut path = SearchPath::only(&live);
        path.directories.insert(0, (run.clone(), Scope::Own));
        let trial = run.join("mcp");
        let found = || {
            let names = ["net.network", "data.volume"].into();
            path.before((&ours, &trial), &names).unwrap().into_iter().collect::<Vec<_>>()
        };
        write(&live.join("z/net.network"), "after");
        write(&live.join("other.network"), "another");
        write(&trial.join("web/net.network"), "ours, being tried");
        assert_eq!(found(), []);
        write(&live.join("a/b/net.network"), "before");
        assert_eq!(found(), [("net.network".to_owned(), live.join("a/b/net.network"))]);
        write(&live.join("net.network"), "before that");
        write(&live.join("data.volume"), "before");
        let (net, data) = ("net.network".to_owned(), "data.volume".to_owned());
        let all =
            [(data.clone(), live.join("data.volume")), (net.clone(), live.join("net.network"))];
        assert_eq!(found(), all);
        write(&run.join("net.network"), "first of all");
        assert_eq!(
            found(),
            [(data.clone(), live.join("data.volume")), (net, run.join("net.network"))]
        );
        // The runtime directory comes first as a whole.
        write(&run.join("zz/data.volume"), "behind what is being tried");
        assert!(found().contains(&(data, run.join("zz/data.volume"))));
    }

    #[test]
    fn numbered_directories_are_other_users() {
        let dir = tempfile::tempdir().unwrap();
        let (live, shared) = (dir.path().join("live"), dir.path().join("users"));
        write(&shared.join("all.container"), "all");
        write(&shared.join("1000/theirs.container"), "theirs");
        let mut path = SearchPath::only(&live);
        path.directories.push((shared, Scope::Shared));
        let scratch = dir.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        path.copy(Some(&UnitSet::new("web".parse().unwrap(), true)), &scratch).unwrap();
        assert!(scratch.join("1/all.container").is_file());
        assert!(!scratch.join("1/1000").exists());
    }
}
