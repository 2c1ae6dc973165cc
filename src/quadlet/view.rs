//! What the templates see: every value already escaped for its place.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::arguments::{
    device_argument, health_command, json_words, labels, seconds, starting_interval,
    volume_argument, with_options,
};
use super::checks::probe_words;
use super::escape::{self, EscapeError, exec_line, exec_word, raw, word};
use super::podman_version::PodmanVersion;
use crate::definition::service::{
    Component, ExtraKey, ExtraSection, MountSource, Network, Restart,
};
use crate::deployment::{Container, Deployment, Forward, Readiness};
use crate::names::{ImageRef, UnitName};

/// The comment that heads every file.
pub(super) fn header(source: &str, deployment: &Deployment, unit: &str) -> Vec<String> {
    let made = format!(
        "Made by MCP from {}, generation {}.",
        escape::comment(source),
        deployment.generation
    );
    vec![
        made,
        "An edit here is reported as drift, and lost with the next deploy. To override".to_owned(),
        format!("something, use a drop-in: systemctl --user edit {unit}"),
    ]
}

/// `container.tera`.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an `if` of the template")]
pub(super) struct ContainerView {
    header: Vec<String>,
    description: String,
    target: String,
    podman_ready: String,
    gate: String,
    requires: Vec<String>,
    check_timer: Option<String>,
    schedule_timers: Vec<String>,
    sockets: Vec<String>,
    forwarder: Option<String>,
    unit_extra: Vec<String>,
    name: String,
    image: String,
    entrypoint: Option<String>,
    exec: Option<String>,
    environment: Vec<String>,
    environment_files: Vec<String>,
    volumes: Vec<String>,
    tmpfs: Vec<String>,
    networks: Vec<String>,
    aliases: Vec<String>,
    hosts: Vec<String>,
    publish: Vec<String>,
    dns: Vec<String>,
    hostname: Option<String>,
    working_dir: Option<String>,
    init: bool,
    user: Option<String>,
    userns: Option<String>,
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    read_only: bool,
    devices: Vec<String>,
    pids_limit: Option<u32>,
    shm_size: Option<String>,
    ulimits: Vec<String>,
    sysctls: Vec<String>,
    labels: Vec<String>,
    annotations: Vec<String>,
    log_driver: String,
    log_options: Vec<String>,
    stop_timeout: u64,
    stop_signal: Option<String>,
    health: Option<HealthView>,
    podman_args: Vec<String>,
    container_extra: Vec<String>,
    variables: Vec<String>,
    probe: Option<String>,
    oneshot: bool,
    holds_others: bool,
    restart: String,
    start_timeout: u64,
    service_stop_timeout: u64,
    service_extra: Vec<String>,
    wanted: bool,
    default_dependencies: bool,
}

/// A check that podman makes.
#[derive(Debug, Serialize)]
struct HealthView {
    command: String,
    interval: String,
    timeout: String,
    retries: u32,
    start_period: String,
    starting_interval: Option<String>,
}

