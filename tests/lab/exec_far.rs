//! A command in a container of another node, through TLS.

use crate::definitions::LONE;
use crate::exec::{PERSON, nothing_left};
use crate::fixture::{Machine, lab_command, two_machines};
use crate::wait::until;

/// Returns a machine on which somebody works, and another that it knows as
/// `far`, with a service on it.
fn here_and_far() -> (Machine, Machine) {
    let (here, far) = two_machines();
    here.spoil();
    let pin = far.serve_tcp();
    let token = far.token("op", "operator");
    far.deploy(LONE).ok();
    let known = format!(
        "mcp node add far {}:9444 --fingerprint {pin}; echo {token} | mcp login -n far --token-file -",
        far.name()
    );
    here.as_mcp(&known, "").ok();
    (here, far)
}

#[test]
fn a_terminal_and_streams_are_had_from_another_node() {
    let (here, far) = here_and_far();
    let terminal = format!(
        r#"set -- 'mcp exec -it lone -- sh'
        {PERSON}
        sleeps() {{ mcp exec lone -- sh -c 'ps | grep -q "[s]leep 4811"'; }}
        see '#'
        say 'stty size\n'; see '30 91'
        stty -F "$(cat /tmp/pts)" rows 41 cols 133
        for i in $(seq 100); do
            say 'stty size\n'; sleep 0.1; grep -q '41 133' /tmp/screen && break
        done
        see '41 133'
        say 'echo began; sleep 4811\n'; see '^began'
        until sleeps; do sleep 0.1; done
        say '\003'
        say 'echo interrupted with $?\n'; see 'interrupted with 130'
        if sleeps; then exit 1; fi
        say 'kill -9 $$\n'; see 'left with 137'
        see '[^-]icanon'; see '[^-]echo '
        exec 3>&-; wait"#
    );
    here.as_mcp(&terminal, "").ok();

    let streams = r#"
        head -c 20000000 /dev/urandom >/tmp/big
        printf 'a\020\021\000\377\nz' >>/tmp/big
        sum=$(sha256sum </tmp/big)
        # There and back at the same time, and each way alone.
        [ "$(mcp exec -i lone -- cat </tmp/big | sha256sum)" = "$sum" ]
        [ "$(mcp exec -i lone -- sha256sum </tmp/big)" = "$sum" ]
        mcp exec -i lone -- sh -c 'cat >/tmp/big' </tmp/big
        [ "$(mcp exec lone -- cat /tmp/big | sha256sum)" = "$sum" ]
        mcp exec lone -- sh -c 'echo out; echo err >&2; exit 7' >/tmp/out 2>/tmp/err || code=$?
        [ "$(cat /tmp/out) $(cat /tmp/err) $code" = "out err 7" ]
        [ "$(mcp run --rm -i --entrypoint sha256sum lone/lone </tmp/big)" = "$sum" ]
    "#;
    here.as_mcp(streams, "").ok();
    here.mcp(&["exec", "lone", "--", "sh", "-c", "kill -9 $$"]).code(137);
    nothing_left(&far);
}

#[test]
fn a_command_on_a_node_that_is_cut_off_ends_on_both_sides() {
    let (here, far) = here_and_far();
    let client =
        here.in_background("exec mcp exec -i lone -- sh -c 'sleep 4812; true' 2>/tmp/said");
    let runs = || far.as_root("pgrep -f '^sleep 4812'").code == 0;
    until("the command runs", || runs().then_some(()));
    // A cable is pulled: nobody even says no.
    lab_command(&["partition", here.name(), far.name()]).ok();
    let code = client.end();
    until("the command has ended", || (!runs()).then_some(()));
    lab_command(&["heal"]).ok();
    assert_eq!(code, 125);
    here.as_mcp("cat /tmp/said", "").ok().says("lost");
    nothing_left(&far);
}
