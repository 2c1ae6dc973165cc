//! The steps of making a machine a node.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::agent_config::{self, AgentConfigError};
use super::facts::{Facts, Refusal};
use super::operator::{bearer, control};
use super::packages::{self, Source};
use super::scripts;
use super::ssh::{Input, Job, Privilege, Ssh, SshError};
use crate::cli::config::settings::path;
use crate::cli::config::{Address, Node, Settings, edit};
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::views::findings::FindingView;
use crate::cli::views::provision::{Outcome, ProvisionView, StepView};
use crate::cli::{connection, local, status};
use crate::names::{NameError, NodeName};
use crate::rpc::agent_v1 as proto;
use crate::rpc::tls::{Fingerprint, FingerprintError, Trust};
use crate::secret::Secret;

/// What `os-release(5)` of NixOS has as its `ID`.
const NIXOS: &str = "nixos";

/// Longest installation: a slow mirror, and a lock that is held.
const INSTALLATION: Duration = Duration::from_secs(1800);
/// Longest upload of a package.
const UPLOAD: Duration = Duration::from_secs(900);
/// Longest start of the agent; its unit gives it two minutes.
const START: Duration = Duration::from_secs(180);

/// What is wanted of a machine.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// How ssh calls it.
    pub host: &'a str,
    /// What the config calls it; else its host name.
    pub name: Option<&'a NodeName>,
    /// Where its agent is to serve, if it does not yet.
    pub listen: Option<IpAddr>,
    /// The port there.
    pub port: u16,
    /// Where operators reach it; else where it serves.
    pub address: Option<&'a str>,
    /// A directory of packages; else the machine's own sources.
    pub packages: Option<&'a Path>,
    /// Ask for the password that sudo wants.
    pub ask_sudo_password: bool,
    /// Only look.
    pub dry_run: bool,
}

