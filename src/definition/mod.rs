//! Service definitions: TOML text to a checked [`Service`], with every
//! mistake told at once, each with its place in the text and its mend.
//!
//! ```text
//! text --parse--> Definition (file type) --validate--> Service (domain type)
//! ```
//!
//! Pure: imports [`crate::names`] and nothing else of ours.

mod calendar;
pub mod diagnostic;
pub mod graph;
pub mod model;
pub mod parse;
pub mod service;
pub mod suggest;
mod things;
mod validate;
mod values;
pub mod write;

pub use diagnostic::{Diagnostic, Invalid};
pub use service::{Component, Service};
pub use validate::whose_key;
pub use values::is_mount_option;

/// Largest definition that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Most components that one service may have.
pub const MAX_COMPONENTS: usize = 100;

/// Reads a definition: parses, checks, and returns the service it describes.
///
/// # Errors
///
/// [`Invalid`] holds every mistake found, in the order of the text.
pub fn load(text: &str) -> Result<Service, Invalid> {
    let parsed = parse::parse(text)?;
    let shape = parsed.mistakes;
    match validate::validate(parsed.definition, &parsed.source) {
        Ok(service) if shape.is_empty() => Ok(service),
        Ok(_) => Err(Invalid::new(shape)),
        Err(invalid) => {
            // What was taken out for its shape is not missing.
            let more = invalid.diagnostics.into_iter().filter(|d| !d.absent || shape.is_empty());
            Err(Invalid::new(shape.iter().cloned().chain(more).collect()))
        }
    }
}

