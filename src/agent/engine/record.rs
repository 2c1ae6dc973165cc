//! What every service is made from, kept beside its unit files and in podman's
//! storage, so that a lost registry can be made again.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Accepted, Engine, EngineError, deploy, now_ms};
use crate::agent::rescue::Known;
use crate::deployment::{Deployment, Images};
use crate::names::ServiceName;
use crate::podman::records;
use crate::quadlet::UnitSet;
use crate::registry::{Commit, GenerationRow, NewOperation};
use crate::telemetry::Chain;

/// The record of a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) definition: String,
    pub(super) file_name: String,
    pub(super) deployment: Deployment,
    pub(super) deployed_by: String,
    /// Records of older agents have none.
    #[serde(default)]
    pub(super) images: Images,
    /// When it was written; records of earlier versions do not say.
    #[serde(default)]
    pub(super) recorded_at_ms: i64,
}

impl Record {
    pub(super) fn of(accepted: &Accepted, at_ms: i64) -> Self {
        Self {
            definition: accepted.definition.clone(),
            file_name: accepted.file_name.clone(),
            deployment: accepted.deployment.clone(),
            deployed_by: accepted.row.deployed_by.clone(),
            images: accepted.images.clone(),
            recorded_at_ms: at_ms,
        }
    }

    pub(super) fn parse(service: &ServiceName, text: &str) -> Result<Self, EngineError> {
        serde_json::from_str(text).map_err(|source| unread(service, "record", source))
    }

    fn text(&self) -> Result<String, EngineError> {
        let service = &self.deployment.service;
        serde_json::to_string(self).map_err(|source| unread(service, "record", source))
    }

    /// Returns what the record says, to be compared.
    pub(super) fn known(&self) -> Result<Known, EngineError> {
        known(&self.deployment, self.recorded_at_ms)
    }
}

/// Returns what a deployment says, to be compared. Whether it runs, and a
/// remark for people, do not make it another one.
pub(super) fn known(deployment: &Deployment, at_ms: i64) -> Result<Known, EngineError> {
    let plain = Deployment { active: true, comment: None, ..deployment.clone() };
    let text = serde_json::to_vec(&plain)
        .map_err(|source| unread(&deployment.service, "deployment", source))?;
    let digest = Sha256::digest(text);
    Ok(Known {
        generation: deployment.generation,
        active: deployment.active,
        content: digest.to_vec(),
        at_ms,
    })
}

fn unread(service: &ServiceName, what: &'static str, source: serde_json::Error) -> EngineError {
    EngineError::Stored { what, service: service.clone(), source }
}

impl Engine {
    /// Writes beside a service's unit files what they were made from.
    pub(super) async fn write_record(&self, accepted: &Accepted) -> Result<(), EngineError> {
        let service = accepted.row.name.clone();
        let text = Record::of(accepted, now_ms()).text()?;
        let store = self.tools().store.clone();
        tokio::task::spawn_blocking(move || store.write_record(&service, &text))
            .await
            .map_err(EngineError::Lost)??;
        Ok(())
    }

    /// Has podman's storage hold, or no longer hold, what a service is: a
    /// little later, as nobody waits for it. What a crash prevents is made up
    /// for at the next start.
    pub(super) fn keep_in_podman(&self, service: &ServiceName) {
        let (engine, service) = (self.clone(), service.clone());
        tokio::spawn(async move {
            if let Err(error) = engine.kept_in_podman(&service).await {
                tracing::warn!(%service, error = %Chain(&error), "podman's storage does not hold the service's record");
            }
        });
    }

    /// Has podman's storage hold what a service is; the last word wins.
    pub(super) async fn kept_in_podman(&self, service: &ServiceName) -> Result<(), EngineError> {
        let one_at_a_time = self.inner.records.lock().await;
        self.hold_pause_process().await?;
        match self.find(service) {
            Some(accepted) => {
                let text = Record::of(&accepted, now_ms()).text()?;
                records::write(service.as_str(), &text).await?;
            }
            None => records::remove(service.as_str()).await?,
        }
        drop(one_at_a_time);
        Ok(())
    }

