//! Living without us: services that are handed over, and units of `mcp render`.

use crate::definitions::{LONE, PAIR, PAIR_UNITS};
use crate::fixture::machine;
use crate::wait::until;

#[test]
fn a_released_service_runs_on_survives_a_reboot_and_is_nobodys_of_ours() {
    let node = machine();
    node.spoil();
    node.deploy(PAIR).ok();
    node.deploy(LONE).ok();
    // Drop-ins of both kinds.
    let quadlet = "/srv/mcp/.config/containers/systemd/mcp/pair/pair-api.container.d";
    node.write_as_mcp(&format!("{quadlet}/own.conf"), "[Service]\nEnvironment=OWN=yes\n");
    let systemd = "/srv/mcp/.config/systemd/user/pair-front.service.d";
    node.write_as_mcp(&format!("{systemd}/own.conf"), "[Service]\nEnvironment=OWN=yes\n");
    node.as_mcp("systemctl --user daemon-reload", "").ok();
    let before = node.invocations(&PAIR_UNITS);

    node.mcp(&["release", "pair/api"]).code(2);
    node.mcp(&["release", "pair"]).ok().says("its units are yours");
    assert_eq!(node.invocations(&PAIR_UNITS), before);
    let place = "/srv/mcp/.config/containers/systemd/pair";
    node.as_mcp(&format!("head -n1 {place}/pair-api.container"), "").ok().says("released");
    node.as_mcp(&format!("test -e {place}/pair-api.container.d/own.conf"), "").ok();
    node.as_mcp(&format!("test -e {systemd}/own.conf"), "").ok();
    node.as_mcp("test ! -e ~/.config/containers/systemd/mcp/pair", "").ok();
    node.as_mcp("! grep -r 'gate\\|mcp.target' ~/.config/containers/systemd/pair", "").ok();
    assert_eq!(node.mcp(&["list", "--json"]).ok().json()["services"].as_array().unwrap().len(), 1);
    for table in ["leases", "services"] {
        let rows =
            format!("sqlite3 /srv/mcp/mcp.db \"SELECT count(*) FROM {table} WHERE 'pair' IN (");
        let column = if table == "services" { "name" } else { "service" };
        assert_eq!(node.as_mcp(&format!("{rows}{column})\""), "").ok().text(), "0", "{table}");
    }
    until("podman's record of it is gone", || {
        let gone = "! podman secret ls --format '{{.Name}}' | grep pair";
        (node.as_mcp(gone, "").code == 0).then_some(())
    });
    node.mcp(&["status"]).ok().does_not_say("pair");
    node.mcp(&["agent", "recover", "--dry-run"]).ok().does_not_say("pair");
    // Its names are taken.
    node.deploy(PAIR).code(1).says("there is a unit pair-api.service already");

    // An agent that starts does not take it back, nor does a boot need one.
    node.as_root("systemctl restart mcp-agent").ok();
    node.mcp(&["status"]).ok().does_not_say("pair").says("lone");
    assert_eq!(node.invocations(&PAIR_UNITS), before);
    node.as_root("systemctl disable --quiet mcp-agent").ok();
    node.lab("reboot");
    until("it is back", || (node.states(&PAIR_UNITS) == ["active"; 2]).then_some(()));
    let own = node
        .as_mcp("podman exec pair-api env; systemctl --user show pair-front -p Environment", "");
    own.ok().says("OWN=yes");
}

#[test]
fn a_release_that_is_cut_off_is_finished_by_the_next_agent() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let before = node.invocations(&["lone.service"]);
    // As an agent leaves it that was killed after the first step.
    node.as_root("systemctl stop mcp-agent").ok();
    let row = "INSERT INTO operations (service, kind, state, from_generation, to_generation, started_at_ms, started_by)
        VALUES ('lone', 'release', '{}', 1, 0, 1, 'test')";
    node.as_mcp(&format!("sqlite3 /srv/mcp/mcp.db \"{row}\""), "").ok();
    node.as_mcp("mv ~/.config/containers/systemd/mcp/lone ~/.config/containers/systemd/lone", "")
        .ok();
    node.as_root("systemctl start mcp-agent").ok();
    until("the release is finished", || {
        let listed = node.mcp(&["list", "--json"]).ok().json();
        let open = node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL");
        (listed["services"].as_array().unwrap().is_empty() && open == "0").then_some(())
    });
    node.as_mcp("head -n1 ~/.config/containers/systemd/lone/lone.container", "")
        .ok()
        .says("released");
    node.as_mcp("test -L ~/.config/systemd/user/default.target.wants/lone.target", "").ok();
    assert_eq!(node.invocations(&["lone.service"]), before);
}

