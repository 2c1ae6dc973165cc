//! The containers that are taken over, and what looks after them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::thing_files::ThingFiles;
use crate::agent::engine::{Engine, EngineError};
use crate::deployment::Image;
use crate::import::containers::{Inspected, InspectedImage, Live, LiveUnit};
use crate::names::{BEFORE, ServiceName, UnitName, family};
use crate::podman::{created, inspect, predecessor};
use crate::quadlet::{command_line, unit_file};
use crate::systemd::ActiveState;

/// What there is of a service.
pub(super) struct Found {
    /// The containers that run.
    pub(super) live: Vec<Live>,
    /// Those that do not.
    pub(super) left_alone: Vec<String>,
    /// The image of each.
    pub(super) images: Vec<Image>,
    /// The files of their networks, volumes and images.
    pub(super) files: ThingFiles,
}

/// A unit that somebody else wrote.
struct Unit {
    name: UnitName,
    path: String,
    is_quadlet: bool,
}

impl Engine {
    pub(super) async fn find_containers(
        &self,
        service: &ServiceName,
    ) -> Result<Found, EngineError> {
        self.hold_pause_process().await?;
        let names = predecessor::names().await?;
        let names: Vec<String> = names.into_iter().filter(|name| is_part(service, name)).collect();
        let mut all = inspect::containers(&names).await?;
        let is_ours = |name: &str| name.parse().is_ok_and(|name| self.find(&name).is_some());
        all.retain(|container| !container.service().is_some_and(is_ours));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let (running, down): (Vec<Inspected>, Vec<Inspected>) =
            all.into_iter().partition(Inspected::is_running);
        let mut problems: Vec<String> = running.iter().filter_map(in_a_pod).collect();
        problems.extend(running.iter().filter_map(leans_on_another));
        let images: Vec<String> = running.iter().map(|c| c.image.clone()).collect();
        let images: BTreeMap<String, InspectedImage> =
            inspect::images(&images).await?.into_iter().map(|i| (i.id.clone(), i)).collect();
        let units = self.units_of(&running, &mut problems).await?;
        let (mut live, mut of_each) = (Vec::new(), Vec::new());
        for container in running {
            let image = images.get(&container.image);
            let Some(image) = image.and_then(|found| image_of(&container, found)) else {
                problems.push(format!(
                    "the image of {} has no name any more; give it one: podman tag {} localhost/{}:kept",
                    container.name,
                    container.image,
                    container.name.to_lowercase()
                ));
                continue;
            };
            let env = images.get(&container.image).map(|i| i.config.env.clone());
            let unit = match units.get(&container.name) {
                Some(unit) => Some(read(unit, self.tools().store.systemd_root())?),
                None if container.host_config.auto_remove => {
                    problems.push(format!(
                        "{} goes with its end (--rm), and no unit makes it again: nothing could bring it back; make it without --rm",
                        container.name
                    ));
                    None
                }
                None => None,
            };
            live.push(Live {
                image_env: env.unwrap_or_default(),
                image: image.name.to_string(),
                unit,
                given: created::given(&container.id).await,
                container,
            });
            of_each.push(image);
        }
        if !problems.is_empty() {
            return Err(EngineError::Preflight { problems });
        }
        let left_alone = down.into_iter().map(|c| c.name).collect();
        let files = self.thing_files(&live).await?;
        Ok(Found { live, left_alone, images: of_each, files })
    }

