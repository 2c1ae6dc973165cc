//! The lab, booted once a run, and its machines, each handed to one test at a
//! time.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::run::Answer;
use crate::wait::{until, until_within};

/// Longest wait for a script that runs on: for its next line, or its end.
const PATIENCE: Duration = Duration::from_secs(600);

/// Machines that any test may have.
const WORKERS: [&str; 2] = ["node1", "node2"];

/// The lab of this run.
#[derive(Debug)]
struct Lab {
    script: PathBuf,
    free: Mutex<Vec<Kept>>,
    returned: Condvar,
}

/// A machine that nobody has.
#[derive(Debug, Clone, Copy)]
struct Kept {
    name: &'static str,
    state: State,
}

/// What is on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing, not even our programs.
    Bare,
    /// Our programs, and perhaps services.
    Known,
    /// Who knows: a test failed on it, or changed it.
    Spoiled,
}

/// Returns the lab; there is no test without one.
fn lab() -> &'static Lab {
    static LAB: OnceLock<Result<Lab, String>> = OnceLock::new();
    match LAB.get_or_init(Lab::boot) {
        Ok(lab) => lab,
        Err(why) => panic!("there is no lab: {why}"),
    }
}

impl Lab {
    fn boot() -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab");
        let free = WORKERS.iter().map(|name| Kept { name, state: State::Bare }).collect();
        let lab = Self { script, free: Mutex::new(free), returned: Condvar::new() };
        let workers = WORKERS.len().to_string();
        for args in [&["down"][..], &["up", &workers, "--old", "1", "--registry"]] {
            let answer = Answer::of(&mut lab.command(args), "");
            if answer.code != 0 {
                return Err(format!("{answer:?}"));
            }
        }
        Ok(lab)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.args(args);
        // A lab of its own, beside those that people play with, and patient.
        let own = [("LAB_NAME", "mcptests"), ("LAB_NET", "10.79.0"), ("LAB_TIMEOUT", "240")];
        for (key, default) in own {
            if std::env::var_os(key).is_none() {
                command.env(key, default);
            }
        }
        command
    }

    fn take(&self, count: usize) -> Vec<Kept> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .returned
            .wait_while(free, |free| free.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        free.drain(..count).collect()
    }
}

/// Returns the directory of the programs under test.
pub fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mcp")).parent().unwrap()
}

/// Runs a command of the lab itself, such as `partition`.
#[track_caller]
pub fn lab_command(args: &[&str]) -> Answer {
    Answer::of(&mut lab().command(args), "")
}

/// Runs a script on the workstation, with the programs under test in its
/// path; `$1` and so on are the arguments.
pub fn workstation(script: &str, args: &[&str]) -> Answer {
    let mut all = vec!["exec", "ws", "--", "sh", "-ec", script, "sh"];
    all.extend(args);
    let mut command = lab().command(&all);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", programs().display()));
    for key in ["MCP_CONFIG", "MCP_TOKEN", "MCP_SERVICES_DIR", "MCP_AUTH_TOKEN_PATH"] {
        command.env_remove(key);
    }
    Answer::of(&mut command, "")
}

/// Returns a machine with our programs and no service on it.
pub fn machine() -> Machine {
    let kept = lab().take(1).remove(0);
    Machine::ready(kept)
}

/// Returns a machine that has nothing of ours, not even the user.
pub fn bare_machine() -> Machine {
    let kept = lab().take(1).remove(0);
    let machine = Machine::new(kept.name, State::Spoiled, true);
    if kept.state != State::Bare {
        lab_command(&["reset", machine.name]).ok();
    }
    machine
}

/// Returns two such machines as [`machine`] does.
pub fn two_machines() -> (Machine, Machine) {
    let mut kept = lab().take(2);
    let second = kept.remove(1);
    (Machine::ready(kept.remove(0)), Machine::ready(second))
}

/// A machine of the lab, as long as the test has it.
#[derive(Debug)]
pub struct Machine {
    name: &'static str,
    state: Cell<State>,
    shared: bool,
    /// Since when the test has it: what happened before is another's.
    pub since: Timestamp,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.shared {
            let failed = std::thread::panicking();
            let state = if failed { State::Spoiled } else { self.state.get() };
            let kept = Kept { name: self.name, state };
            lab().free.lock().unwrap_or_else(PoisonError::into_inner).insert(0, kept);
            lab().returned.notify_all();
        }
    }
}