impl ContainerView {
    #[expect(clippy::too_many_lines, reason = "one line a key: nothing to take apart")]
    pub(super) fn new(
        d: &Deployment,
        c: &Container,
        source: &str,
        context: &Context<'_>,
    ) -> Result<Self, EscapeError> {
        let s = &c.spec;
        let pairs = |items: &mut dyn Iterator<Item = (&str, &str)>| {
            items.map(|(n, v)| word(&format!("{n}={v}"))).collect::<Vec<_>>()
        };
        let extra = |section| extra_lines(&s.extra, section);
        let what = d.comment.as_deref().filter(|_| d.containers.len() == 1);
        let known = context.podman.has_keys_of_5_2();
        let log_options = pairs(
            &mut s
                .log
                .options
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .filter(|(_, v)| known && is_kept_by_log_opt(v)),
        );
        Ok(Self {
            header: header(source, d, c.name.unit().as_str()),
            description: escape::description(&what.map_or_else(
                || format!("{}, component {} of service {}", c.name, s.name, d.service),
                |what| format!("{}: {what}", c.name),
            ))?,
            target: UnitName::service_target(&d.service).to_string(),
            podman_ready: UnitName::podman_ready().to_string(),
            gate: UnitName::gate(&d.service).to_string(),
            requires: c.requires.iter().map(ToString::to_string).collect(),
            check_timer: c.is_checked().then(|| c.name.check_timer().to_string()),
            schedule_timers: s
                .schedules
                .iter()
                .map(|schedule| c.name.schedule_timer(&schedule.name).to_string())
                .collect(),
            sockets: c.sockets().map(|unit| unit.to_string()).collect(),
            forwarder: c.forwarder().map(|unit| unit.to_string()),
            unit_extra: extra(ExtraSection::Unit),
            name: c.name.to_string(),
            image: raw(c.image.as_str())?,
            entrypoint: s.entrypoint.as_ref().map(|e| raw(&json_words(e))).transpose()?,
            exec: (!s.cmd.is_empty())
                .then(|| s.cmd.iter().map(|w| word(w)).collect::<Vec<_>>().join(" ")),
            environment: pairs(&mut c.env.iter().map(|(n, v)| (n.as_str(), v.as_str()))),
            environment_files: s.env_files.iter().map(|f| word(f)).collect(),
            volumes: volumes(d, c)?,
            tmpfs: raws(s.tmpfs.iter())?,
            networks: networks(s),
            aliases: raws(s.aliases.iter().filter(|_| known))?,
            hosts: raws(s.hosts.iter().filter(|_| context.podman.has_add_host()))?,
            publish: c.publish.iter().map(crate::deployment::Publish::argument).collect(),
            dns: s.dns.iter().map(ToString::to_string).collect(),
            hostname: s.hostname.as_deref().map(raw).transpose()?,
            working_dir: s.working_dir.as_deref().map(raw).transpose()?,
            init: s.init,
            user: s.user.as_deref().map(raw).transpose()?,
            userns: s.userns.as_deref().map(raw).transpose()?,
            cap_add: s.cap_add.iter().map(|c| word(c)).collect(),
            cap_drop: s.cap_drop.iter().map(|c| word(c)).collect(),
            read_only: s.read_only,
            devices: raws(s.devices.iter().map(device_argument).collect::<Vec<_>>().iter())?,
            pids_limit: s.resources.pids,
            shm_size: s.shm_size.clone(),
            ulimits: s.ulimits.iter().map(|(n, l)| format!("{n}={l}")).collect(),
            sysctls: pairs(&mut s.sysctls.iter().map(|(n, v)| (n.as_str(), v.as_str()))),
            labels: pairs(&mut labels(d, c).into_iter()),
            annotations: pairs(&mut s.annotations.iter().map(|(n, v)| (n.as_str(), v.as_str()))),
            log_driver: s.log.driver.as_str().to_owned(),
            log_options,
            stop_timeout: s.stop_timeout.as_secs(),
            stop_signal: s.stop_signal.clone().filter(|_| known),
            health: health(c)?,
            podman_args: podman_args(c, context.podman),
            container_extra: extra(ExtraSection::Container),
            variables: variables(c),
            probe: probe_words(c, context.agent).map(|words| exec_line(&words)),
            oneshot: matches!(c.readiness, Readiness::Ended { .. }),
            holds_others: d.joined(c).next().is_some(),
            restart: restart(s.restart).to_owned(),
            start_timeout: c.start_timeout().as_secs(),
            service_stop_timeout: c.stop_timeout().as_secs(),
            service_extra: extra(ExtraSection::Service),
            // What stands in for another does not outlive the deploy.
            wanted: d.containers.iter().any(|own| own.name == c.name),
            default_dependencies: context.podman.has_default_dependencies(),
        })
    }
}

impl ContainerView {
    /// Returns the view of a container that nobody checks once it is ready, and
    /// in which nothing is scheduled: it is there for a moment only.
    pub(super) fn unchecked(self) -> Self {
        Self { check_timer: None, schedule_timers: Vec::new(), ..self }
    }
}

/// What rendering needs to know of the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) podman: PodmanVersion,
    pub(super) agent: &'a str,
}

