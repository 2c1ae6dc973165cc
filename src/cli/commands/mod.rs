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
pub mod history;
pub mod import;
pub mod lint;
pub mod list;
pub mod login;
pub mod logs;
pub mod man;
pub mod node;
pub mod provision;
pub mod ps;
pub mod pull;
pub mod purge;
pub mod push;
pub mod quickstart;
pub mod reconcile;
pub mod release;
pub mod render;
pub mod restart;
pub mod rollback;
pub mod schema;
pub mod service;
pub mod start;
pub mod status;
pub mod stop;
pub mod sync;
pub mod undeploy;
pub mod wait;
