//! The operator's config file, `~/.config/mcp/mcp.toml`: its text as a file
//! type, checked settings, and edits that keep its comments.

pub mod edit;
pub mod file;
pub mod settings;

pub use settings::{Address, Node, Settings, load};