#[test]
fn rendered_units_need_nothing_of_ours() {
    let node = machine();
    node.spoil();
    node.as_root("systemctl disable --quiet --now mcp-agent").ok();
    node.write_as_mcp("/tmp/pair.toml", PAIR);
    node.as_mcp("mcp render /tmp/pair.toml --standalone --out ~/.config", "").ok();
    // Not even the program is there.
    node.as_root("mv /usr/bin/mcp-agent /usr/bin/mcp-agent.away").ok();
    node.as_mcp("systemctl --user daemon-reload && systemctl --user start pair.target", "").ok();
    until("it runs", || (node.states(&PAIR_UNITS) == ["active"; 2]).then_some(()));
    node.as_mcp("systemctl --user enable pair.target", "").ok();
    node.lab("reboot");
    until("it is back", || (node.states(&PAIR_UNITS) == ["active"; 2]).then_some(()));
}

#[test]
fn what_is_exported_is_what_was_deployed() {
    let node = machine();
    node.deploy(PAIR).ok();
    node.deploy_part("pair/api", &PAIR.replace("red", "blue"), &[]).ok();
    node.mcp(&["service", "export", "pair", "--force"]).ok();
    let file = "/srv/mcp/.config/mcp/services/pair.toml";
    node.as_mcp(&format!("grep -q blue {file}"), "").ok();
    node.mcp(&["deploy", "pair"]).ok().says("nothing to do");
    node.mcp(&["stop", "pair"]).ok();
    node.as_mcp(&format!("grep -qx 'active = false' {file}"), "").ok();
    node.mcp(&["deploy", "pair"]).ok().says("nothing to do");
    node.as_mcp(&format!("rm {file}"), "").ok();
}

/// Of every kind of check, with what else a unit says of it.
const KINDS: &str = r#"name = "kinds"

[[components]]
name = "db"
image = "localhost/lab/web:v1"
ports = ["8133:8080"]
stop_timeout = "20s"
health = { cmd = ["/bin/health"], on_failure = "restart" }

[[components]]
name = "plain"
image = "localhost/lab/web:v1"

[[components]]
name = "tcp"
image = "localhost/lab/web:v1"
depends_on = ["db"]
ports = ["8134:8080"]
health = { tcp = 8080, interval = "7s" }

[[components]]
name = "web"
image = "localhost/lab/web:v1"
network = "kindsnet"
ports = ["8135:8080"]
volumes = ["data:/data"]
health = { http = "/health" }
"#;

#[test]
fn what_is_released_and_adopted_is_as_it_was() {
    let node = machine();
    node.spoil();
    node.deploy(KINDS).ok();
    let script = "cat ~/.config/containers/systemd/mcp/kinds/*.container ~/.config/systemd/user/kinds-*-check.* | grep -v '^#'";
    let files = || node.as_mcp(script, "").ok().out;
    let units =
        ["kinds-db.service", "kinds-plain.service", "kinds-tcp.service", "kinds-web.service"];
    let before = (files(), node.invocations(&units));
    for _ in 0..2 {
        node.mcp(&["release", "kinds"]).ok();
        node.as_mcp("rm -f ~/.config/mcp/services/kinds.toml", "").ok();
        let adopted = node.mcp(&["adopt", "kinds", "--yes"]).ok();
        adopted.says("nothing had to be restarted").does_not_say("unchecked");
        let text = node.as_mcp("cat ~/.config/mcp/services/kinds.toml", "").ok().out;
        assert!(!text.contains("extra"), "{text}");
        let lines =
            |text: &str| text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).count();
        // A check has a table of its own.
        assert!(lines(&text) <= lines(KINDS) + 4, "{text}");
        assert_eq!((files(), node.invocations(&units)), before, "{text}");
    }
    let timers = ["kinds-tcp-check.timer", "kinds-web-check.timer"];
    until("what checks them goes on", || (node.states(&timers) == ["active"; 2]).then_some(()));
    until("nothing drifts", || {
        let status = node.mcp(&["status", "kinds", "--json"]).ok().json();
        (status["services"][0]["drifts"] == serde_json::json!([])).then_some(())
    });
    node.mcp(&["undeploy", "kinds", "--purge-data", "--yes"]).ok();
}
