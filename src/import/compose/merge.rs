//! One part of a compose file laid over another: several files, `extends`
//! (<https://docs.docker.com/reference/compose-file/merge/>).

use super::yaml::{Key, Mark, Node, Value};

/// Keys whose value is replaced as a whole.
const REPLACED: &[&str] = &["command", "entrypoint", "test"];
/// Keys that hold pairs, as a mapping or as `key=value`.
const PAIRS: &[&str] = &["environment", "labels", "annotations", "sysctls"];
/// Keys that hold names, as a mapping or as a list.
const NAMES: &[&str] = &["depends_on", "networks"];
/// Keys that hold one text or a list of them.
const SEQUENCES: &[&str] = &["dns", "dns_opt", "dns_search", "env_file", "tmpfs"];
/// Keys whose items are known by where they come to stand.
const TARGETS: &[&str] = &["volumes", "devices", "secrets", "configs"];

/// Lays `over` over `base`.
pub(super) fn merge(key: &str, base: Node, over: Node) -> Node {
    if over.mark == Some(Mark::Override) || REPLACED.contains(&key) {
        return over;
    }
    let (base, over) = if PAIRS.contains(&key) {
        (pairs_as_map(base), pairs_as_map(over))
    } else if NAMES.contains(&key) {
        (names_as_map(base), names_as_map(over))
    } else if SEQUENCES.contains(&key) || key == "extra_hosts" && is_mixed(&base, &over) {
        (as_list(base), as_list(over))
    } else if key == "logging" && has_other_driver(&base, &over) {
        return over;
    } else {
        (base, over)
    };
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(merge_maps(base, over)),
        (Value::List(base), Value::List(over)) => Value::List(merge_lists(key, base, over)),
        (_, over) => over,
    };
    Node { place: over.place, mark: None, value }
}

fn is_mixed(base: &Node, over: &Node) -> bool {
    base.list().is_some() != over.list().is_some()
}

/// Tells whether both name a driver of logging, and not the same.
fn has_other_driver(base: &Node, over: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::text).map(str::to_owned);
    driver(base).zip(driver(over)).is_some_and(|(base, over)| base != over)
}

/// Makes a list of one text, or of pairs.
fn as_list(node: Node) -> Node {
    let items = match &node.value {
        Value::List(_) => return node,
        Value::Scalar { .. } if node.is_null() => Vec::new(),
        Value::Map(_) if node.get("path").is_none() => node
            .pairs()
            .into_iter()
            .map(|(name, value, place)| {
                Node::scalar(format!("{name}={}", value.unwrap_or_default()), place)
            })
            .collect(),
        Value::Scalar { .. } | Value::Map(_) => vec![node.clone()],
    };
    Node { value: Value::List(items), ..node }
}

fn merge_maps(mut base: Vec<(Key, Node)>, over: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    for (key, node) in over {
        let at = base.iter().position(|(own, _)| own.text == key.text);
        match (at, node.mark) {
            (Some(at), Some(Mark::Reset)) => {
                base.remove(at);
            }
            (None, Some(Mark::Reset)) => {}
            (None, _) => base.push((key, node)),
            (Some(at), _) => {
                let (own, old) = base.remove(at);
                let merged = merge(&own.text, old, node);
                base.insert(at, (key, merged));
            }
        }
    }
    base
}

fn merge_lists(key: &str, mut base: Vec<Node>, over: Vec<Node>) -> Vec<Node> {
    for item in over {
        if TARGETS.contains(&key)
            && let Some(target) = target(&item)
        {
            base.retain(|own| self::target(own) != Some(target));
        }
        if !base.iter().any(|own| own.value == item.value) {
            base.push(item);
        }
    }
    base
}

/// Returns where an item of a list comes to stand in the container.
fn target(node: &Node) -> Option<&str> {
    if let Some(node) = node.get("target").or_else(|| node.get("source")) {
        return node.text();
    }
    let text = node.text()?;
    let mut parts = text.split(':');
    let first = parts.next();
    parts.next().or(first)
}

fn pairs_as_map(node: Node) -> Node {
    if node.list().is_none() {
        return node;
    }
    let pairs = node.pairs().into_iter().map(|(key, value, place)| {
        let value = match value {
            Some(text) => Node::scalar(text, place.clone()),
            None => nothing(&place),
        };
        (Key { text: key, place }, value)
    });
    Node { value: Value::Map(pairs.collect()), ..node }
}

fn names_as_map(node: Node) -> Node {
    if node.list().is_none() {
        return node;
    }
    let pairs = node
        .texts()
        .into_iter()
        .map(|(text, place)| (Key { text: text.to_owned(), place: place.clone() }, nothing(place)));
    Node { value: Value::Map(pairs.collect()), ..node }
}

fn nothing(place: &crate::import::note::Place) -> Node {
    let value = Value::Scalar { text: String::new(), plain: true };
    Node { place: place.clone(), mark: None, value }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn one_text_is_a_list_and_another_driver_another_logging() {
        let base = "dns: 1.1.1.1\nenv_file: a\nextra_hosts: {a: 1.1.1.1}\nlogging: {driver: syslog, options: {a: b}}\n";
        let over =
            "dns: [8.8.8.8]\nenv_file: b\nextra_hosts: ['b:2.2.2.2']\nlogging: {driver: none}\n";
        let merged = merge("", parse("base", base).unwrap(), parse("over", over).unwrap());
        let texts = |key: &str| -> Vec<String> {
            merged.get(key).unwrap().texts().iter().map(|(t, _)| (*t).to_owned()).collect()
        };
        assert_eq!(texts("dns"), ["1.1.1.1", "8.8.8.8"]);
        assert_eq!(texts("env_file"), ["a", "b"]);
        assert_eq!(texts("extra_hosts"), ["a=1.1.1.1", "b:2.2.2.2"]);
        assert!(merged.get("logging").unwrap().get("options").is_none());
    }

    #[test]
    fn an_override_is_laid_over_a_base() {
        let base = parse(
            "base",
            "image: a\ncommand: [a, b]\nenvironment: [A=1, B=2]\nports: ['1:1']\nvolumes: ['./a:/x', './b:/y']\ndepends_on: [db]\nlabels: {l: m}\n",
        );
        let over = parse(
            "over",
            "command: [c]\nenvironment: {B: 3, C: 4}\nports: ['1:1', '2:2']\nvolumes: ['./c:/x']\ndepends_on: {redis: {condition: service_healthy}}\nlabels: !reset {}\n",
        );
        let merged = merge("", base.unwrap(), over.unwrap());
        let texts = |key: &str| -> Vec<String> {
            merged.get(key).unwrap().texts().iter().map(|(t, _)| (*t).to_owned()).collect()
        };
        assert_eq!(texts("command"), ["c"]);
        assert_eq!(texts("ports"), ["1:1", "2:2"]);
        assert_eq!(texts("volumes"), ["./b:/y", "./c:/x"]);
        let pairs = merged.get("environment").unwrap().pairs();
        let pairs: Vec<_> =
            pairs.into_iter().map(|(k, v, _)| format!("{k}={}", v.unwrap())).collect();
        assert_eq!(pairs, ["A=1", "B=3", "C=4"]);
        let names: Vec<_> =
            merged.get("depends_on").unwrap().map().unwrap().iter().map(|(k, _)| &k.text).collect();
        assert_eq!(names, ["db", "redis"]);
        assert!(merged.get("labels").is_none());
        assert_eq!(merged.get("image").unwrap().place.to_string(), "base:1:8");
    }
}
