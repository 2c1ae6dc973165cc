//! The file type to TOML text, laid out and commented as a person would.
//!
//! What makes definitions out of something else (an import, a container that
//! runs) fills a [`Draft`] and has it written here.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::model::Definition;

/// Columns that a line of values is kept within.
const WIDTH: usize = 96;

/// The keys of a service and of a component in the order in which they are
/// written; others follow in that of the alphabet.
const ORDER: &[&str] = &[
    "name",
    "node",
    "tier",
    "active",
    "heal",
    "path",
    "comment",
    "version",
    "image",
    "entrypoint",
    "cmd",
    "user",
    "userns",
    "network",
    "aliases",
    "hostname",
    "ports",
    "volumes",
    "env_files",
    "depends_on",
    "restart",
    "deploy",
    "health",
    "env",
];

/// The keys that stand after all others.
const LAST: &[&str] =
    &["labels", "annotations", "extra", "routes", "schedule", "build", "snapshot", "components"];

/// A definition that is being put together, with remarks on its parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// What it says.
    pub definition: Definition,
    /// What is said of it.
    pub remarks: Remarks,
}

/// Comments by the path of what they are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks(BTreeMap<String, Vec<String>>);

impl Remarks {
    /// Adds a line of comment above what is at a path such as
    /// `components[0].ports[1]`; `""` is the head of the file. Where nothing
    /// is at the path, the line stands below the other keys of its table.
    pub fn add(&mut self, path: impl Into<String>, line: impl Into<String>) {
        self.0.entry(path.into()).or_default().push(line.into());
    }

    fn at(&self, path: &str) -> &[String] {
        self.0.get(path).map_or(&[], Vec::as_slice)
    }

    /// Tells whether there is a remark on something inside of `path`.
    fn inside(&self, path: &str) -> bool {
        self.0.keys().any(|key| rest(key, path).is_some_and(|rest| !rest.is_empty()))
    }
}

/// Returns what follows `path` in a path below it.
fn rest<'a>(key: &'a str, path: &str) -> Option<&'a str> {
    if path.is_empty() {
        return Some(key);
    }
    key.strip_prefix(path).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Returns what follows the key of a table in a path that begins in it; no path
/// leads to the key `""`, which TOML has as well.
fn below<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    if key.is_empty() { None } else { rest(path, key) }
}

/// A definition that TOML has no words for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the definition cannot be written as TOML")]
pub struct WriteError(#[from] toml::ser::Error);

/// Writes a definition with its remarks.
///
/// What [`super::parse::parse`] reads of the text is the definition again.
///
/// # Errors
///
/// [`WriteError`] for a limit beyond the whole numbers of TOML.
pub fn write(draft: &Draft) -> Result<String, WriteError> {
    let table = Table::try_from(&draft.definition)?;
    let mut writer = Writer { out: String::new(), remarks: &draft.remarks };
    if !draft.remarks.at("").is_empty() {
        writer.comments("");
        writer.out.push('\n');
    }
    writer.table("", &mut Vec::new(), &table);
    Ok(writer.out)
}

struct Writer<'a> {
    out: String,
    remarks: &'a Remarks,
}

