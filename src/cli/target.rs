//! Which node a command goes to.

use crate::cli::config::{Node, Settings};
use crate::cli::error::CliError;
use crate::names::NodeName;

/// Why no single node could be chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `-n` names a node that the config does not have.
    #[error("there is no node called {name}; {}", known(.nodes))]
    Unknown {
        /// The name given.
        name: NodeName,
        /// The nodes that there are.
        nodes: Vec<NodeName>,
    },
    /// The definition names a node that the config does not have.
    #[error("the definition wants node {name}, which the config does not have; {}", known(.nodes))]
    UnknownInDefinition {
        /// The name in the definition.
        name: NodeName,
        /// The nodes that there are.
        nodes: Vec<NodeName>,
    },
    /// Several nodes, and nothing chooses.
    #[error("it is not clear which node is meant; {}", known(.nodes))]
    Ambiguous {
        /// The nodes that there are.
        nodes: Vec<NodeName>,
    },
    /// Several nodes were given to a command that goes to one.
    #[error("this command goes to one node, and {} were given", .0.len())]
    TooMany(
        /// The names given.
        Vec<NodeName>,
    ),
}

fn known(nodes: &[NodeName]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    match names.as_slice() {
        [] => "the config has no nodes".to_owned(),
        [one] => format!("the only node is {one}"),
        many => format!("the nodes are {}", many.join(", ")),
    }
}

impl From<TargetError> for CliError {
    fn from(error: TargetError) -> Self {
        let hint = match &error {
            TargetError::Unknown { name, nodes: _ }
            | TargetError::UnknownInDefinition { name, nodes: _ } => {
                format!("mcp node add {name} HOST:PORT")
            }
            TargetError::Ambiguous { nodes } => match nodes.first() {
                Some(first) => format!("choose one, as in `-n {first}`"),
                None => "mcp node list".to_owned(),
            },
            TargetError::TooMany(_) => "give -n once".to_owned(),
        };
        Self::usage(error).hint(hint)
    }
}

fn names(settings: &Settings) -> Vec<NodeName> {
    settings.nodes.iter().map(|node| node.name.clone()).collect()
}

fn find<'a>(settings: &'a Settings, name: &NodeName) -> Option<&'a Node> {
    settings.nodes.iter().find(|node| node.name == *name)
}

/// Returns the node for a command about one service: the chosen one, else the
/// one its local definition asks for, else the only one.
///
/// # Errors
///
/// Nothing chooses, or what chooses names no node of the config.
pub fn one<'a>(
    settings: &'a Settings,
    chosen: &[NodeName],
    defined: Option<&NodeName>,
) -> Result<&'a Node, TargetError> {
    match (chosen, defined, settings.nodes.as_slice()) {
        ([name], _, _) => find(settings, name)
            .ok_or_else(|| TargetError::Unknown { name: name.clone(), nodes: names(settings) }),
        ([_, ..], _, _) => Err(TargetError::TooMany(chosen.to_vec())),
        // With nothing configured there is one machine, whatever its name;
        // the agent knows its own and refuses a definition for another.
        ([], _, [only]) if settings.nothing_configured => Ok(only),
        ([], Some(name), _) => find(settings, name).ok_or_else(|| {
            TargetError::UnknownInDefinition { name: name.clone(), nodes: names(settings) }
        }),
        ([], None, [only]) => Ok(only),
        ([], None, _) => Err(TargetError::Ambiguous { nodes: names(settings) }),
    }
}

/// Returns the nodes for a command that looks at several: the chosen ones,
/// else all.
///
/// # Errors
///
/// A chosen node is not in the config.
pub fn several<'a>(
    settings: &'a Settings,
    chosen: &[NodeName],
) -> Result<Vec<&'a Node>, TargetError> {
    if chosen.is_empty() {
        return Ok(settings.nodes.iter().collect());
    }
    let mut nodes: Vec<&Node> = Vec::new();
    for name in chosen {
        let node = find(settings, name)
            .ok_or_else(|| TargetError::Unknown { name: name.clone(), nodes: names(settings) })?;
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::Address;

    fn settings(nodes: &[&str]) -> Settings {
        let node = |name: &&str| Node {
            name: name.parse().unwrap(),
            address: Address::Socket("/s".into()),
            token_path: None,
        };
        Settings {
            path: "mcp.toml".into(),
            services_dir: "services".into(),
            token_path: "token".into(),
            token: None,
            nodes: nodes.iter().map(node).collect(),
            nothing_configured: nodes == ["local"],
            peers: crate::cli::peers::Peers::default(),
        }
    }

    fn name(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    #[test]
    fn the_option_wins_over_the_definition_and_that_over_the_only_node() {
        let two = settings(&["rift", "svc"]);
        let chosen = [name("svc")];
        assert_eq!(one(&two, &chosen, Some(&name("rift"))).unwrap().name, name("svc"));
        assert_eq!(one(&two, &[], Some(&name("rift"))).unwrap().name, name("rift"));
        assert_eq!(one(&settings(&["rift"]), &[], None).unwrap().name, name("rift"));
        assert_eq!(
            one(&settings(&["local"]), &[], Some(&name("rift"))).unwrap().name,
            name("local")
        );
    }

    #[test]
    fn an_unclear_target_lists_the_nodes() {
        let two = settings(&["rift", "svc"]);
        let message = |chosen: &[NodeName], defined: Option<&NodeName>| {
            one(&two, chosen, defined).unwrap_err().to_string()
        };
        assert_eq!(
            message(&[], None),
            "it is not clear which node is meant; the nodes are rift, svc"
        );
        assert_eq!(
            message(&[name("x")], None),
            "there is no node called x; the nodes are rift, svc"
        );
        assert_eq!(
            message(&[], Some(&name("x"))),
            "the definition wants node x, which the config does not have; the nodes are rift, svc"
        );
        assert_eq!(
            message(&[name("rift"), name("svc")], None),
            "this command goes to one node, and 2 were given"
        );
    }

    #[test]
    fn several_nodes_are_all_or_the_chosen_once() {
        let two = settings(&["rift", "svc"]);
        assert_eq!(several(&two, &[]).unwrap().len(), 2);
        assert_eq!(several(&two, &[name("svc"), name("svc")]).unwrap().len(), 1);
        assert!(several(&two, &[name("x")]).is_err());
    }
}
