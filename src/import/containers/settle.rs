//! What a command line left open, filled in from the container that it made:
//! variables of the shell, ports and paths that somebody else chose, volumes
//! without a name.

use std::collections::BTreeMap;

use super::{Fixed, Live, VolumeCopy};
use crate::import::run::parse::{Flag, Run};
use crate::import::values::{as_volume, label, untaken};
use crate::names::{ComponentName, ServiceName};

/// Options that say how podman and systemd hold a container: its new unit has
/// its own, and they are not what is in it.
pub(super) const HELD: &[&str] = &[
    "attach",
    "authfile",
    "cgroups",
    "cidfile",
    "conmon-pidfile",
    "detach",
    "detach-keys",
    "pidfile",
    "pod-id-file",
    "pull",
    "quiet",
    "replace",
    "rm",
    "rmi",
    "sdnotify",
    "sig-proxy",
    "tls-verify",
];

/// Labels that say who looks after a container.
const KEEPERS: &[&str] = &["PODMAN_SYSTEMD_UNIT=", "mcp.service=", "mcp.component="];

/// Seconds that a definition gives a container for its end, and podman too.
const STOP_TIMEOUT: u64 = 10;

/// Takes the containers out that a run says must run first.
pub(super) fn required(run: &mut Run) -> Vec<String> {
    let values: Vec<String> =
        run.flags.extract_if(.., |flag| flag.name == "requires").map(|flag| flag.value).collect();
    values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
}

/// Fills in what the container says; returns the volumes that get a name.
pub(super) fn settle(run: &mut Run, live: &Live, names: &mut VolumeNames<'_>) -> Vec<VolumeCopy> {
    run.is_docker = false;
    run.is_live = true;
    run.image.clone_from(&live.image);
    run.flags.retain(|flag| !HELD.contains(&flag.name.as_str()));
    run.flags.retain(|flag| !(flag.name == "label" && is_of_a_keeper(&flag.value)));
    env(run, live);
    ports(run, live);
    networks(run, live);
    defaults(run, live);
    mounts(run, live, names)
}

/// The names that volumes without one get.
pub(super) struct VolumeNames<'a> {
    pub(super) service: &'a ServiceName,
    /// The component that is made.
    pub(super) component: &'a ComponentName,
    /// Those that were given, by podman's number of the volume.
    pub(super) given: &'a mut BTreeMap<String, String>,
}

impl VolumeNames<'_> {
    /// Returns the name of a volume; one that several containers use has one.
    fn name(&mut self, number: &str, target: &str) -> String {
        if let Some(name) = self.given.get(number) {
            return name.clone();
        }
        let prefix = format!("{}-", self.service);
        let taken = |name: &str| self.given.values().any(|own| *own == format!("{prefix}{name}"));
        let name = untaken(label(&format!("{}-{target}", self.component)), taken);
        let name = format!("{prefix}{name}");
        self.given.insert(number.to_owned(), name.clone());
        name
    }
}

pub(super) fn is_of_a_keeper(label: &str) -> bool {
    KEEPERS.iter().any(|keeper| label.starts_with(keeper))
}

fn add(run: &mut Run, name: &str, value: String) {
    run.flags.push(Flag { name: name.to_owned(), value, place: run.place.clone() });
}

/// The variables as they are: files and the shell may say something else now.
fn env(run: &mut Run, live: &Live) {
    let own = own_env(run, live);
    let is_env =
        |flag: &Flag| matches!(flag.name.as_str(), "env" | "env-file" | "env-host" | "env-merge");
    run.flags.retain(|flag| !is_env(flag));
    for pair in own {
        add(run, "env", pair);
    }
}

/// The path that podman sets where the image has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the variables that a container has of its call, `name=value`.
pub(super) fn own_env(run: &Run, live: &Live) -> Vec<String> {
    let says = |name: &str| run.flags.iter().any(|flag| flag.name == name);
    let from_file = says("env-file") || says("env-host");
    let is_named = |name: &str| {
        let own = |flag: &Flag| flag.name == "env" && flag.value.split('=').next() == Some(name);
        run.flags.iter().any(own)
    };
    // What podman adds by itself cannot be told from what a file says, but by
    // its value.
    let in_file = |name: &str, value: &str| match (name, &live.given) {
        ("HOME", Some(given)) => given.env.contains(&format!("{name}={value}")),
        ("HOME", None) => !matches!(value, "/" | "/root"),
        ("TERM", _) => value != "xterm",
        ("PATH", _) => value != PATH,
        _ => true,
    };
    let given = |name: &str, value: &str| is_named(name) || (from_file && in_file(name, value));
    let own = live.container.own_env(&live.image_env, given);
    own.map(|(name, value)| format!("{name}={value}")).collect()
}

