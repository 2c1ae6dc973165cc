//! The configuration's text in, settings or every mistake out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{ConfigError, ConfigProblem};
use super::tables::{File, KEYS, LISTS, Text};
use crate::agent::environment::Environment;
use crate::agent::settings::Settings;

/// Parses and validates a configuration; `path` is only for messages.
///
/// # Errors
///
/// It has mistakes, all of which are told.
pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Settings, ConfigError> {
    let mut reader = Reader { text, problems: Vec::new() };
    let settings = reader.read(environment);
    let mut problems = reader.problems;
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        Some(_) | None => {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            Err(ConfigError::Invalid { path: path.to_owned(), problems })
        }
    }
}

/// Reads one file, and notes its mistakes.
pub(super) struct Reader<'a> {
    text: &'a str,
    problems: Vec<ConfigProblem>,
}

impl Reader<'_> {
    fn read(&mut self, environment: &Environment) -> Option<Settings> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.problem(error.span().map_or(0, |span| span.start), "", error.message());
        }
        if !errors.is_empty() {
            return None;
        }
        self.unknown_keys(table.get_ref());
        if !self.problems.is_empty() {
            return None;
        }
        match toml::from_str::<File>(self.text) {
            Ok(file) => self.settings(file, environment),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                self.problem(at, &key_at(table.get_ref(), at), error.message());
                None
            }
        }
    }

    pub(super) fn problem(&mut self, at: usize, key: &str, message: impl fmt::Display) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.problems.push(ConfigProblem {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            key: key.to_owned(),
            message: message.to_string(),
            suggestion: None,
        });
    }

    fn unknown(&mut self, at: usize, key: &str, candidates: &mut dyn Iterator<Item = &str>) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let near = nearest(name, candidates);
        self.problem(at, key, "there is no such key");
        if let Some(problem) = self.problems.last_mut() {
            problem.suggestion = near;
        }
    }

    fn unknown_keys(&mut self, root: &DeTable<'_>) {
        for (section, value) in root {
            let name = section.get_ref().as_ref();
            let Some((_, keys)) = KEYS.iter().find(|(known, _)| *known == name) else {
                let at = section.span().start;
                self.unknown(at, name, &mut KEYS.iter().map(|(known, _)| *known));
                continue;
            };
            let DeValue::Table(table) = value.get_ref() else { continue };
            for (key, value) in table {
                let path = format!("{name}.{}", key.get_ref());
                if !keys.contains(&key.get_ref().as_ref()) {
                    self.unknown(key.span().start, &path, &mut keys.iter().copied());
                } else if let DeValue::Array(list) = value.get_ref() {
                    self.unknown_keys_of_list(&path, list);
                }
            }
        }
    }

    /// Looks at the tables of a list, such as `[[boot.sequence]]`.
    fn unknown_keys_of_list(&mut self, path: &str, list: &DeArray<'_>) {
        let Some((_, keys)) = LISTS.iter().find(|(known, _)| *known == path) else { return };
        for table in list.iter().filter_map(|value| value.get_ref().as_table()) {
            for (key, _) in table {
                if !keys.contains(&key.get_ref().as_ref()) {
                    let path = format!("{path}.{}", key.get_ref());
                    self.unknown(key.span().start, &path, &mut keys.iter().copied());
                }
            }
        }
    }

    /// Parses one value; a mistake is noted and gives `None`.
    pub(super) fn value<T>(&mut self, key: &str, text: &Spanned<String>) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match text.get_ref().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(text.span().start, key, error);
                None
            }
        }
    }

    pub(super) fn value_or<T>(&mut self, key: &str, text: &Text, default: T) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match text {
            Some(text) => self.value(key, text),
            None => Some(default),
        }
    }

    pub(super) fn word<T>(
        &mut self,
        key: &str,
        text: &Text,
        default: T,
        words: &[&str],
    ) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let value = self.value_or(key, text, default);
        if let (None, Some(text), Some(problem)) = (&value, text, self.problems.last_mut()) {
            problem.suggestion = nearest(text.get_ref(), &mut words.iter().copied());
        }
        value
    }

    pub(super) fn path(&mut self, key: &str, text: &Text) -> Option<PathBuf> {
        let text = text.as_ref()?;
        let path = PathBuf::from(text.get_ref());
        if !path.is_absolute() {
            self.problem(text.span().start, key, "the path has to be absolute");
        }
        Some(path)
    }
}

/// Returns the key whose value is at an offset.
fn key_at(root: &DeTable<'_>, at: usize) -> String {
    for (section, value) in root {
        if let DeValue::Table(table) = value.get_ref() {
            for (key, value) in table {
                if value.span().contains(&at) {
                    return format!("{}.{}", section.get_ref(), key.get_ref());
                }
            }
        }
        if value.span().contains(&at) {
            return section.get_ref().to_string();
        }
    }
    String::new()
}

/// Returns the candidate that a misspelt word probably means.
fn nearest(word: &str, candidates: &mut dyn Iterator<Item = &str>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}