/// Returns the JSON Schema of a definition (draft 2020-12), for editors.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(model::Definition).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        load(text).unwrap_err().lines("s.toml", text)
    }

    #[test]
    fn every_example_is_valid() {
        for file in std::fs::read_dir("examples").unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            if let Err(invalid) = load(&text) {
                panic!("{}: {:?}", path.display(), invalid.lines("", &text));
            }
        }
    }

    #[test]
    fn all_mistakes_come_at_once_with_place_and_mend() {
        let text = r#"
name = "Web"
nod = "rift"
active = "yes"
depends_on = ["Web"]

[[components]]
name = "a"
image = "x y"
ports = ["80", "8080:80", "8080:81"]
restart = "alway"
depends_on = ["b", "zz"]
volumes = ["data:data"]
[components.health]
tcp = 99
cmd = ["x"]

[[components]]
name = "b"
image = "i:1"
memry = 3
depends_on = ["a"]
"#;
        insta::assert_snapshot!(mistakes(text).join("\n"), @r#"
        s.toml:2:8: service name "Web" may hold only a-z, 0-9 and '-', and starts and ends with a letter or digit
        s.toml:3:1: unknown key `nod` (did you mean `node`?)
        s.toml:4:10: invalid type: string "yes", expected a boolean
        s.toml:5:15: service name "Web" may hold only a-z, 0-9 and '-', and starts and ends with a letter or digit
        s.toml:9:9: image reference "x y" is not valid: each part of the path may hold a-z, 0-9, '.', '_' and '-', and starts and ends with a letter or digit
        s.toml:10:10: "80" names no port of the host (write "host:container", or use a route to have one leased)
        s.toml:10:16: port 8080 of the node is published twice
        s.toml:11:11: "alway" is not known here (did you mean "always"?)
        s.toml:12:15: the components wait for each other: a -> b -> a
        s.toml:12:20: there is no component named "zz" (services go into the service's own depends_on)
        s.toml:13:12: "data" is not an absolute path
        s.toml:14:1: a check is one of cmd, tcp, http and grpc, here is cmd and tcp (write exactly one)
        s.toml:21:1: unknown key `memry` (did you mean `memory`?)
        s.toml:22:15: the components wait for each other: b -> a -> b
        "#);
    }

    #[test]
    fn a_mistake_keeps_its_place_when_another_was_taken_out_before_it() {
        let text = "name = \"a\"\n[[components]]\nname = 5\nimage = \"i\"\nports = [7, \"x\"]\n";
        assert_eq!(
            mistakes(text),
            [
                "s.toml:3:8: invalid type: integer `5`, expected a string",
                "s.toml:5:10: invalid type: integer `7`, expected a string",
                "s.toml:5:13: \"x\" names no port of the host (write \"host:container\", or use a route to have one leased)",
            ]
        );
    }

    #[test]
    fn what_becomes_of_an_unhealthy_component_is_one_of_three_words() {
        let text = |more: &str| {
            format!("name = \"a\"\n[[components]]\nname = \"a\"\nimage = \"i:1\"\n{more}\n")
        };
        let read = |word: &str| {
            let health = format!("health = {{ cmd = [\"x\"]{word} }}");
            let service = load(&text(&health)).unwrap();
            service.components[0].health.as_ref().unwrap().on_failure
        };
        assert_eq!(read(""), service::OnFailure::None);
        assert_eq!(read(", on_failure = \"restart\""), service::OnFailure::Restart);
        assert_eq!(
            mistakes(&text("health = { cmd = [\"x\"], on_failure = \"reboot\" }")),
            ["s.toml:5:38: \"reboot\" is not known here (one of none, restart, stop)"]
        );
        let both = "restart = \"no\"\nhealth = { cmd = [\"x\"], on_failure = \"restart\" }";
        let told = mistakes(&text(both));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("never started again"), "{told:?}");
    }

    #[test]
    fn networks_and_names_in_them() {
        let text = |more: &str| {
            format!("name = \"a\"\n[[components]]\nname = \"a\"\nimage = \"i:1\"\n{more}\n")
        };
        let good =
            load(&text("network = [\"x\", \"y\", \"x\"]\naliases = [\"db\", \"db\"]")).unwrap();
        let component = &good.components[0];
        assert_eq!(component.network, service::Network::Named("x".parse().unwrap()));
        assert_eq!(component.more_networks, ["y".parse().unwrap()]);
        assert_eq!(component.aliases, ["db"]);
        insta::assert_snapshot!(
            mistakes(&text(
                "network = [\"x\", \"host\", \"Y\"]\nhosts = [\"a\"]\nworking_dir = \"x\""
            ))
            .into_iter()
            .chain(mistakes(&text("aliases = [\"db\"]")))
            .collect::<Vec<_>>()
            .join("\n"),
            @r#"
        s.toml:5:17: "host" does not go together with other networks (write `network = "host"`)
        s.toml:5:25: network name "Y" may hold only a-z, 0-9 and '-', and starts and ends with a letter or digit
        s.toml:6:10: "a" is not a line for /etc/hosts (write "name:address")
        s.toml:7:15: "x" is not an absolute path
        s.toml:5:11: only a podman network has names (add `network = "NAME"`, or take `aliases` out)
        "#
        );
    }

    #[test]
    fn what_lives_in_the_network_of_another_depends_on_it() {
        let text = |network: &str, more: &str| {
            format!(
                "name = \"a\"\n[[components]]\nname = \"in\"\nimage = \"i:1\"\nextra.Container.Network = \"{network}\"\n[[components]]\nname = \"holder\"\nimage = \"i:1\"\n{more}\n"
            )
        };
        let depends = |network: &str| {
            let service = load(&text(network, "")).unwrap();
            service.components[0].depends_on.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(depends("a-holder.container"), ["holder"]);
        assert_eq!(depends("container:a-holder"), ["holder"]);
        assert_eq!(depends("container:a-in"), [""; 0]);
        assert_eq!(depends("container:other"), [""; 0]);
        let circle = mistakes(&text("a-holder.container", "depends_on = [\"in\"]"));
        assert!(circle.iter().all(|line| line.contains("wait for each other")), "{circle:?}");
        assert_eq!(circle.len(), 2, "{circle:?}");
    }

    #[test]
    fn broken_and_hostile_texts_are_refused() {
        for text in [
            "",
            "name = ",
            "name = \"a\"\n[[components]]\nname = \"b\\n[Service]\"\nimage = \"i\"",
            "name = \"../x\"\n[[components]]\nname = \"b\"\nimage = \"i\"",
            "name = \"a\"\n[[components]]\nname = \"b\"\nimage = \"--privileged\"",
            "name = \"a\"\n[[components]]\nname = \"b\"\nimage = \"i\"\nuser = \"0\\n[Service]\"",
            "name = \"a\"\n[[components]]\nname = \"b\"\nimage = \"i\"\nhostname = \"-x\"",
            "name = \"a\"\n[[components]]\nname = \"b\"\nimage = \"i\"\n[components.extra.Container]\nLabel = \"a\\nPodmanArgs=--privileged\"",
            "name = \"a\"\n[[components]]\nname = \"b\"\nimage = \"i\"\n[components.extra.Install]\nAlias = \"dbus.service\"",
            "name = \"dbus\"\n[[components]]\nname = \"b\"\nimage = \"i\"",
            "\u{0}\u{1}\u{2}",
        ] {
            assert!(!mistakes(text).is_empty(), "{text:?}");
        }
        let many = format!(
            "name = \"a\"\n{}",
            "[[components]]\nname = \"b\"\nimage = \"i\"\n".repeat(10_000)
        );
        assert_eq!(mistakes(&many).len(), 1);
        assert_eq!(
            mistakes(&"#".repeat(10 << 20)),
            ["s.toml:1:1: the definition is larger than 1024 KiB"]
        );
    }

    #[test]
    fn blue_green_takes_only_what_can_be_handed_over() {
        let text = r#"
name = "s"
[deploy]
strategy = "blue-green"
drain = "5s"
[[components]]
name = "host"
image = "i:1"
network = "host"
[[components]]
name = "udp"
image = "i:1"
ports = ["53:53/udp", "53:53", "127.0.0.1:53:54"]
health = { cmd = ["x"] }
[[components]]
name = "blind"
image = "i:1"
routes = [{ name = "mcp-behind-80", port = 443 }]
[components.extra.Container]
PublishPort = "1:1"
[[components]]
name = "none"
image = "i:1"
"#;
        insta::assert_snapshot!(mistakes(text).join("\n"), @r#"
        s.toml:9:11: with strategy "blue-green" a component cannot be in the node's network (both generations would want the same ports, so give it `ports` or `routes` instead)
        s.toml:13:10: with strategy "blue-green" a component cannot publish a UDP port (it has no connections that could be handed over, so use strategy "recreate")
        s.toml:13:32: port 53 of the node is published twice
        s.toml:13:32: with strategy "blue-green" port 53 leads to one port of the container, whatever the address (write 53 here too, or take another port)
        s.toml:15:1: with strategy "blue-green" nobody knows when to hand over to a component without a check (add [components.health])
        s.toml:18:20: "mcp-behind-80" is a name that MCP uses itself (take another)
        s.toml:20:15: with strategy "blue-green" both generations would want that port (use `ports`)
        "#);
        let recreate = text.replace("blue-green", "recreate").replace("drain = \"5s\"", "");
        assert_eq!(mistakes(&recreate).len(), 2, "{:?}", mistakes(&recreate));
        let other = "name = \"s\"\n[deploy]\ndrain = \"5s\"\n[[components]]\nname = \"a\"\nimage = \"i:1\"\n";
        assert!(mistakes(other)[0].starts_with("s.toml:3:9: there is nothing to drain"));
    }

    #[test]
    fn the_schema_describes_what_is_read() {
        let schema = json_schema();
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["components"].is_object());
    }
}
