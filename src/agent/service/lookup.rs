//! `List`, `Status` and `Definition`.

use tonic::{Request, Response, Status};

use super::{Agent, convert, service_name, status::status};
use crate::rpc::agent_v1 as pb;

impl Agent {
    pub(super) fn answer_list(&self) -> pb::ListResponse {
        pb::ListResponse {
            services: self.engine.all().iter().map(|a| convert::registered(a)).collect(),
        }
    }

    pub(super) async fn answer_status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        Ok(Response::new(self.look(request.into_inner()).await?))
    }

    /// Looks at one service, or at all.
    pub(super) async fn look(
        &self,
        request: pb::StatusRequest,
    ) -> Result<pb::StatusResponse, Status> {
        let service =
            if request.service.is_empty() { None } else { Some(service_name(&request.service)?) };
        let mut found =
            self.engine.status_as_known(service.as_ref()).await.map_err(|e| status(&e))?;
        if request.files {
            // Half-way through an operation files and registry differ by design.
            for service in found.iter_mut().filter(|s| s.operation.is_none()) {
                self.engine.add_file_drift(service).await.map_err(|e| status(&e))?;
            }
        }
        self.engine.add_one_offs(&mut found).await.map_err(|e| status(&e))?;
        for service in &mut found {
            self.engine.add_schedules(service).await.map_err(|e| status(&e))?;
        }
        let services = found.into_iter().map(convert::service_status).collect();
        let undone = self.engine.undone().await.map_err(|e| status(&e))?;
        let undone = undone
            .into_iter()
            .filter(|undone| service.as_ref().is_none_or(|s| *s == undone.service))
            .map(convert::undone)
            .collect();
        let of_the_node = if request.files && service.is_none() {
            self.engine.strangers().await
        } else {
            Vec::new()
        };
        let drifts = of_the_node.into_iter().map(pb::Drift::from).collect();
        Ok(pb::StatusResponse { services, undone, drifts })
    }

    pub(super) fn answer_definition(
        &self,
        request: &Request<pb::ServiceRequest>,
    ) -> Result<Response<pb::DefinitionResponse>, Status> {
        let service = service_name(&request.get_ref().service)?;
        let accepted = self.engine.accepted(&service).map_err(|e| status(&e))?;
        Ok(Response::new(pb::DefinitionResponse {
            definition: accepted.current_definition(),
            generation: accepted.row.generation.0,
        }))
    }
}
