//! The kinds of causes: each looks at the evidence and says whether it is it.

pub mod command;
pub mod disk;
pub mod drop_in;
pub mod edited;
pub mod ended;
pub mod health;
pub mod image;
pub mod lacking;
pub mod path;
pub mod podman;
pub mod port;
pub mod running;
pub mod start_limit;
pub mod stopped;
pub mod unit_file;
pub mod waiting;
