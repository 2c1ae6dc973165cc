//! Looking at everything that knows of a service: registry, unit files,
//! podman's storage; and at what it lacks to run.

use std::collections::{BTreeMap, BTreeSet};

use super::accepted::container_units;
use super::record::{Record, has_target, known};
use super::{Accepted, Engine, EngineError};
use crate::agent::finding::Finding;
use crate::agent::rescue::{CHECK, Case, Seen, Source, Verdict, Worth, judge};
use crate::deployment::Deployment;
use crate::names::{ComponentName, Generation, ImageRef, ServiceName};
use crate::podman::{self, records};
use crate::quadlet::UnitSet;
use crate::telemetry::Chain;

/// Everything that was found, and what is to become of it.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Services with a source to follow.
    pub(super) cases: Vec<Case>,
    /// What those sources hold.
    pub(super) contents: BTreeMap<ServiceName, Content>,
    /// Services that were removed, of which podman still holds a record.
    pub(super) forgotten: Vec<ServiceName>,
    /// What is left to a person.
    pub(super) left: Vec<Finding>,
}

/// A service as it should be.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) record: Record,
    pub(super) set: UnitSet,
    /// The generation that the registry knew when it was looked at.
    pub(super) registered: Option<Generation>,
}

/// What was found of one service.
struct Found {
    accepted: Option<std::sync::Arc<Accepted>>,
    disk: Option<UnitSet>,
    unit: Option<Record>,
    podman: Option<Record>,
}

impl Engine {
    /// Looks at every service that any source knows; `named` are those that a
    /// person has named.
    pub(super) async fn gather(
        &self,
        worth: &Worth,
        named: &BTreeSet<ServiceName>,
    ) -> Result<Gathered, EngineError> {
        let mut gathered = Gathered::default();
        let mut in_podman = self.podman_records(&mut gathered.left).await?;
        let store = self.tools().store.clone();
        let on_disk = tokio::task::spawn_blocking(move || store.services())
            .await
            .map_err(EngineError::Lost)??;
        let mut services: BTreeSet<ServiceName> = on_disk.into_iter().collect();
        services.extend(self.all().iter().map(|accepted| accepted.row.name.clone()));
        services.extend(in_podman.keys().cloned());
        for service in services {
            if self.under_way(&service).is_some() {
                continue;
            }
            let podman = in_podman.remove(&service);
            let one = self.gather_one(&service, podman, (worth, named), &mut gathered).await;
            if let Err(error) = one {
                gathered.left.push(Finding::failed(
                    CHECK,
                    service.as_str(),
                    format!("The service cannot be looked at: {}.", Chain(&error)),
                ));
            }
        }
        Ok(gathered)
    }

    /// Reads podman's records; one that cannot be read is told.
    async fn podman_records(
        &self,
        left: &mut Vec<Finding>,
    ) -> Result<BTreeMap<ServiceName, Record>, EngineError> {
        self.hold_pause_process().await?;
        let mut found = BTreeMap::new();
        for stored in records::all().await? {
            let Ok(service) = stored.service.parse::<ServiceName>() else { continue };
            match Record::parse(&service, &stored.text) {
                Ok(record) => drop(found.insert(service, record)),
                Err(error) => left.push(Finding::warning(
                    CHECK,
                    service.as_str(),
                    format!("Podman's record of the service cannot be read: {}.", Chain(&error)),
                )),
            }
        }
        Ok(found)
    }

    async fn gather_one(
        &self,
        service: &ServiceName,
        podman: Option<Record>,
        (worth, named): (&Worth, &BTreeSet<ServiceName>),
        gathered: &mut Gathered,
    ) -> Result<(), EngineError> {
        let found = Found {
            accepted: self.find(service),
            disk: self.on_disk(service).await?,
            unit: self.unit_record(service).await?,
            podman,
        };
        let seen = found.seen()?;
        let named = named.contains(service);
        match judge(service, &seen, worth, named) {
            Verdict::Forget => gathered.forgotten.push(service.clone()),
            Verdict::Left(finding) => gathered.left.push(finding),
            Verdict::Follow(from) => {
                let Some(content) = self.content(&found, from)? else { return Ok(()) };
                if let Some(finding) = older_files(&found, &content, from).filter(|_| !named) {
                    gathered.left.push(finding);
                    return Ok(());
                }
                let (case, content) = self.case(from, seen, &found, content).await?;
                gathered.cases.push(case);
                gathered.contents.insert(service.clone(), content);
            }
        }
        Ok(())
    }

