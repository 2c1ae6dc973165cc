//! When a component counts as ready.

use crate::definitions::LONE;
use crate::fixture::machine;

/// A web server that listens only three seconds after its start, asked in
/// every way there is.
const SLOW: &str = r#"name = "slow"

[[components]]
name = "http"
image = "localhost/lab/slow:v1"
network = "slow"
env = { DELAY = "3" }
health = { http = "/health" }
[[components.routes]]
port = 8080

[[components]]
name = "tcp"
image = "localhost/lab/slow:v1"
network = "slow"
env = { DELAY = "3" }
health = { tcp = "default" }
[[components.routes]]
port = 8080

[[components]]
name = "tcp-private"
image = "localhost/lab/slow:v1"
env = { DELAY = "3" }
health = { tcp = "default" }
[[components.routes]]
port = 8080

[[components]]
name = "cmd"
image = "localhost/lab/slow:v1"
env = { DELAY = "3" }
health = { cmd = ["/bin/health"] }
[[components.routes]]
port = 8080

[[components]]
name = "after"
image = "localhost/lab/web:v1"
depends_on = ["http", "tcp", "tcp-private", "cmd"]
"#;

#[test]
fn a_component_is_ready_only_when_it_answers_however_it_is_asked() {
    let node = machine();
    node.deploy(SLOW).ok();
    let stamp = |component: &str, what: &str| -> u64 {
        let property = format!("{what}TimestampMonotonic");
        node.property(&format!("slow-{component}.service"), &property).parse().unwrap()
    };
    for component in ["http", "tcp", "tcp-private", "cmd"] {
        let port = node.port("slow", component);
        assert_eq!(node.get(port, "/version").as_deref(), Some("v1"), "{component}");
        let ready = stamp(component, "ActiveEnter");
        let took_us = ready - stamp(component, "ExecMainStart");
        assert!(took_us >= 3_000_000, "{component} was ready after {took_us} us");
        assert!(ready <= stamp("after", "ExecMainStart"), "{component}");
    }
}

/// A container that is called like a command of podman, with the results of
/// its check elsewhere the second time.
const SEARCH: &str = r#"name = "search"

[[components]]
name = "search"
image = "localhost/lab/web:v1"
health = { cmd = ["/bin/health"] }
"#;

#[test]
fn a_container_may_be_called_like_a_command_of_podman_and_keep_its_results_anywhere() {
    let node = machine();
    node.deploy(SEARCH).ok();
    node.as_mcp("mkdir -p /srv/mcp/results", "").ok();
    let extra = "extra.Container.HealthLogDestination = \"/srv/mcp/results\"\n";
    node.deploy(&format!("{SEARCH}{extra}")).ok().says("generation 2");
    node.as_mcp("ls /srv/mcp/results/*healthcheck.log", "").ok();
    // What does not succeed says why, and is not ready.
    let failing = SEARCH.replace("[\"/bin/health\"] }", "[\"/bin/sh\", \"-c\", \"echo no disk; false\"], start_period = \"1s\", retries = 1, timeout = \"1s\" }");
    node.deploy(&failing).code(1).says("no disk");
    assert_eq!(node.states(&["search.service"]), ["active"]);
}

#[test]
fn the_users_manager_may_be_restarted_and_read_anew() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let before = node.invocations(&["lone.service"]);
    node.as_mcp("systemctl --user daemon-reexec", "").ok();
    crate::wait::until("the agent finds it again", || {
        (node.mcp(&["ps", "lone"]).code == 0).then_some(())
    });
    assert_eq!(node.invocations(&["lone.service"]), before);
    node.mcp(&["deploy", "lone"]).ok().says("nothing to do");

    // All containers go down with it; what is to run comes back, and the
    // agent finds the new manager.
    node.as_root("systemctl restart user@850").ok();
    crate::wait::until("it is back and known", || {
        let ps = node.mcp(&["ps", "lone"]);
        (ps.code == 0 && ps.out.contains("healthy")).then_some(())
    });
    node.mcp(&["deploy", "lone"]).ok().says("nothing to do");
    node.mcp(&["restart", "lone"]).ok();
    assert_eq!(node.served("lone", "lone"), "v1");
}
