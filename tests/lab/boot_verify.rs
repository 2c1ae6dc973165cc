//! `mcp boot verify` passes on a healthy node, says what is broken when one
//! of its conditions is, and the command that it names mends that.

use crate::definitions::PAIR;
use crate::fixture::{Machine, machine};
use crate::run::Answer;
use crate::wait::until;

/// A service that is stopped, of an image that an image registry has.
const ASLEEP: &str = r#"name = "asleep"

[[components]]
name = "asleep"
image = "registry.lab:5000/lab/slow:v1"
volumes = ["/srv/mcq/asleep:/data"]
"#;

/// Shows every unit file with its content's hash.
const UNITS: &str = "cd ~/.config; find . -type f ! -name '.*' -exec sha256sum {} + | sort -k2";

/// One condition, broken.
struct Broken<'a> {
    /// Breaks it, as root.
    root: &'a str,
    /// Breaks it, as the user of the agent.
    mcp: &'a str,
    /// The finding: its check, its level, and a part of its message.
    finding: (&'a str, &'a str, &'a str),
    /// A part of the command that mends it.
    mend: &'a str,
}

const NOTHING: Broken<'_> = Broken { root: "", mcp: "", finding: ("", "failed", ""), mend: "" };

impl Machine {
    fn verify(&self) -> Answer {
        self.mcp(&["boot", "verify", "--json"])
    }

    /// Demands that nothing is wrong. An agent that has just begun may be
    /// writing still.
    #[track_caller]
    fn is_proved(&self, after: &str) {
        until(&format!("nothing is wrong after {after}"), || {
            let answer = self.verify();
            // The kernel of the host may have no controllers for the lab.
            let fine = |f: &serde_json::Value| f["level"] == "ok" || f["check"] == "cgroups";
            (answer.code == 0 && findings(&answer).iter().all(fine)).then_some(())
        });
    }

    /// Runs a command as it is shown; there is no sudo in the lab.
    #[track_caller]
    fn mend(&self, command: &str) {
        if command.contains("sudo ") {
            self.as_root(&format!("cd /; {}", command.replace("sudo ", ""))).ok();
        } else {
            self.as_mcp(command, "").ok();
        }
    }

    /// Breaks one condition, demands that it is named, and mends it with the
    /// command that is named.
    #[track_caller]
    fn breaks(&self, broken: &Broken<'_>) {
        let Broken { root, mcp, finding: (check, level, message), mend } = broken;
        let how = format!("{root}{mcp}");
        self.as_root(root).ok();
        self.as_mcp(mcp, "").ok();
        let answer = self.verify();
        assert_eq!(answer.code, i32::from(*level == "failed"), "{how}: {answer:?}");
        let all = findings(&answer);
        let named = all.iter().find(|finding| {
            finding["check"] == *check
                && finding["level"] == *level
                && finding["message"].as_str().unwrap().contains(message)
        });
        let Some(named) = named else { panic!("{how}: no {check} {message:?} in {answer:?}") };
        let command = named["mend"].as_str().unwrap();
        assert!(command.contains(mend), "{how}: the command is {command:?}");
        self.mend(command);
        self.is_proved(&format!("{how}, mended by {command}"));
    }
}

#[track_caller]
fn findings(answer: &Answer) -> Vec<serde_json::Value> {
    let document = answer.json();
    document["nodes"][0]["findings"].as_array().unwrap().clone()
}

/// A machine with two services that are to run and one that is stopped.
fn node() -> Machine {
    let node = machine();
    node.spoil();
    node.as_root("install -d -o mcp /srv/mcq/asleep").ok();
    node.deploy(PAIR).ok();
    node.deploy(ASLEEP).ok();
    node.mcp(&["stop", "asleep"]).ok();
    node.is_proved("nothing");
    node
}

