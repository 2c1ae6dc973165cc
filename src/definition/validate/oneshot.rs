//! The rules of a component that runs to its end.

use std::time::Duration;

use super::Checker;
use crate::definition::{model, values};

/// How long it may take where nothing is said about it.
const TIMEOUT: Duration = Duration::from_secs(3600);

impl Checker<'_> {
    /// Returns the time that a component has to end, if it is to.
    pub(super) fn oneshot(&mut self, at: &str, c: &model::Component) -> Option<Duration> {
        let timeout = match c.oneshot.as_ref()? {
            model::Oneshot::Flag(false) => return None,
            model::Oneshot::Flag(true) => TIMEOUT,
            model::Oneshot::Full(table) => match &table.timeout {
                None => TIMEOUT,
                Some(text) => {
                    let path = format!("{at}.oneshot.timeout");
                    self.keep(&path, values::duration(text)).unwrap_or(TIMEOUT)
                }
            },
        };
        if timeout < Duration::from_secs(1) {
            let path = format!("{at}.oneshot.timeout");
            self.complain(&path, "at least one second, or it could never end in time");
        }
        if matches!(c.restart.as_deref(), Some("always" | "unless-stopped")) {
            self.complain(
                &format!("{at}.restart"),
                "a oneshot component ends by itself and is not started again then; write \"no\" or \"on-failure\"",
            );
        }
        for (key, given, why) in [
            ("health", c.health.is_some(), "is ready once it has ended, so nothing can check it"),
            ("schedule", c.schedule.is_some(), "does not go on running, so nothing can run in it"),
        ] {
            if given {
                let message = format!("a oneshot component {why}; take one of the two out");
                self.complain(&format!("{at}.{key}"), message);
            }
        }
        Some(timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::definition::service::Restart;

    fn told(keys: &str) -> Result<(Option<Duration>, Restart), Vec<String>> {
        let text = format!("name = \"s\"\n[[components]]\nname = \"a\"\nimage = \"i:1\"\n{keys}\n");
        match crate::definition::load(&text) {
            Ok(service) => Ok((service.components[0].oneshot, service.components[0].restart)),
            Err(error) => Err(error.diagnostics.iter().map(|m| m.message.clone()).collect()),
        }
    }

    #[test]
    fn what_runs_to_its_end_has_an_hour_and_is_not_started_again() {
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(told(""), Ok((None, Restart::Always)));
        assert_eq!(told("oneshot = false"), Ok((None, Restart::Always)));
        assert_eq!(told("oneshot = true"), Ok((hour, Restart::No)));
        assert_eq!(told("oneshot = {}\nrestart = \"on-failure\""), Ok((hour, Restart::OnFailure)));
        let minute = Some(Duration::from_secs(60));
        assert_eq!(told("oneshot = { timeout = \"1m\" }"), Ok((minute, Restart::No)));
    }

    #[test]
    fn what_goes_on_running_is_refused_beside_it() {
        for (keys, part) in [
            ("restart = \"always\"", "ends by itself"),
            ("restart = \"unless-stopped\"", "ends by itself"),
            ("health = { cmd = \"true\" }", "ready once it has ended"),
            (
                "schedule = [{ name = \"x\", on_calendar = \"daily\", cmd = [\"x\"] }]",
                "does not go on running",
            ),
        ] {
            let mistakes = told(&format!("oneshot = true\n{keys}")).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].contains(part), "{mistakes:?}");
        }
        assert!(told("oneshot = { timeout = \"500ms\" }").unwrap_err()[0].contains("one second"));
    }
}