    /// Returns the units that look after containers, by container.
    async fn units_of(
        &self,
        containers: &[Inspected],
        problems: &mut Vec<String>,
    ) -> Result<BTreeMap<String, Unit>, EngineError> {
        let root = self.tools().store.systemd_root().to_owned();
        let starters = tokio::task::spawn_blocking(move || starters(&root))
            .await
            .map_err(EngineError::Lost)??;
        let claimed: Vec<(&Inspected, UnitName, bool)> = containers
            .iter()
            .filter_map(|c| {
                let own = starters.iter().find(|(name, _)| is_of(c, name)).map(|(_, u)| u.as_str());
                let name = c.unit().or(own).filter(|name| is_service(name))?;
                Some((c, UnitName::from_systemd(name), own == Some(name)))
            })
            .collect();
        let names: Vec<UnitName> = claimed.iter().map(|(_, unit, _)| unit.clone()).collect();
        let states = self.manager().unit_states(&names).await?;
        let files = self.manager().unit_files(&names).await?;
        let mut units = BTreeMap::new();
        for (container, name, names_it) in &claimed {
            let Some(state) = states.iter().find(|state| state.name == *name) else { continue };
            let is_up = state.active == ActiveState::Active;
            let is_known = files.iter().any(|f| f.name == *name);
            // Anybody can write a label: the unit's process has to be the one
            // that looks after the container, or its file has to name it.
            if !is_up || (!names_it && state.main_pid != Some(container.state.conmon_pid)) {
                // podman-compose names a unit whether there is one or not.
                if is_up || (is_known && !name.as_str().contains('@')) {
                    problems.push(format!(
                        "{} is said to be run by {name}, which is {}, and does not: it could start another one; have the unit run it, or be gone: systemctl --user disable --now {name}",
                        container.name, state.active.as_str()
                    ));
                }
                continue;
            }
            let Some(files) = files.iter().find(|f| f.name == *name) else { continue };
            let quadlet = files.source_path.clone();
            let Some(path) = quadlet.clone().or_else(|| files.fragment_path.clone()) else {
                continue;
            };
            let unit = Unit { name: name.clone(), path, is_quadlet: quadlet.is_some() };
            match stands_against(container, &unit) {
                Some(problem) => problems.push(problem),
                None => {
                    units.insert(container.name.clone(), unit);
                }
            }
        }
        Ok(units)
    }
}

/// Tells whether a container's name is the service's, or begins with it.
fn is_part(service: &ServiceName, name: &str) -> bool {
    family::is_of(service.as_str(), name) && !name.ends_with(BEFORE)
}

fn in_a_pod(container: &Inspected) -> Option<String> {
    (!container.pod.is_empty()).then(|| {
        format!(
            "{} is in a pod: its containers share one network, which components do not; make a definition by hand or with mcp import quadlet, remove the pod, and deploy that",
            container.name
        )
    })
}

/// Returns the container's very image, by a name that means it, or meant it
/// when the container was made.
fn image_of(container: &Inspected, image: &InspectedImage) -> Option<Image> {
    let had = Some(&container.image_name).filter(|name| name.contains('/'));
    let tagged = had.into_iter().chain(&image.repo_tags);
    let name =
        tagged.filter(|name| !name.starts_with("sha256:")).find_map(|name| name.parse().ok())?;
    let digest = Some(container.image_digest.clone()).filter(|digest| !digest.is_empty());
    Some(Image { name, id: image.id.parse().ok()?, digest })
}

fn read(unit: &Unit, systemd_root: &Path) -> Result<LiveUnit, EngineError> {
    let mut text = std::fs::read_to_string(&unit.path).map_err(EngineError::LoadPath)?;
    for drop_in in drop_ins(&format!("{}.d", unit.path))? {
        text.push('\n');
        text.push_str(&std::fs::read_to_string(drop_in).map_err(EngineError::LoadPath)?);
    }
    let stem = unit.name.as_str().strip_suffix(".service").unwrap_or_default();
    let checks = ["service", "timer"].map(|kind| format!("{stem}-check.{kind}"));
    let text_of = |name: String| {
        let text = std::fs::read_to_string(systemd_root.join(&name)).ok()?;
        Some((name, text))
    };
    Ok(LiveUnit {
        name: unit.name.to_string(),
        path: unit.path.clone(),
        text,
        is_quadlet: unit.is_quadlet,
        checks: checks.into_iter().filter_map(text_of).collect(),
    })
}

