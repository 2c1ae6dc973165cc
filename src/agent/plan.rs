//! What a deploy will change: pure, so that the dry run and the deploy
//! cannot differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::definition::service::Strategy;
use crate::deployment::{Container, Deployment, ImageId};
use crate::names::{ComponentName, ContainerName, ImageRef, UnitName};
use crate::quadlet::unit_file::{self, Directive};
use crate::quadlet::{Place, UnitSet, render};

/// How a file differs between two unit sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChangeKind {
    /// Only the new set has it.
    Added,
    /// Both have it, with other directives.
    Changed,
    /// Only the old set has it.
    Removed,
}

/// A file that a deploy touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Where it is.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// How it differs.
    pub kind: FileChangeKind,
    /// Its old text; empty when added.
    pub before: String,
    /// Its new text; empty when removed.
    pub after: String,
}

/// What is done to one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is down and is started.
    Start,
    /// It runs and is restarted.
    Restart,
    /// It runs and is stopped.
    Stop,
    /// It runs, and its new generation is started beside it and takes over.
    Switch,
}

/// One unit that systemd is asked to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Component, as the old or the new generation calls it.
    pub component: ComponentName,
    /// Its container.
    pub container: ContainerName,
    /// What is done.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
}

/// The images that a container was accepted with, would get and has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageState {
    /// The one that its generation was accepted with; none: not known.
    pub recorded: Option<ImageId>,
    /// The one that its name means, or will; none: none that is known.
    pub named: Option<ImageId>,
    /// The one that it runs; none: it does not run.
    pub running: Option<ImageId>,
}

/// A name that means another image than when the service was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// The component.
    pub component: ComponentName,
    /// The name.
    pub image: ImageRef,
    /// What it meant.
    pub before: ImageId,
    /// What it means, or will.
    pub after: ImageId,
}

/// Everything that a deploy changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Files, by name.
    pub files: Vec<FileChange>,
    /// Units: removals first, then in the order of starting.
    pub effects: Vec<Effect>,
    /// Images behind names that stay the same.
    pub images: Vec<ImageChange>,
}

impl Plan {
    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.effects.is_empty() && self.images.is_empty()
    }

    /// Has what would be handed over be restarted, where podman cannot run a
    /// container for the time of a deploy.
    pub fn without_switches(&mut self) {
        for effect in self.effects.iter_mut().filter(|e| e.action == Action::Switch) {
            effect.action = Action::Restart;
            effect.reason.push_str("; this podman cannot hand over, 5.3 and newer can");
        }
    }

    /// Returns the effects of one kind.
    pub fn of(&self, action: Action) -> impl Iterator<Item = &Effect> {
        self.effects.iter().filter(move |e| e.action == action)
    }
}

/// A generation: what runs, and its files.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What runs.
    pub deployment: &'a Deployment,
    /// Its files, as they were accepted.
    pub set: &'a UnitSet,
}

/// What there is on the node before a deploy.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// The generation in force.
    pub accepted: Option<Side<'a>>,
    /// The files on disk; they differ from those where somebody edited or
    /// removed some.
    pub disk: Option<&'a UnitSet>,
    /// The units that run or are about to.
    pub up: &'a BTreeSet<UnitName>,
    /// The images of the new generation's containers.
    pub images: &'a BTreeMap<ContainerName, ImageState>,
}

/// Plans a deploy that has components do no work again which they have `done`,
/// if nothing else has to be done either. Whatever is started needs what it
/// depends on, and that is started with it.
pub fn plan_around(present: Present<'_>, done: &BTreeSet<UnitName>, new: Side<'_>) -> Plan {
    let up = present.up.union(done).cloned().collect();
    let plan = plan(Present { up: &up, ..present }, new);
    if plan.effects.is_empty() { plan } else { self::plan(present, new) }
}

/// Plans the way from what there is to a new generation.
pub fn plan(present: Present<'_>, new: Side<'_>) -> Plan {
    let Present { accepted: old, disk, up, images } = present;
    let files = files(disk, new.set);
    let images = image_changes(images, new.deployment);
    let mut effects = removals(old, new, up);
    if !new.deployment.active {
        effects.extend(stops(new.deployment, up));
        return Plan { files, effects, images };
    }
    for component in new.deployment.layers().iter().flatten() {
        let Some(container) = new.deployment.container(component) else { continue };
        let change = change(present, new, container);
        let (action, reason) = match (up.contains(&container.name.unit()), change) {
            (true, None) => continue,
            (true, Some(why)) => replaced(old, new.deployment, container, why),
            (false, _) if old.is_none_or(|o| o.deployment.container(component).is_none()) => {
                (Action::Start, "new".to_owned())
            }
            (false, _) => (Action::Start, "it does not run".to_owned()),
        };
        effects.push(Effect {
            component: component.clone(),
            container: container.name.clone(),
            action,
            reason,
        });
    }
    let taken_along = joined(new.deployment, &effects, up);
    effects.extend(taken_along);
    Plan { files, effects, images }
}

