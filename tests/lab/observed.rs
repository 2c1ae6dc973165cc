//! What systemd, podman and the registry say of a machine.

use crate::fixture::Machine;
use crate::run::Answer;
use crate::wait::until;

/// Units that run, by the invocation that they are.
pub type Invocations = Vec<(String, String)>;

/// Does something to a service as soon as nobody else is at it: an agent that
/// has just begun may have it for a moment.
#[track_caller]
pub fn when_free(act: impl Fn() -> Answer) -> Answer {
    until("nobody else has the service", || {
        let answer = act();
        let busy = answer.code == 1 && format!("{answer:?}").contains("is under way;");
        (!busy).then_some(answer)
    })
}

impl Machine {
    /// Returns a property of a unit of the agent's user.
    #[track_caller]
    pub fn property(&self, unit: &str, property: &str) -> String {
        let script = format!("systemctl --user show -P {property} {unit}");
        self.as_mcp(&script, "").ok().text().to_owned()
    }

    /// Returns the states of units, such as `active`.
    #[track_caller]
    pub fn states(&self, units: &[&str]) -> Vec<String> {
        let script = format!("systemctl --user is-active {} || true", units.join(" "));
        self.as_mcp(&script, "").ok().out.lines().map(str::to_owned).collect()
    }

    /// Returns the invocations of units: who is still the same has the same.
    #[track_caller]
    pub fn invocations(&self, units: &[&str]) -> Invocations {
        let script = format!(
            "for u in {}; do systemctl --user show -P InvocationID $u; done",
            units.join(" ")
        );
        let found = self.as_mcp(&script, "").ok();
        let ids: Vec<&str> = found.out.lines().collect();
        assert_eq!(ids.len(), units.len(), "{found:?}");
        units.iter().zip(ids).map(|(unit, id)| ((*unit).to_owned(), id.to_owned())).collect()
    }

    /// Fetches a page on the machine.
    pub fn get(&self, port: u16, path: &str) -> Option<String> {
        let script = format!("curl -fsS -m 20 http://127.0.0.1:{port}{path}");
        let answer = self.as_mcp(&script, "");
        (answer.code == 0).then(|| answer.text().to_owned())
    }

    /// Returns the port that a component's only route leases.
    #[track_caller]
    pub fn port(&self, service: &str, component: &str) -> u16 {
        let ports = self.ports(service, component);
        assert_eq!(ports.len(), 1, "{service}/{component}: {ports:?}");
        ports[0].1
    }

    /// Returns the leased ports of a component, by route.
    #[track_caller]
    pub fn ports(&self, service: &str, component: &str) -> Vec<(String, u16)> {
        let list = self.mcp(&["list", "--json"]).ok().json();
        let services = list["services"].as_array().unwrap();
        let service = services.iter().find(|s| s["service"] == service).unwrap();
        let components = service["components"].as_array().unwrap();
        let component = components.iter().find(|c| c["component"] == component).unwrap();
        let ports = component["ports"].as_array().unwrap();
        ports
            .iter()
            .map(|p| {
                let port = u16::try_from(p["port"].as_u64().unwrap()).unwrap();
                (p["route"].as_str().unwrap().to_owned(), port)
            })
            .collect()
    }

    /// Returns the version that a component's web server tells on its leased
    /// port.
    #[track_caller]
    pub fn served(&self, service: &str, component: &str) -> String {
        let port = self.port(service, component);
        until("the web server answers", || self.get(port, "/version"))
    }

    /// Returns the number of the generation in force, if any.
    #[track_caller]
    pub fn generation(&self, service: &str) -> Option<u64> {
        let text = self.sql(&format!("SELECT generation FROM services WHERE name = '{service}'"));
        (!text.is_empty()).then(|| text.parse().unwrap())
    }

    /// Asks the agent's registry, also while an agent takes it up.
    #[track_caller]
    pub fn sql(&self, query: &str) -> String {
        let ask = "exec sqlite3 -readonly -cmd '.timeout 60000' /srv/mcp/mcp.db";
        let answer = self.as_mcp(ask, query).ok();
        answer.text().to_owned()
    }

    /// Changes the agent's registry, also while the agent writes.
    #[track_caller]
    pub fn change_registry(&self, statement: &str) {
        self.as_mcp("exec sqlite3 -cmd '.timeout 60000' /srv/mcp/mcp.db", statement).ok();
    }

    /// Deploys what is in force once more, and demands that there is nothing
    /// to do.
    #[track_caller]
    pub fn has_nothing_to_deploy(&self, service: &str) {
        when_free(|| self.mcp(&["deploy", service])).ok().says("nothing to do");
    }

    /// Waits until a command tells what a container wrote: journald may be
    /// late.
    #[track_caller]
    pub fn until_logged(&self, args: &[&str], texts: &[&str]) -> Answer {
        until(&format!("{args:?} has {texts:?}"), || {
            let answer = self.mcp(args);
            let all = texts.iter().all(|text| answer.out.contains(text));
            (answer.code == 0 && all).then_some(answer)
        })
    }

    /// Waits until the journal has something of the agent's.
    #[track_caller]
    pub fn until_agent_said(&self, text: &str) {
        until(&format!("the agent has said {text:?}"), || {
            let journal = self.as_root("journalctl -u mcp-agent -n 30 -o cat").ok();
            journal.out.contains(text).then_some(())
        });
    }

    /// Holds the registry and the files of service `pair` to one generation:
    /// both of its components, of this version of `web`, and nothing pending.
    #[track_caller]
    pub fn has_accepted_pair(&self, version: &str) {
        let accepted = self.sql(
            "SELECT definition FROM generations g JOIN services s
            ON g.service = s.name AND g.number = s.generation WHERE s.name = 'pair'",
        );
        assert_eq!(accepted.matches(&format!("web:{version}")).count(), 2, "{accepted}");
        assert_eq!(self.sql("SELECT count(*) FROM generations WHERE state = 'pending'"), "0");
        let files = "cat ~/.config/containers/systemd/mcp/pair/*.container | grep -c ^Image=";
        let files = format!("{files}localhost/lab/web:{version}");
        assert_eq!(self.as_mcp(&files, "").ok().text(), "2");
    }

    /// Returns every file that systemd and podman read for the agent's user,
    /// with its content's hash; a link with what it says.
    #[track_caller]
    pub fn unit_files(&self) -> String {
        let script = "cd ~/.config; find . -name .mcp-staging -prune -o -type f -exec sha256sum {} + | sort -k2
            find . -type l -printf '%l  %p\n' | sort";
        self.as_mcp(script, "").ok().out
    }

    /// Returns what podman has: containers, networks and volumes.
    #[track_caller]
    pub fn podman_things(&self) -> String {
        let script = "podman ps -a --format '{{.Names}} {{.Image}}' | sort
            podman network ls --format 'network {{.Name}}' | sort
            podman volume ls --format 'volume {{.Name}}' | sort";
        self.as_mcp(script, "").ok().out
    }

    /// Returns what the agent wrote to the journal since it was started last.
    pub fn agent_log(&self) -> String {
        let script =
            "journalctl -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID mcp-agent)";
        self.as_root(script).out
    }
}
