//! Changes to TOML files of the operator that keep order, blanks and comments.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, TomlError, Value, value};

use crate::cli::config::settings::{Address, Node};
use crate::rpc::tls::Trust;

/// Why a file could not be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is not TOML.
    #[error("the file is not valid TOML")]
    Syntax(#[from] TomlError),
    /// `nodes` is there, but not as `[[nodes]]`.
    #[error("`nodes` is not written as [[nodes]]")]
    NodesAreNoTables,
}

/// Returns the text with one more of `[[nodes]]` at its end.
///
/// # Errors
///
/// The text is not TOML, or has `nodes` in another form.
pub fn add_node(text: &str, node: &Node) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let nodes = document.entry("nodes").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let nodes = nodes.as_array_of_tables_mut().ok_or(EditError::NodesAreNoTables)?;
    let mut table = Table::new();
    table.insert("name", value(node.name.as_str()));
    match &node.address {
        Address::Socket(path) => {
            table.insert("socket", value(path.display().to_string()));
        }
        Address::Tls { addresses, trust } => {
            let mut rest = addresses.iter();
            if let Some(first) = rest.next() {
                table.insert("address", value(first));
            }
            let others: toml_edit::Array = rest.collect();
            if !others.is_empty() {
                table.insert("addresses", value(others));
            }
            match trust {
                Trust::Pin(print) => table.insert("fingerprint", value(print.to_string())),
                Trust::CaFile(path) => table.insert("ca_cert", value(path.display().to_string())),
            };
        }
    }
    if let Some(path) = &node.token_path {
        table.insert("token_path", value(path.display().to_string()));
    }
    if !text.trim().is_empty() {
        table.decor_mut().set_prefix("\n");
    }
    nodes.push(table);
    Ok(with_ends_of(text, document.to_string()))
}

/// Returns the text without the node of that name; `None` when there is none.
///
/// # Errors
///
/// The text is not TOML, or has `nodes` in another form.
pub fn remove_node(text: &str, name: &str) -> Result<Option<String>, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let Some(nodes) = document.get_mut("nodes") else {
        return Ok(None);
    };
    let nodes = nodes.as_array_of_tables_mut().ok_or(EditError::NodesAreNoTables)?;
    let before = nodes.len();
    nodes.retain(|table| table.get("name").and_then(Item::as_str) != Some(name));
    Ok((nodes.len() < before).then(|| with_ends_of(text, document.to_string())))
}

/// Returns a definition's text with `active` set; `None` when it says so
/// already, be it by leaving the key out.
///
/// # Errors
///
/// The text is not TOML.
pub fn set_active(text: &str, active: bool) -> Result<Option<String>, EditError> {
    let mut document: DocumentMut = text.parse()?;
    match document.get_mut("active").and_then(Item::as_value_mut) {
        Some(old) if old.as_bool() == Some(active) => return Ok(None),
        Some(old) => {
            // Assigning drops what surrounds the value, so it is handed on.
            let decor = old.decor().clone();
            *old = Value::from(active);
            *old.decor_mut() = decor;
        }
        None if active => return Ok(None),
        None => {
            document.insert("active", value(active));
        }
    }
    Ok(Some(with_ends_of(text, document.to_string())))
}

/// Gives an edited text the line ends of the one that it was made of: an editor
/// of TOML writes `\n` alone. Of a file that has both, the first decides.
fn with_ends_of(before: &str, after: String) -> String {
    let first = before.find('\n').and_then(|at| before.get(..at));
    if first.is_some_and(|line| line.ends_with('\r')) {
        after.replace("\r\n", "\n").replace('\n', "\r\n")
    } else {
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node {
            name: name.parse().unwrap(),
            address: Address::Tls {
                addresses: vec!["h:1".into(), "g:2".into()],
                trust: Trust::CaFile("/ca.pem".into()),
            },
            token_path: None,
        }
    }

    const CONFIG: &str = "# my fleet\n[auth] # who\ntoken_path = \"~/t\"  # secret\n\n\
                          # the first\n[[nodes]]\nname = \"rift\" # home\naddress = \"r:1\"\nfingerprint = \"x\"\n";

    #[test]
    fn adding_a_node_keeps_every_comment() {
        let added = add_node(CONFIG, &node("b")).unwrap();
        assert_eq!(
            added,
            format!(
                "{CONFIG}\n[[nodes]]\nname = \"b\"\naddress = \"h:1\"\naddresses = [\"g:2\"]\nca_cert = \"/ca.pem\"\n"
            )
        );
        assert_eq!(remove_node(&added, "b").unwrap().unwrap(), CONFIG);
        assert!(add_node("", &node("b")).unwrap().starts_with("[[nodes]]\nname = \"b\"\n"));
    }

    #[test]
    fn removing_a_node_leaves_the_others_and_the_rest() {
        let text = add_node(CONFIG, &node("b")).unwrap();
        let left = remove_node(&text, "rift").unwrap().unwrap();
        assert!(left.starts_with("# my fleet\n[auth] # who\ntoken_path = \"~/t\"  # secret\n"));
        assert!(left.contains("name = \"b\"") && !left.contains("rift"));
        assert_eq!(remove_node(&text, "nobody").unwrap(), None);
        assert!(matches!(remove_node("nodes = []", "a"), Err(EditError::NodesAreNoTables)));
    }

    #[test]
    fn setting_active_keeps_the_comment_at_the_end_of_the_line() {
        let text = "# mcq\nname = \"mcq\"\nactive   =  true   # since May\n\n[[components]] # one\nname = \"mcq\"\n";
        let stopped = set_active(text, false).unwrap().unwrap();
        assert_eq!(stopped, text.replace("true", "false"));
        assert_eq!(set_active(&stopped, true).unwrap().unwrap(), text);
        assert_eq!(set_active(text, true).unwrap(), None);
    }

    #[test]
    fn a_missing_active_is_added_above_the_tables_and_only_when_it_must() {
        let text = "name = \"mcq\" # n\n\n[[components]]\nname = \"mcq\"\n";
        assert_eq!(set_active(text, true).unwrap(), None);
        assert_eq!(
            set_active(text, false).unwrap().unwrap(),
            "name = \"mcq\" # n\nactive = false\n\n[[components]]\nname = \"mcq\"\n"
        );
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        let text = "name = \"a\" # x\r\nactive = true\r\n\r\n[[components]]\r\nname = \"a\"\r\n";
        let stopped = set_active(text, false).unwrap().unwrap();
        assert_eq!(stopped, text.replace("true", "false"));
        let without = text.replace("active = true\r\n", "");
        let stopped = set_active(&without, false).unwrap().unwrap();
        assert_eq!(stopped.matches('\n').count(), stopped.matches("\r\n").count(), "{stopped:?}");
        assert!(stopped.contains("active = false\r\n"), "{stopped:?}");
        let config = add_node(&CONFIG.replace('\n', "\r\n"), &node("b")).unwrap();
        assert_eq!(config.matches('\n').count(), config.matches("\r\n").count(), "{config:?}");
        assert_eq!(
            remove_node(&config, "b").unwrap().unwrap().replace("\r\n", "\n"),
            CONFIG,
            "as it was"
        );
    }
}
