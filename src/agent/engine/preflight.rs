//! What the node must have before a deploy is begun: each lack with its mend.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use super::prepare::Aside;
use super::{Accepted, Engine, EngineError, pulling};
use crate::agent::plan::{Action, FileChangeKind, Plan};
use crate::definition::service::{MountSource, Protocol};
use crate::deployment::{Container, Deployment, Publish};
use crate::names::UnitName;
use crate::quadlet::shadowed::unsaid;
use crate::quadlet::{Place, render};

/// What gives way to the new generation.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    /// The generation in force.
    pub(super) old: Option<&'a Accepted>,
    /// Those that give up their ports before they are needed.
    pub(super) holders: &'a [Deployment],
    /// What others run, and is put aside.
    pub(super) aside: &'a Aside,
}

/// Checks the components that a plan starts or restarts; `lacking` are those
/// whose images can be had nowhere.
pub(super) async fn check(
    engine: &Engine,
    before: Before<'_>,
    (deployment, plan): (&Deployment, &Plan),
    lacking: &[&Container],
) -> Result<(), EngineError> {
    let touched: Vec<&Container> = plan
        .effects
        .iter()
        .filter(|e| matches!(e.action, Action::Start | Action::Restart | Action::Switch))
        .filter_map(|e| deployment.container(&e.component))
        .collect();
    let mut problems: Vec<String> = lacking
        .iter()
        .map(|c| format!("component {}: {}", c.spec.name, pulling::nowhere(&c.image)))
        .collect();
    for container in &touched {
        paths(container, &mut problems);
        ports(container, before, &mut problems);
    }
    names(engine, before, (deployment, plan), &mut problems).await?;
    if !touched.is_empty() {
        for stage in engine.blocking_stages(&deployment.service).await? {
            problems.push(format!(
                "the boot stage {stage} comes before {} and is not ready; wait for it, or mend what is in it: mcp boot plan",
                deployment.service
            ));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(EngineError::Preflight { problems }) }
}

fn paths(container: &Container, problems: &mut Vec<String>) {
    let component = &container.spec.name;
    for mount in &container.spec.volumes {
        if let MountSource::Path(path) = &mount.source
            && let Err(error) = std::fs::metadata(path)
        {
            problems.push(format!(
                "component {component}: {path} cannot be mounted ({error}); make it on the node: sudo install -d -o mcp -g mcp {path}"
            ));
        }
    }
    for file in &container.spec.env_files {
        if let Err(error) = std::fs::File::open(file) {
            problems.push(format!(
                "component {component}: the environment file {file} cannot be read: {error}"
            ));
        }
    }
    for device in &container.spec.devices {
        if !Path::new(&device.host).exists() {
            problems.push(format!("component {component}: the node has no device {}", device.host));
        }
    }
}

/// Tries ports that nobody holds who gives them up.
fn ports(container: &Container, before: Before<'_>, problems: &mut Vec<String>) {
    let Before { holders, aside, .. } = before;
    let held = |port: &Publish| {
        let mut held = holders.iter().flat_map(|o| &o.containers).flat_map(Container::occupied);
        held.any(|h| h.host == port.host && h.protocol == port.protocol)
            || aside.ports.contains(&(port.host, port.protocol == Protocol::Udp))
    };
    for port in &container.occupied() {
        let Err(error) = bind(port) else { continue };
        if error.kind() == ErrorKind::AddrInUse && held(port) {
            continue;
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with forty variants")]
        let mend = match error.kind() {
            ErrorKind::PermissionDenied => format!(
                "ports below {} need a right: sudo sysctl -w net.ipv4.ip_unprivileged_port_start={}",
                unprivileged_start(),
                port.host
            ),
            ErrorKind::AddrInUse => {
                format!("something else listens there: ss -lntup 'sport = {}'", port.host)
            }
            ErrorKind::AddrNotAvailable => {
                "the node does not have that address: ip address".to_owned()
            }
            _ => error.to_string(),
        };
        problems.push(format!(
            "component {}: port {} cannot be published; {mend}",
            container.spec.name,
            port.argument()
        ));
    }
}

fn unprivileged_start() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .map_or_else(|_| "1024".to_owned(), |text| text.trim().to_owned())
}

pub(super) fn bind(port: &Publish) -> std::io::Result<()> {
    let address =
        SocketAddr::new(port.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port.host);
    match port.protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    }
}

