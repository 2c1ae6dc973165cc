//! `mcp`: what the operator types and reads.
