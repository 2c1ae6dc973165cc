//! The rules of one component.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Checker, unique};
use crate::definition::service::{
    Component, ExtraSection, Log, LogDriver, Network, OnFailure, Resources, Restart, Route,
    RouteMode,
};
use crate::definition::{model, values};
use crate::names::{ComponentName, RouteName};

impl Checker<'_> {
    #[expect(clippy::too_many_lines, reason = "one line a key: nothing to take apart")]
    pub(super) fn component(
        &mut self,
        at: &str,
        c: model::Component,
        has_version: bool,
    ) -> Option<Component> {
        let name: Option<ComponentName> = self.name(&format!("{at}.name"), c.name.clone());
        self.runtime(at, &c);
        let image = match &c.image {
            Some(image) => self.keep(&format!("{at}.image"), image.parse()),
            None if has_version => None,
            None => {
                self.miss(at, "the component has no `image`; add one, or give the service a `version` and the node a default registry");
                None
            }
        };
        let (network, more_networks) = self.networks(at, c.network.clone());
        let aliases = self.aliases(at, c.aliases.clone(), &network);
        let ports = self.list(&format!("{at}.ports"), c.ports.clone(), values::port);
        if !ports.is_empty() && matches!(network, Network::Host | Network::None) {
            let which = if network == Network::Host { "host" } else { "none" };
            self.complain(
                &format!("{at}.ports"),
                format!(
                    "a component with network {which:?} publishes no ports; take one of the two out"
                ),
            );
        }
        let routes = self.routes(at, c.routes.clone());
        let health = c
            .health
            .clone()
            .and_then(|h| self.health(&format!("{at}.health"), h, (&network, &ports, &routes)));
        let env = self.environment(at, c.env.clone(), &routes);
        let restarts = [
            ("always", Restart::Always),
            ("unless-stopped", Restart::Always),
            ("on-failure", Restart::OnFailure),
            ("no", Restart::No),
        ];
        let oneshot = self.oneshot(at, &c);
        let restart = self
            .choice(&format!("{at}.restart"), c.restart.as_deref(), &restarts)
            .unwrap_or(if oneshot.is_some() { Restart::No } else { Restart::Always });
        if restart == Restart::No
            && health.as_ref().is_some_and(|h| h.on_failure == OnFailure::Restart)
        {
            self.complain(
                &format!("{at}.health.on_failure"),
                "restart = \"no\" says that the component is never started again; take one of the two out",
            );
        }
        let resources = self.resources(at, &c);
        let capabilities = c.capabilities.clone().unwrap_or_default();
        let cap_add = self.list(&format!("{at}.capabilities.add"), capabilities.add, capability);
        let cap_drop = self.list(&format!("{at}.capabilities.drop"), capabilities.drop, capability);
        let more = self.more(at, &c);
        let depends_on = self.list(&format!("{at}.depends_on"), c.depends_on, str::parse);
        Some(Component {
            name: name?,
            image,
            entrypoint: self.words(&format!("{at}.entrypoint"), c.entrypoint),
            cmd: self.words(&format!("{at}.cmd"), c.cmd).unwrap_or_default(),
            env,
            env_files: self.list(&format!("{at}.env_files"), c.env_files, values::path),
            volumes: self.list(&format!("{at}.volumes"), c.volumes, values::mount),
            network,
            more_networks,
            aliases,
            hosts: self.list(&format!("{at}.hosts"), c.hosts, values::host),
            working_dir: c
                .working_dir
                .and_then(|dir| self.keep(&format!("{at}.working_dir"), values::path(&dir))),
            init: c.init.unwrap_or(false),
            ports,
            user: more.user,
            userns: more.userns,
            restart,
            depends_on: unique(depends_on),
            oneshot,
            health,
            resources,
            devices: self.list(&format!("{at}.devices"), c.devices, values::device),
            labels: self.table(&format!("{at}.labels"), c.labels),
            annotations: self.table(&format!("{at}.annotations"), c.annotations),
            hostname: more.hostname,
            dns: self.list(&format!("{at}.dns"), c.dns, |d| {
                d.parse().map_err(|_| format!("{d:?} is not an IP address"))
            }),
            cap_add,
            cap_drop,
            read_only: c.read_only.unwrap_or(false),
            tmpfs: self.list(&format!("{at}.tmpfs"), c.tmpfs, tmpfs),
            shm_size: more.shm_size,
            ulimits: more.ulimits,
            sysctls: more.sysctls,
            stop_timeout: more.stop_timeout,
            stop_signal: more.stop_signal,
            log: self.log(at, c.log),
            extra: self.extra(at, c.extra, ("Container", ExtraSection::Container)),
            routes,
            schedules: self.schedules(at, c.schedule),
        })
    }

    fn runtime(&mut self, at: &str, c: &model::Component) {
        let runtime = c.runtime.as_deref().unwrap_or("container");
        if runtime != "container" {
            self.complain(
                &format!("{at}.runtime"),
                format!("runtime {runtime:?} is not offered; only \"container\" is"),
            );
        }
    }

    /// Reads words of a command line.
    pub(super) fn words(&mut self, path: &str, words: Option<Vec<String>>) -> Option<Vec<String>> {
        let words = words?;
        for (index, word) in words.iter().enumerate() {
            let _: Option<()> = self.keep(&format!("{path}[{index}]"), values::text(word));
        }
        Some(words)
    }

    fn environment(
        &mut self,
        at: &str,
        env: Option<model::Environment>,
        routes: &[Route],
    ) -> BTreeMap<String, String> {
        let pairs: Vec<(String, String, String)> = match env {
            None => Vec::new(),
            Some(model::Environment::Table(table)) => table
                .into_iter()
                .map(|(name, value)| (format!("{at}.env.{name}"), name, value.into_text()))
                .collect(),
            Some(model::Environment::List(list)) => list
                .into_iter()
                .enumerate()
                .filter_map(|(index, pair)| {
                    let path = format!("{at}.env[{index}]");
                    let Some((name, value)) = pair.split_once('=') else {
                        self.complain(&path, format!("{pair:?} has no '='; write \"NAME=value\""));
                        return None;
                    };
                    Some((path, name.to_owned(), value.to_owned()))
                })
                .collect(),
        };
        let given: BTreeSet<String> =
            routes.iter().map(|route| route.name.variable()).chain(["PORT".to_owned()]).collect();
        let mut env = BTreeMap::new();
        for (path, name, value) in pairs {
            let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            if !good {
                self.complain(
                    &path,
                    format!(
                        "{name:?} is not a name of a variable; it holds letters, digits and '_'"
                    ),
                );
            }
            let _: Option<()> = self.keep(&path, values::text(&value));
            if !routes.is_empty() && given.contains(&name) {
                self.complain(
                    &path,
                    format!("{name} is given by the component's routes; take it out"),
                );
            }
            if env.insert(name.clone(), value).is_some() {
                self.complain(&path, format!("{name} is set twice"));
            }
        }
        env
    }

    fn routes(&mut self, at: &str, routes: Option<Vec<model::Route>>) -> Vec<Route> {
        let routes = routes.unwrap_or_default();
        let several = routes.len() > 1;
        let mut seen: BTreeSet<RouteName> = BTreeSet::new();
        let mut read = Vec::new();
        for (index, route) in routes.into_iter().enumerate() {
            let at = format!("{at}.routes[{index}]");
            let modes = [("l4", RouteMode::L4), ("l7", RouteMode::L7)];
            let mode = self
                .choice(&format!("{at}.mode"), route.mode.as_deref(), &modes)
                .unwrap_or_default();
            if route.name.is_none() && several {
                self.complain(&at, "a component with several routes names each; add `name`");
            }
            let name = match route.name {
                None => Some(RouteName::unnamed()),
                Some(name) => self.keep(&format!("{at}.name"), name.parse()),
            };
            let hostname = self.plain(&format!("{at}.hostname"), route.hostname);
            if let Some(host) = &hostname {
                let _: Option<()> =
                    self.keep(&format!("{at}.hostname"), values::word(host, "a host name", ".-"));
            }
            match route.port {
                None => self.miss(&at, "the route has no `port`; add the port of the proxy"),
                Some(0) => self.complain(&format!("{at}.port"), "0 is not a port"),
                Some(_) => {}
            }
            if let Some(name) = name {
                if name.is_behind() {
                    self.complain(
                        &format!("{at}.name"),
                        format!("{:?} is a name that MCP uses itself; take another", name.as_str()),
                    );
                }
                if several && !seen.insert(name.clone()) {
                    self.complain(
                        &format!("{at}.name"),
                        format!("there are two routes named {:?}", name.as_str()),
                    );
                }
                read.push(Route {
                    name,
                    port: route.port.unwrap_or_default(),
                    mode,
                    hostname,
                    public: route.public.unwrap_or(false),
                });
            }
        }
        read
    }

    fn resources(&mut self, at: &str, c: &model::Component) -> Resources {
        let r = c.resources.clone().unwrap_or_default();
        let memory =
            r.memory.and_then(|m| self.keep(&format!("{at}.resources.memory"), values::size(&m)));
        let cpus = match r.cpus {
            None => None,
            Some(model::Cpus::Whole(n)) => Some(f64::from(n)),
            Some(model::Cpus::Part(n)) => Some(n),
        };
        if cpus.is_some_and(|n| !(0.01..=4096.0).contains(&n)) {
            self.complain(&format!("{at}.resources.cpus"), "cpus must be between 0.01 and 4096");
        }
        if r.pids == Some(0) {
            self.complain(
                &format!("{at}.resources.pids"),
                "pids must be at least 1; leave it out for no limit",
            );
        }
        for (key, old, new) in [
            ("memory", c.memory.is_some(), memory.is_some()),
            ("vcpus", c.vcpus.is_some(), cpus.is_some()),
        ] {
            if old && new {
                self.complain(
                    &format!("{at}.{key}"),
                    format!("`{key}` is also given in [resources]; keep that one"),
                );
            }
        }
        Resources {
            memory: memory.or_else(|| c.memory.map(|mib| format!("{mib}m"))),
            cpus: cpus.or(c.vcpus.map(f64::from)).map(|n| n.to_string()),
            pids: r.pids,
        }
    }

    fn table(
        &mut self,
        path: &str,
        table: Option<BTreeMap<String, String>>,
    ) -> BTreeMap<String, String> {
        let table = table.unwrap_or_default();
        for (key, value) in &table {
            let path = format!("{path}.{key}");
            let _: Option<()> = self.keep(&path, values::word(key, "a label", "._-/"));
            let _: Option<()> = self.keep(&path, values::text(value));
        }
        table
    }

    fn log(&mut self, at: &str, log: Option<model::Log>) -> Log {
        let log = log.unwrap_or_default();
        let drivers = [
            ("journald", LogDriver::Journald),
            ("k8s-file", LogDriver::K8sFile),
            ("none", LogDriver::None),
        ];
        let driver = self
            .choice(&format!("{at}.log.driver"), log.driver.as_deref(), &drivers)
            .unwrap_or(LogDriver::Journald);
        let options =
            log.options.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_text())).collect();
        Log { driver, options: self.table(&format!("{at}.log.options"), Some(options)) }
    }
}

