//! Each thing that can be wrong with a node is named, and the command that is
//! named mends it.

use serde_json::Value;

use crate::definitions::LONE;
use crate::fixture::{Machine, machine};
use crate::wait::until;

/// Looks at the node as its administrator would.
fn findings(node: &Machine) -> Vec<Value> {
    let told = node.as_root("mcp-agent doctor --json");
    told.json().as_array().unwrap().clone()
}

/// Returns what is said of a check that fails.
fn failing(node: &Machine, check: &str) -> Option<Value> {
    let is_it = |f: &Value| f["check"] == check && f["level"] != "ok" && f["mend"] != "";
    findings(node).into_iter().find(is_it)
}

/// Breaks something, demands that it is named, runs the command that is
/// named, and demands that all is well.
#[track_caller]
fn named_and_mended(node: &Machine, check: &str, damage: &str) -> String {
    assert!(failing(node, check).is_none(), "{check} is fine before");
    node.as_root(damage).ok();
    let finding = until(check, || failing(node, check));
    let mend = finding["mend"].as_str().unwrap().to_owned();
    // The words are for a person with sudo and the user's own shell.
    let script = format!(
        "sudo() {{ \"$@\"; }}
        {mend}"
    );
    let mended = node.as_root(&script);
    assert_eq!(mended.code, 0, "{check}: {mend}: {mended:?}");
    until(&format!("{check} is mended by {mend}"), || failing(node, check).is_none().then_some(()));
    finding["message"].as_str().unwrap().to_owned()
}

#[test]
fn each_trouble_is_named_and_its_command_mends_it() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let before = findings(&node);
    assert!(before.iter().all(|f| f["level"] != "failed"), "{before:?}");
    let damages = [
        ("linger", "rm /var/lib/systemd/linger/mcp"),
        ("owner", "chown root: /srv/mcp/.config/systemd/user"),
        ("owner", "chmod 755 /srv/mcp"),
        ("subids", "sed -i '/^mcp:/d' /etc/subuid"),
        ("subids", "sed -i 's/^\\(mcp:[0-9]*\\):.*/\\1:1000/' /etc/subgid"),
        ("subids", "grep '^mcp:' /etc/subuid | sed 's/^mcp/eve/' >>/etc/subuid"),
        (
            "uidmap",
            "cp /usr/bin/newuidmap /tmp/bare; mv /tmp/bare /usr/bin/newuidmap; chmod 755 /usr/bin/newuidmap",
        ),
        ("journal", "gpasswd -d mcp systemd-journal"),
        ("podman", "pkill -9 -u mcp catatonit; rm -f /run/user/850/libpod/tmp/pause.pid"),
        (
            "generator",
            "install -d -o mcp /srv/mcp/.config/containers/systemd
            echo '[Container' >/srv/mcp/.config/containers/systemd/bad.container",
        ),
        ("user-manager", "systemctl stop user@850"),
        (
            "registry",
            "systemctl stop mcp-agent; mcp-agent snapshot; head -c 20000 /dev/urandom >/srv/mcp/mcp.db; rm -f /srv/mcp/mcp.db-*; chown mcp: /srv/mcp/mcp.db",
        ),
    ];
    for (check, damage) in damages {
        named_and_mended(&node, check, damage);
    }
    until("the service runs", || (node.states(&["lone.service"]) == ["active"]).then_some(()));
}

#[test]
fn the_agent_tells_what_fails_when_it_starts_and_to_the_operator() {
    let node = machine();
    node.spoil();
    node.as_root("rm /var/lib/systemd/linger/mcp; systemctl restart mcp-agent").ok();
    until("the agent tells it", || {
        let told = node.mcp(&["node", "list", "--json"]).ok().out;
        told.contains("sudo loginctl enable-linger mcp").then_some(())
    });
    let told = node.mcp(&["doctor"]).code(1);
    told.says("failed   linger mcp: User mcp does not linger");
    node.as_root("loginctl enable-linger mcp").ok();
    node.mcp(&["doctor"]).ok();
    let told = node.mcp(&["node", "list", "--json"]).ok().out;
    assert!(!told.contains("linger"), "{told}");
}

#[test]
fn a_user_with_another_number_is_told_what_to_change() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    node.as_root(
        "systemctl stop mcp-agent user@850
        sed -i 's/^mcp:x:850:/mcp:x:851:/' /etc/passwd",
    )
    .ok();
    let told = node.as_root("mcp-agent doctor").code(1);
    told.says("/srv/mcp belongs to uid 850, and user mcp has the uid 851")
        .says("sudo chown -R -h --from=850 mcp /srv/mcp");
}

#[test]
fn everything_of_the_user_killed_is_named_and_mended() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let message = named_and_mended(
        &node,
        "podman",
        "systemctl kill --kill-whom=all -s KILL user@850
        while systemctl -q is-active user@850; do :; done
        systemctl start user@850",
    );
    assert!(message.contains("invalid internal status"), "{message}");
    until("the service runs again", || {
        (node.states(&["lone.service"]) == ["active"]).then_some(())
    });
    assert_eq!(node.served("lone", "lone"), "v1");
}

