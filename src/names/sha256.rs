//! SHA-256 sums of files, as they are written and compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-256 as 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Text(String);

/// The text is no SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits")]
pub struct NoSha256;

impl Sha256Text {
    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Writes a SHA-256 in digits.
    pub fn of(digest: &[u8; 32]) -> Self {
        let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        Self(nibbles.filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect())
    }

    /// Returns the first digits, enough for a name.
    pub fn short(&self) -> &str {
        self.0.get(..16).unwrap_or(&self.0)
    }
}

impl fmt::Display for Sha256Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Sha256Text {
    type Err = NoSha256;

    fn from_str(text: &str) -> Result<Self, NoSha256> {
        let text = text.to_ascii_lowercase();
        let digits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if digits { Ok(Self(text)) } else { Err(NoSha256) }
    }
}

impl TryFrom<String> for Sha256Text {
    type Error = NoSha256;

    fn try_from(text: String) -> Result<Self, NoSha256> {
        text.parse()
    }
}

impl From<Sha256Text> for String {
    fn from(text: Sha256Text) -> Self {
        text.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_written_and_read_back() {
        let text = Sha256Text::of(&[0xa5; 32]);
        assert_eq!(text.as_str(), "a5".repeat(32));
        assert_eq!("A5".repeat(32).parse(), Ok(text));
        for bad in ["", "a5", &"g".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            assert_eq!(bad.parse::<Sha256Text>(), Err(NoSha256), "{bad}");
        }
    }
}
