//! The files of services and of the node, against what was accepted.

use std::path::Path;

use crate::agent::finding::Finding;
use crate::agent::plan::{FileChange, FileChangeKind};
use crate::names::{Generation, ServiceName};

const CHECK: &str = "files";

/// Judges the files of a service; `changes` lead from those on disk to those
/// of the generation in force.
pub fn service(
    service: &ServiceName,
    generation: Generation,
    changes: &[FileChange],
) -> Vec<Finding> {
    changes
        .iter()
        .map(|change| {
            let name = &change.name;
            let what = match change.kind {
                FileChangeKind::Added => format!("{name} is missing on disk"),
                FileChangeKind::Changed => format!("{name} was edited on disk"),
                FileChangeKind::Removed => format!("{name} on disk is not part of it"),
            };
            Finding::failed(
                CHECK,
                service.as_str(),
                format!("Generation {generation} is in force, but {what}."),
            )
            .mend(format!("mcp deploy {service}"))
        })
        .collect()
}

/// Judges a file that the node needs whatever runs on it; `text` is what is
/// on disk.
pub fn node(path: &Path, wanted: &str, text: Option<&str>, restart: &str) -> Option<Finding> {
    let shown = path.display();
    let message = match text {
        Some(text) if text == wanted => return None,
        Some(_) => format!("{shown} was edited; every boot needs it as MCP writes it."),
        None => format!("{shown} is missing; every boot needs it."),
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Some(Finding::failed(CHECK, name.unwrap_or_default(), message).mend(restart))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadlet::Place;

    #[test]
    fn each_file_that_differs_is_named() {
        let change = |name: &str, kind| FileChange {
            place: Place::Quadlet,
            name: name.to_owned(),
            kind,
            before: String::new(),
            after: String::new(),
        };
        let changes = [
            change("web.container", FileChangeKind::Changed),
            change("web.target", FileChangeKind::Added),
            change("old.volume", FileChangeKind::Removed),
        ];
        let found = service(&"web".parse().unwrap(), Generation(3), &changes);
        let said: Vec<&str> = found.iter().map(|f| f.message.as_str()).collect();
        assert_eq!(
            said,
            [
                "Generation 3 is in force, but web.container was edited on disk.",
                "Generation 3 is in force, but web.target is missing on disk.",
                "Generation 3 is in force, but old.volume on disk is not part of it.",
            ]
        );
        assert!(found.iter().all(|f| f.mend == "mcp deploy web" && f.subject == "web"));
    }

    #[test]
    fn the_nodes_own_files_are_put_back_by_the_agent() {
        let path = Path::new("/u/mcp.target");
        assert_eq!(node(path, "x", Some("x"), "restart"), None);
        let edited = node(path, "x", Some("y"), "restart").unwrap();
        assert_eq!((edited.subject.as_str(), edited.mend.as_str()), ("mcp.target", "restart"));
        assert!(node(path, "x", None, "restart").unwrap().message.contains("is missing"));
    }
}
