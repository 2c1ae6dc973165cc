//! Tests of the unit store, in temporary directories.

use std::os::unix::fs::symlink;

use super::*;

fn service() -> ServiceName {
    "web".parse().unwrap()
}

fn set(wanted: bool, files: &[(Place, &str, &str)]) -> UnitSet {
    let mut set = UnitSet::new(service(), wanted);
    for (place, name, text) in files {
        set.files.insert((*place, (*name).to_owned()), (*text).to_owned());
    }
    set
}

fn first() -> UnitSet {
    set(
        true,
        &[
            (Place::Quadlet, "web.container", "[Container]\nImage=a\n"),
            (Place::Quadlet, "web.image", "[Image]\nImage=a\n"),
            (Place::Systemd, "web.target", "[Unit]\n"),
            (Place::Systemd, "web-ready.target", "[Unit]\n"),
        ],
    )
}

fn second() -> UnitSet {
    set(
        false,
        &[
            (Place::Quadlet, "web.container", "[Container]\nImage=b\n"),
            (Place::Systemd, "web.target", "[Unit]\n"),
        ],
    )
}

fn paths(installed: Installed) -> Vec<String> {
    match installed {
        Installed::Changed(paths) => {
            paths.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        }
        Installed::Unchanged => Vec::new(),
    }
}

fn listing(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        entries(directory).unwrap().into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    atomic_file::write(path, text.as_bytes(), 0o644).unwrap();
}

#[test]
fn installs_then_changes_then_removes() {
    let dir = tempfile::tempdir().unwrap();
    let store = UnitStore::new(dir.path());
    let changed = paths(store.install(&first(), None).unwrap());
    assert_eq!(
        changed,
        ["web.container", "web.image", "web-ready.target", "web.target", "web.target"]
    );
    let link = dir.path().join("systemd/user/mcp.target.wants/web.target");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../web.target"));
    assert!(link.is_file());
    assert_eq!(store.install(&first(), Some(&first())).unwrap(), Installed::Unchanged);
    assert_eq!(store.install(&first(), None).unwrap(), Installed::Unchanged);
    assert_eq!(store.read(&service()).unwrap().unwrap(), OnDisk { set: first(), foreign: vec![] });
    assert_eq!(store.services().unwrap(), [service()]);

    let changed = paths(store.install(&second(), Some(&first())).unwrap());
    assert_eq!(changed, ["web.container", "web.image", "web-ready.target", "web.target"]);
    assert!(!link.is_symlink());
    assert_eq!(store.read(&service()).unwrap().unwrap().set, second());
    assert_eq!(listing(&dir.path().join("containers/.mcp-staging")), [""; 0]);

    write(&store.staging.join("check-web-1-2/0/x.container"), "left by a crash");
    store.clean().unwrap();
    store.clean().unwrap();
    assert!(!store.staging.exists());
    assert!(matches!(store.remove(&service(), &second()).unwrap(), Removed::Removed(_)));
    assert_eq!(store.remove(&service(), &second()).unwrap(), Removed::Absent);
    assert_eq!(store.read(&service()).unwrap(), None);
    assert_eq!(listing(store.quadlet_root()), [""; 0]);
}

#[test]
fn what_a_person_put_there_is_never_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = UnitStore::new(dir.path());
    store.install(&first(), None).unwrap();
    let live = store.service_directory(&service());
    write(&live.join("web.container.d/10-memory.conf"), "[Container]\nMemory=1g\n");
    write(&live.join("NOTES"), "mine");
    write(&live.join("debug.container"), "[Container]\nImage=busybox\n");
    assert_eq!(store.install(&first(), Some(&first())).unwrap(), Installed::Unchanged);
    store.install(&second(), Some(&first())).unwrap();
    let all = ["NOTES", "debug.container", "web.container", "web.container.d"];
    assert_eq!(listing(&live), all);
    assert!(live.join("web.container.d/10-memory.conf").is_file());
    store.remove(&service(), &second()).unwrap();
    assert_eq!(listing(&live), ["NOTES", "debug.container", "web.container.d"]);
    assert_eq!(fs::read(live.join("NOTES")).unwrap(), b"mine");
}

