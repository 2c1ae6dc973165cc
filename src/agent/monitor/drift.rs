//! How what is differs from what was deployed: the one place that decides it,
//! for `mcp status`, for events and for healing.

use super::seen::ComponentState;
use crate::agent::finding::shell_word;
use crate::names::ServiceName;

/// A kind of difference (`docs/events.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftKind {
    /// It is down and should run.
    Down,
    /// It failed and should run.
    Failed,
    /// A person stopped it, or it ended well by itself.
    StoppedByHand,
    /// It was stopped together with what it requires.
    StoppedWith,
    /// Its check failed, and stopped it as the definition says.
    StoppedByCheck,
    /// It runs and should not.
    Up,
    /// systemd does not know its unit.
    UnitMissing,
    /// Its unit is masked, and cannot be started.
    Masked,
    /// A file differs from the one that was deployed.
    FileEdited,
    /// A file is gone.
    FileRemoved,
    /// A file is there that was not deployed.
    FileAdded,
    /// A drop-in changes a unit.
    DropIn,
    /// podman reads another file in the place of one.
    Shadowed,
    /// systemd has not read the files as they are.
    NotReloaded,
    /// The service would, or would not, come with a boot.
    BootLink,
    /// A container runs that belongs to no service.
    UnknownContainer,
    /// The image's name stands for another image than the one that runs.
    OtherImage,
    /// What holds a port of a blue-green component is down.
    ClosedPort,
    /// A container still stands in for a component: a hand-over was not
    /// finished.
    LeftOver,
}

impl DriftKind {
    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Failed => "failed",
            Self::StoppedByHand => "stopped_by_hand",
            Self::StoppedWith => "stopped_with",
            Self::StoppedByCheck => "stopped_by_check",
            Self::Up => "up",
            Self::UnitMissing => "unit_missing",
            Self::Masked => "masked",
            Self::FileEdited => "file_edited",
            Self::FileRemoved => "file_removed",
            Self::FileAdded => "file_added",
            Self::DropIn => "drop_in",
            Self::Shadowed => "shadowed",
            Self::NotReloaded => "not_reloaded",
            Self::BootLink => "boot_link",
            Self::UnknownContainer => "unknown_container",
            Self::OtherImage => "other_image",
            Self::ClosedPort => "closed_port",
            Self::LeftOver => "left_over",
        }
    }

    /// Tells whether a service that heals itself does something about it.
    /// What a person did in the ways that are theirs stays: a stop, a drop-in,
    /// a mask, a container of their own, an image of another name.
    pub fn heals(self) -> bool {
        match self {
            Self::Down
            | Self::Failed
            | Self::Up
            | Self::UnitMissing
            | Self::FileEdited
            | Self::FileRemoved
            | Self::FileAdded
            | Self::NotReloaded
            | Self::BootLink => true,
            Self::StoppedByHand
            | Self::StoppedWith
            | Self::StoppedByCheck
            | Self::Masked
            | Self::DropIn
            | Self::Shadowed
            | Self::UnknownContainer
            | Self::OtherImage
            | Self::ClosedPort
            | Self::LeftOver => false,
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Its kind.
    pub kind: DriftKind,
    /// What it is about, a unit, a file or a container; with the kind it says
    /// whether two are the same.
    pub subject: String,
    /// What is different, in words.
    pub reason: String,
    /// The command that settles it.
    pub mend: String,
}

/// How a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileDrift {
    /// Its directives differ.
    Edited,
    /// It is gone.
    Removed,
    /// It was not deployed.
    Added,
}

/// What systemd has of a unit's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitFile {
    /// It has read it.
    Known,
    /// There is none, or it cannot be used.
    Unknown,
    /// A person has masked it.
    Masked,
}

/// A component, for what there is to say about its unit.
#[derive(Debug, Clone)]
pub struct Component<'a> {
    /// Its service.
    pub service: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// Whether it is to run.
    pub desired: bool,
    /// Its state.
    pub state: ComponentState,
    /// What systemd has of its file.
    pub file: UnitFile,
    /// How it ended, where it failed.
    pub ended: &'a str,
    /// When it went down well, where it has run since the user's systemd came
    /// up.
    pub stopped_at: Option<&'a str>,
    /// Whether systemd starts it again whenever it ends by itself.
    pub always: bool,
    /// Whether it has ended well by itself.
    pub by_itself: bool,
    /// Why its check stopped it, or finds it unhealthy.
    pub sick: Option<&'a str>,
}

