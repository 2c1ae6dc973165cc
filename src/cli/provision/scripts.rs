//! What is run on the machine, as POSIX shell. Values are arguments (`$1` and
//! so on), never part of a text.

/// Where packages lie until they are installed.
pub const CACHE: &str = "/var/cache/mcp-provision";

/// The agent's configuration.
pub const CONFIG: &str = "/srv/mcp/mcp-agent.toml";

/// Prints what [`super::facts::Facts`] reads; run as whoever logs in.
pub const FACTS: &str = r#"
if [ -r /etc/os-release ]; then . /etc/os-release; fi
echo "os=${ID-}"; echo "like=${ID_LIKE-}"; echo "version=${VERSION_ID-}"; echo "pretty=${PRETTY_NAME-}"
echo "arch=$(dpkg --print-architecture 2>/dev/null || uname -m)"
echo "host=$(uname -n)"; echo "uid=$(id -u)"
echo "init=$(cat /proc/1/comm 2>/dev/null || true)"
echo "systemd=$(systemctl --version 2>/dev/null | sed -n 's/^systemd //p' | head -n 1)"
echo "connection=${SSH_CONNECTION-}"
for program in apt-get sudo doas; do
  if command -v "$program" >/dev/null; then echo "has=$program"; fi
done
"#;

/// `$1` name, `$2` version (empty: any): prints `same`, `newer` or `wanted`.
pub const INSTALLED: &str = r#"
set -- "$1" "$2" "$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null || true)"
case $3 in
  "installed "*) ;;
  *) echo wanted; exit ;;
esac
have=${3#installed }
if [ -z "$2" ] || dpkg --compare-versions "$have" eq "$2"; then echo same
elif dpkg --compare-versions "$have" gt "$2"; then echo newer
else echo wanted; fi
"#;

/// `$1` file name, `$2` SHA-256, `$3` directory: succeeds if it is there.
pub const UPLOADED: &str = r#"
echo "$2  $3/$1" | sha256sum --check --status -
"#;

/// The same, with the file on standard input: puts it there.
pub const UPLOAD: &str = r#"
mkdir -p "$3"
cat >"$3/.$1.new"
echo "$2  $3/.$1.new" | sha256sum --check --status - || { echo "what arrived is damaged" >&2; exit 1; }
mv "$3/.$1.new" "$3/$1"
"#;

/// `$1` directory; the rest are names or files of packages: installs them,
/// after waiting for who else installs, an interrupted run of ours for one,
/// and finishing what was left half done. (apt waits for locks by itself.)
pub const INSTALL: &str = r#"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
attempts=150
until said=$(dpkg --configure -a 2>&1 </dev/null); do
  case $said in *lock*) attempts=$((attempts - 1)) ;; *) attempts=0 ;; esac
  if [ "$attempts" -le 0 ]; then echo "$said" >&2; exit 1; fi
  sleep 2
done
directory=$1; shift
set -- -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@"
apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null
apt-get -q -y -o DPkg::Lock::Timeout=300 --fix-broken install </dev/null
apt-get install "$@" </dev/null
rm -rf "$directory"
"#;

/// `$1` the configuration: prints it.
pub const READ_CONFIG: &str = r#"
if [ -e "$1" ]; then cat "$1"; fi
"#;

/// `$1` the configuration, whose new text is on standard input: puts it there
/// if the agent takes it.
pub const WRITE_CONFIG: &str = r#"
new=$1.new
install -o mcp -g mcp -m 0640 /dev/stdin "$new"
cd /
runuser -u mcp -- env HOME=/srv/mcp mcp-agent check-config --config "$new" >/dev/null || { rm -f "$new"; exit 1; }
if [ -e "$1" ]; then chown --reference="$1" "$new"; chmod --reference="$1" "$new"; fi
sync "$new"
mv "$new" "$1"
"#;

