//! A node that is broken in many ways at once: each cause is named, and what is
//! to be typed mends it.

use serde_json::Value;

use crate::definitions::{LONE, with};
use crate::fixture::{Machine, machine};
use crate::nodes::two_known_machines;
use crate::wait::until;

/// A service of one web server.
fn web(name: &str, more: &str) -> String {
    let image = if more.contains("image =") { "" } else { "image = \"localhost/lab/web:v1\"\n" };
    format!("name = \"{name}\"\n\n[[components]]\nname = \"{name}\"\n{image}{more}\n")
}

/// Waits until a component is explained by a cause, and returns the
/// explanation.
#[track_caller]
fn explained(node: &Machine, path: &str, cause: &str) -> Value {
    until(&format!("{path} is explained by {cause}"), || {
        let told = node.mcp(&["explain", path, "--json"]).json();
        let service = &told["services"][0];
        let all = service["components"].as_array()?.iter().chain(service["notes"].as_array()?);
        all.into_iter().find(|e| e["cause"] == cause).cloned()
    })
}

/// Types what an explanation says, as a person with sudo at the shell of the
/// user would.
#[track_caller]
fn type_it(node: &Machine, explanation: &Value, with: &[(&str, &str)]) {
    for command in explanation["mend"].as_array().unwrap() {
        let mut command = command.as_str().unwrap().to_owned();
        for (from, to) in with {
            command = command.replace(from, to);
        }
        // Those look at something, and change nothing.
        if command.starts_with("mcp logs") || command.starts_with("mcp explain") {
            node.as_mcp(&format!("{command} --json >/dev/null || [ $? = 1 ]"), "").ok();
            continue;
        }
        let answer = if command.starts_with("mcp ") {
            node.as_mcp(&command, "")
        } else {
            node.as_root(&format!("sudo() {{ \"$@\"; }}\n{command}"))
        };
        assert_eq!(answer.code, 0, "{command}: {answer:?}");
    }
}

#[track_caller]
fn is_well(node: &Machine, path: &str) {
    until(&format!("{path} is well"), || (node.mcp(&["explain", path]).code == 0).then_some(()));
}

const PATH: &str = "volumes = [\"/srv/mcp/data-path:/data\"]";
const LIMIT: &str = "volumes = [\"/srv/mcp/data-limit:/data\"]";
const SICK: &str = "health = { http = \"/health\", interval = \"2s\", retries = 1, timeout = \"1s\" }\n[[components.routes]]\nport = 8080";
const CHAIN: &str = r#"name = "chain"

[[components]]
name = "api"
image = "localhost/lab/web:v1"
volumes = ["/srv/mcp/data-api:/data"]

[[components]]
name = "mid"
image = "localhost/lab/web:v1"
depends_on = ["api"]

[[components]]
name = "front"
image = "localhost/lab/web:v1"
depends_on = ["mid"]
"#;

/// Deploys what is going to be broken.
fn whole(node: &Machine) {
    node.as_mcp("mkdir -p /srv/mcp/data-path /srv/mcp/data-limit /srv/mcp/data-api", "").ok();
    for definition in [
        web("masked", ""),
        web("edited", ""),
        web("gone", "image = \"registry.lab:5000/lab/web:v2\""),
        web("port", "ports = [\"9000:8080\"]"),
        web("path", PATH),
        web("dropin", ""),
        web("limit", LIMIT),
        web("entry", ""),
        web("sick", SICK),
        web("byhand", ""),
        web("purpose", ""),
        web("crash", "image = \"localhost/lab/crash:v1\"\nenv = { EXIT_AFTER = \"5\" }"),
        CHAIN.to_owned(),
    ] {
        node.deploy(&definition).ok();
    }
    node.mcp(&["explain", "path"]).ok().says("path/path: running since");
    let denied = web("denied", "image = \"registry.lab:5001/lab/web:v1\"");
    node.write_as_mcp("/srv/mcp/.config/mcp/services/denied.toml", &denied);
    node.mcp(&["deploy", "denied"]).code(1);
    let entry = web("entry", "entrypoint = [\"/nope\"]");
    node.deploy(&entry).code(1);
}

