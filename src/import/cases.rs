//! What real files look like, and what becomes of them: every file of
//! `tests/import/` with its definition and notes as recorded.

use super::*;
use crate::definition;

/// The files of `tests/import/`, as if they stood below `/project`.
struct Cases;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import");

impl Files for Cases {
    fn text(&mut self, path: &str) -> Result<Option<String>, String> {
        let Some(rest) = path.strip_prefix("/project") else { return Ok(None) };
        match std::fs::read_to_string(format!("{ROOT}{rest}")) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn exists(&self, path: &str) -> bool {
        matches!(path, "/etc" | "/dev/null" | "/etc/localtime" | "/project/compose/config")
    }
}

fn shown(imported: &Imported, read: &[String]) -> String {
    definition::load(&imported.text).unwrap();
    let notes: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    let read = if read.is_empty() { String::new() } else { format!("\n\nread {}", read.join(" ")) };
    format!("{}\n---\n{}{read}", imported.text, notes.join("\n"))
}

/// Returns where a file of a case seems to stand.
fn seen(path: &std::path::Path) -> String {
    let text = path.to_str().unwrap();
    format!("/project/{}", text.split_once("tests/import/").unwrap().1)
}

fn compose_options() -> compose::Options {
    compose::Options { home: "/home/user".to_owned(), ..compose::Options::default() }
}

#[test]
fn compose_files_become_what_is_recorded() {
    insta::glob!("../../tests/import/compose", "*.yaml", |path| {
        let (imported, read) =
            compose::import(&[seen(path)], &mut Cases, &compose_options()).unwrap();
        insta::assert_snapshot!(shown(&imported, &read));
    });
}

#[test]
fn quadlet_files_become_what_is_recorded() {
    insta::glob!("../../tests/import/quadlet", "{caddy,every,migrate}.container", |path| {
        let (imported, read) = quadlet::import(&[seen(path)], &mut Cases, None).unwrap();
        insta::assert_snapshot!(shown(&imported, &read));
    });
    let blog = ["app", "db", "cache"].map(|part| format!("/project/quadlet/blog-{part}.container"));
    let (imported, read) = quadlet::import(&blog, &mut Cases, None).unwrap();
    insta::assert_snapshot!("a_pod_of_three", shown(&imported, &read));
    let shop =
        ["core", "jobs", "web"].map(|part| format!("/project/quadlet/shop-{part}.container"));
    let (imported, read) = quadlet::import(&shop, &mut Cases, None).unwrap();
    insta::assert_snapshot!("an_order_that_the_first_says", shown(&imported, &read));
}

#[test]
fn command_lines_become_what_is_recorded() {
    let options = run::Options {
        name: None,
        directory: "/project/run".to_owned(),
        home: "/home/user".to_owned(),
    };
    let text = std::fs::read_to_string(format!("{ROOT}/run/start.sh")).unwrap();
    let source = run::Source::Text { name: "start.sh".to_owned(), text };
    let imported = run::import(&source, &mut Cases, &options).unwrap();
    insta::assert_snapshot!("a_script", shown(&imported, &[]));
    let words = "podman run --rm -v ./x:/x -p 80 -e A --bogus=b --health-cmd true --health-on-failure kill docker.io/library/busybox ls -l";
    let words = words.split(' ').map(str::to_owned).collect();
    let imported = run::import(&run::Source::Words(words), &mut Cases, &options).unwrap();
    insta::assert_snapshot!("a_command_line", shown(&imported, &[]));
}

/// Files that are made up in a test.
pub(super) struct Made(std::collections::BTreeMap<String, String>);

impl Files for Made {
    fn text(&mut self, path: &str) -> Result<Option<String>, String> {
        Ok(self.0.get(path).cloned())
    }

