//! From nothing to a service that runs, as an ordinary user, and back.

use crate::fixture::{Machine, machine};
use crate::run::Answer;
use crate::wait::until;

const IMAGE: &str = "localhost/lab/web:v1";

/// What is in alice's home and unit directories, and what runs.
fn things(node: &Machine) -> String {
    let look = "cd ~
        find . -path ./.local/share/containers -prune -o -path ./.cache -prune -o -print | sort
        systemctl --user list-units --all --no-legend --plain 'mcp*' 'hello*' | awk '{print $1}'
        podman ps -aq; podman image ls -q | sort";
    node.as_alice(look, "").ok().text().to_owned()
}

/// Runs `mcp` as alice, without a terminal.
fn alice(node: &Machine, command: &str) -> Answer {
    node.as_alice(&format!("cd; {command}"), "")
}

/// A login of alice, as sshd makes it; without lingering it ends with her
/// last session.
fn log_in(node: &Machine, lingers: bool) {
    node.as_root(if lingers {
        "loginctl enable-linger alice"
    } else {
        "systemctl start user@1000"
    })
    .ok();
    until("the user's manager is there", || {
        let state = node.as_alice("systemctl --user is-system-running", "");
        ["running", "degraded"].contains(&state.text()).then_some(())
    });
    node.as_alice("podman load -q -i /usr/share/lab/images.tar", "").ok();
}

#[test]
fn what_this_machine_lacks_is_named_and_nothing_is_made() {
    let node = machine();
    node.spoil();
    // Before she has ever logged in.
    let nobody = node.as_root(
        "cd /; runuser -u alice -- env -u XDG_RUNTIME_DIR HOME=/home/alice mcp quickstart",
    );
    nobody.code(2).says("there is no session of this user").says("log in at the console or by ssh");
    node.as_root("mcp quickstart").code(2).says("you are root");
    node.mcp(&["quickstart"]).code(2).says("this user has the system's agent");

    log_in(&node, true);
    let before = things(&node);
    node.as_root("sed -i.bak /alice/d /etc/subuid").ok();
    let quickstart = format!("mcp quickstart --image {IMAGE}");
    alice(&node, &quickstart).code(1).says("/etc/subuid").says("usermod --add-subuids");
    node.as_root("mv /etc/subuid.bak /etc/subuid; mv /usr/bin/podman /usr/bin/podman.bak").ok();
    alice(&node, &quickstart).code(1).says("podman");
    node.as_root("printf '#!/bin/sh\necho podman version 4.3.1\n' >/usr/bin/podman; chmod +x /usr/bin/podman").ok();
    alice(&node, &quickstart).code(1).says("podman 4.3.1 is too old: MCP needs 5.0");
    node.as_root("mv /usr/bin/podman.bak /usr/bin/podman").ok();
    alice(&node, "mcp quickstart --image localhost/no/such:1").code(1).says("localhost/no/such:1");
    alice(&node, "mcp quickstart --remove").ok();
    assert_eq!(things(&node), before);
}

#[test]
fn a_quickstart_makes_a_service_and_takes_exactly_that_away() {
    let node = machine();
    node.spoil();
    log_in(&node, false);
    let before = things(&node);
    let quickstart = format!("mcp quickstart --image {IMAGE}");
    let dry = alice(&node, &format!("{quickstart} --dry-run")).ok();
    dry.says("planned").says("mcp-agent install --user").says("enable-linger alice");
    assert_eq!(things(&node), before);

    let made = alice(&node, &quickstart).ok();
    made.clone().says("end with your last session").says("mcp quickstart --remove");
    let url = "http://127.0.0.1:8080/";
    made.says(url);
    alice(&node, &format!("curl -fsS {url}")).ok().says("web v1");
    alice(&node, "mcp ps").ok().says("hello").says("healthy");
    let json = alice(&node, &format!("{quickstart} --json")).ok().json();
    assert_eq!(json["url"], url);
    let states: Vec<_> = json["steps"].as_array().unwrap().iter().map(|s| &s["state"]).collect();
    assert_eq!(states, ["done", "unchanged", "unchanged", "unchanged"], "{json}");
    alice(&node, "mcp quickstart --remove --dry-run").ok().says("planned");
    alice(&node, "mcp quickstart --remove").ok().says("hello is undeployed");
    // systemd forgets a unit a moment after it is down.
    until("all is as it was", || (things(&node) == before).then_some(()));
    alice(&node, "mcp quickstart --remove").ok().says("no quickstart has made anything here");
}

#[test]
fn what_the_user_made_or_changed_is_kept() {
    let node = machine();
    node.spoil();
    log_in(&node, true);
    alice(&node, &format!("mcp quickstart --image {IMAGE} --name first --port 8090")).ok();
    alice(&node, "curl -fsS http://127.0.0.1:8090/").ok();
    // Another service, and a change of the example.
    let own = "sed 's/first/mine/; s/first/mine/; s/8090/8091/; s/first/mine/' ~/.config/mcp/services/first.toml >~/mine.toml
        sed -i 's/first/mine/' ~/mine.toml; mcp deploy mine -f ~/mine.toml";
    alice(&node, own).ok();
    alice(&node, "mcp quickstart --name other")
        .code(1)
        .says("a quickstart has made the service first here");
    alice(&node, "echo '# mine now' >>~/.config/mcp/services/first.toml; mcp deploy first").ok();
    let removed = alice(&node, "mcp quickstart --remove").ok();
    removed
        .says("first was changed since: mcp undeploy first")
        .says("first.toml was changed since")
        .says("it runs first, mine");
    alice(&node, "mcp ps").ok().says("first").says("mine").says("healthy");
    alice(&node, "curl -fsS http://127.0.0.1:8091/").ok();

    // What is not a quickstart's own is in its way.
    alice(&node, "mcp quickstart --name first").code(1).says("no quickstart made it");
    alice(&node, "mcp-agent install --user --uninstall --purge")
        .code(1)
        .says("2 services are deployed");
    alice(
        &node,
        "mcp -q undeploy first; mcp -q undeploy mine; mcp-agent install --user --uninstall --purge",
    )
    .ok();
    alice(&node, "test ! -e ~/.local/state/mcp; test -e ~/.config/mcp/services/first.toml").ok();
}
