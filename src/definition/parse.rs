//! TOML text to the file type, with every mistake of shape at once.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Invalid};
use super::model::Definition;
use super::{MAX_BYTES, suggest};

/// Where each value of a definition is in its text.
#[derive(Debug, Default)]
pub struct Source {
    spans: BTreeMap<String, Range<usize>>,
}

impl Source {
    /// Returns the bytes of a value, given its path such as
    /// `components[0].ports[1]`; of the nearest parent when it is absent.
    pub fn span(&self, path: &str) -> Range<usize> {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return span.clone();
            }
            match path.rfind(['.', '[']).and_then(|at| path.get(..at)) {
                Some(parent) => path = parent,
                None => return self.spans.get("").cloned().unwrap_or(0..0),
            }
        }
    }

    /// Returns the path of the smallest value that holds these bytes.
    pub fn path_at(&self, span: &Range<usize>) -> Option<&str> {
        self.spans
            .iter()
            .filter(|(_, own)| own.start <= span.start && span.end <= own.end)
            .min_by_key(|(path, own)| (own.len(), std::cmp::Reverse(path.len())))
            .map(|(path, _)| path.as_str())
    }

    fn record(&mut self, path: &str, span: Range<usize>, value: &DeValue<'_>) {
        self.spans.insert(path.to_owned(), span);
        match value {
            DeValue::Table(table) => self.record_table(path, table),
            DeValue::Array(array) => {
                for (index, item) in array.iter().enumerate() {
                    self.record(&format!("{path}[{index}]"), item.span(), item.get_ref());
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    fn record_table(&mut self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = if path.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{path}.{}", key.get_ref())
            };
            self.record(&path, value.span(), value.get_ref());
        }
    }
}

/// A definition as the text says it.
#[derive(Debug)]
pub struct Parsed {
    /// What could be read.
    pub definition: Definition,
    /// Where it is.
    pub source: Source,
    /// Mistakes of shape; what held them is not in `definition`.
    pub mistakes: Vec<Diagnostic>,
}

/// Parses a definition into its file type.
///
/// A mistake of shape is noted, what holds it is taken out, and reading goes
/// on: so all mistakes of the text come at once.
///
/// # Errors
///
/// [`Invalid`] when the text is no TOML, or nothing could be read of it.
pub fn parse(text: &str) -> Result<Parsed, Invalid> {
    if text.len() > MAX_BYTES {
        return Err(whole(text, format!("the definition is larger than {} KiB", MAX_BYTES / 1024)));
    }
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let list = errors.iter().map(|e| diagnostic(text, e.message(), e.span())).collect();
        return Err(Invalid::new(list));
    }
    let mut mistakes = Vec::new();
    loop {
        let reader = toml::Deserializer::from(table.clone());
        let error = match Definition::deserialize(reader.into_deserializer()) {
            Ok(definition) => {
                let mut source = Source::default();
                source.spans.insert(String::new(), 0..first_line(text));
                source.record_table("", table.get_ref());
                return Ok(Parsed { definition, source, mistakes });
            }
            Err(error) => error,
        };
        let span = error.span();
        mistakes.push(diagnostic(text, error.message(), span.clone()));
        // Without a place, or with one that nothing can be taken out of,
        // reading cannot go on.
        if !span.is_some_and(|span| remove(table.get_mut(), &span)) || mistakes.len() >= 100 {
            return Err(Invalid::new(mistakes));
        }
    }
}

fn whole(text: &str, message: String) -> Invalid {
    Invalid::new(vec![Diagnostic { span: 0..first_line(text), message, help: None, absent: false }])
}

fn first_line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Takes the smallest key or value that covers a span out of a table; tells
/// whether there was one.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let covers = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let mut at = None;
    for (key, value) in table.iter_mut() {
        if remove_inside(value, span) {
            return true;
        }
        if covers(key.span()) || covers(value.span()) {
            at = Some(key.get_ref().to_string());
        }
    }
    at.is_some_and(|key| table.remove(key.as_str()).is_some())
}

fn remove_inside(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(array) => {
            let mut at = None;
            for (index, item) in array.iter_mut().enumerate() {
                if remove_inside(item, span) {
                    return true;
                }
                let outer = item.span();
                if outer.start <= span.start && span.end <= outer.end {
                    at = Some(index);
                }
            }
            if let Some(at) = at {
                let items = array.clone().into_iter().enumerate();
                *array = items.filter(|(index, _)| *index != at).map(|(_, item)| item).collect();
            }
            at.is_some()
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    }
}

fn diagnostic(text: &str, message: &str, span: Option<Range<usize>>) -> Diagnostic {
    let span = span.unwrap_or(0..first_line(text));
    // serde's words: unknown field `x`, expected one of `a`, `b`
    let mut words = message.split('`');
    if message.starts_with("unknown field") {
        let _ = words.next();
        let unknown = words.next().unwrap_or_default();
        let known: Vec<&str> = words.skip(1).step_by(2).collect();
        let help = match suggest::closest(unknown, known.iter().copied()) {
            Some(likely) => format!("did you mean `{likely}`?"),
            None => format!("known keys: {}", known.join(", ")),
        };
        return Diagnostic {
            span,
            message: format!("unknown key `{}`", printable(unknown)),
            help: Some(help),
            absent: false,
        };
    }
    Diagnostic { span, message: printable(message), help: None, absent: false }
}

/// Makes control characters of untrusted text visible.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}