/// Returns the drop-ins in a directory, in the order in which they count.
fn drop_ins(directory: &str) -> Result<Vec<PathBuf>, EngineError> {
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(EngineError::LoadPath(error)),
    };
    let mut all = Vec::new();
    for entry in listing {
        let path = entry.map_err(EngineError::LoadPath)?.path();
        if path.extension().is_some_and(|suffix| suffix == "conf") {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// Refuses a container that is made of another one: it would be left without.
fn leans_on_another(container: &Inspected) -> Option<String> {
    let words = &container.config.create_command;
    let after = |at: usize| words.get(at + 1).map(String::as_str).unwrap_or_default();
    let leans = |(at, word): (usize, &String)| {
        let (flag, value) = word.split_once('=').unwrap_or((word, after(at)));
        match flag {
            "--network" | "--net" | "--pid" | "--ipc" | "--uts" | "--userns" | "--cgroupns" => {
                value.starts_with("container:")
            }
            "--volumes-from" => true,
            _ => false,
        }
    };
    let word = words.iter().enumerate().find(|word| leans(*word))?.1;
    Some(format!(
        "{} is made of another container ({word}), and would be left behind when that one is made anew; make a definition with mcp import run",
        container.name
    ))
}

/// Returns what stands against taking a unit's container over.
fn stands_against(container: &Inspected, unit: &Unit) -> Option<String> {
    let (name, path, unit) = (&container.name, Path::new(&unit.path), &unit.name);
    if path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with('@')) {
        return Some(format!(
            "{unit} of {name} is made from the template {}, which others may use; write a unit of its own for it",
            path.display()
        ));
    }
    let directory = path.parent().unwrap_or(path);
    let writable = rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok();
    (!writable).then(|| {
        format!(
            "{unit} of {name} comes from {}, which is not this user's to move; have root move it to ~/.config/containers/systemd",
            path.display()
        )
    })
}

/// Returns which of the user's own units start which container by name, as
/// `podman generate systemd` and people write them.
fn starters(root: &Path) -> Result<Vec<(String, String)>, EngineError> {
    let listing = match std::fs::read_dir(root) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(EngineError::LoadPath(error)),
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(EngineError::LoadPath)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !name.ends_with(".service") || !is_file {
            continue;
        }
        // What cannot be read is nobody's text of ours.
        let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
        let directives = unit_file::directives(&text);
        for line in unit_file::values(&directives, "Service", "ExecStart") {
            let Ok(words) = command_line::words(line) else { continue };
            found.extend(started(&words).map(|container| (container.to_owned(), name.clone())));
        }
    }
    Ok(found)
}

/// Returns the container that a command line starts by name.
fn started(words: &[String]) -> Option<&str> {
    let (program, words) = words.split_first()?;
    let verbs = ["start", "run", "create"];
    let verb = words.iter().position(|word| verbs.contains(&word.as_str()))?;
    if !program.ends_with("podman") {
        return None;
    }
    if words.get(verb)? == "start" {
        return words.last().map(String::as_str);
    }
    let at = words.iter().position(|word| word == "--name" || word.starts_with("--name="))?;
    let word = words.get(at)?;
    word.strip_prefix("--name=").or_else(|| words.get(at + 1).map(String::as_str))
}

/// Tells whether a label can be the name of a service (`systemd.unit(5)`).
fn is_service(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    name.len() < 256 && name.ends_with(".service") && name.chars().all(good)
}

/// Tells whether a word names a container, or begins its number.
fn is_of(container: &Inspected, word: &str) -> bool {
    container.name == word || (word.len() >= 12 && container.id.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_by_name() {
        let service: ServiceName = "web".parse().unwrap();
        for name in ["web", "web-db", "systemd-web", "systemd-web-db", "web-"] {
            assert!(is_part(&service, name), "{name}");
        }
        for name in ["webb", "my-web", "web_db", "web-before-mcp", "systemd-other"] {
            assert!(!is_part(&service, name), "{name}");
        }
    }

    #[test]
    fn units_that_start_a_container_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            crate::atomic_file::write(&dir.path().join(name), text.as_bytes(), 0o644).unwrap();
        };
        put("container-web.service", "[Service]\nExecStart=/usr/bin/podman start web\n");
        put("other.service", "[Service]\nExecStart=/usr/bin/restart web\n");
        put("web.timer", "[Service]\nExecStart=/usr/bin/podman start web\n");
        let found = starters(dir.path()).unwrap();
        assert_eq!(found, [("web".to_owned(), "container-web.service".to_owned())]);
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let by_hand = words("/usr/bin/podman --log-level=info run --rm --name hand image start");
        assert_eq!(started(&by_hand), Some("hand"));
        assert_eq!(started(&words("/usr/bin/podman run --rm --name=hand image")), Some("hand"));
        assert_eq!(started(&words("/usr/bin/podman run image --other")), None);
        assert_eq!(starters(&dir.path().join("none")).unwrap(), []);
    }
}
