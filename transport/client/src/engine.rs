//! The state of a client that outlives its connections, and the commands that change it.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backoff::ReconnectBackoff;
use crate::cursor_saver::CursorSaver;
use crate::error::ClientError;
use crate::event_channel::EventChannel;
use crate::options::ClientOptions;
use crate::room::RoomSubscription;
use crate::send::{SendJob, SendQueue};
use crate::state::InboxState;

/// A command from a handle to the task.
#[derive(Debug)]
pub(crate) enum ClientCommand {
    Send(SendJob),
    Subscribe(RoomSubscription),
}

/// State that outlives a connection.
pub(crate) struct ClientEngine {
    pub(crate) options: ClientOptions,
    pub(crate) token: CancellationToken,
    pub(crate) commands: mpsc::Receiver<ClientCommand>,
    pub(crate) events: EventChannel,
    pub(crate) cursor_saver: CursorSaver,
    pub(crate) state: InboxState,
    pub(crate) sends: SendQueue,
    pub(crate) room: RoomSubscription,
    pub(crate) backoff: ReconnectBackoff,
}

impl ClientEngine {
    /// Accepts a command; one that needs a connection waits for it.
    pub(crate) fn accept(&mut self, command: ClientCommand) {
        match command {
            ClientCommand::Send(job) => self.sends.add(job),
            ClientCommand::Subscribe(room) => {
                if let Some(reply) = std::mem::replace(&mut self.room, room).reply {
                    let text =
                        "replaced by a newer subscription: a client follows one room at a time";
                    drop(reply.send(Err(ClientError::Invalid(text.to_owned()))));
                }
            }
        }
    }
}
