//! A definition to begin with, from the command to the running service.

use crate::definitions::with;
use crate::fixture::machine;
use crate::wait::until;

const FILE: &str = "/srv/mcp/.config/mcp/services/hello.toml";

#[test]
fn a_starter_lints_deploys_and_takes_what_its_comments_offer() {
    let node = machine();
    node.spoil();
    let new = [
        "service",
        "new",
        "hello",
        "--image",
        "localhost/lab/web:v1",
        "--port",
        "127.0.0.1:18099:8080",
        "--volume",
        "data:/data",
        "--env",
        "COLOUR=red = \"x\"",
    ];
    let with_more = |more: &[&'static str]| node.mcp(&[&new[..], more].concat());
    // Printed, nothing is written.
    let printed = with_more(&["--stdout"]).ok().out;
    node.as_mcp(&format!("test ! -e {FILE}"), "").ok();

    with_more(&[]).ok().says("written").says("mcp deploy hello --dry-run");
    let text = node.as_mcp(&format!("cat {FILE}"), "").ok().out;
    assert_eq!(text, printed);
    assert!(text.lines().any(|line| line.starts_with("# ")), "{text}");
    node.mcp(&["lint", FILE]).ok();
    node.mcp(&["deploy", "hello", "--dry-run"]).ok().says("start").says("18099");
    node.mcp(&["deploy", "hello"]).ok().says("generation 1");
    // It has no check yet.
    let serves = |version: &str| {
        until(&format!("{version} is served"), || {
            (node.get(18_099, "/version").as_deref() == Some(version)).then_some(())
        });
    };
    serves("v1");
    let inside = "mcp exec hello -- sh -c 'echo \"$COLOUR\"; echo x >/data/there'";
    node.as_mcp(inside, "").ok().says("red = \"x\"");

    // What somebody may have worked on is not lost by asking again.
    let edited = with(&text, "web:v1", "web:v2");
    node.write_as_mcp(FILE, &edited);
    with_more(&[]).code(2).says("there is").says("mcp service edit hello");
    assert_eq!(node.as_mcp(&format!("cat {FILE}"), "").ok().out, edited);
    node.mcp(&["deploy", "hello"]).ok();
    serves("v2");
    node.mcp(&["exec", "hello", "--", "cat", "/data/there"]).ok().says("x");
    with_more(&["--force"]).ok().says("written");
    assert_eq!(node.as_mcp(&format!("cat {FILE}"), "").ok().out, text);

    // Each line that is offered is one that a definition takes, alone.
    let mut offered = 0;
    for line in text.lines() {
        let Some(key) = line.strip_prefix("# ").filter(|l| l.contains(" = ")) else { continue };
        offered += 1;
        let taken = with(&text, line, key);
        // It depends on a component that is not there.
        let taken = taken.replace(
            "depends_on = [\"db\"]",
            "depends_on = [\"db\"]\n[[components]]\nname = \"db\"\nimage = \"localhost/lab/web:v1\"",
        );
        node.write_as_mcp("/tmp/starter/hello.toml", &taken);
        node.mcp(&["lint", "/tmp/starter/hello.toml"]).ok();
    }
    assert!(offered > 5, "{text}");
}

#[test]
fn a_starter_that_cannot_be_is_refused_and_nothing_is_written() {
    let node = machine();
    let new = |args: &[&'static str]| {
        let base = ["service", "new", "hello", "--image", "localhost/lab/web:v1"];
        node.mcp(&[&base[..], args].concat())
    };
    new(&["--port", "nonsense"]).code(2).says("nonsense");
    new(&["--volume", "/data"]).code(2).says("/data");
    new(&["--env", "NO_VALUE"]).code(2).says("NO_VALUE");
    node.mcp(&["service", "new", "hello", "--image", ""]).code(2);
    node.mcp(&["service", "new", "Hel_lo", "--image", "localhost/lab/web:v1"]).code(2);
    node.as_mcp(&format!("test ! -e {FILE}"), "").ok();

    let component = new(&["--component", "front", "--node", "rift", "--stdout"]).ok();
    component.says("name = \"front\"").says("node = \"rift\"");
    let json = new(&["--stdout", "--json"]).ok().json();
    assert_eq!(json["service"], "hello");
}
