//! Validated names: every name that reaches a file, a unit or a command line
//! has one of these types, so nothing downstream checks it again.

pub mod image;
pub mod label;

pub use image::ImageRef;
pub use label::{
    ComponentName, ContainerName, Generation, MAX_LABEL, NameError, NetworkName, NodeName,
    RouteName, ScheduleName, ServiceName, StageName, UnitName, VolumeName,
};
