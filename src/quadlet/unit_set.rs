//! The files of one deployment, as a value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::ServiceName;

/// Tells which of the user's unit directories a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// `~/.config/containers/systemd/mcp/<service>/`, read by podman's
    /// generator (`podman-systemd.unit(5)`).
    Quadlet,
    /// `~/.config/systemd/user/`, read by systemd itself.
    Systemd,
}

/// All unit files of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSet {
    /// The service that the files make up.
    pub service: ServiceName,
    /// Whether `mcp.target` pulls the service in at boot: a link
    /// `mcp.target.wants/<service>.target`. A stopped service has none.
    pub wanted: bool,
    /// Contents by place and file name.
    #[serde(with = "as_list")]
    pub files: BTreeMap<(Place, String), String>,
}

impl UnitSet {
    /// Makes a set without files.
    pub fn new(service: ServiceName, wanted: bool) -> Self {
        Self { service, wanted, files: BTreeMap::new() }
    }

    /// Returns the files of one place, by name.
    pub fn of(&self, place: Place) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |((p, _), _)| *p == place)
            .map(|((_, name), text)| (name.as_str(), text.as_str()))
    }
}

/// JSON has text keys only: the map is stored as a list.
mod as_list {
    use super::{BTreeMap, Deserialize, Place, Serialize};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Entry {
        place: Place,
        name: String,
        text: String,
    }

    pub(super) fn serialize<S: Serializer>(
        files: &BTreeMap<(Place, String), String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(files.iter().map(|((place, name), text)| Entry {
            place: *place,
            name: name.clone(),
            text: text.clone(),
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(Place, String), String>, D::Error> {
        let list = Vec::<Entry>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|e| ((e.place, e.name), e.text)).collect())
    }
}
