//! The commands: one file each, with its argument struct, whose comment is
//! the help text, and the function that runs it.

pub mod agent;
pub mod alert_test;
pub mod boot;
pub mod completions;
pub mod deploy;
pub mod diff;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod history;
pub mod lint;
pub mod list;
pub mod login;
pub mod logs;
pub mod man;
pub mod node;
pub mod ps;
pub mod reconcile;
pub mod render;
pub mod restart;
pub mod rollback;
pub mod schema;
pub mod service;
pub mod start;
pub mod status;
pub mod stop;
pub mod top;
pub mod undeploy;
