//! Paths below a directory, checked: they cannot name anything outside it.

use std::fmt;

/// The longest name (`NAME_MAX`, `limits.h`).
const NAME: usize = 255;
/// The longest path; `PATH_MAX` less what may stand before it.
const PATH: usize = 3072;
/// How many directories deep.
const DEPTH: usize = 128;

/// A relative path of plain names: bytes, as Linux has them. It is never
/// absolute and has no `.`, no `..`, no empty name and no control characters.
/// Empty, it is the directory itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Vec<u8>);

/// Says why a path cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It begins with a slash.
    #[error("{0} is absolute; write it relative to the service's data directory")]
    Absolute(String),
    /// It has a name that leads upwards or nowhere.
    #[error("{0} has an empty name, `.` or `..` in it")]
    Dots(String),
    /// A name has characters that are no name's.
    #[error("{0} has control characters in it")]
    Control(String),
    /// It is too long for a file system.
    #[error("{0} is too long: a name has at most 255 bytes, a path 3072, and 128 levels")]
    Long(String),
}

impl TreePath {
    /// Takes a path apart; `.` alone is the directory itself, and slashes at
    /// the end mean nothing.
    ///
    /// # Errors
    ///
    /// [`PathError`]
    pub fn parse(text: &[u8]) -> Result<Self, PathError> {
        if text.first() == Some(&b'/') {
            return Err(PathError::Absolute(shown(text)));
        }
        let end = text.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        let text = text.get(..end).unwrap_or_default();
        if text.is_empty() || text == b"." {
            return Ok(Self::default());
        }
        text.split(|byte| *byte == b'/').try_fold(Self::default(), |path, name| path.join(name))
    }

    /// Returns this path with a name after it.
    ///
    /// # Errors
    ///
    /// [`PathError`]
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        let mut whole = self.0.clone();
        if !whole.is_empty() {
            whole.push(b'/');
        }
        whole.extend_from_slice(name);
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Err(PathError::Dots(shown(&whole)));
        }
        if name.iter().any(u8::is_ascii_control) {
            return Err(PathError::Control(shown(&whole)));
        }
        let path = Self(whole);
        if name.len() > NAME || path.0.len() > PATH || path.names().count() > DEPTH {
            return Err(PathError::Long(shown(&path.0)));
        }
        Ok(path)
    }

    /// Returns this path with another one after it.
    ///
    /// # Errors
    ///
    /// Together they are too long.
    pub fn append(&self, other: &Self) -> Result<Self, PathError> {
        other.names().try_fold(self.clone(), |path, name| path.join(name))
    }

    /// Returns its names from the top.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// Returns the path of the directory it is in, and its name there; none
    /// for the directory itself.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        let name = self.names().next_back()?;
        let above = self.0.len().saturating_sub(name.len() + 1);
        Some((Self(self.0.get(..above).unwrap_or_default().to_vec()), name))
    }

    /// Tells whether it is the directory itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether it is `above`, or below it.
    pub fn is_within(&self, above: &Self) -> bool {
        let mut names = self.names();
        above.names().all(|name| names.next() == Some(name))
    }

    /// Returns its bytes; empty for the directory itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The path for a person: what is no plain text is escaped.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&if self.is_root() { ".".to_owned() } else { shown(&self.0) })
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({self})")
    }
}

/// Returns bytes of a name as text that shows, and cannot act.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<String, PathError> {
        TreePath::parse(text.as_bytes()).map(|path| path.to_string())
    }

    #[test]
    fn paths_are_relative_and_plain() {
        for (text, is) in [("a", "a"), ("a/b.c/", "a/b.c"), (".", "."), ("", "."), ("...", "...")] {
            assert_eq!(parsed(text).as_deref(), Ok(is), "{text}");
        }
        for bad in
            ["/", "/etc/passwd", "..", "a/..", "a//b", "./a", "a/./b", "a\nb", "a\0b", "\u{7f}"]
        {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
        assert!(parsed(&"x".repeat(256)).is_err());
        assert!(parsed(&"x/".repeat(200)).is_err());
        assert!(parsed(&format!("{}/", "x".repeat(250)).repeat(20)).is_err());
        assert_eq!(
            parsed("a\x1b[2J").unwrap_err().to_string(),
            "a\\u{1b}[2J has control characters in it"
        );
        let odd = TreePath::parse(b"caf\xe9").unwrap();
        assert_eq!((odd.to_string().as_str(), odd.as_bytes()), ("caf\\xe9", &b"caf\xe9"[..]));
    }

    #[test]
    fn a_path_is_within_what_it_begins_with() {
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        assert!(path("a/b").is_within(&path("a")) && path("a").is_within(&path(".")));
        assert!(!path("ab").is_within(&path("a")) && !path("a").is_within(&path("a/b")));
        assert_eq!(path("a/b/c").split(), Some((path("a/b"), &b"c"[..])));
        assert_eq!(path("a").split(), Some((path("."), &b"a"[..])));
        assert_eq!(path(".").split(), None);
    }

    proptest! {
        #[test]
        fn no_path_leads_out(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = TreePath::parse(&bytes) {
                for name in path.names() {
                    prop_assert!(!name.is_empty() && name != b"." && name != b"..");
                    prop_assert!(!name.iter().any(|b| *b == 0 || *b == b'/'));
                }
                prop_assert_ne!(path.as_bytes().first(), Some(&b'/'));
                prop_assert_eq!(TreePath::parse(path.as_bytes()).unwrap(), path.clone());
                prop_assert!(!path.to_string().chars().any(char::is_control));
            }
        }

        #[test]
        fn dots_and_slashes_lead_nowhere(text in "[./a]{0,12}") {
            if let Ok(path) = TreePath::parse(text.as_bytes()) {
                prop_assert!(path.names().all(|name| name != b".." && name != b"."));
            } else {
                prop_assert!(text.starts_with('/') || text.contains("//") || text.contains('.'));
            }
        }
    }
}
