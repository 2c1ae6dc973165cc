//! What the table `[monitor]` of the configuration decides.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::flap::Limits;
use super::kind::EventKind;

/// How the agent watches, and whom it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorSettings {
    /// Time between two looks at everything.
    pub interval: Span,
    /// The operator's command, in words; empty: none.
    pub alert_command: Vec<String>,
    /// How long after an alert the same is not told again.
    pub cooldown: Span,
    /// How many transitions within the window are still normal.
    pub flap_threshold: u32,
    /// The window.
    pub flap_window: Span,
    /// How long events are kept.
    pub retention: Span,
    /// Who else is told.
    pub webhooks: Vec<Webhook>,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            interval: Span::seconds(60),
            alert_command: Vec::new(),
            cooldown: Span::seconds(15 * 60),
            flap_threshold: 3,
            flap_window: Span::seconds(10 * 60),
            retention: Span::seconds(30 * 24 * 3600),
            webhooks: Vec::new(),
        }
    }
}

impl MonitorSettings {
    /// Returns when a component flaps.
    pub fn limits(&self) -> Limits {
        Limits { threshold: self.flap_threshold, window: self.flap_window.get() }
    }
}

/// An address that events are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where.
    pub url: WebhookUrl,
    /// A file with a bearer token.
    pub token_file: Option<PathBuf>,
    /// Certificates that may have signed the server's; `None`: the system's.
    pub ca_cert: Option<PathBuf>,
    /// Which kinds; empty: those that alerts are about.
    pub kinds: Vec<EventKind>,
}

/// A URL that a webhook can have: `http` or `https`, and a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(http::Uri);

impl WebhookUrl {
    /// Returns the URL.
    pub fn uri(&self) -> &http::Uri {
        &self.0
    }

    /// Tells whether it wants TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is no URL of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a webhook's URL is http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")]
pub struct WebhookUrlError;

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let uri: http::Uri = text.parse().map_err(|_| WebhookUrlError)?;
        let good = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            // Who logs in does so with a token.
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if good { Ok(Self(uri)) } else { Err(WebhookUrlError) }
    }
}

/// A time span as the configuration has it: `90s`, `15m`, `1h30m`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(Duration);

impl Span {
    /// Makes a span of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns it.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, seconds) in UNITS {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The text is no time span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a time span is a number and s, m, h or d, or several, such as 90s, 1h30m or 30d; at least 1 second, at most 3650 days"
)]
pub struct SpanError;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let mut total: u64 = 0;
        let mut number: Option<u64> = None;
        for c in text.chars() {
            if let Some(digit) = c.to_digit(10) {
                let before = number.unwrap_or_default();
                let longer = before.checked_mul(10).and_then(|n| n.checked_add(digit.into()));
                number = Some(longer.ok_or(SpanError)?);
            } else {
                let (_, seconds) = UNITS.iter().find(|(unit, _)| *unit == c).ok_or(SpanError)?;
                let part = number.take().and_then(|n| n.checked_mul(*seconds));
                total = part.and_then(|part| total.checked_add(part)).ok_or(SpanError)?;
            }
        }
        if number.is_some() || total == 0 || total > 3650 * 86_400 {
            return Err(SpanError);
        }
        Ok(Self::seconds(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in [("60s", 60), ("15m", 900), ("1h30m", 5400), ("30d", 2_592_000)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.get().as_secs(), seconds);
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "1m30s");
        for bad in ["", "10", "s", "-1s", "1.5h", "0s", "99999999999999999999d", "4000d", "1y"] {
            assert_eq!(bad.parse::<Span>(), Err(SpanError), "{bad:?}");
        }
    }

    #[test]
    fn urls_of_webhooks() {
        for good in ["http://hook:8080/a", "https://hooks.example.net/x?y=z"] {
            assert!(good.parse::<WebhookUrl>().is_ok(), "{good}");
        }
        for bad in ["", "/a", "ftp://a/b", "http://", "http://me:secret@a/"] {
            assert_eq!(bad.parse::<WebhookUrl>(), Err(WebhookUrlError), "{bad:?}");
        }
    }
}