    /// Takes a service into the registry as it is recorded; nothing that runs
    /// is touched.
    pub(super) async fn take_in(&self, record: Record, set: &UnitSet) -> Result<(), EngineError> {
        let deployment = &record.deployment;
        let (service, number) = (deployment.service.clone(), deployment.generation);
        let row = GenerationRow {
            service: service.clone(),
            number,
            definition: record.definition,
            file_name: record.file_name,
            deployment: serde_json::to_string(deployment)
                .map_err(|source| unread(&service, "deployment", source))?,
            files: serde_json::to_string(set)
                .map_err(|source| unread(&service, "unit set", source))?,
            images: None,
            created_at_ms: now_ms(),
            created_by: record.deployed_by.clone(),
        };
        let images = serde_json::to_string(&record.images)
            .map_err(|source| unread(&service, "list of images", source))?;
        let registry = self.registry();
        registry.replace_leases(&service, &deploy::lease_rows(deployment)).await?;
        registry.insert_generation(row).await?;
        let operation = registry
            .begin_operation(NewOperation {
                service: service.clone(),
                kind: "rebuild".to_owned(),
                state: "{}".to_owned(),
                from: number,
                to: number,
                started_at_ms: now_ms(),
                by: record.deployed_by.clone(),
            })
            .await?;
        registry
            .commit(Commit {
                operation,
                service: service.clone(),
                number,
                active: set.wanted,
                images: Some(images),
                by: record.deployed_by,
                at_ms: now_ms(),
            })
            .await?;
        self.refresh(&service).await
    }

    /// Takes every service whose unit files are whole and have a record, and
    /// which the registry does not know, into the registry: this needs neither
    /// podman nor systemd, so that the agent knows them when it begins to
    /// serve. All else is left to [`Engine::plan_rescue`].
    ///
    /// # Errors
    ///
    /// The unit directories cannot be read. What is wrong with one service is
    /// logged, and does not keep the others from being taken.
    pub async fn rebuild(&self) -> Result<Vec<ServiceName>, EngineError> {
        let store = self.tools().store.clone();
        let services = tokio::task::spawn_blocking(move || store.services())
            .await
            .map_err(EngineError::Lost)??;
        let mut taken = Vec::new();
        for service in services {
            if self.find(&service).is_some() {
                continue;
            }
            match self.rebuild_one(&service).await {
                Ok(true) => {
                    tracing::warn!(%service, "the registry did not know this service; its unit files did");
                    taken.push(service);
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%service, error = %Chain(&error), "the service cannot be taken from its unit files");
                }
            }
        }
        Ok(taken)
    }

    async fn rebuild_one(&self, service: &ServiceName) -> Result<bool, EngineError> {
        let (Some(record), Some(disk)) =
            (self.unit_record(service).await?, self.on_disk(service).await?)
        else {
            return Ok(false);
        };
        if !has_target(&disk) {
            return Ok(false);
        }
        let mut record = record;
        record.deployment.active = disk.wanted;
        self.take_in(record, &disk).await?;
        Ok(true)
    }

    /// Reads the record beside a service's unit files.
    pub(super) async fn unit_record(
        &self,
        service: &ServiceName,
    ) -> Result<Option<Record>, EngineError> {
        let (store, name) = (self.tools().store.clone(), service.clone());
        let text = tokio::task::spawn_blocking(move || store.read_record(&name))
            .await
            .map_err(EngineError::Lost)??;
        text.map(|text| Record::parse(service, &text)).transpose()
    }
}

/// Tells whether the service's target is among the files: only then the link
/// to it says whether the service runs.
pub(super) fn has_target(set: &UnitSet) -> bool {
    let target = crate::names::UnitName::service_target(&set.service);
    set.of(crate::quadlet::Place::Systemd).any(|(name, _)| name == target.as_str())
}
