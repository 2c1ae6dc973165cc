//! Coming in: networks and volumes that somebody has made come back as they
//! were, whoever removes them.

use serde_json::{Value, json};

use crate::fixture::{Machine, machine};

/// A container in three networks and with a volume, all made by hand.
const HOME: &str = r"set -e
cd; echo A=1 >home.env
podman network create --internal --subnet 10.46.1.0/24 --gateway 10.46.1.254 --label 'owner=my self' --opt mtu=1400 \
    --opt isolate=true homenet
podman network create --ipv6 --subnet 10.46.2.0/24 --ip-range 10.46.2.128/25 --subnet fd46:2::/64 --disable-dns \
    --interface-name brside --route 10.9.0.0/24,10.46.2.3,200 sidenet
podman network create plainnet
podman volume create --label a=b --opt type=tmpfs --opt device=tmpfs --opt o=size=8m home-scratch
podman volume create --opt nocopy home-odd
podman run -d --name home --network homenet --ip 10.46.1.7 --mount type=volume,src=home-scratch,dst=/scratch \
    --mount type=volume,src=home-odd,target=/odd,readonly --env-file home.env localhost/lab/web:v1
podman network connect --ip 10.46.2.9 --ip6 fd46:2::9 --mac-address 92:d0:c6:0a:29:33 --alias side sidenet home
podman network connect plainnet home
";

/// Returns what somebody asked for of networks and volumes, and where the
/// container is in them.
fn facts(node: &Machine) -> Value {
    let read = |call: &str| node.as_mcp(&format!("podman {call}"), "").ok().json();
    let mut networks = read("network inspect homenet sidenet plainnet");
    for network in networks.as_array_mut().unwrap() {
        let network = network.as_object_mut().unwrap();
        for key in ["id", "created", "containers"] {
            network.remove(key);
        }
        let mut labels = network.remove("labels").unwrap_or_else(|| json!({}));
        labels.as_object_mut().unwrap().remove("mcp.network");
        network.insert("labels".to_owned(), labels);
        // Podman tells them in the order in which they were asked for.
        let subnets = network["subnets"].as_array_mut().unwrap();
        subnets.sort_by_key(ToString::to_string);
        if network["name"] == "plainnet" {
            // Whichever is free.
            network.retain(|key, _| key != "subnets" && key != "network_interface");
        } else if network["name"] == "homenet" {
            network.remove("network_interface");
        }
    }
    let mut volumes = read("volume inspect home-scratch home-odd");
    for volume in volumes.as_array_mut().unwrap() {
        volume["Labels"].as_object_mut().unwrap().remove("mcp.service");
        volume
            .as_object_mut()
            .unwrap()
            .retain(|key, _| matches!(key.as_str(), "Name" | "Driver" | "Labels" | "Options"));
    }
    let container = read("container inspect home");
    let places = container[0]["NetworkSettings"]["Networks"].as_object().unwrap();
    let place = |name: &str| {
        let own = &places[name];
        json!([
            own["IPAddress"],
            own["GlobalIPv6Address"],
            own["Aliases"].to_string().contains("side")
        ])
    };
    let mac = &places["sidenet"]["MacAddress"];
    json!({"networks": networks, "volumes": volumes, "home": place("homenet"),
        "side": place("sidenet"), "mac": mac, "all": places.keys().collect::<Vec<_>>()})
}

fn ids(node: &Machine) -> String {
    let call = "podman network inspect -f '{{.ID}}' homenet sidenet plainnet";
    node.as_mcp(call, "").ok().text().to_owned()
}

#[test]
fn networks_and_volumes_of_what_is_taken_over_come_back_as_they_were() {
    let node = machine();
    node.spoil();
    node.as_mcp(HOME, "").ok();
    let (before, networks) = (facts(&node), ids(&node));
    assert_eq!(before["side"], json!(["10.46.2.9", "fd46:2::9", true]), "{before:#}");

    let plan = node.mcp(&["adopt", "home", "--dry-run", "--json"]).ok().json();
    // Podman has chosen its subnet, or somebody did.
    let notes = plan["notes"].as_array().unwrap();
    assert_eq!((notes.len(), &notes[0]["what"]), (1, &json!("networks.plainnet")), "{plan:#}");
    let container = &plan["containers"][0];
    assert_eq!((&container["gone"], &container["added"]), (&json!([]), &json!([])), "{plan:#}");
    node.mcp(&["adopt", "home", "--yes"]).ok();
    assert_eq!(facts(&node), before);
    assert_eq!(ids(&node), networks, "none is made anew");
    let text = node.as_mcp("cat ~/.config/mcp/services/home.toml", "").ok();
    assert!(!text.text().contains("HOME"), "podman's own variable: {}", text.text());
    assert!(!text.text().contains("plainnet = {"), "plain ones stay plain: {}", text.text());
    node.mcp(&["deploy", "home"]).ok().says("nothing to do");

    // They are not ours: an undeploy leaves them.
    node.mcp(&["undeploy", "home"]).ok();
    assert_eq!(ids(&node), networks);
    let remove = "podman rm home-before-mcp; podman network rm homenet sidenet plainnet && podman volume rm home-scratch home-odd";
    node.as_mcp(remove, "").ok();
    node.mcp(&["deploy", "home"]).ok();
    assert_eq!(facts(&node), before);
    assert_ne!(ids(&node), networks);
}

