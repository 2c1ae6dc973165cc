//! What the commands show: each view is made from an agent's answer, prints
//! itself for people, and serialises for programs (`docs/json.md`).
//!
//! Pure: the time and the palette are parameters. Text from agents is made
//! harmless here, before it is painted.

pub mod adopt;
pub mod age;
pub mod agent_status;
pub mod boot_bars;
pub mod boot_plan;
pub mod boot_report;
pub mod boot_svg;
pub mod boot_verify;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod findings;
pub mod history;
pub mod import;
pub mod info;
pub mod lint;
pub mod list;
pub mod logs;
pub mod nodes;
pub mod operation;
pub mod plan;
pub mod problem;
pub mod provision;
pub mod ps;
pub mod purge;
pub mod quickstart;
pub mod recovery;
pub mod render;
pub mod service;
pub mod session;
pub mod status;
pub mod sync;
pub mod table;
pub mod top;
pub mod transfer;
pub mod upgrade;
pub mod wait;