#[test]
fn a_boot_is_proved_only_with_the_files_that_were_accepted() {
    let node = node();
    let text = node.mcp(&["boot", "verify", "--all"]).ok().out;
    for said in ["will come back", "linger mcp", "default.target brings in 1 service,"] {
        assert!(text.contains(said), "{text}");
    }
    let units = node.as_mcp(UNITS, "").ok().out;
    node.breaks(&Broken {
        mcp: "sed -i s/StopTimeout=10/StopTimeout=11/ ~/.config/containers/systemd/mcp/pair/pair-api.container",
        finding: ("files", "failed", "pair-api.container was edited on disk"),
        mend: "mcp deploy pair",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "rm ~/.config/containers/systemd/mcp/pair/pair-front.container",
        finding: ("files", "failed", "pair-front.container is missing on disk"),
        mend: "mcp deploy pair",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "rm ~/.config/systemd/user/pair-ready.target",
        finding: ("unit", "failed", "There will be no unit pair-ready.target"),
        mend: "mcp deploy pair",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "echo '# mine' >>~/.config/systemd/user/mcp-podman.service",
        finding: ("files", "failed", "mcp-podman.service was edited"),
        mend: "systemctl restart mcp-agent",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "echo '[Container' >~/.config/containers/systemd/'my own.container'",
        finding: ("generator", "failed", "will make no unit at all"),
        mend: "mv '/srv/mcp/.config/containers/systemd/my own.container'",
        ..NOTHING
    });
    node.as_mcp("rm ~/.config/containers/systemd/*.broken", "").ok();
    assert_eq!(node.as_mcp(UNITS, "").ok().out, units);
}

#[test]
fn a_boot_is_proved_only_if_systemd_starts_what_should_run() {
    let node = node();
    let before = node.invocations(&["pair-api.service", "pair-front.service"]);
    node.breaks(&Broken {
        mcp: "ln -s /dev/null ~/.config/systemd/user/pair-api.service",
        finding: ("unit", "failed", "pair-api.service is masked by /srv/mcp/.config"),
        mend: "systemctl --user unmask pair-api.service",
        ..NOTHING
    });
    node.breaks(&Broken {
        root: "ln -s /dev/null /etc/systemd/user/pair-api.service",
        finding: ("unit", "failed", "pair-api.service is masked by /etc/systemd/user"),
        mend: "sudo systemctl --global unmask pair-api.service",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "printf '[Service]\\nExecStart=true\\n' >~/.config/systemd/user/pair-api.service",
        finding: ("unit", "failed", "will be loaded in the place of MCP's pair-api.service"),
        mend: "mv --backup=numbered /srv/mcp/.config/systemd/user/pair-api.service",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "d=$XDG_RUNTIME_DIR/systemd/user/pair-api.service.d; mkdir -p $d; echo '[Unit]' >$d/x.conf",
        finding: ("unit", "warning", "overrides pair-api.service now, and is gone after a reboot"),
        mend: "rm -r /run/user/850/systemd/user/pair-api.service.d",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "rm ~/.config/systemd/user/mcp.target.wants/pair.target",
        finding: ("wanted", "failed", "nothing brings in pair.target at boot"),
        mend: "mcp start pair",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "rm ~/.config/systemd/user/default.target.wants/mcp.target",
        finding: ("wanted", "failed", "Nothing brings in mcp.target at boot"),
        mend: "systemctl restart mcp-agent",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "ln -s /dev/null ~/.config/systemd/user/default.target",
        finding: ("wanted", "failed", "default.target is masked"),
        mend: "systemctl --user unmask default.target",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "ln -s ../asleep.target ~/.config/systemd/user/mcp.target.wants/asleep.target",
        finding: ("wanted", "failed", "asleep is stopped, but asleep.service will be started"),
        mend: "mcp stop asleep",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "d=~/.config/systemd/user/pair-api.service.d; mkdir -p $d; printf '[Unit]\\nAfter=pair-front.service\\n' >$d/x.conf",
        finding: ("order", "failed", "pair-api.service -> pair-front.service -> pair-api.service"),
        mend: "rm /srv/mcp/.config/systemd/user/pair-api.service.d/x.conf",
        ..NOTHING
    });
    assert_eq!(node.invocations(&["pair-api.service", "pair-front.service"]), before);
}

