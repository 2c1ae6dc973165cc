//! `mcp boot report`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::atomic_file;
use crate::cli::args::NodeArgs;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, FileError};
use crate::cli::status;
use crate::cli::views::boot_bars::Canvas;
use crate::cli::views::boot_report::{BootReportView, BootView};
use crate::cli::views::{boot_svg, problem};
use crate::rpc::agent_v1 as proto;

/// Show what a boot did: when each unit was ready, what was slow, what broke
///
/// Reads the node's journal, so it also tells of boots without the agent.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp boot report\n  mcp boot report -n rift --boot -1\n  mcp boot report -n rift --svg boot.svg"
)]
pub struct ReportArgs {
    /// Which boot: 0 the present one, -1 the one before, 1 the first that is known
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub boot: i32,
    /// Also draw it into this file; for one node
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Which nodes to ask
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Nobody said which node's boot is to be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a drawing is of one node, and {nodes} answered")]
struct ManyNodes {
    nodes: usize,
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &ReportArgs) -> Result<Exit, CliError> {
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let answer = client.boot_report(proto::BootReportRequest { boot: args.boot }).await;
            answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
        })
        .await?;
    let (answered, problems, errors) = problem::part(answers);
    let view = BootReportView {
        boots: answered.into_iter().map(|(node, answer)| BootView::new(&node, answer)).collect(),
        problems,
    };
    if let Some(path) = &args.svg {
        draw(&view, path)?;
    }
    let canvas = Canvas {
        width: context.ui.width(),
        unicode: context.environment.utf8,
        palette: context.ui.palette(),
    };
    context.show(&view, |view| view.text(&canvas))?;
    Ok(context.finish(&errors))
}

fn draw(view: &BootReportView, path: &Path) -> Result<(), CliError> {
    match view.boots.as_slice() {
        [] => Ok(()),
        // The name of a file in the current directory has no directory to sync.
        [boot] => std::path::absolute(path)
            .and_then(|path| atomic_file::write(&path, boot_svg::drawing(boot).as_bytes(), 0o644))
            .map_err(FileError::at("write", path)),
        more => Err(CliError::usage(ManyNodes { nodes: more.len() })
            .hint("choose one: mcp boot report -n NODE --svg FILE")),
    }
}
