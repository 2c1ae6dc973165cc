//! Deployment to unit set, through the templates.

use serde::Serialize;
use tera::{Context, Tera};

use super::checks::CheckView;
use super::escape::EscapeError;
use super::podman_version::{PodmanVersion, TooOld};
use super::schedules::ScheduleView;
use super::things::{NetworkView, VolumeView};
use super::unit_set::{Place, UnitSet};
use super::view::{self, ContainerView, ForwarderView, ImageView, SocketView, TargetView};
use crate::deployment::{Container, Deployment};
use crate::names::{ContainerName, UnitName};

/// The templates that come with the program, by file name.
pub const TEMPLATES: &[(&str, &str)] = &[
    ("container.tera", include_str!("../../templates/quadlet/container.tera")),
    ("image.tera", include_str!("../../templates/quadlet/image.tera")),
    ("network.tera", include_str!("../../templates/quadlet/network.tera")),
    ("volume.tera", include_str!("../../templates/quadlet/volume.tera")),
    ("service.target.tera", include_str!("../../templates/quadlet/service.target.tera")),
    ("check.service.tera", include_str!("../../templates/quadlet/check.service.tera")),
    ("check.timer.tera", include_str!("../../templates/quadlet/check.timer.tera")),
    ("schedule.service.tera", include_str!("../../templates/quadlet/schedule.service.tera")),
    ("schedule.timer.tera", include_str!("../../templates/quadlet/schedule.timer.tera")),
    ("forward.socket.tera", include_str!("../../templates/quadlet/forward.socket.tera")),
    ("forward.service.tera", include_str!("../../templates/quadlet/forward.service.tera")),
    ("ready.target.tera", include_str!("../../templates/quadlet/ready.target.tera")),
    ("gate.target.tera", include_str!("../../templates/quadlet/gate.target.tera")),
    ("stage.target.tera", include_str!("../../templates/quadlet/stage.target.tera")),
    ("stage-check.service.tera", include_str!("../../templates/quadlet/stage-check.service.tera")),
];

/// Why a deployment could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The node's podman is too old.
    #[error(transparent)]
    TooOld(#[from] TooOld),
    /// A value has no spelling in a unit.
    #[error("{unit}")]
    Escape {
        /// File that it would be in.
        unit: String,
        /// The value, and why.
        source: EscapeError,
    },
    /// A template is not one of those that can be replaced.
    #[error("there is no template {name:?} to replace; the templates are {}", known())]
    UnknownTemplate {
        /// The name given.
        name: String,
    },
    /// A template does not parse or does not render.
    #[error("template {name}")]
    Template {
        /// The template.
        name: String,
        /// Where and why.
        source: Box<tera::Error>,
    },
    /// Two files would have one name.
    #[error("two units would be called {name}; rename a component, network or volume")]
    Twice {
        /// The name.
        name: String,
    },
}

