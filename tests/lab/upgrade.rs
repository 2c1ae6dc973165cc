//! Upgrades of the agent: one that works, those that do not come up, those
//! that are cut off, and those that are refused. Whatever becomes of the
//! agent, containers run on.

use std::path::Path;

use crate::definitions::LONE;
use crate::fixture::{Machine, machine};
use crate::nodes::two_known_machines;
use crate::programs::{OWN, agent_of_version, stub};
use crate::run::Answer;
use crate::wait::until;

const NEXT: &str = "0.2.0";
const FAR: &str = "0.3.0";
const SCHEMA: u32 = 3;

/// What must be the same before and after.
#[derive(Debug, PartialEq)]
struct Untouched {
    files: String,
    invocations: String,
    served: String,
}

impl Untouched {
    fn of(node: &Machine) -> Self {
        Self {
            files: node.unit_files(),
            invocations: format!("{:?}", node.invocations(&["lone.service"])),
            served: node.served("lone", "lone"),
        }
    }
}

fn send(node: &Machine, program: &Path) -> Answer {
    node.put(program, "/tmp/mcp-agent-new");
    node.mcp(&["agent", "upgrade", "--file", "/tmp/mcp-agent-new"])
}

/// What the agent says of itself: version, where it is from, the outcome of
/// the last upgrade.
fn status(node: &Machine) -> (String, String, String) {
    let told = node.mcp(&["agent", "status", "--json"]).ok().json();
    let told = &told["nodes"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
    (text(&told["version"]), text(&told["from"]), text(&told["last_upgrade"]["outcome"]))
}

fn expect(version: &str, from: &str, outcome: &str) -> (String, String, String) {
    (version.to_owned(), from.to_owned(), outcome.to_owned())
}

fn main_pid(node: &Machine) -> String {
    node.as_root("systemctl show -P MainPID mcp-agent").ok().text().to_owned()
}

/// Has systemd lose its patience sooner than it does on a real node.
fn impatient(node: &Machine) {
    node.spoil();
    node.as_root(
        "mkdir -p /etc/systemd/system/mcp-agent.service.d
        printf '[Service]\nTimeoutStartSec=15\nWatchdogSec=16\nRestartSec=100ms\n' \
            >/etc/systemd/system/mcp-agent.service.d/impatient.conf
        systemctl daemon-reload; systemctl restart mcp-agent",
    )
    .ok();
}

/// What the upgrade keeps beside its record.
fn kept(node: &Machine) -> String {
    let list = "ls -A /srv/mcp/upgrade 2>/dev/null | grep -v record.json || true";
    node.as_mcp(list, "").ok().text().to_owned()
}

#[test]
fn an_upgrade_takes_the_place_until_a_package_is_as_new() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let before = Untouched::of(&node);
    node.put(&agent_of_version(NEXT), "/tmp/next");
    let pid = main_pid(&node);
    let dry = node.mcp(&["agent", "upgrade", "--file", "/tmp/next", "--dry-run"]).ok();
    dry.says(&format!("would be upgraded from {OWN} to {NEXT}"));
    assert_eq!((main_pid(&node), kept(&node)), (pid, String::new()));

    node.mcp(&["agent", "upgrade", "--file", "/tmp/next"]).ok().says("upgraded from");
    assert_eq!(status(&node), expect(NEXT, "upgrade", "confirmed"));
    assert_eq!(Untouched::of(&node), before);
    let again = node.mcp(&["agent", "upgrade", "--file", "/tmp/next"]).ok();
    again.says("runs this program already");
    // A minor version apart is near: everything works, and nothing is said.
    node.mcp(&["status"]).ok().does_not_say("drift").does_not_say("apart");
    node.deploy(LONE).ok().says("nothing to do");
    node.deploy(&LONE.replace("web:v1", "web:v2")).ok();
    assert_eq!(node.served("lone", "lone"), "v2");
    let unit = node.as_mcp("cat ~/.config/containers/systemd/mcp/lone/lone.container", "").ok();
    unit.says("/usr/bin/mcp-agent").does_not_say("/srv/mcp/upgrade");
    node.mcp(&["doctor"]).ok();
    node.as_root("ps -o comm= -p $(systemctl show -P MainPID mcp-agent)").ok().says("mcp-agent");

    // It stays: after a crash, and after a reboot.
    node.as_root("kill -9 $(systemctl show -P MainPID mcp-agent)").ok();
    until("the agent is back", || (node.mcp(&["list"]).code == 0).then_some(()));
    assert_eq!(status(&node), expect(NEXT, "upgrade", "confirmed"));
    node.lab("reboot");
    until("the node is back", || (node.mcp(&["ps", "lone"]).code == 0).then_some(()));
    assert_eq!(status(&node), expect(NEXT, "upgrade", "confirmed"));
    // Root asks the installed program alone, and user mcp the newer one.
    node.as_root("mcp-agent snapshot").ok();
    node.as_mcp("mcp-agent snapshot", "").ok();
    node.as_mcp("mcp-agent version", "").ok().says(OWN);

    // A package that is newer, and too far from this mcp.
    let package = agent_of_version(FAR);
    node.put(&package, "/usr/bin/mcp-agent.new");
    node.as_root("mv /usr/bin/mcp-agent.new /usr/bin/mcp-agent; systemctl restart mcp-agent").ok();
    assert_eq!(status(&node), expect(FAR, "package", "superseded"));
    assert_eq!(kept(&node), "");
    let far = node.mcp(&["ps"]).ok();
    far.says(&format!("is {FAR} and this mcp is {OWN}"))
        .says("lone")
        .says(&format!("install mcp {FAR}"));

    // Back to an older one, on purpose.
    let own = crate::fixture::programs().join("mcp-agent");
    send(&node, &own).ok().says(&format!("upgraded from {FAR} to {OWN}"));
    assert_eq!(status(&node), expect(OWN, "upgrade", "confirmed"));

    // A file that is not what was sent is not run.
    node.as_mcp(
        "cd /srv/mcp/upgrade; program=$(echo mcp-agent-*)
        cp \"$program\" other; chmod u+w other; echo x >>other; mv -f other \"$program\"",
        "",
    )
    .ok();
    node.as_root("systemctl restart mcp-agent").ok();
    assert_eq!(status(&node), expect(FAR, "package", "damaged"));
    assert_eq!(node.served("lone", "lone"), "v2");
}

