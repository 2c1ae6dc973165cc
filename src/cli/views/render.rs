//! `mcp render`: the units of a definition.

use serde::Serialize;

use crate::quadlet::podman_version::PodmanVersion;
use crate::quadlet::unit_set::{Place, UnitSet};
use crate::ui::{Palette, Tone, visible_lines};

/// The units of one service.
#[derive(Debug, Serialize)]
pub struct RenderView {
    /// The service.
    pub service: String,
    /// The version of podman that they are for.
    pub podman_version: String,
    /// The units, by path.
    pub files: Vec<RenderedFile>,
    /// What of the definition they do not have.
    pub warnings: Vec<String>,
}

/// One unit.
#[derive(Debug, Serialize)]
pub struct RenderedFile {
    /// Below `~/.config` of the agent's user.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl RenderView {
    /// Takes a rendered set; `quadlet` is where services have their directories.
    pub fn new(units: &UnitSet, podman: PodmanVersion, quadlet: &str) -> Self {
        let path = |place: Place, name: &str| match place {
            Place::Quadlet => format!("{quadlet}/{}/{name}", units.service),
            Place::Systemd => format!("systemd/user/{name}"),
        };
        let file = |((place, name), text): (&(Place, String), &String)| RenderedFile {
            path: path(*place, name),
            text: text.clone(),
        };
        Self {
            service: units.service.to_string(),
            podman_version: podman.to_string(),
            files: units.files.iter().map(file).collect(),
            warnings: Vec::new(),
        }
    }

    /// Returns the units one after another, each below its path.
    pub fn text(&self, palette: Palette) -> String {
        let file = |file: &RenderedFile| {
            let head = palette.paint(Tone::Strong, &format!("==> {} <==", file.path));
            format!("{head}\n{}", visible_lines(&file.text))
        };
        let files: Vec<String> = self.files.iter().map(file).collect();
        files.join("\n")
    }
}
