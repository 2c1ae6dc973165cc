//! What is lost of a node, and what brings it back: pure. Registry, unit
//! files and podman's storage each hold a record of every service; any one of
//! them makes the other two again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::finding::Finding;
use crate::names::{ComponentName, Generation, ImageRef, ServiceName};

/// The kind of what is left to a person.
pub const CHECK: &str = "recover";

/// Where a service is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The registry.
    Registry,
    /// The unit directories, and the record beside the units.
    Units,
    /// The record in podman's storage.
    Podman,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "the registry",
            Self::Units => "the unit files",
            Self::Podman => "podman's storage",
        })
    }
}

/// What one source says of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The generation in force.
    pub generation: Generation,
    /// Whether it runs.
    pub active: bool,
    /// A digest of the definition and of what it resolves to.
    pub content: Vec<u8>,
    /// When it was recorded, in milliseconds since the Unix epoch; 0: not known.
    pub at_ms: i64,
}

/// What all sources say of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The registry.
    pub registry: Option<Known>,
    /// The record beside the units.
    pub units: Option<Known>,
    /// Whether there are files of it in the unit directories at all.
    pub files: bool,
    /// Podman's storage.
    pub podman: Option<Known>,
}

/// What the sources are worth as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Worth {
    /// The registry knew no service when the agent started.
    pub registry_was_empty: bool,
    /// A person put an earlier registry back, and it has not been compared
    /// with the rest since.
    pub restored: bool,
    /// When services were removed, as the journal says.
    pub removed: BTreeMap<ServiceName, i64>,
}

/// What is to be done about a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This source says what the service is; the others follow.
    Follow(Source),
    /// It was removed, and only podman's record is left over.
    Forget,
    /// Nobody but a person can tell.
    Left(Finding),
}

/// Decides which source to follow for a service; `named` if a person has named
/// it, and so wants it back.
pub fn judge(service: &ServiceName, seen: &Seen, worth: &Worth, named: bool) -> Verdict {
    let Seen { registry, units, files, podman } = seen;
    match (registry, units, podman) {
        (None, None, None) => left_files(service),
        (None, None, Some(p)) => alone_in_podman(service, p, (*files, worth), named),
        (None, Some(_), None) => Verdict::Follow(Source::Units),
        (None, Some(u), Some(p)) => newer_in_podman(service, u, p, named),
        (Some(r), None, p) => {
            if p.as_ref().is_some_and(|p| p.generation > r.generation) {
                return Verdict::Follow(Source::Podman);
            }
            if !files && worth.restored && p.is_none() && !named {
                return perhaps_removed(service);
            }
            Verdict::Follow(Source::Registry)
        }
        (Some(r), Some(u), _) if u.generation > r.generation => Verdict::Follow(Source::Units),
        (Some(r), Some(u), _) if u.generation == r.generation && u.content != r.content => {
            if named {
                return Verdict::Follow(Source::Registry);
            }
            Verdict::Left(
                Finding::warning(
                    CHECK,
                    service.as_str(),
                    format!(
                        "The registry and the record beside the unit files both say generation {}, and differ.",
                        r.generation
                    ),
                )
                .mend(format!("mcp agent recover {service}")),
            )
        }
        (Some(_), Some(_), _) => Verdict::Follow(Source::Registry),
    }
}

fn left_files(service: &ServiceName) -> Verdict {
    Verdict::Left(
        Finding::warning(
            CHECK,
            service.as_str(),
            "There are unit files of a service of which nothing else is known.",
        )
        .mend(format!("mcp deploy {service}")),
    )
}

