//! What the journal holds about a unit, divided into its runs.

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The container.
    Container,
    /// Podman, conmon, or the probe.
    Podman,
    /// systemd, about the unit.
    Systemd,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who wrote it.
    pub speaker: Speaker,
    /// The text, harmless to a terminal.
    pub text: String,
}

/// How a process ended, as systemd writes it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an exit status.
    Exited(i32),
    /// By a signal.
    Killed(i32),
}

impl End {
    /// Returns what systemd's `ExecMainCode` (`CLD_*` of `sigaction(2)`) and
    /// `ExecMainStatus` say; none: it has not ended.
    pub fn of(code: Option<i32>, status: i32) -> Option<Self> {
        match code {
            Some(1) => Some(Self::Exited(status)),
            Some(2 | 3) => Some(Self::Killed(status)),
            Some(_) | None => None,
        }
    }
}

/// The lines of a unit by run, the last ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// The last run that failed.
    pub failed: Vec<Said>,
    /// The last run, if it has not failed.
    pub current: Vec<Said>,
}

/// What begins a run.
const BEGIN: &str = "Starting ";
/// What systemd says of one that failed.
const FAILED: &str = "Failed with result '";

impl Journal {
    /// Divides lines, in the order of time, into runs.
    pub fn of(lines: Vec<Said>) -> Self {
        let mut runs: Vec<Vec<Said>> = vec![Vec::new()];
        for line in lines {
            if line.speaker == Speaker::Systemd && line.text.starts_with(BEGIN) {
                runs.push(Vec::new());
            }
            if let Some(run) = runs.last_mut() {
                run.push(line);
            }
        }
        let has_failed = |run: &[Said]| {
            run.iter().any(|said| said.speaker == Speaker::Systemd && said.text.contains(FAILED))
        };
        let current = match runs.last() {
            Some(last) if !has_failed(last) => runs.pop().unwrap_or_default(),
            Some(_) | None => Vec::new(),
        };
        let failed = runs.into_iter().rev().find(|run| has_failed(run)).unwrap_or_default();
        Self { failed, current }
    }

    /// Returns the first line of podman's, of the run that failed, that holds
    /// one of these texts, whatever the case.
    pub fn podman(&self, texts: &[&str]) -> Option<&str> {
        first(&self.failed, Speaker::Podman, texts)
    }

    /// The same for a line of the container's own.
    pub fn container(&self, texts: &[&str]) -> Option<&str> {
        first(&self.failed, Speaker::Container, texts)
    }

    /// The same for a line of systemd's.
    pub fn systemd(&self, texts: &[&str]) -> Option<&str> {
        first(&self.failed, Speaker::Systemd, texts)
    }

    /// Returns what was said last in the run that failed: by the container,
    /// else by podman as an error.
    pub fn last_words(&self) -> Option<&str> {
        let of = |speaker| {
            let lines = self.failed.iter().rev().filter(move |said| said.speaker == speaker);
            lines.map(|said| said.text.trim()).filter(|text| !text.is_empty())
        };
        let error = |text: &&str| text.starts_with("Error") || text.starts_with("error");
        of(Speaker::Container).next().or_else(|| of(Speaker::Podman).find(error))
    }

    /// Returns how the main process of the run that failed ended.
    pub fn end(&self) -> Option<End> {
        let text = self.systemd(&["Main process exited, code="])?;
        let rest = text.split("code=").nth(1)?;
        let (code, rest) = rest.split_once(", status=")?;
        let number = rest.split('/').next()?.parse().ok()?;
        Some(if code == "exited" { End::Exited(number) } else { End::Killed(number) })
    }

    /// Tells whether a check ended the start of the run that failed. One that
    /// waits for a container which ends by itself ends with it, and systemd may
    /// hear of the two in either order.
    pub fn is_check_failed(&self) -> bool {
        let at = |text: &str| {
            let says = |said: &Said| said.speaker == Speaker::Systemd && said.text.contains(text);
            self.failed.iter().position(says)
        };
        let Some(check) = at("Control process exited, code=exited") else { return false };
        let is_first = at("Main process exited").is_none_or(|main| check < main);
        is_first && self.podman(&["the main process has ended"]).is_none()
    }

    /// Returns systemd's word for how the run failed.
    pub fn result(&self) -> Option<&str> {
        self.systemd(&[FAILED])?.split('\'').nth(1)
    }
}

fn first<'a>(lines: &'a [Said], speaker: Speaker, texts: &[&str]) -> Option<&'a str> {
    let holds = |said: &&Said| {
        let text = said.text.to_ascii_lowercase();
        said.speaker == speaker && texts.iter().any(|t| text.contains(&t.to_ascii_lowercase()))
    };
    lines.iter().find(holds).map(|said| said.text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(lines: &[(Speaker, &str)]) -> Journal {
        let said = |(speaker, text): &(Speaker, &str)| Said {
            speaker: *speaker,
            text: (*text).to_owned(),
        };
        Journal::of(lines.iter().map(said).collect())
    }

    #[test]
    fn a_check_that_ends_with_its_container_has_not_failed() {
        use Speaker::{Podman, Systemd};
        let begins = (Systemd, "Starting a.service - a...");
        let control = (Systemd, "a.service: Control process exited, code=exited, status=1/FAILURE");
        let main =
            (Systemd, "a.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED");
        let fails = (Systemd, "a.service: Failed with result 'exit-code'.");
        let probe =
            (Podman, "error: http://127.0.0.1:1/ cannot become ready: the main process has ended");
        let stopped = (Systemd, "a.service: Control process exited, code=killed, status=15/TERM");
        assert!(journal(&[begins, control, main, fails]).is_check_failed());
        assert!(journal(&[begins, control, fails]).is_check_failed());
        assert!(!journal(&[begins, main, control, fails]).is_check_failed());
        assert!(!journal(&[begins, control, main, probe, fails]).is_check_failed());
        assert!(!journal(&[begins, stopped, main, fails]).is_check_failed());
        assert!(!journal(&[begins, main, fails]).is_check_failed());
    }

    #[test]
    fn the_last_run_that_failed_and_the_one_that_goes_on_are_told_apart() {
        use Speaker::{Container, Podman, Systemd};
        let lines = [
            (Systemd, "Starting a.service - a..."),
            (Container, "one"),
            (Systemd, "a.service: Failed with result 'exit-code'."),
            (Systemd, "a.service: Scheduled restart job, restart counter is at 1."),
            (Systemd, "Starting a.service - a..."),
            (Container, "two"),
            (Podman, "conmon 0f <nwarn>: whatever"),
            (Systemd, "a.service: Main process exited, code=killed, status=9/KILL"),
            (Systemd, "a.service: Failed with result 'signal'."),
            (Systemd, "Starting a.service - a..."),
            (Container, "three"),
        ];
        let whole = journal(&lines);
        assert_eq!(whole.last_words(), Some("two"));
        assert_eq!(whole.end(), Some(End::Killed(9)));
        assert_eq!(whole.result(), Some("signal"));
        assert_eq!(whole.current.last().map(|said| said.text.as_str()), Some("three"));
        let ended = journal(&lines[..9]);
        assert_eq!((ended.last_words(), ended.current.len()), (Some("two"), 0));
        assert_eq!(journal(&[]), Journal::default());
        // A container cannot speak for systemd.
        let fake = journal(&[(Container, "a.service: Failed with result 'signal'.")]);
        assert_eq!(fake.failed, []);
    }
}
