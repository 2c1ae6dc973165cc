//! Files into and out of data directories: whose they are, what is cut off,
//! what a container puts in the way.

use crate::fixture::{Machine, machine};
use crate::wait::until;

/// Two components with users of their own, and one directory for each.
const TWO: &str = r#"name = "mcq"

[[components]]
name = "web"
image = "localhost/lab/web:v1"
user = "33:44"
volumes = ["/srv/mcq/web:/web"]

[[components]]
name = "root"
image = "localhost/lab/web:v1"
volumes = ["/srv/mcq/root:/root"]
"#;

/// Returns owner, group and mode of a path on the node.
fn owner(node: &Machine, path: &str) -> String {
    node.as_root(&format!("stat -c '%u:%g %a' {path}")).ok().text().to_owned()
}

/// Returns the number of the first subordinate id, less the one that is
/// root's.
fn subids(node: &Machine) -> u32 {
    let first = node.as_root("sed -n 's/^mcp:\\([0-9]*\\):.*/\\1/p' /etc/subuid").ok();
    first.text().parse::<u32>().unwrap() - 1
}

fn clean(node: &Machine) {
    node.as_root("rm -rf /srv/mcq /srv/mcp/.config/mcp/services/mcq.toml; install -d -o mcp -g mcp /srv/mcq /srv/mcq/web /srv/mcq/root")
        .ok();
}

#[test]
fn a_file_is_the_components_that_mounts_it() {
    let node = machine();
    clean(&node);
    node.as_mcp("cd /tmp; rm -rf conf; mkdir -p conf/deep; echo one >conf/a; echo two >conf/deep/b; chmod 640 conf/a; ln -s /etc/passwd conf/link; mkfifo conf/pipe", "").ok();
    // Before anything is deployed the local definition says whose it is.
    node.write_as_mcp("/srv/mcp/.config/mcp/services/mcq.toml", TWO);
    node.mcp(&["push", "/tmp/conf/a", "mcq", "web/"]).ok();
    let subids = subids(&node);
    assert_eq!(owner(&node, "/srv/mcq/web/a"), format!("{}:{} 640", subids + 33, subids + 44));
    node.mcp(&["push", "/tmp/conf/a", "mcq", "a"]).code(2).says("web, root");
    node.mcp(&["push", "/tmp/conf/a", "mcq/root", "a"]).ok();
    assert_eq!(owner(&node, "/srv/mcq/a"), "850:850 640");

    node.deploy(TWO).ok();
    let runs = || ["web", "root"].map(|c| node.invocations(&[&format!("mcq-{c}.service")]));
    let before = runs();
    let pushed = node.mcp(&["push", "/tmp/conf", "mcq", "web/conf", "--restart", "--json"]).ok();
    let told = pushed.json();
    assert_eq!((told["files"].as_u64(), told["left_out_count"].as_u64()), (Some(2), Some(2)));
    assert_eq!(told["owner"], "33:44");
    assert_eq!(told["restarts"][0]["changed"], serde_json::json!(["web"]));
    let after = runs();
    assert!(before[0] != after[0] && before[1] == after[1], "{before:?} {after:?}");
    // The component itself can read what nobody else may.
    node.as_mcp("podman exec mcq-web cat /web/conf/a /web/conf/deep/b", "").ok().says("two");
    let again = node.mcp(&["push", "/tmp/conf", "mcq", "web/conf", "--restart", "--json"]).ok();
    let told = again.json();
    assert_eq!((told["files"].as_u64(), told["unchanged"].as_u64()), (Some(0), Some(2)));
    assert_eq!(told["restarts"], serde_json::json!([]));
    // A name of the image's own.
    node.mcp(&["push", "/tmp/conf/a", "mcq", "root/n", "--owner", "app"]).ok();
    let app = format!("{}:{} 640", subids + 1000, subids + 1000);
    assert_eq!(owner(&node, "/srv/mcq/root/n"), app);
    node.mcp(&["push", "/tmp/conf/a", "mcq", "root/n", "--owner", "nosuch"])
        .code(2)
        .says("no user \"nosuch\"");
    node.mcp(&["push", "/tmp/conf/a", "mcq", "root/n", "--owner", "70000:70000"])
        .code(1)
        .says("subordinate ids");

    // What only the component may read comes out as well.
    let make = "umask 077; echo own >/web/own; chown 33:44 /web/own";
    node.as_mcp(&format!("podman exec -u 0 mcq-web sh -c '{make}'"), "").ok();
    node.as_mcp("rm -rf /tmp/out; mkdir /tmp/out; mcp pull mcq . /tmp/out", "").ok();
    node.as_mcp("cat /tmp/out/mcq/web/own; cmp /tmp/conf/a /tmp/out/mcq/web/conf/a", "").ok();
    assert_eq!(owner(&node, "/tmp/out/mcq/web/own"), "850:850 600");
}

