//! The Quadlet files of networks, volumes and images that what is taken over
//! names: left where they are, podman would read them in the place of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::agent::engine::{Engine, EngineError};
use crate::import::containers::Live;
use crate::import::{Note, NoteKind, Place as At};
use crate::quadlet::{Place, UnitSet, render, unit_file};
use crate::units::foreign;

/// How far down podman's generator looks, and further.
const DEPTH: u32 = 8;

/// What becomes of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ThingFiles {
    /// Those that nothing else names: they are put aside.
    pub(super) aside: Vec<ThingFile>,
    /// Those that stay, each with the file that names it too.
    pub(super) stay: Vec<(ThingFile, PathBuf)>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ThingFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl ThingFile {
    /// Returns the unit that podman's generator makes of it.
    pub(super) fn unit(&self) -> String {
        render::unit_of(&name(&self.path))
    }
}

impl Engine {
    /// Finds the files of networks, volumes and images that containers name.
    pub(super) async fn thing_files(&self, live: &[Live]) -> Result<ThingFiles, EngineError> {
        let taken: BTreeSet<PathBuf> =
            live.iter().filter_map(|live| Some(PathBuf::from(&live.unit.as_ref()?.path))).collect();
        let store = self.tools().store.clone();
        let looking = move || {
            let ours = store.quadlet_root();
            let mut all = foreign::texts(store.search_root(), ours, DEPTH)?;
            all.extend(foreign::texts(store.systemd_root(), ours, 0)?);
            Ok(sort(&all, &taken))
        };
        tokio::task::spawn_blocking(looking).await.map_err(EngineError::Lost)?
    }
}

impl ThingFiles {
    /// Adds the files that have a container checked while it runs, and are made
    /// again; `directory` is systemd's.
    pub(super) fn add_checks(&mut self, live: &Live, directory: &Path) {
        let checks = live.unit.iter().flat_map(|unit| &unit.checks);
        let file = |(name, text): (&String, &String)| ThingFile {
            path: directory.join(name),
            text: text.clone(),
        };
        self.aside.extend(checks.map(file));
    }

    /// Returns what there is to tell of those that stay; `ours` is what will
    /// be installed.
    pub(super) fn notes(&self, ours: &UnitSet) -> Vec<Note> {
        let note = |(thing, other): &(ThingFile, PathBuf)| {
            let what = name(&thing.path);
            let also = if ours.files.contains_key(&(Place::Quadlet, what.clone())) {
                "; podman reads it in the place of MCP's file of that name, until you move it away"
            } else {
                ""
            };
            let file = thing.path.display().to_string();
            Note {
                kind: NoteKind::Todo,
                place: At { file, line: 1, column: 1 },
                what,
                message: format!("it stays, for {} names it too{also}", other.display()),
            }
        };
        self.stay.iter().map(note).collect()
    }
}

