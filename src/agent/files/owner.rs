//! Whose the files are to be. Pure.

use std::path::Path;

use crate::definition::service::{Component, MountSource};
use crate::names::ComponentName;
use crate::transfer::{Ids, UserText};

/// Where the owner is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnerSource {
    /// `user[:group]` as the component sees it; none: the image's.
    pub user: Option<String>,
    /// The image, where it must be asked; none: there is nothing to ask.
    pub image: Option<String>,
    /// The mode of the component's user namespace.
    pub userns: Option<String>,
}

/// Why it is not clear whose the files are to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerChoiceError {
    /// There is no such component.
    #[error("service has no component {component}; it has {}", known.join(", "))]
    NoComponent {
        /// What was asked for.
        component: ComponentName,
        /// What there is.
        known: Vec<String>,
    },
    /// Several components, whose users may not be the same.
    #[error("the components {} may have different users: their users, images or user namespaces differ; say whose it is with SERVICE/COMPONENT, or with --owner", among.join(", "))]
    Several {
        /// The components.
        among: Vec<String>,
    },
    /// Nobody knows the numbers before the container runs.
    #[error(
        "component {component} has userns = \"auto\": podman picks its numbers when it starts; give --owner as `podman unshare` counts"
    )]
    Automatic {
        /// The component.
        component: ComponentName,
    },
}

/// A component, and the image that it runs.
pub type Candidate<'a> = (&'a Component, Option<String>);

/// Returns the components that mount a path, or something above or below it.
pub fn mounting<'a, 'c>(path: &Path, all: &'a [Candidate<'c>]) -> Vec<&'a Candidate<'c>> {
    let mounts = |component: &Component| {
        component.volumes.iter().any(|mount| match &mount.source {
            MountSource::Path(source) => {
                let source = Path::new(source);
                path.starts_with(source) || source.starts_with(path)
            }
            MountSource::Volume(_) => false,
        })
    };
    all.iter().filter(|(component, _)| mounts(component)).collect()
}

/// Chooses whose the files at a path are to be: the component that was named,
/// else those that mount it, else all of the service, if they agree.
///
/// # Errors
///
/// [`OwnerChoiceError`]
pub fn choose(
    path: &Path,
    named: Option<&ComponentName>,
    all: &[Candidate<'_>],
) -> Result<OwnerSource, OwnerChoiceError> {
    let among: Vec<&Candidate<'_>> = match named {
        Some(one) => all.iter().filter(|(component, _)| component.name == *one).collect(),
        None => Some(mounting(path, all))
            .filter(|some| !some.is_empty())
            .unwrap_or(all.iter().collect()),
    };
    let mut found: Option<OwnerSource> = None;
    for (component, image) in &among {
        if component.userns.as_deref().is_some_and(|mode| mode.starts_with("auto")) {
            return Err(OwnerChoiceError::Automatic { component: component.name.clone() });
        }
        let source = source(component, image.as_ref());
        if found.as_ref().is_some_and(|other| *other != source) {
            return Err(several(&among));
        }
        found = Some(source);
    }
    match (found, named) {
        (Some(found), _) => Ok(found),
        (None, Some(one)) => Err(no_component(one, all)),
        (None, None) => Ok(OwnerSource { user: Some("0".to_owned()), ..OwnerSource::default() }),
    }
}

/// Returns the owner that was asked for: names and the mode of the user
/// namespace are those of the component that it would be without being asked.
///
/// # Errors
///
/// It has names, or a number without its group, and it is not clear of which
/// image; or there is no such component.
pub fn given(
    text: &str,
    user: &UserText,
    (path, named): (&Path, Option<&ComponentName>),
    all: &[Candidate<'_>],
) -> Result<OwnerSource, OwnerChoiceError> {
    let among: Vec<&Candidate<'_>> = match named {
        Some(one) => all.iter().filter(|(component, _)| component.name == *one).collect(),
        None => mounting(path, all),
    };
    if let (Some(one), true) = (named, among.is_empty()) {
        return Err(no_component(one, all));
    }
    let modes: Vec<_> = among.iter().map(|(component, _)| component.userns.as_deref()).collect();
    if modes.iter().any(|mode| Some(mode) != modes.first()) {
        return Err(several(&among));
    }
    let image = match (user.numbers(), among.as_slice()) {
        (Some(_), _) | (None, []) => None,
        (None, [(_, image), rest @ ..]) => {
            if rest.iter().any(|(_, other)| other != image) {
                return Err(several(&among));
            }
            image.clone()
        }
    };
    // What podman picks later is not looked at: these are numbers already.
    let userns = modes.first().copied().flatten().filter(|mode| !mode.starts_with("auto"));
    Ok(OwnerSource { user: Some(text.to_owned()), image, userns: userns.map(str::to_owned) })
}

