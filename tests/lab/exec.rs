//! A command in a container that runs: its streams, its terminal, its end.

use std::cell::Cell;

use crate::definitions::LONE;
use crate::fixture::{Machine, machine, workstation};
use crate::wait::until;

/// A person at a terminal: `say` types, `see` waits for what is on the screen.
/// `script(1)` makes the terminal; its size is changed from outside, as by a
/// window.
pub const PERSON: &str = r#"
    rm -f /tmp/keys /tmp/pts; mkfifo /tmp/keys; : >/tmp/screen
    script -qefc "stty rows 30 cols 91; tty >/tmp/pts; $1; echo left with \$?; stty -a" /dev/null \
        </tmp/keys >/tmp/screen 2>&1 &
    exec 3>/tmp/keys
    say() { printf "$1" >&3; }
    see() {
        for i in $(seq 600); do grep -q -- "$1" /tmp/screen && return; sleep 0.1; done
        echo "never seen: $1"; cat -v /tmp/screen; exit 1
    }
"#;

#[test]
fn a_terminal_program_is_had_as_if_it_were_here() {
    let node = machine();
    node.deploy(LONE).ok();
    let script = format!(
        r#"set -- 'mcp exec -it lone -- sh'
        {PERSON}
        see '#'
        say 'stty size\n'; see '30 91'
        stty -F "$(cat /tmp/pts)" rows 41 cols 133
        for i in $(seq 100); do
            say 'stty size\n'; sleep 0.1; grep -q '41 133' /tmp/screen && break
        done
        see '41 133'
        say 'echo began; sleep 4711\n'; see '^began'
        until pgrep -f '^sleep 4711' >/dev/null; do sleep 0.1; done
        say '\003'
        say 'echo interrupted with $?\n'; see 'interrupted with 130'
        if pgrep -f '^sleep 4711'; then exit 1; fi
        say 'kill -9 $$\n'; see 'left with 137'
        # The terminal is a person's again.
        see '[^-]icanon'; see '[^-]echo '
        exec 3>&-; wait"#
    );
    node.as_mcp(&script, "").ok();
    // Killed itself, the program leaves the terminal to the shell and the
    // command to the node, which ends it.
    let killed = format!(
        r"set -- 'mcp exec -it lone -- sh'
        {PERSON}
        see '#'
        say 'sleep 4712\n'
        until pgrep -f '^sleep 4712' >/dev/null; do sleep 0.1; done
        kill -TERM $(pgrep -f '^mcp exec'); see 'left with 143'; see '[^-]icanon'
        exec 3>&-; wait
        while pgrep -f '^sleep 4712' >/dev/null; do sleep 0.1; done"
    );
    node.as_mcp(&killed, "").ok();
}

#[test]
fn streams_are_binary_stay_apart_and_end() {
    let node = machine();
    node.deploy(LONE).ok();
    let script = r#"
        head -c 10000000 /dev/urandom >/tmp/big
        # podman's own keys for leaving a session are in there.
        printf 'a\020\021\000\377\nz' >>/tmp/big
        here=$(sha256sum </tmp/big)
        [ "$(mcp exec -i lone -- cat </tmp/big | sha256sum)" = "$here" ]
        [ "$(mcp exec -i lone -- sha256sum </tmp/big)" = "$here" ]
        mcp exec lone -- sh -c 'echo out; echo err >&2; exit 7' >/tmp/out 2>/tmp/err || code=$?
        [ "$(cat /tmp/out) $(cat /tmp/err) $code" = "out err 7" ]
        # Without -i there is no input, and what calls mcp keeps its own.
        printf '1\n2\n' | while read -r line; do mcp exec lone -- cat; echo "$line"; done >/tmp/lines
        [ "$(cat /tmp/lines)" = "$(printf '1\n2')" ]
        export LOCAL='it is $HOME "here" %h'
        mcp exec -e LOCAL -e B= -u 1 -w /tmp lone -- sh -c 'echo "$LOCAL|$B|$(id -u)|$(pwd)"' >/tmp/env
        [ "$(cat /tmp/env)" = 'it is $HOME "here" %h||1|/tmp' ]
        yes | head -c 3000000 | mcp exec -i lone -- true
        mcp exec lone -- sh -c 'yes' | head -1
    "#;
    node.as_mcp(script, "").ok().says("y\n");
    node.mcp(&["exec", "lone", "--", "sh", "-c", "kill -9 $$"]).code(137);
    node.mcp(&["exec", "lone", "--", "nonsense"]).code(127).says("nonsense");
    node.mcp(&["exec", "lone", "--", "/data"]).says("/data");
    node.mcp(&["exec", "lone/other", "--", "true"]).code(2).says("has no component other");
    node.mcp(&["exec", "-t", "lone", "--", "sh"]).code(2).says("terminal");
    node.mcp(&["exec", "-e", "A=x\ny", "lone", "--", "env"]).code(2).says("line break");
    node.mcp(&["exec", "-e", "=x", "lone", "--", "env"]).code(2).says("no name of a variable");
    // Podman itself has 255 for that, which may be any program's.
    node.mcp(&["exec", "-u", "nosuch", "lone", "--", "true"]).code(125).says("user nosuch");
    node.mcp(&["exec", "lone", "--", "sh", "-c", "exit 255"]).code(255);
    node.mcp(&["exec", "lone", "--", "sh", "-c", "exit 126"]).code(126);
    // Nothing is left of any of them.
    nothing_left(&node);

    // A record may come a moment after the end.
    until("all is in the audit", || {
        let audit =
            node.sql("SELECT method, subject, code, message FROM audit WHERE method = 'Exec'");
        let lines = [
            "Exec|lone|begun|-e LOCAL -e B --user 1 -- sh -c echo",
            "Exec|lone|begun|-- sh -c kill -9 $$",
            "Exec|lone|exit_137|",
        ];
        lines.iter().all(|line| audit.contains(line)).then_some(())
    });
    assert!(!node.agent_log().contains("kill -9"));
    node.mcp(&["stop", "lone"]).ok();
    node.mcp(&["exec", "lone", "--", "true"]).code(125).says("does not run");
}

