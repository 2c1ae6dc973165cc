//! Podman is killed in the middle of a deploy, whoever called it: systemd and
//! the agent find out, and one generation serves.

use std::time::Instant;

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with};
use crate::fixture::machine;
use crate::killed_agent::whole;
use crate::wait::{pause, until};

/// Moments of a deploy at which every podman of the user is killed.
const MOMENTS: u32 = 10;

#[test]
fn podman_killed_at_any_moment_of_a_deploy_leaves_one_generation_that_serves() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    node.deploy(PAIR).ok();
    let versions = [PAIR.to_owned(), with(PAIR, "web:v1", "web:v2")];
    let started = Instant::now();
    node.deploy(&versions[1]).ok();
    let whole_deploy = started.elapsed();
    let unrelated = node.invocations(&["lone.service"]);
    let mut now = "v2".to_owned();
    let (mut killed, mut forth, mut back) = (0, 0, 0);
    for moment in 0..MOMENTS {
        let wanted = if now == "v1" { "v2" } else { "v1" };
        node.write_as_mcp("/tmp/cut.toml", &versions[usize::from(wanted == "v2")]);
        let deploy = node.in_background("exec mcp -q deploy pair -f /tmp/cut.toml >/tmp/told 2>&1");
        pause(whole_deploy * moment / MOMENTS);
        // Conmon and the pause process have other names.
        if node.as_root("pkill -9 -u mcp -x podman").code == 0 {
            killed += 1;
        }
        let code = deploy.end();
        let told = node.as_mcp("cat /tmp/told", "").ok().out;
        assert!([0, 1].contains(&code), "moment {moment}: {code}, {told}");
        until("both components run", || {
            (node.states(&PAIR_UNITS) == ["active", "active"]).then_some(())
        });
        now = whole(&node);
        assert_eq!(now == wanted, code == 0, "moment {moment}: {now} is in force: {told}");
        if code == 0 {
            forth += 1;
        } else {
            back += 1;
            assert!(!told.is_empty(), "moment {moment}: why it failed is told");
        }
        assert_eq!(node.invocations(&["lone.service"]), unrelated);
    }
    eprintln!("killed in {killed} of {MOMENTS} moments: {forth} went forth, {back} back");
    assert!(killed > 0, "no podman ran in any moment");
    node.deploy(&versions[usize::from(now == "v1")]).ok();
    let left = node.as_mcp("systemctl --user --failed --no-legend --plain", "").ok();
    // A check of podman's own that was killed leaves the unit that it had.
    let ours = left.text().lines().filter(|unit| !unit.contains("podman healthcheck run"));
    assert_eq!(ours.collect::<Vec<_>>(), [""; 0]);
}
