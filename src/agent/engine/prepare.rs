//! From a definition to a plan that is proved: everything that can be known
//! before anything is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Accepted, Engine, EngineError, accepted, preflight, status};
use crate::agent::plan::{self, Plan, Present, Side};
use crate::definition::{self, Service};
use crate::deployment::{Deployment, Leases, NodeFacts, ports, resolve};
use crate::names::{ComponentName, ServiceName, UnitName};
use crate::quadlet::{UnitSet, proof};
use crate::units::GeneratorReport;

/// What a deploy is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Text of the definition.
    pub definition: String,
    /// Name of its file, for messages and headings.
    pub file_name: String,
    /// The only component to deploy.
    pub component: Option<ComponentName>,
    /// Who asks.
    pub by: String,
}

/// A deploy that can begin.
#[derive(Debug)]
pub struct Prepared {
    /// What was asked for; the definition is the whole new one.
    pub request: Request,
    /// The generation in force.
    pub old: Option<Arc<Accepted>>,
    /// Its files, as they are on disk.
    pub disk: Option<UnitSet>,
    /// What will run.
    pub deployment: Deployment,
    /// Its files.
    pub set: UnitSet,
    /// The way there.
    pub plan: Plan,
    /// What podman's generator made of the new files; none if they are the
    /// old ones.
    pub report: Option<GeneratorReport>,
}

impl Prepared {
    /// Returns what is odd about the deploy, for people.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for container in &self.deployment.containers {
            let component = &container.spec.name;
            if container.image.version() == "latest" {
                warnings.push(format!(
                    "component {component}: {} can mean another image tomorrow; write a tag or a digest",
                    container.image
                ));
            }
            if !container.spec.extra.is_empty() {
                let keys: Vec<&str> = container.spec.extra.iter().map(|e| e.key.as_str()).collect();
                warnings.push(format!(
                    "component {component}: taken over as written, unchecked: {}",
                    keys.join(", ")
                ));
            }
        }
        let noise = |m: &&String| !m.contains("Loading source unit file");
        warnings.extend(self.report.iter().flat_map(|r| r.messages.iter().filter(noise).cloned()));
        warnings
    }
}

impl Engine {
    /// Returns what podman's generator makes of the generation in force, by
    /// unit; nothing if a prepared deploy changes no file.
    ///
    /// # Errors
    ///
    /// The generator cannot be asked.
    pub async fn generated(
        &self,
        prepared: &Prepared,
    ) -> Result<BTreeMap<String, String>, EngineError> {
        let before = prepared.disk.as_ref().or(prepared.old.as_ref().map(|o| &o.set));
        let (Some(before), Some(_)) = (before, &prepared.report) else {
            return Ok(BTreeMap::new());
        };
        let live =
            self.tools().store.quadlet_root().parent().unwrap_or(self.tools().store.quadlet_root());
        Ok(self.toolchain()?.generator.check_set(before, live).await?.units)
    }

    /// Prepares a deploy: checks the definition, resolves it, leases ports,
    /// renders, and has podman's generator prove the result. Changes nothing.
    ///
    /// # Errors
    ///
    /// Whatever stands against the deploy.
    pub async fn prepare(&self, mut request: Request) -> Result<Prepared, EngineError> {
        let mut service = parse(&request)?;
        let old = self.find(&service.name);
        if let Some(component) = request.component.clone() {
            request.definition =
                only_component(&request, &component, &service.name, old.as_deref())?;
            service = parse(&request)?;
        }
        let toolchain = self.toolchain()?;
        let neighbours: Vec<Deployment> = self.all().iter().map(|a| a.deployment.clone()).collect();
        let leases = self.lease(&service, old.as_deref()).await?;
        let next = match &old {
            Some(old) => old.row.generation.next(),
            None => self.registry().next_generation(&service.name).await?,
        };
        let deployment = resolve(&service, &self.facts(), &leases, Some(&neighbours), next)
            .map_err(EngineError::Resolve)?;
        let mut set = toolchain.renderer.render(&deployment, &request.file_name)?;
        let disk = self.on_disk(&service.name).await?;
        for before in old.iter().map(|o| &o.set).chain(&disk) {
            plan::keep_unchanged(before, &mut set);
        }
        let up = self.up(old.as_deref(), &deployment).await?;
        let accepted = old.as_ref().map(|o| Side { deployment: &o.deployment, set: &o.set });
        let present = Present { accepted, disk: disk.as_ref(), up: &up };
        let plan = plan::plan(present, Side { deployment: &deployment, set: &set });
        let report =
            if plan.files.is_empty() { None } else { Some(self.prove(&deployment, &set).await?) };
        preflight::check(self, old.as_deref(), &deployment, &plan).await?;
        Ok(Prepared { request, old, disk, deployment, set, plan, report })
    }

    fn facts(&self) -> NodeFacts {
        let node = &self.tools().node;
        NodeFacts {
            node: Some(node.name.clone()),
            address: node.address,
            image_registry: node.image_registry.clone(),
        }
    }