#[test]
fn nothing_leads_out_of_the_data_directory() {
    let node = machine();
    clean(&node);
    node.deploy(TWO).ok();
    node.as_mcp("echo secret >/srv/mcp/secret; echo x >/tmp/x", "").ok();
    for path in ["../mcp/secret", "/srv/mcp/secret", "web/../../mcp/secret", "a//b", "a\nb"] {
        node.mcp(&["push", "/tmp/x", "mcq/root", path]).code(2);
        node.mcp(&["pull", "mcq", path, "/tmp/got"]).code(2);
    }
    // What a container puts there leads nowhere either.
    node.as_mcp(
        "podman exec mcq-root sh -c 'cd /root; ln -s /srv/mcp out; ln -s /srv/mcp/secret link; mkfifo pipe; ln -s ../../mcp up'",
        "",
    )
    .ok();
    for path in ["root/out/secret", "root/link", "root/pipe", "root/up/secret"] {
        node.mcp(&["push", "/tmp/x", "mcq", path]).code(1);
        node.mcp(&["pull", "mcq", path, "/tmp/got"]).code(1);
    }
    node.as_mcp("test ! -e /tmp/got; grep -q secret /srv/mcp/secret", "").ok();
    // Links that come and go while files are written.
    let _racing = node.in_background(
        "podman exec mcq-root sh -c 'cd /root; while :; do rm -rf d; ln -s /srv/mcp d; rm -f d; mkdir d; done'",
    );
    for _ in 0..20 {
        let pushed = node.mcp(&["push", "/tmp/x", "mcq", "root/d/raced"]);
        assert!(pushed.code == 0 || pushed.code == 1, "{pushed:?}");
    }
    node.as_mcp("test ! -e /srv/mcp/raced; test ! -e /srv/mcp/x", "").ok();
    node.as_root("ln -sfn /srv/mcp /srv/linked").ok();
    node.mcp(&["push", "/tmp/x", "linked"]).code(1).says("must be a directory itself");
    node.as_root("rm /srv/linked").ok();
    node.mcp(&["push", "/tmp/x", "other"]).code(1).says("sudo install -d");
}

/// Returns what stops the client as soon as so much of a file is there.
fn held_when(part: &str, octets: u32) -> String {
    format!(
        "until [ \"$(stat -c %s {part} 2>/dev/null || echo 0)\" -gt {octets} ]; do :; done
        pkill -STOP -x mcp"
    )
}

#[test]
fn a_large_push_that_was_killed_goes_on_and_memory_stays() {
    let node = machine();
    clean(&node);
    node.as_mcp("cd /var/tmp; head -c 300M /dev/urandom >big", "").ok();
    let pushing = node.in_background("exec mcp push /var/tmp/big mcq big.img --owner 0");
    let part = || node.as_mcp("stat -c %s /srv/mcq/.mcp-part-* 2>/dev/null || echo 0", "").ok();
    // It is held where it is, for it may be all there in a moment.
    node.as_mcp(&held_when("/srv/mcq/.mcp-part-*", 40_000_000), "").ok();
    let memory = node
        .as_mcp(
            "for p in $(pgrep -x mcp) $(pgrep -x mcp-agent); do grep VmHWM /proc/$p/status; done",
            "",
        )
        .ok();
    node.as_mcp("pkill -9 -x mcp", "").ok();
    drop(pushing);
    for line in memory.out.lines() {
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kib < 120_000, "{memory:?}");
    }
    until("the worker has gone", || {
        (node.as_mcp("pgrep -f 'mcp-agent files [r]eceive'", "").code != 0).then_some(())
    });
    node.as_mcp("test ! -e /srv/mcq/big.img", "").ok();
    let kept: u64 = part().text().parse().unwrap();
    let told =
        node.mcp(&["push", "/var/tmp/big", "mcq", "big.img", "--owner", "0", "--json"]).ok().json();
    assert_eq!(told["resumed"].as_u64(), Some(kept));
    node.as_mcp("cmp /var/tmp/big /srv/mcq/big.img; test -z \"$(ls -A /srv/mcq | grep part)\"", "")
        .ok();

    // The same the other way, with the agent killed.
    let pulling = node.in_background("cd /var/tmp; rm -f back; exec mcp pull mcq big.img back");
    node.as_mcp(&held_when("/var/tmp/.mcp-part-*", 20_000_000), "").ok();
    node.as_root("systemctl kill -s KILL mcp-agent").ok();
    node.as_mcp("pkill -CONT -x mcp", "").ok();
    assert_ne!(pulling.end(), 0);
    until("the agent is back", || (node.mcp(&["list"]).code == 0).then_some(()));
    let told = node.as_mcp("cd /var/tmp; mcp pull mcq big.img back --json", "").ok().json();
    assert!(told["resumed"].as_u64() > Some(10_000_000), "{told}");
    node.as_mcp("cmp /var/tmp/big /var/tmp/back; rm /var/tmp/big /var/tmp/back", "").ok();
}