#[test]
fn a_boot_is_proved_only_with_enough_time() {
    let node = node();
    node.breaks(&Broken {
        mcp: "d=~/.config/systemd/user/pair-front.service.d; mkdir -p $d; printf '[Service]\\nTimeoutStartSec=5\\n' >$d/x.conf",
        finding: ("start-limit", "failed", "pair-front.service may take 5 s to start"),
        mend: "rm /srv/mcp/.config/systemd/user/pair-front.service.d/x.conf",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "d=~/.config/systemd/user/pair-ready.target.d; mkdir -p $d; printf '[Unit]\\nJobTimeoutSec=60\\n' >$d/x.conf
            d=~/.config/systemd/user/pair.target.d; mkdir -p $d; printf '[Unit]\\nWants=pair-ready.target\\n' >$d/y.conf",
        finding: ("start-limit", "failed", "The job of pair-ready.target is given up after 60 s"),
        mend: "rm /srv/mcp/.config/systemd/user/pair-ready.target.d/x.conf",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "d=~/.config/systemd/user/asleep-image.service.d; mkdir -p $d; printf '[Service]\\nTimeoutStartSec=60\\n' >$d/x.conf",
        finding: ("start-limit", "warning", "less than the 900 s that MCP gives it"),
        mend: "asleep-image.service.d/x.conf",
        ..NOTHING
    });
    let limit = |seconds: u32| {
        format!(
            "d=/etc/systemd/system/user@850.service.d; mkdir -p $d; printf '[Service]\\nTimeoutStopSec={seconds}\\n' >$d/short.conf; systemctl daemon-reload"
        )
    };
    node.breaks(&Broken {
        root: &limit(20),
        finding: ("stop-limit", "failed", "may take 25 s to stop"),
        mend: "zz-mcp-stop.conf",
        ..NOTHING
    });
    node.as_root("rm /etc/systemd/system/user@850.service.d/zz-mcp-stop.conf").ok();
    node.breaks(&Broken {
        root: &limit(40),
        finding: ("stop-limit", "warning", "pair-api.service -> pair-front.service"),
        mend: "TimeoutStopSec=60",
        ..NOTHING
    });
}

#[test]
fn a_boot_is_proved_only_on_a_node_that_has_what_it_needs() {
    let node = node();
    node.breaks(&Broken {
        root: "rm /var/lib/systemd/linger/mcp",
        finding: ("linger", "failed", "User mcp does not linger"),
        mend: "sudo loginctl enable-linger mcp",
        ..NOTHING
    });
    // The command wants the program in the current directory.
    node.as_root("cp -a /usr/bin/mcp-agent /").ok();
    node.breaks(&Broken {
        root: "rm /usr/bin/mcp-agent",
        finding: (
            "probe",
            "failed",
            "/usr/bin/mcp-agent is missing: the probe of pair-api.service",
        ),
        mend: "sudo install -m 755 mcp-agent /usr/bin/mcp-agent",
        ..NOTHING
    });
    node.breaks(&Broken {
        root: "rmdir /srv/mcq/asleep",
        finding: ("path", "failed", "/srv/mcq/asleep cannot be mounted"),
        mend: "sudo install -d -o mcp /srv/mcq/asleep",
        ..NOTHING
    });
    the_port_is_taken(&node);
    // A container of a person's own waits for the network.
    node.as_mcp(
        "printf '[Container]\\nImage=localhost/lab/web:v1\\n[Install]\\nWantedBy=default.target\\n' \
         >~/.config/containers/systemd/hand.container",
        "",
    )
    .ok();
    node.is_proved("a container by hand");
    node.breaks(&Broken {
        // The agent brings it in as well as the drop-in, if it is started at boot.
        root: "systemctl disable --quiet mcp-agent; rm /etc/systemd/system/user@850.service.d/50-mcp.conf; systemctl daemon-reload",
        finding: ("network-online", "failed", "hand.service waits for network-online.target, which only mcp-agent.service brings in"),
        mend: "sudo systemctl add-wants multi-user.target network-online.target",
        ..NOTHING
    });
    // Last, for it stops everything.
    node.as_root("systemctl stop user@850").ok();
    let told = node.verify().code(1);
    let all = findings(&told);
    let named = all.iter().find(|finding| finding["check"] == "manager").unwrap();
    assert_eq!(named["level"], "failed");
    node.mend(named["mend"].as_str().unwrap());
    until("the boot is proved again", || (node.verify().code == 0).then_some(()));
}

