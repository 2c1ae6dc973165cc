//! The definition that `mcp service new` writes: what was asked for, and
//! comments on what else there is.

use std::collections::BTreeMap;

use crate::definition::model::{Component, Definition, Environment, Scalar};
use crate::definition::write::{Draft, Remarks, WriteError, write};
use crate::names::{ComponentName, NodeName, ServiceName};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Starter {
    /// The image.
    pub image: String,
    /// The component; else it is called as the service.
    pub component: Option<ComponentName>,
    /// The node.
    pub node: Option<NodeName>,
    /// `[address:]host:container`.
    pub ports: Vec<String>,
    /// `source:target[:options]`.
    pub volumes: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
}

/// Why there is no definition to begin with.
#[derive(Debug, thiserror::Error)]
pub enum StarterError {
    /// A variable without a value.
    #[error("{0:?} is no variable; give it as NAME=value, NAME= for an empty one")]
    NoValue(String),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What a component may have besides, as comments. Each is taken as it stands
/// when its `#` is removed.
const MORE: &[&str] = &[
    "What else there is; all of it is in docs/definition.md:",
    "cmd = [\"--verbose\"]",
    "user = \"1000:1000\"",
    "env_files = [\"/srv/NAME/secrets.env\"]",
    "network = \"shared\"",
    "restart = \"always\"",
    "health = { http = \"/health\" }      # or tcp = 8080, grpc = 9000, cmd = [\"/bin/check\"]",
    "resources = { memory = \"512m\", cpus = 1.5 }",
    "depends_on = [\"db\"]                # another component of this file",
    "routes = [{ port = 443 }]           # a port leased by the agent, given as $PORT",
];

/// Returns the text of a definition to begin with.
///
/// # Errors
///
/// [`StarterError`]
pub fn text(service: &ServiceName, wanted: &Starter) -> Result<String, StarterError> {
    let name = wanted.component.as_ref().map_or(service.as_str(), ComponentName::as_str);
    let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let variable = |line: &String| match line.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), Scalar::Text(value.to_owned()))),
        None => Err(StarterError::NoValue(line.clone())),
    };
    let env: BTreeMap<String, Scalar> =
        wanted.env.iter().map(variable).collect::<Result<_, _>>()?;
    let component = Component {
        name: Some(name.to_owned()),
        image: Some(wanted.image.clone()),
        ports: list(&wanted.ports),
        volumes: list(&wanted.volumes),
        env: (!env.is_empty()).then_some(Environment::Table(env)),
        ..Component::default()
    };
    let definition = Definition {
        name: Some(service.to_string()),
        node: wanted.node.as_ref().map(ToString::to_string),
        components: Some(vec![component]),
        ..Definition::default()
    };
    let mut remarks = Remarks::default();
    remarks.add("", format!("The service {service}. Check with: mcp lint {service}.toml"));
    remarks.add("", format!("Deploy with: mcp deploy {service} --dry-run, then without."));
    for line in MORE {
        remarks.add("components[0].~", line.replace("NAME", service.as_str()));
    }
    Ok(write(&Draft { definition, remarks })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_to_begin_with_is_valid_and_says_what_else_there_is() {
        let service = "web".parse().unwrap();
        let wanted = Starter {
            image: "docker.io/library/nginx:1.27".to_owned(),
            ports: vec!["127.0.0.1:8080:80".to_owned()],
            volumes: vec!["data:/data".to_owned()],
            env: vec!["A=b=c".to_owned()],
            ..Starter::default()
        };
        let text = text(&service, &wanted).unwrap();
        let read = crate::definition::load(&text).unwrap();
        assert_eq!(read.name, service);
        assert_eq!(read.components[0].env["A"], "b=c");
        assert!(text.starts_with("# The service web. "), "{text}");
        // Each comment with a key is one that a definition takes as it stands.
        for line in MORE.iter().skip(1) {
            let line = line.replace("NAME", "web");
            let offered = format!("# {line}\n");
            assert!(text.contains(&offered), "{line}");
            let db = "[[components]]\nname = \"db\"\nimage = \"localhost/x:1\"\n";
            let taken = text.replace(&offered, &format!("{line}\n")) + db;
            assert!(crate::definition::load(&taken).is_ok(), "{taken}");
        }
    }

    #[test]
    fn a_variable_without_a_value_is_none() {
        let wanted = Starter { env: vec!["A".to_owned()], ..Starter::default() };
        let error = text(&"web".parse().unwrap(), &wanted).unwrap_err();
        assert!(matches!(error, StarterError::NoValue(name) if name == "A"));
    }
}
