//! A command that runs in a container, with its streams: `mcp exec` and
//! `mcp run`.
//!
//! ```text
//!  client --gRPC--> agent --socket--> mcp-agent session --pipes or pty--> podman
//!                                     (a unit of its own)                   |
//!                                              ends it <---------------- command
//! ```
//!
//! The program that podman is started by is in a unit of its own, made by
//! systemd: the agent may end at any moment, and it is there to end the command
//! then. It is told what to do over the socket, so that neither the unit nor
//! `systemctl` shows a command line.

pub mod attend;
pub mod control;
pub mod end;
pub mod frame;
pub mod processes;
pub mod pty;
pub mod signal_name;
pub mod streams;
pub mod task;
