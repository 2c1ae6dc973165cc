//! What is known of upgrades, and which program is to run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::names::{ProgramVersion, Sha256Text};

/// A program that came by an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version, as it says itself.
    pub version: ProgramVersion,
    /// The SHA-256 of its file, 64 hexadecimal digits.
    pub sha256: Sha256Text,
    /// The size of its file in octets.
    pub size: u64,
    /// The schema of the registry that it works with.
    pub schema: i64,
    /// The SHA-256 of the installed program when this one came: another one
    /// since then is a package's upgrade.
    pub installed: Sha256Text,
    /// Who sent it.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// A start of a program that is on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The boot that it was in.
    pub boot_id: String,
    /// systemd's number of the run, for its journal; empty: not known.
    pub invocation: String,
    /// The process, which stays the same when the program takes its place; older
    /// agents did not write it down.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Whether the registry was copied first.
    pub copied: bool,
}

impl Begun {
    /// Returns the process of the trial, if it was written down.
    fn process(&self) -> Option<Process> {
        let Self { at_ms, boot_id, invocation: _, pid, copied: _ } = self;
        Some(Process { pid: (*pid)?, boot_id: boot_id.clone(), began_ms: *at_ms })
    }
}

/// The process that a trial was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The boot that it was in.
    pub boot_id: String,
    /// When the program took its place there, in milliseconds since the Unix
    /// epoch.
    pub began_ms: i64,
}

/// A program that is to show that it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The program.
    pub program: Program,
    /// The registry's file, which a return may have to put back.
    pub database: PathBuf,
    /// Its one start, if there was one.
    pub begun: Option<Begun>,
}

/// How an upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The program answered, and runs since.
    Confirmed,
    /// It did not come up, and the program of before runs again.
    Returned,
    /// A package brought a version that is as new.
    Superseded,
    /// Its file is not what it was; the installed program runs.
    Damaged,
}

impl Outcome {
    /// Returns the word that programs and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Returned => "returned",
            Self::Superseded => "superseded",
            Self::Damaged => "damaged",
        }
    }
}

/// The last upgrade that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The program.
    pub program: Program,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in words; empty where it went well.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// systemd's number of its trial; empty: not known.
    pub invocation: String,
    /// The process that its trial was, if it did not come up and that is known.
    #[serde(default)]
    pub process: Option<Process>,
}

/// What is known of upgrades. Fields that a later version adds are passed
/// over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The program that runs in the place of the installed one.
    pub current: Option<Program>,
    /// The one that is to.
    pub trial: Option<Trial>,
    /// What the last upgrade came to.
    pub last: Option<Ended>,
}

/// The installed program, as it sees itself.
#[derive(Debug)]
pub struct Installed<'a> {
    /// Its version.
    pub version: &'a ProgramVersion,
    /// Returns the SHA-256 of its file, if it can be read; that takes a
    /// moment, and is asked only where it matters.
    pub sha256: fn() -> Option<Sha256Text>,
}

/// Which program is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The installed one.
    Installed,
    /// The one that was confirmed.
    Current(Program),
    /// The one whose trial begins now.
    Trial(Program),
}

/// What a start of the installed program does first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The record from now on.
    pub record: Record,
    /// Which program is to run.
    pub choice: Choice,
    /// The trial that ended just now without being confirmed.
    pub failed: Option<Trial>,
}

