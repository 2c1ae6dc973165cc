//! `Exec` and `RunOnce`.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use super::{Agent, Answers, component_name, service_name, status::status, subject};
use crate::agent::engine::session::{Session, Wish};
use crate::agent::gate::{self, AuditNote, Caller};
use crate::agent::session::frame;
use crate::agent::session::task::{CHUNK, Size, WINDOW};
use crate::rpc::agent_v1 as pb;
use crate::rpc::agent_v1::{session_request, session_response};

/// Sessions at the same time.
pub(super) const SESSIONS: usize = 64;
/// How long a caller may take to say what it wants.
const FIRST: Duration = Duration::from_secs(10);
/// The most octets of a command line with its variables: what one argument
/// may have in Linux (`execve(2)`), and far below what a frame may.
const LONGEST: usize = 128 * 1024;

/// Which of the two calls it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In the component's container.
    Exec,
    /// In one of its own.
    RunOnce,
}

impl Kind {
    fn method(self) -> &'static str {
        match self {
            Self::Exec => "Exec",
            Self::RunOnce => "RunOnce",
        }
    }
}

impl Agent {
    pub(super) async fn answer_session(
        &self,
        kind: Kind,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Answers<pb::SessionResponse>>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let note = subject(&request, "", "");
        let mut requests = request.into_inner();
        let start = first(&mut requests).await?;
        let service = service_name(&start.service)?;
        let component = component_name(&start.component)?;
        let subject = match &component {
            Some(component) => format!("{service}/{component}"),
            None => service.to_string(),
        };
        note.subject(subject.clone());
        let wish = wish(start, kind)?;
        let room = Arc::clone(&self.sessions).try_acquire_owned().map_err(|_full| {
            Status::resource_exhausted(format!("there are {SESSIONS} sessions on this node"))
        })?;
        // Written before it begins: the end may never be.
        let about = (kind.method(), subject);
        gate::record_session(self.engine.registry(), caller.as_ref(), about, said(&wish)).await;
        let session = match kind {
            Kind::Exec => self.engine.exec(&service, component.as_ref(), &wish).await,
            Kind::RunOnce => self.engine.run_once(&service, component.as_ref(), &wish).await,
        };
        let session = session.map_err(|e| status(&e))?;
        Ok(Response::new(self.answers(session, requests, note, room)))
    }

    fn answers(
        &self,
        session: Session,
        requests: Streaming<pb::SessionRequest>,
        note: AuditNote,
        room: OwnedSemaphorePermit,
    ) -> Answers<pb::SessionResponse> {
        let begun = pb::SessionBegun {
            unit: session.unit.to_string(),
            container: session.container.to_string(),
        };
        let (from, to) = session.socket.into_split();
        let open = Open {
            from,
            note,
            unit: session.unit.to_string(),
            shutdown: self.shutdown.clone(),
            _input: AbortOnDropHandle::new(tokio::spawn(pass_on(requests, to))),
            _room: room,
        };
        let first =
            [session_response::Message::Begun(begun), session_response::Message::Granted(WINDOW)];
        let first = first.map(|message| Ok(pb::SessionResponse { message: Some(message) }));
        let rest = futures_util::stream::unfold(Some(open), step);
        Box::pin(futures_util::StreamExt::chain(futures_util::stream::iter(first), rest))
    }
}

/// A session under way; when it is dropped, its socket is closed and the
/// command ended.
struct Open {
    from: OwnedReadHalf,
    note: AuditNote,
    unit: String,
    shutdown: CancellationToken,
    _input: AbortOnDropHandle<()>,
    _room: OwnedSemaphorePermit,
}

type Step = Option<(Result<pb::SessionResponse, Status>, Option<Open>)>;

async fn step(open: Option<Open>) -> Step {
    let mut open = open?;
    // Either way nothing more is read after the shutdown.
    let read = tokio::select! {
        read = frame::read(&mut open.from) => read,
        () = open.shutdown.cancelled() => {
            let why = "the agent is being stopped, and has ended the command";
            return Some((Err(Status::unavailable(why)), None));
        }
    };
    let answer = match read.map(|frame| frame.map(|f| pb::SessionResponse::decode(f.as_slice()))) {
        Ok(Some(Ok(answer))) => answer,
        other => {
            let unit = &open.unit;
            tracing::warn!(unit, ?other, "a session ended before its command");
            let why = format!(
                "the session was ended before the command; on the node, `journalctl --user -u {unit}` may say why"
            );
            return Some((Err(Status::aborted(why)), None));
        }
    };
    if let Some(session_response::Message::End(end)) = &answer.message {
        open.note.outcome(gate::exit_word(end.status), end.message.clone());
        return Some((Ok(answer), None));
    }
    Some((Ok(answer), Some(open)))
}

