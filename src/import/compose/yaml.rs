//! YAML as a tree in which everything has its place.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::import::note::Place;

/// Largest file that is read, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The most nodes that a file comes to, aliases written out: what keeps a
/// small file from becoming a large tree.
const MAX_NODES: usize = 100_000;
/// How deep a tree may be.
const MAX_DEPTH: usize = 64;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) mark: Option<Mark>,
    pub(super) value: Value,
}

/// What a tag of compose says of a value in a file that is laid over another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// No tag: variables were filled in, and a text it is, also an empty one.
    Filled,
    /// `!reset`: the value goes.
    Reset,
    /// `!override`: the value takes the place of the other.
    Override,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A text; plain ones may be numbers, truth values, or nothing.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

/// A text that is not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct BadYaml {
    place: Place,
    message: String,
}

impl Node {
    pub(super) fn scalar(text: impl Into<String>, place: Place) -> Self {
        Self { place, mark: None, value: Value::Scalar { text: text.into(), plain: false } }
    }

    /// Returns the text of a scalar that is something.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Tells whether nothing is written.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub(super) fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Scalar { .. } | Value::Map(_) => None,
        }
    }

    pub(super) fn map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(pairs) => Some(pairs),
            Value::Scalar { .. } | Value::List(_) => None,
        }
    }

    /// Returns what a key of a mapping holds, unless that is nothing.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let (_, node) = self.map()?.iter().find(|(own, _)| own.text == key)?;
        (!node.is_null()).then_some(node)
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "1" => Some(true),
            "false" | "no" | "off" | "n" | "0" => Some(false),
            _ => None,
        }
    }

    /// Returns the texts of a list, or the one text that stands for a list.
    pub(super) fn texts(&self) -> Vec<(&str, &Place)> {
        match &self.value {
            Value::List(items) => {
                items.iter().filter_map(|item| Some((item.text()?, &item.place))).collect()
            }
            Value::Scalar { .. } | Value::Map(_) => {
                self.text().map(|text| (text, &self.place)).into_iter().collect()
            }
        }
    }

    /// Returns the pairs of a mapping, or of a list of `key=value`; `None`
    /// for a key without value.
    pub(super) fn pairs(&self) -> Vec<(String, Option<String>, Place)> {
        match &self.value {
            Value::Map(pairs) => pairs
                .iter()
                .map(|(key, node)| {
                    let nothing = (node.mark == Some(Mark::Filled)).then(String::new);
                    let value = node.text().map(|text| node.written(text)).or(nothing);
                    (key.text.clone(), value, key.place.clone())
                })
                .collect(),
            Value::List(items) => items
                .iter()
                .filter_map(|item| {
                    let text = item.text()?;
                    let (key, value) = match text.split_once('=') {
                        None => (text, None),
                        Some((key, value)) => (key, Some(value.to_owned())),
                    };
                    Some((key.to_owned(), value, item.place.clone()))
                })
                .collect(),
            Value::Scalar { .. } => Vec::new(),
        }
    }

    /// Returns a text as compose hands it on: plain truth values and numbers
    /// are values to it, which it writes its own way.
    fn written(&self, text: &str) -> String {
        let is_value = matches!(&self.value, Value::Scalar { plain: true, .. });
        let own = (is_value && self.mark.is_none()).then(|| value_of(text)).flatten();
        own.unwrap_or_else(|| text.to_owned())
    }

    fn size(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } => 1,
            Value::List(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Value::Map(pairs) => 1 + pairs.iter().map(|(_, node)| 1 + node.size()).sum::<usize>(),
        }
    }
}

/// Writes a truth value or a number as Go does (YAML 1.2, with the octal
/// numbers of 1.1); `None` for any other text.
fn value_of(text: &str) -> Option<String> {
    match text {
        "True" | "TRUE" => return Some("true".to_owned()),
        "False" | "FALSE" => return Some("false".to_owned()),
        ".nan" | ".NaN" | ".NAN" => return Some("NaN".to_owned()),
        _ => {}
    }
    if let ".inf" | ".Inf" | ".INF" = text.trim_start_matches(['+', '-']) {
        let sign = if text.starts_with('-') { '-' } else { '+' };
        return (text.len() <= 5).then(|| format!("{sign}Inf"));
    }
    if text.starts_with('.') {
        return float(text);
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) {
        return None;
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| float(&plain))
}

/// Writes an integer of 64 bits.
fn integer(text: &str) -> Option<String> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let number = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8), ("", 10)].into_iter().find_map(
        |(prefix, radix)| {
            let rest = lower.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
            let is_number = rest.chars().all(|c| c.is_digit(radix));
            is_number.then(|| i128::from_str_radix(rest, radix).ok()).flatten()
        },
    )?;
    let number = if is_negative { -number } else { number };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number).then(|| number.to_string())
}