impl Record {
    /// Ends a trial that began and was not confirmed, gives way to a newer
    /// installed program, and says which program is to run. A new trial is
    /// not begun by this: see [`Record::begin`].
    pub fn settle(mut self, installed: &Installed<'_>, boot_id: &str, now_ms: i64) -> Settled {
        let failed = self.trial.take_if(|trial| trial.begun.is_some());
        if let Some(Trial { program, begun: Some(begun), database: _ }) = &failed {
            let reason = why(begun, boot_id);
            let invocation = begun.invocation.clone();
            self.last = Some(Ended {
                program: program.clone(),
                outcome: Outcome::Returned,
                reason,
                at_ms: now_ms,
                invocation,
                process: begun.process(),
            });
        }
        let older = |program: &Program| {
            *installed.version >= program.version
                && (installed.sha256)().is_some_and(|own| own != program.installed)
        };
        let waiting = self.trial.take_if(|trial| older(&trial.program)).map(|trial| trial.program);
        let gone = waiting.or_else(|| self.current.take_if(|program| older(program)));
        if let Some(program) = gone {
            let reason = format!("the installed mcp-agent is {} now", installed.version);
            self.end(program, Outcome::Superseded, reason, now_ms);
        }
        let choice = match (&self.trial, &self.current) {
            (Some(trial), _) => Choice::Trial(trial.program.clone()),
            (None, Some(program)) => Choice::Current(program.clone()),
            (None, None) => Choice::Installed,
        };
        Settled { record: self, choice, failed }
    }

    /// Writes down that the trial begins.
    #[must_use]
    pub fn begin(mut self, begun: Begun) -> Self {
        if let Some(trial) = &mut self.trial {
            trial.begun = Some(begun);
        }
        self
    }

    /// Gives up a program whose file cannot be used.
    #[must_use]
    pub fn give_up(mut self, reason: String, now_ms: i64) -> Self {
        let program = match self.trial.take() {
            Some(trial) => Some(trial.program),
            None => self.current.take(),
        };
        if let Some(program) = program {
            self.end(program, Outcome::Damaged, reason, now_ms);
        }
        self
    }

    /// Takes the program on trial for the one that runs from now on.
    #[must_use]
    pub fn confirm(mut self, now_ms: i64) -> Self {
        if let Some(Trial { program, begun, database: _ }) = self.trial.take() {
            self.end(program.clone(), Outcome::Confirmed, String::new(), now_ms);
            if let (Some(last), Some(begun)) = (&mut self.last, begun) {
                last.invocation = begun.invocation;
            }
            self.current = Some(program);
        }
        self
    }

    /// Puts a program on trial, in the place of one that has not begun its.
    #[must_use]
    pub fn try_out(mut self, program: Program, database: PathBuf) -> Self {
        self.trial = Some(Trial { program, database, begun: None });
        self
    }

    /// Returns the program on trial, if this is its one start.
    pub fn begun(&self) -> Option<&Program> {
        self.trial.as_ref().filter(|trial| trial.begun.is_some()).map(|trial| &trial.program)
    }

    fn end(&mut self, program: Program, outcome: Outcome, reason: String, at_ms: i64) {
        let invocation = String::new();
        self.last = Some(Ended { program, outcome, reason, at_ms, invocation, process: None });
    }
}