/// The ports as they are: podman may have chosen those of the node.
fn ports(run: &mut Run, live: &Live) {
    run.flags.retain(|flag| !matches!(flag.name.as_str(), "publish" | "publish-all"));
    for port in published(live) {
        add(run, "publish", port);
    }
}

/// Returns the published ports, `[address:]host:container/protocol`.
pub(super) fn published(live: &Live) -> Vec<String> {
    let mut ports = Vec::new();
    for (inner, bindings) in &live.container.host_config.port_bindings {
        for bound in bindings.iter().flatten() {
            let address = match bound.host_ip.as_str() {
                "" | "0.0.0.0" => String::new(),
                address if address.contains(':') => format!("[{address}]:"),
                address => format!("{address}:"),
            };
            ports.push(format!("{address}{}:{inner}", bound.host_port));
        }
    }
    ports
}

/// The networks as they are: it may have been connected to more since.
fn networks(run: &mut Run, live: &Live) {
    let more: Vec<_> = joined(run, live).iter().flat_map(Joined::flags).collect();
    if !more.is_empty() {
        fold_addresses(run);
    }
    for (name, value) in more {
        add(run, name, value);
    }
}

/// Says the addresses of a run with its network, if that is one: podman takes
/// them apart from it only where there is no other.
pub(super) fn fold_addresses(run: &mut Run) {
    let mut networks = run.flags.iter().filter(|flag| flag.name == "network");
    let is_one = networks.next().is_some_and(|flag| !flag.value.contains([':', ',']));
    if !is_one || networks.next().is_some() {
        return;
    }
    let key = |flag: &Flag| match flag.name.as_str() {
        "ip" => Some("ip"),
        "ip6" => Some("ip6"),
        "mac-address" => Some("mac"),
        _ => None,
    };
    let mut options: Vec<String> =
        run.flags.iter().filter_map(|f| Some(format!("{}={}", key(f)?, f.value))).collect();
    options.sort();
    if options.is_empty() {
        return;
    }
    run.flags.retain(|flag| key(flag).is_none());
    for flag in run.flags.iter_mut().filter(|flag| flag.name == "network") {
        flag.value = format!("{}:{}", flag.value, options.join(","));
    }
}

/// A network that a container is in without its call saying so.
pub(super) struct Joined<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The names by which the container is found in it, its own aside.
    pub(super) aliases: Vec<&'a str>,
    /// The address of the container in it, where nobody knows whether it is
    /// fixed.
    pub(super) address: Option<&'a str>,
    /// What is fixed of it there.
    pub(super) fixed: Option<&'a Fixed>,
}

impl Joined<'_> {
    /// Returns what a call of podman would have said of it.
    pub(super) fn flags(&self) -> Vec<(&'static str, String)> {
        let Some(fixed) = self.fixed else {
            let aliases = self.aliases.iter().map(|own| ("network-alias", (*own).to_owned()));
            return std::iter::once(("network", self.name.to_owned())).chain(aliases).collect();
        };
        let key = |address: &str| if address.contains(':') { "ip6" } else { "ip" };
        let addresses = fixed.addresses.iter().map(|own| format!("{}={own}", key(own)));
        let mac = fixed.mac.iter().map(|own| format!("mac={own}"));
        let aliases = self.aliases.iter().map(|own| format!("alias={own}"));
        let options: Vec<String> = addresses.chain(mac).chain(aliases).collect();
        vec![("network", format!("{}:{}", self.name, options.join(",")))]
    }
}

/// Returns those (`podman-network-connect(1)`).
pub(super) fn joined<'a>(run: &Run, live: &'a Live) -> Vec<Joined<'a>> {
    let says = |name: &str| {
        run.flags.iter().any(|flag| {
            flag.name == "network"
                && flag.value.split(',').any(|one| one.split(':').next() == Some(name))
        })
    };
    let is_usual =
        |name: &str| matches!(name, "podman" | "pasta" | "slirp4netns" | "host" | "none");
    let container = &live.container;
    // Podman adds the beginning of the container's number by itself.
    let is_own = |alias: &&str| *alias == container.name || container.id.starts_with(*alias);
    let all = container.network_settings.networks.iter();
    all.filter(|(name, _)| !is_usual(name) && !says(name))
        .map(|(name, network)| Joined {
            name,
            aliases: network.aliases.iter().map(String::as_str).filter(|a| !is_own(a)).collect(),
            address: Some(network.ip_address.as_str())
                .filter(|address| !address.is_empty() && live.fixed(name).is_none()),
            fixed: live.fixed(name).filter(|fixed| !fixed.is_nothing()),
        })
        .collect()
}

