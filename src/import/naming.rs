//! Names of services and components.

use super::note::{NoteKind, Notes, Place};
use super::values::{label, untaken};
use crate::names::{ComponentName, ServiceName};

/// Makes a service's name of any name, and tells if it is another.
pub(super) fn named(name: &str, place: &Place, notes: &mut Notes) -> ServiceName {
    let plain = label(name);
    let stem: String = plain.chars().take(59).collect();
    let tries = [plain, format!("{}-app", stem.trim_end_matches('-')), "app".to_owned()];
    let found = tries.iter().find_map(|name| name.parse::<ServiceName>().ok());
    #[expect(clippy::expect_used, reason = "app is a label that nobody has reserved")]
    let found = found.expect("app is a name");
    if found.as_str() != name {
        let message = format!("a service cannot be called {name:?}; it is {found} now");
        notes.add(NoteKind::Changed, place, "name", message);
    }
    found
}

/// Returns what names begin with alike, up to a hyphen; a single name is that
/// itself.
pub(super) fn alike(names: &[&str]) -> Option<String> {
    let (first, rest) = names.split_first()?;
    let parts: Vec<&str> = first.split('-').collect();
    (1..=parts.len())
        .rev()
        .map(|n| parts.iter().take(n).copied().collect::<Vec<_>>().join("-"))
        .find(|start| rest.iter().all(|s| s == start || s.starts_with(&format!("{start}-"))))
}

/// Returns the name of a component: without that of its service before it.
pub(super) fn short(
    name: &str,
    service: &ServiceName,
    is_taken: impl Fn(&str) -> bool,
) -> Option<ComponentName> {
    let plain = label(name);
    let short = plain.strip_prefix(&format!("{service}-")).unwrap_or(&plain);
    untaken(label(short), is_taken).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_begin_alike() {
        assert_eq!(alike(&["blog"]).as_deref(), Some("blog"));
        assert_eq!(alike(&["blog-web", "blog-db", "blog"]).as_deref(), Some("blog"));
        assert_eq!(alike(&["my-blog-web", "my-blog-db"]).as_deref(), Some("my-blog"));
        assert_eq!(alike(&["blog", "db"]), None);
        assert_eq!(alike(&[]), None);
        let service: ServiceName = "blog".parse().unwrap();
        assert_eq!(short("blog-db", &service, |_| false).unwrap().as_str(), "db");
        assert_eq!(short("Blog_db", &service, |name| name == "db").unwrap().as_str(), "db-2");
    }

    #[test]
    fn a_name_that_is_taken_by_systemd_is_another() {
        let mut notes = Notes::default();
        let place = Place { file: "f".into(), line: 1, column: 1 };
        for (name, own) in
            [("shop", "shop"), ("My Shop", "my-shop"), ("podman", "podman-app"), ("mcp", "mcp-app")]
        {
            assert_eq!(named(name, &place, &mut notes).as_str(), own);
        }
        assert_eq!(named(&"x-ready".repeat(9), &place, &mut notes).as_str().len(), 63);
        assert_eq!(notes.sorted().len(), 4);
    }
}
