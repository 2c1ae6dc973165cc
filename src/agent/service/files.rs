//! `Push`, `Pull` and `ListFiles`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Agent, Answers, component_name, service_name, status::status, subject};
use crate::agent::files::command::{End, FilesArgs};
use crate::agent::files::owner::{self, OwnerSource};
use crate::agent::files::relay::{Known, Worker};
use crate::agent::gate::AuditNote;
use crate::definition::{self, Service};
use crate::names::ServiceName;
use crate::rpc::agent_v1 as pb;
use crate::rpc::agent_v1::file_frame::Frame as Wire;
use crate::transfer::{TreePath, UserText};

/// Frames that wait for a slow reader.
const QUEUE: usize = 4;
/// How long a caller may take to say what it wants.
const BEGIN: Duration = Duration::from_secs(30);

type Transfer = Result<Response<Answers<pb::FileFrame>>, Status>;

/// What the caller wants, checked.
struct Wanted {
    begin: pb::FilesBegin,
    service: ServiceName,
    /// On the node.
    path: PathBuf,
}

impl Agent {
    pub(super) async fn answer_push(&self, request: Request<Streaming<pb::FileFrame>>) -> Transfer {
        let (wanted, caller) = self.wanted(request).await?;
        let (owner, components) = self.owner(&wanted)?;
        let args = self.worker(End::Receive, &wanted, owner);
        self.run_worker(args, (wanted, components), caller).await
    }

    pub(super) async fn answer_pull(&self, request: Request<Streaming<pb::FileFrame>>) -> Transfer {
        let (wanted, caller) = self.wanted(request).await?;
        let args = self.worker(End::Send, &wanted, OwnerSource::default());
        self.run_worker(args, (wanted, Vec::new()), caller).await
    }

    pub(super) async fn answer_list_files(
        &self,
        request: Request<pb::ListFilesRequest>,
    ) -> Result<Response<pb::ListFilesResponse>, Status> {
        let note = subject(&request, "", "");
        let pb::ListFilesRequest { service, path, prefix } = request.into_inner();
        let begin = pb::FilesBegin { service, path, prefix, ..pb::FilesBegin::default() };
        let wanted = self.located(begin, &note)?;
        let args = self.worker(End::List, &wanted, OwnerSource::default());
        let turn = turn(&self.data_dirs.listings)?;
        let names = self.start_worker(&args, turn).await?.names(wanted.begin).await?;
        Ok(Response::new(pb::ListFilesResponse { names }))
    }

    /// Takes the caller's first frame.
    async fn wanted(
        &self,
        request: Request<Streaming<pb::FileFrame>>,
    ) -> Result<(Wanted, Streaming<pb::FileFrame>), Status> {
        let note = subject(&request, "", "");
        let mut caller = request.into_inner();
        let first = tokio::time::timeout(BEGIN, caller.message())
            .await
            .map_err(|_| Status::deadline_exceeded("nothing was asked for"))??;
        let Some(Wire::Begin(begin)) = first.and_then(|first| first.frame) else {
            return Err(Status::invalid_argument("a transfer begins with what it is about"));
        };
        Ok((self.located(begin, &note)?, caller))
    }

    /// Checks what is wanted, and finds it on the node.
    fn located(&self, begin: pb::FilesBegin, note: &AuditNote) -> Result<Wanted, Status> {
        let service = service_name(&begin.service)?;
        let path = TreePath::parse(&begin.path)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        note.subject(format!("{service}:{path}"));
        let directory = self.data_dirs.of(&service).ok_or_else(|| {
            let message = format!("the data directory of {service} would be the agent's own; set files.dir in mcp-agent.toml");
            Status::failed_precondition(message)
        })?;
        let below = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path.as_bytes());
        let path = if path.is_root() { directory } else { directory.join(below) };
        Ok(Wanted { begin, service, path })
    }

    /// Decides whose the files are to be, and which components mount them:
    /// of what is deployed, else of the definition that the caller has.
    fn owner(&self, wanted: &Wanted) -> Result<(OwnerSource, Vec<String>), Status> {
        let invalid = |error: &dyn std::error::Error| Status::invalid_argument(error.to_string());
        let named = component_name(&wanted.begin.component)?;
        let accepted = self.engine.accepted(&wanted.service).ok();
        let defined = match (&accepted, wanted.begin.definition.as_str()) {
            (Some(_), _) | (None, "") => None,
            (None, text) => Some(defined(text, &wanted.service)?),
        };
        let all: Vec<owner::Candidate<'_>> = match (&accepted, &defined) {
            (Some(accepted), _) => {
                let containers = accepted.deployment.containers.iter();
                containers.map(|c| (&c.spec, Some(c.image.to_string()))).collect()
            }
            (None, Some(service)) => {
                let components = service.components.iter();
                components.map(|c| (c, c.image.as_ref().map(ToString::to_string))).collect()
            }
            (None, None) if named.is_some() => {
                let name = &wanted.service;
                let message = format!(
                    "service {name} is not deployed on this node, so its components are not known; leave the component out, or deploy {name} first"
                );
                return Err(Status::failed_precondition(message));
            }
            (None, None) => Vec::new(),
        };
        let mounting = owner::mounting(&wanted.path, &all);
        let components = mounting.iter().map(|(c, _)| c.name.to_string()).collect();
        if wanted.begin.owner.is_empty() {
            let chosen = owner::choose(&wanted.path, named.as_ref(), &all);
            return Ok((chosen.map_err(|error| invalid(&error))?, components));
        }
        let given: UserText = wanted.begin.owner.parse().map_err(|error| invalid(&error))?;
        let chosen =
            owner::given(&wanted.begin.owner, &given, (&wanted.path, named.as_ref()), &all);
        Ok((chosen.map_err(|error| invalid(&error))?, components))
    }

    fn worker(&self, end: End, wanted: &Wanted, owner: OwnerSource) -> FilesArgs {
        FilesArgs::new(end, self.data_dirs.dir().to_owned(), wanted.service.clone(), owner)
    }

    async fn run_worker(
        &self,
        args: FilesArgs,
        (wanted, components): (Wanted, Vec<String>),
        caller: Streaming<pb::FileFrame>,
    ) -> Transfer {
        let turn = turn(&self.data_dirs.turns)?;
        let worker = self.start_worker(&args, turn).await?;
        let (answers, frames) = mpsc::channel(QUEUE);
        let path = wanted.path.display().to_string();
        let known = Known { path, components };
        tokio::spawn(worker.relay(wanted.begin, caller, (answers, known)));
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }

    async fn start_worker(
        &self,
        args: &FilesArgs,
        turn: OwnedSemaphorePermit,
    ) -> Result<Worker, Status> {
        // The first podman that needs it would make it with our view of the
        // file system.
        self.engine.hold_pause_process().await.map_err(|e| status(&e))?;
        Worker::start(args, turn)
            .map_err(|error| Status::failed_precondition(format!("podman cannot be run: {error}")))
    }
}

/// Takes one of the turns that there are.
fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(turns).try_acquire_owned().map_err(|_| {
        Status::resource_exhausted("too many transfers are under way on this node; try later")
    })
}

/// Reads the definition of a service that is not deployed.
fn defined(text: &str, name: &ServiceName) -> Result<Service, Status> {
    let service = definition::load(text).map_err(|_invalid| {
        Status::invalid_argument(format!("the definition of {name} has mistakes; see mcp lint"))
    })?;
    if service.name != *name {
        return Err(Status::invalid_argument(format!("the definition is not of {name}")));
    }
    Ok(service)
}
