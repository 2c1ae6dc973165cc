//! The argument vector that podman must get: what a definition means, said
//! without units, and the same read back from a command line.

use std::time::Duration;

use crate::definition::service::{Device, Mount, MountSource, Network};
use crate::deployment::{Container, Deployment, Readiness};

/// One call of `podman run`, order of options aside (`podman-run(1)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Options with their values, sorted; empty values for those without.
    pub options: Vec<(String, String)>,
    /// The image.
    pub image: String,
    /// What follows the image.
    pub command: Vec<String>,
}

/// Options of `podman run` that take no value; only what the generator or
/// an `extra` key may bring.
pub const WITHOUT_VALUE: &[&str] = &[
    "-d",
    "--detach",
    "-i",
    "--interactive",
    "-t",
    "--tty",
    "-P",
    "--publish-all",
    "--rm",
    "--replace",
    "--init",
    "--read-only",
    "--read-only-tmpfs",
    "--privileged",
    "--no-healthcheck",
    "--no-hosts",
    "--no-hostname",
    "--env-host",
    "--http-proxy",
    "--oom-kill-disable",
    "--quiet",
    "-q",
    "--rmi",
    "--passwd",
    "--sig-proxy",
    "--unsetenv-all",
    "--tls-verify",
    "--disable-content-trust",
    "--no-trunc",
];

/// A command line that is not `podman run` with an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a call of podman run with an image")]
pub struct NotARun;

impl Arguments {
    /// Reads the words of a command line, `podman run ...`.
    ///
    /// # Errors
    ///
    /// [`NotARun`] when it is none.
    pub fn read(words: &[String]) -> Result<Self, NotARun> {
        // Between podman and its verb there may be options of podman itself.
        let mut words = words.iter().map(String::as_str).skip_while(|w| *w != "run");
        words.next().ok_or(NotARun)?;
        let mut options = Vec::new();
        let image = loop {
            let word = words.next().ok_or(NotARun)?;
            if !word.starts_with('-') {
                break word.to_owned();
            }
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, value),
                _ if WITHOUT_VALUE.contains(&word) => (word, ""),
                _ => (word, words.next().ok_or(NotARun)?),
            };
            // The generator's own note of the container's number, up to
            // podman 5.5.
            if flag != "--cidfile" {
                options.push((canonical(flag).to_owned(), value.to_owned()));
            }
        };
        options.sort();
        Ok(Self { options, image, command: words.map(str::to_owned).collect() })
    }

    /// Tells whether an option of `podman run` has no value.
    pub(super) fn is_without_value(flag: &str) -> bool {
        WITHOUT_VALUE.contains(&flag)
    }

    /// Returns what a container of a deployment must be run with.
    pub fn meant(deployment: &Deployment, container: &Container) -> Self {
        let mut options = Options::default();
        options.own(container);
        options.process(container);
        options.resources(container);
        options.io(deployment, container);
        options.labels(deployment, container);
        options.health(container);
        let mut options = options.0;
        options.sort();
        Self { options, image: container.image.to_string(), command: container.spec.cmd.clone() }
    }

    /// Returns the vector as a person would type it, for plans.
    pub fn shown(&self) -> Vec<String> {
        let options = self.options.iter().map(|(flag, value)| match value.as_str() {
            "" if WITHOUT_VALUE.contains(&flag.as_str()) => flag.clone(),
            value => format!("{flag}={}", super::command_line::shown(value)),
        });
        ["podman".to_owned(), "run".to_owned()]
            .into_iter()
            .chain(options)
            .chain([self.image.clone()])
            .chain(self.command.iter().cloned())
            .collect()
    }
}

/// The long name of an option that the generator writes short.
fn canonical(flag: &str) -> &str {
    match flag {
        "-d" => "--detach",
        "-v" => "--volume",
        "-e" => "--env",
        "-p" => "--publish",
        "-l" => "--label",
        "-u" => "--user",
        "-h" => "--hostname",
        "-m" => "--memory",
        "-w" => "--workdir",
        other => other,
    }
}

#[derive(Default)]
struct Options(Vec<(String, String)>);

impl Options {
    fn add(&mut self, flag: &str, value: impl Into<String>) {
        self.0.push((flag.to_owned(), value.into()));
    }

    /// What every container of ours has: its name, and how systemd holds it.
    fn own(&mut self, c: &Container) {
        self.add("--name", c.name.as_str());
        self.add("--replace", "");
        self.add("--rm", "");
        self.add("--cgroups", "split");
        self.add("--pull", "never");
        match c.readiness {
            // Podman stays for the end of a oneshot, whose output it leaves to
            // the log driver.
            Readiness::Ended { .. } => self.add("--attach", "stdin"),
            Readiness::Started | Readiness::Command { .. } | Readiness::Probe { .. } => {
                self.add("--detach", "");
                self.add("--sdnotify", "conmon");
            }
        }
        self.add("--stop-timeout", c.spec.stop_timeout.as_secs().to_string());
        if let Some(signal) = &c.spec.stop_signal {
            self.add("--stop-signal", signal);
        }
    }