/// Sorts out which files of things go with those that are taken over; `all`
/// are the unit files that there are, with their texts.
fn sort(all: &[(PathBuf, String)], taken: &BTreeSet<PathBuf>) -> ThingFiles {
    let things: Vec<&Path> = all.iter().map(|(path, _)| path.as_path()).filter(is_thing).collect();
    // A volume may name an image.
    let mut found: BTreeSet<&Path> = BTreeSet::new();
    loop {
        let goes = |path: &Path| taken.contains(path) || found.contains(path);
        let more: Vec<&Path> = things
            .iter()
            .filter(|thing| !found.contains(**thing))
            .filter(|thing| all.iter().any(|(p, text)| goes(owner(p)) && names(text, thing)))
            .copied()
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    let mut stay: BTreeMap<&Path, &Path> = BTreeMap::new();
    loop {
        let goes = |path: &Path| {
            taken.contains(path) || (found.contains(path) && !stay.contains_key(path))
        };
        let other = |thing: &Path| {
            let mut others = all.iter().filter(|(p, _)| owner(p) != thing && !goes(owner(p)));
            others.find(|(_, text)| names(text, thing)).map(|(path, _)| path.as_path())
        };
        let more: Vec<(&Path, &Path)> = found
            .iter()
            .filter(|thing| !stay.contains_key(**thing))
            .filter_map(|thing| Some((*thing, other(thing)?)))
            .collect();
        if more.is_empty() {
            break;
        }
        stay.extend(more);
    }
    let mut files = ThingFiles::default();
    for (path, text) in all.iter().filter(|(path, _)| found.contains(path.as_path())) {
        let thing = ThingFile { path: path.clone(), text: text.clone() };
        match stay.get(path.as_path()) {
            Some(other) => files.stay.push((thing, other.to_path_buf())),
            None => files.aside.push(thing),
        }
    }
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_thing(path: &&Path) -> bool {
    path.extension().is_some_and(|kind| kind == "network" || kind == "volume" || kind == "image")
}

/// Returns the unit file that a drop-in is of; of any other file, itself.
fn owner(path: &Path) -> &Path {
    let directory = path.parent().and_then(Path::to_str);
    let of = directory.filter(|_| path.extension().is_some_and(|kind| kind == "conf"));
    of.and_then(|of| of.strip_suffix(".d")).map_or(path, Path::new)
}

/// Tells whether a unit file names the file of a thing, or its unit.
fn names(text: &str, thing: &Path) -> bool {
    let file = name(thing);
    let unit = render::unit_of(&file);
    unit_file::directives(text).iter().any(|directive| {
        let mut words = directive.value.split([' ', '\t', ':', ',', '=', '"', '\'']);
        words.any(|word| word == file || word == unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_they_name_goes_along() {
        let files = [
            (
                "/c/web.container",
                "[Container]\nNetwork=a.network:ip=10.1.1.1\nVolume=v.volume:/v\n",
            ),
            (
                "/c/web.container.d/x.conf",
                "[Container]\nMount=type=volume,source=w.volume,dst=/w\n",
            ),
            ("/c/a.network", "[Network]\n"),
            ("/c/b.network", "[Network]\n"),
            ("/c/sub/v.volume", "[Volume]\nImage=i.image\n"),
            ("/c/sub/i.image", "[Image]\n"),
            ("/c/w.volume", "[Volume]\nImage=j.image\n"),
            ("/c/w.volume.d/x.conf", "[Unit]\nBefore=w-volume.service\n"),
            ("/c/j.image", "[Image]\n"),
        ];
        let sorted = |more: &[(&str, &str)]| {
            let all = files.iter().chain(more);
            let all: Vec<_> = all.map(|(p, t)| (PathBuf::from(p), (*t).to_owned())).collect();
            let files = sort(&all, &BTreeSet::from([PathBuf::from("/c/web.container")]));
            let aside: Vec<String> = files.aside.iter().map(|thing| name(&thing.path)).collect();
            let stay = files.stay.iter();
            let stay: Vec<String> =
                stay.map(|(t, other)| format!("{} {}", name(&t.path), name(other))).collect();
            (aside.join(" "), stay.join(", "))
        };
        let none = String::new();
        assert_eq!(sorted(&[]), ("a.network v.volume i.image w.volume j.image".to_owned(), none));
        let other = ("/c/other.container", "[Container]\nNetwork=a.network\nVolume=w.volume:/w\n");
        // What stays keeps what it names.
        assert_eq!(
            sorted(&[other]),
            (
                "v.volume i.image".to_owned(),
                "a.network other.container, w.volume other.container, j.image w.volume".to_owned()
            )
        );
        let by_hand = ("/u/hand.service", "[Unit]\nRequires=v-volume.service\n");
        let (aside, stay) = sorted(&[by_hand]);
        assert_eq!(aside, "a.network w.volume j.image");
        assert_eq!(stay, "v.volume hand.service, i.image v.volume");
    }

    #[test]
    fn what_stays_is_told() {
        let thing = ThingFile { path: "/c/a.network".into(), text: String::new() };
        let files = ThingFiles { aside: vec![], stay: vec![(thing, "/c/o.container".into())] };
        let mut ours = UnitSet::new("web".parse().unwrap(), true);
        let told = |ours: &UnitSet| files.notes(ours)[0].to_string();
        assert_eq!(
            told(&ours),
            "/c/a.network:1:1: todo: a.network: it stays, for /c/o.container names it too"
        );
        ours.files.insert((Place::Quadlet, "a.network".to_owned()), String::new());
        assert!(told(&ours).ends_with("MCP's file of that name, until you move it away"));
    }
}
