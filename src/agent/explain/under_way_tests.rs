//! What is told while an operation of MCP goes on.

use super::tests::{failing, told, well};
use super::*;
use crate::agent::explain::{Journal, Said, Speaker};

fn under_way(word: &'static str, starts: bool) -> Operation {
    Operation { word, recovers: false, starts, gives_way: starts, since_ms: 9_966_000 }
}

#[test]
fn while_an_operation_goes_on_it_is_told_what_that_waits_for() {
    let said = [(Speaker::Podman, "Error: no secret with name or id \"key\": no such secret")];
    let mut evidence = failing(125, &said);
    evidence.operation = Some(under_way("deploy", true));
    insta::assert_snapshot!(told(&evidence), @r#"
    warning secret_missing: A deploy of shop is under way (34 s so far; mcp stop shop gives it up). Podman has no secret key, which it uses and MCP does not make.
    "Error: no secret with name or id "key": no such secret"
    -> sudo runuser -u mcp -- env -C / HOME=/srv/mcp XDG_RUNTIME_DIR=/run/user/850 podman secret create key FILE
    "#);
    // What is being stopped is not waited for.
    evidence.operation = Some(under_way("stop", false));
    assert_eq!(explain(&evidence).reason, "A stop of shop is under way (34 s so far).");
    let recovery = Operation { recovers: true, gives_way: false, ..under_way("recovery", true) };
    evidence.operation = Some(recovery);
    let reason = explain(&evidence).reason;
    let begins = "The agent ended in the middle of an operation on shop, which is being finished or undone (34 s so far). Podman";
    assert!(reason.starts_with(begins), "{reason}");
    evidence.operation = Some(under_way("deploy", true));
    // It was taken down again since, and the rollback goes on.
    evidence.state = ComponentState::Stopped;
    assert_eq!(explain(&evidence).cause, Cause::SecretMissing);
    // It is not its turn yet.
    evidence.journal = Journal::default();
    assert_eq!(explain(&evidence).cause, Cause::Operation);
    evidence.pulling = true;
    assert!(explain(&evidence).reason.ends_with("The image localhost/shop:1 is being pulled."));
    let mut starting = well("");
    starting.state = ComponentState::Starting;
    starting.operation = Some(under_way("start", true));
    let line = |text: &str| Said { speaker: Speaker::Container, text: text.to_owned() };
    starting.journal.current = vec![line("reading the index"), line("half of it is read")];
    insta::assert_snapshot!(told(&starting), @r#"
    warning on_its_way: A start of shop is under way (34 s so far; mcp stop shop gives it up). It was started 1 h 0 min ago, and is not up yet.
    "half of it is read"
    -> mcp logs shop/api
    "#);
}