/// Sends on what the client sends. Returns, and with that closes the socket,
/// when the client has gone or does what it may not.
async fn pass_on(mut requests: Streaming<pb::SessionRequest>, mut to: OwnedWriteHalf) {
    loop {
        let request = match requests.message().await {
            Ok(Some(request)) => request,
            // It has no more to say, and still listens.
            Ok(None) => std::future::pending().await,
            Err(error) => {
                tracing::debug!(%error, "the client of a session is gone");
                return;
            }
        };
        if let Some(session_request::Message::Input(chunk)) = &request.message
            && chunk.len() > CHUNK
        {
            tracing::warn!(octets = chunk.len(), "a client sent too much input at once");
            return;
        }
        if let Err(error) = frame::write(&mut to, &request.encode_to_vec()).await {
            tracing::debug!(%error, "a session has ended");
            // What is left to be read of it says how.
            std::future::pending::<()>().await;
        }
    }
}

async fn first(requests: &mut Streaming<pb::SessionRequest>) -> Result<pb::SessionStart, Status> {
    let request = tokio::time::timeout(FIRST, requests.message())
        .await
        .map_err(|_elapsed| Status::deadline_exceeded("nothing was asked for"))??;
    match request.and_then(|request| request.message) {
        Some(session_request::Message::Start(start)) => Ok(start),
        Some(_) | None => Err(Status::invalid_argument("a session begins with `start`")),
    }
}

/// Checks what is wished.
fn wish(start: pb::SessionStart, kind: Kind) -> Result<Wish, Status> {
    let bad = |why: &str| Err(Status::invalid_argument(why.to_owned()));
    if kind == Kind::Exec && start.command.is_empty() {
        return bad("there is no command to run; write it after --");
    }
    if kind == Kind::Exec && !start.entrypoint.is_empty() {
        return bad("an entry point is of a new container; it does nothing in one that runs");
    }
    let words =
        start.command.iter().chain([&start.user, &start.working_directory, &start.entrypoint]);
    if words.clone().any(|word| word.contains('\0')) {
        return bad("an argument holds a NUL, which no program can be given");
    }
    let variables = start.env.iter().map(|v| v.name.len() + v.value.len());
    if words.map(String::len).chain(variables).sum::<usize>() > LONGEST {
        return bad("the command line with its variables is longer than 128 KiB");
    }
    let mut env = Vec::new();
    for pb::SessionVariable { name, value } in start.env {
        env.push(variable(name, value)?);
    }
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Wish {
        command: start.command,
        input: start.input,
        terminal: start.terminal.map(Size::from),
        env,
        user: given(start.user),
        working_directory: given(start.working_directory),
        entrypoint: given(start.entrypoint),
    })
}

/// Checks a variable. podman reads them from a file of lines.
fn variable(name: String, value: String) -> Result<(String, String), Status> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.chars().all(letter) {
        return Err(Status::invalid_argument(format!("{name:?} is no name of a variable")));
    }
    if value.contains(['\n', '\r', '\0']) {
        let why = format!(
            "the value of {name} holds a line break or a NUL, which cannot be handed on; send it as input"
        );
        return Err(Status::invalid_argument(why));
    }
    Ok((name, value))
}

/// Returns what the audit says of a session: the command line, and the names
/// of its variables. Values are none of its business.
fn said(wish: &Wish) -> String {
    let names = wish.env.iter().map(|(name, _)| format!("-e {name}"));
    let user = wish.user.iter().map(|user| format!("--user {user}"));
    let entrypoint = wish.entrypoint.iter().map(|program| format!("--entrypoint {program}"));
    let words = wish.command.iter().cloned();
    let all: Vec<String> =
        names.chain(user).chain(entrypoint).chain(["--".to_owned()]).chain(words).collect();
    all.join(" ").chars().take(1024).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(command: &[&str]) -> pb::SessionStart {
        pb::SessionStart {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            ..Default::default()
        }
    }

    fn with(name: &str, value: &str) -> pb::SessionStart {
        let variable = pb::SessionVariable { name: name.to_owned(), value: value.to_owned() };
        pb::SessionStart { env: vec![variable], ..start(&["env"]) }
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_reason() {
        let long = "x".repeat(LONGEST + 1);
        for (start, why) in [
            (start(&[]), "no command"),
            (start(&["a\0b"]), "NUL"),
            (start(&[&long]), "128 KiB"),
            (with("", "x"), "no name"),
            (with("#A", "x"), "no name"),
            (with("A=B", "x"), "no name"),
            (with("1A", "x"), "no name"),
            (with("A", "x\ny"), "line break"),
            (with("A", &long), "128 KiB"),
            (pb::SessionStart { entrypoint: "/bin/sh".to_owned(), ..start(&["x"]) }, "entry point"),
        ] {
            let error = wish(start, Kind::Exec).unwrap_err();
            assert_eq!(error.code(), tonic::Code::InvalidArgument);
            assert!(error.message().contains(why), "{error:?}");
        }
        assert!(wish(start(&[]), Kind::RunOnce).is_ok());
    }

    #[test]
    fn the_audit_has_the_command_and_no_value_of_a_variable() {
        let wish = wish(with("PGPASSWORD", "hunter2"), Kind::Exec).unwrap();
        assert_eq!(said(&wish), "-e PGPASSWORD -- env");
    }
}
