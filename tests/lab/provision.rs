//! From a bare machine to a node, by one command.

use serde_json::Value;

use crate::definitions::LONE;
use crate::fixture::{Machine, bare_machine, lab_command, programs, workstation};
use crate::run::Answer;

/// What a Debian that only has ssh has not got.
const PURGE: &str = "export DEBIAN_FRONTEND=noninteractive
    apt-get -q -y purge podman conmon crun uidmap passt slirp4netns netavark aardvark-dns \
        fuse-overlayfs catatonit dbus-user-session libpam-systemd buildah 'golang-*' 'containernetworking-*'
    apt-get -q -y --purge autoremove
    ! command -v podman && ! command -v mcp && ! getent passwd mcp";

/// What the packages depend on, and sudo: what a mirror of Debian has.
const MIRRORED: [&str; 11] = [
    "aardvark-dns",
    "ca-certificates",
    "catatonit",
    "dbus-user-session",
    "debconf",
    "libpam-systemd",
    "netavark",
    "passt",
    "podman",
    "sudo",
    "uidmap",
];

/// A person at the workstation, with a home and nothing in it.
struct Person {
    home: tempfile::TempDir,
    packages: String,
}

impl Person {
    fn new() -> Self {
        let packages = lab_command(&["package", programs().to_str().unwrap()]).ok();
        Self { home: tempfile::tempdir().unwrap(), packages: packages.text().to_owned() }
    }

    /// Runs a script; `$2` is the directory of the packages.
    fn types(&self, script: &str) -> Answer {
        let script = format!("export HOME=$1 XDG_CONFIG_HOME= XDG_RUNTIME_DIR=; cd; {script}");
        workstation(&script, &[self.home.path().to_str().unwrap(), &self.packages])
    }

    fn provisions(&self, arguments: &str) -> Answer {
        self.types(&format!("mcp node provision {arguments} --packages $2"))
    }

    /// The same, and the power goes as soon as a step has ended.
    fn is_interrupted_after(&self, step: &str, arguments: &str) {
        let script = format!(
            "mcp node provision {arguments} --packages $2 2>err & pid=$!
            until grep -q '^{step} ' err || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
            kill -9 $pid 2>/dev/null || true; wait $pid || true; cat err"
        );
        self.types(&script).ok().says(step);
    }
}

/// A Debian machine that has ssh and nothing of ours, and a mirror.
fn bare() -> Machine {
    let node = bare_machine();
    node.as_root(PURGE).ok();
    let mut mirror = vec!["mirror", node.name()];
    mirror.extend(MIRRORED);
    lab_command(&mirror).ok();
    node
}

/// What came of each step.
fn outcomes(told: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = told["steps"].as_array().unwrap();
    steps.iter().map(|step| (text(&step["step"]), text(&step["outcome"]))).collect()
}

#[test]
fn one_command_makes_a_bare_machine_a_node_and_a_second_changes_nothing() {
    let node = bare();
    let host = format!("root@{}", node.name());
    let person = Person::new();

    let planned = person.provisions(&format!("{host} --name rift --dry-run --json")).ok().json();
    let would = outcomes(&planned);
    assert_eq!(would[0], ("machine".to_owned(), "same".to_owned()));
    assert!(would[1..].iter().all(|(_, outcome)| outcome == "would"), "{would:?}");
    node.as_root("! command -v mcp-agent && ! getent passwd mcp").ok();
    person.types("test ! -e .config/mcp/mcp.toml").ok();

    // Interrupted in the middle of each step, and repeated.
    for step in ["machine", "upload", "packages", "configuration", "agent", "token", "doctor"] {
        person.is_interrupted_after(step, &format!("{host} --name rift"));
    }
    let done = person.provisions(&format!("{host} --name rift --json")).ok().json();
    assert_eq!(done["node"], "rift");
    assert_eq!(done["address"], format!("{}:9444", node.address()));
    assert_eq!(done["fingerprint"], node.fingerprint());
    let found = done["findings"].as_array().unwrap();
    assert!(found.iter().all(|finding| finding["level"] != "failed"), "{done}");
    person.types("mcp node list").ok().says("ready").says("admin");
    assert_eq!(person.types("stat -c %a .config/mcp/tokens/rift").ok().text(), "600");

    // It is a node: it runs things, and comes back.
    let lone = person.home.path().join("lone.toml");
    mcp::atomic_file::write(&lone, LONE.as_bytes(), 0o644).unwrap();
    person.types("mcp deploy lone -f lone.toml").ok();
    let before = node.invocations(&["lone.service"]);
    let state = "cat /srv/mcp/mcp-agent.toml; dpkg -l; systemctl show -P InvocationID mcp-agent";
    let was = node.as_root(state).ok().out;
    let again = person.provisions(&format!("{host} --name rift --json")).ok().json();
    assert!(outcomes(&again).iter().all(|(_, outcome)| outcome == "same"), "{again}");
    assert_eq!(node.as_root(state).ok().out, was);
    assert_eq!(node.invocations(&["lone.service"]), before);
    node.lab("reboot");
    assert_eq!(node.served("lone", "lone"), "v1");

    // Somebody who is not root, for whom it is another node.
    let other = Person::new();
    node.as_root("apt-get -q -y install sudo; install -d -m 700 -o alice -g alice ~alice/.ssh")
        .ok();
    let alice = format!("alice@{}", node.name());
    other
        .provisions(&format!("{alice} --name rift"))
        .code(4)
        .says("sudo on")
        .says("asks for a password");
    node.as_root("echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice").ok();
    let done = other.provisions(&format!("{alice} --name rift --json")).ok().json();
    let changed: Vec<String> =
        outcomes(&done).into_iter().filter(|(_, o)| o == "changed").map(|(s, _)| s).collect();
    assert_eq!(changed, ["token", "config"]);
    other.types("mcp node list").ok().says("ready");
}

#[test]
fn a_machine_that_cannot_be_a_node_is_left_alone_with_its_reason() {
    let node = bare_machine();
    let host = format!("root@{}", node.name());
    let person = Person::new();
    let release =
        "cp -n /etc/os-release /tmp/kept; rm -f /etc/os-release; cat /tmp/kept >/etc/os-release";
    for (change, said) in [
        ("s/^VERSION_ID=.*/VERSION_ID=12/", "whose podman is too old"),
        ("s/^ID=.*/ID=fedora/", "packages are for Debian"),
    ] {
        node.as_root(&format!("{release}; sed -i '{change}' /etc/os-release")).ok();
        person.provisions(&host).code(1).says(said);
    }
    node.as_root(&format!("{release}; sed -i 's/^ID=.*/ID=nixos/' /etc/os-release")).ok();
    let nixos = person.provisions(&host).code(1);
    assert!(nixos.out.contains("services.mcp-agent = {"), "{nixos:?}");
    node.as_root(release).ok();

    // A uid that is taken: the package refuses before it changes anything.
    node.as_root("useradd --uid 850 kyle").ok();
    person.provisions(&host).code(1).says("The uid 850 belongs to user kyle");
    node.as_root("userdel kyle").ok();
    // Packages for another machine, none, and no such machine.
    person.types(&format!("mkdir none; mcp node provision {host} --packages none")).code(2);
    person.types(&format!("mcp node provision {host}")).code(1).says("--packages DIR");
    person.provisions("root@nowhere.lab").code(3).says("no connection to root@nowhere.lab by ssh");
    person.types("mcp node provision -- -oProxyCommand=id").code(2).says("is no host");
    node.as_root("test ! -e /usr/bin/mcp-agent && ! getent passwd mcp").ok();
    person.types("test ! -e .config/mcp/mcp.toml").ok();
}
