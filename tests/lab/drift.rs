//! Drift: seen within a second, shown with what settles it, settled.

use serde_json::Value;

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with};
use crate::fixture::{Machine, machine};
use crate::wait::until;

const FILE: &str = "~/.config/containers/systemd/mcp/lone/lone.container";

/// What a person does, and the drift that it is.
const KINDS: [(&str, &str); 9] = [
    ("systemctl --user stop lone.service", "stopped_by_hand"),
    ("sed -i 's/^\\[Container\\]/&\\nEnvironment=BY=hand/' FILE", "file_edited"),
    ("rm FILE", "file_removed"),
    ("rm FILE; systemctl --user daemon-reload", "unit_missing"),
    ("rm ~/.config/systemd/user/mcp.target.wants/lone.target", "boot_link"),
    (
        "mkdir -p ~/.config/systemd/user/lone.service.d
        echo '[Service]' >~/.config/systemd/user/lone.service.d/a.conf",
        "drop_in",
    ),
    ("podman run -d --name stray localhost/lab/web:v1", "unknown_container"),
    ("podman tag localhost/lab/web:v2 localhost/lab/web:v1", "other_image"),
    ("systemctl --user mask --runtime lone.service", "masked"),
];

impl Machine {
    /// Returns the drift that `mcp status` shows of a service, and of the node.
    #[track_caller]
    fn drifts(&self) -> Vec<Value> {
        let status = self.mcp(&["status", "--json"]).ok().json();
        let mut all = status["drifts"].as_array().unwrap().clone();
        for service in status["services"].as_array().unwrap() {
            all.extend(service["drifts"].as_array().unwrap().iter().cloned());
            for component in service["components"].as_array().unwrap() {
                all.extend(component["drifts"].as_array().unwrap().iter().cloned());
            }
        }
        all
    }
}

#[test]
fn every_kind_of_drift_is_seen_within_a_second_and_settled() {
    let node = machine();
    // No sweep helps: what is seen is seen by itself.
    node.configure("[monitor]\ninterval = \"24h\"\nflap_threshold = 1000\n");
    node.deploy(LONE).ok();
    for (deed, kind) in KINDS {
        // Whatever else the machine is busy with delays it, but not each time.
        until(&format!("{kind} is seen within a second"), || {
            let took = drifts_and_is_settled(&node, ("lone", FILE), deed, kind);
            (took < 1000).then_some(())
        });
    }
}

/// Has a service drift, demands that it is told and shown, and settles it with
/// the command that is named; returns how long it took until it was told, in
/// milliseconds.
#[track_caller]
fn drifts_and_is_settled(
    node: &Machine,
    (service, file): (&str, &str),
    deed: &str,
    kind: &str,
) -> i64 {
    let last = node.events("", &[]).last().map_or(0, |e| e["id"].as_i64().unwrap());
    let new = |e: &Value| e["drift"] == kind && e["id"].as_i64().unwrap() > last;
    let script = format!("{}; date +%s%3N", deed.replace("FILE", file));
    let answer = node.as_mcp(&script, "").ok();
    let done: i64 = answer.out.lines().last().unwrap().parse().unwrap();
    let event = node.event("", |e| e["event"] == "drift" && new(e));
    let at: jiff::Timestamp = event["at"].as_str().unwrap().parse().unwrap();
    let shown = node.drifts();
    let shown = shown.iter().find(|d| d["kind"] == kind).unwrap();
    assert_eq!(shown["reason"], event["reason"]);
    // The command that it names settles it; whether somebody's container is
    // adopted or removed is for a person to say.
    let mend = match shown["mend"].as_str().unwrap() {
        "mcp adopt stray" => "podman rm -f stray",
        mend => mend,
    };
    node.as_mcp(mend, "").ok();
    node.mcp(&["reconcile", service]).ok();
    until("nothing drifts any more", || node.drifts().is_empty().then_some(()));
    node.event("", |e| e["event"] == "drift_settled" && new(e));
    at.as_millisecond() - done
}

/// A component in a network that reaches nothing outside, with a volume.
const KEPT: &str = r#"name = "kept"