fn several(among: &[&Candidate<'_>]) -> OwnerChoiceError {
    OwnerChoiceError::Several { among: among.iter().map(|(c, _)| c.name.to_string()).collect() }
}

fn no_component(one: &ComponentName, all: &[Candidate<'_>]) -> OwnerChoiceError {
    let known = all.iter().map(|(component, _)| component.name.to_string()).collect();
    OwnerChoiceError::NoComponent { component: one.clone(), known }
}

fn source(component: &Component, image: Option<&String>) -> OwnerSource {
    let user = component.user.clone();
    let known = user.as_ref().and_then(|user| user.parse::<UserText>().ok()?.numbers());
    OwnerSource {
        image: image.filter(|_| known.is_none()).cloned(),
        user,
        userns: component.userns.clone(),
    }
}

/// Returns the numbers in the user's namespaces, as `podman unshare` counts,
/// of what a component sees as `ids`; `own` is the agent's user.
///
/// `podman-run(1)`, `--userns`: `keep-id` puts the user of the host at the same
/// number or a given one, `nomap` leaves it out.
pub fn in_user_namespace(ids: Ids, userns: Option<&str>, own: Ids) -> Ids {
    let (mode, options) =
        userns.unwrap_or_default().split_once(':').unwrap_or((userns.unwrap_or_default(), ""));
    let option = |name: &str, default: u32| {
        options
            .split(',')
            .find_map(|option| option.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            .unwrap_or(default)
    };
    match mode {
        "keep-id" => Ids {
            user: moved(ids.user, option("uid", own.user)),
            group: moved(ids.group, option("gid", own.group)),
        },
        "nomap" => Ids { user: ids.user.saturating_add(1), group: ids.group.saturating_add(1) },
        _ => ids,
    }
}

/// The number that is kept is 0 of the user's namespaces, and those before it
/// make room.
fn moved(id: u32, kept: u32) -> u32 {
    match id.cmp(&kept) {
        std::cmp::Ordering::Less => id + 1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition;

    fn service(components: &str) -> definition::Service {
        definition::load(&format!("name = \"web\"\n{components}")).unwrap()
    }

    fn candidates(service: &definition::Service) -> Vec<Candidate<'_>> {
        service.components.iter().map(|c| (c, c.image.as_ref().map(ToString::to_string))).collect()
    }

    const TWO: &str = "[[components]]\nname = \"db\"\nimage = \"a.b/db:1\"\nuser = \"postgres\"
volumes = [\"/srv/web/db:/data\"]\n[[components]]\nname = \"app\"\nimage = \"a.b/app:1\"\nuser = \"7:8\"
volumes = [\"/srv/web/conf:/conf:ro\"]\n";

    #[test]
    fn who_mounts_it_owns_it() {
        let service = service(TWO);
        let all = candidates(&service);
        let user = |path: &str, named: Option<&str>| {
            let named = named.map(|name| name.parse().unwrap());
            choose(Path::new(path), named.as_ref(), &all)
        };
        let db = OwnerSource {
            user: Some("postgres".to_owned()),
            image: Some("a.b/db:1".to_owned()),
            userns: None,
        };
        let app = OwnerSource { user: Some("7:8".to_owned()), image: None, userns: None };
        assert_eq!(user("/srv/web/db/x", None), Ok(db.clone()));
        assert_eq!(user("/srv/web/conf", None), Ok(app.clone()));
        assert_eq!(user("/srv/web/conf", Some("db")), Ok(db));
        assert_eq!(user("/srv/web/config", Some("app")), Ok(app));
        let several = user("/srv/web", None).unwrap_err().to_string();
        assert!(several.contains("db, app"), "{several}");
        assert!(user("/srv/web/elsewhere", None).is_err());
        assert!(user("/srv/web/x", Some("none")).is_err());
        assert_eq!(choose(Path::new("/srv/web"), None, &[]).unwrap().user.as_deref(), Some("0"));
        let names: Vec<_> =
            mounting(Path::new("/srv/web"), &all).iter().map(|(c, _)| c.name.to_string()).collect();
        assert_eq!(names, ["db", "app"]);
    }

    #[test]
    fn an_automatic_namespace_has_no_numbers_yet() {
        let service =
            service("[[components]]\nname = \"a\"\nimage = \"a.b/c:1\"\nuserns = \"auto\"\n");
        assert!(matches!(
            choose(Path::new("/srv/web/x"), None, &candidates(&service)),
            Err(OwnerChoiceError::Automatic { .. })
        ));
    }

    #[test]
    fn numbers_move_as_podman_maps_them() {
        let own = Ids { user: 850, group: 860 };
        let at = |user, group, mode| {
            let Ids { user, group } = in_user_namespace(Ids { user, group }, mode, own);
            (user, group)
        };
        assert_eq!(at(0, 0, None), (0, 0));
        assert_eq!(at(33, 33, None), (33, 33));
        assert_eq!(at(850, 860, Some("keep-id")), (0, 0));
        assert_eq!(at(0, 0, Some("keep-id")), (1, 1));
        assert_eq!(at(849, 900, Some("keep-id")), (850, 900));
        assert_eq!(at(999, 999, Some("keep-id:uid=999,gid=999")), (0, 0));
        assert_eq!(at(5, 1000, Some("keep-id:uid=999,gid=999")), (6, 1000));
        assert_eq!(at(0, 5, Some("nomap")), (1, 6));
    }
}