/// Somebody else listens where a component that is down will publish.
fn the_port_is_taken(node: &Machine) {
    let port = node.port("pair", "front");
    // Who had it a moment ago may have it still.
    let is_free = || {
        until("the port is free", || {
            let free = format!("! ss -Hltn 'sport = {port}' | grep -q .");
            (node.as_root(&free).code == 0).then_some(())
        });
    };
    node.as_mcp("systemctl --user stop pair-front.service", "").ok();
    is_free();
    let squatter = node.in_background(&format!("exec busybox nc -ll -p {port} -e cat"));
    let named = until("the taken port is named", || {
        let told = node.verify();
        let named = |f: &serde_json::Value| f["check"] == "port" && f["level"] == "failed";
        findings(&told).into_iter().find(named)
    });
    // What is to be done about it depends on who that is.
    let shown = node.as_root(named["mend"].as_str().unwrap()).ok();
    shown.says(&format!(":{port}")).says("busybox");
    drop(squatter);
    is_free();
    node.as_mcp("systemctl --user start pair-front.service", "").ok();
    node.is_proved("a port that was taken");
}

#[test]
fn a_boot_is_proved_only_with_the_images_that_were_accepted() {
    let node = node();
    node.breaks(&Broken {
        mcp: "podman tag localhost/lab/web:v2 localhost/lab/web:v1",
        finding: ("image", "failed", "localhost/lab/web:v1 means another image now"),
        mend: "podman tag ",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "podman untag localhost/lab/web:v1",
        finding: ("image", "failed", "The image localhost/lab/web:v1 is not in podman's store"),
        mend: "podman tag ",
        ..NOTHING
    });
    node.breaks(&Broken {
        mcp: "podman rmi -f registry.lab:5000/lab/slow:v1 localhost/lab/slow:v1",
        finding: (
            "image",
            "failed",
            "The image registry.lab:5000/lab/slow:v1 is not in podman's store",
        ),
        mend: "podman pull registry.lab:5000/lab/slow@sha256:",
        ..NOTHING
    });
}

#[test]
fn what_extra_keys_add_was_accepted_and_what_a_drop_in_adds_was_not() {
    let node = machine();
    node.spoil();
    let definition = r#"name = "more"

[[components]]
name = "more"
image = "localhost/lab/web:v1"

[components.extra.Container]
Volume = ["other:/other", "/srv/mcp/more:/more"]
PodmanArgs = ["--pids-limit=500"]
"#;
    node.as_mcp("mkdir /srv/mcp/more", "").ok();
    node.deploy(definition).ok();
    node.is_proved("a deploy with extra keys");
    node.breaks(&Broken {
        mcp: "rmdir /srv/mcp/more",
        finding: ("path", "failed", "/srv/mcp/more, which podman gets by --volume, is not there"),
        mend: "sudo install -d -o mcp /srv/mcp/more",
        ..NOTHING
    });
    let drop_in = "d=~/.config/containers/systemd/mcp/more/more.container.d; mkdir -p $d; \
        printf '[Container]\\nVolume=mine:/mine\\n' >$d/own.conf";
    node.breaks(&Broken {
        mcp: drop_in,
        finding: ("generator", "warning", "more.container.d/own.conf changes it"),
        mend: "rm ",
        ..NOTHING
    });
}
