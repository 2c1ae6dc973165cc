//! Which images podman has, and which of them its containers were made from,
//! from the lists that its store keeps.
//!
//! Measured with podman 5.4: `overlay-images/images.json` in the store holds
//! every image with its names; `overlay-containers/containers.json` and, of
//! containers that go when they end, `volatile-containers.json` hold every
//! container with its image. Reading them costs 0.1 ms where `podman image
//! exists` costs 40 ms. The store may be elsewhere (`storage.conf(5)`), and
//! there may be others beside it: what is not found here is podman's to say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::command::{self, PodmanError};
use crate::deployment::ImageId;
use crate::names::{ContainerName, ImageRef};

#[derive(Deserialize)]
struct ListedImage {
    id: String,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default, rename = "big-data-names")]
    data: Vec<String>,
}

impl ListedImage {
    /// Returns the digest of the manifest that came last. An image that was
    /// built here and then pulled has one manifest of its own, which no image
    /// registry knows, and then the registry's.
    fn digest(&self) -> Option<String> {
        let mut manifests = self.data.iter().filter_map(|name| name.strip_prefix("manifest-"));
        let last = manifests.rfind(|manifest| manifest.starts_with("sha256:"));
        last.or(self.digest.as_deref()).filter(|digest| !digest.is_empty()).map(str::to_owned)
    }
}

#[derive(Deserialize)]
struct ListedContainer {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Podman's number of it.
    pub id: ImageId,
    /// Digest of its manifest, if podman knows one.
    pub digest: Option<String>,
}

/// What the store holds at one moment.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    by_name: BTreeMap<String, StoredImage>,
    digests: BTreeMap<ImageId, Option<String>>,
    containers: BTreeMap<String, ImageId>,
}

impl Stored {
    /// Reads the lists of the user's own store; empty where there are none.
    pub async fn read() -> Self {
        match own_store(|name| std::env::var_os(name)) {
            Some(store) => Self::read_at(&store).await,
            None => Self::default(),
        }
    }

    async fn read_at(store: &Path) -> Self {
        let mut stored = Self::default();
        for image in list::<ListedImage>(&directory(store).join("images.json")).await {
            let Ok(id) = image.id.parse::<ImageId>() else { continue };
            let found = StoredImage { id, digest: image.digest() };
            stored.digests.insert(found.id.clone(), found.digest.clone());
            stored.by_name.extend(image.names.into_iter().map(|name| (name, found.clone())));
        }
        for file in ["containers.json", "volatile-containers.json"] {
            let path = store.join("overlay-containers").join(file);
            for container in list::<ListedContainer>(&path).await {
                let Ok(id) = container.image.parse::<ImageId>() else { continue };
                stored.containers.extend(container.names.into_iter().map(|n| (n, id.clone())));
            }
        }
        stored
    }

    /// Returns the image that a name means now; none if the lists do not have
    /// it.
    pub fn listed(&self, name: &ImageRef) -> Option<&StoredImage> {
        self.by_name.get(&name.listed_name())
    }

    /// Returns the digest of an image's manifest, if the lists have it.
    pub fn digest_of(&self, id: &ImageId) -> Option<&String> {
        self.digests.get(id)?.as_ref()
    }

    /// Returns the image that a name means now; podman is asked if the lists
    /// do not have it. None: it is not there.
    ///
    /// # Errors
    ///
    /// [`PodmanError`]
    pub async fn image(&self, name: &ImageRef) -> Result<Option<StoredImage>, PodmanError> {
        match self.listed(name) {
            Some(found) => Ok(Some(found.clone())),
            None => command::image_inspect(name.as_str()).await,
        }
    }

    /// Tells whether an image is there, whatever its name.
    ///
    /// # Errors
    ///
    /// [`PodmanError`]
    pub async fn has(&self, id: &ImageId) -> Result<bool, PodmanError> {
        Ok(self.digests.contains_key(id) || command::image_inspect(id.as_str()).await?.is_some())
    }

    /// Returns the image that a container was made from; none if the lists
    /// have no such container.
    pub fn image_of(&self, container: &ContainerName) -> Option<&ImageId> {
        self.containers.get(container.as_str())
    }
}

/// Returns the user's store where podman puts it unless told otherwise;
/// `variable` reads the environment.
pub fn own_store(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")))?;
    Some(data.join("containers/storage"))
}

/// Returns the directory in which a store has its images.
pub fn directory(store: &Path) -> PathBuf {
    store.join("overlay-images")
}

/// Tells whether a store lists an image under this very name. `false` means
/// that it is not known.
pub async fn is_listed(store: &Path, image: &ImageRef) -> bool {
    let images = list::<ListedImage>(&directory(store).join("images.json")).await;
    images.iter().flat_map(|i| &i.names).any(|name| name == image.as_str())
}

/// Reads one of the store's lists; empty if there is none that can be read.
async fn list<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let Ok(text) = tokio::fs::read(path).await else { return Vec::new() };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::debug!(path = %path.display(), %error, "a list of podman's store is not as known");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::atomic_file::write(path, text.as_bytes(), 0o600).unwrap();
    }

    #[tokio::test]
    async fn only_a_name_that_is_listed_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let listed = async |name: &str| is_listed(dir.path(), &name.parse().unwrap()).await;
        assert!(!listed("localhost/lab/web:v1").await);
        let list = dir.path().join("overlay-images/images.json");
        write(&list, r#"[{"id":"1","names":["localhost/lab/web:v1","localhost/a:2"]},{"id":"2"}]"#);
        assert!(listed("localhost/lab/web:v1").await);
        assert!(listed("localhost/a:2").await);
        assert!(!listed("localhost/lab/web:v2").await);
        write(&list, "{}");
        assert!(!listed("localhost/lab/web:v1").await);
    }

    #[tokio::test]
    async fn names_and_containers_lead_to_images() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = ("0a".repeat(32), "0b".repeat(32));
        write(
            &dir.path().join("overlay-images/images.json"),
            &format!(
                r#"[{{"id":"{old}","digest":"sha256:a","big-data-names":["manifest-sha256:a","sha256:x","manifest-sha256:b","manifest"]}},{{"id":"{new}","digest":"sha256:c","names":["localhost/a:latest"]}}]"#
            ),
        );
        write(
            &dir.path().join("overlay-containers/volatile-containers.json"),
            &format!(r#"[{{"id":"1","names":["web"],"image":"{old}"}},{{"id":"2","image":""}}]"#),
        );
        let stored = Stored::read_at(dir.path()).await;
        let image = stored.image(&"localhost/a".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((image.id.as_str(), image.digest.as_deref()), (&*new, Some("sha256:c")));
        let old_id = old.parse().unwrap();
        assert!(stored.has(&old_id).await.unwrap());
        assert_eq!(stored.digest_of(&old_id).map(String::as_str), Some("sha256:b"));
        let container =
            |name: &str| ContainerName::new(&name.parse().unwrap(), &name.parse().unwrap());
        assert_eq!(stored.image_of(&container("web")).map(ImageId::as_str), Some(&*old));
        assert_eq!(stored.image_of(&container("api")), None);
    }

    #[test]
    fn the_store_is_in_the_data_directory() {
        let with = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, OsString)> =
                pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
            own_store(|name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
        };
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("HOME", "/h")]), path("/h/.local/share/containers/storage"));
        let both = [("HOME", "/h"), ("XDG_DATA_HOME", "/d")];
        assert_eq!(with(&both), path("/d/containers/storage"));
        let empty = [("HOME", "/h"), ("XDG_DATA_HOME", "")];
        assert_eq!(with(&empty), path("/h/.local/share/containers/storage"));
    }
}
