//! A node that did not answer.

use serde::Serialize;

use crate::cli::config::Node;
use crate::cli::context::Answer;
use crate::cli::error::{CliError, ErrorKind};

/// Why one node is missing from a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeProblem {
    /// The node.
    pub node: String,
    /// How it was to be reached.
    pub address: String,
    /// `unreachable`, `not_allowed`, `invalid`, `time_is_up` or `failed`.
    pub kind: &'static str,
    /// What happened.
    pub message: String,
}

impl NodeProblem {
    /// Says why a node did not answer.
    pub fn new(node: &Node, error: &CliError) -> Self {
        Self {
            node: node.name.to_string(),
            address: node.address.to_string(),
            kind: kind_word(error.kind),
            message: error.message(),
        }
    }
}

/// Returns the word for a kind of error.
fn kind_word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Failed => "failed",
        ErrorKind::Usage => "invalid",
        ErrorKind::Unreachable => "unreachable",
        ErrorKind::NotAllowed => "not_allowed",
        ErrorKind::TimeIsUp => "time_is_up",
    }
}

/// Parts what the nodes answered from why others did not.
pub fn part<T>(answers: Vec<Answer<T>>) -> (Vec<(String, T)>, Vec<NodeProblem>, Vec<CliError>) {
    let (mut answered, mut problems, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for Answer { node, result } in answers {
        match result {
            Ok(answer) => answered.push((node.name.to_string(), answer)),
            Err(error) => {
                problems.push(NodeProblem::new(&node, &error));
                errors.push(error);
            }
        }
    }
    (answered, problems, errors)
}
