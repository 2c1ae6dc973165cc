//! gRPC between the programs: generated types, TLS, authentication, client
//! and server set-up. Knows nothing of what the calls do.

pub mod auth;
pub mod client;
pub mod files;
pub mod seen;
pub mod server;
pub mod tls;

/// The agent's service, generated from `proto/mcp/agent/v1/agent.proto`.
pub mod agent_v1 {
    #![expect(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        clippy::restriction,
        unused_qualifications,
        reason = "generated; the proto file documents it"
    )]
    tonic::include_proto!("mcp.agent.v1");
}

/// The descriptors of every service, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The most octets that one message of a session carries.
pub const INPUT_CHUNK: usize = 32 * 1024;

/// The largest message that either side takes: a definition of any sane size,
/// a plan with its diffs.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;
