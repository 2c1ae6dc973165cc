//! `mcp-agent`: one per node; composes the core and the edges.

pub mod probe;
