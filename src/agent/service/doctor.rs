//! `Doctor`, and what the agent finds at its start.

use super::Agent;
use crate::agent::finding::{Finding, Level};
use crate::rpc::agent_v1 as pb;

/// The group under which what fails is told.
const GROUP: &str = "doctor";

impl Agent {
    pub(super) async fn answer_doctor(&self) -> pb::DoctorResponse {
        let findings = self.examine().await;
        pb::DoctorResponse { findings: findings.into_iter().map(pb::Finding::from).collect() }
    }

    /// Looks at the node, and shows what fails until it is looked at again.
    pub(super) async fn examine(&self) -> Vec<Finding> {
        let findings = self.patient.examine().await;
        let failed = findings.iter().filter(|finding| finding.level == Level::Failed);
        for news in self.problems.replace(GROUP, failed.map(Finding::sentence).collect()) {
            tracing::error!("{news}");
        }
        findings
    }
}