#[test]
fn what_does_not_come_up_goes_back_by_itself() {
    let node = machine();
    node.deploy(LONE).ok();
    impatient(&node);
    let before = Untouched::of(&node);
    for behaviour in ["exit-1", "exit-2", "abort", "hang", "ready-and-hang"] {
        let failed = send(&node, &stub(NEXT, SCHEMA, behaviour)).code(1);
        failed
            .says(&format!("{NEXT} did not come up, and the agent of before serves again"))
            .says(&format!("the stub is up to no good: {behaviour}"));
        assert_eq!(status(&node), expect(OWN, "package", "returned"), "{behaviour}");
        assert_eq!(Untouched::of(&node), before, "{behaviour}");
        assert_eq!(kept(&node), "", "{behaviour}");
        node.mcp(&["agent", "status"])
            .ok()
            .says("did not come up")
            .says("the stub is up to no good");
    }
    // It goes back to the upgrade of before, not further.
    send(&node, &agent_of_version(NEXT)).ok();
    send(&node, &stub(FAR, SCHEMA, "exit-1")).code(1).says("did not come up");
    assert_eq!(status(&node), expect(NEXT, "upgrade", "returned"));
    assert_eq!(Untouched::of(&node), before);
}

#[test]
fn a_registry_that_was_changed_in_a_trial_is_put_back() {
    let node = machine();
    node.deploy(LONE).ok();
    impatient(&node);
    let (before, port) = (Untouched::of(&node), node.port("lone", "lone"));
    let failed = send(&node, &stub(NEXT, 99, "migrate")).code(1);
    failed
        .says("did not come up")
        .says("the registry of before is back, and its own is /srv/mcp/mcp.db.replaced-");
    assert_eq!(status(&node), expect(OWN, "package", "returned"));
    assert_eq!(node.sql("PRAGMA user_version"), SCHEMA.to_string());
    node.mcp(&["list"]).ok().says("lone");
    assert_eq!(Untouched::of(&node), before);
    // Without an upgrade to go back from, a newer registry is refused by name.
    node.as_root("systemctl stop mcp-agent; rm -r /srv/mcp/upgrade").ok();
    node.as_mcp("sqlite3 /srv/mcp/mcp.db 'PRAGMA user_version = 99'", "").ok();
    assert_ne!(node.as_root("systemctl start mcp-agent").code, 0);
    node.until_agent_said("has schema 99, this program knows 3; install the newer mcp-agent again");
    let state = node.as_root("systemctl show -P ExecMainStatus mcp-agent").ok();
    assert_eq!(state.text(), "78");
    assert_eq!(node.get(port, "/version").as_deref(), Some("v1"));
}