/// Tells whether nothing listens on a TCP port.
pub(super) fn is_free(address: IpAddr, port: u16) -> bool {
    TcpListener::bind(SocketAddr::new(address, port)).is_ok()
}

/// Refuses names of units that somebody else has made.
async fn names(
    engine: &Engine,
    Before { old, aside, .. }: Before<'_>,
    (deployment, plan): (&Deployment, &Plan),
    problems: &mut Vec<String>,
) -> Result<(), EngineError> {
    let new: Vec<_> = deployment
        .containers
        .iter()
        .filter(|c| old.is_none_or(|o| o.deployment.containers.iter().all(|b| b.name != c.name)))
        .map(|c| c.name.unit())
        .collect();
    let had = |unit: &UnitName| {
        old.iter().flat_map(|o| &o.deployment.containers).any(|c| c.side_units().contains(unit))
    };
    let is_added = |unit: &UnitName| {
        plan.files.iter().any(|f| f.kind == FileChangeKind::Added && f.name == unit.as_str())
    };
    let beside: Vec<UnitName> = deployment
        .containers
        .iter()
        .flat_map(Container::side_units)
        .filter(|unit| !had(unit) && is_added(unit))
        .collect();
    for state in engine.manager().unit_files(&beside).await? {
        let source = state.fragment_path.unwrap_or_default();
        if !aside.files.contains(Path::new(&source)) {
            problems.push(format!(
                "there is a unit {} already, from {source}; rename the component, or move that file away",
                state.name
            ));
        }
    }
    let ours = [engine.tools().store.quadlet_root(), engine.trial().root()];
    for state in engine.manager().unit_files(&new).await? {
        let source = state.source_path.or(state.fragment_path);
        if let Some(source) = source
            && !ours.iter().any(|root| Path::new(&source).starts_with(root))
            && !aside.files.contains(Path::new(&source))
        {
            problems.push(format!(
                "there is a unit {} already, from {source}; rename the component, or move that file away",
                state.name
            ));
        }
    }
    shadowed(engine, aside, plan, problems).await
}

/// Refuses what would be written into a file of a network, a volume or an
/// image, and another file that is read in its place does not say.
async fn shadowed(
    engine: &Engine,
    aside: &Aside,
    plan: &Plan,
    problems: &mut Vec<String>,
) -> Result<(), EngineError> {
    let written: BTreeMap<UnitName, &str> = plan
        .files
        .iter()
        .filter(|f| f.place == Place::Quadlet && f.kind != FileChangeKind::Removed)
        .filter(|f| !f.name.ends_with(".container"))
        .map(|f| (UnitName::from_systemd(render::unit_of(&f.name)), f.after.as_str()))
        .collect();
    let units: Vec<UnitName> = written.keys().cloned().collect();
    let ours = [engine.tools().store.quadlet_root(), engine.trial().root()];
    for state in engine.manager().unit_files(&units).await? {
        let Some(source) = state.source_path.as_deref().map(Path::new) else { continue };
        let is_told = aside.files.contains(source) || aside.stay.contains(source);
        if is_told || ours.iter().any(|root| source.starts_with(root)) {
            continue;
        }
        // What is gone by now is read no more.
        let Ok(theirs) = std::fs::read_to_string(source) else { continue };
        let text = written.get(&state.name).copied().unwrap_or_default();
        let unsaid = unsaid(text, &theirs);
        if !unsaid.is_empty() {
            problems.push(format!(
                "there is a unit {} already, from {}, which does not say {}; give what it makes another name here, or move that file away",
                state.name,
                source.display(),
                unsaid.join(" and ")
            ));
        }
    }
    Ok(())
}
