//! Loading the configuration, and the copy that keeps a mistake in it from
//! taking the agent down.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::config::{self, ConfigError};
use super::environment::Environment;
use super::settings::Settings;
use crate::atomic_file;

/// A configuration that the agent can run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What it means.
    pub settings: Settings,
    /// Its text.
    pub text: String,
    /// The file that was asked for.
    pub path: PathBuf,
    /// Why the last good copy is used in place of that file, if it is.
    pub problem: Option<String>,
}

/// Loads the file alone; an absent default file means all defaults.
///
/// # Errors
///
/// It cannot be read or has mistakes.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Loaded, ConfigError> {
    let (path, optional) = match path {
        Some(path) => (path.to_owned(), false),
        None => (environment.default_config(), true),
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if optional && error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(ConfigError::Read { path, source }),
    };
    let settings = config::parse(&text, &path, environment)?;
    Ok(Loaded { settings, text, path, problem: None })
}

/// Loads the file, or else the copy of the last one that the agent ran with.
///
/// # Errors
///
/// The file cannot be used, and neither can a copy; the error is the file's.
pub fn load_or_last_good(
    path: Option<&Path>,
    environment: &Environment,
) -> Result<Loaded, ConfigError> {
    let error = match load(path, environment) {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    let copy = copy_path(&environment.state_dir());
    match load(Some(&copy), environment) {
        Ok(good) => {
            let problem = format!(
                "The configuration is not valid and the last good one is in use; correct it and reload the agent: {}",
                crate::telemetry::Chain(&error)
            );
            let path = path.map_or_else(|| environment.default_config(), Path::to_owned);
            Ok(Loaded { path, problem: Some(problem), ..good })
        }
        // Which copy there is not, nobody asked.
        Err(_) => Err(error),
    }
}

/// Keeps the text of a configuration that the agent has started with.
///
/// # Errors
///
/// The file system refuses.
pub fn save(loaded: &Loaded) -> io::Result<()> {
    if loaded.problem.is_some() {
        return Ok(());
    }
    let path = copy_path(&loaded.settings.state_dir);
    match fs::read(&path) {
        Ok(text) if text == loaded.text.as_bytes() => Ok(()),
        Ok(_) | Err(_) => atomic_file::write(&path, loaded.text.as_bytes(), 0o600),
    }
}

fn copy_path(state_dir: &Path) -> PathBuf {
    state_dir.join("mcp-agent.last-good.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_gives_way_to_the_last_good_one() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            uid: 1000,
            host_name: "rift".to_owned(),
            state_directory: Some(dir.path().to_owned()),
            ..Environment::default()
        };
        let file = dir.path().join("a.toml");
        assert!(matches!(load(Some(&file), &environment), Err(ConfigError::Read { .. })));
        let write = |text: &str| atomic_file::write(&file, text.as_bytes(), 0o644).unwrap();

        write("[agent]\nnode_nme = \"one\"\n");
        let error = load_or_last_good(Some(&file), &environment).unwrap_err();
        assert!(error.to_string().contains("did you mean \"node_name\"?"), "{error}");

        write("[agent]\nnode_name = \"one\"\n");
        let good = load_or_last_good(Some(&file), &environment).unwrap();
        assert_eq!(good.problem, None);
        save(&good).unwrap();

        write("[agent]\nnode_name = 7\n");
        let kept = load_or_last_good(Some(&file), &environment).unwrap();
        assert_eq!(kept.settings, good.settings);
        assert_eq!(kept.path, file);
        assert!(
            kept.problem.as_ref().unwrap().contains("a.toml:2:13: agent.node_name"),
            "{kept:?}"
        );
        save(&kept).unwrap();
        assert_eq!(load_or_last_good(Some(&file), &environment).unwrap().settings, good.settings);
    }
}
