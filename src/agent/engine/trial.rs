//! Trying a new generation where a reboot takes it away again, before it
//! takes the place of the one in force.

use std::collections::BTreeSet;

use super::boot::Boots;
use super::deploy::Deploy;
use super::{Engine, EngineError, ImageWish, Reload};
use crate::agent::deploy_state::Trial;
use crate::deployment::{Image, Images};
use crate::names::ServiceName;
use crate::podman::{self, Stored};
use crate::quadlet::{Place, UnitSet, render};

impl Engine {
    /// Returns the number of this boot; empty if the kernel does not say.
    pub(in crate::agent) fn boot_id(&self) -> &str {
        &self.inner.boot_id
    }

    /// Tells whether podman reads the runtime directory, and so a generation
    /// can be tried there.
    pub(super) fn can_try(&self) -> bool {
        self.inner.tools.toolchain.as_ref().is_ok_and(|t| t.podman.has_runtime_directory())
            && !self.inner.boot_id.is_empty()
    }

    /// Returns how a deploy tries its generation from here on.
    pub(super) async fn trial_of(&self, deploy: &Deploy) -> Result<Trial, EngineError> {
        if !self.can_try() || !deploy.new.active {
            self.name_images(&deploy.new, &deploy.wish).await?;
            return Ok(Trial::default());
        }
        let images = match &deploy.wish {
            ImageWish::AsThere | ImageWish::PullAgain => Images::new(),
            ImageWish::Exactly(images) => images.clone(),
        };
        Ok(Trial { boot: Some(self.inner.boot_id.clone()), images })
    }

    /// Has the Quadlet files of a set read before those in force.
    pub(super) async fn try_out(&self, set: UnitSet) -> Result<(), EngineError> {
        let trial = self.trial().clone();
        self.change_files(move || trial.put(&set).map(|()| true), Boots::Before, Reload::Now)
            .await?;
        Ok(())
    }

    /// Ends the trial of a service, if there is one.
    pub(super) async fn end_trial(&self, service: &ServiceName) -> Result<(), EngineError> {
        let (trial, service) = (self.trial().clone(), service.clone());
        self.change_files(move || trial.remove(&service), Boots::Before, Reload::Now).await?;
        Ok(())
    }

    /// Returns the files that are tried: those of the new generation, with
    /// the number of an image in the place of a name that does not mean it
    /// yet. Names of images outlive a reboot, a trial must not.
    pub(super) async fn tried_set(
        &self,
        deploy: &Deploy,
        trial: &Trial,
    ) -> Result<UnitSet, EngineError> {
        let mut set = deploy.set.clone();
        let stored = Stored::read().await;
        for container in &deploy.new.containers {
            let Some(image) = trial.images.get(&container.spec.name) else { continue };
            if stored.listed(&container.image).is_some_and(|named| named.id == image.id) {
                continue;
            }
            let key = (Place::Quadlet, render::container_file(&container.name));
            if let Some(text) = set.files.get_mut(&key) {
                *text = with_image(text, &image.id.to_string());
            }
        }
        Ok(set)
    }

    /// Has the names of images that were pulled mean what they did before,
    /// until the new generation is ready; returns what it is to get.
    pub(super) async fn hold_back(
        &self,
        deploy: &Deploy,
        before: &Stored,
    ) -> Result<ImageWish, EngineError> {
        let now = Stored::read().await;
        let (mut images, mut done) = (Images::new(), BTreeSet::new());
        for container in &deploy.new.containers {
            let name = &container.image;
            let (Some(was), Some(is)) = (before.listed(name), now.listed(name)) else { continue };
            if was == is || name.is_pinned() {
                continue;
            }
            if done.insert(name) {
                podman::tag_image(&was.id, name).await?;
            }
            let image = Image { name: name.clone(), id: is.id.clone(), digest: is.digest.clone() };
            images.insert(container.spec.name.clone(), image);
        }
        Ok(if images.is_empty() { ImageWish::AsThere } else { ImageWish::Exactly(images) })
    }

    /// Removes what is still being tried of services on which nothing is
    /// under way: their deploys ended when their agent did.
    pub(super) async fn end_old_trials(
        &self,
        under_way: BTreeSet<ServiceName>,
    ) -> Result<(), EngineError> {
        let trial = self.trial().clone();
        let remove = move || {
            let mut removed = false;
            for service in trial.services()?.iter().filter(|s| !under_way.contains(s)) {
                removed |= trial.remove(service)?;
            }
            Ok(removed)
        };
        // systemd is asked later, when it is known to answer.
        self.change_files(remove, Boots::Before, Reload::Later).await?;
        Ok(())
    }
}

/// Returns the image in a container file's text.
pub(super) fn image_of(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("Image="))
}

/// Returns a container file's text with another image, or its number.
pub(super) fn with_image(text: &str, image: &str) -> String {
    let line = |line: &str| match line.strip_prefix("Image=") {
        Some(_) => format!("Image={image}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_image_changes() {
        let text = "[Container]\nImage=localhost/a:1\nEnvironment=\"Image=b\"\nPull=never\n";
        let expected = text.replace("localhost/a:1", &"9e".repeat(32));
        assert_eq!(with_image(text, &"9e".repeat(32)), expected);
        assert_eq!(image_of(text), Some("localhost/a:1"));
    }
}