    async fn lease(
        &self,
        service: &Service,
        old: Option<&Accepted>,
    ) -> Result<Leases, EngineError> {
        let had = old.map(Accepted::leases).unwrap_or_default();
        let address = self.tools().node.address;
        let range = self.tools().node.ports.first()..=self.tools().node.ports.last();
        let mut taken: BTreeSet<u16> = self
            .registry()
            .leases()
            .await?
            .into_iter()
            .filter(|l| l.service != service.name)
            .map(|l| l.port)
            .collect();
        for other in self.all().iter().filter(|a| a.row.name != service.name) {
            taken.extend(
                other.deployment.containers.iter().flat_map(|c| c.publish.iter().map(|p| p.host)),
            );
        }
        Ok(ports::lease(service, &had, &taken, &range, |port| preflight::is_free(address, port))?)
    }

    /// Returns which of the old and new containers' units run.
    async fn up(
        &self,
        old: Option<&Accepted>,
        new: &Deployment,
    ) -> Result<BTreeSet<UnitName>, EngineError> {
        let mut units = accepted::container_units(new);
        units.extend(old.map(|o| accepted::container_units(&o.deployment)).unwrap_or_default());
        units.sort();
        units.dedup();
        let listed = self.manager().listed(&units).await?;
        Ok(listed
            .into_iter()
            .filter(|unit| status::is_up(&unit.active, &unit.sub))
            .map(|unit| unit.name)
            .collect())
    }

    async fn prove(
        &self,
        deployment: &Deployment,
        set: &UnitSet,
    ) -> Result<GeneratorReport, EngineError> {
        let toolchain = self.toolchain()?;
        let live =
            self.tools().store.quadlet_root().parent().unwrap_or(self.tools().store.quadlet_root());
        let report = toolchain.generator.check_set(set, live).await?;
        let mut messages = Vec::new();
        let refused = report.refused(set);
        if !refused.is_empty() || !report.fatal().is_empty() {
            messages.extend(report.messages.clone());
            messages.extend(refused.into_iter().map(|file| format!("{file} makes no unit")));
        }
        messages.extend(
            proof::compare(deployment, toolchain.renderer.agent(), &report.units)
                .iter()
                .map(ToString::to_string),
        );
        if messages.is_empty() { Ok(report) } else { Err(EngineError::Proof { messages }) }
    }
}

/// Reads a definition.
fn parse(request: &Request) -> Result<Service, EngineError> {
    definition::load(&request.definition).map_err(|invalid| EngineError::Invalid {
        lines: invalid.lines(&request.file_name, &request.definition),
    })
}

/// Puts one component of the new definition into the one in force, which is
/// otherwise left alone.
fn only_component(
    request: &Request,
    component: &ComponentName,
    service: &ServiceName,
    old: Option<&Accepted>,
) -> Result<String, EngineError> {
    let old = old.ok_or_else(|| EngineError::ComponentFirst { service: service.clone() })?;
    let named = |table: &toml_edit::Table| {
        table.get("name").and_then(toml_edit::Item::as_str) == Some(component.as_str())
    };
    let new = request.definition.parse::<toml_edit::DocumentMut>();
    let current = old.current_definition().parse::<toml_edit::DocumentMut>();
    let tables = |document: &toml_edit::DocumentMut| {
        document.get("components").and_then(toml_edit::Item::as_array_of_tables).cloned()
    };
    let (Ok(new), Ok(mut current)) = (new, current) else {
        return Ok(request.definition.clone());
    };
    let known: Vec<String> =
        parse(request)?.components.iter().map(|c| c.name.to_string()).collect();
    let missing = || EngineError::NoComponent {
        service: service.clone(),
        component: component.clone(),
        known,
    };
    // Components written as inline tables: the whole definition must do.
    let (Some(theirs), Some(mut ours)) = (tables(&new), tables(&current)) else {
        return if known_component(&new, component) {
            Ok(request.definition.clone())
        } else {
            Err(missing())
        };
    };
    let table = theirs.iter().find(|t| named(t)).ok_or_else(missing)?.clone();
    let place = ours.iter().position(named);
    match place {
        Some(at) => ours.iter_mut().skip(at).take(1).for_each(|place| *place = table.clone()),
        None => ours.push(table),
    }
    // Positions come from two files; without them tables are written in order.
    current.insert("components", toml_edit::Item::ArrayOfTables(renumbered(&ours)));
    Ok(current.to_string())
}

fn known_component(document: &toml_edit::DocumentMut, component: &ComponentName) -> bool {
    document.get("components").and_then(toml_edit::Item::as_array).is_some_and(|list| {
        list.iter().any(|item| {
            item.as_inline_table().and_then(|t| t.get("name")).and_then(toml_edit::Value::as_str)
                == Some(component.as_str())
        })
    })
}

fn renumbered(tables: &toml_edit::ArrayOfTables) -> toml_edit::ArrayOfTables {
    let mut out = toml_edit::ArrayOfTables::new();
    for table in tables {
        let mut table = table.clone();
        unplace(&mut table);
        out.push(table);
    }
    out
}

fn unplace(table: &mut toml_edit::Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        if let Some(inner) = item.as_table_mut() {
            unplace(inner);
        }
        if let Some(list) = item.as_array_of_tables_mut() {
            list.iter_mut().for_each(unplace);
        }
    }
}
