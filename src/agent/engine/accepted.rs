//! Generations in force: read from the registry, kept in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::EngineError;
use crate::deployment::{Deployment, Images, Leases};
use crate::names::{Generation, ServiceName, UnitName};
use crate::quadlet::UnitSet;
use crate::registry::{GenerationRow, Registry, ServiceRow};

/// A generation in force.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The service's row.
    pub row: ServiceRow,
    /// Text of the definition.
    pub definition: String,
    /// Name of the definition's file.
    pub file_name: String,
    /// What runs; `active` is what was last asked for.
    pub deployment: Deployment,
    /// Its files, as they were when it was accepted.
    pub set: UnitSet,
    /// The images that it was accepted with.
    pub images: Images,
}

impl Accepted {
    /// Returns what a deployment that is not in force yet will be, as far as
    /// that is known, in place of what was there before.
    pub(super) fn on_its_way(deployment: Deployment, before: Option<Self>) -> Self {
        let active = deployment.active;
        match before {
            Some(before) => {
                let row = ServiceRow { active, ..before.row };
                Self { row, deployment, ..before }
            }
            None => Self {
                row: ServiceRow {
                    name: deployment.service.clone(),
                    active,
                    generation: Generation(0),
                    deployed_at_ms: 0,
                    deployed_by: String::new(),
                },
                definition: String::new(),
                file_name: String::new(),
                set: UnitSet::new(deployment.service.clone(), active),
                images: Images::new(),
                deployment,
            },
        }
    }

    /// Returns the ports that are leased.
    pub fn leases(&self) -> Leases {
        leases(&self.deployment)
    }

    /// Returns the definition as it would have to be written today: with
    /// `active` as it was last asked for.
    pub fn current_definition(&self) -> String {
        with_active(&self.definition, self.row.active)
    }

    /// Tells whether a definition has the words of the one in force, but for
    /// `active`: a stop and a start write that into the operator's file, and
    /// are no deploy.
    pub fn is_worded_as(&self, definition: &str) -> bool {
        same_words(&self.definition, definition)
    }
}

/// Tells whether two definitions differ at most in `active`.
fn same_words(one: &str, other: &str) -> bool {
    with_active(one, false) == with_active(other, false)
}

/// Returns a definition's text with `active` set, and nothing else changed.
pub fn with_active(definition: &str, active: bool) -> String {
    let Ok(mut document) = definition.parse::<toml_edit::DocumentMut>() else {
        return definition.to_owned();
    };
    let written = document.get("active").and_then(toml_edit::Item::as_bool).unwrap_or(true);
    if written == active {
        return definition.to_owned();
    }
    match document.get_mut("active").and_then(toml_edit::Item::as_value_mut) {
        Some(value) => {
            let decor = value.decor().clone();
            *value = toml_edit::Value::from(active);
            *value.decor_mut() = decor;
        }
        None => {
            document.insert("active", toml_edit::value(active));
        }
    }
    document.to_string()
}

/// Returns the ports that a deployment leases.
pub fn leases(deployment: &Deployment) -> Leases {
    deployment
        .containers
        .iter()
        .flat_map(|c| c.leases().map(|(route, port)| ((c.spec.name.clone(), route), port)))
        .collect()
}

/// Returns the units of a deployment's containers.
pub fn container_units(deployment: &Deployment) -> Vec<UnitName> {
    deployment.containers.iter().map(|c| c.name.unit()).collect()
}

/// A generation as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Text of the definition.
    pub definition: String,
    /// Name of the definition's file.
    pub file_name: String,
    /// What runs.
    pub deployment: Deployment,
    /// Its files.
    pub set: UnitSet,
    /// The images that it was accepted with; empty: not known.
    pub images: Images,
}

impl TryFrom<GenerationRow> for Stored {
    type Error = EngineError;

    fn try_from(row: GenerationRow) -> Result<Self, EngineError> {
        let service = row.service;
        let bad = |what| {
            let service = service.clone();
            move |source| EngineError::Stored { what, service, source }
        };
        Ok(Self {
            deployment: serde_json::from_str(&row.deployment).map_err(bad("deployment"))?,
            set: serde_json::from_str(&row.files).map_err(bad("unit set"))?,
            images: match &row.images {
                Some(images) => serde_json::from_str(images).map_err(bad("list of images"))?,
                None => Images::new(),
            },
            definition: row.definition,
            file_name: row.file_name,
        })
    }
}

/// Reads one stored generation.
///
/// # Errors
///
/// The registry does not answer, or what it holds cannot be read.
pub async fn stored(
    registry: &Registry,
    service: &ServiceName,
    number: Generation,
) -> Result<Option<Stored>, EngineError> {
    registry.generation(service, number).await?.map(Stored::try_from).transpose()
}

/// Reads the generation of a service that is in force.
///
/// # Errors
///
/// The registry does not answer, or what it holds cannot be read.
pub async fn load(
    registry: &Registry,
    service: &ServiceName,
) -> Result<Option<Accepted>, EngineError> {
    let Some(row) = registry.service(service).await? else { return Ok(None) };
    let Some(mut stored) = stored(registry, service, row.generation).await? else {
        return Ok(None);
    };
    stored.deployment.active = row.active;
    Ok(Some(Accepted {
        row,
        definition: stored.definition,
        file_name: stored.file_name,
        deployment: stored.deployment,
        set: stored.set,
        images: stored.images,
    }))
}

/// Reads every generation in force.
///
/// # Errors
///
/// The registry does not answer, or what it holds cannot be read.
pub async fn load_all(
    registry: &Registry,
) -> Result<BTreeMap<ServiceName, Arc<Accepted>>, EngineError> {
    let mut all = BTreeMap::new();
    for row in registry.services().await? {
        if let Some(accepted) = load(registry, &row.name).await? {
            all.insert(row.name, Arc::new(accepted));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_is_set_where_it_is_and_comments_stay() {
        let text = "name = \"a\" # one\nactive = true # for now\n\n[[components]]\nname = \"a\"\n";
        assert_eq!(with_active(text, true), text);
        assert_eq!(with_active(text, false), text.replace("= true #", "= false #"));
        let without = text.replace("active = true # for now\n", "");
        let stopped = with_active(&without, false);
        assert!(stopped.contains("name = \"a\" # one\nactive = false\n"), "{stopped}");
        assert_eq!(with_active(&with_active(&without, false), true).matches("true").count(), 1);
    }

    #[test]
    fn what_a_stop_and_a_start_write_is_no_other_wording() {
        let text = "name = \"a\" # one\n\n[[components]]\nname = \"a\"\n";
        let stopped = with_active(text, false);
        let started = with_active(&stopped, true);
        assert_ne!(started, text);
        assert!(same_words(text, &stopped) && same_words(text, &started));
        assert!(!same_words(text, &stopped.replace("# one", "# two")));
    }
}
