//! Any value comes out of podman's generator, and into the container, as it
//! went into the definition.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use base64::Engine as _;
use mcp::deployment::{Deployment, Leases, NodeFacts, ports, resolve};
use mcp::names::Generation;
use mcp::quadlet::arguments::Arguments;
use mcp::quadlet::render::unit_of;
use mcp::quadlet::{Place, PodmanVersion, Renderer, UnitSet, command_line, proof, unit_file};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::Serialize;

use crate::fixture::{Machine, lab_command, machine};
use crate::run::Answer;

/// What means something to TOML, Quadlet, systemd, podman or a shell.
const PIECES: &[&str] = &[
    "%n",
    "%%",
    "%h",
    "%",
    "$X",
    "${HOME}",
    "$$",
    "$",
    "\\",
    "\\\\",
    "\\n",
    "\\x41",
    "\\u0041",
    "\"",
    "'",
    "`",
    "\n",
    "\t",
    " ",
    "  ",
    ";",
    "#",
    "=",
    ",",
    ":",
    "--privileged",
    " --privileged ",
    "-v /:/host",
    "\n[Service]\nUser=root\n",
    "[Container]",
    "\nExec=sh",
    "\\\n",
    "; ;",
    "${MCP_EMPTY}",
    "@",
    "!",
    "+",
    "*",
    "~",
    "{}",
    "{{ x }}",
    "{% x %}",
    "\u{e9}",
    "\u{2028}",
    "\u{1f980}",
    "\u{feff}",
    "true",
    "-",
    "/",
    "../",
    "ä=ö",
];

/// Any text that a value may be: control characters aside, which are refused.
fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(PIECES).prop_map(str::to_owned),
        2 => any::<char>().prop_filter("refused", |c| !c.is_control()).prop_map(String::from),
        2 => "[ -~]{1,8}",
        1 => Just(String::new()),
    ];
    proptest::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat())
}

#[derive(Debug, Serialize)]
struct Definition {
    name: String,
    components: Vec<Component>,
}