/// Two containers of Quadlet files, with their network and volumes; what is
/// not one of them shares a volume.
const FILES: &str = r"set -e
cd; mkdir -p .config/containers/systemd/pq; cd .config/containers/systemd
printf '[Network]\nNetworkName=pqnet\n' >pqnet.network
printf '[Volume]\nVolumeName=pq-data\n[Unit]\nDescription=Data\n' >pq/pq-data.volume
printf '[Volume]\nVolumeName=both\n' >both.volume
cat >pq/pq-db.container <<END
[Container]
Image=localhost/lab/web:v1
ContainerName=pq-db
Network=pqnet.network
Volume=pq-data.volume:/data
Volume=both.volume:/both
[Install]
WantedBy=default.target
END
cat >other.container <<END
[Container]
Image=localhost/lab/web:v1
ContainerName=other
Volume=both.volume:/both
END
systemctl --user daemon-reload
systemctl --user start pq-db other
podman exec pq-db sh -c 'echo precious >/data/file'
";

/// Returns the Quadlet files of networks and volumes that are not ours.
fn own_files(node: &Machine) -> String {
    let find = "cd ~/.config/containers/systemd && find . -path ./mcp -prune -o \\( -name '*.network' -o -name '*.volume' \\) -print | sort | tr '\\n' ' '";
    node.as_mcp(find, "").ok().text().to_owned()
}

#[test]
fn the_files_of_networks_and_volumes_go_along_unless_others_name_them() {
    let node = machine();
    node.spoil();
    node.as_mcp(FILES, "").ok();
    let running = node.invocations(&["pq-db.service", "other.service"]);
    let plan = node.mcp(&["adopt", "pq", "--dry-run"]).ok();
    plan.says("both.volume: it stays, for /srv/mcp/.config/containers/systemd/other.container");
    assert_eq!(own_files(&node), "./both.volume ./pq/pq-data.volume ./pqnet.network");
    node.mcp(&["adopt", "pq", "--yes"]).ok();
    assert_eq!(own_files(&node), "./both.volume");
    assert_eq!(node.invocations(&["pq-db.service", "other.service"]), running);
    node.as_mcp("test -f ~/adopted/pq/srv/mcp/.config/containers/systemd/pqnet.network", "").ok();
    node.mcp(&["boot", "verify"]).does_not_say("in the place of");

    // Let go and taken over again, no file of ours is left behind.
    node.mcp(&["release", "pq"]).ok();
    node.as_mcp("rm ~/.config/mcp/services/pq.toml", "").ok();
    node.mcp(&["adopt", "pq", "--yes"]).ok();
    assert_eq!(own_files(&node), "./both.volume");
    node.as_mcp("podman exec pq-db cat /data/file", "").ok().says("precious");

    // What the definition says from now on holds, through a start by systemd.
    node.mcp(&["undeploy", "pq"]).ok();
    node.as_mcp("podman network rm pqnet", "").ok();
    let file = "~/.config/mcp/services/pq.toml";
    node.as_mcp(&format!("printf '[networks.pqnet]\\ninternal = true\\n' >>{file}"), "").ok();
    let internal = "podman network inspect -f '{{.Internal}}' pqnet";

    // A file in its place is told before anything is done, and by a boot.
    let stray = "~/.config/containers/systemd/pqnet.network";
    let put = format!("printf '[Network]\\nNetworkName=pqnet\\n' >{stray}");
    node.as_mcp(&format!("{put}; systemctl --user daemon-reload"), "").ok();
    node.mcp(&["deploy", "pq"])
        .code(1)
        .says("there is a unit pqnet-network.service already")
        .says("does not say Internal=true");
    node.as_mcp(&format!("rm {stray}; systemctl --user daemon-reload"), "").ok();
    node.mcp(&["deploy", "pq"]).ok();
    assert_eq!(node.as_mcp(internal, "").ok().text(), "true");
    let again = "systemctl --user stop pq-db pqnet-network && podman network rm pqnet && systemctl --user start pq-db";
    node.as_mcp(again, "").ok();
    assert_eq!(node.as_mcp(internal, "").ok().text(), "true");
    node.as_mcp(&format!("{put}; systemctl --user daemon-reload"), "").ok();
    let told = "in the place of MCP's pqnet.network, and that does not say Internal=true";
    node.mcp(&["boot", "verify"]).code(1).says(told);
}

/// One whose second start never becomes ready.
const NOT_TWICE: &str = r#"set -e
cd; mkdir -p once .config/containers/systemd; cd .config/containers/systemd
printf '[Network]\nNetworkName=oncenet\n' >oncenet.network
cat >once.container <<END
[Container]
Image=localhost/lab/web:v1
Network=oncenet.network
Volume=/srv/mcp/once:/once
HealthCmd=/bin/health
HealthInterval=2s
HealthRetries=1
Entrypoint=["/bin/sh","-c"]
Exec='if test -e /once/done; then exec sleep 10000; fi; touch /once/done; exec /bin/app'
END
systemctl --user daemon-reload
systemctl --user start once
"#;

#[test]
fn the_file_of_a_network_comes_back_with_what_names_it() {
    let node = machine();
    node.spoil();
    node.as_mcp(NOT_TWICE, "").ok();
    let network = "podman network inspect -f '{{.ID}}' oncenet";
    let before = node.as_mcp(network, "").ok().text().to_owned();
    node.mcp(&["adopt", "once", "--yes"]).code(1).says("everything is as it was before");
    assert_eq!(own_files(&node), "./oncenet.network");
    assert_eq!(node.as_mcp(network, "").ok().text(), before);
}