/// Returns what is made anew because what it lives in is.
fn joined(new: &Deployment, effects: &[Effect], up: &BTreeSet<UnitName>) -> Vec<Effect> {
    let anew =
        |c: &Container| effects.iter().any(|e| e.container == c.name && e.action != Action::Stop);
    let holders = new.containers.iter().filter(|c| anew(c));
    let all = holders.flat_map(|holder| new.joined(holder).map(move |c| (holder, c)));
    all.filter(|(_, c)| !anew(c) && up.contains(&c.name.unit()))
        .map(|(holder, c)| Effect {
            component: c.spec.name.clone(),
            container: c.name.clone(),
            action: Action::Restart,
            reason: format!("it lives in the network of {}, which is made anew", holder.spec.name),
        })
        .collect()
}

/// Returns how a component that runs is made anew.
fn replaced(
    old: Option<Side<'_>>,
    new: &Deployment,
    container: &Container,
    why: String,
) -> (Action, String) {
    let before = old.and_then(|o| o.deployment.container(&container.spec.name));
    match (new.deploy.strategy, container.forwards.is_empty()) {
        (Strategy::Recreate, _) => (Action::Restart, why),
        (Strategy::BlueGreen, true) => {
            (Action::Restart, format!("{why}; it has no ports, so it is recreated"))
        }
        (Strategy::BlueGreen, false)
            if before.is_some_and(|before| before.forwards == container.forwards) =>
        {
            (Action::Switch, why)
        }
        (Strategy::BlueGreen, false) => {
            (Action::Restart, format!("{why}; its ports change hands, so it is recreated"))
        }
    }
}

/// Returns stops for every component that runs.
pub fn stops(deployment: &Deployment, up: &BTreeSet<UnitName>) -> Vec<Effect> {
    deployment
        .layers()
        .iter()
        .rev()
        .flatten()
        .filter_map(|component| deployment.container(component))
        .filter(|c| up.contains(&c.name.unit()))
        .map(|c| Effect {
            component: c.spec.name.clone(),
            container: c.name.clone(),
            action: Action::Stop,
            reason: "the service is stopped".to_owned(),
        })
        .collect()
}

fn removals(old: Option<Side<'_>>, new: Side<'_>, up: &BTreeSet<UnitName>) -> Vec<Effect> {
    let Some(old) = old else { return Vec::new() };
    old.deployment
        .containers
        .iter()
        .filter(|c| {
            new.deployment.containers.iter().all(|n| n.name != c.name)
                && up.contains(&c.name.unit())
        })
        .map(|c| Effect {
            component: c.spec.name.clone(),
            container: c.name.clone(),
            action: Action::Stop,
            reason: "no longer in the definition".to_owned(),
        })
        .collect()
}

