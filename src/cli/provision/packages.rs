//! Which Debian packages are installed: files of the operator, or what the
//! machine's own sources have.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::cli::error::{CliError, FileError};

/// The packages of a node. The command line is taken along where it is there.
const AGENT: &str = "mcp-agent";
const COMMAND_LINE: &str = "mcp";

/// A package in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The file.
    pub path: PathBuf,
}

impl Package {
    /// Returns the SHA-256 of the file, hexadecimal.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn sha256(&self) -> Result<String, CliError> {
        let content = fs::read(&self.path).map_err(FileError::at("read", &self.path))?;
        let digits = Sha256::digest(&content).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Ok(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
    }
}

/// Where the packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Files, which are copied to the machine.
    Files(Vec<Package>),
    /// The package sources that the machine knows.
    Apt,
}

/// Why a directory has not the packages that are needed.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// The agent's is not there.
    #[error("{} has no file {AGENT}_VERSION_{arch}.deb", directory.display())]
    Missing {
        /// Where we looked.
        directory: PathBuf,
        /// For which architecture.
        arch: String,
    },
    /// It is not clear which is meant.
    #[error("{} has several packages {name} for {arch}: {}", directory.display(), versions.join(", "))]
    Several {
        /// Where we looked.
        directory: PathBuf,
        /// Of which package.
        name: String,
        /// For which architecture.
        arch: String,
        /// What there is.
        versions: Vec<String>,
    },
}

/// Finds the packages of a node in a directory.
///
/// # Errors
///
/// The directory cannot be read, the agent's package is missing, or there are
/// several versions of one.
pub fn find(directory: &Path, arch: &str) -> Result<Vec<Package>, CliError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(FileError::at("read", directory))? {
        let entry = entry.map_err(FileError::at("read", directory))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    let mut found = Vec::new();
    for name in [AGENT, COMMAND_LINE] {
        let Some(version) = chosen(&names, directory, name, arch).map_err(CliError::usage)? else {
            continue;
        };
        let path = directory.join(format!("{name}_{version}_{arch}.deb"));
        found.push(Package { name: name.to_owned(), version, path });
    }
    Ok(found)
}

/// Returns the version of the one file of a package.
fn chosen(
    names: &[String],
    directory: &Path,
    package: &str,
    arch: &str,
) -> Result<Option<String>, PackagesError> {
    let (before, after) = (format!("{package}_"), format!("_{arch}.deb"));
    let version = |name: &String| {
        let version = name.strip_prefix(&before)?.strip_suffix(&after)?;
        is_version(version).then(|| version.to_owned())
    };
    let mut versions: Vec<String> = names.iter().filter_map(version).collect();
    let (directory, arch) = (directory.to_owned(), arch.to_owned());
    match (versions.len(), package) {
        (0, AGENT) => Err(PackagesError::Missing { directory, arch }),
        (0 | 1, _) => Ok(versions.pop()),
        (_, _) => {
            Err(PackagesError::Several { directory, name: package.to_owned(), arch, versions })
        }
    }
}

/// The characters of a version (`deb-version(7)`); dpkg leaves the epoch out
/// of file names.
fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            crate::atomic_file::write(&directory.path().join(file), b"abc", 0o644).unwrap();
        }
        directory
    }

    #[test]
    fn the_packages_of_an_architecture_are_found() {
        let files = directory(&[
            "mcp-agent_0.1.0~rc1_amd64.deb",
            "mcp-agent_0.1.0_arm64.deb",
            "mcp_0.1.0_amd64.deb",
            "mcp-master_0.1.0_amd64.deb",
            "mcp-agent_$(id)_amd64.deb",
        ]);
        let found = find(files.path(), "amd64").unwrap();
        let names: Vec<_> = found.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(names, [("mcp-agent", "0.1.0~rc1"), ("mcp", "0.1.0")]);
        // RFC 6234 has this of "abc".
        assert!(found[0].sha256().unwrap().starts_with("ba7816bf8f01cfea"));
        assert_eq!(find(files.path(), "arm64").unwrap().len(), 1);
    }

    #[test]
    fn a_missing_package_and_an_unclear_one_are_told() {
        let none = directory(&["mcp_0.1.0_amd64.deb"]);
        let error = find(none.path(), "amd64").unwrap_err().message();
        assert!(error.ends_with("has no file mcp-agent_VERSION_amd64.deb"), "{error}");
        let two = directory(&["mcp-agent_0.1.0_amd64.deb", "mcp-agent_0.2.0_amd64.deb"]);
        let error = find(two.path(), "amd64").unwrap_err().message();
        assert!(error.ends_with("several packages mcp-agent for amd64: 0.1.0, 0.2.0"), "{error}");
        assert!(find(Path::new("/nonexistent"), "amd64").is_err());
    }
}
