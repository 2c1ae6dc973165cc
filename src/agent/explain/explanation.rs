//! What there is to say about a component.

use crate::agent::finding::Level;

/// The kind of a cause; `docs/json.md` lists the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It runs, and is ready.
    Running,
    /// It is on its way up or down, and in time.
    OnItsWay,
    /// An operation of MCP is under way.
    Operation,
    /// It was stopped on purpose.
    Stopped,
    /// A person stopped it with systemd.
    StoppedByHand,
    /// It ended by itself, without an error.
    Ended,
    /// Its check stopped it.
    StoppedByCheck,
    /// It is down, and nobody says why.
    Down,
    /// It runs and should not.
    Unwanted,
    /// Its unit is masked.
    Masked,
    /// Podman's generator makes no unit of its file.
    Generator,
    /// Its unit is not there.
    UnitMissing,
    /// systemd refuses what its unit says.
    BadSetting,
    /// A command of a drop-in fails.
    DropIn,
    /// It was started too often.
    StartLimit,
    /// It waits for a boot stage.
    BootStage,
    /// It waits for something that is not ready.
    Dependency,
    /// There is no room.
    DiskFull,
    /// Podman itself is in trouble.
    Podman,
    /// Its image is not there.
    ImageMissing,
    /// The image registry wants to know who asks.
    PullDenied,
    /// The image registry cannot be reached.
    PullUnreachable,
    /// The image registry has no such image.
    PullUnknown,
    /// The pull fails in another way.
    PullFailed,
    /// A port is taken.
    PortTaken,
    /// A port may not be used.
    PortDenied,
    /// A path that it mounts is not there.
    PathMissing,
    /// It may not use a path.
    PathDenied,
    /// Podman has no secret of a name that it uses.
    SecretMissing,
    /// Podman has no network of a name that it uses.
    NetworkMissing,
    /// Podman has no volume of a name that it uses.
    VolumeMissing,
    /// The container cannot be set up as its definition has it.
    SetUp,
    /// Its command is not in the image.
    CommandNotFound,
    /// Its command cannot be run.
    CommandNotExecutable,
    /// Memory ran out.
    OutOfMemory,
    /// It did not stop in time, and was killed.
    StopTimeout,
    /// A signal ended it.
    Signal,
    /// It ended with an exit code.
    ExitCode,
    /// Its check does not succeed, so that it does not come up.
    NotReady,
    /// It runs, and its check fails.
    Unhealthy,
    /// It did not start in time.
    StartTimeout,
    /// A run of a schedule took too long.
    RunTimeout,
    /// A run of a schedule was cut off by the end of its component.
    CutOff,
    /// The service is not deployed.
    NotDeployed,
    /// The last deploy was rolled back.
    RolledBack,
    /// The user's systemd is away.
    UserManager,
    /// Something else.
    Unknown,
}

impl Cause {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::OnItsWay => "on_its_way",
            Self::Operation => "operation",
            Self::Stopped => "stopped",
            Self::StoppedByHand => "stopped_by_hand",
            Self::Ended => "ended",
            Self::StoppedByCheck => "stopped_by_check",
            Self::Down => "down",
            Self::Unwanted => "unwanted",
            Self::Masked => "masked",
            Self::Generator => "generator",
            Self::UnitMissing => "unit_missing",
            Self::BadSetting => "bad_setting",
            Self::DropIn => "drop_in",
            Self::StartLimit => "start_limit",
            Self::BootStage => "boot_stage",
            Self::Dependency => "dependency",
            Self::DiskFull => "disk_full",
            Self::Podman => "podman",
            Self::ImageMissing => "image_missing",
            Self::PullDenied => "pull_denied",
            Self::PullUnreachable => "pull_unreachable",
            Self::PullUnknown => "pull_unknown",
            Self::PullFailed => "pull_failed",
            Self::PortTaken => "port_taken",
            Self::PortDenied => "port_denied",
            Self::PathMissing => "path_missing",
            Self::PathDenied => "path_denied",
            Self::SecretMissing => "secret_missing",
            Self::NetworkMissing => "network_missing",
            Self::VolumeMissing => "volume_missing",
            Self::SetUp => "set_up",
            Self::CommandNotFound => "command_not_found",
            Self::CommandNotExecutable => "command_not_executable",
            Self::OutOfMemory => "out_of_memory",
            Self::StopTimeout => "stop_timeout",
            Self::Signal => "signal",
            Self::ExitCode => "exit_code",
            Self::NotReady => "not_ready",
            Self::Unhealthy => "unhealthy",
            Self::StartTimeout => "start_timeout",
            Self::RunTimeout => "run_timeout",
            Self::CutOff => "cut_off",
            Self::NotDeployed => "not_deployed",
            Self::RolledBack => "rolled_back",
            Self::UserManager => "user_manager",
            Self::Unknown => "unknown",
        }
    }
}

/// Why something is as it is, and what to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The kind of cause.
    pub cause: Cause,
    /// How bad it is.
    pub level: Level,
    /// Why, one or two sentences.
    pub reason: String,
    /// What shows it: words of systemd, podman or the container; may be empty.
    pub evidence: String,
    /// The commands that mend it, in order; may be empty.
    pub mend: Vec<String>,
}

impl Explanation {
    /// Explains something that does not work.
    pub fn failed(cause: Cause, reason: impl Into<String>) -> Self {
        Self {
            cause,
            level: Level::Failed,
            reason: reason.into(),
            evidence: String::new(),
            mend: Vec::new(),
        }
    }

    /// Explains something that works, or may come to.
    pub fn warning(cause: Cause, reason: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::failed(cause, reason) }
    }

    /// Explains something that is as it should be.
    pub fn fine(cause: Cause, reason: impl Into<String>) -> Self {
        Self { level: Level::Fine, ..Self::failed(cause, reason) }
    }

    /// Adds what shows it.
    #[must_use]
    pub fn shown_by(self, evidence: impl Into<String>) -> Self {
        Self { evidence: evidence.into(), ..self }
    }

    /// Adds the next command to type.
    #[must_use]
    pub fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(command.into());
        self
    }
}
