use super::*;
use crate::import::Files;

struct NoFiles;

impl Files for NoFiles {
    fn text(&mut self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn exists(&self, _: &str) -> bool {
        true
    }
}

fn live(name: &str, words: &[&str], more: &str) -> Live {
    let words = serde_json::to_string(words).unwrap();
    let text = format!(
        r#"{{"Id": "{}", "Name": "{name}", "ImageName": "localhost/a:1", {more}
        "Config": {{"Hostname": "abababababab", "CreateCommand": {words}, "StopTimeout": 10,
            "Env": ["PATH=/bin", "HOME=/", "X=a b", "FROM_FILE=$1", "container=podman", "HOSTNAME=abababababab"]}},
        "HostConfig": {{"LogConfig": {{"Type": "journald"}}, "PortBindings": {{
            "80/tcp": [{{"HostIp": "0.0.0.0", "HostPort": "8080"}}],
            "53/udp": [{{"HostIp": "127.0.0.1", "HostPort": "40000"}}]}}}}}}"#,
        "ab".repeat(32)
    );
    Live {
        container: serde_json::from_str(&text).unwrap(),
        image_env: vec!["PATH=/bin".to_owned()],
        image: "localhost/a:1".to_owned(),
        unit: None,
        given: None,
    }
}

fn portless(name: &str, words: &[&str]) -> Live {
    let mut live = live(name, words, "");
    live.container.host_config.port_bindings.clear();
    live
}

fn imported(live: &[Live]) -> Adoption {
    import(&"web".parse().unwrap(), live, &Things::default(), &mut NoFiles).unwrap()
}

#[test]
fn what_a_command_line_left_open_is_filled_in() {
    let hash = "c".repeat(64);
    let mounts = format!(
        r#""Mounts": [{{"Type": "bind", "Source": "/home/u/data", "Destination": "/d"}},
            {{"Type": "volume", "Name": "{hash}", "Destination": "/var/lib/x"}},
            {{"Type": "volume", "Name": "web-files", "Destination": "/f"}}],"#
    );
    let words = [
        "podman",
        "run",
        "-d",
        "--name",
        "web-app",
        "-e",
        "X",
        "--env-file",
        "e.env",
        "-P",
        "-p",
        "127.0.0.1::53/udp",
        "-v",
        "./data:/d:ro",
        "-v",
        "/var/lib/x",
        "-v",
        "web-files:/f",
        "--requires",
        "web-db",
        "--restart=always",
        "--cgroups=split",
        "--label",
        "PODMAN_SYSTEMD_UNIT=x.service",
        "localhost/a:1",
        "serve",
        "--now",
    ];
    let mut app = live("web-app", &words, &mounts);
    // Of now, whatever the command line said.
    app.container.host_config.restart_policy.name = "unless-stopped".to_owned();
    let all = [app, portless("web-db", &["podman", "run", "a"])];
    let found = imported(&all);
    insta::assert_snapshot!(found.imported.text);
    assert_eq!(found.imported.notes, []);
    assert_eq!(found.taken[0].component.as_str(), "app");
    let copy =
        VolumeCopy { from: hash, to: "web-app-var-lib-x".into(), target: "/var/lib/x".into() };
    assert_eq!(found.taken[0].volumes, [copy]);
    assert_eq!(found.taken[1].volumes, []);
}

#[test]
fn what_a_unit_says_besides_goes_with_it() {
    let unit = |name: &str, is_quadlet: bool, text: &str| {
        Some(LiveUnit {
            name: format!("{name}.service"),
            path: format!("/u/{name}.container"),
            text: text.to_owned(),
            is_quadlet,
            checks: BTreeMap::new(),
        })
    };
    let words = ["/usr/bin/podman", "run", "--name=systemd-web", "--rm", "-d", "localhost/a:1"];
    let quadlet = "[Unit]\nDescription=The web\nRequires=container-web-db.service\nAfter=container-web-db.service\n[Container]\nImage=localhost/a:1\n[Service]\nRestart=always\nMemoryHigh=1G\n[Install]\nWantedBy=default.target\n";
    let generated = "[Unit]\nDescription=Podman container-web-db.service\nRequiresMountsFor=%t/containers\n[Service]\nEnvironment=PODMAN_SYSTEMD_UNIT=%n\nRestart=on-failure\nTimeoutStopSec=70\nExecStart=podman run x\nType=notify\nNotifyAccess=all\n[Install]\nWantedBy=default.target\n";
    let web = Live { unit: unit("web", true, quadlet), ..live("systemd-web", &words, "") };
    let db = portless("web-db", &["podman", "run", "--name", "web-db", "localhost/a:1"]);
    let db = Live { unit: unit("container-web-db", false, generated), ..db };
    let found = imported(&[web, db]);
    insta::assert_snapshot!(found.imported.text);
    assert_eq!(found.imported.notes, []);
}