/// Returns how a component's unit differs.
pub fn of_component(component: &Component<'_>) -> Vec<Drift> {
    use ComponentState::{Done, Failed, Missing, Restarting, Running, Starting, Stopped, Stopping};
    let Component { service, unit, .. } = component;
    let drift = |kind, reason: String| Drift {
        kind,
        subject: (*unit).to_owned(),
        reason,
        mend: format!("mcp reconcile {service}"),
    };
    let mut found = Vec::new();
    match (component.desired, component.state) {
        (true, Stopped | Failed) if component.sick.is_some() => {
            let sick = component.sick.unwrap_or_default();
            let mend = format!("mcp start {service}");
            let reason = format!("its check stopped it: {sick}");
            found.push(Drift { mend, ..drift(DriftKind::StoppedByCheck, reason) });
        }
        // It has done its work, and is left at that.
        (true, Stopped) if component.by_itself && !component.always => {}
        (true, Stopped) => found.push(match component.stopped_at {
            Some(at) => drift(DriftKind::StoppedByHand, format!("it was stopped by hand at {at}")),
            None => drift(DriftKind::Down, "it is down and should run".to_owned()),
        }),
        (true, Failed) => {
            let ended = if component.ended.is_empty() { "it failed" } else { component.ended };
            found.push(drift(DriftKind::Failed, format!("it is down and should run: {ended}")));
        }
        (_, Missing) if component.desired => found.push(drift(
            DriftKind::UnitMissing,
            "it is down and should run: systemd does not know its unit".to_owned(),
        )),
        (false, Running | Starting | Restarting) => {
            found.push(drift(DriftKind::Up, "it runs and should not".to_owned()));
        }
        (true, Running | Starting | Restarting | Stopping)
        | (false, Stopped | Failed | Stopping)
        | (_, Missing | Done) => {}
    }
    if component.file == UnitFile::Unknown && component.state != Missing {
        found.push(drift(
            DriftKind::UnitMissing,
            "systemd does not know its unit any more; it could not be started again".to_owned(),
        ));
    }
    if component.file == UnitFile::Masked {
        found.push(Drift {
            mend: format!(
                "systemctl --user unmask {unit} && systemctl --user unmask --runtime {unit}"
            ),
            ..drift(DriftKind::Masked, "its unit is masked; it cannot be started".to_owned())
        });
    }
    found
}

/// Says that a component went down with what it requires, `required`, which is
/// `state`.
pub fn of_stopped_with(service: &str, unit: &str, required: &str, state: &str) -> Drift {
    Drift {
        kind: DriftKind::StoppedWith,
        subject: unit.to_owned(),
        reason: format!("it was stopped with {required}, which it requires and which is {state}"),
        mend: format!("mcp reconcile {service}"),
    }
}

/// Returns how a file of a service differs.
pub fn of_file(service: &str, name: &str, change: FileDrift) -> Drift {
    let (kind, what) = match change {
        FileDrift::Edited => (DriftKind::FileEdited, "was edited"),
        FileDrift::Removed => (DriftKind::FileRemoved, "was removed"),
        FileDrift::Added => {
            (DriftKind::FileAdded, "was added; it is not part of what was deployed")
        }
    };
    Drift {
        kind,
        subject: name.to_owned(),
        reason: format!("{name} {what}"),
        mend: format!("mcp reconcile {service}"),
    }
}

/// Returns what a drop-in means.
pub fn of_drop_in(path: &str) -> Drift {
    Drift {
        kind: DriftKind::DropIn,
        subject: path.to_owned(),
        reason: format!("the drop-in {path} changes it; deploys keep it"),
        mend: format!("rm {path} && systemctl --user daemon-reload"),
    }
}

/// Returns what it means that podman's generator reads the file at a path in
/// the place of `file`, which is ours; `unsaid` is what it does not say.
pub fn of_shadow(file: &str, path: &str, unsaid: &[String]) -> Drift {
    let unsaid = match unsaid {
        [] => String::new(),
        [one] => format!(", and that does not say {one}"),
        [first, ..] => format!(", and that does not say {first} and more"),
    };
    let (from, to) = (shell_word(path), shell_word(&format!("{path}.away")));
    Drift {
        kind: DriftKind::Shadowed,
        subject: path.to_owned(),
        reason: format!("podman reads {path} in the place of MCP's {file}{unsaid}"),
        mend: format!("mv --backup=numbered {from} {to} && systemctl --user daemon-reload"),
    }
}

/// Returns what it means that systemd has not read a unit's files.
pub fn of_unread(unit: &str) -> Drift {
    Drift {
        kind: DriftKind::NotReloaded,
        subject: unit.to_owned(),
        reason: "its files changed since systemd read them".to_owned(),
        mend: "systemctl --user daemon-reload".to_owned(),
    }
}

/// Says that a component that runs cannot be reached at a port: the unit that
/// holds it is down.
pub fn of_closed_port(unit: &str) -> Drift {
    Drift {
        kind: DriftKind::ClosedPort,
        subject: unit.to_owned(),
        reason: format!("{unit} is down, so the component cannot be reached"),
        mend: format!("systemctl --user start {unit}"),
    }
}

/// Says that a container still stands in for a component, `service/component`.
pub fn of_left_over(container: &str, path: &str) -> Drift {
    Drift {
        kind: DriftKind::LeftOver,
        subject: container.to_owned(),
        reason: format!("{container} still stands in for it"),
        mend: format!("mcp restart {path}"),
    }
}

