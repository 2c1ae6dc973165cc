//! Coming in: containers that somebody has made by hand, in every way that
//! people have, become a service, and nothing of them is lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture::{Machine, machine};
use crate::observed::when_free;
use crate::wait::{pause, until};

/// Ten containers, made in ten ways; one of them does not run.
const TEN: &str = r#"set -e
cd; mkdir -p files .config/containers/systemd/shop-unit.container.d .config/systemd/user
echo 'FROM_FILE=a=b c' >shop.env; echo kept >files/data
podman network create shopnet >/dev/null
web=localhost/lab/web:v1
# 1: with a file of variables, a variable of the shell, a path from here, and a port that podman chooses.
FROM_SHELL='x "y" $z %n \ é' podman run -d --name shop --env-file shop.env -e FROM_SHELL -e EMPTY= \
    -v ./files:/files:ro -p 127.0.0.1:8101:8080 -p 8080 --restart always -m 64m $web
# 2: with a volume that has no name.
podman run -d --name shop-anon -v /data -p 8102:8080 --label owner=me --hostname anon $web
podman exec shop-anon sh -c 'echo precious >/data/file'
# 3: a Quadlet file.
cat >.config/containers/systemd/shop-quad.container <<END
[Unit]
Description=By hand
[Container]
Image=$web
ContainerName=shop-quad
Environment=A="b c"
PublishPort=8103:8080
Volume=shop-quad-data:/data
Label=owner=me
[Service]
Restart=always
[Install]
WantedBy=default.target
END
# 4: one whose container is called as podman calls it.
cat >.config/containers/systemd/shop-named.container <<END
[Container]
Image=$web
PublishPort=8104:8080
[Install]
WantedBy=default.target
END
# 5 and 6: units that podman once generated.
podman create -q --name shop-new -p 8105:8080 -e NEW=yes $web >/dev/null
podman generate systemd --new --name --restart-policy=always shop-new >.config/systemd/user/container-shop-new.service 2>/dev/null
podman rm shop-new >/dev/null
podman create -q --name shop-old -p 8106:8080 -e OLD=yes $web >/dev/null
podman generate systemd --name shop-old >.config/systemd/user/container-shop-old.service 2>/dev/null
# 7: with much of what podman run has.
podman container create -q --name=shop-much --user 1234:1234 --cap-drop ALL --cap-add=CHOWN --ulimit nofile=100:200 \
    --read-only --tmpfs /scratch --shm-size 8m --init --stop-signal SIGINT \
    --stop-timeout 3 --workdir /tmp --add-host=other:10.1.2.3 --annotation note=yes --security-opt no-new-privileges \
    --entrypoint '["/bin/sh","-c"]' $web 'exec sleep "$0"' '10000' >/dev/null
podman start shop-much >/dev/null
# 8: in a network, found by other names.
podman run -d --name shop-net --network shopnet --network-alias neighbour -p 8108:8080 --log-driver k8s-file $web
podman network create --internal shopmore >/dev/null
podman network connect --alias also shopmore shop-net
# 9: a Quadlet file with a drop-in, behind another one.
cat >.config/containers/systemd/shop-unit.container <<END
[Unit]
Requires=shop-quad.service
After=shop-quad.service
[Container]
Image=$web
ContainerName=shop-unit
PublishPort=8109:8080
Exec=
END
printf '[Container]\nEnvironment=DROPPED=in\n' >.config/containers/systemd/shop-unit.container.d/own.conf
# 10: with a check of its health.
podman run -d --name shop-health --health-cmd /bin/health --health-interval 5s --health-retries 2 -p 8110:8080 $web
# Neither running nor part of it.
podman create -q --name shop-down $web >/dev/null
podman run -d --name shopping $web
systemctl --user daemon-reload
systemctl --user enable -q container-shop-new.service container-shop-old.service
systemctl --user start shop-quad shop-named shop-unit container-shop-new container-shop-old
"#;

/// What each of them is called before and afterwards.
const NAMES: &[(&str, &str)] = &[
    ("shop", "shop"),
    ("shop-anon", "shop-anon"),
    ("shop-quad", "shop-quad"),
    ("systemd-shop-named", "shop-named"),
    ("shop-new", "shop-new"),
    ("shop-old", "shop-old"),
    ("shop-much", "shop-much"),
    ("shop-net", "shop-net"),
    ("shop-unit", "shop-unit"),
    ("shop-health", "shop-health"),
];

/// Those that need no restart.
const IN_PLACE: &[&str] = &["shop-quad", "shop-unit"];