/// Demands that no session is left, nor anything of one.
#[track_caller]
pub fn nothing_left(node: &Machine) {
    until("no session is left", || {
        let left = "systemctl --user list-units -a --no-legend 'mcp-exec-*' '*-run-*'
            ls /run/user/850/mcp/sessions 2>/dev/null; pgrep -fa 'mcp-agent sessio[n]' || true";
        node.as_mcp(left, "").text().is_empty().then_some(())
    });
}

#[test]
fn a_slow_reader_holds_the_command_up_and_fills_no_memory() {
    let node = machine();
    node.deploy(LONE).ok();
    let script = r#"
        rm -f /tmp/go
        mcp exec lone -- sh -c 'exec head -c 60000000 /dev/zero' |
            { until [ -e /tmp/go ]; do sleep 0.1; done; wc -c; } >/tmp/count &
        until writer=$(pgrep -f '^sh -c exec head -c 60000000'); do sleep 0.1; done
        written() { podman unshare sed -n 's/^wchar: //p' "/proc/$writer/io"; }
        before=-1
        until now=$(written); [ "$now" = "$before" ] && [ "$now" -gt 0 ]; do before=$now; sleep 0.3; done
        [ "$now" -lt 20000000 ] || { echo "it wrote $now octets that nobody read"; exit 1; }
        for process in $(pgrep -f '^mcp exec') $(pgrep -f 'mcp-agent sessio[n]') $(pgrep -f 'mcp-agent serve[r]'); do
            kb=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$process/status)
            [ "$kb" -lt 100000 ] || { echo "process $process has $kb KiB"; exit 1; }
        done
        touch /tmp/go; wait
        [ "$(cat /tmp/count)" = 60000000 ]
    "#;
    node.as_mcp(script, "").ok();
}

#[test]
fn a_command_ends_with_its_client_and_a_client_with_its_agent() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    let start = node.invocations(&["lone.service"]);
    let number = Cell::new(5000);
    // Its children end with it, and what ignores the gentler signals.
    let begin = |options: &str| {
        number.set(number.get() + 1);
        let number = number.get();
        let script = format!(
            "rm -f /tmp/said; exec mcp exec {options} lone -- sh -c 'trap \"\" TERM HUP INT; sleep {number} | cat' 2>/tmp/said"
        );
        let client = node.in_background(&script);
        until("the command runs", || runs(&node, number).then_some(()));
        (client, number)
    };
    let ends = |number| until("the command has ended", || (!runs(&node, number)).then_some(()));

    let (client, first) = begin("");
    node.as_root("kill -9 $(pgrep -f '^mcp exec')").ok();
    ends(first);
    drop(client);
    let (client, first) = begin("");
    // The second time it does not wait; who is held up takes two for one.
    until("the command has ended", || {
        node.as_root("pkill -INT -f '^mcp exec'");
        (!runs(&node, first)).then_some(())
    });
    assert!(client.end() > 128);

    for (how, says) in [
        ("systemctl kill -s KILL mcp-agent", "is lost, and the command there is ended"),
        ("systemctl restart mcp-agent", "the agent is being stopped"),
    ] {
        let (client, number) = begin("-i");
        node.as_root(how).ok();
        assert_eq!(client.end(), 125);
        let said = node.as_mcp("cat /tmp/said", "").ok();
        assert!(said.out.contains(says), "{said:?}");
        ends(number);
        until("the agent is back", || (node.mcp(&["ps"]).code == 0).then_some(()));
    }
    assert_eq!(node.invocations(&["lone.service"]), start);
    nothing_left(&node);
    over_the_network(&node);
}

fn runs(node: &Machine, number: u32) -> bool {
    node.as_root(&format!("pgrep -f '^sleep {number}'")).code == 0
}

/// The same through TLS, and by whom it may not be done.
fn over_the_network(node: &Machine) {
    let pin = node.serve_tcp();
    let script = r#"
        export HOME=$(mktemp -d) XDG_CONFIG_HOME= XDG_RUNTIME_DIR=
        mcp node add far "$1:9444" --fingerprint "$2"
        head -c 3000000 /dev/urandom >"$HOME/big"
        there=$(MCP_TOKEN=$3 mcp exec -i lone -- sha256sum <"$HOME/big")
        [ "$there" = "$(sha256sum <"$HOME/big")" ]
        back=$(MCP_TOKEN=$3 mcp exec -i lone -- cat <"$HOME/big" | sha256sum)
        [ "$back" = "$there" ]
        code=0; MCP_TOKEN=$3 mcp exec lone -- sh -c 'exit 9' || code=$?; [ $code = 9 ]
        code=0; MCP_TOKEN=$4 mcp exec lone -- true || code=$?; [ $code = 125 ]
        rm -r "$HOME"
    "#;
    let (operator, viewer) = (node.token("op", "operator"), node.token("look", "viewer"));
    workstation(script, &[node.name(), &pin, &operator, &viewer]).ok().says("does not allow this");
}
