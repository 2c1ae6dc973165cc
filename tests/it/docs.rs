//! What the documents show is what the program takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mcp::agent::monitor::EventKind;
use serde_json::Value;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The fenced blocks of a language, each with the number of its first line.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = None;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(word), None) => {
                open = Some(word == language);
                if word == language {
                    found.push((number + 2, String::new()));
                }
            }
            (Some(_), Some(_)) => open = None,
            (None, Some(true)) => {
                if let Some((_, block)) = found.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            (None, _) => {}
        }
    }
    found
}

/// README.md and every document below `docs/`.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_definition_shown_is_accepted() {
    let mut seen = 0;
    for file in documents() {
        let text = read(&file);
        for (line, block) in blocks(&text, "toml") {
            let definition = block.contains("[[components]]");
            if !definition {
                assert_ne!(file, "docs/definition.md", "line {line} shows no whole definition");
                continue;
            }
            seen += 1;
            if let Err(invalid) = mcp::definition::load(&block) {
                panic!("{file}, block at line {line}: {:?}", invalid.lines(&file, &block));
            }
        }
    }
    assert!(seen >= 5, "only {seen} definitions are shown");
}

/// Where the document describes the keys of a table, and how it writes them.
fn place(table: &str) -> (&'static str, &'static str) {
    match table {
        "Definition" => ("The service", ""),
        "Build" => ("The service", "build."),
        "Snapshot" => ("The service", "snapshot."),
        "Deploy" => ("The service", "deploy."),
        "Component" => ("A component", ""),
        "Network" => ("A component", "networks.NAME."),
        "Volume" => ("A component", "volumes.NAME."),
        "Resources" => ("A component", "resources."),
        "OneshotTable" => ("A component", "oneshot."),
        "Capabilities" => ("A component", "capabilities."),
        "Log" => ("A component", "log."),
        "Health" => ("Health", "health."),
        "HttpTable" => ("Health", "health.http."),
        "GrpcTable" => ("Health", "health.grpc."),
        "Route" => ("Routes", "routes."),
        "Schedule" => ("Schedules", "schedule."),
        other => panic!("docs/definition.md needs a place for the keys of {other}"),
    }
}

#[test]
fn every_key_of_a_definition_is_described() {
    let text = read("docs/definition.md");
    let section = |title: &str| {
        let from = text.split(&format!("\n## {title}\n")).nth(1);
        let from = from.unwrap_or_else(|| panic!("docs/definition.md has no section {title:?}"));
        from.split("\n## ").next().unwrap().to_owned()
    };
    let schema = mcp::definition::json_schema();
    let tables = schema["$defs"].as_object().unwrap().iter();
    let mut missing = BTreeSet::new();
    for (table, shape) in tables.map(|(n, s)| (n.as_str(), s)).chain([("Definition", &schema)]) {
        let Some(keys) = shape["properties"].as_object() else { continue };
        let (title, prefix) = place(table);
        let section = section(title);
        let described = |key: &&String| section.contains(&format!("| `{prefix}{key}`"));
        missing
            .extend(keys.keys().filter(|k| !described(k)).map(|k| format!("{title}: {prefix}{k}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_configuration_shown_is_accepted() {
    let file = "docs/configuration.md";
    let (mut agents, mut clients) = (0, 0);
    for (line, block) in blocks(&read(file), "toml") {
        let path = Path::new(file);
        match block.lines().next() {
            Some("# mcp-agent.toml") => {
                agents += 1;
                let environment = mcp::agent::environment::Environment {
                    host_name: "node".to_owned(),
                    ..Default::default()
                };
                mcp::agent::config::parse(&block, path, &environment)
                    .unwrap_or_else(|e| panic!("{file}, block at line {line}: {e}"));
            }
            Some("# mcp.toml") => {
                clients += 1;
                mcp::cli::config::file::parse(path, &block)
                    .unwrap_or_else(|e| panic!("{file}, block at line {line}: {e}"));
            }
            other => panic!("{file}, block at line {line} begins with {other:?}"),
        }
    }
    assert!(agents > 0 && clients > 0);
}

#[test]
fn every_configuration_among_the_examples_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/agent");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.collect();
    assert!(!files.is_empty());
    for file in files {
        let environment = mcp::agent::environment::Environment {
            host_name: "node".to_owned(),
            ..Default::default()
        };
        let text = fs::read_to_string(&file).unwrap();
        mcp::agent::config::parse(&text, &file, &environment).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn every_json_shown_is_json() {
    for file in documents() {
        for (line, block) in blocks(&read(&file), "json") {
            let parsed: Result<Value, _> = serde_json::from_str(&block);
            assert!(parsed.is_ok(), "{file}, block at line {line}: {parsed:?}");
        }
    }
}

#[test]
fn no_table_is_torn_and_every_heading_stands_alone() {
    for file in documents() {
        let text = read(&file);
        let mut code = false;
        let mut before = "";
        for (at, line) in text.lines().enumerate() {
            let place = || format!("{file}:{}", at + 1);
            if line.starts_with("```") {
                code = !code;
            } else if !code {
                let row = |line: &str| line.starts_with('|');
                if row(line) && !row(before) {
                    assert!(before.is_empty(), "{}: a table begins in a paragraph", place());
                    let rule = text.lines().nth(at + 1).unwrap_or_default();
                    assert!(rule.starts_with("| ---"), "{}: a table without a head", place());
                }
                assert!(row(line) || line.is_empty() || !row(before), "{}: after a table", place());
                let heading = line.starts_with("## ") || line.starts_with("### ");
                assert!(!heading || before.is_empty(), "{}: no line above the heading", place());
            }
            before = line;
        }
        assert!(!code, "{file}: a block that does not end");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for file in documents() {
        let text = read(&file);
        let folder = Path::new(&file).parent().unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text.split_at(at + 2).1.split(')').next().unwrap();
            let path = target.split('#').next().unwrap();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(path);
            assert!(whole.exists(), "{file} links to {target}");
        }
    }
}

#[test]
fn every_kind_of_event_is_offered_to_whoever_types_one() {
    let kinds = EventKind::ALL.map(EventKind::as_str);
    assert_eq!(mcp::cli::completion::EVENT_KINDS, kinds);
}
