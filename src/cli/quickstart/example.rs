//! The example service.

use crate::names::{ImageRef, ServiceName};

/// The image that is used when none is named: small, for every machine, and
/// with a web server.
pub const IMAGE: &str = "docker.io/library/busybox:1.37";
/// Where the service listens in its container.
const INSIDE: u16 = 8080;

/// Returns the definition of the example. An image that was named runs as it
/// is, and is to answer on port 8080.
pub fn definition(service: &ServiceName, image: &ImageRef, port: u16) -> String {
    let mut text = format!(
        "# Made by `mcp quickstart`. Change it, and `mcp deploy {service}` again.
name = \"{service}\"
comment = \"the first service\"

[[components]]
name = \"{service}\"
image = \"{image}\"
"
    );
    if image.as_str() == IMAGE {
        text.push_str(
            "entrypoint = [\"/bin/sh\", \"-c\"]
cmd = [\"mkdir -p /www; echo hello >/www/index.html; exec httpd -f -p 8080 -h /www\"]
stop_timeout = \"1s\"
",
        );
    }
    let ports = format!("ports = [\"127.0.0.1:{port}:{INSIDE}\"]\n");
    text.push_str(&ports);
    text.push_str("health = { http = \"/\" }\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_definition_without_a_mistake() {
        for image in [IMAGE, "localhost/lab/web:v1"] {
            let text = definition(&"hello".parse().unwrap(), &image.parse().unwrap(), 8081);
            let service = crate::definition::load(&text).unwrap();
            assert_eq!(service.name.as_str(), "hello");
            assert_eq!(text.contains("httpd"), image == IMAGE);
            assert!(text.contains("127.0.0.1:8081:8080"));
        }
    }
}