/// What podman has filled in where nothing was said, and a definition would
/// otherwise.
fn defaults(run: &mut Run, live: &Live) {
    let says = |run: &Run, name: &str| run.flags.iter().any(|flag| flag.name == name);
    // podman-update(1) may have changed it.
    run.flags.retain(|flag| flag.name != "restart");
    if let Some(policy) = live.container.host_config.restart_policy.argument() {
        add(run, "restart", policy);
    }
    let driver = &live.container.host_config.log_config.driver;
    if !says(run, "log-driver") && matches!(driver.as_str(), "k8s-file" | "none") {
        add(run, "log-driver", driver.clone());
    }
    let timeout = live.container.config.stop_timeout;
    if !says(run, "stop-timeout") && timeout != STOP_TIMEOUT {
        add(run, "stop-timeout", timeout.to_string());
    }
}

/// The mounts as they are: paths that began where somebody stood, and volumes
/// without a name, which get one.
fn mounts(run: &mut Run, live: &Live, names: &mut VolumeNames<'_>) -> Vec<VolumeCopy> {
    for flag in &mut run.flags {
        if flag.name == "mount"
            && let Some(value) = as_volume(&flag.value)
        {
            *flag = Flag { name: "volume".to_owned(), value, ..flag.clone() };
        }
        match flag.name.as_str() {
            "volume" => volume(flag, live),
            "mount" => mount(flag, live),
            _ => {}
        }
    }
    let mut copies = Vec::new();
    if live.container.host_config.auto_remove {
        // They go with each of its ends, and are made anew: so they stay.
        return copies;
    }
    for volume in live.container.anonymous_volumes() {
        let target = &volume.destination;
        run.flags.retain(|flag| !is_at(flag, target));
        let to = names.name(&volume.name, target);
        add(run, "volume", format!("{to}:{target}"));
        copies.push(VolumeCopy { from: volume.name.clone(), to, target: target.clone() });
    }
    copies
}

/// Takes the volumes out that a container has without a name, and keeps so.
pub(super) fn nameless(run: &mut Run) -> Vec<String> {
    let is_one = |flag: &mut Flag| flag.name == "volume" && !flag.value.contains(':');
    run.flags.extract_if(.., is_one).map(|flag| flag.value).collect()
}

fn source_at<'a>(live: &'a Live, target: &str) -> Option<&'a str> {
    let target = target.trim_end_matches('/');
    let mounted = live.container.mounts.iter().find(|m| m.destination == target)?;
    (mounted.kind == "bind").then_some(mounted.source.as_str())
}

fn volume(flag: &mut Flag, live: &Live) {
    let Some((source, rest)) = flag.value.split_once(':') else { return };
    let target = rest.split(':').next().unwrap_or_default();
    if source.starts_with(['.', '~'])
        && let Some(path) = source_at(live, target)
    {
        flag.value = format!("{path}:{rest}");
    }
}

fn target_of(mount: &str) -> Option<&str> {
    mount.split(',').find_map(|part| match part.split_once('=') {
        Some(("target" | "destination" | "dst", target)) => Some(target),
        Some(_) | None => None,
    })
}

fn mount(flag: &mut Flag, live: &Live) {
    let path = target_of(&flag.value).and_then(|target| source_at(live, target));
    let Some(path) = path else { return };
    let parts: Vec<String> = flag
        .value
        .split(',')
        .map(|part| match part.split_once('=') {
            Some((key @ ("source" | "src"), own)) if own.starts_with(['.', '~']) => {
                format!("{key}={path}")
            }
            Some(_) | None => part.to_owned(),
        })
        .collect();
    flag.value = parts.join(",");
}

/// Tells whether a flag mounts something at a path.
fn is_at(flag: &Flag, target: &str) -> bool {
    let own = match flag.name.as_str() {
        "volume" => match flag.value.split_once(':') {
            Some((_, rest)) => rest.split(':').next(),
            None => Some(flag.value.as_str()),
        },
        "mount" => target_of(&flag.value),
        _ => None,
    };
    own.is_some_and(|own| own.trim_end_matches('/') == target.trim_end_matches('/'))
}