    fn exists(&self, _: &str) -> bool {
        true
    }
}

pub(super) fn made(files: &[(&str, &str)]) -> Made {
    Made(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

pub(super) fn compose(files: &[(&str, &str)]) -> Result<Imported, compose::ComposeError> {
    let paths = vec![files[0].0.to_owned()];
    compose::import(&paths, &mut made(files), &compose_options()).map(|(imported, _)| imported)
}

#[test]
fn keys_that_systemd_would_pass_over_are_told() {
    let text = "[Unit]\nAftr=a.service\nX-Own=1\n[Container]\nImage=localhost/a:1\nVolume=v.volume:/v\n[Service]\nRestrat=always\nX-Own=1\n[Install]\nWantdBy=default.target\n";
    let volume = "[Volume]\n[Service]\nNcie=5\nX-Own=1\n";
    let mut files = made(&[("/a/a.container", text), ("/a/v.volume", volume)]);
    let (imported, _) = quadlet::import(&["/a/a.container".to_owned()], &mut files, None).unwrap();
    definition::load(&imported.text).unwrap();
    assert!(imported.text.contains("Restrat = \"always\""), "{}", imported.text);
    let todo = imported.notes.iter().filter(|note| note.kind == NoteKind::Todo);
    let told: Vec<&str> = todo.map(|note| note.message.as_str()).collect();
    assert_eq!(
        told,
        [
            "systemd up to 257 knows no Aftr= in [Unit], and passes it over (did you mean After=?)",
            "systemd up to 257 knows no Restrat= in [Service], and passes it over (did you mean Restart=?)",
            "systemd up to 257 knows no WantdBy= in [Install], and passes it over (did you mean WantedBy=?)",
            "systemd up to 257 knows no Ncie= in [Service], and passes it over (did you mean Nice=?)",
        ]
    );
    let needless = imported.notes.iter().filter(|note| note.message.contains("begins with X-"));
    assert_eq!(needless.count(), 3);
}

#[test]
fn several_compose_files_are_laid_over_each_other() {
    let mut files = made(&[
        ("/a/compose.yaml", "services: {web: {image: x, command: [a], ports: ['1:1']}}"),
        (
            "/a/b/prod.yaml",
            "services: {web: {command: [b], env_file: x.env, ports: !override ['2:2']}, db: {image: $IMG}}",
        ),
        ("/a/x.env", "A=1\n"),
        ("/a/.env", "IMG=postgres:${V:-17}\n"),
    ]);
    let paths = ["/a/compose.yaml", "/a/b/prod.yaml"].map(str::to_owned);
    let (imported, read) = compose::import(&paths, &mut files, &compose_options()).unwrap();
    let service = definition::load(&imported.text).unwrap();
    assert_eq!(service.name.as_str(), "a");
    let web = &service.components[0];
    assert_eq!(
        (web.cmd.as_slice(), web.ports.len(), web.ports[0].host),
        (&["b".to_owned()][..], 1, 2)
    );
    assert_eq!(web.env_files, ["/a/x.env"]);
    let image = service.components[1].image.as_ref().unwrap();
    assert_eq!(image.as_str(), "docker.io/library/postgres:17");
    assert_eq!(read, ["/a/.env", "/a/compose.yaml", "/a/b/prod.yaml", "/a/x.env"]);
}

#[test]
fn variables_that_must_be_set_are_told_all_at_once() {
    let error = compose(&[(
        "/a/c.yaml",
        "services: {web: {image: '${IMG:?}', user: '${WHO?who runs it}'}}",
    )])
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "/a/c.yaml:1:25: IMG must be set\n/a/c.yaml:1:43: WHO must be set: who runs it"
    );
}

#[test]
fn what_compose_would_refuse_is_refused_with_its_place() {
    for (text, says) in [
        ("services: {a: {extends: b, image: x}, b: {extends: a}}", "extends itself"),
        ("services: {a: {extends: {service: a}}}", "extends itself"),
        ("services: {a: {extends: zz}}", "no service zz to extend"),
        ("include: [c.yaml]\nservices: {a: {image: x}}", "included within itself"),
        ("services: [a]", "has no services"),
        ("services: {a: 5}", "is no mapping"),
        ("5", "is a mapping"),
        ("services: {a: {image: '${'}}", "without its }"),
        ("services: {a: {image: x, profiles: [p]}}", "no service is left"),
    ] {
        let error = compose(&[("/a/c.yaml", text)]).unwrap_err().to_string();
        assert!(error.contains(says) && error.starts_with("/a/c.yaml:"), "{text}: {error}");
    }
}

#[test]
fn nothing_that_is_imported_can_break_out_of_its_place() {
    let evil = "\"x\\n[Service]\\nExecStartPre=/bin/evil %n \\\\\"";
    let keys = [
        "image",
        "user",
        "working_dir",
        "hostname",
        "command",
        "entrypoint",
        "stop_signal",
        "container_name",
        "cgroup_parent",
        "pid",
        "security_opt",
        "dns_search",
        "group_add",
        "devices",
        "volumes",
        "tmpfs",
        "environment",
        "labels",
        "extra_hosts",
        "network_mode",
        "networks",
        "ports",
        "restart",
        "userns_mode",
        "shm_size",
        "platform",
        "secrets",
    ];
    for key in keys {
        for value in [
            evil.to_owned(),
            format!("[{evil}]"),
            format!("{{{evil}: {evil}}}"),
            "[[{}]]".to_owned(),
            "\"\\0\"".to_owned(),
        ] {
            let text = format!("services: {{web: {{image: x, {key}: {value}}}}}");
            let text = if key == "image" { text.replace("image: x, ", "") } else { text };
            match compose(&[("/a/c.yaml", &text)]) {
                Ok(imported) => {
                    let service = definition::load(&imported.text).unwrap();
                    for extra in &service.components[0].extra {
                        assert!(!extra.value.contains('\n'), "{text}");
                    }
                }
                Err(error) => assert!(!error.to_string().is_empty(), "{text}"),
            }
        }
    }
}

#[test]
fn what_a_definition_cannot_say_is_taken_out_and_told() {
    let imported = compose(&[(
        "/a/c.yaml",
        "services: {web: {image: x, ports: ['80:80', '80:81'], user: 'a b', hostname: ok, stop_signal: '?'}}",
    )])
    .unwrap();
    let service = definition::load(&imported.text).unwrap();
    assert_eq!(service.components[0].ports.len(), 1);
    assert_eq!(service.components[0].hostname.as_deref(), Some("ok"));
    assert_eq!(
        lost(&imported),
        ["services.web: user", "services.web: ports[1]", "services.web: stop_signal"]
    );
    assert!(imported.text.contains("# Not carried over: user:"), "{}", imported.text);
}

/// Returns what could not be carried over.
fn lost(imported: &Imported) -> Vec<&str> {
    let lost = imported.notes.iter().filter(|note| note.kind == NoteKind::Lost);
    lost.map(|note| note.what.as_str()).collect()
}

#[test]
fn a_variable_that_is_filled_with_nothing_is_set() {
    let text = "services:\n  web:\n    image: x\n    environment:\n      A: ${A:-}\n      B: ${NOPE}\n      C:\n      D: '${D:-}'\n    mem_limit: ${M:-}\n";
    let imported = compose(&[("/a/compose.yaml", text)]).unwrap();
    let service = definition::load(&imported.text).unwrap();
    let env: Vec<(&str, &str)> =
        service.components[0].env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(env, [("A", ""), ("B", ""), ("D", "")]);
    assert_eq!(lost(&imported), ["services.web.environment.C"]);
}

#[test]
fn files_that_are_none_are_told() {
    let mut none = made(&[]);
    let path = vec!["/a/x.container".to_owned()];
    assert!(quadlet::import(&path, &mut none, None).is_err());
    let mut files = made(&[("/a/x@.container", "[Container]\nImage=x\n"), ("/a/y.kube", "")]);
    let paths = ["/a/x@.container", "/a/y.kube"].map(str::to_owned);
    assert_eq!(
        quadlet::import(&paths, &mut files, None).unwrap_err(),
        quadlet::QuadletError::NoContainer
    );
    for (junk, line) in [("[Container\nImage=x\n", 1), ("[Container]\nImage\n", 2)] {
        let mut files = made(&[("/a/x.container", junk)]);
        let told = quadlet::import(&path, &mut files, None).unwrap_err().to_string();
        assert!(told.contains(&format!("line {line} is no KEY=VALUE")), "{told}");
    }
    let garbage = "[Container]\nImage=\nExec=\"\nEnvironment='\nVolume=:\nPublishPort=::::\n";
    let mut files = made(&[("/a/x.container", garbage)]);
    let (imported, _) = quadlet::import(&path, &mut files, None).unwrap();
    definition::load(&imported.text).unwrap();
    let words = vec!["podman".to_owned(), "run".to_owned()];
    assert!(run::import(&run::Source::Words(words), &mut none, &run::Options::default()).is_err());
}

#[test]
fn images_that_are_none_are_told_all_at_once() {
    let text = "services:\n  web: {image: '$REGISTRY/web:$TAG'}\n  db:\n    image: 'x:'\n  api: {image: 'good$TAG'}\n  q: {image: 'q:${TAG}'}\n";
    let error = compose(&[("/a/compose.yaml", text)]).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines[0],
        "/a/compose.yaml:2:16: services.web.image: REGISTRY and TAG are not set, and \"/web:\" is no image without"
    );
    assert!(lines[1].starts_with("/a/compose.yaml:4:12: services.db.image: "), "{error}");
    assert!(lines[2].contains("services.q.image: TAG is not set, and \"q:\""), "{error}");
    assert_eq!(lines.len(), 3, "{error}");
    // As compose does, where what is left is an image.
    let good = text.replace("'$REGISTRY/web:$TAG'", "a").replace("'x:'", "b").replace("q:$", "q$");
    let imported = compose(&[("/a/compose.yaml", &good)]).unwrap();
    assert!(imported.text.contains("image = \"docker.io/library/good\""), "{}", imported.text);
    let told: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("/a/compose.yaml:5:16: changed: ${TAG}: "), "{told:?}");
}