/// Says why a trial ended, as far as the next start can tell.
fn why(begun: &Begun, boot_id: &str) -> String {
    if begun.boot_id == boot_id {
        "it ended, or systemd ended it, before it answered".to_owned()
    } else {
        "the machine went down before it had answered".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(digit: char) -> Sha256Text {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn program(version: &str) -> Program {
        Program {
            version: version.parse().unwrap(),
            sha256: sha('a'),
            size: 4_096,
            schema: 3,
            installed: sha('1'),
            by: "kyle".to_owned(),
            at_ms: 5,
        }
    }

    fn begun() -> Begun {
        Begun {
            at_ms: 6,
            boot_id: "b1".to_owned(),
            invocation: "i1".to_owned(),
            pid: Some(526),
            copied: false,
        }
    }

    fn settle(record: Record, version: &str, sha256: fn() -> Option<Sha256Text>) -> Settled {
        let version = version.parse().unwrap();
        record.settle(&Installed { version: &version, sha256 }, "b1", 9)
    }

    #[test]
    fn a_trial_begins_once_and_then_is_confirmed_or_over() {
        let waiting = Record::default().try_out(program("0.2.0"), "/db".into());
        let first = settle(waiting, "0.1.0", || Some(sha('1')));
        assert_eq!(first.choice, Choice::Trial(program("0.2.0")));
        assert_eq!(first.record.begun(), None);
        let begun = first.record.begin(begun());
        assert_eq!(begun.begun(), Some(&program("0.2.0")));

        let confirmed = begun.clone().confirm(8);
        assert_eq!(confirmed.last.as_ref().unwrap().outcome, Outcome::Confirmed);
        let later = settle(confirmed, "0.1.0", || Some(sha('1')));
        assert_eq!((later.choice, later.failed), (Choice::Current(program("0.2.0")), None));

        let over = settle(begun.clone(), "0.1.0", || Some(sha('1')));
        assert_eq!((over.choice, over.failed), (Choice::Installed, begun.trial));
        let last = over.record.last.unwrap();
        assert_eq!((last.outcome, last.invocation.as_str()), (Outcome::Returned, "i1"));
        let process = Process { pid: 526, boot_id: "b1".to_owned(), began_ms: 6 };
        assert_eq!(last.process, Some(process));
        assert_eq!(over.record.trial, None);
    }

    #[test]
    fn a_failed_trial_goes_back_to_the_upgrade_before_it() {
        let record = Record { current: Some(program("0.2.0")), ..Record::default() };
        let record = record.try_out(program("0.3.0"), "/db".into()).begin(begun());
        let over = settle(record, "0.1.0", || Some(sha('1')));
        assert_eq!(over.choice, Choice::Current(program("0.2.0")));
    }

    #[test]
    fn a_power_loss_in_a_trial_is_told_as_one() {
        let record = Record::default().try_out(program("0.2.0"), "/db".into());
        let lost = Begun { boot_id: "b0".to_owned(), ..begun() };
        let over = settle(record.begin(lost), "0.1.0", || None);
        assert!(over.record.last.unwrap().reason.contains("machine went down"));
    }

    #[test]
    fn a_package_that_is_as_new_wins_and_an_older_one_does_not() {
        let current = Record { current: Some(program("0.2.0")), ..Record::default() };
        for (version, sha256, wins) in [
            ("0.1.0", (|| Some(sha('1'))) as fn() -> Option<Sha256Text>, false),
            ("0.1.5", || Some(sha('2')), false),
            ("0.2.0", || Some(sha('2')), true),
            ("0.3.0", || Some(sha('2')), true),
            // The same file as when the older program was sent on purpose.
            ("0.3.0", || Some(sha('1')), false),
        ] {
            let settled = settle(current.clone(), version, sha256);
            assert_eq!(settled.choice == Choice::Installed, wins, "{version}");
            let told = settled.record.last.is_some_and(|l| l.outcome == Outcome::Superseded);
            assert_eq!(told, wins);
            let waiting = Record::default().try_out(program("0.2.0"), "/db".into());
            assert_eq!(settle(waiting, version, sha256).choice == Choice::Installed, wins);
        }
    }

    #[test]
    fn a_damaged_program_is_given_up() {
        let record = Record { current: Some(program("0.2.0")), ..Record::default() };
        let record = record.give_up("its file has another hash".to_owned(), 9);
        assert_eq!(record.current, None);
        assert_eq!(record.last.unwrap().outcome, Outcome::Damaged);
    }

    #[test]
    fn a_record_of_today_is_read_for_ever_and_more_is_passed_over() {
        let text = r#"{
            "current": {"version": "0.2.0", "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "size": 4096, "schema": 3, "by": "kyle", "at_ms": 5, "later": true,
                "installed": "1111111111111111111111111111111111111111111111111111111111111111"},
            "trial": null, "later": [1],
            "last": {"program": {"version": "0.3.0", "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "size": 4096, "schema": 3, "by": "kyle", "at_ms": 5,
                "installed": "1111111111111111111111111111111111111111111111111111111111111111"},
                "outcome": "returned", "reason": "it ended", "at_ms": 7, "invocation": "i1"}
        }"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record.current, Some(program("0.2.0")));
        assert_eq!(record.last.as_ref().unwrap().process, None);
        let again = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&again).unwrap(), record);
        assert!(serde_json::from_str::<Record>(&text.replace("aaaa", "../.")).is_err());
    }
}