/// `$1` the configuration: succeeds if the agent runs, is enabled, and was
/// started after that was written.
pub const RUNS: &str = r#"
systemctl -q is-enabled mcp-agent.service
systemctl -q is-active mcp-agent.service
[ -e "$1" ] || exit 0
started=$(date -d "$(systemctl show --timestamp=us+utc -P ActiveEnterTimestamp mcp-agent.service)" +%s.%N)
awk -v written="$(stat -c %.Y "$1")" -v started="$started" 'BEGIN { exit !(written < started) }'
"#;

/// Starts the agent, or has it read its configuration; and has it keep a copy
/// of its registry from the first day on.
pub const START: &str = r"
systemctl -q enable mcp-agent.service mcp-agent-snapshot.timer
systemctl start mcp-agent-snapshot.timer
systemctl restart mcp-agent.service || { journalctl -u mcp-agent -n 20 -o cat --no-pager >&2; exit 1; }
systemctl start mcp-agent-snapshot.service
";

/// Prints the fingerprint of the agent's certificate, which an agent that runs
/// for the first time makes when it begins to serve.
pub const FINGERPRINT: &str = r#"
cd /
for attempt in $(seq 100); do
  fingerprint=$(runuser -u mcp -- env HOME=/srv/mcp mcp-agent check-config | sed -n 's/^fingerprint *//p')
  if [ -n "$fingerprint" ]; then echo "$fingerprint"; exit; fi
  sleep 0.2
done
"#;

/// `$1` name: makes a token of role admin and prints it.
pub const TOKEN: &str = r#"
cd /
runuser -u mcp -- env HOME=/srv/mcp mcp-agent token create --role admin --name "$1"
"#;

/// Prints what is wrong with the node; a node that is not well is no failure
/// of the script.
pub const DOCTOR: &str = r"
mcp-agent doctor --json || [ $? -eq 1 ]
";

/// Returns a word as a POSIX shell reads it (POSIX.1-2024, Shell Command
/// Language, 2.2.2).
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns the command line that runs a script with arguments.
pub fn command_line(script: &str, arguments: &[&str]) -> String {
    let mut words = vec!["sh -euc".to_owned(), quoted(script), "mcp".to_owned()];
    words.extend(arguments.iter().map(|argument| quoted(argument)));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn shell(line: &str) -> std::process::Output {
        Command::new("sh").args(["-c", line]).output().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arguments_arrive_as_they_are(words in prop::collection::vec("[^\0]{0,12}", 0..4)) {
            let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            let line = command_line(r#"for word; do printf '%s\0' "$word"; done"#, &arguments);
            let output = shell(&line);
            prop_assert!(output.status.success());
            let wanted: String = words.iter().map(|word| format!("{word}\0")).collect();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted);
        }
    }

    #[test]
    fn every_script_is_a_shell_script() {
        for script in [
            FACTS,
            INSTALLED,
            UPLOADED,
            UPLOAD,
            INSTALL,
            READ_CONFIG,
            WRITE_CONFIG,
            RUNS,
            START,
            FINGERPRINT,
            TOKEN,
            DOCTOR,
        ] {
            let output = shell(&format!("sh -nc {}", quoted(script)));
            assert!(output.status.success(), "{output:?}: {script}");
        }
    }

    #[test]
    fn a_file_is_there_only_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("cache");
        let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let arguments = ["x.deb", sha, to.to_str().unwrap()];
        assert!(!shell(&command_line(UPLOADED, &arguments)).status.success());
        let upload = command_line(UPLOAD, &arguments);
        assert!(!shell(&format!("printf ab | {upload}")).status.success());
        assert!(!to.join("x.deb").exists());
        assert!(shell(&format!("printf abc | {upload}")).status.success());
        assert!(shell(&command_line(UPLOADED, &arguments)).status.success());
    }

    #[test]
    fn the_facts_of_this_machine_are_told() {
        let output = shell(&command_line(FACTS, &[]));
        assert!(output.status.success(), "{output:?}");
        let facts = super::super::facts::Facts::parse(&String::from_utf8_lossy(&output.stdout));
        assert!(
            facts.uid.is_some() && !facts.host.is_empty() && !facts.arch.is_empty(),
            "{facts:?}"
        );
    }
}