/// Returns the lines of `extra` for a section.
pub(super) fn extra_lines(extra: &[ExtraKey], section: ExtraSection) -> Vec<String> {
    extra
        .iter()
        .filter(|e| e.section == section)
        .map(|e| format!("{}={}", e.key, e.value))
        .collect()
}

fn raws<'a>(items: impl Iterator<Item = &'a String>) -> Result<Vec<String>, EscapeError> {
    items.map(|item| raw(item)).collect()
}

fn volumes(d: &Deployment, c: &Container) -> Result<Vec<String>, EscapeError> {
    c.spec
        .volumes
        .iter()
        .map(|mount| match &mount.source {
            MountSource::Path(_) => raw(&volume_argument(d, mount)),
            MountSource::Volume(volume) => {
                raw(&with_options(&format!("{}-{volume}.volume", d.service), mount))
            }
        })
        .collect()
}

fn networks(spec: &Component) -> Vec<String> {
    let first = match &spec.network {
        Network::Private => None,
        Network::Host => Some("host".to_owned()),
        Network::None => Some("none".to_owned()),
        Network::Named(name) => Some(format!("{name}.network")),
    };
    let more = spec.more_networks.iter().map(|name| format!("{name}.network"));
    first.into_iter().chain(more).collect()
}

fn restart(restart: Restart) -> &'static str {
    match restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::No => "no",
    }
}

fn health(c: &Container) -> Result<Option<HealthView>, EscapeError> {
    let Readiness::Command { words, timing } = &c.readiness else { return Ok(None) };
    Ok(Some(HealthView {
        command: raw(&health_command(words))?,
        interval: seconds(timing.interval),
        timeout: seconds(timing.timeout),
        retries: timing.retries,
        start_period: seconds(timing.start_period),
        starting_interval: starting_interval(timing).map(seconds),
    }))
}

/// Tells whether `LogOpt=` takes a value as it is: podman's generator removes
/// its quotes and, unlike those of every other key, leaves escapes in.
fn is_kept_by_log_opt(value: &str) -> bool {
    !value.contains(['\\', '"', '\'', '\n', '\t'])
}

/// Options for which this podman has no key, or one that does not do.
fn podman_args(c: &Container, podman: PodmanVersion) -> Vec<String> {
    let known = podman.has_keys_of_5_2();
    let mut args = Vec::new();
    if let Some(memory) = &c.spec.resources.memory {
        args.push(word(&format!("--memory={memory}")));
    }
    if let Some(cpus) = &c.spec.resources.cpus {
        args.push(word(&format!("--cpus={cpus}")));
    }
    let options = c.spec.log.options.iter().filter(|(_, v)| !known || !is_kept_by_log_opt(v));
    args.extend(options.map(|(n, v)| word(&format!("--log-opt={n}={v}"))));
    if !known {
        args.extend(c.spec.stop_signal.iter().map(|s| word(&format!("--stop-signal={s}"))));
        args.extend(c.spec.aliases.iter().map(|a| word(&format!("--network-alias={a}"))));
    }
    if !podman.has_add_host() {
        args.extend(c.spec.hosts.iter().map(|h| word(&format!("--add-host={h}"))));
    }
    args
}

/// Variables that stand for words which have no spelling of their own.
fn variables(c: &Container) -> Vec<String> {
    let mut variables = Vec::new();
    if c.spec.cmd.iter().any(String::is_empty) {
        variables.push(format!("{}=", escape::EMPTY));
    }
    if c.spec.cmd.iter().any(|w| w == ";") {
        variables.push(format!("\"{}=;\"", escape::SEMICOLON));
    }
    variables
}

/// `forward.socket.tera`.
#[derive(Debug, Serialize)]
pub(super) struct SocketView {
    header: Vec<String>,
    description: String,
    target: String,
    listen: Vec<String>,
    free_bind: bool,
    forwarder: String,
}

