//! Containers that are called alike, such as `blog`, `blog-app` and `blog-db`:
//! what `mcp adopt blog` takes over.

/// Returns a container's name without what podman's generator puts before it
/// where a file gives none (`podman-systemd.unit(5)`, `ContainerName=`).
pub fn plain(container: &str) -> &str {
    container.strip_prefix("systemd-").unwrap_or(container)
}

/// Tells whether a container's name is that of a family, or begins with it.
pub fn is_of(family: &str, container: &str) -> bool {
    begins(plain(container), family)
}

/// Returns for each of these containers, in turn, how all of them begin that
/// go with it, in whole words: `blog` for `blog-app` and `blog-db`. Its own
/// name is returned where a beginning is `taken`.
pub fn beginnings(containers: &[&str], taken: impl Fn(&str) -> bool) -> Vec<String> {
    let names: Vec<&str> = containers.iter().map(|name| plain(name)).collect();
    let first = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
    let common = |name: &&str| {
        let mut common = *name;
        for other in names.iter().filter(|other| first(other) == first(name)) {
            while !begins(other, common) {
                common = common.rsplit_once('-').map_or("", |(shorter, _)| shorter);
            }
        }
        (if taken(common) { *name } else { common }).to_owned()
    };
    names.iter().map(common).collect()
}

fn begins(whole: &str, with: &str) -> bool {
    whole.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_called_alike() {
        for name in ["web", "web-db", "systemd-web", "systemd-web-db", "web-"] {
            assert!(is_of("web", name), "{name}");
        }
        for name in ["webb", "my-web", "web_db", "systemd-other", ""] {
            assert!(!is_of("web", name), "{name}");
        }
    }

    #[test]
    fn what_goes_together_begins_alike() {
        let found =
            |containers: &[&str], ours: &[&str]| beginnings(containers, |n| ours.contains(&n));
        assert_eq!(found(&["web", "web-db", "webmail"], &[]), ["web", "web", "webmail"]);
        assert_eq!(found(&["blog-app", "systemd-blog-db"], &[]), ["blog", "blog"]);
        assert_eq!(found(&["my-blog-app", "my-blog-db"], &[]), ["my-blog", "my-blog"]);
        assert_eq!(found(&["my-blog-app", "my-blog-db", "my-x"], &[]), ["my", "my", "my"]);
        assert_eq!(found(&["alone-1"], &[]), ["alone-1"]);
        assert_eq!(found(&["web-a", "web-b"], &["web"]), ["web-a", "web-b"]);
        assert_eq!(found(&["-", "", "--"], &[]), ["", "", ""]);
    }
}