[[components]]
name = "kept"
image = "localhost/lab/web:v1"
network = "keptnet"
volumes = ["data:/data"]

[networks.keptnet]
internal = true
"#;

#[test]
fn the_files_of_networks_and_volumes_drift_as_others_do() {
    let node = machine();
    node.configure("[monitor]\ninterval = \"24h\"\nflap_threshold = 1000\n");
    node.deploy(KEPT).ok();
    let ours = "~/.config/containers/systemd/mcp/kept";
    let (network, volume) = (format!("{ours}/keptnet.network"), format!("{ours}/kept-data.volume"));
    let texts = || node.as_mcp(&format!("sha256sum {ours}/*"), "").ok().out;
    let before = texts();
    let deeds = [
        ("sed -i /Internal/d FILE", &network, "file_edited"),
        ("rm FILE; systemctl --user daemon-reload", &network, "file_removed"),
        ("echo Label=by=hand >>FILE", &volume, "file_edited"),
        ("rm FILE", &volume, "file_removed"),
        // What podman reads in the place of ours, also below another directory.
        (
            "printf '[Network]\\nNetworkName=keptnet\\n' >~/.config/containers/systemd/keptnet.network",
            &network,
            "shadowed",
        ),
        (
            "mkdir -p ~/.config/containers/systemd/a; sed s/kept-data/other/ FILE >~/.config/containers/systemd/a/kept-data.volume",
            &volume,
            "shadowed",
        ),
    ];
    for (deed, file, kind) in deeds {
        until(&format!("{kind} is seen within a second"), || {
            let took = drifts_and_is_settled(&node, ("kept", file), deed, kind);
            eprintln!("{kind} of {file}: {took} ms");
            (took < 1000).then_some(())
        });
        assert_eq!(texts(), before, "{deed}");
    }
    // One that says the same is none, and neither is one that is not read.
    let script = format!(
        "cp {network} ~/.config/containers/systemd/; mkdir -p ~/.config/containers/systemd/z
        printf '[Network]\\nNetworkName=z\\n' >~/.config/containers/systemd/z/keptnet.network
        systemctl --user stop kept.service"
    );
    node.as_mcp(&script, "").ok();
    node.event("kept", |e| e["drift"] == "stopped_by_hand");
    let kinds: Vec<Value> = node.drifts().iter().map(|drift| drift["kind"].clone()).collect();
    assert_eq!(kinds, ["stopped_by_hand"]);
    node.as_mcp("cd ~/.config/containers/systemd; rm -r keptnet.network a z *.away", "");
}

#[test]
fn what_should_be_down_and_runs_is_drift_and_is_stopped() {
    let node = machine();
    node.configure("[monitor]\ninterval = \"24h\"\nflap_threshold = 1000\n");
    node.deploy(LONE).ok();
    node.mcp(&["stop", "lone"]).ok();
    let start = "systemctl --user start lone.service";
    until("it is seen within a second", || {
        (drifts_and_is_settled(&node, ("lone", FILE), start, "up") < 1000).then_some(())
    });
    assert_eq!(node.states(&["lone.service"]), ["inactive"]);
    node.as_mcp(start, "").ok();
    until("it is shown", || (!node.drifts().is_empty()).then_some(()));
    node.mcp(&["reconcile", "lone"]).ok().says("stopped lone");
    assert_eq!(node.states(&["lone.service"]), ["inactive"]);
    node.mcp(&["reconcile", "lone"]).ok().says("nothing to do");
}

