//! What `--json` shows of a session.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// One line of a session: something that the command wrote, or its end.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum SessionLine {
    /// Something that the command wrote.
    Wrote {
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// The octets, in base64 (RFC 4648, section 4).
        base64: String,
    },
    /// The command's end.
    Ended {
        /// Its status, as a shell has it.
        status: i32,
        /// The unit that held the session.
        unit: String,
        /// The container that it ran in.
        container: String,
        /// Why it was not run, or was ended.
        message: Option<String>,
    },
}

impl SessionLine {
    /// Makes the line of something that the command wrote.
    pub fn wrote(stream: &'static str, octets: &[u8]) -> Self {
        Self::Wrote { stream, base64: STANDARD.encode(octets) }
    }
}
