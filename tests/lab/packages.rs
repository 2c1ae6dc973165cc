//! The Debian packages: what they make of a bare machine, what they refuse,
//! and what runs on and stays behind when they are upgraded and removed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::definitions::{PAIR, PAIR_UNITS};
use crate::fixture::{Machine, bare_machine, lab_command, machine, programs};
use crate::run::Answer;
use crate::wait::until;

/// The version of the programs, and so of the packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const DROP_IN: &str = "/etc/systemd/system/user@850.service.d/50-mcp.conf";

fn packaging(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/debian").join(program)
}

/// Returns the directory of the packages that the lab installs.
fn packages() -> PathBuf {
    let answer = lab_command(&["package", programs().to_str().unwrap()]).ok();
    PathBuf::from(answer.text())
}

/// Makes packages of another version of the same programs.
fn packages_of(version: &str) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(version);
    let mut build = Command::new(packaging("build"));
    build.arg("--programs").arg(programs()).arg("--out").arg(&out);
    build.args(["--version", version, "--compression", "none"]);
    Answer::of(&mut build, "").ok();
    out
}

/// What the machine says of itself, one line a fact: `facts` is a script.
fn told(node: &Machine, facts: &str) -> String {
    node.as_root(facts).ok().text().to_owned()
}

/// Users, ids and files that an installation would change.
fn untouched(node: &Machine) -> String {
    told(
        node,
        "cd /etc; sha256sum passwd group shadow gshadow subuid subgid
        stat -c '%n %u %a' /srv/mcp; ls -a /srv/mcp /var/lib/systemd/linger /etc/systemd/system
        find /usr/bin /usr/lib/systemd/system -name 'mcp*'
        dpkg-query -W -f '${Package} ${db:Status-Status}\n' mcp-agent 2>/dev/null |
            grep -v not-installed || true",
    )
}

/// Copies the packages onto a machine, for apt and dpkg as users call them.
pub fn bring(node: &Machine) {
    let to = format!("{}:/var/tmp/ours", node.name());
    lab_command(&["cp", packages().to_str().unwrap(), &to]).ok();
}

const DPKG: &str =
    "DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io -i /var/tmp/ours/mcp-agent_*.deb";

#[test]
fn what_cannot_become_a_node_is_refused_and_nothing_is_changed() {
    let node = bare_machine();
    bring(&node);
    // What is wrong, what is said of it, and what takes it away again.
    let cases = [
        (
            "useradd --uid 850 --no-create-home eve",
            "The uid 850 belongs to user eve",
            "userdel eve",
        ),
        ("useradd --uid 851 mcp", "User mcp has the uid 851", "userdel mcp"),
        (
            "useradd --uid 850 --home-dir /home/mcp mcp",
            "User mcp has the home /home/mcp",
            "userdel mcp",
        ),
        (
            "useradd --uid 850 --home-dir /srv/mcp --gid nogroup mcp",
            "group mcp is not",
            "userdel mcp",
        ),
        ("chown alice /srv/mcp", "/srv/mcp belongs to user alice", "chown 850 /srv/mcp"),
        (
            "useradd --system --uid 850 --home-dir /srv/mcp mcp; sed 's/^alice/mcp/' /etc/subgid >>/etc/subgid",
            "In /etc/subgid the ids of user mcp are another's too: mcp:",
            "sed -i '/^mcp:/d' /etc/subgid; userdel mcp",
        ),
        (
            "cp /etc/login.defs /root/; sed -i 's/^SUB_UID_MAX.*/SUB_UID_MAX 200000/' /etc/login.defs",
            "No 65536 subordinate ids in a row are free",
            "mv /root/login.defs /etc/",
        ),
        (
            "sqlite3 /srv/mcp/mcp.db 'CREATE TABLE x (x); PRAGMA user_version = 9999'",
            "/srv/mcp/mcp.db has schema 9999",
            "rm /srv/mcp/mcp.db",
        ),
    ];
    for (wrong, said, mended) in cases {
        node.as_root(wrong).ok();
        let before = untouched(&node);
        let refused = node.as_root(DPKG).code(1).says("nothing was changed").says(said);
        assert_eq!(untouched(&node), before, "{refused:?}");
        node.as_root(mended).ok();
    }
}

