//! Definitions and requests made to break in.

use mcp::rpc::agent_v1::{DeployRequest, LogsRequest, ServiceRequest, UndeployRequest};
use mcp::rpc::client::{self, AgentClient, Endpoint};
use mcp::rpc::tls::Trust;
use mcp::secret::Secret;
use tonic::Code;

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with};
use crate::fixture::{Machine, machine};

/// Definitions of `victim` that nobody may accept, each by what is wrong.
fn refused() -> Vec<(&'static str, String)> {
    let base = with(LONE, "lone", "victim");
    let line = |line: &str| with(&base, "image = ", &format!("{line}\nimage = "));
    let table = |text: &str| format!("{base}\n{text}\n");
    let named = |name: &str| with(&base, "name = \"victim\"\n\n", &format!("name = {name}\n\n"));
    let mut all = vec![
        ("newline in the name", named("\"victim\\nX\"")),
        ("way up in the name", named("\"../victim\"")),
        ("slash in the name", named("\"a/b\"")),
        ("specifier in the name", named("\"%n\"")),
        ("option as the name", named("\"--privileged\"")),
        ("a name of systemd", named("\"default\"")),
        ("a name of the agent", named("\"mcp\"")),
        ("a name that never ends", named(&format!("\"{}\"", "a".repeat(300)))),
        ("newline in the image", with(&base, "web:v1", "web:v1\\nPodmanArgs=--privileged")),
        ("option as the image", with(&base, "localhost/lab/web:v1", "--privileged")),
        ("specifier in the image", with(&base, "web:v1", "web:%n")),
        ("way up in a mount", line("volumes = [\"/srv/../etc:/etc\"]")),
        ("way up as a volume", line("volumes = [\"../../etc:/etc\"]")),
        ("option in a mount", line("volumes = [\"data:/data:ro,--privileged\"]")),
        ("newline in a mount", line("volumes = [\"data:/data\\nExec=sh\"]")),
        ("a volume named by a specifier", line("volumes = [\"%h:/data\"]")),
        ("newline in the host name", line("hostname = \"a\\nUser=0\"")),
        ("option as the host name", line("hostname = \"--privileged\"")),
        ("blank in the user", line("user = \"0 --privileged\"")),
        ("option as the network", line("network = \"--privileged\"")),
        ("mode of podman as the network", line("network = \"container:victim\"")),
        ("option as a capability", line("capabilities = { add = [\"--privileged\"] }")),
        ("newline in a label's name", line("labels = { \"a\\nb\" = \"c\" }")),
        ("blank in a variable's name", line("env = { \"A B\" = \"c\" }")),
        ("newline in a variable's name", line("env = { \"A\\nB\" = \"c\" }")),
        ("zero byte in a variable", line("env = { A = \"a\\u0000b\" }")),
        ("escape sequence in a variable", line("env = { A = \"\\u001b[2J\" }")),
        ("way up in a file of variables", line("env_files = [\"/srv/../etc/shadow\"]")),
        ("relative file of variables", line("env_files = [\"etc/shadow\"]")),
        ("newline in an extra key", line("extra = { Service = { Nice = \"1\\nUser=root\" } }")),
        ("newline as an extra key", line("extra = { Service = { \"Nice\\nUser\" = \"1\" } }")),
        (
            "backslash at an extra key's end",
            line("extra = { Unit = { Documentation = \"a\\\\\" } }"),
        ),
        ("an extra section", line("extra = { Install = { WantedBy = \"default.target\" } }")),
        ("a key that MCP owns", line("extra = { Service = { ExecStart = \"/bin/sh\" } }")),
        ("an unknown key", line("privileged = true")),
        ("option as podman's name of a volume", table("[volumes.data]\nname = \"--privileged\"")),
        ("way up as a network", table("[networks.\"../../x\"]\ninternal = true")),
        ("newline in a subnet", table("[networks.x]\nsubnets = [\"10.0.0.0/8\\nDNS=1.1.1.1\"]")),
        (
            "newline in a line of a network",
            table(
                "[networks.x.extra.Network]\nDNS = \"1.1.1.1\\n[Service]\\nExecStartPre=/bin/sh\"",
            ),
        ),
        (
            "another name of a network",
            table("[networks.x.extra.Network]\nNetworkName = \"podman\""),
        ),
        (
            "a section of a container in a volume",
            table("[volumes.data.extra.Container]\nPodmanArgs = \"--privileged\""),
        ),
        (
            "newline in the comment",
            with(&base, "victim\"\n\n", "victim\"\ncomment = \"a\\nb\"\n\n"),
        ),
        ("no TOML", "name = \"victim\"\n[[components".to_owned()),
        ("nothing", String::new()),
    ];
    let component =
        |n: usize| format!("[[components]]\nname = \"c{n}\"\nimage = \"localhost/a:1\"\n");
    let many = (0..10_000).fold("name = \"victim\"\n".to_owned(), |all, n| all + &component(n));
    all.push(("10,000 components", many));
    all.push(("10 MB", format!("{base}\n# {}\n", "x".repeat(10 << 20))));
    all
}

