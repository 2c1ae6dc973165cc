//! What is imported runs as it did where it came from.

use std::collections::BTreeMap;

use mcp::quadlet::arguments::Arguments;
use mcp::quadlet::{command_line, unit_file};

use crate::fixture::{Machine, machine};
use crate::run::Answer;

/// Three services that need each other: each is ready only when it has reached
/// the one before it by the name that compose gives it.
const COMPOSE: &str = r#"
x-check: &check
  interval: 2s
  timeout: 2s
  retries: 5

services:
  the_db:
    image: localhost/lab/web:v1
    environment:
      VERSION: ${DB_VERSION:?which version}
      DELAY: "3"
    volumes:
      - data:/data
      - ./conf:/conf:ro
    healthcheck:
      <<: *check
      test: ["CMD", "/bin/health"]
  api:
    image: localhost/lab/web:v1
    container_name: the-old-name
    depends_on:
      the_db: {condition: service_healthy}
    networks: [default, back]
    env_file: [api.env]
    healthcheck:
      <<: *check
      test: wget -q -O - http://the_db:8080/version | grep -x "$$WANTED"
  web:
    image: localhost/lab/web:v1
    command: []
    depends_on: [api]
    networks: [back]
    ports: ["18080:8080"]
    healthcheck:
      <<: *check
      test: ["CMD-SHELL", "wget -q -O /dev/null http://api:8080/health && wget -q -O /dev/null http://the-old-name:8080/health"]
volumes:
  data:
networks:
  back:
"#;

#[test]
fn a_compose_project_is_imported_and_its_services_find_each_other() {
    let node = machine();
    node.write_as_mcp("/srv/mcp/trio/compose.yaml", COMPOSE);
    node.write_as_mcp("/srv/mcp/trio/.env", "DB_VERSION='seven of nine'\n");
    node.write_as_mcp("/srv/mcp/trio/api.env", "WANTED=seven of nine\n");
    node.write_as_mcp("/srv/mcp/trio/conf/file", "kept\n");
    let import = ["import", "compose", "/srv/mcp/trio/compose.yaml", "--out", "/tmp/imported"];
    let view = node.mcp(&[&import[..], &["--force", "--json"]].concat()).ok().json();
    assert_eq!(view["components"], serde_json::json!(["the-db", "api", "web"]));
    // It is there, and is not written again; a change of it is not lost.
    node.mcp(&import).ok().says("unchanged");
    node.as_mcp("echo '# mine' >>/tmp/imported/trio.toml", "").ok();
    node.mcp(&import).code(1).says("--force");
    node.mcp(&["lint", "/tmp/imported/trio.toml"]).ok();

    node.mcp(&["deploy", "trio", "-f", "/tmp/imported/trio.toml"]).ok().says("generation 1");
    let answer = node.get(18080, "/version").unwrap();
    assert_eq!(answer.trim(), "v1");
    let db = node.as_mcp("podman exec trio-the-db cat /tmp/www/version /conf/file", "").ok();
    assert_eq!(db.text(), "seven of nine\nkept");
    // The network of the front is not that of the data base.
    node.as_mcp("podman exec trio-web wget -q -T 3 -O - http://the_db:8080/", "").code(1);
    node.mcp(&["deploy", "trio", "-f", "/tmp/imported/trio.toml"]).ok().says("nothing to do");
}

/// Quadlets with many keys, by file name.
const FILES: &[(&str, &str)] = &[
    ("caddy.container", include_str!("../import/quadlet/caddy.container")),
    ("caddy-data.volume", include_str!("../import/quadlet/caddy-data.volume")),
    ("web.network", include_str!("../import/quadlet/web.network")),
    ("caddy.env", "A=1\n"),
    ("every.container", include_str!("../import/quadlet/every.container")),
    ("every.image", include_str!("../import/quadlet/every.image")),
    ("data.volume", include_str!("../import/quadlet/data.volume")),
    ("blog-app.container", include_str!("../import/quadlet/blog-app.container")),
    ("blog-db.container", include_str!("../import/quadlet/blog-db.container")),
    ("blog-cache.container", include_str!("../import/quadlet/blog-cache.container")),
    ("blog.pod", include_str!("../import/quadlet/blog.pod")),
    ("blog.network", include_str!("../import/quadlet/blog.network")),
    ("blog-db.volume", include_str!("../import/quadlet/blog-db.volume")),
];