#[test]
fn a_bare_machine_becomes_a_node_and_is_one_no_more() {
    let node = bare_machine();
    bring(&node);
    let files = "find / -xdev -not -path '/proc/*' -not -path '/var/log/*' | sort";
    let before = told(&node, files);
    node.as_root("DEBIAN_FRONTEND=noninteractive apt-get install -y /var/tmp/ours/*.deb").ok();
    is_a_node(&node);
    let checks = node.as_root("mcp-agent doctor --json").ok().json();
    let fine = |f: &&serde_json::Value| f["level"] == "failed";
    assert_eq!(checks.as_array().unwrap().iter().find(fine), None);
    node.deploy(PAIR).ok();
    node.lab("reboot");
    until("all is up again", || (node.states(&PAIR_UNITS) == ["active", "active"]).then_some(()));

    node.as_root(
        "echo mcp-agent mcp-agent/purge-data boolean true | debconf-set-selections
        DEBIAN_FRONTEND=noninteractive apt-get purge -y mcp mcp-agent mcp-master",
    )
    .ok()
    .says("/srv/mcp is gone");
    let left = "systemctl is-active mcp-agent mcp-agent-snapshot.timer user@850 || true
        ps -o comm= -u mcp || true; ls -A /srv/mcp; id -u mcp; grep -c ^mcp: /etc/subuid";
    until("nothing of it runs or is there", || {
        (told(&node, left) == "inactive\ninactive\ninactive\n850\n1").then_some(())
    });
    // What apt and systemd keep for themselves.
    let of_the_system =
        ["/var/cache/", "/var/lib/apt/", "/var/lib/systemd/timers", "/var/tmp/systemd-private-"];
    let after = told(&node, files);
    let new: Vec<&str> = after
        .lines()
        .filter(|line| !before.lines().any(|known| known == *line))
        .filter(|line| !of_the_system.iter().any(|own| line.starts_with(own)))
        .filter(|line| !line.ends_with('-'))
        .collect();
    assert_eq!(new, [""; 0], "left behind");
}

/// Holds a machine to what the package makes of it.
#[track_caller]
fn is_a_node(node: &Machine) {
    let facts = told(
        node,
        "getent passwd mcp | cut -d: -f3,6,7; id -nG mcp
        stat -c '%U %a' /srv/mcp; ls /var/lib/systemd/linger
        systemctl is-active mcp-agent mcp-agent-snapshot.timer user@850 network-online.target
        systemctl is-enabled mcp-agent mcp-agent-snapshot.timer
        systemctl show user@850 -P TimeoutStopUSec
        systemctl show user@850 -P DelegateControllers",
    );
    assert_eq!(
        facts,
        "850:/srv/mcp:/usr/sbin/nologin\nmcp systemd-journal\nmcp 700\nmcp\n\
        active\nactive\nactive\nactive\nenabled\nenabled\n5min\ncpu cpuset io memory pids"
    );
    for file in ["subuid", "subgid"] {
        let mut ranges: Vec<(u64, u64)> = told(node, &format!("cat /etc/{file}"))
            .lines()
            .map(|line| {
                let numbers: Vec<u64> = line.split(':').filter_map(|f| f.parse().ok()).collect();
                (numbers[0], numbers[0] + numbers[1])
            })
            .collect();
        ranges.sort_unstable();
        assert_eq!(ranges.len(), 2, "mcp and alice");
        assert!(ranges[0].1 <= ranges[1].0, "{file}: {ranges:?}");
        assert!(ranges.iter().all(|(first, end)| end - first == 65_536), "{file}: {ranges:?}");
    }
}

#[test]
fn an_upgrade_restarts_the_agent_and_nothing_else() {
    let node = machine();
    node.spoil();
    let toml = "[agent]\nnode_name = \"mine\"\n";
    node.configure(toml);
    node.deploy(PAIR).ok();
    node.as_root(&format!("echo '# mine' >>{DROP_IN}")).ok();
    let (containers, manager) = (node.invocations(&PAIR_UNITS), manager(&node));
    let agent = agent(&node);
    let kept = format!(
        "cat /srv/mcp/mcp-agent.toml {DROP_IN} /etc/subuid; systemctl is-enabled mcp-agent"
    );
    let before = told(&node, &kept);
    let registry = node.sql("SELECT name, generation FROM services");

    let newer = packages_of(&format!("{VERSION}+1"));
    node.install_from(&newer).ok();
    assert_eq!(installed(&node), format!("{VERSION}+1"));
    assert_ne!(self::agent(&node), agent, "the agent is another one");
    assert_eq!(self::manager(&node), manager);
    assert_eq!(node.invocations(&PAIR_UNITS), containers);
    assert_eq!(told(&node, &kept), before);
    assert_eq!(node.sql("SELECT name, generation FROM services"), registry);
    node.mcp(&["node", "list"]).ok().says("ready");
    node.deploy(PAIR).ok().says("nothing to do");

    // Back is possible as long as the registry allows it.
    let older = packages_of(&format!("{VERSION}~1"));
    node.as_root("systemctl stop mcp-agent; cp -a /srv/mcp/mcp.db /root/").ok();
    node.as_mcp("sqlite3 /srv/mcp/mcp.db 'PRAGMA user_version = 9999'", "").ok();
    node.install_from(&older).code(1).says("has schema 9999");
    assert_eq!(installed(&node), format!("{VERSION}+1"));
    node.as_root("cp -a /root/mcp.db /srv/mcp/").ok();
    node.install_from(&older).ok();
    assert_eq!(installed(&node), format!("{VERSION}~1"));
    node.mcp(&["status", "pair"]).ok();
    assert_eq!(node.invocations(&PAIR_UNITS), containers);
}