/// A component whose values are arbitrary.
#[derive(Debug, Serialize)]
struct Component {
    name: String,
    image: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    cmd: Vec<String>,
    env: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// Values of one kind for a component, from few to several.
fn values(runner: &mut TestRunner, most: usize) -> Vec<String> {
    let strategy = proptest::collection::vec(value(), 0..=most);
    strategy.new_tree(runner).unwrap().current()
}

fn named(prefix: &str, values: Vec<String>) -> BTreeMap<String, String> {
    values.into_iter().enumerate().map(|(n, v)| (format!("{prefix}{n}"), v)).collect()
}

fn definitions(runner: &mut TestRunner, services: usize, components: usize) -> Vec<Definition> {
    (0..services)
        .map(|service| Definition {
            name: format!("s{service}"),
            components: (0..components)
                .map(|component| Component {
                    name: format!("c{component}"),
                    image: "localhost/lab/web:v1",
                    entrypoint: None,
                    cmd: values(runner, 4),
                    env: named("V", values(runner, 4)),
                    labels: named("l.", values(runner, 2)),
                    annotations: named("a.", values(runner, 2)),
                })
                .collect(),
        })
        .collect()
}

/// What podman's generator makes of the units below a directory.
struct Generated {
    units: BTreeMap<String, String>,
    messages: Vec<String>,
}

/// Copies a directory to a machine and asks the generator there.
fn generate(node: &Machine, directory: &std::path::Path) -> Generated {
    let target = format!("{}:/tmp/units", node.name());
    node.as_mcp("rm -rf /tmp/units", "").ok();
    lab_command(&["cp", "--user", directory.to_str().unwrap(), &target]).ok();
    let script = "QUADLET_UNIT_DIRS=/tmp/units exec /usr/libexec/podman/quadlet -dryrun -user";
    let Answer { out, err, .. } = node.as_mcp(script, "");
    let mut units: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in out.lines() {
        match line.strip_prefix("---").and_then(|l| l.strip_suffix("---")) {
            Some(unit) if unit.ends_with(".service") => unit.clone_into(&mut name),
            _ => units.entry(name.clone()).or_default().extend([line, "\n"]),
        }
    }
    let messages = err.lines().filter(|l| !l.contains("Loading source unit file"));
    Generated { units, messages: messages.map(str::to_owned).collect() }
}

/// Reads the only command line of a unit that nobody but podman's generator
/// may have written.
#[track_caller]
fn arguments(text: &str) -> Arguments {
    let directives = unit_file::directives(text);
    let runs: Vec<&str> = directives
        .iter()
        .filter(|d| d.section == "Service" && d.key.starts_with("Exec"))
        .map(|d| d.key.as_str())
        .collect();
    assert_eq!(runs, ["ExecStop", "ExecStopPost", "ExecStart"], "{text}");
    let line = unit_file::values(&directives, "Service", "ExecStart").next().unwrap();
    Arguments::read(&command_line::words(line).unwrap()).unwrap()
}

/// Options of a flag whose value is `NAME=value`, less those of MCP itself.
fn pairs(arguments: &Arguments, flag: &str) -> BTreeMap<String, String> {
    arguments
        .options
        .iter()
        .filter(|(f, value)| f == flag && !value.starts_with("mcp."))
        .map(|(_, value)| {
            let (name, value) = value.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

#[test]
fn podmans_generator_reads_every_value_as_it_was_written() {
    /// What such a component may bring to podman, and nothing else.
    const FLAGS: &[&str] = &[
        "--name",
        "--cidfile",
        "--replace",
        "--rm",
        "--detach",
        "--log-driver",
        "--cgroups",
        "--stop-timeout",
        "--pull",
        "--sdnotify",
        "--env",
        "--label",
        "--annotation",
    ];
    let node = machine();
    let mut runner = TestRunner::deterministic();
    let definitions = definitions(&mut runner, 30, 10);
    let directory = tempfile::tempdir().unwrap();
    for definition in &definitions {
        let file = directory.path().join("definition");
        let text = toml::to_string(definition).unwrap();
        mcp::atomic_file::write(&file, text.as_bytes(), 0o644).unwrap();
        let mut render = Command::new(env!("CARGO_BIN_EXE_mcp"));
        render.args(["render", "--podman", "5.4.2"]).arg(&file);
        render.arg("--out").arg(directory.path().join("units"));
        Answer::of(&mut render, "").ok();
    }
    let generated = generate(&node, &directory.path().join("units/containers/systemd"));
    assert_eq!(generated.messages, [""; 0]);
    assert_eq!(generated.units.len(), 300, "one unit a component, and none that was smuggled in");
    for definition in &definitions {
        for component in &definition.components {
            let unit = format!("{}-{}.service", definition.name, component.name);
            let read = arguments(&generated.units[&unit]);
            assert_eq!(read.command, component.cmd, "{unit}");
            assert_eq!(read.image, component.image, "{unit}");
            assert_eq!(pairs(&read, "--env"), component.env, "{unit}");
            assert_eq!(pairs(&read, "--label"), component.labels, "{unit}");
            assert_eq!(pairs(&read, "--annotation"), component.annotations, "{unit}");
            for (flag, _) in &read.options {
                assert!(FLAGS.contains(&flag.as_str()), "{unit}: {flag}");
            }
        }
    }
}

/// What a container got.
#[derive(Debug)]
struct Arrived {
    argv: Vec<String>,
    environ: Vec<String>,
    labels: BTreeMap<String, String>,
}

#[test]
fn every_value_arrives_in_the_container_as_it_was_written() {
    let node = machine();
    let mut runner = TestRunner::deterministic();
    // Past the values that the generator has read in the test above.
    let mut definition = definitions(&mut runner, 40, 10).pop().unwrap();
    definition.name = "values".to_owned();
    for (component, pieces) in definition.components.iter_mut().zip(PIECES.chunks(6)) {
        component.cmd.extend(pieces.iter().map(|p| (*p).to_owned()));
        component.env.extend(named("P", pieces.iter().map(|p| (*p).to_owned()).collect()));
    }
    // Words of an entrypoint go another way.
    let words = ["/bin/env", "E=%n $X \"q\" 'r' \\ ; \u{1f980}", "/bin/app"];
    definition.components[0].entrypoint = Some(words.map(str::to_owned).to_vec());
    let before = node.unit_files();
    node.deploy(&toml::to_string(&definition).unwrap()).ok();

    let script = "for c in $(seq 0 9); do
        podman exec values-c$c sh -c 'base64 -w0 /proc/1/cmdline; echo; base64 -w0 /proc/1/environ; echo'
        podman inspect -f '{{json .Config.Labels}}' values-c$c; done";
    let told = node.as_mcp(script, "").ok();
    let lines: Vec<&str> = told.out.lines().collect();
    let words = |line: &str| -> Vec<String> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(line).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    };
    let arrived = |lines: &[&str]| Arrived {
        argv: words(lines[0]),
        environ: words(lines[1]),
        labels: serde_json::from_str(lines[2]).unwrap(),
    };
    let seen: Vec<Arrived> = lines.chunks(3).map(arrived).collect();
    assert_eq!(seen.len(), 10);
    for (component, Arrived { argv, environ, labels }) in definition.components.iter().zip(&seen) {
        assert_eq!(argv[..2], ["/bin/sh", "/bin/app"]);
        assert_eq!(argv[2..], component.cmd, "{}", component.name);
        for (name, value) in &component.env {
            assert!(environ.contains(&format!("{name}={value}")), "{name}={value:?}: {environ:?}");
        }
        for (name, value) in &component.labels {
            assert_eq!(labels.get(name), Some(value));
        }
    }
    assert!(
        seen[0].environ.contains(&"E=%n $X \"q\" 'r' \\ ; \u{1f980}".to_owned()),
        "{:?}",
        seen[0]
    );

    let after = node.unit_files();
    let new = after.lines().filter(|l| !before.lines().any(|b| b == *l));
    let (ours, others): (Vec<&str>, Vec<&str>) = new.partition(|l| l.contains("/mcp/values/"));
    assert_eq!(ours.iter().filter(|l| l.ends_with(".container")).count(), 10, "{ours:?}");
    assert_eq!(others.len(), 4, "three targets and a link: {others:?}");
    node.mcp(&["undeploy", "values"]).ok();
    assert_eq!(node.unit_files(), before);
}

/// What is put into every text of a definition.
fn smuggled(text: &str) -> Vec<String> {
    let mut all: Vec<String> = [
        "--privileged",
        "-v=/:/host",
        "%n",
        "%",
        "$HOME",
        "$",
        "\\",
        "\"",
        "'",
        "a b",
        "a\"b",
        "a\\",
        "../../etc",
        "/etc/../root",
        "",
        " ",
        ";",
        "#",
        "=",
        ":",
        ",",
        "a\nb",
        "a\tb",
        "a\0b",
        "\u{1b}[31m",
        "\u{1f980}",
    ]
    .map(str::to_owned)
    .into();
    for tail in [
        " --privileged",
        "\n--privileged",
        "\nPodmanArgs=--privileged",
        "\" --privileged \"",
        "' --privileged '",
        "\\\nPodmanArgs=--privileged",
        "=--privileged",
        ",--privileged",
        ":--privileged",
        "%n",
        "$HOME",
        "\\",
        "\"",
    ] {
        all.push(format!("{text}{tail}"));
    }
    all
}

/// Returns every copy of a value in which one text is replaced.
fn mutations(value: &toml::Value, path: &str) -> Vec<(String, toml::Value)> {
    match value {
        toml::Value::String(text) => smuggled(text)
            .into_iter()
            .map(|new| (format!("{path} = {new:?}"), toml::Value::String(new)))
            .collect(),
        toml::Value::Array(items) => {
            let each = items.iter().enumerate().flat_map(|(index, item)| {
                mutations(item, &format!("{path}[{index}]")).into_iter().map(move |m| (index, m))
            });
            each.map(|(index, (what, new))| {
                let mut items = items.clone();
                items[index] = new;
                (what, toml::Value::Array(items))
            })
            .collect()
        }
        toml::Value::Table(table) => {
            // Verbatim by design, and shown and audited as such.
            let keys = table.keys().filter(|key| *key != "extra");
            let each = keys.flat_map(|key| {
                mutations(&table[key], &format!("{path}.{key}")).into_iter().map(move |m| (key, m))
            });
            each.map(|(key, (what, new))| {
                let mut table = table.clone();
                table.insert(key.clone(), new);
                (what, toml::Value::Table(table))
            })
            .collect()
        }
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => Vec::new(),
    }
}

/// Renders as `mcp render` does; none if anything is refused.
fn rendered(text: &str, renderer: &Renderer) -> Option<(Deployment, UnitSet)> {
    let service = mcp::definition::load(text).ok()?;
    let ports =
        ports::lease(&service, &Leases::new(), &BTreeSet::new(), &(10_000..=60_000), |_| true);
    let facts = NodeFacts::default();
    let deployment = resolve(&service, &facts, &ports.unwrap(), None, Generation(1)).ok()?;
    let set = renderer.render(&deployment, "everything.toml").ok()?;
    Some((deployment, set))
}

#[expect(clippy::disallowed_methods, reason = "thousands of files that need not outlive the test")]
fn put(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn nothing_that_is_smuggled_into_any_text_becomes_an_option_or_a_directive() {
    const AGENT: &str = "/usr/bin/mcp-agent";
    let node = machine();
    let everything: toml::Value =
        toml::from_str(include_str!("../../examples/everything.toml")).unwrap();
    let renderer = Renderer::new(PodmanVersion::USUAL, AGENT, &[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mutations = mutations(&everything, "");
    let (mut accepted, all) = (Vec::new(), mutations.len());
    for (what, mut value) in mutations {
        // All go through the generator together, each as a service of its own.
        if value["name"].as_str() == Some("everything") {
            value["name"] = format!("m{}", accepted.len()).into();
        }
        let Some((deployment, set)) = rendered(&toml::to_string(&value).unwrap(), &renderer) else {
            continue;
        };
        // One directory: podman's generator takes the square of their number.
        for (name, text) in set.of(Place::Quadlet) {
            put(&directory.path().join(name), text);
        }
        accepted.push((what, deployment, set));
    }
    assert!(
        accepted.len() > all / 10 && accepted.len() < all * 9 / 10,
        "{} of {all}",
        accepted.len()
    );

    let generated = generate(&node, directory.path());
    let known = |l: &&String| !l.contains("short-name") && !l.contains("is not a fully qualified");
    let messages: Vec<&String> = generated.messages.iter().filter(known).collect();
    assert!(messages.is_empty(), "{messages:?}");
    let mut expected: Vec<String> = accepted
        .iter()
        .flat_map(|(_, _, set)| set.of(Place::Quadlet).map(|(name, _)| unit_of(name)))
        .collect();
    expected.sort();
    expected.dedup();
    assert_eq!(generated.units.keys().cloned().collect::<Vec<_>>(), expected);
    let differences: Vec<String> = accepted
        .iter()
        .flat_map(|(what, deployment, _)| {
            let found = proof::compare(deployment, AGENT, &generated.units);
            found.into_iter().map(move |difference| format!("{what}: {difference}"))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for (what, deployment, _) in &accepted {
        for container in &deployment.containers {
            let text = &generated.units[container.name.unit().as_str()];
            let directives = unit_file::directives(text);
            let line = unit_file::values(&directives, "Service", "ExecStart").next().unwrap();
            let read = Arguments::read(&command_line::words(line).unwrap()).unwrap();
            assert!(read.options.iter().all(|(flag, _)| flag != "--privileged"), "{what}: {line}");
        }
    }
}
