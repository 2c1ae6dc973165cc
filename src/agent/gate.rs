//! The gate before every call: who calls, may they, and the record of it.
//!
//! A Unix peer is known by its uid, a TCP peer by its bearer token. Calls that
//! change something and refusals go to the audit; a handler finds [`Caller`]
//! and [`AuditNote`] in the extensions of its request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, Service};
use tonic::{Code, Status};

use super::identity::Members;
use crate::registry::{AuditRow, Registry, RegistryError};
use crate::rpc::auth::{
    self, Access, REASON_HEADER, Refusal, Role, StoredToken, Token, VERSION_HEADER,
};
use crate::rpc::server::Peer;
use crate::telemetry::Chain;

/// What every answer to a caller says.
static VERSION: HeaderValue = HeaderValue::from_static(env!("CARGO_PKG_VERSION"));
/// How often the use of a token is written down.
const TOUCH_MS: i64 = 60_000;
/// The words of the audit for a session that begins, and for how its command
/// ended, the status after it.
const BEGUN: &str = "begun";
const EXIT: &str = "exit_";

/// Who calls; an extension of every request that a handler sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's or token's name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Where they are.
    pub peer: Peer,
}

/// What a handler tells the audit; an extension of every request that a
/// handler sees.
#[derive(Debug, Clone, Default)]
pub struct AuditNote(Arc<Mutex<Note>>);

#[derive(Debug, Default)]
struct Note {
    subject: String,
    outcome: Option<(String, String)>,
}

impl AuditNote {
    /// Says what the call is about, such as `web/api`.
    pub fn subject(&self, subject: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).subject = subject.into();
    }

    /// Says how the call ended where the gRPC status does not: a deploy that
    /// was rolled back still answers `ok`. To be said before the stream ends.
    pub fn outcome(&self, code: impl Into<String>, message: impl Into<String>) {
        let outcome = Some((code.into(), message.into()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).outcome = outcome;
    }
}

/// Decides about calls.
#[derive(Debug)]
pub struct Gate {
    registry: Registry,
    members: watch::Receiver<Arc<Members>>,
    records: TaskTracker,
}

/// Why a call does not get through.
enum Denied {
    Refused(Refusal),
    Broken(RegistryError),
    /// A stored role that this program does not know.
    Role,
    /// Not from one of our listeners.
    NoPeer,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<RegistryError> for Denied {
    fn from(error: RegistryError) -> Self {
        Self::Broken(error)
    }
}

impl Denied {
    fn status(&self) -> Status {
        match self {
            Self::Refused(refusal) => {
                let code = if refusal.is_permission() {
                    Code::PermissionDenied
                } else {
                    Code::Unauthenticated
                };
                let mut status = Status::new(code, refusal.to_string());
                if let Ok(reason) = refusal.reason().parse() {
                    status.metadata_mut().insert(REASON_HEADER, reason);
                }
                status
            }
            Self::Broken(error) => Status::unavailable(Chain(error).to_string()),
            Self::Role => Status::internal("the token's role is not known to this agent"),
            Self::NoPeer => Status::internal("the connection has no peer"),
        }
    }
}

impl Gate {
    /// Makes a gate; `records` owns what is still being written to the audit.
    pub fn new(
        registry: Registry,
        members: watch::Receiver<Arc<Members>>,
        records: TaskTracker,
    ) -> Self {
        Self { registry, members, records }
    }

    /// Puts the gate before a service.
    pub fn before<S>(self, inner: S) -> Gated<S> {
        Gated { inner, gate: Arc::new(self) }
    }

    async fn authenticate(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Denied> {
        if let Peer::Unix { uid, .. } = peer {
            let members = Arc::clone(&self.members.borrow());
            if let Some(role) = members.role(*uid) {
                return Ok(Caller { name: members.name(*uid), role, peer: peer.clone() });
            }
            if !headers.contains_key(header::AUTHORIZATION) {
                return Err(Refusal::NoRole { uid: *uid }.into());
            }
        }
        let value = headers.get(header::AUTHORIZATION).ok_or(Refusal::NoToken)?;
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, token)| Token::parse(token.trim()))
            .ok_or(Refusal::BadToken)?;
        let row = self.registry.token(token.id()).await?.ok_or(Refusal::BadToken)?;
        let stored = StoredToken {
            hash: row.hash,
            role: row.role.parse().map_err(|_unknown| Denied::Role)?,
            expires_at_ms: row.expires_at_ms,
            revoked_at_ms: row.revoked_at_ms,
        };
        let now = now_ms();
        let role = auth::verify(&token, &stored, now)?;
        if row.last_used_ms.is_none_or(|last| now - last >= TOUCH_MS) {
            let (registry, id) = (self.registry.clone(), row.id);
            self.records.spawn(async move {
                if let Err(error) = registry.touch_token(&id, now).await {
                    tracing::warn!(error = %Chain(&error), "cannot record the use of a token");
                }
            });
        }
        Ok(Caller { name: row.name, role, peer: peer.clone() })
    }

