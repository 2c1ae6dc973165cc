//! What the agent sends to a session.

use prost::Message as _;
use rustix::process::Signal;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use super::frame;
use super::task::{Size, WINDOW};
use crate::rpc::agent_v1 as pb;
use crate::rpc::agent_v1::session_request::Message;

/// What a session is asked for, input aside.
#[derive(Debug, PartialEq, Eq)]
pub enum Control {
    /// The terminal has another size.
    Resize(Size),
    /// The command gets a signal.
    Signal(Signal),
    /// The command is to end.
    Stop,
}

/// Reads what the agent sends until it is gone: input goes to one queue, the
/// rest to another, whose end says that the agent is gone.
///
/// The queue of input has room for all that may be under way. An agent that
/// sends more is not ours, and counts as gone.
pub async fn read(
    mut from: impl AsyncRead + Unpin,
    input: mpsc::Sender<Vec<u8>>,
    controls: mpsc::Sender<Control>,
) {
    let mut input = Some(input);
    loop {
        let frame = match frame::read(&mut from).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the agent is lost");
                return;
            }
        };
        let message = match pb::SessionRequest::decode(frame.as_slice()) {
            Ok(request) => request.message,
            Err(error) => {
                tracing::warn!(%error, "the agent sent something else");
                return;
            }
        };
        let control = match message {
            Some(Message::Input(chunk)) => {
                match input.as_ref().map(|input| input.try_send(chunk)) {
                    Some(Err(mpsc::error::TrySendError::Full(_))) => {
                        tracing::warn!("the agent sent more than {WINDOW} chunks of input");
                        return;
                    }
                    // Nobody reads input any more, or none was to come.
                    Some(Ok(()) | Err(mpsc::error::TrySendError::Closed(_))) | None => continue,
                }
            }
            Some(Message::InputEnd(_)) => {
                input = None;
                continue;
            }
            other => control(other),
        };
        if let Some(control) = control
            && controls.send(control).await.is_err()
        {
            return;
        }
    }
}

/// Reads a message that is no input; what is not known is passed over.
pub fn control(message: Option<Message>) -> Option<Control> {
    match message? {
        Message::Size(size) => Some(Control::Resize(Size::from(size))),
        Message::Signal(number) => Signal::from_named_raw(number).map(Control::Signal),
        Message::Stop(_) => Some(Control::Stop),
        Message::Start(_) | Message::Input(_) | Message::InputEnd(_) => None,
    }
}

impl From<pb::TerminalSize> for Size {
    fn from(size: pb::TerminalSize) -> Self {
        let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        Self { rows: number(size.rows), columns: number(size.columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(messages: Vec<Message>) -> (Vec<Vec<u8>>, Vec<Control>) {
        let mut bytes: Vec<u8> = Vec::new();
        for message in messages {
            let request = pb::SessionRequest { message: Some(message) };
            frame::write(&mut bytes, &request.encode_to_vec()).await.unwrap();
        }
        let (input, mut chunks) = mpsc::channel(usize::try_from(WINDOW).unwrap());
        let (controls, mut others) = mpsc::channel(64);
        read(bytes.as_slice(), input, controls).await;
        let (mut taken, mut found) = (Vec::new(), Vec::new());
        while let Some(chunk) = chunks.recv().await {
            taken.push(chunk);
        }
        while let Some(control) = others.recv().await {
            found.push(control);
        }
        (taken, found)
    }

    #[tokio::test]
    async fn a_signal_is_heard_behind_all_the_input_that_nobody_reads() {
        let mut messages = vec![Message::Input(vec![0]); usize::try_from(WINDOW).unwrap()];
        messages.push(Message::Signal(2));
        messages.push(Message::Signal(4711));
        messages.push(Message::InputEnd(pb::SessionEmpty {}));
        messages.push(Message::Stop(pb::SessionEmpty {}));
        let (chunks, controls) = sent(messages).await;
        assert_eq!(chunks.len(), 16);
        assert_eq!(controls, [Control::Signal(Signal::INT), Control::Stop]);
    }

    #[tokio::test]
    async fn more_input_than_was_granted_ends_it() {
        let mut messages = vec![Message::Input(vec![0]); usize::try_from(WINDOW).unwrap() + 1];
        messages.push(Message::Stop(pb::SessionEmpty {}));
        assert_eq!(sent(messages).await.1, []);
    }
}
