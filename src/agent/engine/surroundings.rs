//! What of the node a container uses: paths, and ports that others may have.

use super::preflight;
use crate::agent::explain::{Holder, Mount};
use crate::agent::host::listener;
use crate::agent::identity::Users;
use crate::definition::service::MountSource;
use crate::deployment::{Container, Deployment, Publish};

/// Looks at the paths of the node that a container uses.
pub(super) fn mounts(container: &Container) -> Vec<Mount> {
    let spec = &container.spec;
    let mounted = spec.volumes.iter().filter_map(|mount| match &mount.source {
        MountSource::Path(path) => Some((path.clone(), true)),
        MountSource::Volume(_) => None,
    });
    mounted
        .chain(spec.env_files.iter().map(|path| (path.clone(), false)))
        .map(|(path, mounted)| {
            use std::os::unix::fs::MetadataExt as _;
            match std::fs::metadata(&path) {
                Ok(found) => Mount {
                    path,
                    mounted,
                    problem: None,
                    uid: found.uid(),
                    mode: found.mode() & 0o777,
                },
                Err(error) => {
                    Mount { path, mounted, problem: Some(error.to_string()), uid: 0, mode: 0 }
                }
            }
        })
        .collect()
}

/// Finds who has the ports of a container that does not run.
pub(super) fn holders(container: &Container, others: &[Deployment]) -> Vec<Holder> {
    let taken = |port: &&Publish| {
        preflight::bind(port).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    container.occupied().iter().filter(taken).map(|port| holder(container, port, others)).collect()
}

fn holder(container: &Container, port: &Publish, others: &[Deployment]) -> Holder {
    let by_us = others.iter().find_map(|deployment| {
        let mut those = deployment.containers.iter().filter(|c| c.name != container.name);
        let found = those.find(|c| c.occupied().iter().any(|p| p.clashes(port)))?;
        Some(format!("{}/{}", deployment.service, found.spec.name))
    });
    let port = port.clone();
    if let Some(by) = by_us {
        return Holder { port, by: format!("the component {by}"), unit: None, manager: false };
    }
    let Some(found) = listener::look(&port) else {
        return Holder {
            port,
            by: "something that cannot be seen from here".to_owned(),
            unit: None,
            manager: false,
        };
    };
    let user = Users::load_or_empty();
    let user = user.name(found.uid).map_or_else(|| format!("uid {}", found.uid), str::to_owned);
    let by = match (&found.process, &found.unit) {
        (Some((pid, name)), Some(unit)) => format!("{name} (process {pid}) of {unit}"),
        (Some((pid, name)), None) if found.cgroup.is_empty() => {
            format!("{name} (process {pid}) of user {user}")
        }
        (Some((pid, name)), None) => {
            format!("{name} (process {pid}) of user {user}, in {}", found.cgroup)
        }
        (None, _) => format!("a process of user {user}"),
    };
    let manager = found.process.as_ref().is_some_and(|(_, name)| name == "systemd");
    Holder { port, by, unit: found.unit, manager }
}