fn alone_in_podman(
    service: &ServiceName,
    podman: &Known,
    (files, worth): (bool, &Worth),
    named: bool,
) -> Verdict {
    if named || (worth.registry_was_empty && !files) {
        // The journal of a registry that is whole knows better, if it has a
        // later word.
        let removed = worth.removed.get(service).is_some_and(|at| *at >= podman.at_ms);
        return if removed && !named { Verdict::Forget } else { Verdict::Follow(Source::Podman) };
    }
    if worth.removed.get(service).is_some_and(|at| *at >= podman.at_ms) {
        return Verdict::Forget;
    }
    Verdict::Left(
        Finding::warning(
            CHECK,
            service.as_str(),
            format!(
                "Only podman's storage knows the service, in generation {}: it was removed, or lost elsewhere. To be rid of the record: podman secret rm {}.",
                podman.generation,
                record_name(service)
            ),
        )
        .mend(format!("mcp agent recover {service}")),
    )
}

fn newer_in_podman(service: &ServiceName, units: &Known, podman: &Known, named: bool) -> Verdict {
    if podman.generation <= units.generation {
        return Verdict::Follow(Source::Units);
    }
    if named {
        return Verdict::Follow(Source::Podman);
    }
    Verdict::Left(
        Finding::warning(
            CHECK,
            service.as_str(),
            format!(
                "The unit files are of generation {}, podman's storage knows generation {}.",
                units.generation, podman.generation
            ),
        )
        .mend(format!("mcp agent recover {service}")),
    )
}

fn perhaps_removed(service: &ServiceName) -> Verdict {
    Verdict::Left(
        Finding::warning(
            CHECK,
            service.as_str(),
            format!(
                "Only the registry that was restored knows the service: it was removed since, or its files were lost. To be rid of it: mcp undeploy {service}."
            ),
        )
        .mend(format!("mcp agent recover {service}")),
    )
}

/// Returns the name of a service's record in podman's storage.
pub fn record_name(service: &ServiceName) -> String {
    format!("mcp-record-{service}")
}

/// A service with the source that is followed, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The service.
    pub service: ServiceName,
    /// The source that is followed.
    pub from: Source,
    /// What that says.
    pub known: Known,
    /// What the sources say.
    pub seen: Seen,
    /// The files that should be in the unit directories and are not; the link
    /// that a boot follows is one of them.
    pub missing: Vec<String>,
    /// Services that it depends on.
    pub depends_on: Vec<ServiceName>,
    /// Images that podman does not have, each with a component that needs it.
    pub images: Vec<(ComponentName, ImageRef)>,
    /// Components that do not run.
    pub down: Vec<ComponentName>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The service gets its rows in the registry.
    Registry {
        /// The service.
        service: ServiceName,
        /// Where they come from.
        from: Source,
        /// The generation.
        generation: Generation,
    },
    /// Unit files are written.
    Units {
        /// The service.
        service: ServiceName,
        /// Where they come from.
        from: Source,
        /// Those that are missing.
        files: Vec<String>,
    },
    /// The record beside the unit files is written.
    UnitRecord {
        /// The service.
        service: ServiceName,
    },
    /// The record in podman's storage is written.
    PodmanRecord {
        /// The service.
        service: ServiceName,
    },
    /// A record that is left over goes.
    Forget {
        /// The service.
        service: ServiceName,
    },
    /// Images are pulled.
    Pull {
        /// The service.
        service: ServiceName,
        /// The images, each once.
        images: Vec<ImageRef>,
    },
    /// Components are started, in order.
    Start {
        /// The service.
        service: ServiceName,
        /// The components.
        components: Vec<ComponentName>,
    },
}

