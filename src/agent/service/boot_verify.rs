//! `BootVerify`.

use tonic::{Response, Status};

use super::{Agent, status::status};
use crate::rpc::agent_v1 as pb;

impl Agent {
    pub(super) async fn answer_boot_verify(
        &self,
    ) -> Result<Response<pb::BootVerifyResponse>, Status> {
        let findings = self.engine.boot_verify().await.map_err(|e| status(&e))?;
        let findings = findings.into_iter().map(pb::Finding::from).collect();
        Ok(Response::new(pb::BootVerifyResponse { findings }))
    }
}
