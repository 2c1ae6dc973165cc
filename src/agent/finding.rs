//! One thing that was looked at on the node, and what came of it: what
//! `doctor` and `boot verify` are made of.

/// Returns a word as a shell takes it: quoted where it must be.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@+=:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Fine,
    /// It works, and will not always.
    Warning,
    /// It does not work, or will not after the next boot.
    Failed,
}

impl Level {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, one word for each kind of look, such as `linger`.
    pub check: &'static str,
    /// The service, unit, file or user that it is about; empty: the node.
    pub subject: String,
    /// How bad it is.
    pub level: Level,
    /// What was found, as a full sentence.
    pub message: String,
    /// The command that mends it; empty: nothing to do, or no single command.
    pub mend: String,
}

impl Finding {
    /// Makes a finding that says that all is well.
    pub fn fine(
        check: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Self { check, subject, level: Level::Fine, message, mend: String::new() }
    }

    /// Makes a finding that something will not go well for ever.
    pub fn warning(
        check: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, ..Self::fine(check, subject, message) }
    }

    /// Makes a finding that something does not work.
    pub fn failed(
        check: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { level: Level::Failed, ..Self::fine(check, subject, message) }
    }

    /// Returns it in one line, for where there is room for no more.
    pub fn sentence(&self) -> String {
        let about =
            if self.subject.is_empty() { String::new() } else { format!("{}: ", self.subject) };
        let mend = if self.mend.is_empty() { String::new() } else { format!(" -> {}", self.mend) };
        format!("{about}{}{mend}", self.message)
    }

    /// Adds the command that mends it.
    #[must_use]
    pub fn mend(self, command: impl Into<String>) -> Self {
        Self { mend: command.into(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_command_is_quoted_where_it_must_be() {
        assert_eq!(shell_word("/srv/mcp/a-b@1.service"), "/srv/mcp/a-b@1.service");
        assert_eq!(shell_word("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }
}
