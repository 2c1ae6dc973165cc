//! What a container needs besides its units: its image, paths, ports, and the
//! program that probes it.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::agent::finding::{Finding, shell_word};
use crate::definition::service::MountSource;
use crate::deployment::{Container, Deployment, Image, ImageId, Publish};
use crate::names::ServiceName;
use crate::quadlet::arguments::Arguments;
use crate::quadlet::command_line;

/// What a container's image is in podman's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageNow {
    /// What its name means; `None`: nothing.
    pub named: Option<ImageId>,
    /// The image that the generation in force was accepted with, and whether
    /// the store still has it; `None`: not recorded.
    pub accepted: Option<(Image, bool)>,
}

/// Judges whether a container will run the image that it was accepted with.
pub fn image(service: &ServiceName, container: &Container, now: &ImageNow) -> Option<Finding> {
    let (name, unit) = (&container.image, container.name.unit());
    let same = |id: &ImageId| now.accepted.as_ref().is_none_or(|(image, _)| image.id == *id);
    let message = match &now.named {
        Some(id) if same(id) => return None,
        Some(id) => format!(
            "{name} means another image now ({}) than the one that was accepted: a boot would run \
             that one.",
            id.short()
        ),
        None => format!("The image {name} is not in podman's store, and a boot pulls none."),
    };
    let finding = Finding::failed("image", unit.as_str(), message);
    let by_digest = || now.accepted.as_ref().and_then(|(image, _)| image.by_digest());
    Some(match (&now.accepted, by_digest()) {
        (Some((image, true)), _) => finding.mend(format!("podman tag {} {name}", image.id)),
        (Some(_), Some(pinned)) if !name.is_pinned() => {
            finding.mend(format!("podman pull {pinned} && podman tag {pinned} {name}"))
        }
        // What only this node had must be built or loaded again; what another
        // name means now can be accepted.
        (_, _) if now.named.is_some() => finding.mend(format!("mcp deploy {service}")),
        (_, _) if name.is_local() => finding,
        (_, _) => finding.mend(format!("systemctl --user start {}", container.name.image_unit())),
    })
}

/// Looks at the program that units probe with.
pub fn probe(program: &str, units: &[String]) -> Option<Finding> {
    let first = units.first()?;
    let path = Path::new(program);
    let why = match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => {
            return None;
        }
        Ok(_) => "cannot be executed".to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => "is missing".to_owned(),
        Err(error) => format!("cannot be looked at ({error})"),
    };
    let word = shell_word(program);
    let message = format!(
        "{program} {why}: the probe of {first}{} cannot run, and so it never becomes ready. \
         Install mcp-agent there again.",
        match units.len() {
            1 => String::new(),
            more => format!(" and {} more", more - 1),
        }
    );
    let mend = if why == "cannot be executed" {
        format!("sudo chmod 755 {word}")
    } else {
        format!("sudo install -m 755 mcp-agent {word}")
    };
    Some(Finding::failed("probe", first.as_str(), message).mend(mend))
}

/// Looks at the files and directories of the node that a container of this
/// user uses.
pub fn paths(container: &Container, user: &str) -> Vec<Finding> {
    let unit = container.name.unit();
    let failed = |message: String| Finding::failed("path", unit.as_str(), message);
    let mut found = Vec::new();
    for mount in &container.spec.volumes {
        if let MountSource::Path(path) = &mount.source
            && let Err(error) = std::fs::metadata(path)
        {
            let make = format!("sudo install -d -o {user} {}", shell_word(path));
            found.push(failed(format!("{path} cannot be mounted: {error}.")).mend(make));
        }
    }
    for file in &container.spec.env_files {
        if let Err(error) = std::fs::File::open(file) {
            found.push(failed(format!("The environment file {file} cannot be read: {error}.")));
        }
    }
    for device in &container.spec.devices {
        if let Err(error) = std::fs::metadata(&device.host) {
            found.push(failed(format!("There is no device {}: {error}.", device.host)));
        }
    }
    found
}

/// Looks at the paths of the node that `extra` keys and drop-ins have podman
/// use, which makes volumes that have a name, and no paths.
pub fn added_paths(container: &Container, made: &Arguments, user: &str) -> Vec<Finding> {
    let known = |path: &str| {
        container.spec.volumes.iter().any(|mount| mount.source == MountSource::Path(path.into()))
            || container.spec.env_files.iter().any(|file| file == path)
            || container.spec.devices.iter().any(|device| device.host == path)
    };
    let mut found = Vec::new();
    for (flag, value) in &made.options {
        let path = match flag.as_str() {
            "--volume" | "--device" => value.split(':').next().unwrap_or_default(),
            "--env-file" => value,
            _ => continue,
        };
        // What systemd expands cannot be looked at.
        if !path.starts_with('/') || !command_line::is_resolved(path) || known(path) {
            continue;
        }
        let Err(error) = std::fs::metadata(path) else { continue };
        let message = format!("{path}, which podman gets by {flag}, is not there: {error}.");
        let finding = Finding::failed("path", container.name.unit().as_str(), message);
        found.push(if flag == "--volume" {
            finding.mend(format!("sudo install -d -o {user} {}", shell_word(path)))
        } else {
            finding
        });
    }
    found
}

