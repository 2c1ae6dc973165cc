//! What means one thing to its source and would mean another to podman.

use super::cases::{compose, made};
use super::*;
use crate::definition;

fn notes(imported: &Imported) -> Vec<String> {
    imported.notes.iter().map(|note| format!("{}: {}", note.kind.as_str(), note.message)).collect()
}

#[test]
fn what_is_included_has_variables_of_its_own() {
    let included = "services:\n  NAME: {image: x, environment: [A], env_file: v.env, extends: {file: base.yaml, service: b}}\n";
    let one = included.replace("NAME", "one");
    let files = [
        (
            "/p/c.yaml",
            "include:\n- {path: a/one.yaml}\n- {path: b/two.yaml, env_file: []}\n- {path: b/three.yaml, env_file: /dev/null}\n",
        ),
        ("/p/a/one.yaml", one.as_str()),
        ("/p/a/.env", "A=of-one\n"),
        ("/p/a/v.env", "B=${A}\n"),
        ("/p/a/base.yaml", "services: {b: {user: '${A}'}}\n"),
        (
            "/p/b/two.yaml",
            "services: {two: {extends: {file: ../a/base.yaml, service: b}, image: x}}\n",
        ),
        ("/p/b/.env", "A=of-two\n"),
        ("/p/b/three.yaml", "services: {three: {image: x, environment: {A: 'x${A}'}}}\n"),
    ];
    let service = definition::load(&compose(&files).unwrap().text).unwrap();
    let find = |name: &str| service.components.iter().find(|c| c.name.as_str() == name).unwrap();
    let one = find("one");
    assert_eq!((one.env["A"].as_str(), one.env["B"].as_str()), ("of-one", "of-one"));
    assert_eq!(one.user.as_deref(), Some("of-one"));
    assert_eq!(find("two").user.as_deref(), Some("of-two"));
    assert_eq!(find("three").env["A"], "x");
}

#[test]
fn networks_and_mounts_that_mean_something_else_to_podman() {
    let text = "services:\n  web: {image: x, networks: [h]}\n  db: {image: x, networks: [odd], volumes: [':/d:ro', {type: bind, source: '', target: /e, read_only: true}]}\n  api: {image: x, networks: [b], hostname: '', mem_limit: 0m, devices: [{source: a.b/c=d, target: /x}, {target: /y}]}\nnetworks:\n  h: {external: true, name: host}\n  b: {external: true, name: bridge}\n  odd: {external: true, name: my_net.network}\n";
    let imported = compose(&[("/a/c.yaml", text)]).unwrap();
    definition::load(&imported.text).unwrap();
    let text = &imported.text;
    assert!(
        text.contains("network = \"host\"") && text.contains("--network=my_net.network"),
        "{text}"
    );
    assert!(text.contains(":/d:ro") && text.contains(":/e:ro"), "{text}");
    assert!(text.contains("AddDevice = \"a.b/c=d\"") && !text.contains("memory"), "{text}");
    let notes = notes(&imported);
    assert!(!notes.iter().any(|note| note.contains("create host")), "{notes:?}");
    assert!(notes.contains(&"lost: one of them has no source".to_owned()), "{notes:?}");
}

fn run_lines(text: &str) -> Imported {
    let source = run::Source::Text { name: "x.sh".to_owned(), text: text.to_owned() };
    let options = run::Options { directory: "/w".to_owned(), home: "/h".to_owned(), name: None };
    run::import(&source, &mut made(&[]), &options).unwrap()
}

#[test]
fn what_a_shell_would_fill_in_is_told_once() {
    for (line, told, says) in [
        (
            "podman run -v $S/c:/c localhost/x",
            "todo: the volume s-c stands for $S/c; write the path",
            "s-c:/c",
        ),
        (
            "docker run -v data:$T localhost/x",
            "changed: what the shell fills in is plain text now",
            "",
        ),
        (
            "podman run --mount type=bind,src=$X/c,dst=/c localhost/x",
            "todo: the volume x-c stands for $X/c; write the path",
            "x-c:/c",
        ),
    ] {
        let notes = notes(&run_lines(line));
        let about: Vec<_> =
            notes.iter().filter(|n| n.contains("shell") || n.contains("stands for")).collect();
        assert_eq!(about, [told], "{line}");
        assert!(run_lines(line).text.contains(says), "{line}");
    }
    let imported = run_lines("docker run -v $PWD:$PWD -w $PWD localhost/x");
    assert_eq!(notes(&imported), Vec::<String>::new());
    assert!(imported.text.contains("/w:/w") && imported.text.contains("working_dir = \"/w\""));
}

#[test]
fn gpus_checks_and_limits_of_docker() {
    for (line, devices) in [
        ("--gpus all", vec!["nvidia.com/gpu=all"]),
        ("--gpus 2", vec!["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        ("--gpus '\"device=0,1:0\"'", vec!["nvidia.com/gpu=0", "nvidia.com/gpu=1:0"]),
        ("--gpus device=a/b", vec![]),
        ("--gpus 0", vec![]),
    ] {
        let imported = run_lines(&format!("docker run {line} --cpus 0 --memory 0m localhost/x"));
        let service = definition::load(&imported.text).unwrap();
        let found: Vec<&str> =
            service.components[0].extra.iter().map(|e| e.value.as_str()).collect();
        assert_eq!(found, devices, "{line}");
        let lost = notes(&imported).iter().filter(|note| note.starts_with("lost")).count();
        assert_eq!(lost, usize::from(line.ends_with("a/b")), "{line}");
    }
    let check = run_lines("docker run --health-cmd 'CMD true' localhost/x");
    assert!(check.text.contains("cmd = \"CMD true\""), "{}", check.text);
}

#[test]
fn an_order_that_another_of_the_pod_says_counts() {
    let mut files = made(&[
        ("/a/x-app.container", "[Container]\nImage=localhost/a\nPod=\"x.pod\"\n"),
        (
            "/a/x-db.container",
            "[Unit]\nBefore=x-app.service\n[Container]\nImage=localhost/b\nPod=x.pod\n",
        ),
        ("/a/x.pod", "[Pod]\n"),
    ]);
    let paths = ["app", "db"].map(|part| format!("/a/x-{part}.container"));
    let (imported, _) = quadlet::import(&paths, &mut files, None).unwrap();
    let service = definition::load(&imported.text).unwrap();
    let waits: Vec<usize> = service.components.iter().map(|c| c.depends_on.len()).collect();
    assert_eq!(waits, [1, 0], "{}", imported.text);
}