#[test]
fn what_a_persons_own_units_run_is_no_drift() {
    let node = machine();
    let script = "mkdir -p ~/.config/containers/systemd; cd ~/.config/containers/systemd
        printf '[Container]\nImage=localhost/lab/web:v1\n' >plain.container
        printf '[Container]\nImage=localhost/lab/web:v1\nContainerName=named\n' >named.container
        systemctl --user daemon-reload
        systemctl --user start plain named
        podman run -d --name systemd-stray localhost/lab/web:v1";
    node.as_mcp(script, "").ok();
    // It is looked for at once, and the one that no unit runs is found.
    let stray = until("the stray is shown", || {
        let drifts = node.drifts();
        (!drifts.is_empty()).then_some(drifts)
    });
    let subjects: Vec<&Value> = stray.iter().map(|drift| &drift["subject"]).collect();
    assert_eq!(subjects, ["systemd-stray"], "{stray:?}");
    // What begins alike is taken over together.
    node.as_mcp("podman run -d --name stray-db localhost/lab/web:v1", "").ok();
    until("both are one takeover", || {
        let mends: Vec<Value> = node.drifts().iter().map(|drift| drift["mend"].clone()).collect();
        (mends == ["mcp adopt stray", "mcp adopt stray"]).then_some(())
    });
    let script = "podman rm -f -t 0 systemd-stray stray-db
        systemctl --user stop plain named
        rm ~/.config/containers/systemd/plain.container ~/.config/containers/systemd/named.container
        systemctl --user daemon-reload";
    node.as_mcp(script, "").ok();
}

#[test]
fn a_reconcile_does_what_its_dry_run_says() {
    let node = machine();
    node.deploy(PAIR).ok();
    let dir = "~/.config/containers/systemd/mcp/pair";
    let script = format!(
        "rm {dir}/pair-front.container; sed -i s/red/green/ {dir}/pair-api.container
        systemctl --user stop pair-front.service"
    );
    node.as_mcp(&script, "").ok();
    let plan = node.mcp(&["reconcile", "pair", "--dry-run", "--json"]).ok().json();
    let effects: Vec<String> = plan["effects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{} {}", e["action"].as_str().unwrap(), e["unit"].as_str().unwrap()))
        .collect();
    assert_eq!(effects, ["restart pair-api.service", "start pair-front.service"]);
    assert_eq!(plan["files"].as_array().unwrap().len(), 2, "{plan}");
    assert_eq!(node.states(&PAIR_UNITS)[1], "inactive");
    let before = node.invocations(&PAIR_UNITS);
    let outcome = node.mcp(&["reconcile", "pair", "--json"]).ok().json();
    assert_eq!(outcome["changed"], serde_json::json!(["api", "front"]));
    let after = node.invocations(&PAIR_UNITS);
    assert!(before[0] != after[0] && before[1] != after[1]);
    assert_eq!(node.states(&PAIR_UNITS), ["active", "active"]);
    let again = node.mcp(&["reconcile", "pair", "--dry-run", "--json"]).ok().json();
    assert_eq!(again["unchanged"], true, "{again}");
    node.event("pair", |e| e["event"] == "reconciled");
}

#[test]
fn healing_puts_files_back_and_never_undoes_a_persons_stop() {
    let node = machine();
    node.deploy(&with(LONE, "name = \"lone\"\n\n", "name = \"lone\"\nheal = true\n\n")).ok();
    let file = node.as_mcp(&format!("cat {FILE}"), "").ok().out;
    let healed = |count: usize| {
        until("it is healed", || {
            (node.events("lone", &["--kind", "healed"]).len() == count).then_some(())
        });
        assert_eq!(node.as_mcp(&format!("cat {FILE}"), "").ok().out, file);
        assert_eq!(node.states(&["lone.service"]), ["active"]);
    };
    node.as_mcp(&format!("rm {FILE}; systemctl --user daemon-reload"), "").ok();
    healed(1);

    // A stop stays, also when something else is healed.
    node.as_mcp("systemctl --user stop lone.service", "").ok();
    node.event("lone", |e| e["drift"] == "stopped_by_hand");
    node.as_mcp(&format!("sed -i 's/^\\[Container\\]/&\\nEnvironment=BY=hand/' {FILE}"), "").ok();
    until("the file is healed", || {
        (node.events("lone", &["--kind", "healed"]).len() == 2).then_some(())
    });
    assert_eq!(node.as_mcp(&format!("cat {FILE}"), "").ok().out, file);
    assert_eq!(node.states(&["lone.service"]), ["inactive"]);
    let status = node.mcp(&["status", "lone"]).ok();
    status.says("it was stopped by hand at");

    // Until the next start.
    node.mcp(&["start", "lone"]).ok();
    assert_eq!(node.states(&["lone.service"]), ["active"]);
    until("nothing drifts any more", || node.drifts().is_empty().then_some(()));
}