impl Machine {
    fn new(name: &'static str, state: State, shared: bool) -> Self {
        Self { name, state: Cell::new(state), shared, since: Timestamp::now() }
    }

    fn ready(kept: Kept) -> Self {
        let mut machine = Self::new(kept.name, State::Spoiled, true);
        match kept.state {
            State::Bare => machine.install(),
            State::Known if machine.is_clean() => {}
            State::Known | State::Spoiled => machine.renew(),
        }
        machine.state.set(State::Known);
        machine.since = Timestamp::now();
        machine
    }

    /// Returns the machine whose podman is too old.
    pub fn old() -> Self {
        lab();
        let machine = Self::new("old1", State::Bare, false);
        machine.install();
        machine
    }

    /// Takes every service off; tells whether that could be done.
    fn is_clean(&self) -> bool {
        let script = "for s in $(mcp list --json | jq -r '.services[].service'); do
            mcp -q undeploy \"$s\" --purge-data --yes; done
            podman volume rm -a -f >/dev/null";
        self.as_mcp(script, "").code == 0
    }

    /// Throws the disk away and boots a new machine with our programs.
    fn renew(&self) {
        lab_command(&["reset", self.name]).ok();
        self.install();
    }

    fn install(&self) {
        self.install_from(programs()).ok();
    }

    /// Installs the packages in a directory, or those of the programs in it.
    pub fn install_from(&self, directory: &Path) -> Answer {
        lab_command(&["install", self.name, directory.to_str().unwrap()])
    }

    /// Says that the test changes the machine in ways that cannot be undone
    /// by undeploying: the next test gets a new one.
    pub fn spoil(&self) {
        self.state.set(State::Spoiled);
    }

    /// Returns the machine's name, which resolves all over the lab.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the machine's address.
    pub fn address(&self) -> String {
        lab_command(&["ip", self.name]).ok().text().to_owned()
    }

    /// Runs a command of the lab on this machine, such as `reboot`.
    #[track_caller]
    pub fn lab(&self, command: &str) {
        lab_command(&[command, self.name]).ok();
    }

    /// Runs a shell script as root.
    pub fn as_root(&self, script: &str) -> Answer {
        self.script("root", script, "", &[])
    }

    /// Runs a shell script as the user of the agent, with standard input.
    pub fn as_mcp(&self, script: &str, input: &str) -> Answer {
        self.script("mcp", script, input, &[])
    }

    /// Runs a shell script as an ordinary user, with the session's variables.
    pub fn as_alice(&self, script: &str, input: &str) -> Answer {
        let script = format!(
            "export XDG_RUNTIME_DIR=/run/user/1000
            export DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus
            {script}"
        );
        self.script("alice", &script, input, &[])
    }

    fn script(&self, user: &str, script: &str, input: &str, args: &[&str]) -> Answer {
        Answer::of(&mut self.command(user, script, args), input)
    }

    fn command(&self, user: &str, script: &str, args: &[&str]) -> Command {
        let target = match user {
            "root" | "mcp" => self.name.to_owned(),
            other => format!("{other}@{}", self.name),
        };
        let how = if user == "root" { "exec" } else { "user" };
        let mut all = vec![how, &target, "--", "sh", "-ec", script, "sh"];
        all.extend(args);
        lab().command(&all)
    }

    /// Puts a file of the host onto the machine, for everybody to read and run.
    #[track_caller]
    pub fn put(&self, from: &Path, to: &str) {
        let to = format!("{}:{to}", self.name);
        lab_command(&["cp", from.to_str().unwrap(), &to]).ok();
    }