/// Breaks all of it.
const BREAK: &str = r#"
S="systemctl --user"; U=/srv/mcp/.config/systemd/user; cd /
$S stop port path dropin limit gone edited chain-api
$S mask --now masked.service
sed -i 's/^Image=/Imagee=/' /srv/mcp/.config/containers/systemd/mcp/edited/edited.container
podman untag registry.lab:5000/lab/web:v2
while ss -Hltn 'sport = 9000' | grep -q .; do :; done
systemd-run --user --unit thief systemd-socket-activate -l 9000 cat
rmdir /srv/mcp/data-path /srv/mcp/data-limit /srv/mcp/data-api
mkdir -p $U/dropin.service.d $U/limit.service.d
printf '[Service]\nExecStartPre=/bin/false\n' >$U/dropin.service.d/mine.conf
printf '[Unit]\nStartLimitIntervalSec=600\nStartLimitBurst=2\n' >$U/limit.service.d/mine.conf
$S daemon-reload
until podman exec sick rm /tmp/www/health; do :; done
$S stop byhand
mcp -q stop purpose
until ss -Hltn 'sport = 9000' | grep -q .; do :; done
$S start --no-block port path dropin limit gone chain-front
"#;

#[test]
fn a_crash_under_a_check_from_the_node_is_told_as_the_crash_that_it_is() {
    let node = machine();
    let script = "[ -e /data/ok ] || { echo no licence; exit 3; }; exec /bin/app";
    let definition = web(
        "licence",
        &format!(
            "entrypoint = [\"/bin/sh\", \"-c\"]\ncmd = ['{script}']\nvolumes = [\"/srv/mcp/licence:/data\"]\n{SICK}"
        ),
    );
    node.as_mcp("mkdir -p /srv/mcp/licence; touch /srv/mcp/licence/ok", "").ok();
    node.deploy(&definition).ok();
    node.as_mcp("rm /srv/mcp/licence/ok", "").ok();
    node.kill_container("licence");
    let told = explained(&node, "licence/licence", "exit_code");
    let text = told.to_string();
    assert!(text.contains("exit code 3") && text.contains("no licence"), "{text}");
    // It does not come up, and no check has had its time.
    assert!(!text.contains("in time"), "{text}");
    node.as_mcp("touch /srv/mcp/licence/ok", "").ok();
    is_well(&node, "licence");
}

#[test]
fn a_node_broken_in_many_ways_is_explained_and_what_is_said_mends_it() {
    let node = machine();
    node.spoil();
    whole(&node);
    node.as_mcp(BREAK, "").ok();

    let of = |path: &str, cause: &str| explained(&node, path, cause);
    let says = |explanation: &Value, text: &str| {
        assert!(explanation.to_string().contains(text), "no {text:?} in {explanation:#}");
    };
    let mended = |path: &str, explanation: &Value| {
        type_it(&node, explanation, &[]);
        is_well(&node, path);
    };

    let masked = of("masked", "masked");
    let edited = of("edited", "generator");
    says(&edited, "unsupported key 'Imagee'");
    let gone = of("gone", "image_missing");
    says(&gone, "registry.lab:5000/lab/web:v2");
    let port = of("port", "port_taken");
    says(&port, "of thief.service");
    let path = of("path", "path_missing");
    says(&path, "/srv/mcp/data-path");
    let drop_in = of("dropin", "drop_in");
    says(&drop_in, "/bin/false fails with exit status 1");
    let limit = of("limit", "start_limit");
    says(&limit, "statfs /srv/mcp/data-limit");
    let sick = of("sick", "unhealthy");
    says(&sick, "404");
    let crash = of("crash", "exit_code");
    says(&crash, "exit with 1");
    let by_hand = of("byhand", "stopped_by_hand");
    let purpose = of("purpose", "stopped");
    assert_eq!(purpose["level"], "ok");
    says(&purpose, "by mcp");
    let chain = of("chain/front", "dependency");
    says(&chain, "chain/mid <- chain/api");
    says(&chain, "/srv/mcp/data-api");
    let denied = of("denied", "not_deployed");
    says(&denied, "authentication required");
    let entry = of("entry", "rolled_back");
    says(&entry, "/nope");

    // All that is not well, and only that.
    let all = node.mcp(&["explain"]).code(1);
    for name in ["masked/masked", "edited/edited", "gone/gone", "port/port", "chain/front"] {
        all.clone().says(&format!("{name}: "));
    }
    all.does_not_say("purpose/purpose").says(" components are well");

    mended("masked", &masked);
    mended("edited", &edited);
    mended("gone", &gone);
    mended("port", &port);
    mended("path", &path);
    mended("dropin", &drop_in);
    node.as_mcp("mkdir /srv/mcp/data-limit", "").ok();
    mended("limit", &limit);
    mended("byhand", &by_hand);
    mended("chain", &chain);
    let login = ("podman login registry.lab:5001", "podman login -u lab -p lab registry.lab:5001");
    type_it(&node, &denied, &[login]);
    is_well(&node, "denied");
    let sick_restart = sick["mend"].as_array().unwrap().last().unwrap().as_str().unwrap();
    node.as_mcp(sick_restart, "").ok();
    is_well(&node, "sick");
    node.deploy(&web("entry", "env = { A = \"1\" }")).ok();
    is_well(&node, "entry");
}

