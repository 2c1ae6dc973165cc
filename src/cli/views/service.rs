//! `mcp service`: the definition that an agent holds.

use serde::Serialize;

/// `mcp service show`.
#[derive(Debug, Serialize)]
pub struct DefinitionView {
    /// The service.
    pub service: String,
    /// Its node.
    pub node: String,
    /// The deployment that the text made.
    pub generation: u64,
    /// The TOML text.
    pub definition: String,
}

/// `mcp service new --stdout`.
#[derive(Debug, Serialize)]
pub struct StarterView {
    /// The service.
    pub service: String,
    /// The TOML text.
    pub definition: String,
}

/// `mcp service new`, `mcp service export` and `mcp service edit`.
#[derive(Debug, Serialize)]
pub struct FileView {
    /// The service.
    pub service: String,
    /// The file.
    pub path: String,
    /// Whether the file was written; `false`: it was so already.
    pub changed: bool,
}