/// Returns what makes a container what it is, as podman tells it.
fn essence(container: &Value) -> Value {
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    let lines = |value: &Value, leave: &dyn Fn(&str) -> bool| {
        let all = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut all: Vec<String> = all.filter(|line| leave(line)).map(str::to_owned).collect();
        all.sort();
        all
    };
    let mut labels = config["Labels"].as_object().cloned().unwrap_or_default();
    labels.retain(|name, _| !name.starts_with("mcp.") && name != "PODMAN_SYSTEMD_UNIT");
    let mut mounts: Vec<String> = container["Mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|m| {
            let source = if m["Name"].as_str().is_some_and(|name| name.len() == 64) {
                "a volume without a name".to_owned()
            } else {
                format!("{}{}", m["Name"].as_str().unwrap_or_default(), m["Source"])
            };
            format!("{} {source} {} {}", m["Type"], m["Destination"], m["RW"])
        })
        .collect();
    mounts.sort();
    // Podman tells several host ports of one port in no order.
    let mut ports = host["PortBindings"].clone();
    for bindings in ports.as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        if let Some(bindings) = bindings.as_array_mut() {
            bindings.sort_by_key(ToString::to_string);
        }
    }
    let id = container["Id"].as_str().unwrap_or_default();
    let host_name = config["Hostname"].as_str().filter(|name| !id.starts_with(name));
    let health = config.get("Healthcheck").map(|check| check["Test"].clone());
    json!({
        "image": container["Image"],
        "command": config["Cmd"],
        "entrypoint": config["Entrypoint"],
        "env": lines(&config["Env"], &|line| !line.starts_with("HOSTNAME=")),
        "user": config["User"],
        "directory": config["WorkingDir"],
        "host name": host_name,
        "labels": labels,
        "note": config["Annotations"]["note"],
        "mounts": mounts,
        "tmpfs": host["Tmpfs"],
        "ports": ports,
        "network": host["NetworkMode"],
        "networks": container["NetworkSettings"]["Networks"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()),
        "hosts": host["ExtraHosts"],
        "capabilities": container["EffectiveCaps"],
        "memory": host["Memory"],
        "shm": host["ShmSize"],
        "ulimits": host["Ulimits"],
        "read only": host["ReadonlyRootfs"],
        "security": host["SecurityOpt"],
        "init": host["Init"],
        "stop signal": config["StopSignal"],
        "stop timeout": config["StopTimeout"],
        "log": host["LogConfig"]["Type"],
        "health": health,
    })
}

fn essences(node: &Machine, names: &[&str]) -> BTreeMap<String, Value> {
    let text = node.as_mcp(&format!("podman container inspect {}", names.join(" ")), "").ok();
    let all = text.json();
    names.iter().zip(all.as_array().unwrap()).map(|(n, c)| ((*n).to_owned(), essence(c))).collect()
}

fn shop_units() -> Vec<String> {
    NAMES.iter().map(|(_, name)| format!("{name}.service")).collect()
}

