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
  timeout: 10s
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
    networks: {default: , inner: {ipv4_address: 10.93.7.9}}
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
  data: {name: trio_kept, labels: {kind: kept}}
networks:
  back:
  inner: {internal: true, driver_opts: {mtu: "1400"}, ipam: {config: [{subnet: 10.93.7.0/24}]}}
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

    // Networks and volumes are what the file says of them.
    let inner = "podman network inspect -f '{{.Internal}} {{range .Subnets}}{{.Subnet}}{{end}} {{.Options.mtu}}' trio-inner";
    assert_eq!(node.as_mcp(inner, "").ok().text(), "true 10.93.7.0/24 1400");
    let address = "podman exec trio-the-db ip -4 -o address";
    node.as_mcp(address, "").ok().says("10.93.7.9/24");
    let kept = "podman volume inspect -f '{{.Labels.kind}}' trio_kept";
    assert_eq!(node.as_mcp(kept, "").ok().text(), "kept");
    node.as_mcp("! podman volume exists trio-data", "").ok();
    node.mcp(&["boot", "verify"]).ok();
    // Podman changes none that is there: nothing is said to be done that was not.
    let other = "sed 's/10.93.7.0/10.94.7.0/; s/trio_kept/trio_other/' /tmp/imported/trio.toml >/tmp/other.toml";
    node.as_mcp(other, "").ok();
    node.mcp(&["deploy", "trio", "-f", "/tmp/other.toml"])
        .code(1)
        .says("the network trio-inner is there already")
        .says("the volume data is there already");
    // Under other names both come, and the network that nothing uses goes.
    node.as_mcp(
        "sed -i 's/trio-inner/trio-core/; s/10.93.7.9/10.94.7.9/; s/data/more/' /tmp/other.toml",
        "",
    )
    .ok();
    node.mcp(&["deploy", "trio", "-f", "/tmp/other.toml"]).ok();
    node.as_mcp(address, "").ok().says("10.94.7.9/24");
    node.as_mcp("! podman network exists trio-inner && podman volume exists trio_kept", "").ok();
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

/// What podman's generator makes below a directory of a machine: the command
/// line of each unit.
fn generated(node: &Machine, directory: &str) -> BTreeMap<String, Vec<String>> {
    let script =
        format!("QUADLET_UNIT_DIRS={directory} exec /usr/libexec/podman/quadlet -dryrun -user");
    let Answer { command: _, out, err, code } = node.as_mcp(&script, "");
    assert_eq!(code, 0, "{err}");
    let mut found = BTreeMap::new();
    for piece in format!("\n{out}").split("\n---") {
        let Some((name, text)) = piece.split_once("---\n") else { continue };
        let directives = unit_file::directives(text);
        if let Some(line) = unit_file::values(&directives, "Service", "ExecStart").last() {
            found.insert(name.to_owned(), command_line::words(line).unwrap());
        }
    }
    found
}

/// What a network or a volume is made with, less the label that MCP gives.
fn making(words: &[String]) -> Vec<&String> {
    let is_ours = |at: usize| {
        let label = |word: Option<&String>| word.is_some_and(|w| w.starts_with("mcp."));
        label(words.get(at)) || label(words.get(at + 1))
    };
    words.iter().enumerate().filter(|(at, _)| !is_ours(*at)).map(|(_, word)| word).collect()
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

/// Lines in which a definition has its own way: one image, one name, a check
/// that is waited for; one that this podman does not know yet, and one that
/// means nothing.
const NOT_COMPARED: &[&str] = &[
    "Notify=healthy",
    "Rootfs=/x",
    "ContainerName=%p-x",
    "NetworkDeleteOnStop=true",
    "IPv6=perhaps",
];

#[test]
fn podmans_generator_makes_the_same_of_a_quadlet_and_of_its_import() {
    let node = machine();
    node.as_mcp("rm -rf /tmp/was /tmp/is /tmp/units", "").ok();
    for (name, text) in FILES {
        let text: String = text
            .lines()
            .filter(|line| !NOT_COMPARED.contains(line))
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
        let of = |words: &[String]| essence(&Arguments::read(words).unwrap());
        assert_eq!(of(&before[old]), of(&after[new]), "{old} became {new}");
    }
    for (old, new) in [
        ("the-web.service", "systemd-web-network.service"),
        ("blog-network.service", "blog-network.service"),
        ("caddy-data-volume.service", "caddy-data-volume.service"),
        ("data-volume.service", "every-systemd-data-volume.service"),
        ("blog-db-volume.service", "blog-systemd-blog-db-volume.service"),
    ] {
        assert_eq!(making(&before[old]), making(&after[new]), "{old} became {new}");
    }
}
