//! `Info`: who the caller is, and what the agent is.

use tonic::{Request, Response, Status};

use super::{Agent, caller};
use crate::agent::gate::Caller;
use crate::rpc::agent_v1 as pb;
use crate::telemetry::Chain;

impl Agent {
    pub(super) async fn answer_info(
        &self,
        request: Request<pb::InfoRequest>,
    ) -> Result<Response<pb::InfoResponse>, Status> {
        let mut problems = self.problems.list();
        let systemd =
            self.systemd.get_or_try_init(async || self.engine.systemd_version().await).await;
        let systemd_version = match systemd {
            Ok(version) => version.clone(),
            Err(error) => {
                problems.push(Chain(&error).to_string());
                String::new()
            }
        };
        match self.engine.late_stages().await {
            Ok(late) => problems.extend(late),
            // That systemd does not answer was told just before.
            Err(error) => tracing::debug!(error = %Chain(&error), "the boot stages are not known"),
        }
        Ok(Response::new(pb::InfoResponse {
            node: self.node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            caller: caller(&request),
            role: request
                .extensions()
                .get::<Caller>()
                .map(|c| c.role.to_string())
                .unwrap_or_default(),
            podman_version: self
                .engine
                .toolchain()
                .map(|t| t.podman.to_string())
                .unwrap_or_default(),
            systemd_version,
            arch: std::env::consts::ARCH.to_owned(),
            problems,
        }))
    }
}