/// Judges whether two containers want one port.
pub fn clashes(deployments: &[&Deployment]) -> Vec<Finding> {
    let all: Vec<(&Container, &Publish)> = deployments
        .iter()
        .flat_map(|deployment| &deployment.containers)
        .flat_map(|container| container.publish.iter().map(move |publish| (container, publish)))
        .collect();
    let mut found = Vec::new();
    for (at, (container, publish)) in all.iter().enumerate() {
        let others = all.iter().skip(at + 1);
        for (other, theirs) in others.filter(|(_, theirs)| publish.clashes(theirs)) {
            let message = format!(
                "{} and {} both publish port {}; only the first to start gets it.",
                container.name.unit(),
                other.name.unit(),
                theirs.argument()
            );
            found.push(Finding::failed("port", other.name.unit().as_str(), message));
        }
    }
    found
}

/// Judges a port that could not be bound while its container is down.
pub fn port(container: &Container, publish: &Publish, error: &std::io::Error) -> Finding {
    let unit = container.name.unit();
    let finding = Finding::failed(
        "port",
        unit.as_str(),
        format!("Port {} of {unit} cannot be published: {error}.", publish.argument()),
    );
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with forty variants")]
    match error.kind() {
        ErrorKind::PermissionDenied => finding
            .mend(format!("sudo sysctl -w net.ipv4.ip_unprivileged_port_start={}", publish.host)),
        ErrorKind::AddrInUse => finding.mend(format!("ss -lntup 'sport = {}'", publish.host)),
        _ => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;

    fn deployment(name: &str, rest: &str) -> Deployment {
        let text = format!(
            "name = \"{name}\"\n[[components]]\nname = \"{name}\"\nimage = \"r.example.net/{name}:1\"\n{rest}\n"
        );
        let service = crate::definition::load(&text).unwrap();
        resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(1)).unwrap()
    }

    #[test]
    fn a_container_needs_the_image_that_it_was_accepted_with() {
        let web = deployment("web", "");
        let container = &web.containers[0];
        let id = |digit: &str| digit.repeat(64).parse::<ImageId>().unwrap();
        let digest = format!("sha256:{}", "d".repeat(64));
        let accepted =
            Image { name: container.image.clone(), id: id("a"), digest: Some(digest.clone()) };
        let judged = |named: Option<&str>, accepted: Option<(Image, bool)>| {
            let now = ImageNow { named: named.map(id), accepted };
            image(&web.service, container, &now).map(|finding| finding.mend)
        };
        assert_eq!(judged(Some("a"), Some((accepted.clone(), true))), None);
        assert_eq!(judged(Some("b"), None), None);
        let tag = format!("podman tag {} r.example.net/web:1", "a".repeat(64));
        for named in [None, Some("b")] {
            assert_eq!(judged(named, Some((accepted.clone(), true))), Some(tag.clone()));
        }
        let pull = judged(None, Some((accepted.clone(), false))).unwrap();
        assert!(pull.starts_with(&format!("podman pull r.example.net/web@{digest} && ")), "{pull}");
        let start = "systemctl --user start web-image.service".to_owned();
        assert_eq!(judged(None, None), Some(start));
        let unknown = Image { digest: None, ..accepted };
        assert_eq!(judged(Some("b"), Some((unknown, false))), Some("mcp deploy web".to_owned()));
    }

    #[test]
    fn a_probe_needs_a_program_that_can_be_executed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp-agent");
        let program = path.to_str().unwrap();
        let units = ["web.service".to_owned(), "db.service".to_owned()];
        assert_eq!(probe(program, &[]), None);
        let missing = probe(program, &units).unwrap();
        assert!(missing.message.contains("is missing: the probe of web.service and 1 more"));
        crate::atomic_file::write(&path, b"", 0o644).unwrap();
        assert!(probe(program, &units).unwrap().mend.starts_with("sudo chmod 755 "));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(probe(program, &units), None);
    }

    #[test]
    fn paths_that_are_missing_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().display();
        let web = deployment(
            "web",
            &format!(
                "volumes = [\"{there}:/a\", \"{there}/gone:/b\"]\nenv_files = [\"{there}/env\"]"
            ),
        );
        let found = paths(&web.containers[0], "mcp");
        assert_eq!(found.len(), 2);
        assert!(found[0].message.starts_with(&format!("{there}/gone cannot be mounted")));
        assert!(found[1].message.contains(&format!("{there}/env cannot be read")));
    }

    #[test]
    fn two_containers_cannot_publish_one_port() {
        let ports = "ports = [\"127.0.0.1:8080:80\"]";
        let (a, b) = (deployment("web", ports), deployment("shop", "ports = [\"8080:80\"]"));
        let clash = clashes(&[&a, &b]);
        assert_eq!(clash.len(), 1);
        assert!(
            clash[0].message.starts_with("web.service and shop.service both publish"),
            "{clash:?}"
        );
        assert!(clashes(&[&a]).is_empty());
    }

    #[test]
    fn paths_that_extra_keys_add_are_looked_at_and_named_volumes_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().display();
        let web = deployment("web", &format!("volumes = [\"{there}/gone:/b\"]"));
        let of = |options: &str| {
            let line = format!("podman run {options} localhost/x:1");
            let made = Arguments::read(&command_line::words(&line).unwrap()).unwrap();
            added_paths(&web.containers[0], &made, "mcp")
        };
        assert_eq!(of(&format!("-v other:/a -v {there}:/c:ro -v %h/x:/d")), []);
        // That one is told already.
        assert_eq!(of(&format!("-v {there}/gone:/b")), []);
        let found = of(&format!("-v {there}/new:/d --env-file {there}/env"));
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].mend, format!("sudo install -d -o mcp {there}/new"));
        assert!(found[0].message.contains(&format!("{there}/env, which podman gets")));
    }
}
