//! Several nodes, seen from one workstation.

use crate::definitions::LONE;
use crate::fixture::{Machine, lab_command, two_machines, workstation};
use crate::run::Answer;
use crate::wait::until;

/// Somebody at the workstation, with a home.
#[derive(Debug)]
pub struct Person(tempfile::TempDir);

impl Person {
    /// Runs a script of that person.
    pub fn run(&self, script: &str) -> Answer {
        let script = format!("export HOME=$1 XDG_CONFIG_HOME= XDG_RUNTIME_DIR=; cd; {script}");
        workstation(&script, &[self.0.path().to_str().unwrap()])
    }
}

/// Returns two machines that somebody knows as `one` and `two`, with a token
/// of a role.
pub fn two_known_machines(role: &str) -> (Machine, Machine, Person) {
    let (one, two) = two_machines();
    let person = Person(tempfile::tempdir().unwrap());
    let (pin, other_pin) = (one.serve_tcp(), two.serve_tcp());
    let token = one.token("token", role);
    // One person, one token: the second node gets to know the same.
    let row =
        one.as_mcp("sqlite3 /srv/mcp/mcp.db '.mode insert tokens' 'SELECT * FROM tokens'", "");
    two.change_registry(row.ok().text());
    person.run(&format!("mcp node add one {}:9444 --fingerprint {pin}", one.name())).ok();
    person.run(&format!("mcp node add two {}:9444 --fingerprint {other_pin}", two.name())).ok();
    person.run(&format!("echo {token} | mcp login -n one --token-file -")).ok();
    (one, two, person)
}

#[test]
fn a_node_that_is_down_or_cut_off_does_not_hide_the_others() {
    let (one, two, somebody) = two_known_machines("operator");
    let person = |script: &str| somebody.run(script);
    person("mcp node list").ok().says("one").says("two").does_not_say("unreachable");

    mcp::atomic_file::write(&somebody.0.path().join("lone.toml"), LONE.as_bytes(), 0o644).unwrap();
    person("mcp deploy lone -f lone.toml").code(2).says("it is not clear which node is meant");
    person("mcp -n one deploy lone -f lone.toml").ok();
    person("mcp ps").ok().says("lone");
    until("what it wrote is told", || {
        person("mcp -n one logs lone").ok().out.contains("start:").then_some(())
    });

    two.lab("kill");
    for command in ["ps", "list", "status"] {
        person(&format!("mcp {command}")).code(3).says("lone").says("two");
    }
    person("mcp node list").code(3).says("ready").says("unreachable");
    let json = person("mcp ps --json").code(3).json();
    assert_eq!(json["components"][0]["service"], "lone");
    assert_eq!(json["problems"][0]["node"], "two");
    assert_eq!(json["problems"][0]["kind"], "unreachable");
    person("mcp -n one ps").ok();
    two.lab("start");

    // A cable is pulled: nobody even says no.
    lab_command(&["partition", one.name()]).ok();
    let cut = person("mcp node list").code(3);
    lab_command(&["heal", one.name()]).ok();
    cut.says("unreachable");
    person("mcp -n one ps").ok().says("lone");
}
