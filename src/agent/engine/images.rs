//! Which images a service was accepted with, runs, and would get now; and
//! giving a name back to the image that a generation had.

use std::collections::BTreeMap;

use super::{Engine, EngineError};
use crate::agent::plan::ImageState;
use crate::deployment::{Container, Deployment, Image, Images};
use crate::names::{ContainerName, ImageRef, ServiceName};
use crate::podman::{self, Stored};

/// What a deploy wants of its images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ImageWish {
    /// What the node has under their names; only what is missing is pulled.
    #[default]
    AsThere,
    /// Every image is pulled again, though the node has it.
    PullAgain,
    /// Exactly those that an earlier generation ran.
    Exactly(Images),
}

impl ImageWish {
    /// Returns the very image that a container is to get; none: whatever its
    /// name means.
    pub(super) fn pin(&self, container: &Container) -> Option<&Image> {
        match self {
            Self::AsThere | Self::PullAgain => None,
            Self::Exactly(images) => pin(images, container),
        }
    }
}

/// Returns the recorded image of a container, if it is of the same name. A
/// name with a digest cannot come to mean another image.
fn pin<'a>(images: &'a Images, container: &Container) -> Option<&'a Image> {
    images
        .get(&container.spec.name)
        .filter(|image| image.name == container.image && !container.image.is_pinned())
}

/// How a container gets its very image.
enum Way {
    /// Its name means it.
    IsThere,
    /// The image is in the store, and its name means another or is gone.
    Tag,
    /// An image registry has it, by this name.
    Pull(ImageRef),
}

impl Engine {
    /// Returns, for every container of a service in force, the image that it
    /// was accepted with, the one that its name means now, and the one that
    /// it runs.
    ///
    /// # Errors
    ///
    /// The service is not deployed, or podman does not answer.
    pub async fn image_states(
        &self,
        service: &ServiceName,
    ) -> Result<BTreeMap<ContainerName, ImageState>, EngineError> {
        let accepted = self.accepted(service)?;
        self.image_states_of(&accepted.deployment, &accepted.images, &ImageWish::AsThere).await
    }

    /// As [`Self::image_states`], for a deployment that is to get its images
    /// in a certain way.
    pub(super) async fn image_states_of(
        &self,
        deployment: &Deployment,
        recorded: &Images,
        wish: &ImageWish,
    ) -> Result<BTreeMap<ContainerName, ImageState>, EngineError> {
        let stored = Stored::read().await;
        let mut states = BTreeMap::new();
        for container in &deployment.containers {
            let recorded = recorded.get(&container.spec.name);
            let named = match wish.pin(container) {
                Some(image) => Some(image.id.clone()),
                None => self.named(&stored, &container.image).await?.map(|image| image.id),
            };
            let state = ImageState {
                recorded: recorded.filter(|i| i.name == container.image).map(|i| i.id.clone()),
                named,
                running: stored.image_of(&container.name).cloned(),
            };
            states.insert(container.name.clone(), state);
        }
        Ok(states)
    }

    /// Returns what a name means now.
    async fn named(
        &self,
        stored: &Stored,
        name: &ImageRef,
    ) -> Result<Option<podman::StoredImage>, EngineError> {
        if let Some(found) = stored.listed(name) {
            return Ok(Some(found.clone()));
        }
        self.hold_pause_process().await?;
        Ok(stored.image(name).await?)
    }

    /// Returns what the containers of a deployment run, or would run if they
    /// were started now.
    pub(super) async fn images_now(&self, deployment: &Deployment) -> Result<Images, EngineError> {
        let stored = Stored::read().await;
        let mut images = Images::new();
        for container in &deployment.containers {
            let named = self.named(&stored, &container.image).await?;
            let image = match (stored.image_of(&container.name), named) {
                (Some(id), Some(named)) if *id != named.id => {
                    Some((id.clone(), stored.digest_of(id).cloned()))
                }
                (_, Some(named)) => Some((named.id, named.digest)),
                (Some(id), None) => Some((id.clone(), stored.digest_of(id).cloned())),
                (None, None) => None,
            };
            if let Some((id, digest)) = image {
                let image = Image { name: container.image.clone(), id, digest };
                images.insert(container.spec.name.clone(), image);
            }
        }
        Ok(images)
    }

    /// Returns how each container that is to get a very image comes by it.
    async fn ways<'a>(
        &self,
        deployment: &'a Deployment,
        wish: &'a ImageWish,
    ) -> Result<Vec<(&'a Container, &'a Image, Way)>, EngineError> {
        let stored = Stored::read().await;
        let mut ways = Vec::new();
        for container in &deployment.containers {
            let Some(image) = wish.pin(container) else { continue };
            let named = self.named(&stored, &container.image).await?;
            let way = if named.is_some_and(|named| named.id == image.id) {
                Way::IsThere
            } else if stored.has(&image.id).await? {
                Way::Tag
            } else if let Some(name) = image.by_digest() {
                Way::Pull(name)
            } else {
                return Err(EngineError::ImageGone {
                    component: container.spec.name.clone(),
                    image: container.image.clone(),
                    id: image.id.clone(),
                });
            };
            ways.push((container, image, way));
        }
        Ok(ways)
    }

    /// Refuses images that can be had in no way.
    pub(super) async fn check_images(
        &self,
        deployment: &Deployment,
        wish: &ImageWish,
    ) -> Result<(), EngineError> {
        self.ways(deployment, wish).await.map(drop)
    }

    /// Returns the containers whose very images have to be pulled, each with
    /// the name by which an image registry has that content.
    pub(super) async fn lost_images(
        &self,
        deployment: &Deployment,
        wish: &ImageWish,
    ) -> Result<Vec<Container>, EngineError> {
        let mut lost: Vec<Container> = Vec::new();
        for (container, _, way) in self.ways(deployment, wish).await? {
            if let Way::Pull(name) = way
                && lost.iter().all(|l| l.image != name)
            {
                lost.push(Container { image: name, ..container.clone() });
            }
        }
        Ok(lost)
    }

    /// Has the names of a deployment's images mean what is wished for, as far
    /// as the images are there.
    pub(super) async fn name_images(
        &self,
        deployment: &Deployment,
        wish: &ImageWish,
    ) -> Result<(), EngineError> {
        let mut named = Ok(());
        for (container, image, way) in self.ways(deployment, wish).await? {
            match way {
                Way::IsThere => {}
                Way::Tag => {
                    tracing::info!(image = %container.image, id = %image.id, "the name is given back to the image that it was");
                    podman::tag_image(&image.id, &container.image).await?;
                }
                Way::Pull(_) => {
                    named = Err(EngineError::ImageGone {
                        component: container.spec.name.clone(),
                        image: container.image.clone(),
                        id: image.id.clone(),
                    });
                }
            }
        }
        named
    }

    /// Returns the other services' containers whose next start a wish would
    /// change, because they use the same name of an image.
    pub(super) fn shares_names(&self, deployment: &Deployment, wish: &ImageWish) -> Vec<String> {
        let mut notes = Vec::new();
        for container in &deployment.containers {
            let Some(image) = wish.pin(container) else { continue };
            for other in self.all() {
                let uses = |(component, theirs): (&crate::names::ComponentName, &Image)| {
                    (theirs.name == image.name && theirs.id != image.id).then(|| {
                        format!(
                            "{}/{component} uses {} too, and gets the image {} with its next start",
                            other.row.name,
                            image.name,
                            image.id.short()
                        )
                    })
                };
                if other.row.name != deployment.service {
                    notes.extend(other.images.iter().filter_map(uses));
                }
            }
        }
        notes.sort();
        notes.dedup();
        notes
    }
}
