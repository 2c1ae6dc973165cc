//! Services: what is deployed, and whether it is to run.

use rusqlite::{OptionalExtension as _, Row, params};

use super::connection::Registry;
use super::error::RegistryError;
use super::row::{generation, parsed};
use crate::names::{Generation, ServiceName};

/// A deployed service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRow {
    /// Its name.
    pub name: ServiceName,
    /// Whether it is to run; `false` after a stop.
    pub active: bool,
    /// The accepted generation.
    pub generation: Generation,
    /// When that was accepted, in milliseconds since the Unix epoch.
    pub deployed_at_ms: i64,
    /// Who asked for it.
    pub deployed_by: String,
}

const LIST: &str =
    "SELECT name, active, generation, deployed_at_ms, deployed_by FROM services ORDER BY name";
const GET: &str =
    "SELECT name, active, generation, deployed_at_ms, deployed_by FROM services WHERE name = ?1";
const SET_FILES: &str = "UPDATE generations SET files = ?2 WHERE service = ?1
    AND number = (SELECT generation FROM services WHERE name = ?1)";
const REWORD: &str = "UPDATE generations SET definition = ?2, file_name = ?3 WHERE service = ?1
    AND number = (SELECT generation FROM services WHERE name = ?1)";
const SET_IMAGES: &str = "UPDATE generations SET images = ?2 WHERE service = ?1
    AND number = (SELECT generation FROM services WHERE name = ?1)";
const SET_ACTIVE: &str = "UPDATE services SET active = ?2 WHERE name = ?1";
const DELETE: &str = "DELETE FROM services WHERE name = ?1";
const DELETE_GENERATIONS: &str = "DELETE FROM generations WHERE service = ?1";
const DELETE_LEASES: &str = "DELETE FROM leases WHERE service = ?1";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ServiceRow> {
    Ok(ServiceRow {
        name: parsed(row, 0)?,
        active: row.get(1)?,
        generation: generation(row, 2)?,
        deployed_at_ms: row.get(3)?,
        deployed_by: row.get(4)?,
    })
}

impl Registry {
    /// Returns every deployed service, by name.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn services(&self) -> Result<Vec<ServiceRow>, RegistryError> {
        self.read("list the services", |tx| {
            tx.prepare_cached(LIST)?.query_map([], from_row)?.collect()
        })
        .await
    }

    /// Returns one deployed service.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn service(&self, name: &ServiceName) -> Result<Option<ServiceRow>, RegistryError> {
        let name = name.clone();
        self.read("look up a service", move |tx| {
            tx.prepare_cached(GET)?.query_row([name.as_str()], from_row).optional()
        })
        .await
    }

    /// Records whether a service is to run, and the files (JSON) that say so.
    ///
    /// # Errors
    ///
    /// The service is not deployed, or the registry does not answer.
    pub async fn set_service_active(
        &self,
        name: &ServiceName,
        active: bool,
        files: String,
    ) -> Result<(), RegistryError> {
        let service = name.clone();
        self.write("record whether a service is to run", move |tx| {
            if tx.execute(SET_ACTIVE, params![service.as_str(), active])? == 0 {
                return Err(RegistryError::NoService { service }.into());
            }
            tx.execute(SET_FILES, params![service.as_str(), files])?;
            Ok(())
        })
        .await
    }

    /// Replaces the text of the definition in force by one that means the
    /// same.
    ///
    /// # Errors
    ///
    /// The service is not deployed, or the registry does not answer.
    pub async fn reword_definition(
        &self,
        name: &ServiceName,
        definition: String,
        file_name: String,
    ) -> Result<(), RegistryError> {
        let service = name.clone();
        self.write("replace the text of a definition", move |tx| {
            if tx.execute(REWORD, params![service.as_str(), definition, file_name])? == 0 {
                return Err(RegistryError::NoService { service }.into());
            }
            Ok(())
        })
        .await
    }

    /// Records the images (JSON) of the generation in force, where they were
    /// not known.
    ///
    /// # Errors
    ///
    /// The service is not deployed, or the registry does not answer.
    pub async fn set_images(
        &self,
        name: &ServiceName,
        images: String,
    ) -> Result<(), RegistryError> {
        let service = name.clone();
        self.write("record the images of a service", move |tx| {
            if tx.execute(SET_IMAGES, params![service.as_str(), images])? == 0 {
                return Err(RegistryError::NoService { service }.into());
            }
            Ok(())
        })
        .await
    }

    /// Forgets a service with its generations and port leases; tells whether
    /// it was there. The journal, the audit and the events keep their rows.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn delete_service(&self, name: &ServiceName) -> Result<bool, RegistryError> {
        let service = name.clone();
        self.write("forget a service", move |tx| {
            let gone = tx.execute(DELETE, [service.as_str()])?;
            tx.execute(DELETE_GENERATIONS, [service.as_str()])?;
            tx.execute(DELETE_LEASES, [service.as_str()])?;
            Ok(gone > 0)
        })
        .await
    }
}
