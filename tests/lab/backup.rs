//! Copies of the registry, and registries that cannot be used.

use crate::definitions::LONE;
use crate::fixture::{Machine, machine};
use crate::wait::until;

const DATABASE: &str = "/srv/mcp/mcp.db";

/// What the node's agent says is wrong.
fn problems(node: &Machine) -> String {
    let told = node.mcp(&["node", "list", "--json"]).ok().json();
    told["nodes"][0]["agent"]["problems"].to_string()
}

fn token(node: &Machine) -> String {
    node.as_mcp("mcp-agent token create --name t --role viewer", "").ok().text().to_owned()
}

#[test]
fn a_copy_is_made_while_the_agent_runs_and_comes_back() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    token(&node);
    let made = node.as_root("mcp-agent snapshot").ok();
    let copy = made.text().to_owned();
    assert!(copy.starts_with("/srv/mcp/backups/mcp-"), "{made:?}");
    made.says("a sound copy of the registry: 1 service,");
    assert_eq!(node.as_root(&format!("stat -c '%U %a' {copy}")).ok().text(), "mcp 600");
    let refused = node.as_root(&format!("mcp-agent restore {copy}")).code(1);
    refused.says("another mcp-agent uses /srv/mcp; stop it first: systemctl stop mcp-agent");

    // Since then: another generation, and a token that is gone again.
    node.deploy(&LONE.replace("web:v1", "web:v2")).ok();
    let running = node.invocations(&["lone.service"]);
    node.as_root("systemctl stop mcp-agent").ok();
    let restored = node.as_root(&format!("mcp-agent restore {copy}")).ok();
    restored.says("the registry of before is kept as /srv/mcp/mcp.db.replaced-");
    node.as_root("systemctl start mcp-agent").ok();
    until("the newer generation is taken from the unit files", || {
        (node.generation("lone") == Some(2)).then_some(())
    });
    assert_eq!(node.sql("SELECT count(*) FROM tokens"), "1");
    assert_eq!(node.served("lone", "lone"), "v2");
    assert_eq!(node.invocations(&["lone.service"]), running);
    until("the note is gone", || {
        (node.as_mcp("test ! -e /srv/mcp/mcp-agent.restored", "").code == 0).then_some(())
    });
}

#[test]
fn what_was_removed_since_the_copy_is_left_to_the_operator() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let copy = node.as_root("mcp-agent snapshot").ok().text().to_owned();
    node.mcp(&["undeploy", "lone"]).ok();
    node.as_root(&format!(
        "systemctl stop mcp-agent; mcp-agent restore {copy}; systemctl start mcp-agent"
    ))
    .ok();
    until("it is told", || problems(&node).contains("it was removed since").then_some(()));
    assert_eq!(node.as_mcp("ls ~/.config/containers/systemd/mcp", "").out, "");
    node.mcp(&["undeploy", "lone"]).ok();
    node.mcp(&["agent", "recover"]).ok().says("nothing to do");
    assert!(!problems(&node).contains("lone"), "{}", problems(&node));
}

#[test]
fn the_timer_makes_copies_and_the_oldest_go() {
    let node = machine();
    node.configure("[backup]\nkeep = 2\n");
    assert_eq!(node.as_root("systemctl is-active mcp-agent-snapshot.timer").ok().text(), "active");
    for _ in 0..3 {
        node.as_root("systemctl start mcp-agent-snapshot.service").ok();
    }
    let copies = node.as_root("ls -A /srv/mcp/backups").ok();
    assert_eq!(copies.text().lines().count(), 2, "{copies:?}");
}

#[test]
fn a_damaged_registry_is_moved_aside_and_told() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let copy = node.as_root("mcp-agent snapshot").ok().text().to_owned();
    let running = node.invocations(&["lone.service"]);
    let damages = [
        ("cut off", "truncate -s 5000 /srv/mcp/mcp.db"),
        ("garbage", "head -c 20000 /dev/urandom >/srv/mcp/mcp.db"),
        (
            "a torn page",
            "dd if=/dev/urandom of=/srv/mcp/mcp.db bs=4096 seek=2 count=3 conv=notrunc",
        ),
        ("empty", "truncate -s 0 /srv/mcp/mcp.db"),
    ];
    for (what, damage) in damages {
        node.as_root(&format!(
            "systemctl stop mcp-agent; rm -f {DATABASE}-wal {DATABASE}-shm
            {damage}; systemctl start mcp-agent"
        ))
        .ok();
        assert_eq!(node.generation("lone"), Some(1), "{what}");
        assert_eq!(node.invocations(&["lone.service"]), running, "{what}");
        let told = problems(&node);
        if what != "empty" {
            assert!(told.contains("The registry was damaged"), "{what}: {told}");
            assert!(told.contains(&format!("mcp-agent restore {copy}")), "{what}: {told}");
        }
        assert!(told.contains("did not know lone"), "{what}: {told}");
    }
    let kept = node.as_root("ls -d /srv/mcp/mcp.db.corrupt-*").ok();
    assert_eq!(kept.text().lines().filter(|l| !l.ends_with("-wal")).count(), 3, "{kept:?}");
}

#[test]
fn what_another_start_cannot_cure_ends_with_its_reason() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let cases = [
        (
            "sqlite3 /srv/mcp/mcp.db 'PRAGMA user_version = 9999' >/dev/null",
            "install the newer mcp-agent again",
        ),
        (
            "rm /srv/mcp/mcp.db; sqlite3 /srv/mcp/mcp.db 'CREATE TABLE t (a)'; chown mcp: /srv/mcp/mcp.db",
            "is of another program",
        ),
        ("chown root: /srv/mcp/mcp.db; chmod 600 /srv/mcp/mcp.db", "may not use the registry"),
    ];
    node.as_root("systemctl stop mcp-agent; cp -a /srv/mcp/mcp.db /srv/mcp/good").ok();
    for (damage, reason) in cases {
        node.as_root("cp -a /srv/mcp/good /srv/mcp/mcp.db; rm -f /srv/mcp/mcp.db-*").ok();
        node.as_root(damage).ok();
        assert_ne!(node.as_root("systemctl start mcp-agent").code, 0, "{reason}");
        let state =
            "systemctl show -P ActiveState mcp-agent; systemctl show -P NRestarts mcp-agent";
        let state = node.as_root(state).ok();
        assert_eq!(state.text(), "failed\n0", "{reason}: it is not tried again");
        node.until_agent_said(reason);
        node.as_root("systemctl reset-failed mcp-agent").ok();
    }
    node.as_root("cp -a /srv/mcp/good /srv/mcp/mcp.db; systemctl start mcp-agent").ok();
    assert_eq!(node.generation("lone"), Some(1));
}