    /// Lets a request through, or answers it; either way with its record.
    async fn admit(&self, request: &mut Request<Body>) -> Result<Option<Record>, Status> {
        let path = request.uri().path().to_owned();
        let access = auth::access(&path);
        if access == Access::Open {
            return Ok(None);
        }
        let peer = request.extensions().get::<Peer>().cloned();
        let mut row = AuditRow {
            at_ms: now_ms(),
            caller: "-".to_owned(),
            role: "-".to_owned(),
            peer: peer.as_ref().map_or_else(|| "-".to_owned(), Peer::to_string),
            // Anybody can invent a method of any length.
            method: auth::method(&path).chars().take(64).collect(),
            subject: String::new(),
            code: String::new(),
            message: String::new(),
        };
        let caller = match peer {
            Some(peer) => self.authenticate(&peer, request.headers()).await,
            None => Err(Denied::NoPeer),
        };
        let admitted = caller.and_then(|caller| {
            row.caller.clone_from(&caller.name);
            row.role = caller.role.to_string();
            auth::authorise(caller.role, &path).map(|()| caller).map_err(Denied::from)
        });
        match admitted {
            Ok(caller) => {
                let note = AuditNote::default();
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(note.clone());
                let (registry, records) = (self.registry.clone(), self.records.clone());
                Ok(access.changes().then_some(Record { row, note, registry, records }))
            }
            Err(denied) => {
                let status = denied.status();
                row.code = code_word(status.code());
                status.message().clone_into(&mut row.message);
                // Written before it is told, so that it cannot be outrun.
                write(&self.registry, row).await;
                Err(status)
            }
        }
    }
}

/// Records a refused TLS handshake, which never becomes a call.
pub async fn record_handshake(registry: &Registry, refused: &crate::rpc::server::RefusedHandshake) {
    let row = AuditRow {
        at_ms: now_ms(),
        caller: "-".to_owned(),
        role: "-".to_owned(),
        peer: refused.addr.to_string(),
        method: "TLS handshake".to_owned(),
        subject: String::new(),
        code: code_word(Code::Unauthenticated),
        message: refused.error.to_string(),
    };
    write(registry, row).await;
}

/// Records that a session begins, with its command line. That is kept from
/// the log: more people read it.
pub async fn record_session(
    registry: &Registry,
    caller: Option<&Caller>,
    (method, subject): (&str, String),
    command: String,
) {
    let text = |of: fn(&Caller) -> String| caller.map_or_else(|| "-".to_owned(), of);
    let row = AuditRow {
        at_ms: now_ms(),
        caller: text(|c| c.name.clone()),
        role: text(|c| c.role.to_string()),
        peer: text(|c| c.peer.to_string()),
        method: method.to_owned(),
        subject,
        code: BEGUN.to_owned(),
        message: command,
    };
    write(registry, row).await;
}

/// Returns the word of the audit for how a command ended: `exit_0`.
pub fn exit_word(status: i32) -> String {
    format!("{EXIT}{status}")
}

/// Returns the time as the registry stores it: milliseconds since the Unix
/// epoch.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// `PermissionDenied` as `permission_denied`, the spelling of gRPC's
/// documentation in lower case.
fn code_word(code: Code) -> String {
    let mut word = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

async fn write(registry: &Registry, row: AuditRow) {
    let AuditRow { at_ms: _, caller, role, peer, method, subject, code, message } = &row;
    // `done` and `unchanged` are outcomes of an operation (`Progress`).
    let fine = matches!(code.as_str(), "ok" | "done" | "unchanged" | BEGUN);
    if fine || code.starts_with(EXIT) {
        tracing::info!(%caller, %role, %peer, %method, %subject, %code, "call");
    } else {
        tracing::warn!(%caller, %role, %peer, %method, %subject, %code, detail = %message, "call");
    }
    if let Err(error) = registry.record_audit(row).await {
        tracing::error!(error = %Chain(&error), "a call could not be recorded");
    }
}

/// The record of one admitted call, until its result is known.
struct Record {
    row: AuditRow,
    note: AuditNote,
    registry: Registry,
    records: TaskTracker,
}

impl Record {
    fn finish(mut self, code: Code, message: &str) {
        {
            let mut note = self.note.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.row.subject = std::mem::take(&mut note.subject);
            (self.row.code, self.row.message) = match (code, note.outcome.take()) {
                // A client that went away is no more than that.
                (Code::Ok | Code::Cancelled, Some(outcome)) => outcome,
                (_, _) => (code_word(code), message.to_owned()),
            };
        }
        let Self { row, registry, records, note: _ } = self;
        records.spawn(async move { write(&registry, row).await });
    }
}

/// A service behind a [`Gate`].
#[derive(Debug)]
pub struct Gated<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S: Clone> Clone for Gated<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), gate: Arc::clone(&self.gate) }
    }
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone has not been polled ready; take the one that was.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            match gate.admit(&mut request).await {
                Ok(record) => {
                    // A client that leaves drops this future, and the record
                    // with it: `Pending` then writes what is known.
                    let pending = Pending(record);
                    // Who has no right to call is not told.
                    let known = request.extensions().get::<Caller>().is_some();
                    let mut response = inner.call(request).await?;
                    if known {
                        response.headers_mut().insert(VERSION_HEADER, VERSION.clone());
                    }
                    Ok(pending.attach(response))
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// Holds a record so that it is written whatever becomes of the call.
struct Pending(Option<Record>);

impl Pending {
    fn finish(&mut self, code: Code, message: &str) {
        if let Some(record) = self.0.take() {
            record.finish(code, message);
        }
    }

    /// Writes the record when the response says how the call ended: at once
    /// when it has only headers, else with its trailers.
    fn attach(mut self, response: Response<Body>) -> Response<Body> {
        if self.0.is_none() {
            return response;
        }
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.finish(status.code(), status.message());
            return response;
        }
        response.map(|body| Body::new(Recorded { body, pending: self }))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.finish(Code::Cancelled, "the client went away");
    }
}

/// The body of a response whose trailers end the record.
struct Recorded {
    body: Body,
    pending: Pending,
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let status = Status::from_header_map(trailers);
                    let status = status.unwrap_or_else(|| Status::unknown("no status"));
                    self.pending.finish(status.code(), status.message());
                }
            }
            Poll::Ready(Some(Err(status))) => {
                self.pending.finish(status.code(), status.message());
            }
            Poll::Ready(None) => self.pending.finish(Code::Unknown, "no status"),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
