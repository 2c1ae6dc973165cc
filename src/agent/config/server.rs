//! `[server]`: where and how the agent is reached.

use super::reader::Reader;
use super::tables::ServerTable;
use crate::agent::environment::Environment;
use crate::agent::settings::{ServerSettings, TlsFiles};

impl Reader<'_> {
    pub(super) fn server(
        &mut self,
        table: &ServerTable,
        environment: &Environment,
    ) -> ServerSettings {
        let grpc_addr = table.grpc_addr.as_ref().and_then(|text| {
            let address = text.get_ref().parse().ok();
            if address.is_none() {
                let message = "the address has to be IP:port, such as 100.64.0.1:9444";
                self.problem(text.span().start, "server.grpc_addr", message);
            }
            address
        });
        let certificate = self.path("server.tls_cert", &table.tls_cert);
        let key = self.path("server.tls_key", &table.tls_key);
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let (given, missing) = match &table.tls_cert {
                    Some(_) => (&table.tls_cert, "server.tls_key"),
                    None => (&table.tls_key, "server.tls_cert"),
                };
                let at = given.as_ref().map_or(0, |text| text.span().start);
                self.problem(at, missing, "certificate and key have to be given together");
                None
            }
        };
        let socket = self
            .path("server.socket", &table.socket)
            .unwrap_or_else(|| environment.default_socket());
        ServerSettings { grpc_addr, tls, socket }
    }
}