/// Writes a floating-point number as `fmt.Sprint` does: the shortest that
/// means the same, with an exponent from a million on.
fn float(text: &str) -> Option<String> {
    let is_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_float = is_digits(whole)
        && is_digits(part)
        && !(whole.is_empty() && part.is_empty())
        && is_digits(exponent)
        && !exponent.is_empty();
    let number = text.parse::<f64>().ok().filter(|number| is_float && number.is_finite())?;
    let shortest = format!("{number:e}");
    let (digits, exponent) = shortest.split_once('e')?;
    let exponent = exponent.parse::<i32>().ok()?;
    if number == 0.0 || (-4..FIXED_BELOW).contains(&exponent) {
        return Some(number.to_string());
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    Some(format!("{digits}e{sign}{:02}", exponent.abs()))
}

/// The first power of ten that Go writes with an exponent, where it writes as
/// few digits as can be.
const FIXED_BELOW: i32 = 6;

/// Reads the first document of a text.
///
/// # Errors
///
/// [`BadYaml`]: no YAML, too much of it, a key twice, an alias within its own
/// anchor.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, BadYaml> {
    let mut tree = Tree::new(file);
    if text.len() > MAX_BYTES {
        let message = format!("the file is larger than {} KiB", MAX_BYTES / 1024);
        return Err(BadYaml { place: tree.place(1, 0), message });
    }
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| BadYaml {
            place: tree.place(error.marker().line(), error.marker().col()),
            message: error.info(),
        })?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        tree.take(event, &span)?;
    }
    let place = tree.place(1, 0);
    tree.done.ok_or_else(|| BadYaml { place, message: "the file holds nothing".to_owned() })
}

/// A list or mapping whose end has not come.
struct Open {
    anchor: usize,
    node: Node,
    key: Option<Key>,
    merged: Vec<Node>,
}

struct Tree {
    file: String,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    done: Option<Node>,
}

impl Tree {
    fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            open: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            done: None,
        }
    }

    fn place(&self, line: usize, column: usize) -> Place {
        Place { file: self.file.clone(), line: line.max(1), column: column + 1 }
    }

    #[expect(clippy::unused_self, reason = "reads as the other steps do")]
    fn bad(&self, place: &Place, message: impl Into<String>) -> BadYaml {
        BadYaml { place: place.clone(), message: message.into() }
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Result<(), BadYaml> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(self.bad(place, format!("there are more than {MAX_NODES} values")));
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is no value is passed over")]
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), BadYaml> {
        let place = self.place(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_text(tag.as_deref());
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.count(1, &place)?;
                self.put(anchor, Node { place, mark: mark(tag.as_deref()), value })
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(
                anchor,
                Node { place, mark: mark(tag.as_deref()), value: Value::List(Vec::new()) },
            ),
            Event::MappingStart(_, anchor, tag) => self.begin(
                anchor,
                Node { place, mark: mark(tag.as_deref()), value: Value::Map(Vec::new()) },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(self.bad(&place, "the alias stands within its own anchor"));
                };
                let node = node.clone();
                self.count(node.size(), &place)?;
                self.put(0, node)
            }
            // Beginnings and ends, and what the parser may say some day.
            _ => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, node: Node) -> Result<(), BadYaml> {
        self.count(1, &node.place.clone())?;
        if self.open.len() >= MAX_DEPTH {
            return Err(self.bad(&node.place, format!("values are nested deeper than {MAX_DEPTH}")));
        }
        self.open.push(Open { anchor, node, key: None, merged: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), BadYaml> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        if let Value::Map(pairs) = &mut open.node.value {
            for source in open.merged {
                for (key, node) in source.map().unwrap_or_default() {
                    if !pairs.iter().any(|(own, _)| own.text == key.text) {
                        pairs.push((key.clone(), node.clone()));
                    }
                }
            }
        }
        self.put(open.anchor, open.node)
    }

    /// Puts a value that is whole where it belongs.
    fn put(&mut self, anchor: usize, node: Node) -> Result<(), BadYaml> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(mut open) = self.open.pop() else {
            self.done = Some(node);
            return Ok(());
        };
        let outcome = self.put_into(&mut open, node);
        self.open.push(open);
        outcome
    }

    fn put_into(&mut self, open: &mut Open, node: Node) -> Result<(), BadYaml> {
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(_), None) => {
                let Value::Scalar { text, .. } = node.value else {
                    return Err(self.bad(&node.place, "a key is a text"));
                };
                open.key = Some(Key { text, place: node.place });
            }
            (Value::Map(_), Some(key)) if key.text == "<<" => {
                let sources = match node.value {
                    Value::List(items) => items,
                    Value::Map(_) => vec![node],
                    Value::Scalar { .. } => {
                        return Err(self.bad(&key.place, "what is merged is a mapping"));
                    }
                };
                let size = sources.iter().map(Node::size).sum();
                self.count(size, &key.place)?;
                open.merged.extend(sources);
            }
            (Value::Map(pairs), Some(key)) => {
                if pairs.iter().any(|(own, _)| own.text == key.text) {
                    return Err(
                        self.bad(&key.place, format!("the key {:?} is there twice", key.text))
                    );
                }
                pairs.push((key, node));
            }
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

