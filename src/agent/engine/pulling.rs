//! Getting images, before anything that runs is touched.

use std::time::Duration;

use super::accepted::container_units;
use super::boot::Boots;
use super::deploy::Deploy;
use super::images::ImageWish;
use super::{Engine, EngineError, failure};
use crate::agent::progress::{Failure, Progress};
use crate::deployment::{Container, Deployment, Images};
use crate::names::{ComponentName, ImageRef, ServiceName, UnitName};
use crate::podman;
use crate::quadlet::{Place, UnitSet};
use crate::systemd::{ActiveState, JobMode};

/// Longest wait for a pull; the unit's own timeout is 15 minutes.
const PULL: Duration = Duration::from_secs(960);

/// Tells whether `mcp deploy --pull` pulls a container's image: another image
/// may have come to be behind its name.
pub(super) fn may_move(container: &Container, only: Option<&ComponentName>) -> bool {
    !container.image.is_local()
        && !container.image.is_pinned()
        && only.is_none_or(|only| *only == container.spec.name)
}

impl Engine {
    /// Returns the containers of a deploy whose images have to be pulled,
    /// each image once.
    pub(super) async fn to_pull(&self, deploy: &Deploy) -> Result<Vec<Container>, EngineError> {
        let mut wanted = match &deploy.wish {
            // A service that is stopped needs its images when it is started.
            ImageWish::AsThere | ImageWish::PullAgain if !deploy.new.active => {
                return Ok(Vec::new());
            }
            ImageWish::AsThere => Vec::new(),
            ImageWish::PullAgain => {
                let again = deploy.new.containers.iter();
                again.filter(|c| may_move(c, deploy.only.as_ref())).cloned().collect()
            }
            ImageWish::Exactly(_) => self.lost_images(&deploy.new, &deploy.wish).await?,
        };
        for container in self.missing_images(&deploy.new).await? {
            if deploy.wish.pin(&container).is_none() {
                wanted.push(container);
            }
        }
        let mut once: Vec<Container> = Vec::new();
        for container in wanted {
            if once.iter().all(|o| o.image != container.image) {
                once.push(container);
            }
        }
        Ok(once)
    }

    /// Returns the containers of a deployment whose images are not there.
    async fn missing_images(&self, new: &Deployment) -> Result<Vec<Container>, EngineError> {
        let listed = self.manager().listed(&container_units(new)).await?;
        let runs = |unit: &UnitName| {
            listed.iter().any(|l| l.name == *unit && l.active == ActiveState::Active)
        };
        let mut missing: Vec<Container> = Vec::new();
        for container in &new.containers {
            let known = missing.iter().any(|m| m.image == container.image);
            // What runs unchanged has its image; only the rest is asked for.
            let same = runs(&container.name.unit())
                && self.find(&new.service).is_some_and(|a| {
                    a.deployment
                        .container(&container.spec.name)
                        .is_some_and(|c| c.image == container.image)
                });
            if known || same {
                continue;
            }
            self.hold_pause_process().await?;
            if !podman::image_exists(&container.image).await? {
                missing.push(container.clone());
            }
        }
        Ok(missing)
    }

    /// Pulls images by their units, beside what runs.
    pub(super) async fn pull(
        &self,
        deploy: &Deploy,
        wanted: &[Container],
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let local: Vec<Failure> = wanted.iter().filter(|c| c.image.is_local()).map(lost).collect();
        if !local.is_empty() {
            return Ok(local);
        }
        let mut files: Vec<_> = image_files(&deploy.set).collect();
        files.extend(image_files(&self.by_other_names(&deploy.new, wanted)?));
        let mut beside = UnitSet::new(deploy.service.clone(), false);
        if self.can_try() {
            beside.files.extend(files);
            self.try_out(beside).await?;
        } else {
            // The old files, and the new image units beside them.
            beside = deploy.disk.clone().unwrap_or(beside);
            beside.files.extend(files);
            self.install(&beside, None, Boots::Before).await?;
        }
        self.start_pulls(&deploy.service, wanted, progress).await
    }

