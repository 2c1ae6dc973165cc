//! `mcp-master`: one per fleet. Today it answers `--version` and `--help`.