    /// Returns what a source says the service should be.
    fn content(&self, found: &Found, from: Source) -> Result<Option<Content>, EngineError> {
        let registered = found.accepted.as_ref().map(|accepted| accepted.row.generation);
        let record = match from {
            Source::Registry => {
                return Ok(found.accepted.as_ref().map(|accepted| Content {
                    record: Record::of(accepted, 0),
                    set: UnitSet { wanted: accepted.row.active, ..accepted.set.clone() },
                    registered,
                }));
            }
            Source::Units => found.unit.clone(),
            Source::Podman => found.podman.clone(),
        };
        let Some(mut record) = record else { return Ok(None) };
        if from == Source::Units {
            record.deployment.active = found.is_active(&record.deployment);
        }
        let mut set = self.toolchain()?.renderer.render(&record.deployment, &record.file_name)?;
        if from == Source::Units {
            // What is there is what it was; the rest is made again.
            set.files.extend(found.disk.iter().flat_map(|disk| disk.files.clone()));
        }
        Ok(Some(Content { record, set, registered }))
    }

    async fn case(
        &self,
        from: Source,
        seen: Seen,
        found: &Found,
        content: Content,
    ) -> Result<(Case, Content), EngineError> {
        let deployment = &content.record.deployment;
        let (mut images, mut down) = (Vec::new(), Vec::new());
        if deployment.active {
            images = self.images_lost(deployment).await?;
            down = self.down(deployment).await?;
        }
        let case = Case {
            service: deployment.service.clone(),
            from,
            known: known(deployment, content.record.recorded_at_ms)?,
            seen,
            missing: missing(found.disk.as_ref(), &content.set),
            depends_on: deployment.depends_on.clone(),
            images,
            down,
        };
        Ok((case, content))
    }

    /// Returns the images of a deployment that podman does not have.
    pub(super) async fn images_lost(
        &self,
        deployment: &Deployment,
    ) -> Result<Vec<(ComponentName, ImageRef)>, EngineError> {
        let mut lost = Vec::new();
        for container in &deployment.containers {
            self.hold_pause_process().await?;
            if !podman::image_exists(&container.image).await? {
                lost.push((container.spec.name.clone(), container.image.clone()));
            }
        }
        Ok(lost)
    }

    /// Returns the components of a deployment that do not run.
    pub(super) async fn down(
        &self,
        deployment: &Deployment,
    ) -> Result<Vec<ComponentName>, EngineError> {
        let listed = self.manager().listed(&container_units(deployment)).await?;
        Ok(deployment
            .containers
            .iter()
            .filter(|container| {
                let unit = container.name.unit();
                !listed.iter().any(|l| l.name == unit && l.is_up())
            })
            .map(|container| container.spec.name.clone())
            .collect())
    }
}

impl Found {
    fn seen(&self) -> Result<Seen, EngineError> {
        let registry = self
            .accepted
            .as_ref()
            .map(|accepted| known(&accepted.deployment, accepted.row.deployed_at_ms))
            .transpose()?;
        let mut units = self.unit.as_ref().map(Record::known).transpose()?;
        if let (Some(units), Some(record)) = (&mut units, &self.unit) {
            units.active = self.is_active(&record.deployment);
        }
        let podman = self.podman.as_ref().map(Record::known).transpose()?;
        Ok(Seen { registry, units, files: self.disk.is_some(), podman })
    }

    /// Tells whether the service is to run, as the unit files say; if they no
    /// longer do, as podman's storage, or the record beside them.
    fn is_active(&self, recorded: &Deployment) -> bool {
        match (&self.disk, &self.podman) {
            (Some(disk), _) if has_target(disk) => disk.wanted,
            (_, Some(podman)) => podman.deployment.active,
            (_, None) => recorded.active,
        }
    }
}

/// Finds unit files of an earlier generation than the one that is followed:
/// what runs was made from them, and so they are not replaced unasked.
fn older_files(found: &Found, content: &Content, from: Source) -> Option<Finding> {
    let (disk, unit) = (found.disk.as_ref()?, found.unit.as_ref()?);
    let (theirs, ours) = (unit.deployment.generation, content.record.deployment.generation);
    let differs = disk.files.iter().any(|(key, text)| content.set.files.get(key) != Some(text));
    if from == Source::Units || theirs >= ours || !differs {
        return None;
    }
    let service = &content.record.deployment.service;
    Some(
        Finding::warning(
            CHECK,
            service.as_str(),
            format!(
                "The unit files are of generation {theirs}, and {from} knows generation {ours}."
            ),
        )
        .mend(format!("mcp agent recover {service}")),
    )
}

/// Returns the files that should be there and are not.
fn missing(disk: Option<&UnitSet>, set: &UnitSet) -> Vec<String> {
    let there = |key| disk.is_some_and(|disk| disk.files.contains_key(key));
    let mut missing: Vec<String> =
        set.files.keys().filter(|key| !there(*key)).map(|(_, name)| name.clone()).collect();
    if set.wanted && !disk.is_some_and(|disk| disk.wanted) {
        let target = crate::names::UnitName::service_target(&set.service);
        missing.push(format!("the link to {target}"));
    }
    missing
}