/// Takes from podman what units name, and edits files in ways that podman's
/// generator takes.
const LACK: &str = r#"
S="systemctl --user"; Q=/srv/mcp/.config/containers/systemd/mcp; cd /
$S stop secret lan own image limits
podman secret rm labkey
podman network rm lablan own
sed -i 's,^Image=.*,Image=localhost/lab/nosuch:v1,' $Q/image/image.container
sed -i 's,^\[Container\],&\nUlimit=nofile=99999999:99999999,' $Q/limits/limits.container
$S daemon-reload
$S start --no-block secret lan own image limits
"#;

#[test]
fn what_podman_lacks_and_what_was_edited_is_explained_and_what_is_said_mends_it() {
    let node = machine();
    node.spoil();
    node.as_mcp("cd / && echo x >/tmp/key && podman secret create labkey /tmp/key", "").ok();
    node.as_mcp("cd / && podman network create lablan", "").ok();
    for definition in [
        web("secret", "extra.Container.Secret = \"labkey\""),
        web("lan", "extra.Container.Network = \"lablan\""),
        web("own", "network = \"own\""),
        web("image", ""),
        web("limits", ""),
    ] {
        node.deploy(&definition).ok();
    }
    node.as_mcp(LACK, "").ok();

    let secret = explained(&node, "secret/secret", "secret_missing");
    let lan = explained(&node, "lan/lan", "network_missing");
    let own = explained(&node, "own/own", "network_missing");
    let image = explained(&node, "image/image", "image_missing");
    let limits = explained(&node, "limits/limits", "set_up");
    for (explanation, texts) in [
        (&secret, ["no secret labkey", "podman secret create labkey FILE"]),
        (&lan, ["no network lablan", "podman network create lablan"]),
        (&own, ["Its network own was removed", "mcp restart own/own"]),
        (&image, ["names the image localhost/lab/nosuch:v1", "image.container was edited"]),
        (&limits, ["an ulimit of it is more", "limits.container was edited"]),
    ] {
        for text in texts {
            assert!(explanation.to_string().contains(text), "no {text:?} in {explanation:#}");
        }
    }
    type_it(&node, &secret, &[("FILE", "/tmp/key")]);
    for explanation in [&lan, &own] {
        type_it(&node, explanation, &[]);
    }
    for (service, explanation) in [("image", &image), ("limits", &limits)] {
        let back = format!("mcp reconcile {service}");
        assert_eq!(explanation["mend"][1], back);
        node.as_mcp(&back, "").ok();
    }
    for path in ["secret", "lan", "own", "image", "limits"] {
        is_well(&node, path);
    }
}

#[test]
fn what_a_first_deploy_lacked_is_explained_and_what_is_said_mends_it() {
    let node = machine();
    node.spoil();
    let file = "/srv/mcp/.config/mcp/services/secret.toml";
    node.write_as_mcp(file, &web("secret", "extra.Container.Secret = \"labkey\""));
    let deploy = node.mcp(&["deploy", "secret"]).code(1);
    deploy.says("remove secret: done").says("nothing of it is left").does_not_say("generation 0");
    let lacks = explained(&node, "secret", "not_deployed");
    let text = lacks.to_string();
    assert!(text.contains("secret/secret: Podman has no secret labkey"), "{lacks:#}");
    node.as_mcp("echo x >/tmp/key", "").ok();
    type_it(&node, &lacks, &[("FILE", "/tmp/key")]);
    is_well(&node, "secret");
}

