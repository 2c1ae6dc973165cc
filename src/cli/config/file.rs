//! The config file as it is written.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::cli::snippet::{InvalidFile, Mistake};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// `[services]`.
    #[serde(default)]
    pub services: ServicesTable,
    /// `[auth]`.
    #[serde(default)]
    pub auth: AuthTable,
    /// `[[nodes]]`.
    #[serde(default)]
    pub nodes: Vec<Spanned<NodeTable>>,
}

/// `[services]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesTable {
    /// Where the service definitions are.
    pub dir: Option<PathBuf>,
}

/// `[auth]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthTable {
    /// The file that holds the token.
    pub token_path: Option<PathBuf>,
}

/// One of `[[nodes]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeTable {
    /// Its name, unique.
    pub name: Spanned<String>,
    /// `host:port` of its agent.
    pub address: Option<Spanned<String>>,
    /// Where else its agent answers, tried in order.
    #[serde(default)]
    pub addresses: Vec<Spanned<String>>,
    /// The SHA-256 fingerprint of its certificate.
    pub fingerprint: Option<Spanned<String>>,
    /// A file of certificates that may have signed its certificate.
    pub ca_cert: Option<Spanned<PathBuf>>,
    /// The Unix socket of an agent on this machine.
    pub socket: Option<Spanned<PathBuf>>,
    /// The file that holds the token for this node.
    pub token_path: Option<Spanned<PathBuf>>,
}

/// Reads the text of a config file.
///
/// # Errors
///
/// The first mistake, with its place and the likely spelling.
pub fn parse(path: &Path, text: &str) -> Result<ConfigFile, InvalidFile> {
    toml::from_str(text).map_err(|error| InvalidFile {
        path: path.to_owned(),
        text: text.to_owned(),
        mistakes: vec![Mistake {
            span: error.span().unwrap_or(0..0),
            message: error.message().trim_end().to_owned(),
            help: likely(error.message()),
        }],
    })
}

/// Finds the likely spelling in serde's message, ``unknown field `x`, expected
/// one of `a`, `b` ``.
fn likely(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    rest.split('`')
        .skip(1)
        .step_by(2)
        .map(|known| (strsim::normalized_damerau_levenshtein(unknown, known), known))
        .filter(|(score, _)| *score > 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| format!("did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        parse(Path::new("mcp.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_likely_spelling() {
        assert_eq!(
            mistake("[services]\ndri = \"x\"\n"),
            "mcp.toml:2:1: unknown field `dri`, expected `dir` (did you mean `dir`?)"
        );
        assert_eq!(
            mistake("[[nodes]]\nname = \"a\"\nfingerprnt = \"x\"\n"),
            "mcp.toml:3:1: unknown field `fingerprnt`, expected one of `name`, `address`, \
             `addresses`, `fingerprint`, `ca_cert`, `socket`, `token_path` (did you mean `fingerprint`?)"
        );
    }

    #[test]
    fn a_wrong_type_and_broken_toml_have_their_place() {
        insta::assert_snapshot!(mistake("[auth]\ntoken_path = 7\n"), @"mcp.toml:2:14: invalid type: integer `7`, expected path string");
        insta::assert_snapshot!(mistake("[auth\n"), @"mcp.toml:1:6: unclosed table, expected `]`");
    }

    #[test]
    fn a_mistake_is_drawn_with_a_caret() {
        let error = parse(Path::new("mcp.toml"), "[services]\ndri = \"x\"\n").unwrap_err();
        insta::assert_snapshot!(error.drawn(crate::ui::Palette::PLAIN), @r#"
        error: unknown field `dri`, expected `dir`
         --> mcp.toml:2:1
          |
        2 | dri = "x"
          | ^^^
          |
          = help: did you mean `dir`?
        "#);
    }
}