#[test]
fn a_unit_that_was_released_comes_back_with_nothing_lost() {
    let words = ["/usr/bin/podman", "run", "--name=web-db", "--rm", "-d", "localhost/a:1"];
    let text = "[Unit]\nPartOf=web.target\n[Container]\nImage=localhost/a:1\n[Service]\nRestart=always\n[Install]\nWantedBy=web.target\n";
    let unit = |path: &str| LiveUnit {
        name: "web-db.service".to_owned(),
        path: path.to_owned(),
        text: text.to_owned(),
        is_quadlet: true,
        checks: BTreeMap::new(),
    };
    let of = |path: &str| {
        let db = Live { unit: Some(unit(path)), ..portless("web-db", &words) };
        imported(&[db]).imported.notes
    };
    assert_eq!(of("/u/.config/containers/systemd/web/web-db.container"), []);
    // Nobody knows of a target that brings it up.
    let elsewhere = of("/etc/web/web-db.container");
    assert!(elsewhere[0].to_string().contains("does not start at a boot"), "{elsewhere:?}");
}

#[test]
fn a_container_without_a_command_is_refused() {
    let (service, things) = ("web".parse().unwrap(), Things::default());
    let refused = import(&service, &[live("web", &[], "")], &things, &mut NoFiles);
    assert!(matches!(refused, Err(ContainersError::NoCommand { .. })), "{refused:?}");
}

/// A container in two networks, one of which it joined later, and what podman
/// has of them.
fn in_two_networks(given: Option<Given>) -> Adoption {
    let networks = r#""NetworkSettings": {"Networks": {
        "one": {"IPAddress": "10.89.1.2", "Aliases": ["abababababab"]},
        "two": {"IPAddress": "10.2.0.77", "Aliases": ["zz", "web-app", "abababababab"]},
        "Odd_one": {"IPAddress": "10.3.0.2", "Aliases": []}}},"#;
    let words = ["podman", "run", "--name=web-app", "--network=one", "--ip=10.89.1.9", "a:1"];
    let mut app = live("web-app", &words, networks);
    app.container.host_config.port_bindings.clear();
    app.given = given;
    let made = |name: &str, subnet: &str, internal: bool| {
        let text = format!(
            r#"{{"name": "{name}", "driver": "bridge", "network_interface": "podman1", "dns_enabled": true,
            "internal": {internal}, "subnets": [{{"subnet": "{subnet}"}}]}}"#
        );
        (name.to_owned(), ThereNetwork::Made(serde_json::from_str(&text).unwrap()))
    };
    let networks = [
        made("one", "10.89.1.0/24", false),
        made("two", "10.2.0.0/24", true),
        made("Odd_one", "10.3.0.0/24", false),
    ];
    let things = Things { networks: networks.into(), ..Things::default() };
    import(&"web".parse().unwrap(), &[app], &things, &mut NoFiles).unwrap()
}

#[test]
fn an_address_in_a_network_that_was_joined_later_is_kept_if_it_is_fixed() {
    let fixed = Fixed {
        addresses: vec!["10.2.0.77".to_owned(), "fd00::7".to_owned()],
        mac: Some("92:d0:c6:0a:29:33".to_owned()),
    };
    let first = Fixed { addresses: vec!["10.89.1.9".to_owned()], mac: None };
    let named = |(name, fixed): (&str, Fixed)| (name.to_owned(), fixed);
    let networks = [("one", first), ("two", fixed), ("Odd_one", Fixed::default())].map(named);
    let given = Given { networks: networks.into(), env: Vec::new() };
    let Adoption { imported, taken: _ } = in_two_networks(Some(given));
    insta::assert_snapshot!(imported.text);
    let told: Vec<String> = imported.notes.iter().map(|note| note.what.clone()).collect();
    assert_eq!(told, ["web-app.networks.Odd_one"]);
}

