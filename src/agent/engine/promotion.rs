//! Putting a generation in force that is ready.

use super::deploy::{Deploy, lease_rows, stored};
use super::{Engine, EngineError, KEEP_GENERATIONS, now_ms};
use crate::agent::progress::Progress;
use crate::registry::Commit;
use crate::telemetry::Chain;

impl Engine {
    /// Puts the new generation in force.
    pub(super) async fn commit(
        &self,
        deploy: &Deploy,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let step = progress.step("commit", format!("generation {}", deploy.new.generation)).await;
        let images = match self.images_now(&deploy.new).await {
            Ok(images) => {
                Some(stored("list of images", &deploy.service, serde_json::to_string(&images))?)
            }
            Err(error) => {
                let why = Chain(&error).to_string();
                progress.warn(format!("its images cannot be taken down: {why}")).await;
                None
            }
        };
        self.registry()
            .commit(Commit {
                operation: deploy.operation,
                service: deploy.service.clone(),
                number: deploy.new.generation,
                active: deploy.new.active,
                images,
                by: deploy.by.clone(),
                at_ms: now_ms(),
            })
            .await?;
        // It is in force: what follows can be made up for.
        if let Err(error) = self.tidy(deploy, progress).await {
            let why = Chain(&error).to_string();
            progress.warn(format!("in force, but not all is tidy: {why}")).await;
        }
        step.done().await;
        Ok(())
    }

    /// What is left to do once a generation is in force.
    async fn tidy(&self, deploy: &Deploy, progress: &Progress) -> Result<(), EngineError> {
        self.refresh(&deploy.service).await?;
        let accepted = self.accepted(&deploy.service)?;
        self.write_record(&accepted).await?;
        self.keep_in_podman(&deploy.service);
        self.registry().replace_leases(&deploy.service, &lease_rows(&deploy.new)).await?;
        if let Some((old, _)) = &deploy.old {
            self.drop_networks(old, Some(&deploy.new), progress).await?;
        }
        self.arrange_boot_again().await?;
        self.registry().prune_generations(&deploy.service, KEEP_GENERATIONS).await?;
        Ok(())
    }
}