fn known() -> String {
    TEMPLATES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Renders deployments for one node.
#[derive(Debug)]
pub struct Renderer {
    tera: Tera,
    podman: PodmanVersion,
    agent: String,
}

impl Renderer {
    /// Makes a renderer for a podman version; `agent` is the path of
    /// `mcp-agent` on the node, for probes; `overrides` are templates, by
    /// file name, that take the place of the program's own.
    ///
    /// # Errors
    ///
    /// A podman below the floor; an unknown or broken template.
    pub fn new(
        podman: PodmanVersion,
        agent: &str,
        overrides: &[(String, String)],
    ) -> Result<Self, RenderError> {
        let podman = podman.check()?;
        let mut tera = Tera::new();
        if let Some((name, _)) =
            overrides.iter().find(|(name, _)| TEMPLATES.iter().all(|(known, _)| known != name))
        {
            return Err(RenderError::UnknownTemplate { name: name.clone() });
        }
        for (name, embedded) in TEMPLATES {
            let text = overrides
                .iter()
                .find(|(n, _)| n == name)
                .map_or(*embedded, |(_, text)| text.as_str());
            tera.add_raw_template(name, text).map_err(|e| template(name, e))?;
        }
        Ok(Self { tera, podman, agent: agent.to_owned() })
    }

    /// Returns the path of `mcp-agent` that probes are run with.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Renders a deployment; `source` names the definition, for the comment
    /// that heads every file.
    ///
    /// # Errors
    ///
    /// A value that cannot be written, or two units of one name.
    pub fn render(&self, deployment: &Deployment, source: &str) -> Result<UnitSet, RenderError> {
        let mut set = Set(UnitSet::new(deployment.service.clone(), deployment.active));
        let context = view::Context { podman: self.podman, agent: &self.agent };
        let header = |unit: &str| view::header(source, deployment, unit);
        for container in &deployment.containers {
            self.container(&mut set, deployment, container, source)?;
        }
        for network in deployment.networks() {
            let file = format!("{network}.network");
            let text = self.file(
                "network.tera",
                &NetworkView::new(network, &deployment.network_spec(network), &context),
            )?;
            set.add(Place::Quadlet, file, text)?;
        }
        for volume in deployment.volumes() {
            let unit = UnitName::volume(&deployment.service, volume);
            let view = VolumeView::new(header(unit.as_str()), deployment, volume, &context);
            set.add(
                Place::Quadlet,
                format!("{}-{volume}.volume", deployment.service),
                self.file("volume.tera", &view)?,
            )?;
        }
        for (name, template) in [
            (UnitName::service_target(&deployment.service), "service.target.tera"),
            (UnitName::ready_target(&deployment.service), "ready.target.tera"),
        ] {
            let view = TargetView::new(deployment, header(name.as_str()))
                .map_err(|source| escape(name.as_str(), source))?;
            set.add(Place::Systemd, name.to_string(), self.file(template, &view)?)?;
        }
        Ok(set.0)
    }

    fn container(
        &self,
        set: &mut Set,
        d: &Deployment,
        c: &Container,
        source: &str,
    ) -> Result<(), RenderError> {
        let context = view::Context { podman: self.podman, agent: &self.agent };
        let file = format!("{}.container", c.name);
        let view =
            ContainerView::new(d, c, source, &context).map_err(|source| escape(&file, source))?;
        set.add(Place::Quadlet, file, self.file("container.tera", &view)?)?;
        // An image that only this node can have is not to be had elsewhere.
        if !c.image.is_local() {
            let file = format!("{}.image", c.name);
            let header = view::header(source, d, c.name.image_unit().as_str());
            let view = ImageView::new(header, &c.image, &context)
                .map_err(|source| escape(&file, source))?;
            set.add(Place::Quadlet, file, self.file("image.tera", &view)?)?;
        }
        for (unit, template) in [
            (c.name.check_unit(), "check.service.tera"),
            (c.name.check_timer(), "check.timer.tera"),
        ] {
            let header = view::header(source, d, unit.as_str());
            if let Some(view) = CheckView::new(&d.service, c, header, &self.agent) {
                set.add(Place::Systemd, unit.to_string(), self.file(template, &view)?)?;
            }
        }
        for schedule in &c.spec.schedules {
            for (unit, template) in [
                (c.name.schedule_unit(&schedule.name), "schedule.service.tera"),
                (c.name.schedule_timer(&schedule.name), "schedule.timer.tera"),
            ] {
                let header = view::header(source, d, unit.as_str());
                let view = ScheduleView::new(&d.service, c, schedule, header);
                set.add(Place::Systemd, unit.to_string(), self.file(template, &view)?)?;
            }
        }
        self.forwards(set, d, c, source)
    }

    /// Adds what holds a container's ports, where podman does not.
    fn forwards(
        &self,
        set: &mut Set,
        d: &Deployment,
        c: &Container,
        source: &str,
    ) -> Result<(), RenderError> {
        for forward in &c.forwards {
            let unit = c.name.socket_unit(forward.port).to_string();
            let view = SocketView::new(d, c, forward, source).map_err(|e| escape(&unit, e))?;
            set.add(Place::Systemd, unit, self.file("forward.socket.tera", &view)?)?;
        }
        if let Some(unit) = c.forwarder() {
            let unit = unit.to_string();
            let view =
                ForwarderView::new(d, c, source, &self.agent).map_err(|e| escape(&unit, e))?;
            set.add(Place::Systemd, unit, self.file("forward.service.tera", &view)?)?;
        }
        Ok(())
    }

    /// Renders the file of the container that stands in for another one of a
    /// deployment: no target wants it.
    ///
    /// # Errors
    ///
    /// A value that cannot be written.
    pub fn stand_in(
        &self,
        deployment: &Deployment,
        stand_in: &Container,
        source: &str,
    ) -> Result<String, RenderError> {
        let context = view::Context { podman: self.podman, agent: &self.agent };
        let view = ContainerView::new(deployment, stand_in, source, &context)
            .map_err(|source| escape(stand_in.name.as_str(), source))?
            .unchecked();
        self.file("container.tera", &view)
    }

    pub(super) fn file<V: Serialize>(&self, name: &str, view: &V) -> Result<String, RenderError> {
        let context = Context::from_serialize(view).map_err(|e| template(name, e))?;
        self.tera.render(name, &context).map_err(|e| template(name, e))
    }
}

fn template(name: &str, source: tera::Error) -> RenderError {
    RenderError::Template { name: name.to_owned(), source: Box::new(source) }
}

fn escape(unit: &str, source: EscapeError) -> RenderError {
    RenderError::Escape { unit: unit.to_owned(), source }
}

struct Set(UnitSet);

impl Set {
    /// Adds a file, and refuses one whose unit another file makes already.
    fn add(&mut self, place: Place, name: String, text: String) -> Result<(), RenderError> {
        let unit = unit_of(&name);
        if self.0.files.keys().any(|(_, other)| unit_of(other) == unit) {
            return Err(RenderError::Twice { name: unit });
        }
        self.0.files.insert((place, name), text);
        Ok(())
    }
}

/// Returns the unit that a file makes (`podman-systemd.unit(5)`).
pub fn unit_of(file: &str) -> String {
    match file.rsplit_once('.') {
        Some((stem, "container")) => format!("{stem}.service"),
        Some((stem, kind @ ("image" | "network" | "volume"))) => format!("{stem}-{kind}.service"),
        _ => file.to_owned(),
    }
}

/// Returns the units of the node itself, by file name: the target that holds
/// every service and boot stage, and podman's pause process.
///
/// Without the pause process `podman run` starts itself again in a child that
/// tells systemd it is ready and is gone before systemd has looked: the
/// message is lost and the unit fails. So one unit makes it, before all others.
pub fn node_units(podman: &str, stages: &[UnitName]) -> Vec<(String, String)> {
    let stages: Vec<&str> = stages.iter().map(UnitName::as_str).collect();
    let stages =
        if stages.is_empty() { String::new() } else { format!("Wants={}\n", stages.join(" ")) };
    let everything = format!(
        "# Made by MCP: every active service. systemctl --user stop mcp.target stops them all.\n\
         [Unit]\n\
         Description=Every service of MCP\n\
         {stages}\n\
         [Install]\n\
         WantedBy=default.target\n"
    );
    let ready = format!(
        "# Made by MCP: podman's pause process, which must be there before a container\n\
         # can tell systemd that it is ready.\n\
         [Unit]\n\
         Description=Podman is ready to start containers\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={podman} unshare true\n"
    );
    vec![
        (UnitName::everything().to_string(), everything),
        (UnitName::podman_ready().to_string(), ready),
    ]
}

/// Returns the file of a container.
pub fn container_file(name: &ContainerName) -> String {
    format!("{name}.container")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;

    fn rendered(text: &str, podman: &str) -> Result<String, RenderError> {
        let service = crate::definition::load(text).unwrap();
        let mut port = 20_000;
        let leases: Leases = service
            .components
            .iter()
            .flat_map(|c| c.routes.iter().map(move |r| (c.name.clone(), r.name.clone())))
            .map(|key| {
                port += 1;
                (key, port)
            })
            .collect();
        let (range, none) = (30_000..=30_999, std::collections::BTreeSet::new());
        let leases =
            crate::deployment::ports::lease(&service, &leases, &none, &range, |_| true).unwrap();
        let deployment =
            resolve(&service, &NodeFacts::default(), &leases, None, Generation(7)).unwrap();
        let renderer = Renderer::new(podman.parse().unwrap(), "/usr/bin/mcp-agent", &[])?;
        let set = renderer.render(&deployment, "x.toml")?;
        let files = set.files.iter().map(|((_, name), text)| {
            format!(
                "==> {name}
{text}"
            )
        });
        Ok(files.collect::<Vec<_>>().concat())
    }

    #[test]
    fn every_example_renders_as_recorded() {
        insta::glob!("../../examples", "*.toml", |path| {
            let text = std::fs::read_to_string(path).unwrap();
            insta::assert_snapshot!(rendered(&text, "5.4.2").unwrap());
        });
    }

    #[test]
    fn an_older_podman_gets_only_keys_that_it_knows() {
        let text = std::fs::read_to_string("examples/everything.toml").unwrap();
        let units = rendered(&text, "5.0.0").unwrap();
        assert!(
            !units.contains("[Quadlet]")
                && !units.contains("\nStopSignal=")
                && !units.contains("\nLogOpt=")
        );
        assert!(units.contains("PodmanArgs=--stop-signal=SIGINT"));
        assert!(matches!(rendered(&text, "4.3.1"), Err(RenderError::TooOld(_))));
    }

    #[test]
    fn a_template_can_be_replaced_and_only_a_known_one() {
        let new = |name: &str, text: &str| {
            Renderer::new(PodmanVersion::USUAL, "/a", &[(name.to_owned(), text.to_owned())])
        };
        assert!(new("image.tera", "[Image]\nImage={{ image }}\n").is_ok());
        assert!(matches!(new("other.tera", ""), Err(RenderError::UnknownTemplate { .. })));
        assert!(matches!(new("image.tera", "{% if %}"), Err(RenderError::Template { .. })));
    }

    fn checked(health: &str) -> Deployment {
        let text = format!(
            "name = \"s\"\n[[components]]\nname = \"s\"\nimage = \"localhost/a:1\"\nports = [\"80:80\"]\nhealth = {health}\n"
        );
        let service = crate::definition::load(&text).unwrap();
        resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(1)).unwrap()
    }

    #[test]
    fn a_running_component_is_checked_by_units_of_its_own_unless_podman_does_all() {
        let renderer = Renderer::new(PodmanVersion::USUAL, "/a b", &[]).unwrap();
        let command = |health: &str| {
            let set = renderer.render(&checked(health), "").unwrap();
            let text = set.files.get(&(Place::Systemd, "s-check.service".to_owned()))?;
            let line = text.lines().find(|l| l.starts_with("ExecStart="))?;
            Some(line.replace("ExecStart=\"/a b\" check --unit=s.service ", ""))
        };
        assert_eq!(
            command("{ http = { path = \"/a?b=%20\", host = \"h\", tls = true }, retries = 9 }")
                .unwrap(),
            "--interval=30s --timeout=5s --retries=9 --on-failure=none http 127.0.0.1:80 /a?b=%%20 --host=h --tls"
        );
        assert_eq!(
            command("{ grpc = { service = \"x.Y\" }, on_failure = \"stop\" }").unwrap(),
            "--interval=30s --timeout=5s --retries=3 --on-failure=stop grpc 127.0.0.1:80 --service=x.Y"
        );
        assert_eq!(command("{ cmd = [\"x\"] }"), None);
        assert_eq!(
            command("{ cmd = [\"x\"], on_failure = \"restart\", interval = \"2500ms\" }").unwrap(),
            "--interval=2500ms --timeout=5s --retries=3 --on-failure=restart podman"
        );
    }

    #[test]
    fn the_proof_holds_for_checks_and_fails_for_others() {
        let renderer = Renderer::new(PodmanVersion::USUAL, "/a", &[]).unwrap();
        let deployment = checked("{ tcp = 80 }");
        let set = renderer.render(&deployment, "").unwrap();
        let compare =
            |set: &UnitSet| crate::quadlet::proof::compare_checks(&deployment, "/a", set).len();
        assert_eq!(compare(&set), 0);
        let key = (Place::Systemd, "s-check.service".to_owned());
        for (what, with) in [
            ("tcp 127.0.0.1:80", "tcp 127.0.0.1:81"),
            ("Type=oneshot\n", "Type=oneshot\nExecStartPre=/bin/evil\n"),
            ("ExecStart=", "#ExecStart="),
        ] {
            let mut other = set.clone();
            let text = other.files.get_mut(&key).unwrap();
            assert!(text.contains(what));
            *text = text.replace(what, with);
            assert!(compare(&other) > 0, "{with}");
        }
        let mut without = set;
        without.files.remove(&key);
        assert_eq!(compare(&without), 1);
    }

    #[test]
    fn a_schedule_runs_the_words_that_are_meant_and_the_proof_says_so() {
        let text = "name = \"s\"\n[[components]]\nname = \"s\"\nimage = \"localhost/a:1\"\n[[components.schedule]]\nname = \"x\"\non_calendar = [\"daily\", \"*:0/5\"]\ncmd = [\"find\", \"a b\", \"100%\", \"$X\", \"\", \";\"]\nuser = \"7:8\"\n";
        let service = crate::definition::load(text).unwrap();
        let deployment =
            resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(1)).unwrap();
        let renderer = Renderer::new(PodmanVersion::USUAL, "/a", &[]).unwrap();
        let set = renderer.render(&deployment, "").unwrap();
        let file = |name: &str| set.files.get(&(Place::Systemd, name.to_owned())).unwrap();
        let line = r#"ExecStart=/usr/bin/env podman exec --user=7:8 s find "a b" 100%% $$X "" ";""#;
        assert!(file("s-x-schedule.service").lines().any(|l| l == line));
        assert!(file("s-x-schedule.timer").contains("OnCalendar=daily\nOnCalendar=*:0/5\n"));
        let compare =
            |set: &UnitSet| crate::quadlet::proof::compare_checks(&deployment, "/a", set).len();
        assert_eq!(compare(&set), 0);
        let mut other = set.clone();
        let key = (Place::Systemd, "s-x-schedule.service".to_owned());
        let text = other.files.get_mut(&key).unwrap();
        *text = text.replace("podman exec", "podman exec --privileged");
        assert!(compare(&other) > 0);
        other.files.remove(&key);
        assert_eq!(compare(&other), 1);
    }

    #[test]
    fn a_name_that_a_check_has_is_refused() {
        let text = "name = \"s\"\n[[components]]\nname = \"a\"\nimage = \"i:1\"\nports = [\"80:80\"]\nhealth = { tcp = 80 }\n[[components]]\nname = \"a-check\"\nimage = \"i:1\"\n";
        let error = rendered(text, "5.4.2").unwrap_err();
        assert!(matches!(error, RenderError::Twice { name } if name == "s-a-check.service"));
    }

    #[test]
    fn the_proof_holds_for_what_the_generator_would_make_and_fails_otherwise() {
        let service = crate::definition::load("name = \"s\"\n[[components]]\nname = \"s\"\nimage = \"localhost/a:1\"\ncmd = [\"x\"]\n").unwrap();
        let deployment =
            resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(1)).unwrap();
        let line = "/usr/bin/podman run --name s --cidfile=%t/%N.cid --replace --rm --cgroups=split --sdnotify=conmon -d --pull never \
            --stop-timeout 10 --log-driver journald --label mcp.component=s --label mcp.service=s localhost/a:1 x";
        let unit = |line: &str, more: &str| {
            let text = format!(
                "[Service]\nExecStart={line}\nExecStop=/usr/bin/podman rm -f\nExecStopPost=-/usr/bin/podman rm -f\n{more}"
            );
            BTreeMap::from([("s.service".to_owned(), text)])
        };
        let compare =
            |units| crate::quadlet::proof::compare(&deployment, "/usr/bin/mcp-agent", &units);
        assert_eq!(compare(unit(line, "")), []);
        for (line, more) in [
            (line.replace(" x", " x y"), ""),
            (line.replace(" -d", " -d --privileged"), ""),
            (line.replace("a:1", "b:1"), ""),
            (line.replace("--pull never", ""), ""),
            (line.replace(" x", " %n"), ""),
            (line.to_owned(), "ExecStartPre=/bin/evil\n"),
        ] {
            assert_eq!(compare(unit(&line, more)).len(), 1, "{line} {more}");
        }
        assert_eq!(compare(BTreeMap::new()).len(), 1);
    }
}
