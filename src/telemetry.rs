//! Logs: how a daemon writes them, and how an error is shown with its causes.

use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

/// Shows an error with its whole chain of sources: `what: why: why`.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// How much is logged; each level holds the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A person must look.
    Error,
    /// Odd, and the program went on.
    Warn,
    /// State has changed.
    Info,
    /// The rest.
    Debug,
    /// Everything, of the libraries too.
    Trace,
}

/// Every level, least first.
pub const LEVELS: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

impl Level {
    /// Returns the level as it is written in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// Libraries say only what is odd, except at `trace`.
    fn filter(self) -> EnvFilter {
        match self {
            Self::Trace => EnvFilter::new("trace"),
            Self::Error => EnvFilter::new("error"),
            Self::Warn | Self::Info | Self::Debug => {
                let level = self.as_str();
                EnvFilter::new(format!("warn,mcp={level},mcp_agent={level},mcp_master={level}"))
            }
        }
    }
}

/// The text names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log level; there are error, warn, info, debug and trace")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        LEVELS
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// The text names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log format; there are text and json")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// The log could not be started, or its level not be changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The process has a log already.
    #[error("the log was started before")]
    Started(#[source] TryInitError),
    /// The log is gone.
    #[error("cannot change the level of the log")]
    Reload(#[source] reload::Error),
}

/// Changes the level of a running log.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogHandle {
    /// Logs at another level from now on.
    ///
    /// # Errors
    ///
    /// The log is gone.
    pub fn set_level(&self, level: Level) -> Result<(), TelemetryError> {
        self.filter.reload(level.filter()).map_err(TelemetryError::Reload)
    }
}

/// Starts the log of this process, to stderr; systemd's journal adds the time
/// there, so text to anything but a terminal has none.
///
/// # Errors
///
/// The process has a log already.
pub fn init(level: Level, format: Format) -> Result<LogHandle, TelemetryError> {
    let (filter, handle) = reload::Layer::new(level.filter());
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal);
    let lines = match format {
        Format::Text if terminal => lines.boxed(),
        Format::Text => lines.without_time().with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(TelemetryError::Started)?;
    Ok(LogHandle { filter: handle })
}
