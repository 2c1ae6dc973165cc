//! What `--json` really writes has the fields that `docs/json.md` shows, and
//! no others.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::definitions::{LONE, PAIR, with, with_component};
use crate::fixture::{Machine, machine};
use crate::wait::until;

type Object = Map<String, Value>;

/// What a section says.
#[derive(Debug, Default)]
struct Section {
    /// What stands in it in backticks: also the sections that it refers to.
    words: BTreeSet<String>,
    /// What it shows.
    examples: Vec<Value>,
    /// Objects that it shows under a name, or in a list of that name.
    named: BTreeMap<String, Vec<Object>>,
}

impl Section {
    fn read(part: &str) -> Self {
        let prose = part.split("```").step_by(2);
        let words = prose.flat_map(|p| p.split('`').skip(1).step_by(2)).map(str::to_owned);
        let blocks = part.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let values = blocks.flat_map(|b| serde_json::Deserializer::from_str(b).into_iter());
        let examples: Vec<Value> = values.map(|v| v.expect("an example is JSON")).collect();
        let mut named = BTreeMap::new();
        for example in &examples {
            collect(example, &mut named);
        }
        Self { words: words.collect(), examples, named }
    }

    /// The objects that stand alone, and those under a name.
    fn objects(&self, name: &str) -> impl Iterator<Item = &Object> {
        let alone = self.examples.iter().filter_map(Value::as_object);
        alone.chain(self.named.get(name).into_iter().flatten())
    }
}

/// The document.
#[derive(Debug)]
struct Documented {
    /// What it says before the first section.
    general: Section,
    /// Its sections, by each command in the heading.
    sections: BTreeMap<String, Rc<Section>>,
}

impl Documented {
    fn read() -> Self {
        let text = include_str!("../../docs/json.md");
        let mut parts = text.split("\n## ");
        let general = Section::read(parts.next().unwrap());
        let mut sections = BTreeMap::new();
        for part in parts {
            let section = Rc::new(Section::read(part));
            let heading = part.lines().next().unwrap();
            for command in heading.split('`').skip(1).step_by(2) {
                sections.insert(command.to_owned(), Rc::clone(&section));
            }
        }
        Self { general, sections }
    }

    /// Compares what a command wrote with the examples of its section: one of
    /// them is like it. Returns what is wrong of the one that comes closest.
    fn compare(&self, name: &str, real: &Value) -> Vec<String> {
        let Some(section) = self.sections.get(name) else {
            return vec![format!("{name}: there is no such section")];
        };
        let of = |example: &Value| {
            let wrong = BTreeSet::new();
            let mut comparison = Comparison { documented: self, section, wrong };
            comparison.value(&[example], real, name);
            comparison.wrong
        };
        let closest = section.examples.iter().map(of).min_by_key(BTreeSet::len);
        closest.unwrap_or_default().into_iter().collect()
    }
}

/// What is wrong of a value, beside one example.
struct Comparison<'a> {
    documented: &'a Documented,
    section: &'a Section,
    wrong: BTreeSet<String>,
}

