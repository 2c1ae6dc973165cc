//! What a program on trial has to show before systemd is told that it is
//! ready: that it answers a call on its own socket.

use std::path::Path;
use std::time::Duration;

use super::store::{Store, StoreError};
use crate::agent::environment::Environment;
use crate::agent::gate::now_ms;
use crate::rpc::agent_v1 as pb;
use crate::rpc::client::{self, ConnectError, Endpoint};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Says why a program on trial is not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// The record could not be read or written.
    #[error("the upgrade cannot be confirmed")]
    Record(#[source] StoreError),
    /// Nobody answers on the socket.
    #[error("this program does not answer on its own socket")]
    Connect(#[source] ConnectError),
    /// The answer is an error.
    #[error("this program does not answer a call on its own socket")]
    Call(#[source] tonic::Status),
    /// There is no answer.
    #[error("this program did not answer on its own socket within {} s", ANSWER.as_secs())]
    Silent,
}

/// Tells whether this process is the one start of a program on trial.
pub fn on_trial(environment: &Environment) -> bool {
    // A record that cannot be read is told when it is to be confirmed.
    let begun = || Store::new(&environment.state_dir()).load().is_ok_and(|r| r.begun().is_some());
    environment.installed.is_some() && begun()
}

/// Asks this very agent a question, and has it stay if it answers. Without a
/// trial there is nothing to do.
///
/// # Errors
///
/// It does not answer, or that cannot be written down; it is to end then.
pub async fn confirm(environment: &Environment, socket: &Path) -> Result<(), ConfirmError> {
    if !on_trial(environment) {
        return Ok(());
    }
    tokio::time::timeout(ANSWER, ask(socket)).await.map_err(|_elapsed| ConfirmError::Silent)??;
    let store = Store::new(&environment.state_dir());
    let record = store.load().map_err(ConfirmError::Record)?.confirm(now_ms());
    store.save(&record).map_err(ConfirmError::Record)?;
    store.clean(&record);
    tracing::info!("this program answers, and stays in the place of the installed one");
    Ok(())
}

async fn ask(socket: &Path) -> Result<(), ConfirmError> {
    let endpoint = Endpoint::Unix(socket.to_owned());
    let mut client = client::connect(&endpoint, None).await.map_err(ConfirmError::Connect)?;
    client.info(pb::InfoRequest {}).await.map_err(ConfirmError::Call)?;
    Ok(())
}