/// Returns what it means that a service's link for the boot is not as it
/// should be.
pub fn of_boot_link(service: &str, wanted: bool) -> Drift {
    let reason = if wanted {
        "it would not start at boot: its link in mcp.target.wants is gone"
    } else {
        "it would start at boot and should not: there is a link in mcp.target.wants"
    };
    Drift {
        kind: DriftKind::BootLink,
        subject: format!("{service}.target"),
        reason: reason.to_owned(),
        mend: format!("mcp reconcile {service}"),
    }
}

/// Returns what a container means that belongs to no service: it begins as all
/// do that go with it, unless it was left by a takeover.
pub fn of_container(name: &str, image: &str, beginning: Option<&str>) -> Drift {
    let (reason, mend) = if let Some(beginning) = beginning {
        // Somebody may need it: what removes it is not for a tired person to
        // paste.
        let mend = match beginning.parse::<ServiceName>() {
            Ok(service) => format!("mcp adopt {service}"),
            Err(_) => format!("podman inspect {name}"),
        };
        let reason = format!(
            "the container {name} ({image}) belongs to no service; adopt it, or remove it with podman"
        );
        (reason, mend)
    } else {
        (format!("the container {name} is what ran before mcp adopt"), format!("podman rm {name}"))
    };
    Drift { kind: DriftKind::UnknownContainer, subject: name.to_owned(), reason, mend }
}

/// Returns what it means that an image's name stands for another image.
pub fn of_image(service: &str, name: &str, runs: &str, named: &str) -> Drift {
    Drift {
        kind: DriftKind::OtherImage,
        subject: name.to_owned(),
        reason: format!("it runs the image {runs}, and {name} means {named} by now"),
        mend: format!("mcp deploy {service}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ComponentState::*;

    fn kinds(desired: bool, state: ComponentState, change: impl Fn(&mut Component<'_>)) -> String {
        let mut component = Component {
            service: "shop",
            unit: "shop-api.service",
            desired,
            state,
            file: if state == Missing { UnitFile::Unknown } else { UnitFile::Known },
            ended: "exit code 1",
            stopped_at: None,
            always: true,
            by_itself: false,
            sick: None,
        };
        change(&mut component);
        let found = of_component(&component);
        found.iter().map(|drift| drift.kind.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn both_directions_and_nothing_on_the_way() {
        for (desired, state, expected) in [
            (true, Running, ""),
            (true, Starting, ""),
            (true, Restarting, ""),
            (true, Stopping, ""),
            (true, Stopped, "down"),
            (true, Failed, "failed"),
            (true, Missing, "unit_missing"),
            (false, Running, "up"),
            (false, Restarting, "up"),
            (false, Stopped, ""),
            (false, Failed, ""),
            (false, Missing, ""),
        ] {
            assert_eq!(kinds(desired, state, |_| {}), expected, "{desired} {state}");
        }
    }

    #[test]
    fn a_stop_by_hand_is_told_apart_and_not_healed() {
        assert_eq!(kinds(true, Stopped, |c| c.stopped_at = Some("now")), "stopped_by_hand");
        assert!(!DriftKind::StoppedByHand.heals());
        assert_eq!(kinds(false, Stopped, |c| c.stopped_at = Some("now")), "");
        let ended = |always: bool| {
            kinds(true, Stopped, |c| {
                (c.stopped_at, c.by_itself, c.always) = (Some("now"), true, always);
            })
        };
        assert_eq!((ended(true).as_str(), ended(false).as_str()), ("stopped_by_hand", ""));
        assert_eq!(kinds(true, Done, |_| {}) + &kinds(false, Done, |_| {}), "");
    }

    #[test]
    fn a_stop_by_its_check_is_told_apart_and_not_healed() {
        for state in [Stopped, Failed] {
            let kinds = kinds(true, state, |c| {
                c.stopped_at = Some("now");
                c.sick = Some("no answer");
            });
            assert_eq!(kinds, "stopped_by_check");
        }
        assert!(!DriftKind::StoppedByCheck.heals());
        assert_eq!(kinds(true, Running, |c| c.sick = Some("no answer")), "");
    }

    #[test]
    fn a_running_unit_without_its_file_is_told() {
        assert_eq!(kinds(true, Running, |c| c.file = UnitFile::Unknown), "unit_missing");
        assert_eq!(kinds(true, Stopped, |c| c.file = UnitFile::Masked), "down masked");
    }

    #[test]
    fn every_drift_has_a_command() {
        let all = [
            of_file("shop", "shop.container", FileDrift::Removed),
            of_drop_in("/a.conf"),
            of_shadow("a.network", "/c/a.network", &["Internal=true".to_owned()]),
            of_unread("shop.service"),
            of_stopped_with("shop", "shop-api.service", "shop/db", "stopped"),
            of_boot_link("shop", true),
            of_container("stray", "busybox", Some("stray")),
            of_image("shop", "localhost/shop:1", "9e9e", "1a1a"),
        ];
        assert!(all.iter().all(|drift| drift.mend.contains(' ') && !drift.reason.ends_with('.')));
    }
}
