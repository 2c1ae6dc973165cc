//! One part of a compose file laid over another: several files, `extends`
//! (<https://docs.docker.com/reference/compose-file/merge/>).

use super::yaml::{Key, Mark, Node, Value};
use crate::import::note::Place;

/// How a value is laid over another one, by where both stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// As their kinds have it.
    Plain,
    /// The value is replaced as a whole.
    Replaced,
    /// Pairs, as a mapping or as `key=value`.
    Pairs,
    /// Names, as a mapping or as a list.
    Names,
    /// One text, or a list of them.
    Sequence,
    /// Names with addresses, as a mapping or as a list.
    Hosts,
    /// Items that are known by where they come to stand.
    Targets,
    /// Options of a driver: another driver has others.
    Logging,
}

/// Returns the rule for a path from the top of a file.
fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["services", _, key] => match *key {
            "command" | "entrypoint" => Rule::Replaced,
            "environment" | "labels" | "annotations" | "sysctls" => Rule::Pairs,
            "depends_on" | "networks" => Rule::Names,
            "dns" | "dns_opt" | "dns_search" | "env_file" | "tmpfs" => Rule::Sequence,
            "extra_hosts" => Rule::Hosts,
            "volumes" | "devices" | "secrets" | "configs" => Rule::Targets,
            "logging" => Rule::Logging,
            _ => Rule::Plain,
        },
        ["services", _, "healthcheck", "test"] => Rule::Replaced,
        ["services", _, "deploy" | "build", "labels"]
        | ["networks" | "volumes" | "secrets" | "configs", _, "labels"] => Rule::Pairs,
        _ => Rule::Plain,
    }
}

/// Lays `over` over `base`; both stand at a path from the top of a file.
pub(super) fn merge(path: &[&str], base: Node, over: Node) -> Node {
    let mut path = path.iter().map(|key| (*key).to_owned()).collect();
    merge_at(&mut path, base, over)
}

fn merge_at(path: &mut Vec<String>, base: Node, over: Node) -> Node {
    let rule = rule(path);
    if over.mark == Some(Mark::Override) || rule == Rule::Replaced {
        return over;
    }
    let (base, over) = match rule {
        Rule::Pairs => (pairs_as_map(base), pairs_as_map(over)),
        Rule::Names => (names_as_map(base), names_as_map(over)),
        Rule::Sequence => (as_list(base), as_list(over)),
        Rule::Hosts if is_mixed(&base, &over) => (hosts_as_list(base), hosts_as_list(over)),
        Rule::Logging if has_other_driver(&base, &over) => return over,
        Rule::Plain | Rule::Replaced | Rule::Hosts | Rule::Targets | Rule::Logging => (base, over),
    };
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(merge_maps(path, base, over)),
        (Value::List(base), Value::List(over)) => Value::List(merge_lists(rule, base, over)),
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

/// Makes a list of one item.
fn as_list(node: Node) -> Node {
    let items = match &node.value {
        Value::List(_) => return node,
        Value::Scalar { .. } if node.is_null() => Vec::new(),
        Value::Scalar { .. } | Value::Map(_) => vec![node.clone()],
    };
    Node { value: Value::List(items), ..node }
}

/// Makes a list of names with their addresses, of which each may have several.
fn hosts_as_list(node: Node) -> Node {
    let Value::Map(hosts) = &node.value else { return as_list(node) };
    let one = |name: &str, (address, place): (&str, &Place)| {
        Node::scalar(format!("{name}={address}"), place.clone())
    };
    let items = hosts
        .iter()
        .flat_map(|(name, own)| own.texts().into_iter().map(move |text| one(&name.text, text)))
        .collect();
    Node { value: Value::List(items), ..node }
}

fn merge_maps(
    path: &mut Vec<String>,
    mut base: Vec<(Key, Node)>,
    over: Vec<(Key, Node)>,
) -> Vec<(Key, Node)> {
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
                path.push(own.text);
                let merged = merge_at(path, old, node);
                path.pop();
                base.insert(at, (key, merged));
            }
        }
    }
    base
}

fn merge_lists(rule: Rule, mut base: Vec<Node>, over: Vec<Node>) -> Vec<Node> {
    for item in over {
        if rule == Rule::Targets
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

fn nothing(place: &Place) -> Node {
    let value = Value::Scalar { text: String::new(), plain: true };
    Node { place: place.clone(), mark: None, value }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    const SERVICE: &[&str] = &["services", "a"];

    #[test]
    fn a_name_is_no_key() {
        let base = "services: {dns: {image: a, user: b}, tmpfs: {image: a}, command: {image: a, user: b}}\nnetworks: {test: {internal: true, driver: bridge}}\n";
        let over = "services: {dns: {image: c}, tmpfs: {user: b}, command: {image: c}}\nnetworks: {test: {internal: false}}\n";
        let merged = merge(&[], parse("base", base).unwrap(), parse("over", over).unwrap());
        let text = |section: &str, name: &str, key: &str| {
            let node = merged.get(section).and_then(|node| node.get(name)?.get(key));
            node.and_then(Node::text).unwrap_or("none").to_owned()
        };
        for service in ["dns", "command"] {
            assert_eq!(text("services", service, "image"), "c");
            assert_eq!(text("services", service, "user"), "b");
        }
        assert_eq!(text("services", "tmpfs", "image"), "a");
        assert_eq!(text("networks", "test", "driver"), "bridge");
        let names = "depends_on: {dns: {condition: service_healthy}}\nlabels: {command: a}\n";
        let more = "depends_on: {dns: {restart: true}}\nlabels: [other=b]\n";
        let merged = merge(SERVICE, parse("base", names).unwrap(), parse("over", more).unwrap());
        let other = merged.get("depends_on").and_then(|on| on.get("dns")).unwrap();
        assert!(other.get("condition").is_some() && other.get("restart").is_some());
        assert_eq!(merged.get("labels").unwrap().pairs().len(), 2);
    }

    #[test]
    fn one_text_is_a_list_and_another_driver_another_logging() {
        let base = "dns: 1.1.1.1\nenv_file: a\nextra_hosts: {a: [1.1.1.1, 3.3.3.3]}\nlogging: {driver: syslog, options: {a: b}}\n";
        let over =
            "dns: [8.8.8.8]\nenv_file: b\nextra_hosts: ['b:2.2.2.2']\nlogging: {driver: none}\n";
        let merged = merge(SERVICE, parse("base", base).unwrap(), parse("over", over).unwrap());
        let texts = |key: &str| -> Vec<String> {
            merged.get(key).unwrap().texts().iter().map(|(t, _)| (*t).to_owned()).collect()
        };
        assert_eq!(texts("dns"), ["1.1.1.1", "8.8.8.8"]);
        assert_eq!(texts("env_file"), ["a", "b"]);
        assert_eq!(texts("extra_hosts"), ["a=1.1.1.1", "a=3.3.3.3", "b:2.2.2.2"]);
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
        let merged = merge(SERVICE, base.unwrap(), over.unwrap());
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
