//! Services that others wait for to end: `service_completed_successfully`.

use super::convert::Scope;
use super::health;
use super::yaml::Node;
use crate::definition::model::{Oneshot, OneshotTable};
use crate::import::note::NoteKind::{Changed, Lost};
use crate::import::sheet::Part;

/// The condition that waits for an end.
pub(super) const CONDITION: &str = "service_completed_successfully";

/// Tells whether a service that is imported waits for the end of this one.
pub(super) fn is_one(scope: &Scope<'_>, service: &str) -> bool {
    let services = scope.root.get("services").and_then(Node::map).unwrap_or_default();
    services.iter().filter(|(key, _)| scope.names.contains_key(&key.text)).any(|(_, node)| {
        let on = node.get("depends_on").and_then(|on| on.get(service));
        on.and_then(|on| on.get("condition")).and_then(Node::text) == Some(CONDITION)
    })
}

/// Has a component that others wait for to end be ready only then.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, service: &str, node: &Node) {
    if !is_one(scope, service) {
        return;
    }
    // Compose waits for ever.
    let table = OneshotTable { timeout: Some("24h".to_owned()) };
    part.component.oneshot = Some(Oneshot::Full(table));
    part.remark("oneshot", "What depends on it waits until it has ended with 0.");
    if matches!(part.component.restart.as_deref(), Some("always" | "unless-stopped")) {
        part.component.restart = Some("on-failure".to_owned());
        let place = node.get("restart").map_or(&node.place, |restart| &restart.place);
        let message = "others wait for its end, so it is started again only when it fails";
        scope.tell(part, Changed, (place, "restart"), message);
    }
    if health::is_checked(node) {
        let place = node.get("healthcheck").map_or(&node.place, |check| &check.place);
        let message = "others wait for its end, and until then nobody asks for its health";
        scope.tell(part, Lost, (place, "healthcheck"), message);
    }
}
