//! The version that an agent says with its answers, as a client sees it.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::Channel;

use super::auth::VERSION_HEADER;
use crate::names::ProgramVersion;

/// Where the version of the other end is noted when it answers; clones note
/// in the same place.
#[derive(Debug, Clone, Default)]
pub struct SeenVersion(Arc<OnceLock<ProgramVersion>>);

impl SeenVersion {
    /// Returns the version, if there was an answer that had one.
    pub fn version(&self) -> Option<&ProgramVersion> {
        self.0.get()
    }

    fn note(&self, headers: &http::HeaderMap) {
        let said = headers.get(VERSION_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(version) = said {
            // An agent that was upgraded in between is seen as it was first.
            drop(self.0.set(version));
        }
    }
}

/// A channel that notes the version of who answers.
#[derive(Debug, Clone)]
pub struct Noting {
    channel: Channel,
    seen: SeenVersion,
}

impl Noting {
    /// Notes in `seen` what answers on `channel` say.
    pub fn new(channel: Channel, seen: SeenVersion) -> Self {
        Self { channel, seen }
    }
}

impl Service<http::Request<Body>> for Noting {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (answer, seen) = (self.channel.call(request), self.seen.clone());
        Box::pin(async move {
            let answer = answer.await?;
            seen.note(answer.headers());
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_version_is_not_noted_and_the_first_stays() {
        let seen = SeenVersion::default();
        let mut headers = http::HeaderMap::new();
        seen.note(&headers);
        for (text, noted) in
            [("\u{1b}[31m", None), ("0.3.0", Some("0.3.0")), ("0.4.0", Some("0.3.0"))]
        {
            if let Ok(value) = http::HeaderValue::from_bytes(text.as_bytes()) {
                headers.insert(VERSION_HEADER, value);
            }
            seen.note(&headers);
            assert_eq!(seen.version().map(ToString::to_string).as_deref(), noted);
        }
    }
}