    /// Gets back the images of the generation that is to be in force again;
    /// returns why that cannot be.
    pub(super) async fn images_back(
        &self,
        (old, set): (&Deployment, &UnitSet),
        images: &Images,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let wish = ImageWish::Exactly(images.clone());
        let lost = self.lost_images(old, &wish).await?;
        if !lost.is_empty() {
            let mut beside = set.clone();
            beside.files.extend(image_files(&self.by_other_names(old, &lost)?));
            self.install(&beside, None, Boots::Before).await?;
            let pulled = self.start_pulls(&old.service, &lost, progress).await;
            self.install(set, None, Boots::Before).await?;
            let failures = pulled?;
            if !failures.is_empty() {
                return Ok(failures);
            }
        }
        self.name_images(old, &wish).await?;
        Ok(Vec::new())
    }

    /// Renders the files of containers whose images are to be pulled by other
    /// names than the deployment's.
    fn by_other_names(
        &self,
        deployment: &Deployment,
        wanted: &[Container],
    ) -> Result<UnitSet, EngineError> {
        let mut other = deployment.clone();
        other.containers = wanted
            .iter()
            .filter(|w| {
                deployment.containers.iter().all(|c| c.name != w.name || c.image != w.image)
            })
            .cloned()
            .collect();
        Ok(self.toolchain()?.renderer.render(&other, "")?)
    }

    /// Pulls the images of containers by their units, which systemd knows,
    /// unless somebody stops the service.
    pub(super) async fn start_pulls(
        &self,
        service: &ServiceName,
        wanted: &[Container],
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let pulls = Box::pin(self.pull_each(wanted, progress));
        let pulled = self.unless_given_up(service, pulls).await;
        if let Err(EngineError::GaveWay { .. }) = pulled {
            for container in wanted {
                let unit = container.name.image_unit();
                self.stop_quietly(&unit).await?;
                // What is killed has failed, to systemd.
                self.manager().reset_failed(&unit).await?;
            }
        }
        pulled
    }

    /// Pulls what a service that was stopped lacks: nobody has pulled for it
    /// since.
    pub(super) async fn pull_missing(
        &self,
        deployment: &Deployment,
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let mut missing = self.missing_images(deployment).await?;
        // Those that are local fail by themselves, and say so.
        missing.retain(|c| !c.image.is_local());
        self.start_pulls(&deployment.service, &missing, progress).await
    }

    async fn pull_each(
        &self,
        wanted: &[Container],
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let mut failures = Vec::new();
        for container in wanted {
            let unit = container.name.image_unit();
            let step = progress.step("pull", container.image.as_str()).await;
            let result = self.manager().start(&unit, JobMode::Replace, PULL).await?;
            if result.is_done() {
                step.done().await;
                continue;
            }
            let (_state, journal) = failure::last_run(self, &unit).await;
            let explanation = format!("the image {} cannot be pulled", container.image);
            step.failed(explanation.clone()).await;
            failures.push(Failure {
                component: container.spec.name.to_string(),
                unit: unit.to_string(),
                result: result.to_string(),
                explanation,
                journal,
            });
        }
        Ok(failures)
    }
}

/// Says that an image can be had nowhere.
pub(super) fn nowhere(image: &ImageRef) -> String {
    format!("the image {image} is not in this node's store, and no registry has it")
}

/// Says that an image went away since the deploy was prepared.
fn lost(container: &Container) -> Failure {
    Failure {
        component: container.spec.name.to_string(),
        unit: container.name.unit().to_string(),
        result: "missing".to_owned(),
        explanation: nowhere(&container.image),
        journal: Vec::new(),
    }
}

/// Returns the files of a set that make image units.
fn image_files(set: &UnitSet) -> impl Iterator<Item = ((Place, String), String)> {
    let is_image =
        |name: &str| std::path::Path::new(name).extension().is_some_and(|e| e == "image");
    set.files
        .iter()
        .filter(move |((place, name), _)| *place == Place::Quadlet && is_image(name))
        .map(|(key, text)| (key.clone(), text.clone()))
}
