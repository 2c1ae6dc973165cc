//! A service resolved for one node and one generation: every default filled
//! in, every port leased, every edge a unit. Pure: imports
//! [`crate::definition`] and [`crate::names`].

pub mod boot;
pub mod conflicts;
pub mod error;
pub mod images;
pub mod model;
pub mod ports;
pub mod resolve;

pub use boot::{BootError, Sequence, Stage, StageHealth};
pub use conflicts::conflicts;
pub use error::ResolveError;
pub use images::{Image, ImageId, Images};
pub use model::{Container, Deployment, Forward, NodeFacts, Publish, Readiness, SWITCHES};
pub use resolve::{Leases, resolve};
