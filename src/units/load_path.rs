//! The directories in which a user's systemd finds units, read as they will
//! be after a reboot: what is in the runtime directory is gone by then, but
//! for what generators make again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::quadlet::boot_graph::{Content, DropIn, Found, Pull, PullIn, Source};

/// Suffixes of units that can be brought in by a user's systemd.
const SUFFIXES: &[&str] = &["service", "target", "socket", "timer", "path", "slice", "mount"];

/// What podman's generator writes into the first line of its units.
const OF_QUADLET: &str = "podman-user-generator";

/// The directories that count at the next start, the strongest first.
#[derive(Debug, Clone)]
pub struct LoadPath {
    directories: Vec<PathBuf>,
    runtime: PathBuf,
}

/// Something in the runtime directory that is stronger than the files on
/// disk, until the machine is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The unit, or the Quadlet file.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

impl LoadPath {
    /// Takes the directories of a manager; `runtime` is `$XDG_RUNTIME_DIR`.
    pub fn new(directories: Vec<PathBuf>, runtime: &Path) -> Self {
        Self { directories, runtime: runtime.to_owned() }
    }

    /// Returns the directories of a user whose manager does not answer
    /// (`systemd.unit(5)`, "Unit File Load Path").
    pub fn usual(config: &Path, runtime: &Path) -> Self {
        let directories = [
            config.join("systemd/user.control"),
            config.join("systemd/user"),
            "/etc/systemd/user".into(),
            runtime.join("systemd/generator"),
            "/usr/local/lib/systemd/user".into(),
            "/usr/lib/systemd/user".into(),
            runtime.join("systemd/generator.late"),
        ];
        Self::new(directories.into(), runtime)
    }

    /// Reads what will be found at the next start, with these units in the
    /// place of those that podman's generator has made.
    ///
    /// # Errors
    ///
    /// A directory cannot be listed; one that is not there is empty.
    pub fn read(&self, generated: &BTreeMap<String, String>) -> io::Result<Found> {
        let mut found = Found::default();
        for directory in &self.directories {
            let generator = self.generator(directory);
            if generator == Some("generator") {
                for (name, text) in generated {
                    found.add_generated(name, &directory.join(name), text);
                }
            }
            // The rest of the runtime directory, and of /run, does not
            // survive.
            let volatile = directory.starts_with("/run") || directory.starts_with(&self.runtime);
            if generator.is_some() || !volatile {
                read_directory(&mut found, directory, generator.is_some())?;
            }
        }
        Ok(found)
    }

    /// Returns the name of a directory of generators' output.
    fn generator<'a>(&self, directory: &'a Path) -> Option<&'a str> {
        if !directory.starts_with(&self.runtime) {
            return None;
        }
        let name = directory.file_name()?.to_str()?;
        name.starts_with("generator").then_some(name)
    }

    /// Returns the units of `ours` that something in the runtime directory
    /// overrides until the next start.
    pub fn overridden(&self, ours: &[String]) -> Vec<Override> {
        let temporary = self.directories.iter().filter(|directory| {
            directory.starts_with(&self.runtime)
                && self.generator(directory).is_none()
                && !directory.ends_with("transient")
        });
        let mut found = Vec::new();
        for directory in temporary {
            for name in ours {
                for path in [directory.join(name), directory.join(format!("{name}.d"))] {
                    if path.symlink_metadata().is_ok() {
                        found.push(Override { name: name.clone(), path });
                    }
                }
            }
        }
        found
    }
}