#[test]
fn ten_containers_made_by_hand_are_taken_over_with_all_that_they_are() {
    let node = machine();
    node.spoil();
    node.as_mcp(TEN, "").ok();
    let old_names: Vec<&str> = NAMES.iter().map(|(old, _)| *old).collect();
    let before = essences(&node, &old_names);
    let in_place: Vec<String> = IN_PLACE.iter().map(|name| format!("{name}.service")).collect();
    let in_place: Vec<&str> = in_place.iter().map(String::as_str).collect();
    let invocations = node.invocations(&in_place);
    let ids = |names: &str| {
        node.as_mcp(&format!("podman container inspect -f '{{{{.Id}}}}' {names}"), "")
            .ok()
            .text()
            .to_owned()
    };
    let untouched = ids("shop-quad shop-unit shop-down shopping");

    // What others have stopped is told to be there, and how to bring it in.
    node.mcp(&["status"]).ok().says("mcp adopt shopping");
    node.mcp(&["adopt", "nothing"]).code(1).says("no container called nothing or nothing-* runs");
    let plan = node.mcp(&["adopt", "shop", "--dry-run", "--json"]).ok().json();
    assert_eq!(plan["left_alone"], json!(["shop-down"]));
    // The one whose Quadlet file has no [Install], and a subnet that somebody
    // may have chosen; an address that podman has chosen is podman's.
    let mut notes: Vec<&str> =
        plan["notes"].as_array().unwrap().iter().map(|n| n["what"].as_str().unwrap()).collect();
    notes.sort_unstable();
    assert_eq!(notes, ["networks.shopnet", "shop-unit.Install"], "{plan:#}");
    let containers = plan["containers"].as_array().unwrap();
    assert_eq!(containers.len(), NAMES.len());
    for container in containers {
        let name = container["container"].as_str().unwrap();
        assert_eq!(container["in_place"], json!(IN_PLACE.contains(&name)), "{container:#}");
        let differs = !container["gone"].as_array().unwrap().is_empty();
        // A name that changes, a volume that gets one, and a check that says
        // when it is ready: nothing else.
        let expected = ["systemd-shop-named", "shop-anon", "shop-health"].contains(&name);
        assert_eq!(differs, expected, "{container:#}");
    }
    let dry = node.mcp(&["adopt", "shop", "--dry-run"]).ok();
    dry.says("shop-quad").says("runs on").says("is restarted").says("shop-anon-data");
    assert_eq!(ids("shop-quad shop-unit shop-down shopping"), untouched);
    node.mcp(&["adopt", "shop"]).code(2).says("there is no terminal to ask on");

    node.mcp(&["adopt", "shop", "--yes"]).ok().says("generation 1");
    let new_names: Vec<&str> = NAMES.iter().map(|(_, new)| *new).collect();
    let after = essences(&node, &new_names);
    for (old, new) in NAMES {
        let (mut was, is) = (before[*old].clone(), after[*new].clone());
        if *new == "shop-anon" {
            let mounts = json!([
                "\"volume\" shop-anon-data\"/srv/mcp/.local/share/containers/storage/volumes/shop-anon-data/_data\" \"/data\" true"
            ]);
            was["mounts"] = mounts;
        }
        assert_eq!(was, is, "{new}");
    }
    assert_eq!(node.invocations(&in_place), invocations, "what runs on was not restarted");
    assert_eq!(ids("shop-quad shop-unit shop-down shopping"), untouched);
    node.as_mcp("podman exec shop-anon cat /data/file", "").ok().says("precious");
    for port in [8101, 8102, 8103, 8104, 8105, 8106, 8108, 8109, 8110] {
        // Most have no check: they may not listen yet.
        let version = until(&format!("port {port} answers"), || node.get(port, "/version"));
        assert_eq!(version, "v1", "{port}");
    }
    // What was before is there, for whoever wants to go back.
    node.as_mcp("podman ps -a --format '{{.Names}}'", "")
        .ok()
        .says("shop-anon-before-mcp")
        .says("shop-old-before-mcp");
    node.as_mcp(
        "ls ~/.config/containers/systemd/*.container ~/.config/systemd/user/container-*",
        "",
    )
    .code(2);
    node.as_mcp(
        "test -f ~/adopted/shop/srv/mcp/.config/containers/systemd/shop-unit.container.d/own.conf && test ! -e ~/adopted/shop.json",
        "",
    )
    .ok();
    let aliases = "podman container inspect -f '{{range .NetworkSettings.Networks}}{{.Aliases}}{{end}}' shop-net";
    node.as_mcp(aliases, "").ok().says("also");
    // Deployed as it stands, nothing changes.
    node.mcp(&["adopt", "shop", "--yes"]).code(1).says("is MCP's already");
    node.mcp(&["deploy", "shop"]).ok().says("nothing to do");
    let drifts = node.mcp(&["status", "--json"]).ok().json();
    assert_eq!(drifts["services"][0]["drifts"], json!([]), "{drifts:#}");

    // Let go, it can be taken over again, without a restart of anything.
    let units = shop_units();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    let running = node.invocations(&units);
    node.mcp(&["release", "shop"]).ok();
    node.as_mcp("rm ~/.config/mcp/services/shop.toml", "").ok();
    node.mcp(&["adopt", "shop", "--yes"]).ok().says("nothing had to be restarted");
    assert_eq!(node.invocations(&units), running);

    // And a boot brings it all up, in order.
    node.lab("reboot");
    until("all are up", || (node.states(&units) == ["active"; 10]).then_some(()));
    let booted = essences(&node, &new_names);
    for (name, was) in &after {
        assert_eq!(booted[name], *was, "{name}");
    }
    node.as_mcp("podman exec shop-anon cat /data/file", "").ok().says("precious");
    let running = node.as_mcp("podman ps --format '{{.Names}}' | grep -c before-mcp", "");
    assert_eq!(running.text(), "0", "what was before stays down");

    // The copy is the service's own, and goes with its data.
    node.mcp(&["undeploy", "shop", "--purge-data", "--yes"]).ok();
    node.as_mcp("! podman volume exists shop-anon-data", "").ok();
}