impl Step {
    /// Returns the service that it is about.
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Registry { service, .. }
            | Self::Units { service, .. }
            | Self::UnitRecord { service }
            | Self::PodmanRecord { service }
            | Self::Forget { service }
            | Self::Pull { service, .. }
            | Self::Start { service, .. } => service,
        }
    }

    /// Returns the kind in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Registry { .. } => "registry",
            Self::Units { .. } => "units",
            Self::UnitRecord { .. } => "unit-record",
            Self::PodmanRecord { .. } => "podman-record",
            Self::Forget { .. } => "forget",
            Self::Pull { .. } => "pull",
            Self::Start { .. } => "start",
        }
    }

    /// Tells whether it only makes a copy of what is known, which nobody needs
    /// to hear of.
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::UnitRecord { .. } | Self::PodmanRecord { .. } | Self::Forget { .. } => true,
            Self::Registry { .. } | Self::Units { .. } | Self::Pull { .. } | Self::Start { .. } => {
                false
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { from, generation, .. } => {
                write!(f, "write generation {generation} into the registry, from {from}")
            }
            Self::Units { from, files, .. } => {
                write!(f, "write {} from {from}", files.join(", "))
            }
            Self::UnitRecord { .. } => f.write_str("write the record beside the unit files"),
            Self::PodmanRecord { .. } => f.write_str("write the record into podman's storage"),
            Self::Forget { .. } => {
                f.write_str("remove what is left in podman's storage of a removed service")
            }
            Self::Pull { images, .. } => {
                let names: Vec<&str> = images.iter().map(ImageRef::as_str).collect();
                write!(f, "pull {}", names.join(", "))
            }
            Self::Start { components, .. } => {
                let names: Vec<&str> = components.iter().map(ComponentName::as_str).collect();
                write!(f, "start {}", names.join(", "))
            }
        }
    }
}

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starting {
    /// What something was lost of, and what depends on that: the rest a person
    /// may have stopped.
    Rescued,
    /// Everything that should run.
    All,
}

/// Everything to do, and what is left to a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rescue {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// What a person has to decide or bring.
    pub left: Vec<Finding>,
}

/// Plans what brings services back: files first, then images, then starts,
/// each service after those that it depends on. The images come the other way
/// round: systemd starts a service by itself once what it depends on is up,
/// and its own have to be there by then.
pub fn plan(cases: &[Case], starting: Starting) -> Rescue {
    let mut rescue = Rescue::default();
    for case in cases {
        rescue.steps.extend(writing(case));
    }
    let order = in_order(cases);
    for case in order.iter().rev().filter(|case| case.known.active) {
        let mut images: Vec<ImageRef> = Vec::new();
        for (component, image) in &case.images {
            if image.is_local() {
                rescue.left.push(local_image(&case.service, component, image));
            } else if !images.contains(image) {
                images.push(image.clone());
            }
        }
        if !images.is_empty() {
            rescue.steps.push(Step::Pull { service: case.service.clone(), images });
        }
    }
    rescue.steps.extend(starts(&order, starting));
    rescue
}

fn local_image(service: &ServiceName, component: &ComponentName, image: &ImageRef) -> Finding {
    Finding::failed(
        CHECK,
        format!("{service}/{component}"),
        format!(
            "The image {image} was only in this node's storage, and is gone; no image registry has it."
        ),
    )
    .mend(format!("podman load -i FILE; mcp start {service}"))
}

fn writing(case: &Case) -> Vec<Step> {
    let Case { service, from, known, seen, missing, .. } = case;
    let service = || service.clone();
    let mut steps = Vec::new();
    if *from != Source::Registry {
        let (from, generation) = (*from, known.generation);
        steps.push(Step::Registry { service: service(), from, generation });
    }
    if !missing.is_empty() {
        steps.push(Step::Units { service: service(), from: *from, files: missing.clone() });
    }
    let same = |other: &Option<Known>| {
        other.as_ref().is_some_and(|other| {
            other.generation == known.generation && other.content == known.content
        })
    };
    if !same(&seen.units) {
        steps.push(Step::UnitRecord { service: service() });
    }
    let stands = seen.podman.as_ref().is_some_and(|podman| podman.active == known.active);
    if !same(&seen.podman) || !stands {
        steps.push(Step::PodmanRecord { service: service() });
    }
    steps
}

/// Returns the cases, each after those that it depends on.
fn in_order(cases: &[Case]) -> Vec<&Case> {
    let edges: BTreeMap<ServiceName, Vec<ServiceName>> =
        cases.iter().map(|case| (case.service.clone(), case.depends_on.clone())).collect();
    let layers = crate::definition::graph::layers(&edges).into_iter().flatten();
    layers.filter_map(|service| cases.iter().find(|case| case.service == service)).collect()
}

