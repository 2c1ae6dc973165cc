//! `mcp push`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::context::{Context, Exit, ServiceTarget};
use crate::cli::error::CliError;
use crate::cli::transfer::{self, Direction};
use crate::cli::views::transfer::{Ends, TransferView};
use crate::cli::{progress, status};
use crate::rpc::agent_v1 as proto;
use crate::transfer::{Frame, PathError, Source, TransferError, TreePath, Wire as _, send};

/// Copy a file or directory into a service's data directory
///
/// Each file appears whole or not at all, with its permission bits, and
/// belongs to the user of the component that mounts it. Files that are there
/// and not sent stay. A push of a large file that was cut off goes on where it
/// stopped when it is given again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp push metacrypt.toml metacrypt\n  mcp push cert.pem metacrypt certs/ --restart\n  pg_dump shop | mcp push - shop dumps/today.sql\n  mcp push ./site web/nginx html --owner 101:101"
)]
pub struct PushArgs {
    /// The file or directory here; `-` is standard input, which needs the name
    /// in PATH
    #[arg(value_name = "FILE|DIRECTORY", value_hint = ValueHint::AnyPath)]
    pub source: PathBuf,
    /// The service, or service/component to choose whose the files are to be
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: ServicePath,
    /// Where to, below the service's data directory; with a slash at the end,
    /// into that directory. Default: the name that it has here
    #[arg(value_name = "PATH", add = completion::paths("push", 1))]
    pub path: Option<OsString>,
    /// Give the files to USER or USER:GROUP as the component sees them, by
    /// name or number
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// Restart the components that mount the path, if anything has changed
    #[arg(long)]
    pub restart: bool,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What is here has no name of its own.
#[derive(Debug, thiserror::Error)]
#[error("{} has no name that could be used there; give a path", .0.display())]
struct NoName(PathBuf);

/// Runs the command.
///
/// # Errors
///
/// The file cannot be read, the node refuses it, or the connection breaks.
pub async fn run(context: &Context<'_>, args: &PushArgs) -> Result<Exit, CliError> {
    let path = path(args)?;
    let named = if is_stdin(args) { None } else { Some(Source::named(&args.source)) };
    let named = named.transpose().map_err(transfer::failure)?;
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service.service, &args.node.node).await?;
    // Not before it is known where it goes: nobody can give it twice.
    let source = match named {
        Some(source) => source,
        None => Source::kept(std::io::stdin()).map_err(transfer::failure)?,
    };
    let begin = proto::FilesBegin {
        service: args.service.service.to_string(),
        component: args.service.wire_component(),
        path: path.as_bytes().to_vec(),
        owner: args.owner.clone().unwrap_or_default(),
        definition: target.local.as_ref().map(|local| local.text.clone()).unwrap_or_default(),
        keep_modes: is_stdin(args),
        ..Default::default()
    };
    let node = target.node.name.clone();
    let work = move |link: &mut transfer::Link| {
        send(&source, link)?;
        let Frame::Received(summary) = link.receive()? else {
            return Err(TransferError::Protocol("what it received was to come"));
        };
        Ok(summary)
    };
    let agent = (&node, &mut target.client);
    let (summary, told) = transfer::run(context.ui, agent, Direction::Push, begin, work).await?;
    let ends = Ends {
        service: args.service.service.to_string(),
        node: node.to_string(),
        local: args.source.display().to_string(),
        pushed: true,
    };
    let mut view = TransferView::new(ends, summary, told);
    for line in view.told() {
        context.ui.warning(&line);
    }
    let restarted = if args.restart && view.files > 0 {
        restart(context, &mut target, &mut view).await
    } else {
        Ok(Exit::Done)
    };
    context.show(&view, |view| view.text(context.ui.palette()))?;
    restarted
}

/// Tells whether standard input is pushed; a file called `-` is `./-`.
fn is_stdin(args: &PushArgs) -> bool {
    args.source.as_os_str() == "-"
}

/// Returns the path on the node.
fn path(args: &PushArgs) -> Result<TreePath, CliError> {
    let invalid = |error: PathError| CliError::usage(error);
    let given = args.path.as_ref().map(|path| path.as_bytes());
    let directory = TreePath::parse(given.unwrap_or_default()).map_err(invalid)?;
    if given.is_some_and(|given| !given.ends_with(b"/")) {
        return Ok(directory);
    }
    let name = Some(&args.source).filter(|_| !is_stdin(args));
    let name = name
        .and_then(|source| transfer::base_name(source))
        .ok_or_else(|| CliError::usage(NoName(args.source.clone())))?;
    directory.join(&name).map_err(invalid)
}

/// Restarts the components that mount what was written.
async fn restart(
    context: &Context<'_>,
    target: &mut ServiceTarget,
    view: &mut TransferView,
) -> Result<Exit, CliError> {
    if view.components.is_empty() {
        context.ui.warning(&format!("no component mounts {}; nothing is restarted", view.remote));
    }
    let node = &target.node.name;
    let mut worst = Exit::Done;
    for component in view.components.clone() {
        let request = proto::ServiceRequest { service: view.service.clone(), component };
        let answer = target.client.restart(request).await.map_err(|s| status::error(node, &s))?;
        let restarted = progress::outcome(context, node, answer.into_inner()).await?;
        if let failed @ Exit::Shown(_) = progress::end(context, &restarted) {
            worst = failed;
        }
        view.restarts.push(restarted);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn to(line: &str) -> Result<String, String> {
        let words = ["mcp", "push"].into_iter().chain(line.split_whitespace());
        let Command::Push(args) = Cli::try_parse_from(words).unwrap().command else { panic!() };
        path(&args).map(|path| path.to_string()).map_err(|error| error.message())
    }

    #[test]
    fn the_path_there_is_the_name_here_unless_it_is_given() {
        assert_eq!(to("/x/a.toml web").as_deref(), Ok("a.toml"));
        assert_eq!(to("/x/a.toml web certs/").as_deref(), Ok("certs/a.toml"));
        assert_eq!(to("/x/a.toml web certs/b").as_deref(), Ok("certs/b"));
        assert_eq!(to("/x/site/ web .").as_deref(), Ok("."));
        assert_eq!(to("/x/site/ web ./").as_deref(), Ok("site"));
        assert_eq!(to("- web certs/b").as_deref(), Ok("certs/b"));
        assert_eq!(to("./- web").as_deref(), Ok("-"));
        for nameless in ["- web", "- web certs/"] {
            let error = to(nameless).unwrap_err();
            assert_eq!(error, "- has no name that could be used there; give a path");
        }
        for bad in ["/etc/passwd", "../x", "a/../../x"] {
            assert!(to(&format!("/x/a web {bad}")).is_err(), "{bad}");
        }
    }
}