/// A pair: one that can be taken over in place, and one whose second start
/// never becomes ready.
const SECOND_TIME: &str = r#"set -e
cd; mkdir -p once .config/containers/systemd
cat >.config/containers/systemd/duo-stays.container <<END
[Container]
Image=localhost/lab/web:v1
ContainerName=duo-stays
PublishPort=8121:8080
[Install]
WantedBy=default.target
END
podman run -d --name duo-fails -v ./once:/once --restart always -v /data --health-cmd /bin/health --health-retries 1 \
    --health-interval 2s --entrypoint '["/bin/sh","-c"]' localhost/lab/web:v1 \
    'if test -e /once/done; then exec sleep 10000; fi; touch /once/done; exec /bin/app'
podman exec duo-fails sh -c 'echo precious >/data/file'
systemctl --user daemon-reload
systemctl --user start duo-stays
"#;

#[test]
fn a_takeover_that_does_not_become_ready_puts_everything_back() {
    let node = machine();
    node.spoil();
    node.as_mcp(SECOND_TIME, "").ok();
    let before = essences(&node, &["duo-stays", "duo-fails"]);
    let invocations = node.invocations(&["duo-stays.service"]);
    let ids = || {
        node.as_mcp("podman container inspect -f '{{.Id}}' duo-stays duo-fails", "")
            .ok()
            .text()
            .to_owned()
    };
    let was = ids();
    node.mcp(&["adopt", "duo", "--yes"]).code(1).says("everything is as it was before");
    assert_eq!(ids(), was);
    assert_eq!(node.invocations(&["duo-stays.service"]), invocations);
    assert_eq!(essences(&node, &["duo-stays", "duo-fails"]), before);
    node.as_mcp("podman exec duo-fails cat /data/file", "").ok().says("precious");
    let policy = "podman container inspect -f '{{.HostConfig.RestartPolicy.Name}}' duo-fails";
    node.as_mcp(policy, "").ok().says("always");
    node.as_mcp("test -f ~/.config/containers/systemd/duo-stays.container", "").ok();
    node.as_mcp("test ! -e ~/adopted/duo.json && test ! -e ~/.config/mcp/services/duo.toml", "")
        .ok();
    node.as_mcp("! podman volume exists duo-fails-data", "").ok();
    assert_eq!(node.mcp(&["list", "--json"]).ok().json()["services"], json!([]));
}

/// What nothing could bring back, or what would be lost without a word.
const HOPELESS: &[(&str, &str, &str)] = &[
    ("rm", "podman run -d --rm --name rm $web", "nothing could bring it back"),
    (
        "vpn",
        "podman run -d --name vpn $web; podman run -d --name vpn-side --network container:vpn -e PORT=81 $web",
        "vpn-side is made of another container",
    ),
    (
        "two",
        "podman create -q --name two $web >/dev/null; podman run -d --name systemd-two $web",
        "there is another container two",
    ),
    (
        "pod",
        "podman pod create -q --name apod >/dev/null 2>&1 || podman pod create --name apod; podman run -d --pod apod --name pod-a $web",
        "pod-a is in a pod",
    ),
    (
        "label",
        "podman run -d --name label --label PODMAN_SYSTEMD_UNIT=mcp.target --label x=y $web; podman run -d --name label-b --label PODMAN_SYSTEMD_UNIT=dbus.service $web",
        "label-b is said to be run by dbus.service",
    ),
    (
        "down",
        "printf '[Service]\\nExecStart=/usr/bin/podman run --name down %s\\n' $web >~/.config/systemd/user/hand.service; systemctl --user daemon-reload; podman run -d --name down $web",
        "down is said to be run by hand.service",
    ),
];

#[test]
fn what_nothing_could_bring_back_is_refused_before_anything_is_touched() {
    let node = machine();
    node.spoil();
    node.as_mcp("mkdir -p ~/.config/systemd/user", "").ok();
    for (service, script, told) in HOPELESS {
        node.as_mcp(&format!("web=localhost/lab/web:v1; {script}"), "").ok();
        let running = || node.as_mcp("podman ps -aq --no-trunc", "").ok().text().to_owned();
        let before = running();
        node.mcp(&["adopt", service, "--yes"]).code(1).says(told);
        assert_eq!(running(), before, "{service}");
    }
    node.as_mcp("test -z \"$(ls ~/adopted 2>/dev/null)\"", "").ok();
    // A second takeover does not meet what is left of the first.
    node.as_mcp("podman run -d --name again localhost/lab/web:v1", "").ok();
    node.mcp(&["adopt", "again", "--yes"]).ok();
    let file = "again.toml    # or `mcp sync` deploys it again";
    node.mcp(&["undeploy", "again"]).ok().says(file);
    node.as_mcp(
        "rm ~/.config/mcp/services/again.toml; podman run -d --name again localhost/lab/web:v1",
        "",
    )
    .ok();
    node.mcp(&["adopt", "again", "--yes"]).code(1).says("podman rm again-before-mcp");
    node.as_mcp("podman rm again-before-mcp", "").ok();
    node.mcp(&["adopt", "again", "--yes"]).ok();
}