/// What is read by grammars of single words.
struct More {
    user: Option<String>,
    userns: Option<String>,
    hostname: Option<String>,
    shm_size: Option<String>,
    ulimits: BTreeMap<String, String>,
    sysctls: BTreeMap<String, String>,
    stop_timeout: Duration,
    stop_signal: Option<String>,
}

impl Checker<'_> {
    fn more(&mut self, at: &str, c: &model::Component) -> More {
        let word = |check: &mut Self, key: &str, value: &Option<String>, what: &str, also: &str| {
            let value = value.clone()?;
            check.keep(&format!("{at}.{key}"), values::word(&value, what, also)).map(|()| value)
        };
        let stop_timeout = match &c.stop_timeout {
            None => Some(Duration::from_secs(10)),
            Some(text) => self.keep(&format!("{at}.stop_timeout"), values::duration(text)),
        };
        if stop_timeout.is_some_and(|t| t.subsec_nanos() > 0 || t.is_zero()) {
            self.complain(
                &format!("{at}.stop_timeout"),
                "stop_timeout is in whole seconds, at least one: podman knows no less",
            );
        }
        let mut ulimits = BTreeMap::new();
        for (name, limit) in c.ulimits.clone().unwrap_or_default() {
            let path = format!("{at}.ulimits.{name}");
            let text = match limit {
                model::Limit::Number(number) => number.to_string(),
                model::Limit::Text(text) => text,
            };
            let part = |p: &str| p == "-1" || p == "unlimited" || p.parse::<u64>().is_ok();
            if !text.split(':').all(part) || text.split(':').count() > 2 {
                self.complain(&path, format!("{text:?} is not a limit; write \"soft:hard\""));
            }
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase()) {
                self.complain(&path, format!("{name:?} is not a limit's name; such as nofile"));
            }
            ulimits.insert(name, text);
        }
        let mut sysctls = BTreeMap::new();
        for (name, value) in c.sysctls.clone().unwrap_or_default() {
            let (path, value) = (format!("{at}.sysctls.{name}"), value.into_text());
            let _: Option<()> = self.keep(&path, values::word(&name, "a kernel parameter", "._-/"));
            let _: Option<()> = self.keep(&path, values::plain(&value));
            sysctls.insert(name, value);
        }
        More {
            user: word(self, "user", &c.user, "a user", "._-:"),
            userns: word(self, "userns", &c.userns, "a user namespace mode", "._-:,=@"),
            hostname: word(self, "hostname", &c.hostname, "a host name", ".-"),
            shm_size: c
                .shm_size
                .as_deref()
                .and_then(|s| self.keep(&format!("{at}.shm_size"), values::size(s))),
            ulimits,
            sysctls,
            stop_timeout: stop_timeout.unwrap_or_default(),
            stop_signal: word(self, "stop_signal", &c.stop_signal, "a signal", "+-"),
        }
    }
}

fn capability(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
        return Err(format!("{text:?} is not a capability; such as NET_BIND_SERVICE"));
    }
    Ok(name.to_owned())
}

fn tmpfs(text: &str) -> Result<String, String> {
    values::plain(text)?;
    let (path, options) = text.split_once(':').map_or((text, None), |(p, o)| (p, Some(o)));
    values::path(path)?;
    if let Some(options) = options {
        values::word(options, "a list of mount options", ",=%._")?;
    }
    Ok(text.to_owned())
}
