//! Escaping: one function for each way in which a unit's value is read.
//!
//! Measured with podman 5.4 and systemd 257. A value of `[Container]` is read
//! twice: podman's generator takes it apart and writes `ExecStart=`, where
//! systemd expands `%` and `$` once more. There are two kinds of keys: those
//! that the generator splits into words ([`word`]), and those that it takes
//! as they are ([`raw`]).

/// A value that cannot be written in a unit file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} cannot be written in a unit: {reason}")]
pub struct EscapeError {
    /// The value.
    pub value: String,
    /// Why.
    pub reason: &'static str,
}

/// Variable that stands for an empty word: podman's generator ends a list of
/// words at an empty one.
pub const EMPTY: &str = "MCP_EMPTY";

/// Variable that stands for a word `;`: systemd takes a lone one for the end
/// of a command.
pub const SEMICOLON: &str = "MCP_SEMICOLON";

/// Writes one word of a key that is split into words: `Exec=`,
/// `Environment=`, `EnvironmentFile=`, `Label=`, `Annotation=`, `Sysctl=`,
/// `LogOpt=`, `PodmanArgs=` (`systemd.syntax(7)`, quoting).
///
/// Quotes are used only where they are needed, so that plain words stay plain.
pub fn word(text: &str) -> String {
    match text {
        "" => return format!("${{{EMPTY}}}"),
        ";" => return format!("${{{SEMICOLON}}}"),
        _ => {}
    }
    let escaped = escaped(text);
    let plain = |c: char| c.is_alphanumeric() || "_-./:=@,+%$~^*?!<>|&()[]{}".contains(c);
    if escaped.chars().all(plain) { escaped } else { format!("\"{escaped}\"") }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => {
                out.extend(format!("\\x{:02x}", u32::from(c)).chars());
            }
            c => out.push(c),
        }
    }
    out
}

/// Writes the value of a key that is taken as it is: `Volume=`, `Network=`,
/// `PublishPort=`, `Image=`, `HostName=`, `Entrypoint=`, `HealthCmd=`, ...
///
/// # Errors
///
/// What has no spelling there: control characters, blanks or quotes at the
/// ends (they are cut off), a backslash at the end (it joins the next line).
pub fn raw(text: &str) -> Result<String, EscapeError> {
    plain_line(text)?;
    if text.starts_with('"') || text.ends_with('"') {
        return Err(EscapeError {
            value: text.to_owned(),
            reason: "it starts or ends with a double quote",
        });
    }
    Ok(text.replace('%', "%%").replace('$', "$$"))
}

/// Writes a value of `[Unit]`, where `%` is special and `$` is not.
///
/// # Errors
///
/// As for [`raw`], quotes aside: systemd keeps them.
pub fn description(text: &str) -> Result<String, EscapeError> {
    plain_line(text)?;
    Ok(text.replace('%', "%%"))
}

/// Writes a word of systemd's own command lines, such as `ExecStartPost=`
/// (`systemd.service(5)`, "COMMAND LINES").
pub fn exec_word(text: &str) -> String {
    match text {
        "" => "\"\"".to_owned(),
        // Quoted it ends no command.
        ";" => "\";\"".to_owned(),
        text => word(text),
    }
}

/// Writes a command line of systemd's own: words as [`exec_word`] has them.
pub fn exec_line(words: &[String]) -> String {
    words.iter().map(|w| exec_word(w)).collect::<Vec<_>>().join(" ")
}

/// Writes a line of a comment: without control characters, which could end
/// it.
pub fn comment(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect::<String>()
        .trim_end_matches('\\')
        .to_owned()
}

fn plain_line(text: &str) -> Result<(), EscapeError> {
    let refuse = |reason| Err(EscapeError { value: text.to_owned(), reason });
    if text.chars().any(char::is_control) {
        return refuse("it holds a control character");
    }
    if text.trim() != text {
        return refuse("it starts or ends with a blank");
    }
    if text.ends_with('\\') {
        return refuse("it ends with a backslash");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadlet::command_line;
    use proptest::prelude::*;

    #[test]
    fn plain_words_stay_plain() {
        assert_eq!(word("--config=/srv/mcq/mcq.toml"), "--config=/srv/mcq/mcq.toml");
        assert_eq!(word("a b"), "\"a b\"");
        assert_eq!(word("100%n $X"), "\"100%%n $$X\"");
        assert_eq!(word(""), "${MCP_EMPTY}");
    }

    #[test]
    fn what_has_no_spelling_is_refused() {
        for bad in ["a\nExecStartPre=/bin/evil", " a", "a ", "a\\", "a\0"] {
            assert!(raw(bad).is_err(), "{bad:?}");
            assert!(description(bad).is_err(), "{bad:?}");
        }
        assert!(raw("\"a").is_err() && raw("a\"").is_err() && description("\"a\"").is_ok());
        assert_eq!(raw("/srv/a b%n$X:/x").unwrap(), "/srv/a b%%n$$X:/x");
        assert!(!comment("a\nb\\").contains(['\n', '\\']));
    }

    proptest! {
        #[test]
        fn a_word_reads_back_as_itself(text in "\\PC*|[\\x01-\\x7f]*|.*") {
            prop_assume!(!text.contains('\0'));
            let line = command_line::words(&word(&text)).unwrap();
            prop_assert_eq!(line, vec![text.clone()]);
            // One word, one line, whatever it holds.
            prop_assert!(!word(&text).contains('\n'));
        }

        #[test]
        fn a_word_of_systemds_own_needs_no_variable(text in "\\PC*|[\\x01-\\x7f]*|;|") {
            let line = exec_word(&text);
            prop_assert!(line != word("") && line != word(";"));
            prop_assert!(line != ";" && !line.contains('\n'));
            prop_assert_eq!(command_line::words(&line).unwrap(), vec![text]);
        }

        #[test]
        fn raw_values_are_one_line(text in ".*") {
            if let Ok(escaped) = raw(&text) {
                prop_assert!(!escaped.contains('\n') && !escaped.ends_with('\\'));
                prop_assert_eq!(escaped.replace("%%", "%").replace("$$", "$"), text);
            }
        }
    }
}