impl<'a> Comparison<'a> {
    /// Compares a value with the examples of its place.
    fn value(&mut self, examples: &[&Value], real: &Value, place: &str) {
        match real {
            Value::Null => {}
            Value::Array(elements) => {
                let inner: Vec<&Value> =
                    examples.iter().filter_map(|e| e.as_array()).flatten().collect();
                for element in elements {
                    self.value(&inner, element, &format!("{place}[]"));
                }
            }
            Value::Object(real) => {
                let mut shown: Vec<_> = examples.iter().filter_map(|e| e.as_object()).collect();
                if shown.is_empty() {
                    shown.extend(self.elsewhere(real, place));
                }
                if shown.is_empty() {
                    self.wrong.insert(format!("{place}: no such object is shown: {real:?}"));
                } else {
                    self.object(&shown, real, place);
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let kinds: BTreeSet<&str> =
                    examples.iter().map(|e| kind(e)).filter(|k| *k != "null").collect();
                if !kinds.is_empty() && !kinds.contains(kind(real)) {
                    self.wrong.insert(format!("{place} is a {}, not {kinds:?}", kind(real)));
                }
            }
        }
    }

    fn object(&mut self, shown: &[&Object], real: &Object, place: &str) {
        for (key, value) in real {
            let inner: Vec<&Value> = shown.iter().filter_map(|s| s.get(key)).collect();
            if inner.is_empty() {
                self.wrong.insert(format!("{place}.{key} is written and not documented"));
            } else {
                self.value(&inner, value, &format!("{place}.{key}"));
            }
        }
        for key in shown.iter().flat_map(|s| s.keys()).filter(|key| !real.contains_key(*key)) {
            self.wrong.insert(format!("{place}.{key} is documented and not written"));
        }
    }

    /// Returns what is shown elsewhere for a place whose own example is empty:
    /// alone or under the same name, in the same section, in one that this
    /// refers to, or before all of them.
    fn elsewhere(&self, real: &Object, place: &str) -> Option<&'a Object> {
        let name = place.rsplit('.').next().unwrap_or(place).trim_end_matches("[]");
        let Documented { general, sections } = self.documented;
        let others = self.section.words.iter().filter_map(|word| sections.get(word));
        let all = std::iter::once(self.section).chain(others.map(Rc::as_ref)).chain([general]);
        let like = |shown: &&Object| shown.keys().eq(real.keys());
        all.flat_map(|section| section.objects(name)).find(like)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Notes each object that is shown under a name, or in a list of that name.
fn collect(value: &Value, named: &mut BTreeMap<String, Vec<Object>>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let list = std::slice::from_ref(value);
                let inner = value.as_array().map_or(list, Vec::as_slice);
                let objects = inner.iter().filter_map(Value::as_object).cloned();
                named.entry(key.clone()).or_default().extend(objects);
                collect(value, named);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                collect(element, named);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Commands run on a node, and what was wrong with what they wrote.
struct Shown<'a> {
    node: &'a Machine,
    documented: Documented,
    wrong: Vec<String>,
}

impl Shown<'_> {
    /// Runs a command line, which may fail, and compares all that it wrote.
    /// Returns that.
    fn run(&mut self, section: &str, line: &str) -> Vec<Value> {
        self.script(section, &format!("mcp --json {line}"))
    }

    fn script(&mut self, section: &str, script: &str) -> Vec<Value> {
        let answer = self.node.as_mcp(script, "");
        let written: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_str(&answer.out).into_iter().collect();
        let Ok(written) = written else { panic!("no JSON: {answer:?}") };
        assert!(!written.is_empty(), "nothing was written: {answer:?}");
        for value in &written {
            let wrong = self.documented.compare(section, value);
            self.wrong.extend(wrong.into_iter().map(|w| format!("{script}: {w}")));
        }
        written
    }

    #[track_caller]
    fn end(self) {
        assert!(self.wrong.is_empty(), "docs/json.md and the program differ:\n{}", {
            self.wrong.join("\n")
        });
    }
}

/// One with a command of the calendar that runs whenever one looks.
fn busy_pair() -> String {
    let schedule = "\n[[components.schedule]]\nname = \"slow\"\non_calendar = \"*:*:*\"\ncmd = [\"sleep\", \"6201\"]\n";
    with(
        PAIR,
        "\n[[components]]\nname = \"front\"",
        &format!("{schedule}\n[[components]]\nname = \"front\""),
    )
}

#[test]
fn a_difference_is_told() {
    let documented = Documented::read();
    let written = json!({
        "services": [{
            "service": "mcq", "node": "rift", "active": "yes", "generation": 3, "deployed_at": null,
            "deployed_by": "kyle", "components": [{"component": "mcq", "image": "x", "ports": [{}]}],
        }],
        "problems": [{"node": "rift"}],
        "more": 1,
    });
    let told = [
        "list.more is written and not documented",
        "list.problems[]: no such object is shown: {\"node\": String(\"rift\")}",
        "list.services[].active is a string, not {\"boolean\"}",
        "list.services[].comment is documented and not written",
        "list.services[].components[].ports[].port is documented and not written",
        "list.services[].components[].ports[].route is documented and not written",
    ];
    assert_eq!(documented.compare("list", &written), told);
    assert_eq!(documented.compare("lisp", &written), ["lisp: there is no such section"]);
}

const DIRECTORY: &str = "/srv/mcp/.config/mcp/services";

#[test]
fn what_is_looked_at_has_the_documented_fields() {
    let node = machine();
    node.spoil();
    node.as_root("install -d -o mcp -g mcp /srv/pair").ok();
    let pair = busy_pair();
    node.write_as_mcp(&format!("{DIRECTORY}/pair.toml"), &pair);
    let mut shown = Shown { node: &node, documented: Documented::read(), wrong: Vec::new() };
    shown.run("deploy --dry-run", "deploy pair --dry-run");
    shown.run("sync", "sync --dry-run");
    let made = shown.run("deploy", "deploy pair");
    assert_eq!(made[0]["outcome"], "done", "{made:?}");
    node.write_as_mcp(&format!("{DIRECTORY}/pair.toml"), &with(&pair, "web:v1", "web:v2"));
    let planned = shown.run("deploy --dry-run", "deploy pair --dry-run");
    assert_ne!(planned[0]["commands"], Value::Array(Vec::new()), "{planned:?}");
    assert_ne!(planned[0]["effects"], Value::Array(Vec::new()), "{planned:?}");
    shown.run("sync", "sync --dry-run");
    shown.run("sync", "sync");

    until("a job runs", || {
        let ps = node.mcp(&["ps", "--json"]).ok().json();
        (!ps["jobs"].as_array().unwrap().is_empty()).then_some(())
    });
    shown.run("ps", "ps");
    shown.run("list", "list");
    let status = shown.run("status", "status");
    let api = &status[0]["services"][0]["components"][0];
    assert_eq!(api["schedules"][0]["running"], true, "{status:?}");
    shown.run("history", "history pair");
    shown.run("diff", "diff pair");
    shown.run("service show", "service show pair");
    shown.run("service export", "service export pair --stdout");
    shown.run("service export", "service export pair --force");
    shown.run("service new", "service new other --image localhost/lab/web:v1 --stdout");
    shown.run("service new", "service new other --image localhost/lab/web:v1");
    shown.script("service edit", "EDITOR=true mcp --json service edit other");
    shown.run("node list", "node list");
    shown.run("doctor", "doctor -a");
    shown.run("explain", "explain pair");
    shown.run("explain", "explain other");
    shown.run("events", "events -n 20");
    shown.run("logs", "logs pair -n 20");
    shown.run("top", "top --once");
    shown.run("boot plan", "boot plan");
    shown.run("boot verify", "boot verify --all");
    shown.run("boot report", "boot report");
    shown.run("agent status", "agent status");
    shown.run("agent recover", "agent recover --dry-run");
    shown.run("purge", "purge --dry-run");
    shown.run("wait", "wait pair/front");
    shown.run("exec", "exec pair/front -- sh -c 'echo out; exit 3'");
    shown.run("run", "run --rm --entrypoint sh pair/front -- -c 'echo out'");
    shown.run("push", &format!("push {DIRECTORY}/pair.toml pair --restart"));
    shown.run("pull", "pull pair pair.toml /tmp/pulled");
    shown.run("lint", &format!("lint {DIRECTORY}/pair.toml"));
    shown.run("render", &format!("render {DIRECTORY}/pair.toml"));
    shown.run("completions", "completions bash");
    shown.run("man", "man --out /tmp/man");
    node.as_mcp(
        "podman run -d --name hand -v /data localhost/lab/web:v1; podman exec hand touch /written",
        "",
    )
    .ok();
    let adopted = shown.run("adopt --dry-run", "adopt hand --dry-run");
    assert_ne!(adopted[0]["containers"][0]["volumes"], json!([]), "{adopted:?}");
    shown.run("adopt", "adopt hand --yes");
    shown.run(
        "import run",
        "import run --stdout -- podman run --pull=never -p 8080:80 localhost/lab/web:v1",
    );
    shown.run("alert-test", "alert-test");
    shown.end();
}

#[test]
fn what_is_done_and_what_is_wrong_has_the_documented_fields() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    node.as_mcp("mkdir -p ~/.config/mcp/services", "").ok();
    let mut shown = Shown { node: &node, documented: Documented::read(), wrong: Vec::new() };
    shown.run("stop", "stop lone");
    shown.run("wait", "wait lone --stopped");
    shown.run("start", "start lone");
    shown.run("restart", "restart lone");
    // One that does not become ready, and what is said of it.
    let health = "{ http = \"/health\", interval = \"2s\", timeout = \"1s\", retries = 1, start_period = \"2s\" }";
    let sick = with_component(LONE, "lone", &[("health", health)]);
    node.write_as_mcp("/tmp/sick/lone.toml", &with(&sick, "web:v1", "web:bad"));
    let failed = shown.run("deploy", "deploy lone -f /tmp/sick/lone.toml");
    assert_eq!(failed[0]["outcome"], "rolled_back", "{failed:?}");
    assert!(!failed[0]["failures"].as_array().unwrap().is_empty(), "{failed:?}");
    node.deploy(&with(LONE, "web:v1", "web:v2")).ok();
    shown.run("rollback", "rollback lone");