fn mark(tag: Option<&Tag>) -> Option<Mark> {
    match tag?.to_string().as_str() {
        "!reset" => Some(Mark::Reset),
        "!override" => Some(Mark::Override),
        _ => None,
    }
}

fn is_text(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.to_string().ends_with("str"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_does() {
        for (text, is) in [
            ("True", "true"),
            ("FALSE", "false"),
            ("010", "8"),
            ("0x1F", "31"),
            ("0XFF", "255"),
            ("0B11", "3"),
            ("0O17", "15"),
            ("-0x10", "-16"),
            ("1_000", "1000"),
            ("+5", "5"),
            ("-0", "0"),
            ("08", "8"),
            ("0xFFFFFFFFFFFFFFFF", "18446744073709551615"),
            ("12345678901234567890", "12345678901234567890"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("99999999999999999999", "1e+20"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("-2.25", "-2.25"),
            ("-0.0", "-0"),
            (".5", "0.5"),
            ("100000.0", "100000"),
            ("1000000.0", "1e+06"),
            ("1234567.5", "1.2345675e+06"),
            ("1e3", "1000"),
            ("1e21", "1e+21"),
            ("1e100", "1e+100"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e-7", "1e-07"),
            (".inf", "+Inf"),
            ("+.Inf", "+Inf"),
            ("-.INF", "-Inf"),
            (".nan", "NaN"),
        ] {
            assert_eq!(value_of(text).as_deref(), Some(is), "{text}");
        }
        for text in [
            "_2",
            ".5_0",
            ".",
            "1e999",
            "0x",
            "1.2.3",
            "2024-01-01",
            "12:30",
            "-",
            "+",
            "1e",
            "-+5",
            "+-.inf",
            "true",
            "a",
        ] {
            assert_eq!(value_of(text), None, "{text}");
        }
    }

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Scalar { text, .. } => text.clone(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(","))
            }
            Value::Map(pairs) => {
                let pairs: Vec<_> = pairs
                    .iter()
                    .map(|(key, node)| format!("{}={}", key.text, shown(node)))
                    .collect();
                format!("{{{}}}", pairs.join(","))
            }
        }
    }

    #[test]
    fn anchors_and_merge_keys_are_written_out() {
        let text =
            "x-a: &a {k: 1, l: 2}\nx-b: &b {l: 3, m: 4}\ns:\n  <<: [*a, *b]\n  k: 9\nt: *a\n";
        let tree = parse("f", text).unwrap();
        assert_eq!(shown(tree.get("s").unwrap()), "{k=9,l=2,m=4}");
        assert_eq!(shown(tree.get("t").unwrap()), "{k=1,l=2}");
        assert_eq!(tree.get("s").unwrap().get("k").unwrap().place.to_string(), "f:5:6");
    }

    #[test]
    fn tags_of_compose_and_scalars_are_known() {
        let tree =
            parse("f", "a: !reset null\nb: !override [1]\nc: 'yes'\nd: yes\ne: ~\nf: !!str 5\n")
                .unwrap();
        let mark = |key: &str| {
            let (_, node) = tree.map().unwrap().iter().find(|(own, _)| own.text == key).unwrap();
            node.mark
        };
        assert_eq!(
            (mark("a"), mark("b"), mark("c")),
            (Some(Mark::Reset), Some(Mark::Override), None)
        );
        assert_eq!(tree.get("d").unwrap().truth(), Some(true));
        assert!(tree.get("e").is_none());
    }

    #[test]
    fn hostile_texts_end_in_an_error() {
        let laughs = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
            let aliases = vec![format!("*a{}", n - 1); 9].join(",");
            format!("{text}a{n}: &a{n} [{aliases}]\n")
        });
        let merges = (1..40).fold("a0: &a0 {k: v}\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n}\n  <<: [*a{}, *a{}]\n  k{n}: v\n", n - 1, n - 1)
        });
        for (text, says) in [
            (laughs, "more than 100000 values"),
            ("[".repeat(5000), ""),
            ("a: &a [*a]".to_owned(), "within its own anchor"),
            ("a: *b".to_owned(), ""),
            ("a: 1\na: 2".to_owned(), "there twice"),
            ("<<: 5".to_owned(), "is a mapping"),
            ("? [a]\n: b".to_owned(), "a key is a text"),
            (String::new(), "holds nothing"),
            ("\0".to_owned(), ""),
            ("a: \"\\q\"".to_owned(), ""),
            ("#".repeat(MAX_BYTES + 1), "larger than 1024 KiB"),
        ] {
            let error = parse("f", &text).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.to_string().starts_with("f:"), "{error}");
        }
        assert!(parse("f", &merges).is_ok());
    }
}
