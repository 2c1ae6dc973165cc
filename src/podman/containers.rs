//! Which containers podman has, from the lists that its store keeps.
//!
//! Measured with podman 5.4: `overlay-containers/` in the store holds a
//! directory for each container, `containers.json` and, for those that go with
//! their end (`podman run --rm`, and so every unit), `volatile-containers.json`.
//! Reading the two costs 0.1 ms where `podman ps` costs 60 ms.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A container of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// The name of the image that it was made from; may be empty.
    pub image: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    metadata: String,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default, rename = "image-name")]
    image: String,
}

/// Returns the directory in which a store has its containers.
pub fn directory(store: &Path) -> PathBuf {
    store.join("overlay-containers")
}

/// Lists a store's containers; one that has none has no list.
///
/// # Errors
///
/// A list cannot be read, or is not as known.
pub fn list(store: &Path) -> io::Result<Vec<Stored>> {
    let mut containers = Vec::new();
    for name in ["containers.json", "volatile-containers.json"] {
        let text = match std::fs::read(directory(store).join(name)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let listed: Vec<Listed> = serde_json::from_slice(&text)?;
        containers.extend(listed.into_iter().filter_map(stored));
    }
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(containers)
}

fn stored(listed: Listed) -> Option<Stored> {
    // What podman keeps there is a text of JSON; only the image is of use.
    let metadata: Metadata = serde_json::from_str(&listed.metadata).unwrap_or_default();
    let name = listed.names.into_iter().next()?;
    Some(Stored { name, image: metadata.image })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(list(dir.path()).unwrap(), []);
        let write = |name: &str, text: &str| {
            let path = directory(dir.path());
            std::fs::create_dir_all(&path).unwrap();
            crate::atomic_file::write(&path.join(name), text.as_bytes(), 0o600).unwrap();
        };
        write(
            "containers.json",
            r#"[{"id":"1","names":["stray"],"metadata":"{\"image-name\":\"localhost/a:1\"}"}]"#,
        );
        write("volatile-containers.json", r#"[{"id":"2","names":["shop-api"]},{"id":"3"}]"#);
        let found = list(dir.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["shop-api", "stray"]);
        assert_eq!(found[1].image, "localhost/a:1");
        write("containers.json", "{}");
        assert!(list(dir.path()).is_err());
    }
}
