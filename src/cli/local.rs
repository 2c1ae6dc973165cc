//! Service definitions in the operator's services directory.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::cli::config::{Settings, edit};
use crate::cli::error::{CliError, FileError};
use crate::cli::snippet::{InvalidFile, Mistake};
use crate::definition::{self, Service};
use crate::names::{NodeName, ServiceName};
use crate::quadlet::known_keys;

/// A definition in a file of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDefinition {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Returns where the definition of a service belongs.
pub fn path(settings: &Settings, service: &ServiceName) -> PathBuf {
    settings.services_dir.join(format!("{service}.toml"))
}

/// Loads a definition from a file; `None` when there is no such file.
///
/// # Errors
///
/// A file that is there and cannot be read.
pub fn load(path: &Path) -> Result<Option<LocalDefinition>, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(LocalDefinition { path: path.to_owned(), text })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // No text, a directory, not ours to read: nothing was tried.
        Err(source) => {
            Err(CliError::usage(FileError { action: "read", path: path.to_owned(), source }))
        }
    }
}

/// Loads a definition from a file that was named.
///
/// # Errors
///
/// The file is not there or cannot be read.
pub fn required(path: &Path) -> Result<LocalDefinition, CliError> {
    load(path)?.ok_or_else(|| {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let hint = format!("mcp service new SERVICE --image IMAGE --stdout > {}", path.display());
        CliError::usage(NoDefinition(whole)).hint(hint)
    })
}

/// There is no such file.
#[derive(Debug, thiserror::Error)]
#[error("there is no definition {}", .0.display())]
struct NoDefinition(PathBuf);

impl LocalDefinition {
    /// Returns the node that the definition asks for, if it can be told; a
    /// definition with mistakes is told about when it is deployed.
    pub fn node(&self) -> Option<NodeName> {
        let table: toml::Table = self.text.parse().ok()?;
        table.get("node")?.as_str()?.parse().ok()
    }

    /// Returns the service that the definition describes.
    ///
    /// # Errors
    ///
    /// Every mistake, with its place.
    pub fn service(&self) -> Result<Service, CliError> {
        definition::load(&self.text).map_err(|invalid| {
            self.invalid(invalid.diagnostics.into_iter().map(Mistake::from).collect())
        })
    }

    /// Returns what may be deployed and is hardly meant; `None` when there is
    /// nothing of the kind.
    pub fn doubts(&self) -> Option<InvalidFile> {
        // What cannot be parsed is told as a mistake.
        let parsed = definition::parse::parse(&self.text).ok()?;
        let mistakes: Vec<_> = known_keys::doubts(&parsed).into_iter().map(Mistake::from).collect();
        let (path, text) = (self.path.clone(), self.text.clone());
        (!mistakes.is_empty()).then_some(InvalidFile { path, text, mistakes })
    }

    /// Checks that the definition is valid and that of `service`.
    ///
    /// # Errors
    ///
    /// Every mistake, with its place.
    pub fn check(&self, service: &ServiceName) -> Result<(), CliError> {
        let name = self.service()?.name;
        if name == *service {
            return Ok(());
        }
        Err(self.invalid(vec![Mistake {
            span: self.place_of_name(),
            message: format!("the definition is that of {name}, not of {service}"),
            help: Some(format!("write `name = \"{service}\"`")),
        }]))
    }

    fn place_of_name(&self) -> std::ops::Range<usize> {
        #[derive(serde::Deserialize)]
        struct Named {
            name: toml::Spanned<String>,
        }
        toml::from_str(&self.text).map_or(0..0, |named: Named| named.name.span())
    }

    fn invalid(&self, mistakes: Vec<Mistake>) -> CliError {
        let (path, text) = (self.path.clone(), self.text.clone());
        CliError::usage(InvalidFile { path, text, mistakes })
    }

    /// Writes `active` into the file, if that changes it; tells whether.
    ///
    /// # Errors
    ///
    /// The file is not TOML or cannot be written.
    pub fn set_active(&self, active: bool) -> Result<bool, CliError> {
        let Some(edited) = self.with_active(active)? else {
            return Ok(false);
        };
        save(&self.path, &edited, PRIVATE)?;
        Ok(true)
    }

    /// Returns the text with `active` written into it; none if it is so.
    ///
    /// # Errors
    ///
    /// The file is not TOML.
    pub fn with_active(&self, active: bool) -> Result<Option<String>, CliError> {
        edit::set_active(&self.text, active).map_err(|error| {
            let name = self.path.display();
            CliError::usage(error).hint(format!("mcp lint {name}"))
        })
    }
}

/// The mode of a new file that holds nothing but what was typed.
pub const PUBLIC: u32 = 0o644;
/// The mode of a new file that may hold secrets, such as what containers have
/// in their environments.
pub const PRIVATE: u32 = 0o600;

/// Writes a definition or the config, and the directory if it is missing. A
/// file that is there keeps its permissions; a new one gets `mode`.
///
/// # Errors
///
/// Any error of the file system.
pub fn save(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let mode = match std::fs::metadata(path) {
        Ok(found) => found.permissions().mode() & 0o777,
        Err(_) => mode,
    };
    write(path, text.as_bytes(), mode)
}

/// Writes a file of the operator, and its directory if that is missing.
///
/// # Errors
///
/// Any error of the file system.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), CliError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(FileError::at("create", directory))?;
    }
    // A link, as from a dotfiles repository, stays a link.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    atomic_file::write(&target, content, mode).map_err(FileError::at("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = "[[components]]\nname = \"a\"\nimage = \"localhost/a:1\"\n";

    fn definition(text: &str) -> LocalDefinition {
        LocalDefinition { path: "mcq.toml".into(), text: text.to_owned() }
    }

    #[test]
    fn the_node_of_a_definition() {
        assert_eq!(
            definition("name = \"mcq\"\nnode = \"rift\"\n").node().unwrap().as_str(),
            "rift"
        );
        assert_eq!(definition("name = \"mcq\"\n").node(), None);
        assert_eq!(definition("node = ").node(), None);
    }

    #[test]
    fn a_definition_of_another_service_is_refused() {
        let service = "mcq".parse().unwrap();
        assert!(definition(&format!("name = \"mcq\"\n{COMPONENT}")).check(&service).is_ok());
        let error =
            definition(&format!("name = \"mcr\"\n{COMPONENT}")).check(&service).unwrap_err();
        assert_eq!(
            error.message(),
            "mcq.toml:1:8: the definition is that of mcr, not of mcq (write `name = \"mcq\"`)"
        );
        assert_eq!(definition("name = ").check(&service).unwrap_err().kind.exit_code(), 2);
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        save(&real, "a", PRIVATE).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        save(&link, "b", PUBLIC).unwrap();
        let mode = std::fs::metadata(&real).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE, "what was private stays so");
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "b");
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }
}