#[test]
fn what_is_not_there_is_explained_as_well() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let told = node.mcp(&["explain", "lome"]).code(1);
    told.says("It was never deployed here. Is lone meant?").says("-> mcp explain lone");
    node.mcp(&["explain", "lone/none"]).code(2).says("it has lone");
    node.mcp(&["release", "lone"]).ok();
    let told = node.mcp(&["explain", "lone"]).code(1);
    told.says("it was released to the user").says("-> mcp adopt lone");
    let plan = node.mcp(&["adopt", "lone", "--dry-run"]).ok();
    plan.does_not_say("at a boot").does_not_say("brought up, by its target");
    node.mcp(&["adopt", "lone", "--yes"]).ok();
    is_well(&node, "lone");
    node.mcp(&["undeploy", "lone"]).ok();
    node.mcp(&["explain", "lone"]).code(1).says("it was taken off this node");
    node.deploy(LONE).ok();

    node.as_root("systemctl stop user@850").ok();
    let told = until("the user's systemd is missed", || {
        let told = node.mcp(&["explain", "lone", "--json"]).code(1).json();
        (told["nodes"][0]["cause"] == "user_manager").then_some(told)
    });
    let commands = told["nodes"][0].clone();
    node.as_root(&format!("sudo() {{ \"$@\"; }}\n{}", commands["mend"][1].as_str().unwrap())).ok();
    is_well(&node, "lone");

    node.as_root("systemctl stop mcp-agent").ok();
    let told = node.mcp(&["explain", "lone"]).code(3);
    told.says("what runs goes on without it").says("sudo systemctl --user -M mcp@ status 'lone*'");
    node.mcp(&["status", "lone"]).code(3).says("sudo systemctl --user -M mcp@ status 'lone*'");
    node.mcp(&["doctor"]).code(3).says("what runs goes on without it").says("mcp-agent doctor");
    node.as_root("systemctl start mcp-agent").ok();
}

#[test]
fn a_port_that_systemd_holds_is_no_reason_to_stop_systemd() {
    let node = machine();
    node.spoil();
    node.deploy(&web("port", "ports = [\"9000:8080\"]")).ok();
    let take = r"
        systemctl --user stop port
        while ss -Hltn 'sport = 9000' | grep -q .; do :; done
        systemd-run --user --unit thief --socket-property=ListenStream=9000 cat
        until ss -Hltn 'sport = 9000' | grep -q .; do :; done
        systemctl --user start --no-block port
    ";
    node.as_mcp(take, "").ok();
    let port = explained(&node, "port", "port_taken").to_string();
    assert!(port.contains("a socket unit of the user's systemd"), "{port}");
    assert!(port.contains("list-sockets") && !port.contains("init.scope"), "{port}");
    node.as_mcp("systemctl --user stop thief.socket", "").ok();
    node.mcp(&["restart", "port"]).ok();
    is_well(&node, "port");
}

#[test]
fn every_node_is_asked_by_explain_and_by_doctor() {
    let (one, two, someone) = two_known_machines("viewer");
    // A viewer may ask all of this.
    let person = |script: &str| someone.run(script);
    one.deploy(LONE).ok();
    two.deploy(&with(LONE, "name = \"lone\"", "name = \"other\"")).ok();
    person("mcp explain lone").ok().says("lone/lone on one: running since");
    person("mcp explain").ok().says("one: all is well").says("two: all is well");
    person("mcp doctor").ok().says("one: ").says("two: ");

    two.as_root("rm /var/lib/systemd/linger/mcp").ok();
    person("mcp doctor").code(1).says("sudo loginctl enable-linger mcp");
    two.lab("kill");
    let told = person("mcp doctor").code(3);
    told.says("checks are fine").says("two");
    let json = person("mcp doctor --json").code(3).json();
    assert_eq!(json["nodes"][0]["node"], "one");
    assert_eq!(json["problems"][0]["node"], "two");
    person("mcp explain").code(3).says("one: all is well").says("what runs goes on without it");

    // All that is wrong with a node is told, beside one that does not answer.
    one.spoil();
    one.as_root(
        "rm /var/lib/systemd/linger/mcp; chmod 755 /srv/mcp
        echo '[Container' >/srv/mcp/.config/containers/systemd/bad.container",
    )
    .ok();
    let told = person("mcp doctor").code(3);
    told.says("sudo loginctl enable-linger mcp").says("bad.container").says("two");
    let json = person("mcp doctor --json").code(3).json();
    let findings = json["nodes"][0]["findings"].as_array().unwrap();
    for check in ["linger", "owner", "generator"] {
        let is_it = |f: &Value| f["check"] == check && f["level"] != "ok" && f["mend"] != "";
        assert!(findings.iter().any(is_it), "no {check} in {findings:#?}");
    }
    assert_eq!(json["problems"][0]["node"], "two");
    two.lab("start");
}
