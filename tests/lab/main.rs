//! The end-to-end tests: what only real machines can show.
//!
//! ```text
//! test --> Machine (fixture) --> lab (script) --> node: systemd, podman, agent
//!            |  handed out clean, one test at a time
//!            +-- run: one command and its answer; observed: what systemd, podman
//!                and the registry say; wait: one deadline; definitions: input
//! ```
//!
//! `cargo test --test lab` boots a lab of its own, anew, and leaves it up to be
//! looked at: `LAB_NAME=mcptests tests/lab/lab status`. `make test` takes it
//! down. Without a lab every test fails; none is skipped. Tests of different
//! machines may run at the same time.

#![cfg(test)]
#![expect(clippy::too_many_lines, reason = "a test is one story; parts of it mean nothing")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures, and how to repeat what was left to chance"
)]

mod boot_node;
mod definitions;
mod fixture;
mod load;
mod observed;
mod run;
mod wait;

mod access;
mod adopt;
mod adopt_things;
mod agent_config;
mod backup;
mod blue_green;
mod boot_refusals;
mod boot_report;
mod boot_sequence;
mod boot_stages;
mod boot_verify;
mod by_hand;
mod deploy;
mod deploy_failures;
mod doctor;
mod drift;
mod events;
mod exec;
mod exec_far;
mod explain;
mod files;
mod full_disk;
mod give_way;
mod health_after_start;
mod history;
mod hostile;
mod images;
mod import;
mod json;
mod killed_agent;
mod killed_podman;
mod lifecycle;
mod looking;
mod moved_tags;
mod nodes;
mod old_node;
mod oneshot;
mod packages;
mod platform;
mod ports;
mod power_loss;
mod programs;
mod property;
mod provision;
mod purge;
mod quickstart;
mod ready;
mod recover;
mod release;
mod run_once;
mod schedule;
mod service_new;
mod shared_network;
mod sync;
mod things;
mod top;
mod tried_again;
mod undeploy;
mod upgrade;
mod user_service;
mod wait_for;
