//! Validated names: every name that reaches a file, a unit or a command line
//! has one of these types, so nothing downstream checks it again.

pub mod family;
pub mod image;
pub mod label;
pub mod sha256;
pub mod version;

pub use image::ImageRef;
pub use label::{
    BEFORE, ComponentName, ContainerName, Generation, MAX_LABEL, NameError, NetworkName, NodeName,
    RouteName, ScheduleName, ServiceName, StageName, UnitName, VolumeName,
};
pub use sha256::{NoSha256, Sha256Text};
pub use version::{ProgramVersion, VersionError};