#[test]
fn a_network_that_was_joined_later_keeps_its_names_and_its_address_is_told() {
    let Adoption { imported, taken: _ } = in_two_networks(None);
    assert!(imported.text.contains("network = \"two\""), "{}", imported.text);
    assert!(imported.text.contains("aliases = [\"zz\"]"), "{}", imported.text);
    let told: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|note| note.contains("two.network:ip=10.2.0.77")), "{told:?}");
    assert!(!told.iter().any(|note| note.contains("10.89.1.2")), "{told:?}");
    // And podman is not taken for the one who chose the subnet.
    assert!(imported.text.contains("10.89.1.0/24"), "{}", imported.text);
}

#[test]
fn a_subnet_that_somebody_may_have_chosen_is_told_with_how_to_keep_it() {
    let found = |networks: &str, labels: &str| {
        let networks = format!(r#""NetworkSettings": {{"Networks": {{{networks}}}}},"#);
        let words = ["podman", "run", "--name", "web-app", "--network", "two", "a:1"];
        let mut app = live("web-app", &words, &networks);
        app.container.host_config.port_bindings.clear();
        let fixed = [("two".to_owned(), Fixed::default())];
        app.given = Some(Given { networks: fixed.into(), env: Vec::new() });
        let text = format!(
            r#"{{"name": "two", "driver": "bridge", "network_interface": "podman1", "dns_enabled": true,
            "subnets": [{{"subnet": "10.89.7.0/24"}}], "labels": {labels}}}"#
        );
        let made = ThereNetwork::Made(serde_json::from_str(&text).unwrap());
        let things = Things { networks: [("two".to_owned(), made)].into(), ..Things::default() };
        let found = import(&"web".parse().unwrap(), &[app], &things, &mut NoFiles).unwrap();
        found.imported.notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = found(r#""two": {"Aliases": []}"#, "{}");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("write networks.two.subnets = [\"10.89.7.0/24\"]"), "{told:?}");
    assert_eq!(found(r#""two": {"Aliases": []}"#, r#"{"mcp.network": "two"}"#), [""; 0]);
}

#[test]
fn what_another_service_says_of_a_network_counts() {
    let networks = r#""NetworkSettings": {"Networks": {"two": {"Aliases": []}}},"#;
    let words = ["podman", "run", "--name", "web-app", "--network", "two:ip=10.2.0.9", "a:1"];
    let mut app = live("web-app", &words, networks);
    app.container.host_config.port_bindings.clear();
    let spec = crate::definition::service::NetworkSpec {
        subnets: vec!["10.2.0.0/16".to_owned()],
        ..Default::default()
    };
    let said = [("two".to_owned(), ThereNetwork::said(&spec))];
    let things = Things { networks: said.into(), ..Things::default() };
    let found = import(&"web".parse().unwrap(), &[app], &things, &mut NoFiles).unwrap();
    let text = found.imported.text;
    assert!(text.contains("two = { subnets = [\"10.2.0.0/16\"] }"), "{text}");
    assert!(text.contains("Network = \"two.network:ip=10.2.0.9\""), "{text}");
}

#[test]
fn what_podman_adds_is_not_taken_for_what_a_file_says() {
    let words = ["podman", "run", "--name", "web", "--env-file", "e", "-t", "a:1"];
    let has_home = |env: &str, given: Option<Given>| {
        let mut web = portless("web", &words);
        web.container.config.env = vec!["TERM=xterm".to_owned(), env.to_owned()];
        web.given = given;
        let text = imported(&[web]).imported.text;
        assert!(!text.contains("TERM"), "{text}");
        text.contains("HOME")
    };
    let given = |env: &str| Some(Given { env: vec![env.to_owned()], ..Given::default() });
    assert!(has_home("HOME=/", given("HOME=/")) && !has_home("HOME=/data", given("A=1")));
    assert!(has_home("HOME=/data", None) && !has_home("HOME=/", None));
}

#[test]
fn volumes_are_as_they_were_made() {
    let mounts = r#""Mounts": [{"Type": "volume", "Name": "files", "Destination": "/f"}],"#;
    let words =
        ["podman", "run", "--name", "web", "--mount", "type=volume,src=files,dst=/f", "a:1"];
    let mut web = live("web", &words, mounts);
    web.container.host_config.port_bindings.clear();
    let made =
        r#"{"Name": "files", "Driver": "local", "Options": {"device": "tmpfs", "type": "tmpfs"}}"#;
    let volumes = [("files".to_owned(), serde_json::from_str(made).unwrap())];
    let things = Things { volumes: volumes.into(), ..Things::default() };
    let found = import(&"web".parse().unwrap(), &[web], &things, &mut NoFiles).unwrap();
    insta::assert_snapshot!(found.imported.text);
}

/// The unit of a component as MCP deploys and then releases it.
fn released_unit(definition: &str) -> LiveUnit {
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;
    use crate::quadlet::released::released;
    use crate::quadlet::{Place, PodmanVersion, Renderer};
    let service = crate::definition::load(definition).unwrap();
    let deployment =
        resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(7)).unwrap();
    let renderer = Renderer::new(PodmanVersion::USUAL, "/usr/bin/mcp-agent", &[]).unwrap();
    let set = renderer.render(&deployment, "web.toml").unwrap();
    let checks = set.of(Place::Systemd).filter(|(name, _)| name.starts_with("web-db-check."));
    let container = &set.files[&(Place::Quadlet, "web-db.container".to_owned())];
    LiveUnit {
        name: "web-db.service".to_owned(),
        path: "/u/.config/containers/systemd/web/web-db.container".to_owned(),
        text: released(container, &service.name),
        is_quadlet: true,
        checks: checks
            .map(|(name, text)| (name.to_owned(), released(text, &service.name)))
            .collect(),
    }
}

fn adopted(unit: LiveUnit) -> Adoption {
    let words = ["/usr/bin/podman", "run", "--name=web-db", "--rm", "-d", "localhost/a:1"];
    imported(&[Live { unit: Some(unit), ..live("web-db", &words, "") }])
}

fn released_and_adopted(definition: &str) -> String {
    let imported = adopted(released_unit(definition)).imported;
    assert_eq!(imported.notes, []);
    imported.text
}

const HEAD: &str = "name = \"web\"\ncomment = \"the web\"\n\n[[components]]\nname = \"db\"\nimage = \"localhost/a:1\"\nports = [\"127.0.0.1:40000:53/udp\", \"8080:80\"]\nenv = { FROM_FILE = \"$1\", X = \"a b\" }\n";

#[test]
fn a_check_that_a_person_has_changed_stays_as_it_is() {
    let http = "health = { http = { port = 80, path = \"/h\" }, on_failure = \"restart\" }\n";
    let unit = || released_unit(&format!("{HEAD}{http}"));
    assert!(adopted(unit()).taken[0].is_checked);
    let in_unit = |from: &str, to: &str| {
        let unit = unit();
        assert!(unit.text.contains(from), "{from} {}", unit.text);
        LiveUnit { text: unit.text.replace(from, to), ..unit }
    };
    let in_file = |kind: &str, from: &str, to: &str| {
        let mut unit = unit();
        let text = unit.checks.get_mut(&format!("web-db-check.{kind}")).unwrap();
        assert!(text.contains(from), "{from} {text}");
        *text = text.replace(from, to);
        unit
    };
    let probe = "ExecStartPost=/usr/bin/mcp-agent probe";
    for changed in [
        in_unit("ExecStartPost", "# ExecStartPost"),
        in_unit(probe, "ExecStartPost=-/usr/bin/mcp-agent probe"),
        in_unit(probe, "ExecStartPost=/usr/bin/true\nExecStartPost=/usr/bin/mcp-agent probe"),
        in_unit("/h --", "/h --status=200 --"),
        in_unit("--timeout=5s", "--timeout 3s"),
        in_unit("--deadline=51s", "--deadline=9s"),
        in_unit("127.0.0.1:8080", "127.0.0.2:8080"),
        in_unit("Upholds=web-db-check.timer\n", ""),
        in_file("service", "[Service]", "OnFailure=a.service\n[Service]"),
        in_file("service", "--timeout=5s", "--timeout=6s"),
        in_file("timer", "OnUnitInactiveSec=30s", "OnUnitInactiveSec=7s"),
        LiveUnit { checks: BTreeMap::new(), ..unit() },
    ] {
        let lines: Vec<String> = changed
            .text
            .lines()
            .filter(|line| line.starts_with("ExecStartPost") || line.starts_with("Upholds"))
            .filter_map(|line| Some(line.split_once('=')?.1.to_owned()))
            .collect();
        let Adoption { imported, taken } = adopted(changed);
        assert!(!taken[0].is_checked && !imported.text.contains("health ="), "{}", imported.text);
        assert!(!imported.text.contains("components.health"), "{}", imported.text);
        assert!(!imported.notes.is_empty());
        for line in lines {
            assert!(imported.text.contains(&line), "{line}: {}", imported.text);
        }
    }
}

#[test]
fn a_second_probe_stays_behind_the_one_that_is_read() {
    let unit = released_unit(&format!("{HEAD}health = {{ tcp = 80 }}\n"));
    let more = "[Service]\nExecStartPost=/usr/bin/mcp-agent probe tcp 127.0.0.1:9\n";
    let text = format!("{}{more}", unit.text);
    let Adoption { imported, taken } = adopted(LiveUnit { text, ..unit });
    assert!(taken[0].is_checked && imported.text.contains("tcp = 80"), "{}", imported.text);
    let extra = "ExecStartPost = \"/usr/bin/mcp-agent probe tcp 127.0.0.1:9\"";
    assert!(imported.text.contains(extra), "{}", imported.text);
}

#[test]
fn what_was_released_is_as_small_as_before() {
    for rest in [
        "",
        "health = { tcp = 80 }\n",
        "health = { http = { port = 80, path = \"/h\", host = \"x\" }, on_failure = \"restart\", interval = \"7s\" }\n",
        "health = { grpc = 80, timeout = \"3s\", retries = 5, start_period = \"1m\" }\n",
        "[components.extra.Service]\nRestartSec = \"7\"\nTimeoutStartSec = \"500\"\n",
    ] {
        let before = format!("{HEAD}{rest}");
        let after = released_and_adopted(&before);
        let load = |text: &str| crate::definition::load(text).unwrap();
        assert_eq!(load(&after), load(&before), "{after}");
        let lines =
            |text: &str| text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).count();
        assert!(lines(&after) <= lines(&before) + 4, "{after}");
        assert_eq!(after.contains("extra"), rest.contains("extra"), "{after}");
    }
}

#[test]
fn what_a_person_has_changed_in_a_released_unit_stays() {
    let text = "# Made by MCP for the service web, and released: this file is yours now.\n[Unit]\nDescription=mine\nAfter=mcp-podman.service own.service\nUpholds=web-db-check.timer\n[Container]\nImage=localhost/a:1\n[Service]\nExecStartPost=/usr/bin/mcp-agent probe own\nRestart=no\nRestartSec=5\nRestartSteps=6\n[Install]\nWantedBy=default.target\n";
    let unit = LiveUnit {
        name: "web-db.service".to_owned(),
        path: "/u/web-db.container".to_owned(),
        text: text.to_owned(),
        is_quadlet: true,
        checks: BTreeMap::new(),
    };
    let words = ["/usr/bin/podman", "run", "--name=web-db", "--rm", "-d", "localhost/a:1"];
    let found = imported(&[Live { unit: Some(unit), ..portless("web-db", &words) }]);
    insta::assert_snapshot!(found.imported.text);
}

#[test]
fn a_unit_that_is_before_another_is_a_dependency_of_that_one() {
    let unit = |name: &str, text: &str| {
        let mut live = portless(name, &["podman", "run", "--name", name, "localhost/a:1"]);
        live.unit = Some(LiveUnit {
            name: format!("{name}.service"),
            checks: BTreeMap::new(),
            path: format!("/home/u/.config/containers/systemd/{name}.container"),
            text: format!("{text}[Container]\nImage=localhost/a:1\n"),
            is_quadlet: true,
        });
        live
    };
    let text = imported(&[unit("web-db", "[Unit]\nBefore=web-app.service\n"), unit("web-app", "")])
        .imported
        .text;
    let service = crate::definition::load(&text).unwrap();
    let app = service.components.iter().find(|c| c.name.as_str() == "app").unwrap();
    assert_eq!(app.depends_on.len(), 1, "{text}");
}
