//! Files of networks, volumes and images that another file of the same name
//! takes the place of: podman's generator reads the first that it finds.

use super::unit_file::{self, Directive};

/// Returns what a file of ours says and the one that is read in its place does
/// not, as `Key=value`. A container is not looked at: its arguments are proved.
pub fn unsaid(ours: &str, theirs: &str) -> Vec<String> {
    let theirs = unit_file::directives(theirs);
    let said = |own: &Directive| {
        theirs.iter().any(|their| {
            (&their.section, &their.key) == (&own.section, &own.key)
                && meaning(&their.value) == meaning(&own.value)
        })
    };
    unit_file::directives(ours)
        .iter()
        .filter(|own| matches!(own.section.as_str(), "Network" | "Volume" | "Image"))
        // By these MCP finds what it has made.
        .filter(|own| !(own.key == "Label" && own.value.starts_with("mcp.")))
        .filter(|own| !said(own))
        .map(|own| format!("{}={}", own.key, own.value))
        .collect()
}

/// Returns a value as systemd reads it, if it is a truth value.
fn meaning(value: &str) -> &str {
    match value.trim_end() {
        "1" | "yes" | "y" | "t" | "on" => "true",
        "0" | "no" | "n" | "f" | "off" => "false",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_file_does_not_say_is_named() {
        let ours = "[Unit]\nWants=x\n[Network]\nNetworkName=a\nLabel=mcp.network=a\nInternal=true\nSubnet=10.1.0.0/16\n";
        assert_eq!(unsaid(ours, ours), [""; 0]);
        let theirs = "[Network]\nNetworkName=a\nInternal=yes\nSubnet=10.1.0.0/16\nDNS=1.1.1.1\n";
        assert_eq!(unsaid(ours, theirs), [""; 0]);
        let theirs = "[Network]\nNetworkName=a\n[Service]\nInternal=true\n";
        assert_eq!(unsaid(ours, theirs), ["Internal=true", "Subnet=10.1.0.0/16"]);
    }
}