#[test]
fn a_dependency_that_is_not_required_is_none_that_stops_anything() {
    let text = "services:\n  web: {image: a, depends_on: {db: {condition: service_started, required: false, restart: true}, off: {condition: service_started, required: false}}}\n  db: {image: b}\n  off: {image: c, profiles: [p]}\n";
    let imported = compose(&[("/a/compose.yaml", text)]).unwrap();
    let service = definition::load(&imported.text).unwrap();
    let web = &service.components[0];
    assert_eq!(web.depends_on, []);
    let edges: Vec<String> = web.extra.iter().map(|e| format!("{}={}", e.key, e.value)).collect();
    assert_eq!(edges, ["After=a-db.service", "Wants=a-db.service"]);
    let lost = imported.notes.iter().filter(|note| note.kind == NoteKind::Lost);
    let lost: Vec<&str> = lost.map(|note| note.what.as_str()).collect();
    assert_eq!(lost, ["services.web.depends_on.db.restart", "services.off"]);
}

#[test]
fn what_a_pod_says_of_all_is_said_of_each() {
    let pod = |userns: &str| {
        let pod = format!("[Pod]\nUserNS={userns}\nHostName=ph\nShmSize=70m\nPublishPort=1:1\n");
        let files = [
            ("/a/p.pod", pod.as_str()),
            ("/a/p-x.container", "[Container]\nImage=localhost/x\nPod=p.pod\n"),
            ("/a/p-y.container", "[Container]\nImage=localhost/y\nPod=p.pod\nHostName=own\n"),
        ];
        let paths = ["/a/p-x.container", "/a/p-y.container"].map(str::to_owned);
        quadlet::import(&paths, &mut made(&files), None).unwrap().0
    };
    let imported = pod("keep-id:uid=5");
    let service = definition::load(&imported.text).unwrap();
    for component in &service.components {
        assert_eq!(component.userns.as_deref(), Some("keep-id:uid=5"), "{}", imported.text);
        assert_eq!(component.shm_size.as_deref(), Some("70m"));
    }
    let names: Vec<_> = service.components.iter().map(|c| c.hostname.as_deref()).collect();
    assert_eq!(names, [Some("ph"), Some("own")]);
    let lost = |imported: &Imported| {
        // Every path is there, drop-ins too.
        let is_lost = |n: &&Note| n.kind == NoteKind::Lost && !n.what.ends_with("drop-ins");
        imported.notes.iter().filter(is_lost).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(lost(&imported), [""; 0]);
    let told = lost(&pod("auto"));
    assert!(told.len() == 1 && told[0].contains("UserNS"), "{told:?}");
}

#[test]
fn a_pod_is_held_by_a_container_that_waits_for_no_other_of_it() {
    let mut files = made(&[
        (
            "/a/x-app.container",
            "[Unit]\nRequires=x-db.service\n[Container]\nImage=localhost/a\nPod=x.pod\n[Service]\nSockets=x.socket\n",
        ),
        ("/a/x-db.container", "[Container]\nImage=localhost/b\nPod=x.pod\n"),
        (
            "/a/x-job.container",
            "[Container]\nImage=localhost/c\nPod=x.pod\n[Service]\nType=oneshot\nTimeoutStartSec=600\n",
        ),
        (
            "/a/x.pod",
            "[Pod]\nNetwork=x.network\n[Service]\nRestart=always\nRestartSec=25\n[Install]\nWantedBy=default.target\n",
        ),
        ("/a/x.network", "[Network]\nNetworkName=xnet\nInternal=true\n"),
    ]);
    let paths = ["app", "db", "job"].map(|part| format!("/a/x-{part}.container"));
    let (imported, read) = quadlet::import(&paths, &mut files, Some("y")).unwrap();
    assert_eq!(read.len(), 5, "what a pod names is read as well: {read:?}");
    insta::assert_snapshot!(shown(&imported, &[]));
}

#[test]
fn keys_and_sections_that_nobody_knows_are_told_with_what_was_meant() {
    let mut files = made(&[
        (
            "/a/x.container",
            "[Container]\nImage=localhost/x\nPublishPorts=1:1\nNetwork=x.network\nPod=x.pod\n[Contaner]\nUser=1\n[X-Mine]\nA=1\n",
        ),
        ("/a/x.network", "[Network]\nGatway=10.1.1.1\n"),
        ("/a/x.pod", "[Pod]\nPodNam=x\n"),
    ]);
    let (imported, _) = quadlet::import(&["/a/x.container".to_owned()], &mut files, None).unwrap();
    let told = imported.notes.iter().filter(|note| note.message.contains("did you mean"));
    let told: Vec<String> = told.map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "/a/x.container:3:1: todo: x.container.Container.PublishPorts: podman up to 5.8 knows no PublishPorts= in [Container], and refuses the file (did you mean PublishPort=?)",
            "/a/x.container:7:1: lost: x.container.Contaner.User: podman and systemd pass [Contaner] over (did you mean [Container]?)",
            "/a/x.network:2:1: todo: x.network.Network.Gatway: podman up to 5.8 knows no Gatway= in [Network], and refuses the file (did you mean Gateway=?)",
            "/a/x.pod:2:1: lost: x.container.Pod.PodNam: podman up to 5.8 knows no PodNam= in [Pod], and refuses the file (did you mean PodName=?)",
        ]
    );
    // A newer podman may know it: it is written, and no mistake.
    assert!(imported.text.contains("PublishPorts"), "{}", imported.text);
    definition::load(&imported.text).unwrap();
}
