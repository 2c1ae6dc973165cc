//! The versions of the agents that a command spoke to, and which of them are
//! too far from this program's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::names::{NodeName, ProgramVersion};
use crate::rpc::client::SeenVersion;
use crate::ui::Ui;

/// What the agents of a command said; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<BTreeMap<NodeName, SeenVersion>>>);

impl Peers {
    /// Returns where the version of a node's agent is to be noted.
    pub fn of(&self, node: &NodeName) -> SeenVersion {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entry(node.clone()).or_default().clone()
    }

    /// Names the agents that are more than one minor version away.
    pub fn warn(&self, ui: &Ui) {
        let own = ProgramVersion::own();
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, seen) in peers.iter() {
            if let Some(version) = seen.version().filter(|version| !own.is_near(version)) {
                ui.warning(&format!(
                    "the agent of {node} is {version} and this mcp is {own}: they are made to work together when they are at most one minor version apart"
                ));
                ui.hint(&if *version < own {
                    format!("mcp agent upgrade {node}")
                } else {
                    format!("install mcp {version} here")
                });
            }
        }
    }
}