/// The `podman run` of each unit that podman's generator makes below a
/// directory of a machine.
fn generated(node: &Machine, directory: &str) -> BTreeMap<String, Arguments> {
    let script =
        format!("QUADLET_UNIT_DIRS={directory} exec /usr/libexec/podman/quadlet -dryrun -user");
    let Answer { command: _, out, err, code } = node.as_mcp(&script, "");
    assert_eq!(code, 0, "{err}");
    let mut found = BTreeMap::new();
    for piece in format!("\n{out}").split("\n---") {
        let Some((name, text)) = piece.split_once("---\n") else { continue };
        let directives = unit_file::directives(text);
        let Some(line) = unit_file::values(&directives, "Service", "ExecStart").last() else {
            continue;
        };
        if let Ok(arguments) = Arguments::read(&command_line::words(line).unwrap()) {
            found.insert(name.to_owned(), arguments);
        }
    }
    found
}

/// What a container is run with, less what MCP gives every one: its name, its
/// labels, how systemd holds it, and that the image is there.
fn essence(arguments: &Arguments) -> Vec<String> {
    const OURS: &[&str] =
        &["--name", "--replace", "--rm", "--detach", "--cgroups", "--pull", "--sdnotify"];
    let mut lines: Vec<String> = arguments
        .options
        .iter()
        .filter(|(flag, value)| {
            let is_ours = match flag.as_str() {
                // Updates are deploys: told as lost.
                "--label" => {
                    ["mcp.", "io.containers.autoupdate"].iter().any(|p| value.starts_with(p))
                }
                "--log-driver" => value == "journald",
                "--stop-timeout" => value == "10",
                "--network-alias" => value.starts_with("systemd-"),
                flag => OURS.contains(&flag),
            };
            !is_ours
        })
        .map(|(flag, value)| {
            // A list in JSON may have blanks.
            let json: Option<Vec<String>> = serde_json::from_str(value).ok();
            let value = json.map_or_else(|| command_line::shown(value), |list| format!("{list:?}"));
            format!("{flag} {value}")
        })
        .collect();
    lines.push(format!("image {}", arguments.image));
    lines
        .extend(arguments.command.iter().map(|word| format!("word {}", command_line::shown(word))));
    lines
}

#[test]
fn podmans_generator_makes_the_same_of_a_quadlet_and_of_its_import() {
    let node = machine();
    node.as_mcp("rm -rf /tmp/was /tmp/is /tmp/units", "").ok();
    for (name, text) in FILES {
        // A definition waits for a check in its own way, and has one image
        // and one name; all other keys are the same.
        let text: String = text
            .lines()
            .filter(|line| !["Notify=healthy", "Rootfs=/x", "ContainerName=%p-x"].contains(line))
            // The options of a network are those of the container.
            .map(|line| line.replace("blog.network:alias=mysql", "blog.network") + "\n")
            .collect();
        node.write_as_mcp(&format!("/tmp/was/{name}"), &text);
    }
    let before = generated(&node, "/tmp/was");
    let import = |files: &[&str]| {
        let files: Vec<String> = files.iter().map(|file| format!("/tmp/was/{file}")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        node.mcp(&[&["import", "quadlet", "--out", "/tmp/is"][..], &files].concat()).ok();
    };
    import(&["caddy.container"]);
    import(&["every.container"]);
    import(&["blog-app.container", "blog-db.container", "blog-cache.container"]);
    for service in ["caddy", "every", "blog"] {
        let file = format!("/tmp/is/{service}.toml");
        node.mcp(&["render", &file, "--podman", "5.4.2", "--out", "/tmp/units"]).ok();
    }
    let after = generated(&node, "/tmp/units/containers/systemd");
    for (old, new) in [
        ("caddy.service", "caddy.service"),
        ("other.service", "every.service"),
        ("blog-db.service", "blog-db.service"),
        ("blog-cache.service", "blog-cache.service"),
    ] {
        let (was, is) = (essence(&before[old]), essence(&after[new]));
        assert_eq!(was, is, "{old} became {new}");
    }
}
