//! Circles in the order of starts.

use crate::agent::finding::{Finding, shell_word};
use crate::quadlet::boot_graph::{Found, Graph, order};

/// Judges the order in which units start.
pub fn judge(found: &Found, graph: &Graph) -> Vec<Finding> {
    order::circles(graph).iter().map(|circle| one(found, circle)).collect()
}

fn one(found: &Found, circle: &[String]) -> Finding {
    let way = circle.join(" -> ");
    let first = circle.first().map(String::as_str).unwrap_or_default();
    let finding = Finding::failed(
        "order",
        first,
        format!(
            "The order goes round in a circle, each unit waiting for the next: {way}. At boot \
             systemd breaks it by not starting one of them."
        ),
    );
    match culprit(found, circle) {
        Some(path) => {
            let path = shell_word(&path);
            finding.mend(format!("rm {path} && systemctl --user daemon-reload"))
        }
        None => finding,
    }
}

/// Returns the drop-in that closes the circle: one of a unit of the circle
/// that orders it against another of them.
fn culprit(found: &Found, circle: &[String]) -> Option<String> {
    let others = |text: &str, own: &String| {
        text.lines().filter(|line| line.starts_with("After=") || line.starts_with("Before=")).any(
            |line| circle.iter().filter(|unit| *unit != own).any(|u| line.contains(u.as_str())),
        )
    };
    circle.iter().find_map(|unit| {
        let drop_ins = found.drop_ins.get(unit)?.values();
        let mut guilty = drop_ins.filter(|drop_in| others(&drop_in.text, unit));
        guilty.next().map(|drop_in| drop_in.path.to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadlet::boot_graph::{Content, DropIn, Source};

    #[test]
    fn the_circle_is_shown_and_the_drop_in_that_closes_it() {
        let mut found = Found::default();
        for (name, text) in [
            ("default.target", "Wants=a.service b.service"),
            ("a.service", "After=b.service"),
            ("b.service", "DefaultDependencies=no"),
        ] {
            let content = Content::Text(format!("[Unit]\n{text}\n"));
            found.add_source(name, Source { path: format!("/u/{name}").into(), content });
        }
        assert!(judge(&found, &Graph::of_boot(&found, &[])).is_empty());
        let text = "[Unit]\nAfter=a.service\n".to_owned();
        found.add_drop_in(
            "b.service",
            "x.conf",
            DropIn { path: "/u/b.service.d/x.conf".into(), text },
        );
        let circle = judge(&found, &Graph::of_boot(&found, &[]));
        assert_eq!(circle.len(), 1);
        assert!(circle[0].message.contains("a.service -> b.service -> a.service"), "{circle:?}");
        assert_eq!(circle[0].mend, "rm /u/b.service.d/x.conf && systemctl --user daemon-reload");
    }
}
