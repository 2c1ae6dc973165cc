//! What its unit names and podman cannot make a container of: lacking things,
//! edits, and what the OCI runtime refuses. The words are podman 5.4's.

use super::tests::{failing, told, well};
use super::*;
use crate::agent::explain::Speaker;
use crate::agent::monitor::drift::{self, FileDrift};

fn refused(status: i32, said: &str) -> Evidence {
    failing(status, &[(Speaker::Podman, said)])
}

#[test]
fn what_podman_lacks_is_told_with_what_makes_it() {
    let secret =
        "Error: running container create option: no secret with name or id \"key\": no such secret";
    insta::assert_snapshot!(told(&refused(125, secret)), @r#"
    failed secret_missing: Podman has no secret key, which it uses and MCP does not make.
    "Error: running container create option: no secret with name or id "key": no such secret"
    -> sudo runuser -u mcp -- env -C / HOME=/srv/mcp XDG_RUNTIME_DIR=/run/user/850 podman secret create key FILE
    -> mcp restart shop/api
    "#);
    let network = "Error: unable to find network with name or ID lan: network not found";
    let mut evidence = refused(125, network);
    insta::assert_snapshot!(told(&evidence), @r#"
    failed network_missing: Podman has no network lan, which it uses and MCP does not make.
    "Error: unable to find network with name or ID lan: network not found"
    -> sudo runuser -u mcp -- env -C / HOME=/srv/mcp XDG_RUNTIME_DIR=/run/user/850 podman network create lan
    -> mcp restart shop/api
    "#);
    // One of the definition comes back by itself.
    evidence.networks = vec!["lan".parse().unwrap()];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed network_missing: Its network lan was removed from podman: a start makes it again.
    "Error: unable to find network with name or ID lan: network not found"
    -> mcp restart shop/api
    "#);
    let volume = "Error: no volume with name \"a b\" found: no such volume";
    let explained = explain(&refused(125, volume));
    assert_eq!(explained.cause, Cause::VolumeMissing);
    assert!(explained.mend[0].ends_with(" podman volume create 'a b'"), "{explained:?}");
    // A container cannot say so.
    let said = [(Speaker::Container, network)];
    assert_eq!(explain(&failing(125, &said)).cause, Cause::ExitCode);
}

#[test]
fn an_edit_is_told_as_part_of_the_cause() {
    let edited = drift::of_file("shop", "shop-api.container", FileDrift::Edited);
    let said = "Error: localhost/shop:nope: image not known";
    let mut evidence = refused(125, said);
    evidence.image_there = Some(true);
    // That was mended since.
    assert_eq!(explain(&evidence).cause, Cause::Podman);
    evidence.drift = vec![edited];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed image_missing: Its unit names the image localhost/shop:nope, which is not on this node; what was deployed is localhost/shop:1. shop-api.container was edited since it was deployed: that may be why.
    "Error: localhost/shop:nope: image not known"
    -> mcp reconcile shop --dry-run
    -> mcp reconcile shop
    "#);
    evidence.drift = vec![drift::of_drop_in("/srv/x.container.d/a b.conf")];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed image_missing: Its unit names the image localhost/shop:nope, which is not on this node; what was deployed is localhost/shop:1. The drop-in /srv/x.container.d/a b.conf changes its unit, too.
    "Error: localhost/shop:nope: image not known"
    -> cat '/srv/x.container.d/a b.conf'
    -> sudo rm '/srv/x.container.d/a b.conf'
    -> sudo systemctl --user -M mcp@ daemon-reload
    -> mcp restart shop/api
    "#);
    // What runs is told apart, and what was stopped was not by an edit.
    evidence = Evidence { drift: evidence.drift, ..well("") };
    assert_eq!(explain(&evidence).cause, Cause::Running);
}

/// Exit status, what podman says, and what it is about.
const SET_UP: &[(i32, &str, &str)] = &[
    (
        126,
        "Error: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied",
        "an ulimit of it is more",
    ),
    (
        126,
        "Error: OCI runtime error: crun: mount `tmpfs` to `x`: Invalid argument",
        "a tmpfs of it",
    ),
    (
        126,
        "Error: OCI runtime error: crun: mount `/etc/passwd` to `bin`: Not a directory",
        "it mounts a file where",
    ),
    (
        127,
        "Error: crun: open `/proc/sys/net/foo`: No such file or directory: OCI runtime attempted to invoke a command that was not found",
        "a sysctl of it",
    ),
    (
        126,
        "Error: workdir \"/etc/passwd\" exists on container 6b, but is not a directory",
        "its working directory",
    ),
    (
        126,
        "Error: unable to find user nosuch: no matching entries in passwd file",
        "the image has no such user",
    ),
    (
        126,
        "Error: mounting volume v for container a4: mount: /srv: fsconfig() failed",
        "a volume of it cannot be mounted",
    ),
    (
        126,
        "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
        "a device of it is not there",
    ),
    (126, "Error: OCI runtime error: crun: something new", "the OCI runtime refuses"),
    (
        126,
        "conmon 73 <nwarn>: runtime stderr: setrlimit `RLIMIT_NOFILE`: Operation not permitted",
        "an ulimit of it is more",
    ),
];

#[test]
fn only_what_is_about_the_command_is_told_as_that() {
    const MEND: [&str; 2] = ["mcp service edit shop", "mcp deploy shop"];
    for (status, said, about) in SET_UP {
        let explained = explain(&refused(*status, said));
        let begin = format!("Its container cannot be set up ({status}): {about}");
        assert_eq!(explained.cause, Cause::SetUp, "{said}");
        assert!(explained.reason.starts_with(&begin), "{explained:?}");
        assert_eq!(
            (explained.evidence.as_str(), explained.mend.as_slice()),
            (*said, &MEND.map(str::to_owned)[..])
        );
    }
    for said in [
        "Error: crun: the path `/etc` is not a regular file: Operation not permitted: OCI permission denied",
        "Error: OCI runtime error: runc: unable to start container process: exec: \"/x\": permission denied",
    ] {
        assert_eq!(explain(&refused(126, said)).cause, Cause::CommandNotExecutable, "{said}");
    }
}