impl Writer<'_> {
    /// Writes the keys of a table, then the tables within it.
    fn table(&mut self, path: &str, header: &mut Vec<String>, table: &Table) {
        let mut tables = Vec::new();
        for (key, value) in ordered(table) {
            let at = child(path, key);
            if self.is_line(&at, key, value) {
                self.key(&at, key, value);
            } else {
                tables.push((at, key, value));
            }
        }
        self.strays(path, table);
        for (at, key, value) in tables {
            header.push(written_key(key));
            match value {
                Value::Table(inner) => {
                    if self.needs_header(&at, inner) {
                        self.header(&[&at], &format!("[{}]", header.join(".")));
                    }
                    self.table(&at, header, inner);
                }
                Value::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        let item_at = format!("{at}[{index}]");
                        let whole = (index == 0).then_some(at.as_str());
                        let paths: Vec<&str> = whole.into_iter().chain([&*item_at]).collect();
                        self.header(&paths, &format!("[[{}]]", header.join(".")));
                        if let Value::Table(inner) = item {
                            self.table(&item_at, header, inner);
                        }
                    }
                }
                Value::String(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_) => {}
            }
            header.pop();
        }
    }

    /// Tells whether there is more in a table than further tables.
    fn needs_header(&self, path: &str, table: &Table) -> bool {
        let has_lines =
            ordered(table).iter().any(|(key, value)| self.is_line(&child(path, key), key, value));
        has_lines || table.is_empty() || !self.remarks.at(path).is_empty() || {
            let strays = |key: &String| {
                rest(key, path).is_some_and(|rest| {
                    let rest = rest.trim_start_matches('.');
                    !table.keys().any(|own| below(rest, own).is_some())
                })
            };
            self.remarks.0.keys().any(strays)
        }
    }

    /// Writes the header of a table below the remarks on it.
    fn header(&mut self, paths: &[&str], header: &str) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
        for path in paths {
            self.comments(path);
        }
        self.line(header);
    }

    fn key(&mut self, path: &str, key: &str, value: &Value) {
        self.comments(path);
        let key = written_key(key);
        match value {
            Value::Array(items)
                if self.remarks.inside(path) || key.len() + inline(value).len() + 3 > WIDTH =>
            {
                self.line(&format!("{key} = ["));
                for (index, item) in items.iter().enumerate() {
                    for line in self.remarks.at(&format!("{path}[{index}]")) {
                        let line = comment(line);
                        self.line(&format!("    # {line}"));
                    }
                    self.line(&format!("    {},", inline(item)));
                }
                self.line("]");
            }
            Value::Array(_)
            | Value::Table(_)
            | Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => self.line(&format!("{key} = {}", inline(value))),
        }
    }

    /// Tells whether a value is written behind its key, instead of as a table
    /// of its own.
    fn is_line(&self, path: &str, key: &str, value: &Value) -> bool {
        match value {
            Value::Table(table) => {
                !self.remarks.inside(path)
                    && table.len() <= 3
                    && key.len() + inline(value).len() + 3 <= WIDTH
            }
            Value::Array(items) => items.is_empty() || !items.iter().all(Value::is_table),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => true,
        }
    }

    /// Writes the remarks on what a table does not have.
    fn strays(&mut self, path: &str, table: &Table) {
        for (key, lines) in &self.remarks.0 {
            let Some(rest) = rest(key, path).map(|rest| rest.trim_start_matches('.')) else {
                continue;
            };
            let known = rest.is_empty()
                || table.iter().any(|(name, value)| match below(rest, name) {
                    Some(inner) => leads(value, inner),
                    None => false,
                });
            if !known {
                for line in lines {
                    let line = comment(line);
                    self.line(format!("# {line}").trim_end());
                }
            }
        }
    }

    fn comments(&mut self, path: &str) {
        for line in self.remarks.at(path) {
            let line = format!("# {}", comment(line));
            self.line(line.trim_end());
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }
}

/// Tells whether a remark with this rest of its path is written where `value`
/// is: on itself, on an item, or in a table that has its own strays.
fn leads(value: &Value, rest: &str) -> bool {
    match value {
        _ if rest.is_empty() => true,
        // With a remark inside it, a table is never written on one line.
        Value::Table(_) => true,
        Value::Array(items) => rest
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .and_then(|(index, rest)| Some((items.get(index.parse::<usize>().ok()?)?, rest)))
            .is_some_and(|(item, rest)| rest.is_empty() || item.is_table()),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => false,
    }
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn ordered(table: &Table) -> Vec<(&str, &Value)> {
    let rank = |key: &str| {
        let at = |list: &[&str]| list.iter().position(|known| *known == key);
        match (at(ORDER), at(LAST)) {
            (Some(at), _) => at,
            (None, None) => ORDER.len(),
            (None, Some(at)) => ORDER.len() + 1 + at,
        }
    };
    let mut pairs: Vec<_> = table.iter().map(|(key, value)| (key.as_str(), value)).collect();
    pairs.sort_by_key(|(key, _)| rank(key));
    pairs
}

fn written_key(key: &str) -> String {
    toml_edit::Key::new(key).display_repr().into_owned()
}

/// Writes a value on one line, texts of several lines aside.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let pair = |(key, value)| format!("{} = {}", written_key(key), inline(value));
            let pairs: Vec<String> = ordered(table).into_iter().map(pair).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => value.to_string(),
    }
}