#[test]
fn repeating_mends_what_a_crash_left_at_any_step() {
    let crashes: [fn(&UnitStore); 5] = [
        // while staging
        |store| write(&store.staging.join("web/web.container"), "[Contai"),
        // after the swap, before the old one was thrown away
        |store| {
            let live = store.service_directory(&service());
            write(&store.staging.join("web/web.container"), "[Container]\nImage=b\n");
            exchange(&store.staging.join("web"), &live).unwrap();
        },
        // between two targets
        |store| {
            store.install(&second(), Some(&first())).unwrap();
            write(&store.systemd_root.join("web-ready.target"), "[Unit]\n");
        },
        // while writing a target or the link
        |store| {
            write(&store.systemd_root.join("web.target"), "");
            symlink("x", store.systemd_root.join("mcp.target.wants/.mcp-link.tmp")).unwrap();
        },
        // the live directory is gone
        |store| fs::remove_dir_all(store.service_directory(&service())).unwrap(),
    ];
    for (number, crash) in crashes.iter().enumerate() {
        for goal in [first(), second()] {
            let dir = tempfile::tempdir().unwrap();
            let store = UnitStore::new(dir.path());
            store.install(&first(), None).unwrap();
            crash(&store);
            store.install(&goal, Some(&first())).unwrap();
            let disk = store.read(&service()).unwrap().unwrap();
            assert_eq!(disk, OnDisk { set: goal.clone(), foreign: vec![] }, "crash {number}");
            assert_eq!(listing(&store.staging), [""; 0], "crash {number}");
            assert_eq!(store.install(&goal, Some(&first())).unwrap(), Installed::Unchanged);
        }
    }
}

#[test]
fn symbolic_links_in_our_place_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    write(&elsewhere.path().join("precious"), "x");
    let store = UnitStore::new(dir.path());
    fs::create_dir_all(store.quadlet_root()).unwrap();
    symlink(elsewhere.path(), store.service_directory(&service())).unwrap();
    let error = store.install(&first(), None).unwrap_err();
    assert!(matches!(error, UnitsError::NotADirectory { .. }), "{error}");
    assert!(store.read(&service()).is_err());
    fs::remove_dir_all(store.quadlet_root()).unwrap();
    symlink(elsewhere.path(), store.quadlet_root()).unwrap();
    assert!(store.install(&first(), None).is_err());
    fs::remove_file(store.quadlet_root()).unwrap();
    fs::create_dir_all(store.systemd_root()).unwrap();
    symlink(elsewhere.path(), store.systemd_root().join("mcp.target.wants")).unwrap();
    assert!(store.install(&first(), None).is_err());
    assert_eq!(listing(elsewhere.path()), ["precious"]);
}

#[test]
fn a_symbolic_link_in_place_of_a_file_is_replaced_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let store = UnitStore::new(dir.path());
    store.install(&first(), None).unwrap();
    let victim = dir.path().join("victim");
    write(&victim, "x");
    let files = [
        store.service_directory(&service()).join("web.container"),
        store.systemd_root().join("web.target"),
    ];
    for file in &files {
        fs::remove_file(file).unwrap();
        symlink(&victim, file).unwrap();
    }
    store.install(&first(), Some(&first())).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"x");
    assert!(files.iter().all(|file| file.symlink_metadata().unwrap().is_file()));
}

#[test]
fn names_cannot_leave_their_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = UnitStore::new(dir.path());
    for name in ["../evil", "", ".hidden", "a/b"] {
        let bad = set(true, &[(Place::Quadlet, name, "x")]);
        assert!(matches!(store.install(&bad, None), Err(UnitsError::Name { .. })), "{name}");
    }
    assert_eq!(listing(dir.path()), [""; 0]);
}

#[test]
fn node_units_are_wanted_at_boot() {
    let dir = tempfile::tempdir().unwrap();
    let store = UnitStore::new(dir.path());
    let files = [("mcp.target".to_owned(), "[Unit]\n".to_owned())];
    assert!(matches!(store.install_node_units(&files).unwrap(), Installed::Changed(_)));
    assert_eq!(store.install_node_units(&files).unwrap(), Installed::Unchanged);
    assert!(store.systemd_root().join("default.target.wants/mcp.target").is_file());
}

#[test]
fn a_file_system_that_cannot_swap_gets_the_files_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = UnitStore::new(dir.path());
    store.install(&first(), None).unwrap();
    let live = store.service_directory(&service());
    write(&live.join("web.container.d/x.conf"), "[Container]\n");
    let slot = dir.path().join("slot");
    let second = second();
    let new: BTreeMap<&str, &str> = second.of(Place::Quadlet).collect();
    let ours = Contents::load(&live).unwrap().ours(&new, Some(&first()));
    stage(&slot, &new, &["web.container.d".to_owned()], &live).unwrap();
    replace_one_by_one(&slot, &live, &ours).unwrap();
    assert_eq!(listing(&live), ["web.container", "web.container.d"]);
    assert_eq!(fs::read(live.join("web.container")).unwrap(), b"[Container]\nImage=b\n");
}
