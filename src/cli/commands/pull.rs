//! `mcp pull`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::transfer::{self, Direction};
use crate::cli::views::transfer::{Ends, Told, TransferView};
use crate::names::{NodeName, ServiceName};
use crate::rpc::agent_v1 as proto;
use crate::transfer::{
    Receiving, Summary, Terminal, TransferError, TreePath, open_directory, pour, receive,
};

/// Copy a file or directory out of a service's data directory
///
/// Each file appears whole or not at all, with its permission bits; files that
/// are there and do not come stay. A pull of a large file that was cut off
/// goes on where it stopped when it is given again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp pull metacrypt metacrypt.toml ./local-copy.toml\n  mcp pull web . ./backup/\n  mcp pull metacrypt metacrypt.toml - | diff - local-copy.toml"
)]
pub struct PullArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
    /// The file or directory, below the service's data directory; `.` is all
    /// of it
    #[arg(value_name = "PATH", add = completion::paths("pull", 0))]
    pub path: OsString,
    /// Where to, here; into it if it is a directory. With a slash at the end it
    /// is one: if it is not there, a directory that is pulled becomes it, as
    /// with `cp -r`, and a file goes into it. Default: the name that it has
    /// there. `-` is standard output
    #[arg(value_name = "TO", value_hint = ValueHint::AnyPath)]
    pub to: Option<PathBuf>,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The file cannot be written here, the node refuses, or the connection
/// breaks.
pub async fn run(context: &Context<'_>, args: &PullArgs) -> Result<Exit, CliError> {
    let path = TreePath::parse(args.path.as_bytes()).map_err(CliError::usage)?;
    let to_stdout = args.to.as_deref() == Some(Path::new("-"));
    if to_stdout && context.json {
        return Err(CliError::usage(TwoDocuments));
    }
    if to_stdout {
        let terminal = context.ui.out_is_terminal();
        let work = move |link: &mut transfer::Link| pour_out(terminal, link);
        let (node, (summary, told)) = pulled(context, args, &path, work).await?;
        let view = view(context, args, &node, ("-".to_owned(), summary, told));
        context.ui.status(view.text(context.ui.err_palette()).trim_end());
        return Ok(Exit::Done);
    }
    let name = path.split().map_or(args.service.as_str().as_bytes(), |(_, name)| name);
    let Destination { directory, name, alone } = destination(args.to.as_deref(), name)?;
    let root = open_directory(&directory).map_err(transfer::failure)?;
    let here = |path: &TreePath| {
        directory.join(std::ffi::OsStr::from_bytes(path.as_bytes())).display().to_string()
    };
    let (whole, of_file) = (here(&name), alone.as_ref().map(here));
    let to = Receiving { root, base: name, alone, owner: None, keep_modes: false };
    let work = move |link: &mut transfer::Link| receive(&to, link);
    let (node, (summary, told)) = pulled(context, args, &path, work).await?;
    // A directory that was not there was made.
    let local = of_file.filter(|_| summary.directories == 0).unwrap_or(whole);
    let view = view(context, args, &node, (local, summary, told));
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(Exit::Done)
}

/// The file and a document would both go to standard output.
#[derive(Debug, thiserror::Error)]
#[error("the file goes to standard output, and so would what --json shows; leave out one of them")]
struct TwoDocuments;

fn pour_out(terminal: bool, link: &mut transfer::Link) -> Result<Summary, TransferError> {
    let mut out = std::io::stdout();
    if terminal { pour(&mut Terminal::new(out), link) } else { pour(&mut out, link) }
}

/// Has the node send, and `work` take it.
async fn pulled(
    context: &Context<'_>,
    args: &PullArgs,
    path: &TreePath,
    work: impl FnOnce(&mut transfer::Link) -> Result<Summary, TransferError> + Send + 'static,
) -> Result<(NodeName, (Summary, Told)), CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    let begin = proto::FilesBegin {
        service: args.service.to_string(),
        path: path.as_bytes().to_vec(),
        ..proto::FilesBegin::default()
    };
    let node = target.node.name.clone();
    let agent = (&node, &mut target.client);
    let done = transfer::run(context.ui, agent, Direction::Pull, begin, work).await?;
    Ok((node, done))
}

/// Warns of what is to be known, and returns what there is to show.
fn view(
    context: &Context<'_>,
    args: &PullArgs,
    node: &NodeName,
    (local, summary, told): (String, Summary, Told),
) -> TransferView {
    let service = args.service.to_string();
    let ends = Ends { service, node: node.to_string(), local, pushed: false };
    let view = TransferView::new(ends, summary, told);
    for line in view.told() {
        context.ui.warning(&line);
    }
    view
}

/// Where something goes that is pulled.
#[derive(Debug)]
struct Destination {
    /// The directory here that nothing leaves.
    directory: PathBuf,
    /// The name in it.
    name: TreePath,
    /// The path in it of a file that comes alone; none: the name.
    alone: Option<TreePath>,
}

fn destination(to: Option<&Path>, name: &[u8]) -> Result<Destination, CliError> {
    let below = |path: &TreePath, name: &[u8]| path.join(name).map_err(CliError::usage);
    let root = TreePath::default();
    let directory = match to {
        None => PathBuf::from("."),
        Some(to) if to.is_dir() => to.to_owned(),
        Some(to) => {
            let above = to.parent().filter(|above| !above.as_os_str().is_empty());
            let new = below(&root, to.file_name().unwrap_or_default().as_bytes())?;
            let is_directory = to.as_os_str().as_bytes().ends_with(b"/");
            let alone = if is_directory { Some(below(&new, name)?) } else { None };
            let directory = above.map_or_else(|| PathBuf::from("."), Path::to_owned);
            return Ok(Destination { directory, name: new, alone });
        }
    };
    Ok(Destination { directory, name: below(&root, name)?, alone: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pulled_gets_one_name_in_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        let at = |to: &Path| {
            let Destination { directory, name, alone } = destination(Some(to), b"conf").unwrap();
            (directory, name.to_string(), alone.map(|alone| alone.to_string()))
        };
        let there = dir.path().to_owned();
        assert_eq!(at(dir.path()), (there.clone(), "conf".to_owned(), None));
        assert_eq!(at(&dir.path().join("new")), (there.clone(), "new".to_owned(), None));
        // As with `cp -r`; a file goes into it.
        let alone = Some("no/conf".to_owned());
        assert_eq!(at(&dir.path().join("no/")), (there, "no".to_owned(), alone.clone()));
        assert_eq!(at(Path::new("no/")), (".".into(), "no".to_owned(), alone));
        assert_eq!(at(Path::new("x")), (".".into(), "x".to_owned(), None));
        assert_eq!(destination(None, b"conf").unwrap().directory, PathBuf::from("."));
        assert!(destination(Some(Path::new("/nowhere/..")), b"conf").is_err());
    }
}
