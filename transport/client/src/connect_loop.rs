//! The one background task of a client: connects, runs a session, waits, connects again.

use tokio::time::{Instant, sleep_until};

use crate::engine::ClientEngine;
use crate::error::ClientError;
use crate::event::ClientEvent;
use crate::handshake::connect_and_sign_in;
use crate::reconnect_decision::{ConnectionEnd, ReconnectDecision};
use crate::session::ClientSession;

impl ClientEngine {
    /// Runs until the client is closed, its events are dropped, or the server ends it for good.
    pub(crate) async fn run(mut self) {
        loop {
            let end = self.connection().await;
            if let ConnectionEnd::Lost(reason) = &end {
                tracing::debug!(reason, "connection lost");
            }
            match ReconnectDecision::of(end, &mut self.backoff, self.options.on_superseded) {
                ReconnectDecision::Close => break,
                ReconnectDecision::Stop(event) => {
                    self.events.put(Some(event), None);
                    break;
                }
                ReconnectDecision::Again { reason, wait } => {
                    self.state.disconnected();
                    self.sends.disconnected(&reason);
                    let retry_in = wait;
                    let event = ClientEvent::Disconnected { reason, retry_in };
                    self.events.put_change(event, None);
                    let until = Instant::now() + wait;
                    if self.meanwhile(sleep_until(until)).await.is_none() {
                        break;
                    }
                }
            }
        }
        self.finish().await;
    }

    async fn connection(&mut self) -> ConnectionEnd {
        let options = self.options.clone();
        match self.meanwhile(connect_and_sign_in(&options)).await {
            None => ConnectionEnd::Closed,
            Some(Err(end)) => end,
            Some(Ok(greeted)) => ClientSession::new(self, greeted).run().await,
        }
    }

    /// Runs `work`, which needs no session, and serves the application meanwhile. Returns `None` if
    /// the client was closed first.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let has_room = self.sends.has_room();
            let keep_at = self.cursor_saver.due();
            // Biased: closing comes first, then the work. Commands are accepted and the cursor is
            // saved during an outage as well.
            tokio::select! {
                biased;
                () = self.token.cancelled() => return None,
                done = &mut work => return Some(done),
                () = self.events.drain(), if self.events.is_full() => {}
                () = self.cursor_saver.noticed() => {}
                Some(command) = self.commands.recv(), if has_room => self.accept(command),
                () = sleep_until(keep_at.unwrap_or_else(Instant::now)), if keep_at.is_some() => {
                    self.cursor_saver.keep().await;
                }
            }
        }
    }

    /// Answers all waiting callers, lets the application take the remaining events, and saves the
    /// cursor.
    async fn finish(mut self) {
        // Close the channel first, then take what it still holds: a command that was accepted must
        // get an answer.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.accept(command);
        }
        self.sends.close();
        if let Some(reply) = self.room.reply.take() {
            drop(reply.send(Err(ClientError::Closed)));
        }
        let Self {
            token,
            mut events,
            cursor_saver: mut saver,
            ..
        } = self;
        // The application may still take events after the end. Dropping `events` ends its stream
        // behind the last one; then the loop saves the cursor as it handles them, until it drops
        // the events, which cancels the token.
        let left = async {
            events.drain().await;
            drop(events);
            loop {
                // A save that failed is repeated when it is due; nothing is noticed before that.
                match saver.due() {
                    Some(due) => sleep_until(due).await,
                    None => saver.noticed().await,
                }
                saver.keep().await;
            }
        };
        let () = token.run_until_cancelled(left).await.unwrap_or(());
        saver.keep().await;
    }
}
