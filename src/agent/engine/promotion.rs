//! Putting a generation in force that is ready: its files become those that a
//! boot reads, its images get their names, and the registry says so.

use super::boot::Boots;
use super::deploy::{Deploy, lease_rows, stored};
use super::{Engine, EngineError, ImageWish, KEEP_GENERATIONS, Reload, now_ms};
use crate::agent::deploy_state::DeployState;
use crate::agent::progress::Progress;
use crate::registry::Commit;
use crate::telemetry::Chain;
use crate::units::Installed;

impl Engine {
    /// Puts the new generation in force. May be done again after a crash.
    pub(super) async fn promote(
        &self,
        deploy: &mut Deploy,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        // A dependent may have started what is gone, as long as it was there.
        self.stop_first(deploy, deploy.gone(), progress).await?;
        let step = progress.step("promote", deploy.service.as_str()).await;
        let (store, set) = (self.tools().store.clone(), deploy.set.clone());
        let previous = deploy.disk.clone();
        let exchange = move || Ok(store.install(&set, previous.as_ref())? != Installed::Unchanged);
        // What is tried says the same; systemd reads both at once.
        self.change_files(exchange, Boots::As(&deploy.new), Reload::Later).await?;
        if let DeployState::Promoting { trial, .. } = &deploy.state {
            let wish = ImageWish::Exactly(trial.images.clone());
            self.name_images(&deploy.new, &wish).await?;
        }
        step.done().await;
        self.commit(deploy, progress).await
    }

    async fn commit(&self, deploy: &Deploy, progress: &Progress) -> Result<(), EngineError> {
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
        let (settled, tidy) = tokio::join!(self.settle(deploy), self.tidy(deploy, progress));
        for error in [settled.err(), tidy.err()].into_iter().flatten() {
            let why = Chain(&error).to_string();
            progress.warn(format!("in force, but not all is tidy: {why}")).await;
        }
        step.done().await;
        Ok(())
    }

    /// Has systemd read the files that are in force, and those alone.
    async fn settle(&self, deploy: &Deploy) -> Result<(), EngineError> {
        self.end_trial(&deploy.service).await?;
        if deploy.new.active {
            self.reach_target(&deploy.new).await?;
        }
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
            self.drop_things(old, Some(&deploy.new), progress).await?;
        }
        self.arrange_boot_again().await?;
        self.registry().prune_generations(&deploy.service, KEEP_GENERATIONS).await?;
        Ok(())
    }
}