#[test]
fn a_full_or_read_only_disk_is_told_and_leaves_nothing() {
    let node = machine();
    node.spoil();
    clean(&node);
    node.as_mcp("head -c 20M /dev/zero >/var/tmp/f; echo small >/var/tmp/s", "").ok();
    node.as_root("mount -t tmpfs -o size=10m,uid=850,gid=850 small /srv/mcq").ok();
    // podman's namespaces were made before the mount.
    node.as_mcp("podman system migrate >/dev/null 2>&1 || true", "").ok();
    node.as_root("systemctl restart mcp-agent").ok();
    until("the agent is back", || (node.mcp(&["list"]).code == 0).then_some(()));
    node.mcp(&["push", "/var/tmp/s", "mcq"]).ok();
    // What is in the way here is told, and nobody waits for the other end.
    node.as_mcp("mkdir -p /var/tmp/d; echo x >/var/tmp/d/x; echo f >/var/tmp/file", "").ok();
    node.mcp(&["push", "/var/tmp/d", "mcq"]).ok();
    node.as_mcp("exec timeout 60 mcp pull mcq d /var/tmp/file", "").code(1).says("is a file");
    node.as_mcp("rm -r /srv/mcq/d", "").ok();
    node.mcp(&["push", "/var/tmp/f", "mcq", "s"]).code(1).says("the disk is full");
    assert_eq!(node.as_mcp("ls -A /srv/mcq; cat /srv/mcq/s", "").ok().text(), "s\nsmall");
    node.as_root("mount -o remount,ro /srv/mcq").ok();
    node.as_mcp("podman system migrate >/dev/null 2>&1 || true", "").ok();
    node.mcp(&["push", "/var/tmp/f", "mcq", "s"]).code(1).says("read-only");
}

#[test]
fn viewers_have_no_files() {
    let node = machine();
    node.spoil();
    clean(&node);
    node.write_as_mcp("/srv/mcp/mcp-agent.toml", "[socket]\nviewers = [\"alice\"]\n");
    node.as_root("systemctl restart mcp-agent").ok();
    until("the agent is back", || (node.mcp(&["list"]).code == 0).then_some(()));
    node.as_mcp("echo x >/srv/mcq/x", "").ok();
    let audited = || {
        let count = node.sql("SELECT count(*) FROM audit WHERE method IN ('Push', 'Pull')");
        count.parse::<u32>().unwrap()
    };
    let before = audited();
    node.as_alice("mcp pull mcq x /tmp/y", "").code(4);
    node.as_alice("mcp push /etc/hostname mcq", "").code(4);
    node.as_alice("test ! -e /tmp/y; mcp list", "").ok();
    // A record may come a moment after the refusal.
    until("both are recorded", || (audited() - before == 2).then_some(()));
}

#[test]
fn paths_are_completed_and_files_go_through_streams() {
    let node = machine();
    clean(&node);
    node.write_as_mcp("/srv/mcp/.config/mcp/services/mcq.toml", TWO);
    // Only the component may look into it.
    node.as_mcp(
        "cd /tmp; rm -rf conf; mkdir -p conf/deep; echo one >conf/a; echo two >conf/deep/b; chmod 700 conf conf/deep",
        "",
    )
    .ok();
    node.mcp(&["push", "/tmp/conf", "mcq", "web/conf"]).ok();
    node.as_mcp("ls /srv/mcq/web/conf", "").code(2);
    let completed = |words: &str| {
        let index = words.split(' ').count() - 1;
        let call = format!("COMPLETE=bash _CLAP_COMPLETE_INDEX={index} _CLAP_IFS=, mcp -- {words}");
        node.as_mcp(&call, "").ok().text().to_owned()
    };
    // A busy node may not answer in time; then there is nothing to offer.
    for (typed, offered) in [
        ("mcp pull mcq ''", "root/,web/"),
        ("mcp pull mcq web/conf/", "web/conf/a,web/conf/deep/"),
        ("mcp push /tmp/conf mcq/web web/conf/de", "web/conf/deep/"),
    ] {
        until(typed, || completed(typed).starts_with(offered).then_some(()));
    }
    assert!(!completed("mcp pull mcq /et").contains("/etc"));

    let piped =
        node.as_mcp("mcp pull mcq web/conf/a - | cat; mcp pull -q mcq web/conf/a - 2>&1", "");
    assert_eq!(piped.ok().text(), "one\none");
    node.mcp(&["pull", "mcq", "web", "-"]).code(1).says("only a file can go to standard output");
    node.as_mcp("printf '\\0three' | mcp push - mcq web/c", "").ok();
    node.as_mcp("mcp pull mcq web/c - >/tmp/c && printf '\\0three' | cmp - /tmp/c", "").ok();
    node.as_mcp("mcp push - mcq </dev/null", "").code(2).says("give a path");
    node.as_mcp("head -c 30000000 /dev/urandom >/tmp/big && mcp push - mcq web/big </tmp/big && mcp pull mcq web/big - | cmp - /tmp/big && rm /tmp/big", "").ok();
}