/// Says why a machine was not made a node.
#[derive(Debug, thiserror::Error)]
enum ProvisionError {
    #[error("`{0}` is no host")]
    Host(String),
    #[error("the host calls itself {host:?}, which is no name for a node")]
    Name {
        host: String,
        #[source]
        source: NameError,
    },
    #[error("there is a node called {0} already, at {1}")]
    Exists(NodeName, Address),
    #[error("{0} on {1} asks for a password")]
    Password(&'static str, String),
    #[error("the machine did not say at which address it was reached")]
    NoAddress,
    #[error("{} on the machine cannot be completed", scripts::CONFIG)]
    Config(#[source] AgentConfigError),
    #[error("the agent told no fingerprint")]
    Fingerprint(#[source] FingerprintError),
    #[error("the agent's findings cannot be read")]
    Doctor(#[source] serde_json::Error),
}

impl From<SshError> for CliError {
    fn from(error: SshError) -> Self {
        let kind = match error {
            SshError::Connection { .. } => ErrorKind::Unreachable,
            SshError::Run(_)
            | SshError::Script { .. }
            | SshError::Deadline { .. }
            | SshError::Send { .. } => ErrorKind::Failed,
        };
        Self::new(kind, error)
    }
}

/// A run over one machine.
#[derive(Debug)]
pub struct Provision<'a> {
    context: &'a Context<'a>,
    settings: Settings,
    wanted: Wanted<'a>,
    ssh: Ssh,
    began: Instant,
    view: ProvisionView,
}

impl<'a> Provision<'a> {
    /// Prepares a run.
    ///
    /// # Errors
    ///
    /// The config is invalid, the host is none, or there is no place for the
    /// socket of the connection.
    pub fn new(context: &'a Context<'a>, wanted: Wanted<'a>) -> Result<Self, CliError> {
        if wanted.host.is_empty() || wanted.host.starts_with('-') {
            return Err(CliError::usage(ProvisionError::Host(wanted.host.to_owned())));
        }
        let settings = context.settings()?;
        let control = control(context)?;
        let ssh = Ssh::new(wanted.host.to_owned(), &control, context.ui.can_ask());
        let view = ProvisionView::new(wanted.host, wanted.dry_run);
        Ok(Self { context, settings, wanted, ssh, began: Instant::now(), view })
    }

    /// Goes through the steps, and closes the connection.
    ///
    /// # Errors
    ///
    /// What went wrong; the steps before it are done, and need not be again.
    pub async fn run(mut self) -> Result<ProvisionView, CliError> {
        let result = self.steps().await;
        self.ssh.close().await;
        result.map(|()| self.view)
    }

    async fn steps(&mut self) -> Result<(), CliError> {
        let facts = self.look().await?;
        let name = self.name(&facts)?;
        if facts.os == NIXOS {
            self.view.nixos_module = Some(self.nixos_module(&name, &facts));
            return Ok(());
        }
        self.become_root(&facts).await?;
        self.install(&facts).await?;
        if self.wanted.dry_run && self.view.would_change() {
            // What comes next is only known once that is done.
            for step in ["configuration", "agent", "token", "doctor", "config"] {
                self.done(step, Outcome::Would, String::new());
            }
            return Ok(());
        }
        let served = self.configure(&facts).await?;
        self.start().await?;
        if self.wanted.dry_run && self.view.would_change() {
            for step in ["token", "doctor", "config"] {
                self.done(step, Outcome::Would, String::new());
            }
            return Ok(());
        }
        let node = self.node(name, served).await?;
        let node = self.token(node).await?;
        self.doctor().await?;
        self.add(&node)
    }

    async fn look(&mut self) -> Result<Facts, CliError> {
        let facts = self.ssh.run(Job::new("looking at the machine", scripts::FACTS, &[])).await?;
        let facts = Facts::parse(&facts);
        facts.judge().map_err(|refusal| {
            let rootless = matches!(refusal, Refusal::NotRoot { .. });
            let error = CliError::failed(refusal);
            if rootless { error.hint("log in as root, or install sudo there") } else { error }
        })?;
        self.done("machine", Outcome::Same, format!("{}, {}", facts.pretty, facts.arch));
        Ok(facts)
    }

    /// Decides on the node's name; another node of that name is told before
    /// anything is done.
    fn name(&mut self, facts: &Facts) -> Result<NodeName, CliError> {
        let name = match self.wanted.name {
            Some(name) => name.clone(),
            None => facts.host.parse().map_err(|source| {
                let error = ProvisionError::Name { host: facts.host.clone(), source };
                CliError::usage(error)
                    .hint(format!("mcp node provision {} --name NAME", self.wanted.host))
            })?,
        };
        self.view.node = name.to_string();
        Ok(name)
    }

    fn nixos_module(&self, name: &NodeName, facts: &Facts) -> String {
        let ip =
            self.wanted.listen.or(facts.address).map_or("ADDRESS".to_owned(), |ip| ip.to_string());
        include_str!("nixos_module.nix")
            .replace("@HOST@", name.as_str())
            .replace("@ADDRESS@", &format!("{ip}:{}", self.wanted.port))
    }

    async fn become_root(&mut self, facts: &Facts) -> Result<(), CliError> {
        if facts.uid == Some(0) {
            return Ok(());
        }
        let host = || facts.host.clone();
        let sudo = facts.programs.contains("sudo");
        if self.wanted.ask_sudo_password && sudo {
            let question = format!("Password of sudo on {}: ", facts.host);
            let password = rpassword::prompt_password(question).map_err(CliError::failed)?;
            self.ssh.become_root(Privilege::Sudo(Some(Secret::new(password))));
        } else {
            self.ssh.become_root(if sudo { Privilege::Sudo(None) } else { Privilege::Doas });
        }
        if self.ssh.succeeds(Job::new("becoming root", "true", &[])).await? {
            return Ok(());
        }
        let error = CliError::new(
            ErrorKind::NotAllowed,
            ProvisionError::Password(if sudo { "sudo" } else { "doas" }, host()),
        );
        Err(if sudo {
            error.hint("--ask-sudo-password, or let this user use sudo without one")
        } else {
            error.hint("a line `permit nopass` for this user in doas.conf")
        })
    }

    /// Installs the packages: files are copied first.
    async fn install(&mut self, facts: &Facts) -> Result<(), CliError> {
        let source = match self.wanted.packages {
            Some(directory) => Source::Files(packages::find(directory, &facts.arch)?),
            None => Source::Apt,
        };
        let files = match source {
            Source::Files(files) => files,
            Source::Apt => return self.install_from_apt().await,
        };
        let (mut wanted, mut kept) = (Vec::new(), Vec::new());
        for package in files {
            let arguments = [package.name.as_str(), package.version.as_str()];
            let state = Job::new("looking at packages", scripts::INSTALLED, &arguments);
            let told = format!("{} {}", package.name, package.version);
            match self.ssh.run(state).await?.trim() {
                "wanted" => wanted.push(package),
                "newer" => kept.push(format!("{} is newer there", package.name)),
                _ => kept.push(told),
            }
        }
        if wanted.is_empty() {
            self.done("packages", Outcome::Same, kept.join(", "));
            return Ok(());
        }
        let names: Vec<String> =
            wanted.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
        if self.wanted.dry_run {
            self.done("packages", Outcome::Would, names.join(", "));
            return Ok(());
        }
        let mut paths = vec![scripts::CACHE.to_owned()];
        for package in &wanted {
            let file = format!("{}_{}_{}.deb", package.name, package.version, facts.arch);
            let sha256 = package.sha256()?;
            let arguments = [file.as_str(), sha256.as_str(), scripts::CACHE];
            let there = Job::new("looking at packages", scripts::UPLOADED, &arguments);
            if !self.ssh.succeeds(there).await? {
                self.ssh
                    .run(Job {
                        input: Input::File(package.path.clone()),
                        limit: UPLOAD,
                        ..Job::new("copying packages", scripts::UPLOAD, &arguments)
                    })
                    .await?;
            }
            paths.push(format!("{}/{file}", scripts::CACHE));
        }
        self.done("upload", Outcome::Changed, names.join(", "));
        self.apt(&paths, names.join(", ")).await
    }

    async fn install_from_apt(&mut self) -> Result<(), CliError> {
        let arguments = ["mcp-agent", ""];
        let state = Job::new("looking at packages", scripts::INSTALLED, &arguments);
        let same = self.ssh.run(state).await?.trim() == "same";
        let names = "mcp-agent, mcp from the machine's sources".to_owned();
        if same {
            self.done("packages", Outcome::Same, names);
            return Ok(());
        }
        if self.wanted.dry_run {
            self.done("packages", Outcome::Would, names);
            return Ok(());
        }
        let packages = [scripts::CACHE, "mcp-agent", "mcp"].map(str::to_owned);
        self.apt(&packages, names).await.map_err(|error| {
            error.hint("mcp node provision HOST --packages DIR, with the packages of a release")
        })
    }

    async fn apt(&mut self, arguments: &[String], detail: String) -> Result<(), CliError> {
        self.context.ui.status("installing; a first time this takes a minute or more ...");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let job = Job::new("installing packages", scripts::INSTALL, &arguments);
        self.ssh.run(Job { limit: INSTALLATION, ..job }).await?;
        self.done("packages", Outcome::Changed, detail);
        Ok(())
    }

    /// Has the agent serve over TCP; returns where it does.
    async fn configure(&mut self, facts: &Facts) -> Result<SocketAddr, CliError> {
        let reached = self.wanted.listen.or(facts.address);
        let ip = reached
            .ok_or_else(|| CliError::failed(ProvisionError::NoAddress).hint("--listen ADDRESS"))?;
        let wanted = SocketAddr::new(ip, self.wanted.port);
        let file = [scripts::CONFIG];
        let text = self
            .ssh
            .run(Job::new("reading the configuration", scripts::READ_CONFIG, &file))
            .await?;
        let served = agent_config::serving(&text, wanted)
            .map_err(|source| CliError::failed(ProvisionError::Config(source)))?;
        let detail = format!("grpc_addr = \"{}\"", served.address);
        match served.text {
            None => self.done("configuration", Outcome::Same, detail),
            Some(_) if self.wanted.dry_run => self.done("configuration", Outcome::Would, detail),
            Some(text) => {
                let job = Job::new("writing the configuration", scripts::WRITE_CONFIG, &file);
                self.ssh.run(Job { input: Input::Bytes(text.as_bytes()), ..job }).await?;
                self.done("configuration", Outcome::Changed, detail);
            }
        }
        Ok(agent_config::reached(served.address, facts.address))
    }

    async fn start(&mut self) -> Result<(), CliError> {
        let file = [scripts::CONFIG];
        let detail = "mcp-agent.service".to_owned();
        if self.ssh.succeeds(Job::new("looking at the agent", scripts::RUNS, &file)).await? {
            self.done("agent", Outcome::Same, detail);
        } else if self.wanted.dry_run {
            self.done("agent", Outcome::Would, detail);
        } else {
            let job = Job::new("starting the agent", scripts::START, &[]);
            self.ssh.run(Job { limit: START, ..job }).await?;
            self.done("agent", Outcome::Changed, detail);
        }
        Ok(())
    }

    /// Returns the node as the config is to have it: its certificate is the
    /// one that the machine itself names.
    async fn node(&mut self, name: NodeName, served: SocketAddr) -> Result<Node, CliError> {
        let told =
            self.ssh.run(Job::new("asking for the certificate", scripts::FINGERPRINT, &[])).await?;
        let fingerprint: Fingerprint = told
            .trim()
            .parse()
            .map_err(|source| CliError::failed(ProvisionError::Fingerprint(source)))?;
        self.view.fingerprint = fingerprint.to_string();
        let address = self.wanted.address.map_or_else(|| served.to_string(), str::to_owned);
        self.view.address.clone_from(&address);
        let known = self.settings.nodes.iter().find(|node| node.name == name);
        let known = known.filter(|_| !self.settings.nothing_configured);
        if let Some(known) = known {
            let same = matches!(&known.address, Address::Tls { addresses, trust: _ } if addresses.contains(&address));
            if !same {
                let error = ProvisionError::Exists(name, known.address.clone());
                let hint = "--name, or --address if it is the same machine by another address";
                return Err(CliError::usage(error).hint(hint));
            }
        }
        let addresses = match known.map(|node| &node.address) {
            Some(Address::Tls { addresses, trust: _ }) => addresses.clone(),
            Some(Address::Socket(_)) | None => vec![address],
        };
        // A certificate authority of the operator is left in force.
        let trust = match known.map(|node| &node.address) {
            Some(Address::Tls { addresses: _, trust: Trust::CaFile(path) }) => {
                Trust::CaFile(path.clone())
            }
            Some(Address::Tls { addresses: _, trust: Trust::Pin(_) } | Address::Socket(_))
            | None => Trust::Pin(fingerprint),
        };
        let token_path = known.and_then(|node| node.token_path.clone());
        Ok(Node { name, address: Address::Tls { addresses, trust }, token_path })
    }

    /// Makes a token, unless the node takes the one that is there.
    async fn token(&mut self, node: Node) -> Result<Node, CliError> {
        let refused = match connection::token(&self.settings, &node) {
            Ok(token) => match info(&node, &token).await {
                Ok(info) => {
                    self.done("token", Outcome::Same, format!("{}, {}", info.caller, info.role));
                    return Ok(node);
                }
                Err(error) if error.kind == ErrorKind::NotAllowed => error,
                Err(error) => return Err(unreached(error)),
            },
            Err(error) => error,
        };
        tracing::debug!(error = %refused.message(), "a token is needed");
        if self.wanted.dry_run {
            self.done("token", Outcome::Would, String::new());
            return Ok(node);
        }
        let bearer = bearer(self.context);
        let made = self.ssh.run(Job::new("making a token", scripts::TOKEN, &[&bearer])).await?;
        let token = Secret::new(made.trim().to_owned());
        let default = self.context.environment.config_dir().join("tokens").join(node.name.as_str());
        let path = node.token_path.clone().unwrap_or(default);
        let info = info(&node, &token).await.map_err(unreached)?;
        local::write(&path, format!("{}\n", token.reveal()).as_bytes(), 0o600)?;
        let detail = format!("{bearer}, {}, in {}", info.role, path.display());
        self.done("token", Outcome::Changed, detail);
        Ok(Node { token_path: Some(path), ..node })
    }

    async fn doctor(&mut self) -> Result<(), CliError> {
        #[derive(Deserialize)]
        struct Told {
            check: String,
            subject: String,
            level: String,
            message: String,
            mend: String,
        }
        let job = Job::new("asking the doctor", scripts::DOCTOR, &[]);
        let told = self.ssh.run(Job { limit: START, ..job }).await?;
        let told: Vec<Told> = serde_json::from_str(&told)
            .map_err(|source| CliError::failed(ProvisionError::Doctor(source)))?;
        let checks = told.len();
        for Told { check, subject, level, message, mend } in told {
            let level = match level.as_str() {
                "ok" => continue,
                "warning" => proto::FindingLevel::Warning,
                _ => proto::FindingLevel::Failed,
            };
            let finding = proto::Finding { check, subject, level: level.into(), message, mend };
            self.view.findings.push(FindingView::from(finding));
        }
        let fine = checks - self.view.findings.len();
        self.done("doctor", Outcome::Same, format!("{fine} of {checks} checks are fine"));
        Ok(())
    }

    /// Writes the node into the config of this side.
    fn add(&mut self, node: &Node) -> Result<(), CliError> {
        let path = path(self.context.environment, self.context.config.as_deref());
        let detail = path.display().to_string();
        let known = self.settings.nodes.iter().find(|known| known.name == node.name);
        let known = known.filter(|_| !self.settings.nothing_configured);
        if known == Some(node) {
            self.done("config", Outcome::Same, detail);
            return Ok(());
        }
        if self.wanted.dry_run {
            self.done("config", Outcome::Would, detail);
            return Ok(());
        }
        let mut text = local::load(&path)?.map(|file| file.text).unwrap_or_default();
        if known.is_some() {
            let without = edit::remove_node(&text, node.name.as_str()).map_err(CliError::usage)?;
            text = without.unwrap_or(text);
        }
        let edited = edit::add_node(&text, node).map_err(CliError::usage)?;
        local::save(&path, &edited, local::PUBLIC)?;
        self.done("config", Outcome::Changed, detail);
        Ok(())
    }

    /// Notes and tells a step, and how long it took.
    fn done(&mut self, step: &'static str, outcome: Outcome, detail: String) {
        let took = self.began.elapsed();
        self.began = Instant::now();
        let step = StepView::new(step, outcome, detail, took);
        self.context.ui.status(&step.line(self.context.ui.err_palette()));
        self.view.steps.push(step);
    }
}

async fn info(node: &Node, token: &Secret<String>) -> Result<proto::InfoResponse, CliError> {
    let mut client = connection::open_as(node, Some(token)).await?;
    let answer = client.info(proto::InfoRequest {}).await;
    answer.map(tonic::Response::into_inner).map_err(|refused| status::error(&node.name, &refused))
}

fn unreached(error: CliError) -> CliError {
    error.hint(
        "is the port open from here? --address HOST:PORT if the node is reached by another one",
    )
}