fn read_directory(found: &mut Found, directory: &Path, generated: bool) -> io::Result<()> {
    for (name, path) in list(directory)? {
        let Some((stem, suffix)) = name.rsplit_once('.') else { continue };
        match suffix {
            "wants" | "upholds" => read_links(found, stem, Pull::Wants, &path)?,
            "requires" => read_links(found, stem, Pull::Requires, &path)?,
            "d" => read_drop_ins(found, stem, &path)?,
            unit if SUFFIXES.contains(&unit) => {
                let content = content(&name, &path);
                let quadlet = matches!(&content, Content::Text(text) if text.lines().take(2).any(|l| l.contains(OF_QUADLET)));
                if !(generated && quadlet) {
                    found.add_source(&name, Source { path, content });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_links(found: &mut Found, by: &str, pull: Pull, directory: &Path) -> io::Result<()> {
    for (unit, path) in list(directory)? {
        found.pulls.push(PullIn { by: by.to_owned(), pull, unit, path });
    }
    Ok(())
}

fn read_drop_ins(found: &mut Found, unit: &str, directory: &Path) -> io::Result<()> {
    for (file, path) in list(directory)? {
        if file.ends_with(".conf") {
            let text = match content(&file, &path) {
                Content::Text(text) => text,
                // A masked drop-in says nothing, and hides weaker ones.
                Content::Masked | Content::Alias(_) | Content::Unreadable(_) => String::new(),
            };
            found.add_drop_in(unit, &file, DropIn { path, text });
        }
    }
    Ok(())
}

fn content(name: &str, path: &Path) -> Content {
    if let Ok(target) = fs::read_link(path) {
        if target == Path::new("/dev/null") {
            return Content::Masked;
        }
        let other = target.file_name().and_then(|file| file.to_str()).filter(|file| *file != name);
        let is_conf = name.ends_with(".conf");
        if let Some(other) = other.filter(|_| !is_conf) {
            return Content::Alias(other.to_owned());
        }
    }
    match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => Content::Masked,
        Ok(bytes) => Content::Text(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Content::Unreadable(error.to_string()),
    }
}

/// Lists a directory by name; names that are no text are passed over, as
/// systemd does.
fn list(directory: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for entry in listing {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            found.insert(name, entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadlet::boot_graph::{Graph, Loaded, State};

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::atomic_file::write(&path, text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn the_runtime_directory_is_gone_but_for_what_generators_make() {
        let dir = tempfile::tempdir().unwrap();
        let at = |below: &str| dir.path().join(below);
        let path = LoadPath::new(
            [
                "home/user.control",
                "run/systemd/user.control",
                "home/user",
                "run/systemd/generator",
                "lib",
            ]
            .map(at)
            .into(),
            &at("run"),
        );
        write(at("lib/default.target"), "[Unit]\n");
        write(at("lib/basic.target"), "[Unit]\n");
        write(at("home/user/mcp.target"), "[Unit]\n");
        write(at("home/user/off.target"), "");
        write(at("home/user/web.service.d/9.conf"), "[Service]\nTimeoutStopSec=7\n");
        fs::create_dir_all(at("home/user/default.target.wants")).unwrap();
        std::os::unix::fs::symlink(
            "../mcp.target",
            at("home/user/default.target.wants/mcp.target"),
        )
        .unwrap();
        std::os::unix::fs::symlink("mcp.target", at("home/user/other.target")).unwrap();
        // Overrides for now, and what podman's generator made last time.
        write(at("run/systemd/user.control/web.service"), "[Unit]\n");
        write(at("run/systemd/generator/stale.service"), "# by podman-user-generator\n[Unit]\n");
        write(at("run/systemd/generator/other.service"), "[Unit]\n");
        let web =
            "# Automatically generated by podman-user-generator\n[Install]\nWantedBy=mcp.target\n";
        let generated = [("web.service".to_owned(), web.to_owned())].into();

        let found = path.read(&generated).unwrap();
        let graph = Graph::of_boot(&found, &[]);
        assert_eq!(graph.way_to("web.service"), ["default.target", "mcp.target", "web.service"]);
        let unit = graph.unit("web.service").unwrap();
        assert_eq!(unit.path, Some(at("run/systemd/generator/web.service")));
        assert_eq!(unit.drop_ins, [at("home/user/web.service.d/9.conf")]);
        assert!(!found.sources.contains_key("stale.service"));
        assert!(found.sources.contains_key("other.service"));
        assert_eq!(Loaded::load(&found, "off.target").state, State::Masked);
        assert_eq!(Loaded::load(&found, "other.target").name, "mcp.target");
        let overridden = path.overridden(&["web.service".to_owned(), "mcp.target".to_owned()]);
        assert_eq!(overridden.len(), 1);
        assert_eq!(overridden[0].path, at("run/systemd/user.control/web.service"));
    }
}