#[test]
fn killed_processes_leave_a_node_that_is_right() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let runs = |what: &str| {
        until(what, || (node.states(&["lone.service"]) == ["active"]).then_some(()));
        assert_eq!(node.served("lone", "lone"), "v1", "{what}");
        // The agent may be looking for the user's systemd still.
        until(what, || (node.mcp(&["status", "lone"]).code == 0).then_some(()));
    };
    let before = node.invocations(&["lone.service"]);
    node.as_root("kill -9 $(systemctl --user -M mcp@ show -P MainPID lone.service)").ok();
    until("conmon's unit is started again", || {
        (node.invocations(&["lone.service"]) != before).then_some(())
    });
    runs("after conmon was killed");
    node.event("lone", |e| e["event"] == "failed");
    node.event("lone", |e| e["event"] == "restarted");
    node.as_root("pkill -9 -u mcp catatonit").ok();
    node.mcp(&["restart", "lone"]).ok();
    runs("after the pause process was killed");
    node.as_root("systemctl restart user@850").ok();
    runs("after the user manager was restarted");
    node.event("", |e| e["event"] == "systemd_lost");
    let back = node.event("", |e| e["event"] == "systemd_back")["id"].as_i64().unwrap();
    node.as_root(
        "kill -9 $(systemctl show -P MainPID user@850)
        while systemctl -q is-active user@850; do :; done",
    )
    .ok();
    until("the dead user manager is told", || {
        let told = node.mcp(&["doctor"]);
        told.out.contains("sudo systemctl start user@850").then_some(())
    });
    node.as_root("systemctl stop user-runtime-dir@850; systemctl start user@850; systemctl restart mcp-agent")
        .ok();
    runs("after the user manager was killed");
    node.event("", |e| e["event"] == "agent_started" && e["id"].as_i64().unwrap() > back);
}

#[test]
fn a_clock_that_was_set_back_stops_nothing_and_is_told() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    // libfaketime adds what the file says, and looks at it each time.
    node.write_as_mcp("/srv/mcp/clock", "+0\n");
    node.as_root(
        "mkdir -p /etc/systemd/system/mcp-agent.service.d
        printf '[Service]\nEnvironment=LD_PRELOAD=%s FAKETIME_TIMESTAMP_FILE=/srv/mcp/clock FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\n' \
            $(echo /usr/lib/*/faketime/libfaketimeMT.so.1) >/etc/systemd/system/mcp-agent.service.d/clock.conf
        systemctl daemon-reload; systemctl restart mcp-agent",
    )
    .ok();
    node.deploy(&LONE.replace("web:v1", "web:v2")).ok();
    node.mcp(&["doctor"]).ok().does_not_say("behind the newest record");
    let mut follow = node.in_background("exec mcp events lone -f -n 1 --json");
    let mut lines = follow.lines();
    assert!(lines.next().unwrap().contains("lone"));
    // While it runs, and while somebody follows.
    node.write_as_mcp("/srv/mcp/clock", "-1d\n");
    node.mcp(&["doctor"]).ok().says("behind the newest record of the registry");
    node.deploy(LONE).ok();
    assert_eq!(node.served("lone", "lone"), "v1");
    let at = |event: &str| -> jiff::Timestamp {
        let event: Value = serde_json::from_str(event).unwrap();
        event["at"].as_str().unwrap().parse().unwrap()
    };
    let deployed = lines.find(|line| line.contains("\"deployed\"")).unwrap();
    let now: i64 = node.as_mcp("date +%s", "").ok().text().parse().unwrap();
    assert!(now - at(&deployed).as_second() > 80_000, "the agent's clock is a day behind");
    // From its start on, too.
    node.as_root("systemctl restart mcp-agent").ok();
    node.mcp(&["stop", "lone"]).ok();
    node.mcp(&["start", "lone"]).ok();
    node.kill_container("lone");
    assert!(lines.any(|line| line.contains("\"failed\"")));
    node.mcp(&["rollback", "lone"]).ok();
    assert_eq!(node.served("lone", "lone"), "v2");
    assert_eq!(node.generation("lone"), Some(4));
    // The newest is the one that was made last, whatever the clock said.
    let history = node.mcp(&["history", "lone", "--json"]).ok().json();
    let numbers: Vec<u64> = history["generations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|generation| generation["generation"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [4, 3, 2, 1], "{history}");
    node.mcp(&["undeploy", "lone"]).ok();
    node.as_root("rm -r /etc/systemd/system/mcp-agent.service.d; systemctl daemon-reload; systemctl restart mcp-agent").ok();
    assert_eq!(node.sql("SELECT count(*) FROM services"), "0");
}

#[test]
fn a_node_of_cgroup_v1_and_a_read_only_directory_are_refused() {
    let node = machine();
    let doctor = "cd /root && runuser -u mcp -- env HOME=/srv/mcp XDG_RUNTIME_DIR=/run/user/850 mcp-agent doctor";
    // From a directory that is not the user's: podman itself would not run there.
    until("the new node is ready", || (node.as_root(doctor).code == 0).then_some(()));
    node.as_root(&format!("unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup; {doctor}'"))
        .code(1)
        .says("This node does not use cgroup v2 alone");
    let read_only = "mount --bind /srv/mcp /srv/mcp; mount -o remount,bind,ro /srv/mcp";
    node.as_root(&format!("unshare -m sh -c '{read_only}; {doctor}'"))
        .code(1)
        .says("/srv/mcp, which holds the registry, cannot be written to");

    // The agent says so too, and what runs is left alone.
    node.spoil();
    node.deploy(LONE).ok();
    let before = node.invocations(&["lone.service"]);
    node.as_root(
        "mkdir -p /run/systemd/system/mcp-agent.service.d
        printf '[Service]\\nReadOnlyPaths=/srv/mcp\\n' >/run/systemd/system/mcp-agent.service.d/ro.conf
        systemctl daemon-reload; ! systemctl restart mcp-agent",
    )
    .ok();
    node.until_agent_said("cannot use the state directory /srv/mcp");
    node.as_root(
        "rm -r /run/systemd/system/mcp-agent.service.d; systemctl daemon-reload
        systemctl reset-failed mcp-agent; systemctl restart mcp-agent",
    )
    .ok();
    until("the agent is back", || (node.mcp(&["list"]).code == 0).then_some(()));
    assert_eq!(node.invocations(&["lone.service"]), before);
}
