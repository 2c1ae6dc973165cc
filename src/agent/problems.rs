//! What keeps the agent from full service, for the operator to see.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The present problems, one a cause; clones share them. `Info` shows them.
#[derive(Debug, Clone, Default)]
pub struct Problems(Arc<Mutex<BTreeMap<String, String>>>);

impl Problems {
    /// Tells of a problem, in a full sentence; it replaces the last one of
    /// this cause. Returns whether it is news.
    pub fn set(&self, cause: &str, text: String) -> bool {
        let mut problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = problems.get(cause) != Some(&text);
        problems.insert(cause.to_owned(), text);
        news
    }

    /// Tells that a cause is gone.
    pub fn clear(&self, cause: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(cause);
    }

    /// Returns the present problems, by cause.
    pub fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