#[test]
fn what_is_not_right_is_refused_and_the_agent_runs_on() {
    let node = machine();
    node.deploy(LONE).ok();
    node.configure("[socket]\noperators = [\"alice\"]\n");
    let (before, pid) = (Untouched::of(&node), main_pid(&node));
    let good = agent_of_version(NEXT);
    send(&node, &stub(NEXT, SCHEMA - 1, "exit-1"))
        .code(1)
        .says("works with schema 2 of the registry, which has schema 3 now");
    let upgrade = |file: &str| node.mcp(&["agent", "upgrade", "--file", file]);
    upgrade("/usr/bin/true").code(1).says("as no mcp-agent does that can be upgraded to");
    upgrade("/bin/sh").code(1).says("asked for its version, it failed");
    upgrade("/etc/passwd").code(2).says("it is not a program of Linux");
    node.put(&good, "/tmp/good");
    let zeros = "0".repeat(64);
    let sum = node.mcp(&["agent", "upgrade", "--file", "/tmp/good", "--sha256", &zeros]);
    sum.code(2).says("which was not asked for");

    // Only an admin may, and it is written down.
    node.as_alice("mcp agent status", "").ok().says(OWN);
    let denied = node.as_alice("mcp agent upgrade --file /tmp/good", "").code(4);
    denied.says("Upgrade needs the role admin, the caller is operator");
    let audit = "SELECT caller, code FROM audit WHERE method = 'Upgrade' ORDER BY id DESC LIMIT 1";
    until("the refusal is recorded", || {
        (node.sql(audit) == "alice|permission_denied").then_some(())
    });

    // A file system on which nothing can be run, and one without room.
    let small = |options: &str| {
        node.as_root(&format!(
            "mkdir -p /srv/mcp/upgrade
            mount -t tmpfs -o uid=850,gid=850,mode=700,{options} small /srv/mcp/upgrade"
        ))
        .ok();
    };
    let away = || node.as_root("umount /srv/mcp/upgrade").ok();
    // The service has a view of its own of the file systems, which follows.
    small("noexec");
    upgrade("/tmp/good").code(1).says("its file system is mounted noexec");
    away();
    small("size=20m");
    upgrade("/tmp/good").code(1).says("/srv/mcp/upgrade has room for");
    away();
    assert_eq!((main_pid(&node), kept(&node)), (pid, String::new()));
    assert_eq!(Untouched::of(&node), before);
}

