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

    /// Tells of all problems of a group, in full sentences; they replace the
    /// last ones of it. Returns those that are news.
    pub fn replace(&self, group: &str, texts: Vec<String>) -> Vec<String> {
        let mut problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = format!("{group} ");
        let mut before = Vec::new();
        problems.retain(|cause, text| {
            let stays = !cause.starts_with(&prefix);
            if !stays {
                before.push(text.clone());
            }
            stays
        });
        let news = texts.iter().filter(|text| !before.contains(text)).cloned().collect();
        let numbered = texts.into_iter().enumerate();
        problems.extend(numbered.map(|(number, text)| (format!("{prefix}{number:03}"), text)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_replaced_as_a_whole_and_tells_what_is_new() {
        let problems = Problems::default();
        problems.set("podman", "it is gone".to_owned());
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(problems.replace("doctor", texts(&["a", "b"])), ["a", "b"]);
        assert_eq!(problems.replace("doctor", texts(&["b", "c"])), ["c"]);
        assert_eq!(problems.list(), ["b", "c", "it is gone"]);
        assert!(problems.replace("doctor", Vec::new()).is_empty());
        assert_eq!(problems.list(), ["it is gone"]);
    }
}
