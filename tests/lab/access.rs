//! Who gets in, who does not, and what the audit says of it.

use crate::definitions::LONE;
use crate::fixture::{Machine, machine, workstation};
use crate::run::Answer;
use crate::wait::until;

/// A machine whose agent serves TCP, and a person at the workstation.
struct Remote {
    node: Machine,
    home: tempfile::TempDir,
    fingerprint: String,
}

impl Remote {
    fn new() -> Self {
        let node = machine();
        let fingerprint = node.serve_tcp();
        Self { node, home: tempfile::tempdir().unwrap(), fingerprint }
    }

    /// Runs a script of that person; `$NODE` is the machine.
    fn person(&self, script: &str) -> Answer {
        let home = self.home.path().to_str().unwrap();
        let script = format!(
            "export HOME=$1 NODE=$2 XDG_CONFIG_HOME= XDG_RUNTIME_DIR=; cd \"$HOME\"; {script}"
        );
        workstation(&script, &[home, self.node.name()])
    }

    /// Has the person know the node, with a token of a role.
    #[track_caller]
    fn introduce(&self, role: &str) {
        let pin = &self.fingerprint;
        self.person(&format!("mcp node add {role} $NODE:9444 --fingerprint {pin}")).ok();
        self.take_token(&self.token(role));
    }

    fn token(&self, role: &str) -> String {
        self.node.token(&format!("{role}-token"), role)
    }

    fn take_token(&self, token: &str) {
        let path = self.home.path().join(".config/mcp/token");
        mcp::atomic_file::write(&path, token.as_bytes(), 0o600).unwrap();
    }

    /// Demands that the audit's last refusal is this one.
    #[track_caller]
    fn audited(&self, method: &str, caller: &str, code: &str) {
        audited(&self.node, method, caller, code);
    }
}

/// Demands that the last refusal in the audit is this one. Its record may
/// come a moment after the refusal itself.
#[track_caller]
fn audited(node: &Machine, method: &str, caller: &str, code: &str) {
    let query =
        "SELECT method, caller, code FROM audit WHERE code != 'ok' ORDER BY id DESC LIMIT 1";
    let expected = format!("{method}|{caller}|{code}");
    until(&format!("the audit has {expected}"), || (node.sql(query) == expected).then_some(()));
}

#[test]
fn a_node_is_pinned_logged_into_and_used_from_a_workstation() {
    let remote = Remote::new();
    let pin = &remote.fingerprint;
    // With nobody to ask, nothing is believed.
    let unasked = remote.person("mcp node add far $NODE:9444").code(2);
    unasked.says(pin);
    remote.person(&format!("mcp node add far $NODE:9444 --fingerprint {pin}")).ok();
    remote.person("mcp ps").code(4).says("mcp login");
    let token = remote.token("operator");
    remote
        .person(&format!("echo {token} | mcp login -n far --token-file -"))
        .ok()
        .says("you are operator-token, operator");
    let mode = remote.person("stat -c %a .config/mcp/token").ok();
    assert_eq!(mode.text(), "600");
    remote.person("mcp node list").ok().says("far").says("ready").says("operator");

    let file = remote.home.path().join("lone.toml");
    mcp::atomic_file::write(&file, LONE.as_bytes(), 0o644).unwrap();
    remote.person("mcp deploy lone -f lone.toml").ok().says("generation 1");
    remote.person("mcp ps lone").ok().says("far").says("running");
    until("what it wrote is told", || {
        let logs = remote.person("mcp logs lone").ok();
        logs.out.contains("start: mode=web").then_some(())
    });
    remote.person("mcp service export lone && grep -q web:v1 .config/mcp/services/lone.toml").ok();
    remote.person("mcp undeploy lone").ok();
    let audit = "SELECT group_concat(method || ' ' || caller || ' ' || subject || ' ' || code, ';')
        FROM audit WHERE code IN ('ok', 'done')";
    until("both calls are in the audit", || {
        let rows = remote.node.sql(audit);
        let all = rows.contains("Deploy operator-token lone ")
            && rows.contains("Undeploy operator-token lone ");
        all.then_some(())
    });
}

#[test]
fn another_certificate_than_the_pinned_one_is_told_with_both_fingerprints() {
    let remote = Remote::new();
    remote.introduce("admin");
    remote.person("mcp ps").ok();
    // Someone else has the address, or the agent a new certificate.
    remote.node.as_root("rm /srv/mcp/mcp-agent.tls.pem; systemctl restart mcp-agent").ok();
    until("it shows another certificate", || {
        let told = remote.person("mcp ps").code(3);
        let new = remote.node.fingerprint();
        assert_ne!(new, remote.fingerprint);
        (told.err.contains(&new) && told.err.contains(&remote.fingerprint)).then_some(())
    });
}

