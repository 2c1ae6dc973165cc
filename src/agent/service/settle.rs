//! What an agent does by itself when it begins: the node's own units, and what
//! the agent before was at.

use super::{Agent, RETRY};
use crate::agent::engine::EngineError;
use crate::agent::engine::recovery::CutOff;
use crate::telemetry::Chain;

impl Agent {
    pub(super) async fn settle_until_the_end(
        self,
        cut_off: Vec<CutOff>,
    ) -> Result<(), EngineError> {
        // A recovery that the shutdown cuts off is taken up at the next start.
        tokio::select! {
            () = self.settle(cut_off) => {}
            () = self.shutdown.cancelled() => {}
        }
        Ok(())
    }

    /// Puts the node's own units in place as soon as its user manager
    /// answers, then finishes or undoes what was cut off.
    async fn settle(&self, cut_off: Vec<CutOff>) {
        while let Err(error) = self.engine.prepare_node().await {
            let text = Chain(&error).to_string();
            if self.problems.set("systemd", text.clone()) {
                tracing::error!("the node's own units are not in place: {text}");
                self.examine().await;
            }
            tokio::time::sleep(RETRY).await;
        }
        self.problems.clear("systemd");
        self.engine.recover(cut_off).await;
        self.engine.settle_restarts().await;
        tokio::join!(self.finish_what_is_stuck(), self.bring_back(), self.examine());
    }

    async fn finish_what_is_stuck(&self) {
        loop {
            // Wakes only for an operation that could be neither finished nor
            // undone: the user manager was away, the disk full.
            self.engine.stuck().await;
            tokio::time::sleep(RETRY).await;
            match self.engine.cut_off().await {
                Ok(found) => self.engine.recover(found).await,
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "the registry does not answer");
                    self.engine.leave_for_later();
                }
            }
        }
    }
}