/// Three, one of each kind of keeper.
const TRIO: &str = r"set -e
cd; mkdir -p .config/containers/systemd
podman run -d --restart always --name trio -p 8131:8080 -v trio-data:/data localhost/lab/web:v1
podman run -d --restart always --name trio-anon -p 8132:8080 -v /data localhost/lab/web:v1
podman exec trio sh -c 'echo precious >/data/file'
podman exec trio-anon sh -c 'echo precious >/data/file'
cat >.config/containers/systemd/trio-quad.container <<END
[Container]
Image=localhost/lab/web:v1
ContainerName=trio-quad
PublishPort=8133:8080
[Install]
WantedBy=default.target
END
systemctl --user daemon-reload
systemctl --user start trio-quad
";

/// Demands that all three run, as before or as a service, and nothing between.
fn whole(node: &Machine) -> bool {
    until("the takeover is settled", || {
        node.as_mcp("test ! -e ~/adopted/trio.json", "").code.eq(&0).then_some(())
    });
    until("nothing is unfinished", || {
        let open = node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL");
        (open == "0").then_some(())
    });
    let listed = node.mcp(&["list", "--json"]).ok().json();
    let is_ours = !listed["services"].as_array().unwrap().is_empty();
    until("all three serve", || {
        let all =
            "for p in 8131 8132 8133; do curl -sf http://127.0.0.1:$p/version || exit 1; done";
        (node.as_mcp(all, "").code == 0).then_some(())
    });
    for name in ["trio", "trio-anon"] {
        node.as_mcp(&format!("podman exec {name} cat /data/file"), "").ok().says("precious");
    }
    let theirs =
        node.as_mcp("test -e ~/.config/containers/systemd/trio-quad.container", "").code == 0;
    assert_eq!(theirs, !is_ours, "the Quadlet file is there exactly if it is in force");
    let label = "podman container inspect -f '{{index .Config.Labels \"mcp.service\"}}' trio";
    assert_eq!(node.as_mcp(label, "").ok().text() == "trio", is_ours);
    if is_ours {
        node.mcp(&["status", "trio"]).ok();
    }
    is_ours
}

#[test]
fn a_takeover_cut_off_at_any_moment_is_finished_or_undone() {
    let node = machine();
    node.spoil();
    node.as_mcp(TRIO, "").ok();
    let (mut forth, mut back) = (0, 0);
    let started = Instant::now();
    node.mcp(&["adopt", "trio", "--yes"]).ok();
    let took = started.elapsed();
    assert!(whole(&node));
    for moment in 0..12_u32 {
        if node.mcp(&["status", "trio"]).code == 0 {
            // From the beginning, with what it has by now.
            when_free(|| node.mcp(&["undeploy", "trio"])).ok();
            node.as_mcp(
                "rm -f ~/.config/mcp/services/trio.toml; podman rm -f trio-before-mcp trio-anon-before-mcp trio trio-anon; podman volume rm -f trio-anon-data",
                "",
            )
            .ok();
            node.as_mcp(TRIO, "").ok();
        }
        let adopt = node.in_background("exec mcp -q adopt trio --yes 2>/dev/null");
        pause(took * moment / 12);
        node.kill_agent();
        let code = adopt.end();
        assert!([0, 1, 3, 4].contains(&code), "the client of a dead agent ends with {code}");
        if whole(&node) {
            forth += 1;
        } else {
            back += 1;
        }
        node.as_mcp("podman volume rm -f trio-anon-data; true", "").ok();
    }
    assert_eq!(forth + back, 12);
    println!("{forth} finished, {back} undone");
}

#[test]
fn a_takeover_that_the_power_cuts_off_is_finished_or_undone() {
    let node = machine();
    node.spoil();
    node.as_mcp(TRIO, "").ok();
    // What podman starts by itself comes back only so.
    node.as_mcp("systemctl --user enable -q podman-restart.service; sync", "").ok();
    let adopt = node.in_background("exec mcp -q adopt trio --yes 2>/dev/null");
    until("something is put aside", || {
        (node.as_mcp("podman container exists trio-anon-before-mcp", "").code == 0).then_some(())
    });
    node.lab("kill");
    drop(adopt);
    node.lab("start");
    whole(&node);
    pause(Duration::from_secs(1));
}