#[test]
fn tokens_that_do_not_count_are_refused_and_audited() {
    let remote = Remote::new();
    remote.introduce("viewer");
    remote.person("mcp ps").ok();
    let (id, secret) = {
        let token = remote.token("viewer");
        let (id, secret) = token.rsplit_once('_').unwrap();
        (id.to_owned(), secret.to_owned())
    };
    let wrong = format!("{id}_{}", secret.chars().rev().collect::<String>());
    for bad in [wrong.as_str(), "nonsense", &format!("{id}_"), "\u{fffd}"] {
        remote.take_token(bad);
        remote.person("mcp ps").code(4).does_not_say(&secret);
    }
    remote.take_token(&wrong);
    remote.person("mcp ps").code(4);
    remote.audited("Status", "-", "unauthenticated");

    remote.take_token(&format!("{id}_{secret}"));
    remote.person("mcp ps").ok();
    remote.node.change_registry("UPDATE tokens SET expires_at_ms = 1");
    remote.person("mcp list").code(4).says("expired");
    remote.audited("List", "-", "unauthenticated");
    remote.node.change_registry("UPDATE tokens SET expires_at_ms = NULL");
    remote.person("mcp ps").ok();

    let listed = remote.node.as_mcp("mcp-agent token list --json", "").ok();
    listed.clone().does_not_say(&secret);
    for token in listed.json().as_array().unwrap() {
        let revoke = format!("mcp-agent token revoke {}", token["id"].as_str().unwrap());
        remote.node.as_mcp(&revoke, "").ok();
    }
    remote.person("mcp deploy lone -f /dev/null").code(2);
    remote.person("mcp status").code(4).says("revoked");
    remote.audited("Status", "-", "unauthenticated");
    let log = remote.node.agent_log();
    assert!(!log.contains(&secret) && log.contains("revoked"), "{log}");
}

#[test]
fn a_viewer_may_look_and_nothing_else() {
    let remote = Remote::new();
    remote.introduce("viewer");
    remote.node.deploy(LONE).ok();
    let file = remote.home.path().join("lone.toml");
    mcp::atomic_file::write(&file, LONE.as_bytes(), 0o644).unwrap();
    for look in ["ps", "list", "status", "logs lone", "service show lone", "node list"] {
        remote.person(&format!("mcp {look}")).ok();
    }
    let refused = [
        ("deploy lone -f lone.toml", "Deploy"),
        ("stop lone", "Stop"),
        ("start lone", "Start"),
        ("restart lone", "Restart"),
        ("undeploy lone --purge-data --yes", "Undeploy"),
    ];
    let before = node_state(&remote.node);
    for (command, method) in refused {
        remote.person(&format!("mcp {command}")).code(4).says("operator");
        remote.audited(method, "viewer-token", "permission_denied");
    }
    assert_eq!(node_state(&remote.node), before);
}

fn node_state(node: &Machine) -> (String, String, Vec<(String, String)>) {
    (node.unit_files(), node.podman_things(), node.invocations(&["lone.service"]))
}

#[test]
fn plaintext_and_old_tls_are_refused_and_audited() {
    let remote = Remote::new();
    let node = &remote.node;
    let at = format!("{}:9444", node.address());
    let curl = |how: &str| node.as_root(&format!("curl -sS -m 60 {how}://{at}/"));
    assert_ne!(curl("--http2-prior-knowledge http").code, 0);
    remote.audited("TLS handshake", "-", "unauthenticated");
    node.change_registry("DELETE FROM audit");

    let handshake = |version: &str| {
        let client = format!("echo | timeout 60 openssl s_client {version} -alpn h2 -connect {at}");
        workstation(&client, &[])
    };
    for old in ["-tls1_2", "-tls1_1 -cipher ALL:@SECLEVEL=0"] {
        let refused = handshake(old);
        assert_ne!(refused.code, 0, "{refused:?}");
        refused.says("alert");
    }
    remote.audited("TLS handshake", "-", "unauthenticated");
    // How openssl takes the end of the connection is of no interest.
    handshake("-tls1_3").says("New, TLSv1.3");
    // Who got that far and has no token gets no further.
    let bare = curl("-k --http2 https");
    assert!(!bare.out.contains("service"), "{bare:?}");
}

#[test]
fn another_user_of_the_machine_is_refused_on_the_socket_unless_configured() {
    let node = machine();
    node.deploy(LONE).ok();
    let before = node_state(&node);
    for command in ["ps", "list", "stop lone", "deploy lone", "undeploy lone"] {
        node.as_alice(&format!("mcp {command}"), "").code(4);
    }
    // Without a role nobody has a name here: the kernel says who it was.
    audited(&node, "Undeploy", "-", "permission_denied");
    let peer = node.sql("SELECT peer FROM audit ORDER BY id DESC LIMIT 1");
    assert!(peer.starts_with("uid 1000 "), "{peer}");
    // Neither the state nor the registry can be reached around the agent.
    let around = node.as_alice("cat /srv/mcp/mcp.db /srv/mcp/mcp-agent.tls.pem", "");
    assert!(around.code != 0 && around.out.is_empty(), "{around:?}");
    node.as_root("mcp ps").ok().says("lone");

    node.configure("[socket]\nviewers = [\"alice\"]\n");
    node.as_alice("mcp ps", "").ok().says("lone");
    node.as_alice("mcp stop lone", "").code(4).says("operator");
    audited(&node, "Stop", "alice", "permission_denied");
    node.write_as_mcp("/srv/mcp/mcp-agent.toml", "[socket]\noperators = [\"alice\"]\n");
    node.as_root("systemctl reload mcp-agent").ok();
    until("alice is an operator", || {
        (node.as_alice("mcp restart lone", "").code == 0).then_some(())
    });
    let after = node_state(&node);
    assert_eq!((&after.0, &after.1), (&before.0, &before.1));
}
