//! One command and its answer.

use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Seconds that any command may take: some do fifty deploys.
const DEADLINE_S: &str = "600";

thread_local! {
    /// The last answer that this test got.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Returns what the last command of this test answered, for whoever waited
/// in vain for another answer.
pub fn last_answer() -> String {
    LAST.with_borrow(Clone::clone)
}

/// The answer of a command.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was run.
    pub command: String,
    /// Its exit status; -1 when a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, out, err } = self;
        write!(f, "{command}\n--- exit code {code}\n{out}--- standard error\n{err}---")
    }
}

impl Answer {
    /// Runs a command with its standard input.
    pub fn of(command: &mut Command, input: &str) -> Self {
        let name = format!("{command:?}");
        let mut bounded = Command::new("timeout");
        bounded.args(["-k", "5", DEADLINE_S]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => bounded.env(key, value),
                None => bounded.env_remove(key),
            };
        }
        bounded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = bounded.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            // A command need not read what it is given.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            child.wait_with_output().unwrap()
        });
        let answer = Self {
            command: name,
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        LAST.set(format!("{answer:?}"));
        answer
    }

    /// Demands an exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert!(self.code == code, "not exit code {code}: {self:?}");
        self
    }

    /// Demands success.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Demands a text in what a person sees.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text) || self.err.contains(text), "no {text:?}: {self:?}");
        self
    }

    /// Demands that a text is nowhere.
    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        assert!(!self.out.contains(text) && !self.err.contains(text), "{text:?}: {self:?}");
        self
    }

    /// Returns standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.out) {
            Ok(value) => value,
            Err(error) => panic!("no JSON ({error}): {self:?}"),
        }
    }

    /// Returns standard output without the blanks around it.
    pub fn text(&self) -> &str {
        self.out.trim()
    }
}
