//! Boot sequences that cannot be.

use crate::boot_node::{service, stage, web};
use crate::fixture::{Machine, machine};
use crate::wait::until;

/// Waits until the node tells a problem.
#[track_caller]
fn told(node: &Machine, problem: &str) {
    until(&format!("the node tells {problem:?}"), || {
        node.mcp(&["node", "list"]).err.contains(problem).then_some(())
    });
}

#[test]
fn what_would_wait_for_itself_is_refused_with_its_path_and_what_was_in_force_stays() {
    let node = machine();
    node.configure(&format!(
        "{}{}",
        stage("one", &["base", "nmaes"], ""),
        stage("two", &["mid"], "")
    ));
    // Stages may be configured before their services are there.
    told(&node, "The boot stage one has the service base, which is not deployed");
    node.deploy(&web("names", &[])).ok();
    told(&node, "has the service nmaes, which is not deployed on this node; did you mean names?");
    node.deploy(&web("mid", &[])).ok();
    node.mcp(&["boot", "plan"]).ok().says("nmaes  not deployed");

    // A stage's service may need neither a later stage nor none.
    let path = "each waits for the next: base -> mid -> (stage one) -> base";
    node.deploy(&web("base", &["mid"])).code(1).says(path);
    let path = "base -> names -> (stage one) -> base";
    node.deploy_with(&web("base", &["names"]), &["--dry-run"]).code(1).says(path);
    node.deploy(&web("base", &[])).ok();
    node.deploy(&web("mid", &["base"])).ok();
    let taken = "the boot stage two and service mcp-two would both have a unit mcp-two.target";
    node.deploy(&web("mcp-two", &[])).code(1).says(taken);

    // Turned round, the sequence cannot be: that before it stays.
    let units = "cat /srv/mcp/.config/systemd/user/mid-gate.target";
    let before = node.as_mcp(units, "").ok().out;
    assert!(before.contains("After=mcp-one.target"), "{before}");
    node.reload_with(&format!("{}{}", stage("two", &["mid"], ""), stage("one", &["base"], "")));
    let path = "mid -> base -> (stage two) -> mid";
    told(&node, "The boot sequence of the configuration is not in force");
    node.mcp(&["node", "list"]).ok().says(path);
    node.as_mcp("mcp-agent check-config", "").ok().says(path);
    assert_eq!(node.as_mcp(units, "").ok().out, before);
    // At a start, too.
    node.as_root("systemctl restart mcp-agent").ok();
    told(&node, path);
    assert_eq!(node.as_mcp(units, "").ok().out, before);
    node.mcp(&["deploy", "names"]).ok();
    // What it can be again, it is, without another reload.
    node.deploy(&web("mid", &[])).ok();
    until("it is in force", || {
        let told = format!("{:?}", node.mcp(&["node", "list"]).ok());
        (!told.contains("not in force")).then_some(())
    });
    until("no stage is before it", || {
        (!node.as_mcp(units, "").ok().out.contains("After=")).then_some(())
    });
}

#[test]
fn a_stage_of_commands_takes_no_component_without_one() {
    let node = machine();
    node.configure(&stage("one", &["base"], "health = \"cmd\""));
    let why = "the boot stage one asks for command checks, and base has none for base";
    node.deploy(&web("base", &[])).code(1).says(why);
    let command = "health = { cmd = [\"/bin/health\"] }";
    node.deploy(&service("base", "web:v1", &[], command)).ok();
    node.deploy(&web("other", &[])).ok();
    node.reload_with(&stage("one", &["base", "other"], "health = \"cmd\""));
    told(&node, "the boot stage one asks for command checks, and other has none for other");
}

#[test]
fn a_mistake_in_a_stage_has_its_place() {
    let node = machine();
    node.spoil();
    let text =
        format!("{}{}", stage("one", &["base"], ""), stage("one", &["base"], "requird = true"));
    node.write_as_mcp("/srv/mcp/mcp-agent.toml", &text);
    let check = node.as_mcp("mcp-agent check-config", "").code(2);
    check.says("mcp-agent.toml:8:1: boot.sequence.requird: there is no such key; did you mean \"required\"?");
    node.write_as_mcp("/srv/mcp/mcp-agent.toml", &text.replace("requird", "required"));
    let check = node.as_mcp("mcp-agent check-config", "").code(2);
    check
        .says("mcp-agent.toml:6:8: boot.sequence.name: there is a stage one already")
        .says("mcp-agent.toml:7:13: boot.sequence.services: base is in stage one already");
}
