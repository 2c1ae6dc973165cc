//! Getting images, before anything that runs is touched.

use std::time::Duration;

use super::accepted::container_units;
use super::deploy::Deploy;
use super::{Engine, EngineError};
use crate::agent::progress::{Failure, Progress};
use crate::deployment::{Container, Deployment};
use crate::podman;
use crate::quadlet::{Place, UnitSet};
use crate::systemd::{JobMode, journal};
use crate::telemetry::Chain;

/// Longest wait for a pull; the unit's own timeout is 15 minutes.
const PULL: Duration = Duration::from_secs(960);

impl Engine {
    /// Returns the containers of a deployment whose images are not there.
    pub(super) async fn missing_images(
        &self,
        new: &Deployment,
    ) -> Result<Vec<Container>, EngineError> {
        if !new.active {
            return Ok(Vec::new());
        }
        let up = self.invocations(&container_units(new)).await?;
        let mut missing: Vec<Container> = Vec::new();
        for container in &new.containers {
            let known = missing.iter().any(|m| m.image == container.image);
            let running = up.get(&container.name.unit()).is_some_and(Option::is_some);
            // What runs unchanged has its image; only the rest is asked for.
            let same = running
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
        missing: &[Container],
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let mut failures = Vec::new();
        for container in missing.iter().filter(|c| c.image.is_local()) {
            failures.push(Failure {
                component: container.spec.name.to_string(),
                unit: container.name.unit().to_string(),
                result: "missing".to_owned(),
                explanation: format!(
                    "the image {} is not in this node's store, and no registry has it",
                    container.image
                ),
                journal: Vec::new(),
            });
        }
        if !failures.is_empty() {
            return Ok(failures);
        }
        // The old files, and the new image units beside them.
        let mut beside =
            deploy.disk.clone().unwrap_or_else(|| UnitSet::new(deploy.service.clone(), false));
        beside.files.extend(
            deploy
                .set
                .files
                .iter()
                .filter(|((place, name), _)| *place == Place::Quadlet && is_image(name))
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        self.install(&beside, None).await?;
        self.pull_images(missing, progress).await
    }

    /// Pulls the images of containers by their units, which systemd knows.
    pub(super) async fn pull_images(
        &self,
        missing: &[Container],
        progress: &Progress,
    ) -> Result<Vec<Failure>, EngineError> {
        let mut failures = Vec::new();
        for container in missing {
            let unit = container.name.image_unit();
            let step = progress.step("pull", container.image.as_str()).await;
            let result = self.manager().start(&unit, JobMode::Replace, PULL).await?;
            if result.is_done() {
                step.done().await;
                continue;
            }
            let journal = journal::last_lines(&unit, None, 10).await.map_or_else(
                |error| vec![Chain(&error).to_string()],
                |entries| entries.into_iter().map(|e| e.message).collect(),
            );
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

/// Tells whether a Quadlet file makes an image unit.
fn is_image(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|e| e == "image")
}
