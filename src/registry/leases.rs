//! Port leases: each port of the node belongs to one route.

use rusqlite::{Row, params};

use super::connection::{Registry, is_duplicate};
use super::error::RegistryError;
use super::row::parsed;
use crate::names::{ComponentName, RouteName, ServiceName};

/// A port that a route keeps across deployments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseRow {
    /// The service.
    pub service: ServiceName,
    /// Its component.
    pub component: ComponentName,
    /// The component's route.
    pub route: RouteName,
    /// The port, on the node and in the container alike.
    pub port: u16,
}

const LIST: &str =
    "SELECT service, component, route, port FROM leases ORDER BY service, component, route";
const INSERT: &str = "INSERT INTO leases (service, component, route, port) VALUES (?1, ?2, ?3, ?4)";
const DELETE: &str = "DELETE FROM leases WHERE service = ?1";

fn from_row(row: &Row<'_>) -> rusqlite::Result<LeaseRow> {
    Ok(LeaseRow {
        service: parsed(row, 0)?,
        component: parsed(row, 1)?,
        route: parsed(row, 2)?,
        port: row.get(3)?,
    })
}

impl Registry {
    /// Returns every lease of the node, by service, component and route.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn leases(&self) -> Result<Vec<LeaseRow>, RegistryError> {
        self.read("list the port leases", |tx| {
            tx.prepare_cached(LIST)?.query_map([], from_row)?.collect()
        })
        .await
    }

    /// Gives a service exactly these leases.
    ///
    /// # Errors
    ///
    /// A port or route occurs twice or is another service's, a lease names
    /// another service, or the registry does not answer; the old leases stay.
    pub async fn replace_leases(
        &self,
        service: &ServiceName,
        leases: &[LeaseRow],
    ) -> Result<(), RegistryError> {
        let (service, leases) = (service.clone(), leases.to_vec());
        self.write("record port leases", move |tx| {
            tx.execute(DELETE, [service.as_str()])?;
            for lease in leases {
                if lease.service != service {
                    let found = lease.service;
                    return Err(RegistryError::ForeignLease { service, found }.into());
                }
                let (component, route) = (lease.component.as_str(), lease.route.as_str());
                tx.execute(INSERT, params![service.as_str(), component, route, lease.port])
                    .map_err(|error| {
                        if is_duplicate(&error) {
                            RegistryError::PortTaken { port: lease.port }.into()
                        } else {
                            super::connection::WriteError::Sqlite(error)
                        }
                    })?;
            }
            Ok(())
        })
        .await
    }

    /// Gives up every lease of a service; returns how many there were.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn delete_leases(&self, service: &ServiceName) -> Result<usize, RegistryError> {
        let service = service.clone();
        self.write("give up port leases", move |tx| Ok(tx.execute(DELETE, [service.as_str()])?))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(service: &str, route: &str, port: u16) -> LeaseRow {
        LeaseRow {
            service: service.parse().unwrap(),
            component: "api".parse().unwrap(),
            route: route.parse().unwrap(),
            port,
        }
    }

    #[tokio::test]
    async fn a_port_has_one_holder_and_a_refusal_keeps_the_old_leases() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        let (a, b): (ServiceName, ServiceName) = ("a".parse().unwrap(), "b".parse().unwrap());
        registry.replace_leases(&a, &[lease("a", "default", 10_000)]).await.unwrap();
        registry.replace_leases(&b, &[lease("b", "default", 10_001)]).await.unwrap();
        let taken = [lease("b", "default", 10_002), lease("b", "rest", 10_000)];
        let error = registry.replace_leases(&b, &taken).await.unwrap_err();
        assert!(matches!(error, RegistryError::PortTaken { port: 10_000 }), "{error:?}");
        let error = registry.replace_leases(&a, &[lease("b", "x", 10_003)]).await.unwrap_err();
        assert!(matches!(error, RegistryError::ForeignLease { .. }), "{error:?}");
        assert_eq!(
            registry.leases().await.unwrap(),
            [lease("a", "default", 10_000), lease("b", "default", 10_001)]
        );
        assert_eq!(registry.delete_leases(&a).await.unwrap(), 1);
        registry.replace_leases(&b, &taken).await.unwrap();
    }
}
