//! A lost registry, made again from the unit directories.

use serde::{Deserialize, Serialize};

use super::{Accepted, Engine, EngineError, deploy, now_ms};
use crate::deployment::{Deployment, Images};
use crate::names::ServiceName;
use crate::registry::{Commit, GenerationRow, NewOperation};
use crate::telemetry::Chain;

/// What lies beside a service's unit files.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    definition: String,
    file_name: String,
    deployment: Deployment,
    deployed_by: String,
    /// Records of older agents have none.
    #[serde(default)]
    images: Images,
}

impl Engine {
    /// Writes beside a service's unit files what they were made from.
    pub(super) async fn write_record(&self, accepted: &Accepted) -> Result<(), EngineError> {
        let service = accepted.row.name.clone();
        let record = Record {
            definition: accepted.definition.clone(),
            file_name: accepted.file_name.clone(),
            deployment: accepted.deployment.clone(),
            deployed_by: accepted.row.deployed_by.clone(),
            images: accepted.images.clone(),
        };
        let text = serde_json::to_string(&record).map_err(|source| EngineError::Stored {
            what: "record",
            service: service.clone(),
            source,
        })?;
        let store = self.tools().store.clone();
        tokio::task::spawn_blocking(move || store.write_record(&service, &text))
            .await
            .map_err(EngineError::Lost)??;
        Ok(())
    }

    /// Takes every service whose unit files have a record, and which the
    /// registry does not know, into the registry. Nothing that runs is
    /// touched.
    ///
    /// # Errors
    ///
    /// The unit directories cannot be read. What is wrong with one service is
    /// logged, and does not keep the others from being taken.
    pub async fn rebuild(&self) -> Result<(), EngineError> {
        let store = self.tools().store.clone();
        let services = tokio::task::spawn_blocking(move || store.services())
            .await
            .map_err(EngineError::Lost)??;
        for service in services {
            if self.find(&service).is_some() {
                continue;
            }
            match self.rebuild_one(&service).await {
                Ok(true) => {
                    tracing::warn!(%service, "the registry did not know this service; its unit files did");
                }
                Ok(false) => {
                    tracing::warn!(%service, "there are unit files of a service that the registry does not know; deploy it again, or remove them");
                }
                Err(error) => {
                    tracing::error!(%service, error = %Chain(&error), "the service cannot be taken from its unit files");
                }
            }
        }
        Ok(())
    }

    async fn rebuild_one(&self, service: &ServiceName) -> Result<bool, EngineError> {
        let (store, name) = (self.tools().store.clone(), service.clone());
        let read = move || Ok((store.read_record(&name)?, store.read(&name)?));
        let read = tokio::task::spawn_blocking(read).await.map_err(EngineError::Lost)?;
        let (Some(text), Some(disk)) =
            read.map_err(|e: crate::units::UnitsError| EngineError::from(e))?
        else {
            return Ok(false);
        };
        let stored =
            |what| move |source| EngineError::Stored { what, service: service.clone(), source };
        let record: Record = serde_json::from_str(&text).map_err(stored("record"))?;
        let number = record.deployment.generation;
        let row = GenerationRow {
            service: service.clone(),
            number,
            definition: record.definition,
            file_name: record.file_name,
            deployment: serde_json::to_string(&record.deployment).map_err(stored("deployment"))?,
            files: serde_json::to_string(&disk.set).map_err(stored("unit set"))?,
            images: None,
            created_at_ms: now_ms(),
            created_by: record.deployed_by.clone(),
        };
        let images = serde_json::to_string(&record.images).map_err(stored("list of images"))?;
        let registry = self.registry();
        registry.replace_leases(service, &deploy::lease_rows(&record.deployment)).await?;
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
                active: disk.set.wanted,
                images: Some(images),
                by: record.deployed_by,
                at_ms: now_ms(),
            })
            .await?;
        self.refresh(service).await?;
        Ok(true)
    }
}
