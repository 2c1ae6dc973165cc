//! A deploy that changes nothing of what runs.

use super::deploy::{Deploy, stored, unchanged};
use super::{Accepted, Engine, EngineError, Request, now_ms};
use crate::agent::progress::{Outcome, Progress};
use crate::names::ServiceName;

impl Engine {
    /// Takes over the text of a definition that means what is in force.
    pub(super) async fn nothing_to_do(
        &self,
        old: &Accepted,
        request: &Request,
        progress: &Progress,
    ) -> Result<Outcome, EngineError> {
        let service = &old.row.name;
        self.reword(service, request.definition.clone(), request.file_name.clone()).await?;
        if old.images.is_empty() && old.deployment.active {
            self.record_images(old).await?;
        }
        Ok(unchanged(service, old.row.generation, progress))
    }

    /// Takes over other words for what is in force.
    async fn reword(
        &self,
        service: &ServiceName,
        definition: String,
        file_name: String,
    ) -> Result<(), EngineError> {
        let old = self.accepted(service)?;
        if old.definition == definition && old.file_name == file_name {
            return Ok(());
        }
        self.registry().reword_definition(service, definition, file_name).await?;
        self.refresh(service).await?;
        self.write_record(&*self.accepted(service)?).await?;
        self.keep_in_podman(service);
        Ok(())
    }

    /// Takes down the images of a generation that was accepted without.
    async fn record_images(&self, old: &Accepted) -> Result<(), EngineError> {
        let (service, images) = (&old.row.name, self.images_now(&old.deployment).await?);
        let images = stored("list of images", service, serde_json::to_string(&images))?;
        self.registry().set_images(service, images).await?;
        self.refresh(service).await?;
        let accepted = self.accepted(service)?;
        self.write_record(&accepted).await?;
        self.keep_in_podman(service);
        Ok(())
    }

    /// Tells whether all is as the new generation wants it.
    pub(super) async fn is_in_force(&self, deploy: &Deploy) -> Result<bool, EngineError> {
        let same = deploy.old.as_ref().is_some_and(|(_, set)| *set == deploy.set);
        Ok(same && self.replan(deploy).await?.is_empty())
    }

    /// Ends a deploy that has changed nothing.
    pub(super) async fn forget(&self, deploy: &Deploy) -> Result<(), EngineError> {
        self.end_trial(&deploy.service).await?;
        let (service, discarded) = (&deploy.service, deploy.new.generation);
        let row = self.registry().generation(service, discarded).await?;
        let ended = (deploy.operation, "unchanged".to_owned(), now_ms());
        if let Some(row) = row {
            self.reword(service, row.definition, row.file_name).await?;
        }
        // The last thing that can fail, as when a deploy is undone.
        self.registry().discard_generation(service, discarded, ended).await?;
        Ok(())
    }
}
