//! What every command of `mcp` has: help with an example, a documented
//! `--json`, a manual page, and names that the shell completes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};
use mcp::cli::args::Cli;

/// Value names whose values are names of services, components or nodes.
const NAMES: [&str; 6] =
    ["SERVICE", "SERVICES", "SERVICE[/COMPONENT]", "SERVICE/COMPONENT", "COMPONENT", "NODE"];
/// Arguments whose value is a name that is not there yet.
const NEW_NAMES: [(&str, &str); 5] = [
    ("adopt", "service"),
    ("service new", "service"),
    ("import compose", "name"),
    ("import quadlet", "name"),
    ("import run", "name"),
];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Every command that does something, as it is typed after `mcp`.
fn commands() -> Vec<(String, Command)> {
    fn collect(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
        for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let path = format!("{path} {}", below.get_name()).trim_start().to_owned();
            if below.has_subcommands() {
                collect(below, &path, found);
            } else {
                found.push((path, below.clone()));
            }
        }
    }
    let mut all = Cli::command();
    all.build();
    let mut found = Vec::new();
    collect(&all, "", &mut found);
    assert!(found.len() > 30, "the commands have moved: {}", found.len());
    found
}

/// Fails with what is to be added, if anything is.
#[track_caller]
fn nothing_missing(missing: &[String]) {
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn every_command_has_help_with_an_example_of_it() {
    let mut missing = Vec::new();
    for (path, command) in commands() {
        if command.get_about().is_none() {
            missing.push(format!("mcp {path}: give its argument struct a doc comment, its help"));
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let typed = format!("mcp {path}");
        if !after.starts_with("Example") || !after.contains(&typed) {
            missing.push(format!(
                "mcp {path}: add #[command(after_help = \"Example:\\n  {typed} ...\")] to its argument struct"
            ));
        }
        for argument in own_arguments(&command) {
            if argument.get_help().is_none() {
                let id = argument.get_id();
                missing.push(format!("mcp {path}: give the field {id} a doc comment, its help"));
            }
        }
    }
    nothing_missing(&missing);
}

/// The arguments of a command that are not those of every command.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    const GLOBAL: [&str; 6] = ["config", "json", "quiet", "color", "help", "version"];
    command.get_arguments().filter(|argument| !GLOBAL.contains(&argument.get_id().as_str()))
}

/// The commands that headings of a document name: each in backticks, without
/// options.
fn headed(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter_map(|line| line.strip_prefix("## "));
    let quoted = headings.flat_map(|heading| heading.split('`').skip(1).step_by(2));
    quoted.map(|name| name.split(" -").next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_has_its_json_documented() {
    let described = headed(&read("docs/json.md"));
    let missing: Vec<String> = commands()
        .into_iter()
        .filter(|(path, _)| !described.contains(path))
        .map(|(path, _)| {
            format!(
                "mcp {path}: add a section \"## `{path}`\" to docs/json.md (or its name to the heading of one that fits): what --json writes, each key, and a ```json example"
            )
        })
        .collect();
    nothing_missing(&missing);
}

#[test]
fn every_section_about_json_is_of_a_command_and_shows_an_example() {
    let known: BTreeSet<String> = commands().into_iter().map(|(path, _)| path).collect();
    let document = read("docs/json.md");
    let mut wrong = Vec::new();
    for name in headed(&document).difference(&known) {
        wrong.push(format!("docs/json.md has a section about `{name}`, which is no command"));
    }
    for section in document.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap();
        if !section.contains("```json") {
            wrong.push(format!("docs/json.md, {title}: show what is written in a ```json block"));
        }
    }
    nothing_missing(&wrong);
}

#[test]
fn every_command_is_in_the_table_of_commands() {
    let document = read("docs/cli.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `mcp ")).collect();
    let missing: Vec<String> = commands()
        .into_iter()
        .filter(|(path, _)| {
            let typed = format!("`mcp {path}");
            let ends = |rest: &str| rest.starts_with(['`', ' ', ',']);
            !rows.iter().any(|row| row.split(&typed).skip(1).any(ends))
        })
        .map(|(path, _)| format!("mcp {path}: add a row \"| `mcp {path} ...` | does ... |\" to the table in docs/cli.md"))
        .collect();
    nothing_missing(&missing);
}

#[test]
fn the_shell_completes_names() {
    let mut missing = Vec::new();
    for (path, command) in commands() {
        for argument in own_arguments(&command) {
            let id = argument.get_id().as_str();
            let values = argument.get_value_names().unwrap_or_default();
            let is = |names: &[&str]| values.iter().any(|v| names.contains(&v.as_str()));
            let completes = argument.get::<ArgValueCandidates>().is_some()
                || argument.get::<ArgValueCompleter>().is_some();
            if is(&NAMES) && !completes && !NEW_NAMES.contains(&(path.as_str(), id)) {
                missing.push(format!(
                    "mcp {path}, argument {id}: add = completion::services() or completion::nodes() to its #[arg(...)]"
                ));
            }
        }
    }
    nothing_missing(&missing);
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = mcp::manual::Section::Commands;
    mcp::manual::write_pages(Cli::command(), pages, directory.path()).unwrap();
    let missing: Vec<String> = commands()
        .into_iter()
        // What only packages call is hidden, and its page too.
        .filter(|(_, command)| !command.is_hide_set())
        .filter(|(path, _)| {
            let page = format!("mcp-{}.1", path.replace(' ', "-"));
            let text = fs::read_to_string(directory.path().join(page)).unwrap_or_default();
            !text.contains(".SH DESCRIPTION") || !text.contains(".SH EXAMPLES\n")
        })
        .map(|(path, _)| format!("mcp {path}: its manual page has no description or no example"))
        .collect();
    nothing_missing(&missing);
}

#[test]
fn every_command_can_be_quiet_and_write_json() {
    for (path, command) in commands() {
        for option in ["quiet", "json", "color", "config"] {
            let has = command.get_arguments().any(|argument| argument.get_id() == option);
            assert!(has, "mcp {path} does not take --{option}, which every command takes");
        }
    }
}
