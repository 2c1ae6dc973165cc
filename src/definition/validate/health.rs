//! The rules of a readiness check.

use std::time::Duration;

use super::Checker;
use crate::definition::service::{
    Check, CheckPort, Health, Network, OnFailure, Port, Protocol, Route,
};
use crate::definition::{model, values};

/// Where a component can be reached: network, published ports, routes.
type Reach<'a> = (&'a Network, &'a [Port], &'a [Route]);

impl Checker<'_> {
    pub(super) fn health(
        &mut self,
        at: &str,
        h: model::Health,
        (network, ports, routes): (&Network, &Vec<Port>, &Vec<Route>),
    ) -> Option<Health> {
        let reach = (network, ports.as_slice(), routes.as_slice());
        let given: Vec<&str> = [
            ("cmd", h.cmd.is_some()),
            ("tcp", h.tcp.is_some()),
            ("http", h.http.is_some()),
            ("grpc", h.grpc.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, is)| is.then_some(key))
        .collect();
        if given.len() != 1 {
            let found = if given.is_empty() { "none".to_owned() } else { given.join(" and ") };
            self.complain(
                at,
                format!(
                    "a check is one of cmd, tcp, http and grpc, here is {found}; write exactly one"
                ),
            );
            return None;
        }
        let timing =
            |check: &mut Self, key: &str, value: Option<&String>, default: u64, least: u64| {
                let path = format!("{at}.{key}");
                let read = value.map_or(Some(Duration::from_secs(default)), |text| {
                    check.keep(&path, values::duration(text))
                });
                if read.is_some_and(|d| d < Duration::from_secs(least)) {
                    check.complain(
                        &path,
                        format!(
                            "{key} is at least {least}s: systemd refuses checks that come faster"
                        ),
                    );
                }
                read.unwrap_or_default()
            };
        let interval = timing(self, "interval", h.interval.as_ref(), 30, 2);
        let timeout = timing(self, "timeout", h.timeout.as_ref(), 5, 1);
        let start_period = timing(self, "start_period", h.start_period.as_ref(), 30, 0);
        let retries = h.retries.unwrap_or(3);
        if !(1..=1000).contains(&retries) {
            self.complain(&format!("{at}.retries"), "retries is between 1 and 1000");
        }
        let words = [OnFailure::None, OnFailure::Restart, OnFailure::Stop].map(|o| (o.as_str(), o));
        let on_failure = self
            .choice(&format!("{at}.on_failure"), h.on_failure.as_deref(), &words)
            .unwrap_or_default();
        let check = self.check(at, h, reach)?;
        Some(Health { check, interval, timeout, retries, start_period, on_failure })
    }

    fn check(&mut self, at: &str, h: model::Health, reach: Reach<'_>) -> Option<Check> {
        if let Some(command) = h.cmd {
            return self.command(&format!("{at}.cmd"), command);
        }
        if let Some(port) = h.tcp {
            return self.port(&format!("{at}.tcp"), Some(port), reach).map(Check::Tcp);
        }
        if let Some(http) = h.http {
            let at = format!("{at}.http");
            let (port, path, tls, host) = match http {
                model::HttpCheck::Path(path) => (None, Some(path), None, None),
                model::HttpCheck::Full(t) => (t.port, t.path, t.tls, t.host),
            };
            let port = self.port(&at, port, reach)?;
            let path = path.unwrap_or_else(|| "/".to_owned());
            if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
                self.complain(
                    &at,
                    format!("{path:?} is not a path; it starts with '/' and holds no blanks"),
                );
            }
            if let Some(host) = &host {
                let _: Option<()> =
                    self.keep(&format!("{at}.host"), values::word(host, "a host name", ".-:"));
            }
            return Some(Check::Http { port, path, tls: tls.unwrap_or(false), host });
        }
        let (port, service, tls) = match h.grpc? {
            model::GrpcCheck::Port(port) => (Some(port), None, None),
            model::GrpcCheck::Full(t) => (t.port, t.service, t.tls),
        };
        let at = format!("{at}.grpc");
        if let Some(service) = &service {
            let _: Option<()> =
                self.keep(&format!("{at}.service"), values::word(service, "a gRPC service", "._/"));
        }
        let port = self.port(&at, port, reach)?;
        Some(Check::Grpc { port, service: service.unwrap_or_default(), tls: tls.unwrap_or(false) })
    }

    pub(super) fn command(&mut self, at: &str, command: model::Command) -> Option<Check> {
        match command {
            model::Command::Shell(line) => {
                if line.trim().is_empty() {
                    self.complain(at, "the command is empty");
                }
                self.keep(at, values::text(&line)).map(|()| Check::Shell(line))
            }
            model::Command::Words(words) => {
                // podman gives these first words a meaning of their own.
                let keyword = |w: &String| {
                    matches!(w.to_ascii_uppercase().as_str(), "NONE" | "CMD" | "CMD-SHELL")
                };
                if words.is_empty() || words.first().is_some_and(keyword) {
                    self.complain(at, "the command starts with the program; write for example [\"/bin/health\", \"--quick\"]");
                }
                if let [only] = words.as_slice()
                    && only.contains(char::is_whitespace)
                {
                    self.complain(at, "one word with blanks is not a program; write each word on its own, or one text for the shell");
                }
                self.words(at, Some(words)).map(Check::Command)
            }
        }
    }

    /// Finds the port of the node behind which the check's target is.
    fn port(
        &mut self,
        at: &str,
        port: Option<model::PortName>,
        (network, ports, routes): Reach<'_>,
    ) -> Option<CheckPort> {
        let tcp: Vec<usize> = ports
            .iter()
            .enumerate()
            .filter(|(_, p)| p.protocol == Protocol::Tcp)
            .map(|(index, _)| index)
            .collect();
        let found = match port {
            None => match (tcp.as_slice(), routes) {
                ([only], []) => Ok(CheckPort::Published(*only)),
                ([], [only]) => Ok(CheckPort::Route(only.name.clone())),
                _ => Err("the component has not exactly one port; name it with `port`".to_owned()),
            },
            Some(model::PortName::Route(name)) => routes
                .iter()
                .find(|route| route.name.as_str() == name)
                .map(|route| CheckPort::Route(route.name.clone()))
                .ok_or_else(|| format!("there is no route named {name:?}; name one of the component's routes, or a port number")),
            Some(model::PortName::Number(0)) => Err("0 is not a port".to_owned()),
            Some(model::PortName::Number(number)) if *network == Network::Host => Ok(CheckPort::Host(number)),
            Some(model::PortName::Number(number)) => tcp
                .iter()
                .find(|index| ports.get(**index).is_some_and(|p| p.container == number))
                .map(|index| CheckPort::Published(*index))
                .ok_or_else(|| {
                    format!("port {number} of the container is not published, so the node cannot check it; add it to `ports`, name a route, or use `cmd`")
                }),
        };
        self.keep(at, found)
    }
}