    fn process(&mut self, c: &Container) {
        if let Some(entrypoint) = &c.spec.entrypoint {
            self.add("--entrypoint", json_words(entrypoint));
        }
        for (name, value) in &c.env {
            self.add("--env", format!("{name}={value}"));
        }
        for file in &c.spec.env_files {
            self.add("--env-file", file);
        }
        if let Some(directory) = &c.spec.working_dir {
            self.add("--workdir", directory);
        }
        if c.spec.init {
            self.add("--init", "");
        }
        if let Some(user) = &c.spec.user {
            self.add("--user", user);
        }
        if let Some(userns) = &c.spec.userns {
            self.add("--userns", userns);
        }
        if let Some(hostname) = &c.spec.hostname {
            self.add("--hostname", hostname);
        }
        for capability in &c.spec.cap_add {
            self.add("--cap-add", capability.to_ascii_lowercase());
        }
        for capability in &c.spec.cap_drop {
            self.add("--cap-drop", capability.to_ascii_lowercase());
        }
        if c.spec.read_only {
            self.add("--read-only", "");
        }
    }

    fn resources(&mut self, c: &Container) {
        let r = &c.spec.resources;
        let pids = r.pids.map(|n| n.to_string());
        for (flag, value) in [
            ("--memory", &r.memory),
            ("--cpus", &r.cpus),
            ("--pids-limit", &pids),
            ("--shm-size", &c.spec.shm_size),
        ] {
            if let Some(value) = value {
                self.add(flag, value);
            }
        }
        for (name, limit) in &c.spec.ulimits {
            self.add("--ulimit", format!("{name}={limit}"));
        }
        for (name, value) in &c.spec.sysctls {
            self.add("--sysctl", format!("{name}={value}"));
        }
        for device in &c.spec.devices {
            self.add("--device", device_argument(device));
        }
    }

    fn io(&mut self, d: &Deployment, c: &Container) {
        match &c.spec.network {
            Network::Private => {}
            Network::Host => self.add("--network", "host"),
            Network::None => self.add("--network", "none"),
            Network::Named(name) => self.add("--network", name.as_str()),
        }
        for name in &c.spec.more_networks {
            self.add("--network", name.as_str());
        }
        for alias in &c.spec.aliases {
            self.add("--network-alias", alias);
        }
        for host in &c.spec.hosts {
            self.add("--add-host", host);
        }
        for publish in &c.publish {
            self.add("--publish", publish.argument());
        }
        for address in &c.spec.dns {
            self.add("--dns", address.to_string());
        }
        for mount in &c.spec.volumes {
            self.add("--volume", volume_argument(d, mount));
        }
        for tmpfs in &c.spec.tmpfs {
            self.add("--tmpfs", tmpfs);
        }
        self.add("--log-driver", c.spec.log.driver.as_str());
        for (name, value) in &c.spec.log.options {
            self.add("--log-opt", format!("{name}={value}"));
        }
    }

    fn labels(&mut self, d: &Deployment, c: &Container) {
        for (name, value) in labels(d, c) {
            self.add("--label", format!("{name}={value}"));
        }
        for (name, value) in &c.spec.annotations {
            self.add("--annotation", format!("{name}={value}"));
        }
    }

    fn health(&mut self, c: &Container) {
        let Readiness::Command { words, timing } = &c.readiness else { return };
        let command = health_command(words);
        self.add("--health-cmd", command.clone());
        self.add("--health-interval", seconds(timing.interval));
        self.add("--health-timeout", seconds(timing.timeout));
        self.add("--health-retries", timing.retries.to_string());
        self.add("--health-start-period", seconds(timing.start_period));
        if let Some(interval) = starting_interval(timing) {
            self.add("--health-startup-cmd", command);
            self.add("--health-startup-interval", seconds(interval));
            self.add("--health-startup-timeout", seconds(timing.timeout));
            self.add("--health-startup-retries", "0");
        }
    }
}

/// Returns the labels of a container: the definition's, and those by which
/// `podman ps --filter label=mcp.service=NAME` finds it.
pub(super) fn labels<'a>(
    d: &'a Deployment,
    c: &'a Container,
) -> std::collections::BTreeMap<&'a str, &'a str> {
    let own = [("mcp.service", d.service.as_str()), ("mcp.component", c.spec.name.as_str())];
    c.spec.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(own).collect()
}

/// Returns a faster check for the time of starting, where the usual one is
/// slower than need be.
pub(super) fn starting_interval(timing: &crate::deployment::model::Timing) -> Option<Duration> {
    let starting = crate::deployment::model::Timing::STARTING;
    (timing.interval > starting).then_some(starting)
}

/// Returns the value of `--health-cmd`: podman gives a JSON list of one word
/// to a shell, and takes `CMD word` as it is.
pub(super) fn health_command(words: &[String]) -> String {
    match words {
        [one] => format!("CMD {one}"),
        many => json_words(many),
    }
}

/// Returns words as a JSON list.
pub(super) fn json_words(words: &[String]) -> String {
    serde_json::Value::from(words.to_vec()).to_string()
}

/// Returns a duration as podman takes it.
pub(super) fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

/// Returns the value of `--volume`.
pub(super) fn volume_argument(d: &Deployment, mount: &Mount) -> String {
    let source = match &mount.source {
        MountSource::Path(path) => path.clone(),
        MountSource::Volume(volume) => d.podman_volume(volume),
    };
    with_options(&source, mount)
}

/// Appends target and options of a mount to its source.
pub(super) fn with_options(source: &str, mount: &Mount) -> String {
    let options = if mount.options.is_empty() {
        String::new()
    } else {
        format!(":{}", mount.options.join(","))
    };
    format!("{source}:{}{options}", mount.target)
}

/// Returns the value of `--device`.
pub(super) fn device_argument(device: &Device) -> String {
    let container =
        device.container.as_deref().or(device.permissions.as_ref().map(|_| device.host.as_str()));
    [Some(device.host.as_str()), container, device.permissions.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(":")
}
