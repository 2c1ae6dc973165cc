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
    }
}

fn portless(name: &str, words: &[&str]) -> Live {
    let mut live = live(name, words, "");
    live.container.host_config.port_bindings.clear();
    live
}

fn imported(live: &[Live]) -> Adoption {
    import(&"web".parse().unwrap(), live, &mut NoFiles).unwrap()
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
fn a_container_without_a_command_is_refused() {
    let refused = import(&"web".parse().unwrap(), &[live("web", &[], "")], &mut NoFiles);
    assert!(matches!(refused, Err(ContainersError::NoCommand { .. })), "{refused:?}");
}

#[test]
fn a_network_that_was_joined_later_keeps_its_names_and_its_address_is_told() {
    let networks = r#""NetworkSettings": {"Networks": {
        "one": {"IPAddress": "10.1.0.2", "Aliases": ["abababababab"]},
        "two": {"IPAddress": "10.2.0.77", "Aliases": ["zz", "web-app", "abababababab"]}}},"#;
    let mut app = live(
        "web-app",
        &["podman", "run", "--name", "web-app", "--network", "one", "a:1"],
        networks,
    );
    app.container.host_config.port_bindings.clear();
    let Adoption { imported, taken: _ } = imported(&[app]);
    assert!(imported.text.contains("network = [\"one\", \"two\"]"), "{}", imported.text);
    assert!(imported.text.contains("aliases = [\"zz\"]"), "{}", imported.text);
    let told: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|note| note.contains("two.network:ip=10.2.0.77")), "{told:?}");
    assert!(!told.iter().any(|note| note.contains("10.1.0.2")), "{told:?}");
}
