//! What a session is told to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Messages of input that may be under way, each of [`CHUNK`] octets at most:
/// who sends input waits for leave to send more, so that it never stands
/// before what must get through, such as a signal.
pub const WINDOW: u32 = 16;
/// The most octets of input or output in one message.
pub const CHUNK: usize = crate::rpc::INPUT_CHUNK;

/// What a session does: one call of podman.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// podman's verb and its options.
    pub options: Vec<String>,
    /// What follows them: the container or image, and the command.
    pub operands: Vec<String>,
    /// Variables for the command: they go to podman in a file, for who reads
    /// `/proc` sees arguments.
    pub env: Vec<(String, String)>,
    /// Whether the command gets input.
    pub input: bool,
    /// The size of the command's terminal; none: it has none.
    pub terminal: Option<Size>,
    /// Who gets a signal.
    pub reach: Reach,
    /// The signal by which the command is asked to end.
    pub stop_signal: i32,
    /// How long it may take to end.
    pub grace: Duration,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Which processes of a session a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// The command and all that it has started: in a container that goes on,
    /// nothing of it may be left.
    All,
    /// The command alone: with it goes its container.
    First,
}

/// Returns a file of variables as podman reads it (`podman-exec(1)`,
/// `--env-file`): a line each, taken as it is.
pub fn env_file(env: &[(String, String)]) -> String {
    env.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}
