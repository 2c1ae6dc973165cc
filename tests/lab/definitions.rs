//! Definitions that several themes deploy.

use toml_edit::{DocumentMut, Item, Table, value};

/// A web front that waits for an API, on a network of their own, with data.
pub const PAIR: &str = r#"name = "pair"
comment = "an API and its front"

[[components]]
name = "api"
image = "localhost/lab/web:v1"
network = "pair"
volumes = ["data:/data"]
env = { COLOUR = "red" }
health = { http = "/health" }
[[components.routes]]
port = 8080

[[components]]
name = "front"
image = "localhost/lab/web:v1"
network = "pair"
depends_on = ["api"]
env = { SHAPE = "round" }
health = { cmd = ["/bin/health"] }
[[components.routes]]
port = 8080
"#;

/// The containers of [`PAIR`].
pub const PAIR_UNITS: [&str; 2] = ["pair-api.service", "pair-front.service"];

/// The smallest service: one web server.
pub const LONE: &str = r#"name = "lone"

[[components]]
name = "lone"
image = "localhost/lab/web:v1"
health = { http = "/health" }
[[components.routes]]
port = 8080
"#;

/// Ready only when somebody makes a file on the node.
pub const LATE: &str = r#"name = "late"

[[components]]
name = "late"
image = "localhost/lab/web:v1"
volumes = ["/srv/mcq:/gate"]
health = { cmd = "test -e /gate/open", interval = "2s", start_period = "2m" }
"#;

/// Changes a text, which has to be there.
#[track_caller]
pub fn with(definition: &str, from: &str, to: &str) -> String {
    assert!(definition.contains(from), "no {from:?} in {definition}");
    definition.replace(from, to)
}

/// Changes the keys of one component; a key is set to a TOML value.
#[track_caller]
pub fn with_component(definition: &str, component: &str, keys: &[(&str, &str)]) -> String {
    let mut document: DocumentMut = definition.parse().unwrap();
    let components = document["components"].as_array_of_tables_mut().unwrap();
    let table = components
        .iter_mut()
        .find(|t| t.get("name").and_then(Item::as_str) == Some(component))
        .unwrap();
    for (key, text) in keys {
        set(table, key, text);
    }
    document.to_string()
}

fn set(table: &mut Table, key: &str, text: &str) {
    let parsed: toml_edit::Value = text.parse().unwrap();
    table.insert(key, value(parsed));
}
