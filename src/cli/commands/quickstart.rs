//! `mcp quickstart`.

use clap::Args;

use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::quickstart::{example, make, remove};
use crate::cli::views::quickstart::QuickstartView;
use crate::names::{ImageRef, ServiceName};
use crate::ui::visible;

/// Have an agent of your own and a service that runs, on this machine
///
/// For an ordinary user with podman: the agent becomes a service of your own
/// systemd, and an example is deployed. Again, it changes nothing. `--remove`
/// takes away what it made, and keeps what you made.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp quickstart --dry-run\n  mcp quickstart\n  mcp quickstart --image docker.io/traefik/whoami:v1.11 --port 9000\n  mcp quickstart --remove"
)]
pub struct QuickstartArgs {
    /// Call the example so
    #[arg(
        long,
        value_name = "SERVICE",
        default_value = "hello",
        conflicts_with = "remove",
        add = completion::services()
    )]
    pub name: ServiceName,
    /// Run this image, which answers HTTP on its port 8080
    #[arg(long, default_value = example::IMAGE, conflicts_with = "remove")]
    pub image: ImageRef,
    /// Serve it on this port of 127.0.0.1 [default: the first free one from 8080]
    #[arg(long, conflicts_with = "remove", value_parser = clap::value_parser!(u16).range(1024..))]
    pub port: Option<u16>,
    /// Take away what a quickstart made
    #[arg(long)]
    pub remove: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs the command.
///
/// # Errors
///
/// Something is missing on this machine, or in the way.
pub async fn run(context: &Context<'_>, args: &QuickstartArgs) -> Result<Exit, CliError> {
    let mut view = QuickstartView { dry_run: args.dry_run, ..QuickstartView::default() };
    let exit = if args.remove {
        remove::remove(context, args.dry_run, &mut view).await?
    } else {
        let wish = make::Wish {
            service: args.name.clone(),
            image: args.image.clone(),
            port: args.port,
            dry_run: args.dry_run,
        };
        make::make(context, &wish, &mut view).await?
    };
    for (note, mend) in &view.notes {
        context.ui.warning(&visible(note));
        if !mend.is_empty() {
            context.ui.hint(&visible(mend));
        }
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(exit)
}
