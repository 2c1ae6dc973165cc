//! `mcp explain`.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::config::Node;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::status;
use crate::cli::views::explain::{ExplainStyle, ExplainView};
use crate::cli::views::problem;
use crate::rpc::agent_v1 as proto;

/// Say why a service is in its state, and what to type
///
/// Without a service: of everything that is not well, on every node.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp explain\n  mcp explain metacrypt/api\n  mcp explain mcq -n rift --json\n\nExit code 1 if something is not as it should be."
)]
pub struct ExplainArgs {
    /// The service, or service/component
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: Option<ServicePath>,
    /// Which nodes to ask
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &ExplainArgs) -> Result<Exit, CliError> {
    let path = args.service.as_ref();
    let request = proto::ServiceRequest {
        service: path.map(|path| path.service.to_string()).unwrap_or_default(),
        component: path.map(ServicePath::wire_component).unwrap_or_default(),
    };
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let answer = client.explain(request.clone()).await;
            answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
        })
        .await?;
    let asked: Vec<Node> = answers.iter().map(|answer| answer.node.clone()).collect();
    let units = path.map(|path| &path.service);
    let answers = answers.into_iter().map(|answer| answer.or_without_agent(units));
    let (answered, problems, errors) = problem::part(answers.collect());
    let mut view = ExplainView { problems, ..ExplainView::default() };
    for (node, answer) in answered {
        view.add(&node, answer);
    }
    view.drop_absent();
    let style = ExplainStyle {
        palette: context.ui.palette(),
        zone: TimeZone::system(),
        now: Timestamp::now(),
        nodes: asked.len() > 1,
        all: path.is_some(),
    };
    context.show(&view, |view| view.text(&style))?;
    let exit = context.finish(&errors);
    Ok(if errors.is_empty() && view.has_failures() { Exit::Shown(ErrorKind::Failed) } else { exit })
}
