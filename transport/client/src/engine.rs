//! The one background task of a client: connects, runs a session, waits, connects again. Owns all
//! state that outlives a connection.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::error::Error;
use crate::event::Event;
use crate::greet::greet;
use crate::keeper::Keeper;
use crate::options::Options;
use crate::outlet::Outlet;
use crate::room::Room;
use crate::send::{Job, Sends};
use crate::session::Session;
use crate::state::State;
use crate::verdict::{End, Verdict};

/// A command from a handle to the task.
#[derive(Debug)]
pub(crate) enum Command {
    Send(Job),
    Subscribe(Room),
}

/// State that outlives a connection.
pub(crate) struct Engine {
    pub(crate) options: Options,
    pub(crate) token: CancellationToken,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) outlet: Outlet,
    pub(crate) keeper: Keeper,
    pub(crate) state: State,
    pub(crate) sends: Sends,
    pub(crate) room: Room,
    pub(crate) backoff: Backoff,
}

impl Engine {
    /// Runs until the client is closed, its events are dropped, or the server ends it for good.
    pub(crate) async fn run(mut self) {
        loop {
            let end = self.connection().await;
            if let End::Lost(reason) = &end {
                tracing::debug!(reason, "connection lost");
            }
            match Verdict::of(end, &mut self.backoff, self.options.on_superseded) {
                Verdict::Close => break,
                Verdict::Stop(event) => {
                    self.outlet.put(Some(event), None);
                    break;
                }
                Verdict::Again { reason, wait } => {
                    self.state.disconnected();
                    self.sends.disconnected(&reason);
                    let retry_in = wait;
                    let event = Event::Disconnected { reason, retry_in };
                    self.outlet.put_change(event, None);
                    let until = Instant::now() + wait;
                    if self.meanwhile(sleep_until(until)).await.is_none() {
                        break;
                    }
                }
            }
        }
        self.finish().await;
    }

    async fn connection(&mut self) -> End {
        let options = self.options.clone();
        match self.meanwhile(greet(&options)).await {
            None => End::Closed,
            Some(Err(end)) => end,
            Some(Ok(greeted)) => Session::new(self, greeted).run().await,
        }
    }

    /// Accepts a command; one that needs a connection waits for it.
    pub(crate) fn accept(&mut self, command: Command) {
        match command {
            Command::Send(job) => self.sends.add(job),
            Command::Subscribe(room) => {
                if let Some(reply) = std::mem::replace(&mut self.room, room).reply {
                    let text =
                        "replaced by a newer subscription: a client follows one room at a time";
                    drop(reply.send(Err(Error::Invalid(text.to_owned()))));
                }
            }
        }
    }

    /// Runs `work`, which needs no session, and serves the application meanwhile. Returns `None` if
    /// the client was closed first.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let has_room = self.sends.has_room();
            let keep_at = self.keeper.due();
            // Biased: closing comes first, then the work. Commands are accepted and the cursor is
            // saved during an outage as well.
            tokio::select! {
                biased;
                () = self.token.cancelled() => return None,
                done = &mut work => return Some(done),
                () = self.outlet.drain(), if self.outlet.is_full() => {}
                () = self.keeper.noticed() => {}
                Some(command) = self.commands.recv(), if has_room => self.accept(command),
                () = sleep_until(keep_at.unwrap_or_else(Instant::now)), if keep_at.is_some() => {
                    self.keeper.keep().await;
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
            drop(reply.send(Err(Error::Closed)));
        }
        let Self {
            token,
            mut outlet,
            mut keeper,
            ..
        } = self;
        // The application may still take events after the end. Dropping the outlet ends its stream
        // behind the last one; then the loop saves the cursor as it handles them, until it drops
        // the events, which cancels the token.
        let left = async {
            outlet.drain().await;
            drop(outlet);
            loop {
                // A save that failed is repeated when it is due; nothing is noticed before that.
                match keeper.due() {
                    Some(due) => sleep_until(due).await,
                    None => keeper.noticed().await,
                }
                keeper.keep().await;
            }
        };
        let () = token.run_until_cancelled(left).await.unwrap_or(());
        keeper.keep().await;
    }
}