#[test]
fn an_upgrade_that_is_cut_off_ends_with_one_whole_program() {
    let node = machine();
    node.deploy(LONE).ok();
    let before = Untouched::of(&node);
    node.put(&agent_of_version(NEXT), "/tmp/next");
    let upgrade = "mcp agent upgrade --file /tmp/next";
    let comes_in = "until test -s /srv/mcp/upgrade/.incoming; do :; done";

    // The client goes away in the middle: as if nothing had been.
    let pid = main_pid(&node);
    node.as_mcp(&format!("{upgrade} & p=$!; {comes_in}; kill -9 $p; wait $p || true"), "").ok();
    until("what came is removed", || kept(&node).is_empty().then_some(()));
    assert_eq!((main_pid(&node), status(&node)), (pid, expect(OWN, "package", "none")));

    // The agent does.
    let kill = "kill -9 $(systemctl show -P MainPID mcp-agent)";
    node.as_mcp(&format!("{upgrade} & {comes_in}; {kill}; ! wait $!"), "").ok();
    until("the agent is back", || (node.mcp(&["list"]).code == 0).then_some(()));
    until("what came is removed", || kept(&node).is_empty().then_some(()));
    assert_eq!(status(&node), expect(OWN, "package", "none"));

    // Power is lost between the replacement and the restart: the trial is at
    // the boot.
    impatient(&node);
    node.as_root(
        "printf '[Service]\nRestartSec=1h\n' >/etc/systemd/system/mcp-agent.service.d/wait.conf
        systemctl daemon-reload",
    )
    .ok();
    let mut sending = node.in_background(upgrade);
    until("the agent waits for its restart", || {
        let state = node.as_root("systemctl show -P SubState mcp-agent").ok();
        (state.text() == "auto-restart").then_some(())
    });
    let _told = sending.lines();
    drop(sending);
    node.lab("kill");
    node.lab("start");
    until("the new agent serves", || {
        (status_or_none(&node)? == expect(NEXT, "upgrade", "confirmed")).then_some(())
    });
    node.as_root("rm /etc/systemd/system/mcp-agent.service.d/*.conf; systemctl daemon-reload").ok();

    // Power is lost in the trial: the program of before is at the boot.
    node.put(&stub(FAR, SCHEMA, "hang"), "/tmp/hang");
    let sending = node.in_background("mcp agent upgrade --file /tmp/hang");
    until("the trial has begun", || {
        let record =
            node.as_mcp("jq -r '.trial.begun.at_ms // empty' /srv/mcp/upgrade/record.json", "");
        record.text().parse::<u64>().ok()
    });
    drop(sending);
    node.lab("kill");
    node.lab("start");
    until("the agent of before serves", || {
        (status_or_none(&node)? == expect(NEXT, "upgrade", "returned")).then_some(())
    });
    node.mcp(&["agent", "status"]).ok().says("the machine went down before it had answered");
    until("the service is back", || (node.served("lone", "lone") == "v1").then_some(()));
    assert_eq!(node.unit_files(), before.files);
}

fn status_or_none(node: &Machine) -> Option<(String, String, String)> {
    (node.mcp(&["agent", "status"]).code == 0).then(|| status(node))
}

#[test]
fn one_node_at_a_time_and_none_after_the_first_that_fails() {
    let (_one, two, somebody) = two_known_machines("admin");
    let person = |script: &str| somebody.run(script);
    let bad = stub(NEXT, SCHEMA, "exit-1");
    let failed = person(&format!("mcp agent upgrade --file {} --json", bad.display())).code(1);
    let nodes = failed.json()["nodes"].clone();
    let outcomes = [&nodes[0]["outcome"], &nodes[1]["outcome"]];
    assert_eq!(outcomes, ["returned", "not_tried"], "{failed:?}");
    assert_eq!(status(&two), expect(OWN, "package", "none"));

    let good = agent_of_version(NEXT);
    let done = person(&format!("mcp agent upgrade two one --file {}", good.display())).ok();
    done.says("two: upgraded from").says("one: upgraded from");
    person("mcp agent status").ok().says("one").says("two").says("confirmed");
}

#[test]
fn the_agent_of_an_ordinary_user_is_upgraded_and_goes_back_as_well() {
    let node = machine();
    node.spoil();
    node.as_root("loginctl enable-linger alice").ok();
    until("the user's manager is there", || {
        let state = node.as_alice("systemctl --user is-system-running", "");
        ["running", "degraded"].contains(&state.text()).then_some(())
    });
    let alice =
        |script: &str| node.as_alice(&format!("export PATH=$HOME/.local/bin:$PATH; {script}"), "");
    alice("install -D -t ~/.local/bin /usr/bin/mcp-agent; mcp-agent install --user").ok();
    node.put(&agent_of_version(NEXT), "/tmp/next");
    node.put(&stub(FAR, SCHEMA, "exit-2"), "/tmp/bad");
    alice("mcp agent upgrade --file /tmp/next")
        .ok()
        .says(&format!("upgraded from {OWN} to {NEXT}"));
    alice("mcp agent status").ok().says("/home/alice/.local/state/mcp/upgrade/mcp-agent-");
    alice("mcp agent upgrade --file /tmp/bad")
        .code(1)
        .says("did not come up")
        .says("the stub is up to no good");
    alice("mcp agent status").ok().says(NEXT).says("returned");
    // What only the newer one could know is passed on to it.
    alice("mcp-agent probe --invented").code(2);
    alice("mcp-agent install --user --uninstall").ok();
}
