//! `mcp render`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::local;
use crate::cli::views::render::{RenderView, RenderedFile};
use crate::definition::Service;
use crate::deployment::ports::lease;
use crate::deployment::{Container, Deployment, Leases, NodeFacts, Readiness, resolve};
use crate::names::Generation;
use crate::quadlet::podman_version::PodmanVersion;
use crate::quadlet::released::standalone;
use crate::quadlet::render::Renderer;
use crate::quadlet::unit_set::UnitSet;

/// Where packages put the agent, which units call for probes.
const AGENT: &str = "/usr/bin/mcp-agent";

/// Where packages put podman.
const PODMAN: &str = "/usr/bin/podman";

/// The ports that routes are leased from.
const PORTS: std::ops::RangeInclusive<u16> = 10_000..=60_000;

/// Render a definition to units, with no agent and no podman
///
/// Ports of routes are those that an empty node would lease.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp render mcq.toml\n  mcp render mcq.toml --out /tmp/units --podman 5.0.0\n  mcp render mcq.toml --standalone --out ~/.config && systemctl --user daemon-reload"
)]
pub struct RenderArgs {
    /// The definition
    pub file: PathBuf,
    /// Write the units below this directory instead of printing them
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write units that need nothing of MCP, its program mcp-agent neither
    ///
    /// A component that podman itself does not check (tcp, http, grpc) counts
    /// as ready when it has started, and is not checked later.
    #[arg(long)]
    pub standalone: bool,
    /// Render for this version of podman
    #[arg(long, value_name = "VERSION", default_value_t = PodmanVersion::USUAL)]
    pub podman: PodmanVersion,
}

/// Runs the command.
///
/// # Errors
///
/// The definition is invalid, or the units cannot be written.
pub fn run(context: &Context<'_>, args: &RenderArgs) -> Result<Exit, CliError> {
    let file = local::required(&args.file)?;
    let service = file.service()?;
    let deployment = resolved(&service)?;
    let units = units(&deployment, args)?;
    let view = if args.standalone {
        let alone = standalone(&units, AGENT, PODMAN).map_err(CliError::usage)?;
        let left_out = deployment.containers.iter().filter_map(left_out).collect();
        RenderView {
            warnings: left_out,
            ..RenderView::new(&alone, args.podman, "containers/systemd")
        }
    } else {
        RenderView::new(&units, args.podman, "containers/systemd/mcp")
    };
    for warning in &view.warnings {
        context.ui.warning(warning);
    }
    if let Some(out) = &args.out {
        for file in &view.files {
            let path = out.join(&file.path);
            local::save(&path, &file.text, local::PUBLIC)?;
        }
    }
    context.show(&view, |view| match &args.out {
        Some(out) => listed(out, &view.files),
        None => view.text(context.ui.palette()),
    })?;
    Ok(Exit::Done)
}

fn listed(out: &Path, files: &[RenderedFile]) -> String {
    let lines: Vec<String> =
        files.iter().map(|file| out.join(&file.path).display().to_string()).collect();
    lines.join(
        "
",
    ) + "
"
}

/// Says that a component's check needs the agent's program; none: it does not.
fn left_out(container: &Container) -> Option<String> {
    match &container.readiness {
        Readiness::Probe { probe, .. } => Some(format!(
            "component {}: its {} check is left out: it counts as ready when it has started, and is not checked later; a cmd check is podman's own and stays",
            container.spec.name,
            probe.kind()
        )),
        Readiness::Started | Readiness::Ended { .. } | Readiness::Command { .. } => None,
    }
}

fn resolved(service: &Service) -> Result<Deployment, CliError> {
    let leases = lease(service, &Leases::new(), &BTreeSet::new(), &PORTS, |_| true)
        .map_err(CliError::usage)?;
    let facts = NodeFacts::default();
    resolve(service, &facts, &leases, None, Generation::default())
        .map_err(|errors| CliError::usage(Unresolved(errors)))
}

fn units(deployment: &Deployment, args: &RenderArgs) -> Result<UnitSet, CliError> {
    let renderer = Renderer::new(args.podman, AGENT, &[]).map_err(CliError::usage)?;
    let name = args.file.file_name().unwrap_or(args.file.as_os_str());
    renderer.render(deployment, &name.to_string_lossy()).map_err(CliError::usage)
}

/// Everything that keeps a service from being resolved.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
struct Unresolved(Vec<crate::deployment::ResolveError>);
