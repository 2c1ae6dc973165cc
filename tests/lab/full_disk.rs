//! A disk that is full: during a deploy, a write of the registry, a copy. What
//! was there stays right, it is told, and with room again everything goes on.

use crate::definitions::LONE;
use crate::fixture::{Machine, machine};
use crate::wait::until;

/// Moves a directory of the agent onto a small file system of its own.
fn make_small(node: &Machine, directory: &str, mib: u32) {
    node.as_root(&format!(
        "systemctl stop mcp-agent
        rm -rf /tmp/aside; cp -a {directory} /tmp/aside
        mount -t tmpfs -o size={mib}m,uid=850,gid=850,mode=700 small {directory}
        cp -a /tmp/aside/. {directory}/
        systemctl start mcp-agent"
    ))
    .ok();
}

/// Fills what is left.
fn fill(node: &Machine, directory: &str) {
    node.as_root(&format!(
        "head -c 100M /dev/zero >{directory}/filler 2>/dev/null || true; chown mcp: {directory}/filler"
    ))
    .ok();
}

fn free(node: &Machine, directory: &str) {
    node.as_root(&format!("rm {directory}/filler")).ok();
}

#[test]
fn a_deploy_onto_a_full_disk_leaves_the_old_generation_serving() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let units = "/srv/mcp/.config";
    make_small(&node, units, 4);
    let before = (node.unit_files(), node.invocations(&["lone.service"]));
    fill(&node, units);
    let failed = node.deploy(&LONE.replace("web:v1", "web:v2")).code(1);
    assert!(format!("{failed:?}").contains("No space left"), "{failed:?}");
    assert_eq!(node.served("lone", "lone"), "v1");
    let told = node.mcp(&["doctor"]).code(1);
    told.says("which holds the unit files, is full");
    free(&node, units);
    until("what was cut off is settled", || {
        let open = node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL");
        (open == "0").then_some(())
    });
    assert_eq!((node.unit_files(), node.invocations(&["lone.service"])), before);
    node.deploy(&LONE.replace("web:v1", "web:v2")).ok();
    assert_eq!(node.served("lone", "lone"), "v2");
    node.mcp(&["doctor"]).ok();
}

#[test]
fn a_registry_and_a_copy_on_a_full_disk() {
    let node = machine();
    node.spoil();
    // State and units apart, so that only the first is full.
    node.as_root(
        "systemctl stop mcp-agent; mkdir -p /srv/mcp/state/backups; chown -R mcp: /srv/mcp/state
        mount -t tmpfs -o size=3m,uid=850,gid=850,mode=700 small /srv/mcp/state",
    )
    .ok();
    node.write_as_mcp(
        "/srv/mcp/mcp-agent.toml",
        "[database]\npath = \"/srv/mcp/state/mcp.db\"\n[backup]\ndir = \"/srv/mcp/state/backups\"\n",
    );
    node.as_root("systemctl start mcp-agent").ok();
    let sql = |query: &str| {
        node.as_mcp("exec sqlite3 -readonly /srv/mcp/state/mcp.db", query).ok().text().to_owned()
    };
    node.deploy(LONE).ok();
    let copy = node.as_root("mcp-agent snapshot").ok().text().to_owned();
    // A log that is begun anew has no room in it.
    node.as_root("systemctl restart mcp-agent").ok();
    fill(&node, "/srv/mcp/state");

    let no_copy = node.as_root("mcp-agent snapshot").code(1);
    no_copy.says("no copy was made; the old ones are as they were");
    let copies = node.as_root("ls -A /srv/mcp/state/backups").ok();
    assert!(copies.text().lines().count() == 1 && copy.ends_with(copies.text()), "{copies:?}");

    let failed = node.deploy(&LONE.replace("web:v1", "web:v2"));
    assert_ne!(failed.code, 0, "{failed:?}");
    assert!(format!("{failed:?}").contains("full"), "it is told why: {failed:?}");
    assert_eq!(node.served("lone", "lone"), "v1");
    assert_eq!(sql("SELECT generation FROM services"), "1");
    node.as_root("systemctl restart --no-block mcp-agent").ok();

    free(&node, "/srv/mcp/state");
    until("the agent serves", || (node.mcp(&["list"]).code == 0).then_some(()));
    until("nothing is unfinished", || {
        (sql("SELECT count(*) FROM operations WHERE outcome IS NULL") == "0").then_some(())
    });
    assert_eq!(node.served("lone", "lone"), "v1");
    node.deploy(&LONE.replace("web:v1", "web:v2")).ok();
    assert_eq!(node.served("lone", "lone"), "v2");
    node.as_root("mcp-agent snapshot").ok();
}