/// Returns in what the container itself differs; none when it need not be
/// made anew. What is in `[Unit]` and most of `[Service]` takes effect with
/// the reload alone.
fn change(present: Present<'_>, new: Side<'_>, container: &Container) -> Option<String> {
    let key = (Place::Quadlet, render::container_file(&container.name));
    let text = |set: &UnitSet| set.files.get(&key).map(|text| making(text));
    let after = text(new.set).unwrap_or_default();
    // What was accepted is what was started; an edited file may have been
    // read since, by whoever restarted the unit.
    let accepted = present.accepted.map(|o| text(o.set).unwrap_or_default());
    let edited = present.disk.and_then(text);
    let keys: BTreeSet<&str> = [&accepted, &edited]
        .into_iter()
        .flatten()
        .flat_map(|before| {
            let gone = before.iter().filter(|d| !after.contains(d));
            gone.chain(after.iter().filter(|d| !before.contains(d)))
        })
        .map(|d| d.key.as_str())
        .collect();
    let mut reasons = Vec::new();
    if !keys.is_empty() {
        let keys: Vec<&str> = keys.iter().copied().collect();
        reasons.push(format!("changed: {}", keys.join(", ")));
    }
    if !keys.contains("Image") {
        let state = present.images.get(&container.name);
        reasons.extend(state.and_then(|state| image_change(state, &container.image)));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Tells whether a container that runs has another image than its name means.
fn image_change(state: &ImageState, name: &ImageRef) -> Option<String> {
    let before = state.running.as_ref().or(state.recorded.as_ref())?;
    let after = state.named.as_ref()?;
    (before != after)
        .then(|| format!("{name} is another image: {} -> {}", before.short(), after.short()))
}

/// Returns the names that mean another image than the one on record.
fn image_changes(
    states: &BTreeMap<ContainerName, ImageState>,
    new: &Deployment,
) -> Vec<ImageChange> {
    new.containers
        .iter()
        .filter_map(|container| {
            let state = states.get(&container.name)?;
            let (before, after) = (state.recorded.clone()?, state.named.clone()?);
            (before != after).then(|| ImageChange {
                component: container.spec.name.clone(),
                image: container.image.clone(),
                before,
                after,
            })
        })
        .collect()
}

/// The directives that go into the making of a container.
fn making(text: &str) -> Vec<Directive> {
    unit_file::directives(text)
        .into_iter()
        .filter(|d| d.section == "Container" || (d.section == "Service" && d.key == "Environment"))
        .collect()
}

/// Returns the files in which two sets differ, headings aside.
pub fn files(old: Option<&UnitSet>, new: &UnitSet) -> Vec<FileChange> {
    let none = BTreeMap::new();
    let before = old.map_or(&none, |o| &o.files);
    let keys: BTreeSet<_> = before.keys().chain(new.files.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let (b, a) = (before.get(key), new.files.get(key));
            let kind = match (b, a) {
                (None, _) => FileChangeKind::Added,
                (_, None) => FileChangeKind::Removed,
                (Some(b), Some(a)) if unit_file::body(b) == unit_file::body(a) => return None,
                (Some(_), Some(_)) => FileChangeKind::Changed,
            };
            Some(FileChange {
                place: key.0,
                name: key.1.clone(),
                kind,
                before: b.cloned().unwrap_or_default(),
                after: a.cloned().unwrap_or_default(),
            })
        })
        .collect()
}

/// Gives files that mean the same the old text: its heading names the
/// generation that last changed the file, and a file that is not written
/// wakes nobody.
pub fn keep_unchanged(old: &UnitSet, new: &mut UnitSet) {
    for (key, text) in &mut new.files {
        if let Some(before) = old.files.get(key)
            && unit_file::body(before) == unit_file::body(text)
        {
            text.clone_from(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Leases, NodeFacts, ports, resolve};
    use crate::names::Generation;
    use crate::quadlet::{PodmanVersion, Renderer};

    fn made(text: &str) -> (Deployment, UnitSet) {
        let service = crate::definition::load(text).unwrap();
        let (range, none) = (20_000..=20_999, BTreeSet::new());
        let leases = ports::lease(&service, &Leases::new(), &none, &range, |_| true).unwrap();
        let d = resolve(&service, &NodeFacts::default(), &leases, None, Generation(1)).unwrap();
        let set =
            Renderer::new(PodmanVersion::USUAL, "/a", &[]).unwrap().render(&d, "s.toml").unwrap();
        (d, set)
    }

    const TWO: &str = "name = \"s\"\n[[components]]\nname = \"web\"\nimage = \"i:1\"\ndepends_on = [\"api\"]\n[[components]]\nname = \"api\"\nimage = \"i:1\"\n";

    #[test]
    fn what_lives_in_the_network_of_another_is_made_anew_with_it() {
        let inside = TWO.replacen(
            "depends_on",
            "extra.Container.Network = \"s-api.container\"\ndepends_on",
            1,
        );
        let up = ["s-api.service", "s-web.service"];
        let changed =
            inside.replace("name = \"api\"\nimage = \"i:1\"", "name = \"api\"\nimage = \"i:2\"");
        let along = "Restart s-web (it lives in the network of api, which is made anew)";
        assert_eq!(shown(Some(&inside), &changed, &up), ["Restart s-api (changed: Image)", along]);
        assert_eq!(shown(Some(&inside), &inside, &up), Vec::<String>::new());
        assert_eq!(
            shown(Some(&inside), &inside, &up[1..]),
            ["Start s-api (it does not run)", along]
        );
    }

    fn shown(old: Option<&str>, new: &str, up: &[&str]) -> Vec<String> {
        shown_with(old, new, up, &BTreeMap::new())
    }

    fn shown_with(
        old: Option<&str>,
        new: &str,
        up: &[&str],
        images: &BTreeMap<ContainerName, ImageState>,
    ) -> Vec<String> {
        let old = old.map(made);
        let new = made(new);
        let up: BTreeSet<UnitName> = up.iter().map(|u| UnitName::from_systemd(*u)).collect();
        let accepted = old.as_ref().map(|(deployment, set)| Side { deployment, set });
        let present = Present { accepted, disk: old.as_ref().map(|(_, set)| set), up: &up, images };
        let plan = plan(present, Side { deployment: &new.0, set: &new.1 });
        plan.effects
            .iter()
            .map(|e| format!("{:?} {} ({})", e.action, e.container, e.reason))
            .collect()
    }

    #[test]
    fn a_new_service_starts_in_order() {
        assert_eq!(shown(None, TWO, &[]), ["Start s-api (new)", "Start s-web (new)"]);
    }

    #[test]
    fn only_what_changed_is_restarted() {
        let up = ["s-api.service", "s-web.service"];
        assert_eq!(shown(Some(TWO), TWO, &up), Vec::<String>::new());
        let image = TWO.replacen("i:1", "i:2", 1);
        assert_eq!(shown(Some(TWO), &image, &up), ["Restart s-web (changed: Image)"]);
        let restart = TWO.replacen("i:1\"", "i:1\"\nrestart = \"no\"", 1);
        assert_eq!(shown(Some(TWO), &restart, &up), Vec::<String>::new());
        assert_eq!(shown(Some(TWO), TWO, &up[1..]), ["Start s-api (it does not run)"]);
    }

    #[test]
    fn a_check_from_the_node_changes_without_a_restart_and_podmans_does_not() {
        let up = ["s-api.service", "s-web.service"];
        let with = |check: &str| {
            let port = "image = \"i:1\"\nports = [\"80:80\"]\nhealth = ";
            format!("{}\n{port}{check}\n", TWO.trim_end().strip_suffix("image = \"i:1\"").unwrap())
        };
        let tcp = with("{ tcp = 80 }");
        for other in [
            with("{ http = \"/\" }"),
            with("{ tcp = 80, interval = \"9s\" }"),
            with("{ tcp = 80, on_failure = \"stop\" }"),
        ] {
            assert_eq!(shown(Some(&tcp), &other, &up), Vec::<String>::new());
            assert!(!files(Some(&made(&tcp).1), &made(&other).1).is_empty(), "{other}");
        }
        let cmd = with("{ cmd = [\"x\"] }");
        let slower = with("{ cmd = [\"x\"], interval = \"40s\" }");
        assert_eq!(shown(Some(&cmd), &slower, &up), ["Restart s-api (changed: HealthInterval)"]);
        let acting = with("{ cmd = [\"x\"], on_failure = \"restart\" }");
        assert_eq!(shown(Some(&cmd), &acting, &up), Vec::<String>::new());
    }

    #[test]
    fn blue_green_hands_over_where_the_ports_stay_and_says_where_not() {
        let blue = "name = \"s\"\n[deploy]\nstrategy = \"blue-green\"\n\
            [[components]]\nname = \"web\"\nimage = \"i:1\"\nports = [\"80:80\"]\nhealth = { tcp = 80 }\n\
            [[components]]\nname = \"job\"\nimage = \"i:1\"\n";
        let up = ["s-web.service", "s-job.service"];
        let both = blue.replace("i:1", "i:2");
        assert_eq!(
            shown(Some(blue), &both, &up),
            [
                "Restart s-job (changed: Image; it has no ports, so it is recreated)",
                "Switch s-web (changed: Image)"
            ]
        );
        assert_eq!(shown(Some(blue), &both, &up[1..])[1], "Start s-web (it does not run)");
        assert_eq!(shown(Some(blue), &blue.replace("80:80", "127.0.0.1:80:80"), &up), [""; 0]);
        let hands =
            "Restart s-web (changed: PublishPort; its ports change hands, so it is recreated)";
        assert_eq!(shown(Some(blue), &blue.replace("80:80", "81:80"), &up), [hands]);
        let plain = blue.replace("[deploy]\nstrategy = \"blue-green\"\n", "");
        assert_eq!(shown(Some(&plain), blue, &up), [hands]);
        assert_eq!(shown(Some(blue), &plain, &up), ["Restart s-web (changed: PublishPort)"]);
    }

    #[test]
    fn what_is_gone_is_stopped_first_and_a_stopped_service_stops_backwards() {
        let up = ["s-api.service", "s-web.service"];
        let one = "name = \"s\"\n[[components]]\nname = \"new\"\nimage = \"i:1\"\n";
        assert_eq!(
            shown(Some(TWO), one, &up),
            [
                "Stop s-web (no longer in the definition)",
                "Stop s-api (no longer in the definition)",
                "Start s-new (new)"
            ]
        );
        let stopped = format!("active = false\n{TWO}");
        assert_eq!(
            shown(Some(TWO), &stopped, &up),
            ["Stop s-web (the service is stopped)", "Stop s-api (the service is stopped)"]
        );
    }

    #[test]
    fn files_that_are_gone_are_written_again_without_a_restart_and_edited_ones_with() {
        let (deployment, set) = made(TWO);
        let up: BTreeSet<UnitName> = deployment.containers.iter().map(|c| c.name.unit()).collect();
        let side = Side { deployment: &deployment, set: &set };
        let images = BTreeMap::new();
        let present = Present { accepted: Some(side), disk: None, up: &up, images: &images };
        let gone = plan(present, side);
        assert_eq!((gone.files.len(), gone.effects.len()), (set.files.len(), 0));
        let mut edited = set.clone();
        for text in edited.files.values_mut() {
            *text = text.replace("StopTimeout=10", "StopTimeout=11");
        }
        let edited = plan(Present { disk: Some(&edited), ..present }, side);
        assert_eq!((edited.files.len(), edited.of(Action::Restart).count()), (2, 2));
    }

    #[test]
    fn a_name_that_means_another_image_restarts_what_runs_the_old_one() {
        let up = ["s-api.service", "s-web.service"];
        let id = |digit: &str| Some(digit.repeat(64).parse::<ImageId>().unwrap());
        let (service, web) = ("s".parse().unwrap(), "web".parse().unwrap());
        let with = |recorded, running, named| {
            let state = ImageState { recorded, named, running };
            let images = BTreeMap::from([(ContainerName::new(&service, &web), state)]);
            shown_with(Some(TWO), TWO, &up, &images)
        };
        let restart = "Restart s-web (i:1 is another image: aaaaaaaaaaaa -> bbbbbbbbbbbb)";
        assert_eq!(with(id("a"), id("a"), id("b")), [restart]);
        assert_eq!(with(None, id("a"), id("b")), [restart]);
        assert_eq!(with(id("a"), None, id("b")), [restart]);
        // Somebody restarted it, or nothing is known.
        assert_eq!(with(id("a"), id("b"), id("b")), [""; 0]);
        assert_eq!(with(id("a"), id("a"), None), [""; 0]);
        // A name that is new in the definition says enough.
        let state = ImageState { running: id("a"), named: id("b"), recorded: None };
        let images = BTreeMap::from([(ContainerName::new(&service, &web), state)]);
        let other = TWO.replacen("i:1", "i:2", 1);
        assert_eq!(shown_with(Some(TWO), &other, &up, &images), ["Restart s-web (changed: Image)"]);
    }

    #[test]
    fn what_is_on_record_is_brought_up_to_date_without_a_restart() {
        let (deployment, set) = made(TWO);
        let side = Side { deployment: &deployment, set: &set };
        let up: BTreeSet<UnitName> = deployment.containers.iter().map(|c| c.name.unit()).collect();
        let id = |digit: &str| Some(digit.repeat(64).parse::<ImageId>().unwrap());
        let state = ImageState { recorded: id("a"), named: id("b"), running: id("b") };
        let images = BTreeMap::from([(deployment.containers[0].name.clone(), state)]);
        let present = Present { accepted: Some(side), disk: Some(&set), up: &up, images: &images };
        let plan = plan(present, side);
        assert_eq!((plan.files.len(), plan.effects.len(), plan.images.len()), (0, 0, 1));
        assert!(!plan.is_empty());
    }

    #[test]
    fn a_file_that_means_the_same_keeps_its_text() {
        let (_, old) = made(TWO);
        let mut new = old.clone();
        for text in new.files.values_mut() {
            *text = text.replace("generation 1", "generation 2");
        }
        keep_unchanged(&old, &mut new);
        assert_eq!(old, new);
    }
}