    node.as_mcp("systemctl --user stop lone.service", "").ok();
    node.as_mcp("podman run -d --name stray localhost/lab/web:v1", "").ok();
    until("both are seen", || {
        let status = shown.node.mcp(&["status", "--json"]).ok().json();
        let component = &status["services"][0]["components"][0];
        let both = [&status["drifts"], &component["drifts"]];
        both.iter().all(|d| !d.as_array().unwrap().is_empty()).then_some(())
    });
    shown.run("status", "status");
    shown.run("explain", "explain");
    shown.run("doctor", "doctor");
    shown.run("events", "events -n 100");
    shown.run("reconcile --dry-run", "reconcile lone --dry-run");
    shown.run("reconcile", "reconcile lone");
    shown.run("purge", "purge");
    shown.run("lint", "lint /tmp/sick/lone.toml");
    node.write_as_mcp("/tmp/wrong.toml", "name = \"wrong\"\n[[components]]\nimaeg = \"x\"\n");
    shown.run("lint", "lint /tmp/wrong.toml /nowhere.toml");
    node.write_as_mcp(&format!("{DIRECTORY}/wrong.toml"), "name = \"wrong\"\ncomponents = 1\n");
    shown.run("sync", "sync --dry-run");
    node.as_mcp(&format!("rm {DIRECTORY}/wrong.toml"), "").ok();
    shown.run("boot verify", "boot verify");
    shown.run("release", "release lone");
    // A node that does not answer.
    let dark = "HOME=$(mktemp -d); export HOME; mcp --json";
    shown.script(
        "node add",
        &format!("{dark} node add dark 127.0.0.1:9 --ca-cert /etc/ssl/certs/ca-certificates.crt"),
    );
    let add = "mcp node add dark 127.0.0.1:9 --ca-cert /etc/ssl/certs/ca-certificates.crt >&2";
    let with_dark = format!("HOME=$(mktemp -d); export HOME; {add}; MCP_TOKEN=x mcp --json");
    for command in
        ["ps", "list", "status", "explain", "doctor", "top --once", "boot plan", "agent status"]
    {
        shown.script(command.split(" --").next().unwrap(), &format!("{with_dark} {command}"));
    }
    shown.script("node list", &format!("{with_dark} node list"));
    shown.script("node remove", &format!("{with_dark} node remove dark"));
    // What was released has the name.
    node.deploy(LONE).code(1).says("there is a unit lone.service already");
    node.deploy(PAIR).ok();
    shown.run("undeploy", "undeploy pair --yes");
    shown.end();
}
