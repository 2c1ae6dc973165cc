//! What an agent's refusal means to the operator: the one place where gRPC
//! statuses become messages.

use tonic::{Code, Response, Status};

use crate::cli::error::{CliError, ErrorKind};
use crate::names::{NodeName, ServiceName};

/// An agent that answered with an error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// What was sent is not valid; the message holds every mistake.
    #[error("{0}")]
    Invalid(String),
    /// The node cannot be spoken to.
    #[error("node {node} is not reachable: {message}")]
    Unreachable {
        /// The node.
        node: NodeName,
        /// What the transport says.
        message: String,
    },
    /// The node did not answer in time.
    #[error("node {node} did not answer in time")]
    Silent {
        /// The node.
        node: NodeName,
    },
    /// The node does not know the caller.
    #[error("node {node} does not know who you are: {message}")]
    Unauthenticated {
        /// The node.
        node: NodeName,
        /// Why.
        message: String,
    },
    /// The caller may not do this.
    #[error("node {node} does not allow this: {message}")]
    Denied {
        /// The node.
        node: NodeName,
        /// Why.
        message: String,
    },
    /// The agent is older than this program.
    #[error("the agent of node {node} does not know this command; it may be older than this mcp")]
    TooOld {
        /// The node.
        node: NodeName,
    },
    /// The operation was refused or failed.
    #[error("node {node}: {message}")]
    Failed {
        /// The node.
        node: NodeName,
        /// Why.
        message: String,
    },
}

/// Turns a status of `node` into an error with its kind and hints.
pub fn error(node: &NodeName, status: &Status) -> CliError {
    let node = node.clone();
    let message = match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    // Only what this end made has a source: the connection broke. Its code
    // is whatever HTTP/2 was doing at the time.
    let broke = std::error::Error::source(status).is_some();
    let code = if broke { Code::Unavailable } else { status.code() };
    let (kind, error, hint) = match code {
        Code::InvalidArgument | Code::OutOfRange => {
            (ErrorKind::Usage, AgentError::Invalid(message), None)
        }
        Code::Unavailable => {
            let hint = "mcp node list".to_owned();
            (ErrorKind::Unreachable, AgentError::Unreachable { node, message }, Some(hint))
        }
        Code::DeadlineExceeded => {
            (ErrorKind::Unreachable, AgentError::Silent { node }, Some("mcp node list".to_owned()))
        }
        Code::Unauthenticated => {
            let hint = format!("mcp login -n {node}");
            (ErrorKind::NotAllowed, AgentError::Unauthenticated { node, message }, Some(hint))
        }
        Code::PermissionDenied => {
            let hint = "ask for a token with the role operator: `mcp-agent token create`";
            (ErrorKind::NotAllowed, AgentError::Denied { node, message }, Some(hint.to_owned()))
        }
        Code::Unimplemented => (ErrorKind::Failed, AgentError::TooOld { node }, None),
        Code::NotFound => {
            let hint = Some("mcp list".to_owned());
            (ErrorKind::Failed, AgentError::Failed { node, message }, hint)
        }
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::DataLoss => (ErrorKind::Failed, AgentError::Failed { node, message }, None),
    };
    let error = CliError::new(kind, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// As [`error`], for what was asked about a generation of a service: where
/// that is missing, the history says which there are.
pub fn of_generation(node: &NodeName, service: &ServiceName, status: &Status) -> CliError {
    let error = error(node, status);
    if status.code() == Code::NotFound {
        return error.hint(format!("mcp history {service}"));
    }
    error
}

/// Takes an answer about one service, which this node need not have.
///
/// # Errors
///
/// Any other refusal.
pub fn unless_missing<T: Default>(
    node: &NodeName,
    answer: Result<Response<T>, Status>,
    may_be_missing: bool,
) -> Result<T, CliError> {
    match answer {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if may_be_missing && status.code() == Code::NotFound => Ok(T::default()),
        Err(status) => Err(error(node, &status)),
    }
}

/// No node has the service.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no node has a service called {0}")]
pub struct UnknownService(ServiceName);

/// Checks that a service asked for is on some node; while nodes do not
/// answer, nobody can tell.
///
/// # Errors
///
/// Every node answered, and none has it.
pub fn known_somewhere<T>(
    service: Option<&ServiceName>,
    answered: &[(String, T)],
    errors: &[CliError],
    is_empty: impl Fn(&T) -> bool,
) -> Result<(), CliError> {
    match service {
        Some(service) if errors.is_empty() && answered.iter().all(|(_, a)| is_empty(a)) => {
            Err(CliError::failed(UnknownService(service.clone())).hint("mcp list"))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_status_decides_kind_and_hint() {
        let node: NodeName = "rift".parse().unwrap();
        let table = [
            (Status::invalid_argument("a.toml:1:1: x"), 2, "a.toml:1:1: x", None),
            (
                Status::unavailable("refused"),
                3,
                "node rift is not reachable: refused",
                Some("mcp node list"),
            ),
            (
                Status::unauthenticated("the token has expired"),
                4,
                "node rift does not know who you are: the token has expired",
                Some("mcp login -n rift"),
            ),
            (Status::not_found("no service mcq"), 1, "node rift: no service mcq", Some("mcp list")),
            (Status::internal(""), 1, "node rift: internal error", None),
        ];
        for (status, code, message, hint) in table {
            let error = error(&node, &status);
            assert_eq!(error.kind.exit_code(), code);
            assert!(error.message().eq_ignore_ascii_case(message), "{}", error.message());
            assert_eq!(error.hints.first().map(String::as_str), hint);
        }
        let missing = Status::not_found("generation 9 of mcq is not kept; there are 2, 1");
        let missing = of_generation(&node, &"mcq".parse().unwrap(), &missing);
        assert_eq!(missing.kind.exit_code(), 1);
        assert_eq!(missing.hints, ["mcp list", "mcp history mcq"]);
        let denied = error(&node, &Status::permission_denied("viewers may not deploy"));
        assert_eq!(denied.kind, ErrorKind::NotAllowed);
    }
}