    /// Starts a script as the user of the agent and goes on; its output can
    /// be read, and it ends when dropped.
    pub fn in_background(&self, script: &str) -> Background {
        let mut command = self.command("mcp", script, &[]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Background(command.spawn().unwrap())
    }

    /// Runs `mcp` as the user of the agent.
    pub fn mcp(&self, args: &[&str]) -> Answer {
        self.script("mcp", "exec mcp \"$@\"", "", args)
    }

    /// Deploys a definition as the user of the agent.
    pub fn deploy(&self, definition: &str) -> Answer {
        self.deploy_with(definition, &[])
    }

    /// Deploys a definition with further arguments.
    pub fn deploy_with(&self, definition: &str, more: &[&str]) -> Answer {
        self.deploy_part(&name_of(definition), definition, more)
    }

    /// Deploys a service or component, out of a definition.
    pub fn deploy_part(&self, path: &str, definition: &str, more: &[&str]) -> Answer {
        let script = "cat >\"/tmp/${1%/*}.toml\"; exec mcp deploy \"$1\" -f \"/tmp/${1%/*}.toml\" ";
        let script = format!("{script} {}", more.join(" "));
        self.script("mcp", &script, definition, &[path])
    }

    /// Writes a file as the user of the agent.
    #[track_caller]
    pub fn write_as_mcp(&self, path: &str, text: &str) {
        self.script("mcp", "mkdir -p \"$(dirname \"$1\")\"; cat >\"$1\"", text, &[path]).ok();
    }

    /// Gives the agent a configuration and has it start with that.
    #[track_caller]
    pub fn configure(&self, text: &str) {
        self.spoil();
        self.write_as_mcp("/srv/mcp/mcp-agent.toml", text);
        self.as_root("systemctl restart mcp-agent").ok();
    }

    /// Kills the agent, and waits until systemd has started another one, which
    /// serves.
    #[track_caller]
    pub fn kill_agent(&self) {
        let pid = |machine: &Self| {
            machine.as_root("systemctl show -P MainPID mcp-agent").ok().text().to_owned()
        };
        let old = pid(self);
        self.as_root("systemctl kill -s KILL --kill-whom=main mcp-agent").ok();
        // In this order: before it is noticed, the old one is active.
        until("the agent is another one", || {
            (pid(self) != old && self.as_root("systemctl is-active -q mcp-agent").code == 0)
                .then_some(())
        });
    }

    /// Has the agent serve TCP; returns the fingerprint of its certificate.
    #[track_caller]
    pub fn serve_tcp(&self) -> String {
        self.configure(&format!("[server]\ngrpc_addr = \"{}:9444\"\n", self.address()));
        until("the agent serves TCP", || {
            (self.as_root("ss -Hltn 'sport = 9444' | grep -q .").code == 0).then_some(())
        });
        self.fingerprint()
    }

    /// Returns the fingerprint of the agent's certificate.
    #[track_caller]
    pub fn fingerprint(&self) -> String {
        let shown = self.as_mcp("mcp-agent check-config | sed -n 's/^fingerprint *//p'", "").ok();
        assert!(shown.text().starts_with("SHA256:"), "{shown:?}");
        shown.text().to_owned()
    }

    /// Makes a token of the agent.
    #[track_caller]
    pub fn token(&self, name: &str, role: &str) -> String {
        let create = format!("mcp-agent token create --name {name} --role {role}");
        self.as_mcp(&create, "").ok().text().to_owned()
    }
}

/// The name of a definition's service.
fn name_of(definition: &str) -> String {
    let named = definition.lines().find_map(|line| line.strip_prefix("name = \""));
    named.and_then(|rest| rest.split('"').next()).unwrap_or("nameless").to_owned()
}

/// A script that runs on, until dropped.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Returns its output, line by line as it comes. Who waits for a line that
    /// does not come fails, and does not hang.
    pub fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        use std::io::BufRead as _;
        let out = self.0.stdout.take().unwrap();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let all = std::io::BufReader::new(out).lines().map_while(Result::ok);
            // Nobody may be reading any more.
            all.map(|line| send.send(line)).find(Result::is_err)
        });
        std::iter::from_fn(move || match lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line came within {PATIENCE:?}"),
        })
    }

    /// Waits until it ends, and returns its exit code.
    #[track_caller]
    pub fn end(mut self) -> i32 {
        let status = until_within(PATIENCE, "it ends", || self.0.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
