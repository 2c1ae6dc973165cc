//! `mcp wait`: until services are ready or stopped.

use crate::definitions::{LATE, LONE, with};
use crate::fixture::machine;
use crate::wait::until;

#[test]
fn waiting_is_for_what_comes() {
    let node = machine();
    node.as_root("rm -rf /srv/mcq/open").ok();
    node.mcp(&["wait", "late"]).code(1).says("no service late");
    node.deploy(LONE).ok();
    let done = node.mcp(&["wait", "lone", "lone/lone", "--json"]).ok().json();
    assert_eq!((done["reached"].as_bool(), done["wanted"].as_str()), (Some(true), Some("ready")));
    node.mcp(&["wait", "lone", "--stopped", "--timeout", "1s"]).code(5).says("lone is running");
    node.mcp(&["wait", "lone/none"]).code(1).says("no component none");

    node.mcp(&["stop", "lone"]).ok();
    node.mcp(&["wait", "lone", "--stopped"]).ok();
    node.mcp(&["wait", "lone", "--timeout", "1s"]).code(5).says("lone is stopped");
    let waiting = node.in_background("exec mcp wait lone --timeout 2m");
    node.mcp(&["start", "lone"]).ok();
    assert_eq!(waiting.end(), 0);

    // Through a deploy that takes its time, and an agent that is killed.
    node.deploy(&with(LATE, "test -e /gate/open", "true")).ok();
    let stopped = node.in_background("exec mcp wait lone --stopped --timeout 3m");
    let deploy = node.in_background(&format!(
        "cat >/tmp/late.toml <<'END'\n{LATE}END\nexec mcp deploy late -f /tmp/late.toml"
    ));
    until("the deploy is under way", || {
        let status = node.mcp(&["status", "late", "--json"]).json();
        status["services"][0]["operation"].as_str().map(|_| ())
    });
    let through = node.in_background("exec mcp wait late --timeout 3m");
    node.mcp(&["wait", "late", "--timeout", "3s"]).code(5);
    node.as_root("systemctl kill -s KILL mcp-agent").ok();
    node.as_mcp("touch /srv/mcq/open", "").ok();
    assert_eq!(through.end(), 0);
    drop(deploy);
    node.mcp(&["undeploy", "lone", "--yes"]).ok();
    assert_eq!(stopped.end(), 0);
}

/// A job, and what waits for it.
const JOB: &str = r#"name = "trip"

[[components]]
name = "prepare"
image = "localhost/lab/job:v1"
restart = "no"

[[components]]
name = "serve"
image = "localhost/lab/web:v1"
"#;

#[test]
fn a_job_that_has_done_its_work_is_well_and_is_not_done_again() {
    let node = machine();
    node.spoil();
    let file = "/srv/mcp/.config/mcp/services/trip.toml";
    node.write_as_mcp(file, JOB);
    node.mcp(&["deploy", "trip"]).ok();
    node.mcp(&["wait", "trip", "--ready"]).ok();
    until("the job has ended", || {
        (node.states(&["trip-prepare.service"]) == ["inactive"]).then_some(())
    });
    node.mcp(&["wait", "trip", "--ready"]).ok();
    node.mcp(&["explain", "trip"]).ok();
    let status = node.mcp(&["status", "trip", "--json"]).ok().json();
    assert_eq!(status["services"][0]["components"][0]["drifts"], serde_json::json!([]));
    node.mcp(&["deploy", "trip"]).ok().says("nothing to do");
    node.mcp(&["sync", "--dry-run", "--exit-code"]).ok();
    // Whatever changes the service has it done again, and says so before.
    node.write_as_mcp(file, &JOB.replace("web:v1", "web:v2"));
    node.mcp(&["deploy", "trip", "--dry-run"]).ok().says("trip-prepare.service");
    node.mcp(&["deploy", "trip"]).ok().says("prepare");
    // What somebody stops has not done its work.
    node.as_mcp("systemctl --user stop trip-serve.service", "").ok();
    node.mcp(&["wait", "trip", "--ready", "--timeout", "2s"]).code(5);
}