/// `cases` are in order.
fn starts(cases: &[&Case], starting: Starting) -> Vec<Step> {
    let mut rescued: BTreeSet<&ServiceName> = cases
        .iter()
        .filter(|case| {
            starting == Starting::All || !case.missing.is_empty() || !case.images.is_empty()
        })
        .map(|case| &case.service)
        .collect();
    // What depends on them was not started either.
    loop {
        let more: Vec<&ServiceName> = cases
            .iter()
            .filter(|case| !rescued.contains(&case.service))
            .filter(|case| case.depends_on.iter().any(|needed| rescued.contains(needed)))
            .map(|case| &case.service)
            .collect();
        if more.is_empty() {
            break;
        }
        rescued.extend(more);
    }
    let mut steps = Vec::new();
    for case in cases {
        if !case.known.active || !rescued.contains(&case.service) {
            continue;
        }
        let lost = |component: &ComponentName| {
            case.images.iter().any(|(needs, image)| needs == component && image.is_local())
        };
        let components: Vec<ComponentName> =
            case.down.iter().filter(|component| !lost(component)).cloned().collect();
        if !components.is_empty() {
            steps.push(Step::Start { service: case.service.clone(), components });
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(generation: u64, content: u8) -> Known {
        Known {
            generation: Generation(generation),
            active: true,
            content: vec![content],
            at_ms: 10,
        }
    }

    fn service(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    fn verdict(seen: &Seen, worth: &Worth, named: bool) -> String {
        match judge(&service("web"), seen, worth, named) {
            Verdict::Follow(source) => source.to_string(),
            Verdict::Forget => "forget".to_owned(),
            Verdict::Left(finding) => finding.message,
        }
    }

    /// Registry, unit record, podman's record; 0: not there.
    fn seen(registry: u64, units: u64, podman: u64) -> Seen {
        let source = |generation| (generation > 0).then(|| known(generation, 1));
        Seen {
            registry: source(registry),
            units: source(units),
            files: units > 0,
            podman: source(podman),
        }
    }

    #[test]
    fn any_one_source_is_enough_and_a_newer_one_wins() {
        let (registry, units, podman) = ("the registry", "the unit files", "podman's storage");
        let whole = Worth::default();
        let empty = Worth { registry_was_empty: true, ..Worth::default() };
        for (seen, worth, expected) in [
            (seen(3, 3, 3), &whole, registry),
            (seen(3, 0, 0), &whole, registry),
            (seen(0, 3, 0), &empty, units),
            (seen(0, 0, 3), &empty, podman),
            (seen(0, 3, 3), &empty, units),
            (seen(3, 0, 3), &whole, registry),
            (seen(3, 3, 0), &whole, registry),
            // A registry that was restored is behind.
            (seen(2, 3, 3), &whole, units),
            (seen(2, 0, 3), &whole, podman),
            // A deploy that was cut off before it wrote its records.
            (seen(4, 3, 3), &whole, registry),
        ] {
            assert_eq!(verdict(&seen, worth, false), expected, "{seen:?}");
        }
    }

    #[test]
    fn what_is_not_clear_is_left_until_it_is_named() {
        let whole = Worth::default();
        let restored = Worth { restored: true, ..Worth::default() };
        let mut differs = seen(3, 3, 0);
        differs.units = Some(known(3, 2));
        for (seen, worth, word, named) in [
            (seen(0, 0, 3), &whole, "Only podman's storage knows", "podman's storage"),
            (seen(3, 0, 0), &restored, "Only the registry that was restored", "the registry"),
            (seen(0, 2, 3), &whole, "of generation 2, podman's storage", "podman's storage"),
            (differs, &whole, "both say generation 3, and differ", "the registry"),
        ] {
            let left = verdict(&seen, worth, false);
            assert!(left.contains(word), "{left}");
            assert_eq!(verdict(&seen, worth, true), named, "{seen:?}");
        }
        let files = Seen { files: true, ..Seen::default() };
        assert!(verdict(&files, &whole, false).contains("nothing else is known"));
        // Two of three know it: it was not removed.
        assert_eq!(verdict(&seen(3, 0, 3), &restored, false), "the registry");
    }

    #[test]
    fn a_record_that_was_left_over_of_a_removed_service_goes() {
        let removed = |at| Worth {
            registry_was_empty: true,
            removed: BTreeMap::from([(service("web"), at)]),
            ..Worth::default()
        };
        assert_eq!(verdict(&seen(0, 0, 3), &removed(11), false), "forget");
        // It was deployed again since.
        assert_eq!(verdict(&seen(0, 0, 3), &removed(9), false), "podman's storage");
        let known = Worth { registry_was_empty: false, ..removed(11) };
        assert_eq!(verdict(&seen(0, 0, 3), &known, false), "forget");
    }

    fn case(name: &str, depends_on: &[&str]) -> Case {
        Case {
            service: service(name),
            from: Source::Registry,
            known: known(3, 1),
            seen: seen(3, 3, 3),
            missing: Vec::new(),
            depends_on: depends_on.iter().map(|name| service(name)).collect(),
            images: Vec::new(),
            down: vec!["a".parse().unwrap(), "b".parse().unwrap()],
        }
    }

    fn steps(cases: &[Case], starting: Starting) -> Vec<String> {
        let steps = plan(cases, starting).steps;
        steps.iter().map(|step| format!("{}: {step}", step.service())).collect()
    }

    #[test]
    fn files_come_before_images_and_starts_follow_the_dependencies() {
        let mut late = case("late", &["web"]);
        let mut web = case("web", &["base"]);
        web.missing = vec!["web.container".to_owned()];
        web.images = vec![("a".parse().unwrap(), "r.example/web:1".parse().unwrap())];
        let base = case("base", &[]);
        let other = case("other", &[]);
        assert_eq!(
            steps(&[late.clone(), other.clone(), web.clone(), base.clone()], Starting::Rescued),
            [
                "web: write web.container from the registry",
                "web: pull r.example/web:1",
                "web: start a, b",
                "late: start a, b",
            ]
        );
        // systemd starts it by itself once its base is up: its image is there.
        let mut needed = base.clone();
        needed.images = web.images.clone();
        let pulls = steps(&[needed, web.clone()], Starting::Rescued);
        let pulls: Vec<&String> = pulls.iter().filter(|step| step.contains(": pull ")).collect();
        assert_eq!(pulls, ["web: pull r.example/web:1", "base: pull r.example/web:1"]);
        late.known.active = false;
        let mut all = steps(&[late, other, web, base], Starting::All);
        all.retain(|step| step.contains(": start "));
        assert_eq!(all, ["base: start a, b", "other: start a, b", "web: start a, b"]);
    }

    #[test]
    fn an_image_that_nobody_has_is_named_and_its_component_is_not_started() {
        let mut web = case("web", &[]);
        web.images = vec![("a".parse().unwrap(), "localhost/web:1".parse().unwrap())];
        let rescue = plan(std::slice::from_ref(&web), Starting::Rescued);
        assert_eq!(rescue.steps.iter().map(ToString::to_string).collect::<Vec<_>>(), ["start b"]);
        assert_eq!(rescue.left[0].subject, "web/a");
        assert!(rescue.left[0].message.contains("localhost/web:1"), "{rescue:?}");
        assert_eq!(rescue.left[0].mend, "podman load -i FILE; mcp start web");
    }

    #[test]
    fn records_that_are_missing_or_behind_are_written() {
        let mut web = case("web", &[]);
        web.down.clear();
        assert!(steps(std::slice::from_ref(&web), Starting::All).is_empty());
        web.seen = seen(3, 2, 0);
        assert_eq!(
            steps(std::slice::from_ref(&web), Starting::All),
            [
                "web: write the record beside the unit files",
                "web: write the record into podman's storage",
            ]
        );
        web.seen = seen(0, 3, 3);
        web.from = Source::Units;
        assert_eq!(
            steps(&[web], Starting::All),
            ["web: write generation 3 into the registry, from the unit files"]
        );
    }
}
