//! A disk that is full: during a deploy, a write of the registry, a copy. What
//! was there stays right, it is told, and with room again everything goes on.

use crate::definitions::{LONE, with_component};
use crate::fixture::{Machine, machine};
use crate::wait::until;

/// Mounts a small file system, of a file, on a directory of the agent, with
/// what is in the directory; the agent is down meanwhile.
fn make_small(node: &Machine, directory: &str, mib: u32) {
    node.as_root(&format!(
        "systemctl stop mcp-agent
        mkdir -p {directory}; rm -rf /root/aside; cp -a {directory} /root/aside
        # A node has no such devices by itself, and the kernel has.
        test -e /dev/loop-control || mknod /dev/loop-control c 10 237
        for n in $(seq 0 63); do test -e /dev/loop$n || mknod /dev/loop$n b 7 $n; done
        head -c {mib}M /dev/zero >/root/small
        device=$(losetup -f --show /root/small)
        busybox mke2fs -m 0 $device >/dev/null
        mount $device {directory}
        # It goes with the mount.
        losetup -d $device
        rmdir {directory}/lost+found
        cp -a /root/aside/. {directory}/; chown mcp: {directory}
        systemctl start mcp-agent"
    ))
    .ok();
}

/// Fills what is left. The kernel counts more for what is not on the disk yet
/// than it then takes: what it gives back is filled as well.
fn fill(node: &Machine, directory: &str) {
    node.as_root(&format!(
        "cd {directory}; last=none; touch filler
        while size=$(stat -c %s filler) && [ $size != $last ]; do
            last=$size
            head -c 100M /dev/zero >>filler 2>/dev/null || true
            sync -f filler
        done
        chown mcp: filler"
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

/// Begins a deploy that is ready when it is told to, fills the disk while it
/// is being tried, and returns how it ended.
fn fill_during_a_deploy(node: &Machine, directory: &str) -> i32 {
    node.as_root("rm -f /srv/mcq/open").ok();
    let gate = "{ cmd = \"test -e /gate/open\", interval = \"2s\", start_period = \"2m\" }";
    let slow = with_component(
        LONE,
        "lone",
        &[
            ("image", "\"localhost/lab/slow:v1\""),
            ("volumes", "[\"/srv/mcq:/gate\"]"),
            ("health", gate),
        ],
    );
    node.write_as_mcp("/tmp/cut.toml", &slow);
    let deploy = node.in_background("exec mcp -q deploy lone -f /tmp/cut.toml >/tmp/told 2>&1");
    until("it is being tried", || (node.states(&["lone.service"]) == ["activating"]).then_some(()));
    fill(node, directory);
    node.as_root("touch /srv/mcq/open").ok();
    deploy.end()
}

#[test]
fn a_disk_that_is_filled_during_a_deploy_leaves_one_generation() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let units = "/srv/mcp/.config";
    make_small(&node, units, 4);
    let before = node.unit_files();
    // Ready, and then it cannot be written down.
    assert_eq!(fill_during_a_deploy(&node, units), 1);
    node.as_mcp("cat /tmp/told", "").ok().says("No space left").says("rolled back");
    assert_eq!(node.served("lone", "lone"), "v1");
    assert_eq!(node.property("lone.service", "NeedDaemonReload"), "no");
    free(&node, units);
    assert_eq!((node.unit_files(), node.generation("lone")), (before, Some(1)));
    node.mcp(&["deploy", "lone"]).ok().says("nothing to do");
    node.deploy(&LONE.replace("web:v1", "web:v2")).ok();
    assert_eq!(node.served("lone", "lone"), "v2");
}

#[test]
fn a_registry_and_a_copy_on_a_full_disk() {
    let node = machine();
    node.spoil();
    // State and units apart, so that only the first is full.
    node.write_as_mcp(
        "/srv/mcp/mcp-agent.toml",
        "[database]\npath = \"/srv/mcp/state/mcp.db\"\n[backup]\ndir = \"/srv/mcp/state/backups\"\n",
    );
    node.as_root("install -d -o mcp -g mcp /srv/mcp/state /srv/mcp/state/backups").ok();
    make_small(&node, "/srv/mcp/state", 3);
    let sql = |query: &str| {
        let ask = "exec sqlite3 -readonly -cmd '.timeout 60000' /srv/mcp/state/mcp.db";
        node.as_mcp(ask, query).ok().text().to_owned()
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

    // In the middle of a deploy, what it came to cannot be recorded. With room
    // again, it is finished or undone.
    let code = fill_during_a_deploy(&node, "/srv/mcp/state");
    free(&node, "/srv/mcp/state");
    until("nothing is unfinished", || {
        let open = sql("SELECT count(*) FROM operations WHERE outcome IS NULL") == "0";
        (open && node.mcp(&["list"]).code == 0).then_some(())
    });
    let told = node.as_mcp("cat /tmp/told", "").ok().out;
    let accepted = if code == 0 { "slow:v1" } else { "web:v2" };
    let image = "podman inspect -f '{{.ImageName}}' lone";
    node.as_mcp(image, "").ok().says(accepted);
    assert!(code == 0 || told.contains("full"), "it is told why: {told}");
    assert_eq!(node.states(&["lone.service"]), ["active"]);
    node.has_nothing_to_deploy("lone");
}