#[test]
fn hostile_files_are_refused_and_change_nothing() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = (node.unit_files(), node.podman_things(), node.invocations(&PAIR_UNITS));
    let directory = tempfile::tempdir().unwrap();
    let refused = refused();
    for (number, (_, text)) in refused.iter().enumerate() {
        let path = directory.path().join(format!("{number:02}.toml"));
        mcp::atomic_file::write(&path, text.as_bytes(), 0o644).unwrap();
    }
    let source = directory.path().to_str().unwrap();
    crate::fixture::lab_command(&[
        "cp",
        "--user",
        source,
        &format!("{}:/tmp/hostile", node.name()),
    ])
    .ok();

    let script = "cd /tmp/hostile; head -c 100000 /dev/urandom >90.toml; head -c 1000 /dev/zero >91.toml
        printf '\\357\\273\\277name' >92.toml; printf 'name = \"\\377\\376\"' >93.toml; mkdir 94.toml
        for f in *.toml; do
            timeout 120 mcp deploy victim -f $f >$f.out 2>&1 && code=0 || code=$?; echo $f $code
            grep -q . $f.out || echo $f is silent
        done";
    let told = node.as_mcp(script, "").ok();
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(lines.len(), refused.len() + 5, "{told:?}");
    for line in lines {
        let (number, code) = line.split_once(".toml ").unwrap();
        let number: usize = number.parse().unwrap();
        let what = refused.get(number).map_or("no text at all", |(what, _)| *what);
        assert_eq!(code, "2", "{what}");
    }
    // Nobody's terminal is at risk, whatever is quoted.
    node.as_mcp("! grep -l \"$(printf '\\033')\" /tmp/hostile/*.out; rm -r /tmp/hostile", "").ok();
    let after = (node.unit_files(), node.podman_things(), node.invocations(&PAIR_UNITS));
    assert_eq!(after, before);
}

/// Connects to a machine's agent as an operator without our command line in
/// between.
async fn connect(node: &Machine, fingerprint: &str, token: &str) -> AgentClient {
    let endpoint = Endpoint::Tls {
        addresses: vec![format!("{}:9444", node.address())],
        trust: Trust::Pin(fingerprint.parse().unwrap()),
    };
    client::connect(&endpoint, Some(&Secret::new(token.to_owned()))).await.unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn the_agent_does_not_rely_on_its_clients() {
    let node = machine();
    node.deploy(PAIR).ok();
    let (pin, token) = (node.serve_tcp(), node.token("ops", "operator"));
    let before = (node.unit_files(), node.podman_things(), node.invocations(&PAIR_UNITS));

    runtime().block_on(async {
        let mut agent = connect(&node, &pin, &token).await;
        for (what, definition) in refused() {
            let request = || DeployRequest {
                definition: definition.clone(),
                file_name: "victim.toml".to_owned(),
                component: String::new(),
                pull: false,
            };
            let plan = agent.plan(request()).await.map(|_| ()).unwrap_err();
            assert_eq!(plan.code(), Code::InvalidArgument, "{what}: {plan:?}");
            let deploy = agent.deploy(request()).await.map(|_| ()).unwrap_err();
            assert_eq!(deploy.code(), Code::InvalidArgument, "{what}: {deploy:?}");
        }
        for name in ["../pair", "pair\n", "%n", "--all", "", "pair/api", "*"] {
            let service = name.to_owned();
            let request = ServiceRequest { service: service.clone(), component: String::new() };
            let refusals = [
                agent.stop(request.clone()).await.map(|_| ()),
                agent.start(request.clone()).await.map(|_| ()),
                agent.restart(request.clone()).await.map(|_| ()),
                agent.definition(request.clone()).await.map(|_| ()),
                agent
                    .undeploy(UndeployRequest { service: service.clone(), purge_data: true })
                    .await
                    .map(|_| ()),
                agent.logs(LogsRequest { service, ..LogsRequest::default() }).await.map(|_| ()),
            ];
            for refusal in refusals {
                let code = refusal.unwrap_err().code();
                assert_eq!(code, Code::InvalidArgument, "{name:?}");
            }
        }
    });
    let after = (node.unit_files(), node.podman_things(), node.invocations(&PAIR_UNITS));
    assert_eq!(after, before);
}

#[test]
fn the_name_of_a_file_and_a_remark_cannot_become_directives() {
    let node = machine();
    let (pin, token) = (node.serve_tcp(), node.token("ops", "operator"));
    let remark = "comment = \"100%n $HOME \\\\ [Service] ExecStartPre=/bin/touch /tmp/owned\"\n";
    let definition = with(LONE, "name = \"lone\"\n\n", &format!("name = \"lone\"\n{remark}\n"));
    runtime().block_on(async {
        let mut agent = connect(&node, &pin, &token).await;
        let request = DeployRequest {
            definition,
            file_name: "a\n[Service]\nExecStartPre=/bin/touch /tmp/owned\n#\\".to_owned(),
            component: String::new(),
            pull: false,
        };
        let mut progress = agent.deploy(request).await.unwrap().into_inner();
        while progress.message().await.unwrap().is_some() {}
    });
    assert_eq!(node.served("lone", "lone"), "v1");
    assert_eq!(node.property("lone.service", "ExecStartPre"), "");
    let description = node.property("lone.target", "Description");
    let expected = "Service lone: 100%n $HOME \\ [Service] ExecStartPre=/bin/touch /tmp/owned";
    assert_eq!(description, expected);
    node.as_root("test ! -e /tmp/owned").ok();
}

#[test]
fn a_broken_file_of_somebody_else_stops_a_deploy_and_takes_nothing_down() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = node.invocations(&PAIR_UNITS);
    // With this file podman's generator makes no unit at all.
    let file = "/srv/mcp/.config/containers/systemd/mine.container";
    node.write_as_mcp(file, "[Container\nImage=x\n");
    node.deploy(&with(PAIR, "red", "blue")).code(1).says("mine.container");
    assert_eq!(node.invocations(&PAIR_UNITS), before);
    assert_eq!(node.property(PAIR_UNITS[0], "LoadState"), "loaded");
    node.as_mcp(&format!("rm {file}"), "").ok();
    node.deploy(&with(PAIR, "red", "blue")).ok();
}