/// Makes a text fit for a comment: no control character, which could end it.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;
    use crate::definition::model::{
        Component, Cpus, Environment, Health, HttpCheck, HttpTable, Limit, OneOrMany, PortName,
        Resources, Route, Scalar,
    };
    use crate::definition::parse::parse;

    fn draft(text: &str) -> Draft {
        Draft { definition: parse(text).unwrap().definition, remarks: Remarks::default() }
    }

    #[test]
    fn a_definition_is_laid_out_as_a_person_would() {
        let mut draft = draft(
            r#"
            name = "shop"
            components = [{ name = "api", image = "docker.io/library/busybox:1.37",
              env = { A = "1", B = "two\nlines", C = 3, D = true }, ports = ["1:1", "2:2"],
              health = { http = "/" }, extra = { Container = { PodmanArgs = ["--a", "--b"] } },
              cmd = ["sh", "-c", "a rather long line that a shell reads, with \"quotes\" and 'more quotes' in it"],
              routes = [{ port = 443 }] }]
            "#,
        );
        draft.remarks.add("", "Imported from compose.yaml.");
        draft.remarks.add("components[0]", "services.api");
        draft.remarks.add("components[0].ports[1]", "for people");
        draft.remarks.add("components[0].build", "not carried over: build\nname = \"evil\"");
        draft.remarks.add("components[0].env.B", "of two lines");
        draft.remarks.add("components[0].routes[0].port", "of the proxy");
        draft.remarks.add("components[7]", "of nothing");
        let text = write(&draft).unwrap();
        insta::assert_snapshot!(text);
        assert_eq!(parse(&text).unwrap().definition, draft.definition);
    }

    #[test]
    fn a_key_without_a_name_takes_no_remark() {
        let mut draft = draft("[[components]]\nextra = { \"\" = {} }\n");
        draft.remarks.add("components[0].extra.a", "not carried over");
        let text = write(&draft).unwrap();
        assert_eq!(text.matches("# not carried over").count(), 1, "{text}");
    }

    #[test]
    fn every_example_is_written_as_it_was_read() {
        for file in std::fs::read_dir("examples").unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let draft = draft(&std::fs::read_to_string(&path).unwrap());
            let text = write(&draft).unwrap();
            let again = parse(&text).unwrap();
            assert!(again.mistakes.is_empty(), "{}: {text}", path.display());
            assert_eq!(again.definition, draft.definition, "{}: {text}", path.display());
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![4 => "[a-z0-9./:=-]{0,12}", 2 => any::<String>(), 1 => "[\\x00-\\x7f\"'\\\\#\\[\\]]{0,9}"]
    }

    fn scalar() -> impl Strategy<Value = Scalar> {
        prop_oneof![
            text().prop_map(Scalar::Text),
            any::<i64>().prop_map(Scalar::Number),
            any::<bool>().prop_map(Scalar::Bool)
        ]
    }

    fn health() -> impl Strategy<Value = Health> {
        (of(any::<u16>()), of(text()), of(any::<bool>()), of(text())).prop_map(
            |(port, path, tls, interval)| Health {
                http: Some(HttpCheck::Full(HttpTable {
                    port: port.map(PortName::Number),
                    path,
                    tls,
                    host: None,
                })),
                interval,
                ..Health::default()
            },
        )
    }

    fn component() -> impl Strategy<Value = Component> {
        let environment = prop_oneof![
            btree_map(text(), scalar(), 0..5).prop_map(Environment::Table),
            vec(text(), 0..4).prop_map(Environment::List)
        ];
        let lines = prop_oneof![
            text().prop_map(OneOrMany::One),
            vec(text(), 0..3).prop_map(OneOrMany::Many)
        ];
        let extra = btree_map(text(), btree_map(text(), lines, 0..3), 0..3);
        let limit = prop_oneof![
            text().prop_map(Limit::Text),
            (0..i64::MAX.cast_unsigned()).prop_map(Limit::Number)
        ];
        let routes = vec((of(text()), of(any::<u16>())), 0..3);
        (
            (of(text()), of(text()), of(vec(text(), 0..6)), of(environment), of(health())),
            (of(extra), of(btree_map(text(), limit, 0..3)), of(routes), of(-1e9..1e9f64)),
        )
            .prop_map(
                |((name, image, cmd, env, health), (extra, ulimits, routes, cpus))| {
                    let route = |(name, port)| Route { name, port, ..Route::default() };
                    Component {
                        name,
                        image,
                        cmd,
                        env,
                        health,
                        extra,
                        ulimits,
                        routes: routes.map(|routes| routes.into_iter().map(route).collect()),
                        resources: cpus.map(|cpus| Resources {
                            cpus: Some(Cpus::Part(cpus)),
                            ..Resources::default()
                        }),
                        ..Component::default()
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_itself(
            name in of(text()),
            comment in of(text()),
            components in of(vec(component(), 0..3)),
            remarks in vec(("(components(\\[[0-2]\\](\\.(env|cmd|extra|zz)(\\.a|\\[0\\])?)?)?)?", any::<String>()), 0..6),
        ) {
            let definition = Definition { name, comment, components, ..Definition::default() };
            let mut draft = Draft { definition, remarks: Remarks::default() };
            for (path, line) in remarks {
                draft.remarks.add(path, line);
            }
            let text = write(&draft).unwrap();
            let parsed = parse(&text);
            prop_assert!(parsed.is_ok(), "{text}: {parsed:?}");
            let parsed = parsed.unwrap();
            prop_assert!(parsed.mistakes.is_empty(), "{text}: {:?}", parsed.mistakes);
            prop_assert_eq!(parsed.definition, draft.definition, "{}", text);
        }

        #[test]
        fn no_remark_is_lost(
            path in "(name|components(\\[[0-2]\\](\\.(env|cmd|ports|extra|zz)(\\.a|\\[0\\])?)?)?)",
            components in vec(component(), 0..2),
        ) {
            let definition = Definition { components: Some(components), ..Definition::default() };
            let mut draft = Draft { definition, remarks: Remarks::default() };
            draft.remarks.add(path, "Here it stands.");
            let text = write(&draft).unwrap();
            prop_assert_eq!(text.matches("# Here it stands.").count(), 1, "{}", text);
        }
    }
}
