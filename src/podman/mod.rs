//! What only podman knows: whether an image is there, how a container feels,
//! and whether its pause process lives. Runs `podman` for questions and for
//! removing data, for keeping records of services. What it starts and stops is
//! never a container of ours: only those that others have made, while they are
//! taken over ([`predecessor`]).

pub mod command;
pub mod containers;
pub mod created;
pub mod exits;
pub mod health;
pub mod images;
pub mod inspect;
pub mod pause;
pub mod predecessor;
pub mod records;

pub use command::{
    PodmanError, answers, image_exists, network, remove_network, remove_volume, tag_image,
    volume_exists, volumes_of,
};
pub use health::{Checks, Health};
pub use images::{Stored, StoredImage};
