//! Podman's part of the work: its version, its generator, our templates.

use std::io;
use std::path::{Path, PathBuf};

use crate::quadlet::{PodmanVersion, RenderError, Renderer};
use crate::units::generator::podman_version;
use crate::units::{Generator, GeneratorError};

/// Where an operator can replace templates.
pub const TEMPLATES: &str = "/etc/mcp/templates/quadlet";

/// What deploying needs of podman.
#[derive(Debug)]
pub struct Toolchain {
    /// Podman's version.
    pub podman: PodmanVersion,
    /// Its generator.
    pub generator: Generator,
    /// Our renderer for that version.
    pub renderer: Renderer,
}

/// Why deploying is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Podman or its generator is missing.
    #[error(transparent)]
    Podman(#[from] GeneratorError),
    /// It is too old, or a template is broken.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A template cannot be read.
    #[error("cannot read {}", path.display())]
    Template {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Toolchain {
    /// Looks at the node: which podman, which generator, which templates.
    /// `program` is the path by which units are to call `mcp-agent`.
    ///
    /// # Errors
    ///
    /// [`ToolchainError`]
    pub async fn find(program: &str) -> Result<Self, ToolchainError> {
        let (major, minor, patch) = podman_version().await?;
        let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let podman =
            PodmanVersion { major: number(major), minor: number(minor), patch: number(patch) };
        let podman = podman.check().map_err(RenderError::from)?;
        let overrides = overrides(Path::new(TEMPLATES))?;
        let renderer = Renderer::new(podman, program, &overrides)?;
        Ok(Self { podman, generator: Generator::find()?, renderer })
    }
}

/// The program that works in the user's namespaces: this one, whatever it was
/// installed as.
pub fn own_program() -> String {
    let Ok(running) = std::env::current_exe() else { return "mcp-agent".to_owned() };
    running.to_string_lossy().trim_end_matches(" (deleted)").to_owned()
}

/// Reads the templates that an operator put in a directory.
///
/// # Errors
///
/// A file that cannot be read; a directory that is not there is no error.
pub fn overrides(directory: &Path) -> Result<Vec<(String, String)>, ToolchainError> {
    let bad = |path: &Path| {
        let path = path.to_owned();
        move |source| ToolchainError::Template { path, source }
    };
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(bad(directory))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(bad(directory))?.path();
        if path.extension().is_some_and(|e| e == "tera")
            && let Some(name) = path.file_name().and_then(|n| n.to_str())
        {
            found.push((name.to_owned(), std::fs::read_to_string(&path).map_err(bad(&path))?));
        }
    }
    found.sort();
    Ok(found)
}
