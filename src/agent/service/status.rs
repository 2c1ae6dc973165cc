//! Errors of the engine as gRPC statuses: the one place that knows both.

use tonic::{Code, Status};

use crate::agent::engine::EngineError;
use crate::telemetry::Chain;

/// Returns the status of an error.
pub(super) fn status(error: &EngineError) -> Status {
    let code = match error {
        EngineError::Invalid { .. }
        | EngineError::NoComponent { .. }
        | EngineError::WhichComponent { .. }
        | EngineError::WholeServiceOnly(_) => Code::InvalidArgument,
        EngineError::NotDeployed { .. }
        | EngineError::NothingRuns { .. }
        | EngineError::NoGeneration { .. }
        | EngineError::NothingBefore { .. } => Code::NotFound,
        EngineError::Resolve(_)
        | EngineError::Render(_)
        | EngineError::Proof { .. }
        | EngineError::Preflight { .. }
        | EngineError::ComponentFirst { .. }
        | EngineError::Needed { .. }
        | EngineError::NotRunning { .. }
        | EngineError::Unexpanded { .. }
        | EngineError::NotReleasable { .. }
        | EngineError::IsOurs { .. }
        | EngineError::NotAdoptable(_)
        | EngineError::OtherNetwork { .. }
        | EngineError::ImageGone { .. }
        | EngineError::Boot(_)
        | EngineError::Podman(_) => Code::FailedPrecondition,
        EngineError::Ports(_) | EngineError::NoSparePort { .. } => Code::ResourceExhausted,
        EngineError::Busy { .. }
        | EngineError::GaveWay { .. }
        | EngineError::NotUndone { .. }
        | EngineError::Unsettled { .. }
        | EngineError::Overtaken { .. } => Code::Aborted,
        EngineError::Systemd(_) => Code::Unavailable,
        EngineError::PodmanCall(_)
        | EngineError::Generator(_)
        | EngineError::Registry(_)
        | EngineError::Units(_)
        | EngineError::Session(_)
        | EngineError::Random(_)
        | EngineError::Stored { .. }
        | EngineError::BootRecord(_)
        | EngineError::LoadPath(_)
        | EngineError::AdoptionJournal(_)
        | EngineError::NotBack { .. }
        | EngineError::Lost(_)
        | EngineError::Transition(_) => Code::Internal,
    };
    if code == Code::Internal {
        tracing::error!(error = %Chain(error), "a call failed");
    }
    Status::new(code, Chain(error).to_string())
}