impl SocketView {
    pub(super) fn new(
        d: &Deployment,
        c: &Container,
        forward: &Forward,
        source: &str,
    ) -> Result<Self, EscapeError> {
        let unit = c.name.socket_unit(forward.port);
        // Of all addresses and one more, the former has the latter.
        let every = forward.addresses.iter().any(Option::is_none);
        let addresses = if every { &[None][..] } else { forward.addresses.as_slice() };
        Ok(Self {
            header: header(source, d, unit.as_str()),
            description: escape::description(&format!("Port {} of {}", forward.port, c.name))?,
            target: UnitName::service_target(&d.service).to_string(),
            listen: addresses.iter().map(|address| listen(*address, forward.port)).collect(),
            // The address may come up after us at boot.
            free_bind: addresses
                .iter()
                .flatten()
                .any(|address| !address.is_loopback() && !address.is_unspecified()),
            forwarder: c.name.forward_unit().to_string(),
        })
    }
}

/// A value of `ListenStream=` (`systemd.socket(5)`).
fn listen(address: Option<IpAddr>, port: u16) -> String {
    match address {
        None => port.to_string(),
        Some(address) => SocketAddr::new(address, port).to_string(),
    }
}

/// `forward.service.tera`.
#[derive(Debug, Serialize)]
pub(super) struct ForwarderView {
    header: Vec<String>,
    description: String,
    target: String,
    sockets: Vec<String>,
    command: String,
    stop_timeout: u64,
}

impl ForwarderView {
    pub(super) fn new(
        d: &Deployment,
        c: &Container,
        source: &str,
        agent: &str,
    ) -> Result<Self, EscapeError> {
        // %t is the user's runtime directory, as the agent knows it.
        let switches = crate::deployment::SWITCHES;
        let files = [
            format!("--switch=%t/{switches}/{}", c.name),
            format!("--control=%t/{switches}/{}", c.name.socket_file()),
        ];
        let drain = format!("--drain={}", seconds(d.deploy.drain));
        let ports = c.forwards.iter().map(|f| format!("{}={}", f.port, f.behind));
        let words = [agent.to_owned(), "forward".to_owned(), drain].into_iter().chain(ports);
        let mut command: Vec<String> = words.map(|word| exec_word(&word)).collect();
        command.splice(2..2, files);
        Ok(Self {
            header: header(source, d, c.name.forward_unit().as_str()),
            description: escape::description(&format!("Connections of {}", c.name))?,
            target: UnitName::service_target(&d.service).to_string(),
            sockets: c.sockets().map(|unit| unit.to_string()).collect(),
            command: command.join(" "),
            stop_timeout: d.deploy.drain.as_secs() + 5,
        })
    }
}

/// `image.tera`.
#[derive(Debug, Serialize)]
pub(super) struct ImageView {
    header: Vec<String>,
    image: String,
    default_dependencies: bool,
}

impl ImageView {
    pub(super) fn new(
        header: Vec<String>,
        image: &ImageRef,
        context: &Context<'_>,
    ) -> Result<Self, EscapeError> {
        Ok(Self {
            header,
            image: raw(image.as_str())?,
            default_dependencies: context.podman.has_default_dependencies(),
        })
    }
}

/// `service.target.tera` and `ready.target.tera`.
#[derive(Debug, Serialize)]
pub(super) struct TargetView {
    header: Vec<String>,
    description: String,
    everything: String,
    components: Vec<String>,
    ports: Vec<String>,
    active: bool,
}

impl TargetView {
    pub(super) fn new(d: &Deployment, header: Vec<String>) -> Result<Self, EscapeError> {
        let what = d.comment.as_ref().map_or_else(
            || format!("Service {}", d.service),
            |c| format!("Service {}: {c}", d.service),
        );
        Ok(Self {
            header,
            description: escape::description(&what)?,
            everything: UnitName::everything().to_string(),
            // What is stopped on purpose is not brought up by what needs it.
            components: d
                .containers
                .iter()
                .filter(|_| d.active)
                .map(|c| c.name.unit().to_string())
                .collect(),
            ports: d
                .containers
                .iter()
                .filter(|_| d.active)
                .flat_map(Container::port_units)
                .map(|unit| unit.to_string())
                .collect(),
            active: d.active,
        })
    }
}