/// Returns the invocation of the user manager, which containers end with.
fn manager(node: &Machine) -> String {
    told(node, "systemctl show -P InvocationID user@850")
}

fn agent(node: &Machine) -> String {
    told(node, "systemctl show -P InvocationID mcp-agent")
}

fn installed(node: &Machine) -> String {
    told(node, "dpkg-query -W -f '${db:Status-Status} ${Version}' mcp-agent")
        .strip_prefix("installed ")
        .map_or_else(|| "not installed".to_owned(), str::to_owned)
}

#[test]
fn containers_run_through_removal_purge_and_another_installation() {
    let node = machine();
    node.spoil();
    node.deploy(PAIR).ok();
    let containers = node.invocations(&PAIR_UNITS);
    let stays = "find /srv/mcp/.config -type f | sort; cat /etc/subuid /etc/passwd; ls /var/lib/systemd/linger";
    let before = told(&node, stays);
    let run_on = |what: &str| {
        assert_eq!(node.invocations(&PAIR_UNITS), containers, "{what}");
        assert_eq!(told(&node, stays), before, "{what}");
        let gone = "! systemctl is-active -q mcp-agent && ! systemctl is-active -q mcp-agent-snapshot.timer";
        node.as_root(gone).ok();
    };
    let apt = "DEBIAN_FRONTEND=noninteractive apt-get -y";
    node.as_root(&format!("{apt} remove mcp-agent")).ok().says("/usr/bin/mcp-agent stays");
    run_on("after the removal");
    node.as_root(&format!("test -e {DROP_IN}")).ok();
    // Without the package they come back as they do with it.
    node.lab("reboot");
    until("they are back", || (node.states(&PAIR_UNITS) == ["active", "active"]).then_some(()));
    let containers = node.invocations(&PAIR_UNITS);

    node.install_from(programs()).ok();
    until("the agent sees them", || (node.mcp(&["status", "pair"]).code == 0).then_some(()));
    assert_eq!(node.invocations(&PAIR_UNITS), containers, "after another installation");

    let purged = node.as_root(&format!("{apt} purge mcp-agent")).ok();
    purged.says("/srv/mcp stays").says("/usr/bin/mcp-agent stays").says("rm -r /srv/mcp");
    node.as_root(&format!("! test -e {DROP_IN}; ! ls /etc/systemd/system/*/mcp-agent*")).ok();
    assert_eq!(node.invocations(&PAIR_UNITS), containers, "after the purge");
    assert_eq!(told(&node, stays), before, "after the purge");

    node.install_from(programs()).ok();
    until("the agent is back", || (node.mcp(&["undeploy", "pair"]).code == 0).then_some(()));
    let removed = node.as_root(&format!("{apt} remove mcp-agent")).ok();
    removed.does_not_say("/usr/bin/mcp-agent stays");
    node.as_root("! ls /usr/bin/mcp-agent*").ok();
}

#[test]
fn an_agent_that_is_switched_off_stays_off() {
    let node = machine();
    node.spoil();
    node.as_root("systemctl disable --now mcp-agent; loginctl disable-linger mcp").ok();
    node.install_from(programs()).ok();
    let states = "systemctl is-enabled mcp-agent || true; systemctl is-active mcp-agent || true; ls /var/lib/systemd/linger";
    assert_eq!(node.as_root(states).text(), "disabled\ninactive");
}

#[test]
fn the_packages_are_clean_and_whole() {
    let packages = packages();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&packages).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 3);
    Answer::of(Command::new(packaging("check")).args(&files), "").ok();

    let list = |file: &Path| Answer::of(Command::new("dpkg-deb").arg("-c").arg(file), "").ok();
    let named = |name: &str| {
        let begin = format!("{name}_");
        files.iter().find(|f| f.file_name().unwrap().to_str().unwrap().starts_with(&begin)).unwrap()
    };
    for (name, pages) in [
        ("mcp", &["man1/mcp.1.gz", "man1/mcp-deploy.1.gz", "man1/mcp-agent-recover.1.gz"][..]),
        ("mcp-agent", &["man8/mcp-agent.8.gz", "man8/mcp-agent-token-create.8.gz"]),
        ("mcp-master", &["man8/mcp-master.8.gz"]),
    ] {
        let mut contents = list(named(name));
        for page in pages {
            contents = contents.says(&format!("./usr/share/man/{page}"));
        }
        contents
            .says(&format!("./usr/bin/{name}\n"))
            .says(&format!("./usr/share/bash-completion/completions/{name}\n"))
            .says(&format!("./usr/share/zsh/vendor-completions/_{name}\n"))
            .says(&format!("./usr/share/fish/vendor_completions.d/{name}.fish\n"));
    }
}
