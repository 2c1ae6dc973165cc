//! What only podman knows: whether an image is there, how a container feels,
//! and whether its pause process lives. Runs `podman` for questions and for
//! removing data, never to start or stop a container.

pub mod command;
pub mod containers;
pub mod health;
pub mod images;
pub mod pause;

pub use command::{
    PodmanError, image_exists, remove_network, remove_volume, tag_image, volumes_of,
};
pub use health::{Checks, Health};
pub use images::{Stored, StoredImage};
