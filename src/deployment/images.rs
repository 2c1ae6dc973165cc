//! Which image each component of a generation runs: its content, where the
//! name may come to mean another one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{ComponentName, ImageRef};

/// The images of one generation, by component. One that was made by an older
/// agent has none.
pub type Images = BTreeMap<ComponentName, Image>;

/// An image that a component runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What the definition calls it.
    pub name: ImageRef,
    /// Podman's number of it.
    pub id: ImageId,
    /// Digest of its manifest, `sha256:...`; none: podman knows none.
    pub digest: Option<String>,
}

impl Image {
    /// Returns the name by which an image registry has this very content;
    /// none for an image that no registry has.
    pub fn by_digest(&self) -> Option<ImageRef> {
        if self.name.is_local() {
            return None;
        }
        format!("{}@{}", self.name.without_tag(), self.digest.as_deref()?).parse().ok()
    }
}

/// A text that is no number of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the number of an image: 64 hexadecimal digits")]
pub struct NotAnImageId(String);

/// Podman's number of an image: the SHA-256 of its configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    /// Returns all 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the 12 digits that podman shows.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for ImageId {
    type Err = NotAnImageId;

    fn from_str(text: &str) -> Result<Self, NotAnImageId> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(hex.to_owned()))
        } else {
            Err(NotAnImageId(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for ImageId {
    type Error = NotAnImageId;

    fn try_from(text: String) -> Result<Self, NotAnImageId> {
        text.parse()
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> String {
        id.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_64_digits() {
        let digits = "9e".repeat(32);
        let id: ImageId = digits.parse().unwrap();
        assert_eq!((id.as_str(), id.short()), (digits.as_str(), "9e9e9e9e9e9e"));
        assert_eq!(format!("sha256:{digits}").parse(), Ok(id));
        for bad in ["", "9e", &"9E".repeat(32), &"9e".repeat(33), &"--".repeat(32)] {
            assert!(bad.parse::<ImageId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_registry_has_an_image_by_its_digest_and_a_local_one_is_nowhere_else() {
        let image = |name: &str, digest: Option<String>| Image {
            name: name.parse().unwrap(),
            id: "9e".repeat(32).parse().unwrap(),
            digest,
        };
        let digest = format!("sha256:{}", "ab".repeat(32));
        let remote = image("r.example:5000/a/b:1", Some(digest.clone()));
        let by_digest = remote.by_digest().unwrap();
        assert_eq!(by_digest.as_str(), format!("r.example:5000/a/b@{digest}"));
        assert_eq!(image("r.example/a:1", None).by_digest(), None);
        assert_eq!(image("localhost/a:1", Some(digest)).by_digest(), None);
    }
}
