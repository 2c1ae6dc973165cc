//! Every definition of the operator's services directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cli::config::Settings;
use crate::cli::error::{CliError, FileError};
use crate::cli::local::{self, LocalDefinition};
use crate::cli::target;
use crate::definition::{Service, graph};
use crate::names::{NodeName, ServiceName};

/// A definition that can be used.
#[derive(Debug, Clone)]
pub struct Defined {
    /// Its file.
    pub local: LocalDefinition,
    /// What it means.
    pub service: Service,
}

/// A file that should hold a definition and cannot be used.
#[derive(Debug)]
pub struct Broken {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: CliError,
    /// The services that it may be about; none: nobody can tell, and it may be
    /// any.
    pub services: BTreeSet<ServiceName>,
    /// Whether it is well, and only its node is not clear.
    pub unclear: bool,
}

/// The definitions of a directory.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Those that can be used, by service.
    pub good: BTreeMap<ServiceName, Defined>,
    /// The other files.
    pub broken: Vec<Broken>,
}

/// There is no directory of definitions.
#[derive(Debug, thiserror::Error)]
#[error("there is no services directory {}", .0.display())]
struct NoDirectory(PathBuf);

/// Loads every `*.toml` of the services directory but hidden files. One that
/// cannot be read or is wrong does not hide the others, and is never taken for
/// one that is not there.
///
/// # Errors
///
/// The directory is not there or cannot be read: that is not an empty one.
pub fn load(settings: &Settings) -> Result<Definitions, CliError> {
    let directory = &settings.services_dir;
    let mut definitions = Definitions::default();
    for path in files(directory)? {
        let name = stem(&path);
        match read(&path, name.as_ref()) {
            Ok(defined) => {
                definitions.good.insert(defined.service.name.clone(), defined);
            }
            Err((error, text)) => {
                let services = name.into_iter().chain(text.as_deref().and_then(written)).collect();
                definitions.broken.push(Broken { path, error, services, unclear: false });
            }
        }
    }
    Ok(definitions)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let at = |source: std::io::Error| {
        if source.kind() == std::io::ErrorKind::NotFound {
            let hint = "mcp service new SERVICE --image IMAGE";
            return CliError::usage(NoDirectory(directory.to_owned())).hint(hint);
        }
        CliError::usage(FileError { action: "read", path: directory.to_owned(), source })
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(at)? {
        let name = entry.map_err(at)?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".toml") && !bytes.starts_with(b".") {
            files.push(directory.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the service that a file's name stands for.
fn stem(path: &Path) -> Option<ServiceName> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// Returns the name that a definition has as it is written, though the rest of
/// it may not be TOML.
fn written(text: &str) -> Option<ServiceName> {
    text.lines().find_map(|line| {
        let value = line.trim_start().strip_prefix("name")?.trim_start().strip_prefix('=')?;
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        value.split(quote).nth(1)?.parse().ok()
    })
}

type Unusable = (CliError, Option<String>);

/// Reads a file that was seen in the directory: that it is not there now, or
/// is a link to nowhere, is an error as any other.
fn read(path: &Path, name: Option<&ServiceName>) -> Result<Defined, Unusable> {
    let local = local::required(path).map_err(|error| (error, None))?;
    let result = match name {
        Some(name) => local.check(name).and_then(|()| local.service()),
        // The name of the file is no name of a service, so that of the
        // definition differs from it.
        None => local.service().and_then(|service| {
            Err(CliError::usage(Misnamed { path: path.to_owned(), service: service.name }))
        }),
    };
    match result {
        Ok(service) => Ok(Defined { local, service }),
        Err(error) => Err((error, Some(local.text))),
    }
}

/// A definition whose file has another name.
#[derive(Debug, thiserror::Error)]
#[error("{} holds the definition of {service}, and has to be called {service}.toml", path.display())]
struct Misnamed {
    path: PathBuf,
    service: ServiceName,
}

impl Definitions {
    /// Returns every service that has a file, usable or not.
    pub fn names(&self) -> BTreeSet<ServiceName> {
        let broken = self.broken.iter().flat_map(|b| &b.services);
        self.good.keys().chain(broken).cloned().collect()
    }

    /// Returns a file of which nobody can tell whose definition it is: while
    /// there is one, any service may be defined.
    pub fn unknown(&self) -> Option<&Broken> {
        self.broken.iter().find(|b| b.services.is_empty())
    }

    /// Returns the broken file that may be that of a service.
    pub fn broken_of(&self, service: &ServiceName) -> Option<&Broken> {
        self.broken.iter().find(|b| b.services.contains(service))
    }

    /// Sends every definition to its node, as a deploy does. One of which that
    /// is not clear becomes a broken one.
    pub fn by_node(&mut self, settings: &Settings) -> BTreeMap<NodeName, Vec<Defined>> {
        let mut placed: BTreeMap<NodeName, BTreeMap<ServiceName, Defined>> = BTreeMap::new();
        let mut unclear = Vec::new();
        for (name, defined) in &self.good {
            match target::one(settings, &[], defined.service.node.as_ref()) {
                Ok(node) => {
                    let of_node = placed.entry(node.name.clone()).or_default();
                    of_node.insert(name.clone(), defined.clone());
                }
                Err(error) => unclear.push((name.clone(), CliError::from(error))),
            }
        }
        for (name, mut error) in unclear {
            if let Some(defined) = self.good.remove(&name) {
                error.hints =
                    vec![format!("write `node = ...` in {}", defined.local.path.display())];
                let services = BTreeSet::from([name]);
                let path = defined.local.path;
                self.broken.push(Broken { path, error, services, unclear: true });
            }
        }
        placed.into_iter().map(|(node, defined)| (node, in_order(defined))).collect()
    }
}

/// Puts services behind those that they depend on.
fn in_order(mut defined: BTreeMap<ServiceName, Defined>) -> Vec<Defined> {
    let edges: BTreeMap<ServiceName, Vec<ServiceName>> =
        defined.iter().map(|(n, d)| (n.clone(), d.service.depends_on.clone())).collect();
    let order = graph::layers(&edges).into_iter().flatten();
    order.filter_map(|name| defined.remove(&name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            crate::atomic_file::write(&dir.path().join(name), text.as_bytes(), 0o644).unwrap();
        }
        dir
    }

    fn settings(dir: &Path, nodes: &[&str]) -> Settings {
        let node = |name: &&str| crate::cli::config::Node {
            name: name.parse().unwrap(),
            address: crate::cli::config::Address::Socket("/s".into()),
            token_path: None,
        };
        Settings {
            path: "mcp.toml".into(),
            services_dir: dir.to_owned(),
            token_path: "token".into(),
            token: None,
            nodes: nodes.iter().map(node).collect(),
            nothing_configured: false,
            peers: crate::cli::peers::Peers::default(),
        }
    }

    fn text(name: &str, more: &str) -> String {
        format!("name = \"{name}\"\n{more}\n[[components]]\nname = \"a\"\nimage = \"i:1\"\n")
    }

    fn names(set: &BTreeSet<ServiceName>) -> String {
        set.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_cannot_be_read_is_never_absent() {
        let dir = directory(&[
            ("good.toml", &text("good", "")),
            ("syntax.toml", "name = \"inner\"\nactive = \n"),
            ("other.toml", &text("another", "")),
            ("Not A Name.toml", "\u{0}"),
            (".hidden.toml", "x"),
            ("notes.txt", "x"),
        ]);
        std::fs::create_dir(dir.path().join("folder.toml")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", dir.path().join("link.toml")).unwrap();
        let found = load(&settings(dir.path(), &["rift"])).unwrap();
        assert_eq!(found.good.keys().map(ToString::to_string).collect::<Vec<_>>(), ["good"]);
        assert_eq!(names(&found.names()), "another folder good inner link other syntax");
        assert_eq!(found.broken.len(), 5);
        let unknown = found.unknown().unwrap();
        assert!(unknown.path.ends_with("Not A Name.toml"), "{unknown:?}");
        assert!(found.broken.iter().all(|b| b.error.kind.exit_code() == 2));
    }

    #[test]
    fn no_directory_is_not_an_empty_one() {
        let dir = directory(&[]);
        assert!(load(&settings(dir.path(), &["rift"])).unwrap().names().is_empty());
        let missing = dir.path().join("missing");
        assert_eq!(load(&settings(&missing, &[])).unwrap_err().kind.exit_code(), 2);
    }

    #[test]
    fn definitions_go_to_their_nodes_behind_what_they_depend_on() {
        let dir = directory(&[
            ("a.toml", &text("a", "node = \"rift\"\ndepends_on = [\"z\"]")),
            ("b.toml", &text("b", "node = \"svc\"")),
            ("c.toml", &text("c", "")),
            ("d.toml", &text("d", "node = \"gone\"")),
            ("z.toml", &text("z", "node = \"rift\"")),
        ]);
        let two = settings(dir.path(), &["rift", "svc"]);
        let mut found = load(&two).unwrap();
        let placed = found.by_node(&two);
        let order = |node: &str| -> Vec<String> {
            placed[&node.parse().unwrap()].iter().map(|d| d.service.name.to_string()).collect()
        };
        assert_eq!(order("rift"), ["z", "a"]);
        assert_eq!(order("svc"), ["b"]);
        let told: Vec<String> = found.broken.iter().map(|b| b.error.message()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(names(&found.names()), "a b c d z");
    }
}
