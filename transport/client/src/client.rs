//! The handle that an application holds, and the stream of its events.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use futures_util::future::poll_fn;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::api::ApiClient;
use crate::backoff::ReconnectBackoff;
use crate::cursor_saver::CursorSaver;
use crate::cursor_store::ClientCursor;
use crate::engine::{ClientCommand, ClientEngine};
use crate::error::ClientError;
use crate::event::{ClientEvent, MessageContent, MessageTarget};
use crate::event_channel::{EventChannel, QueuedEvent};
use crate::options::ClientOptions;
use crate::room::RoomSubscription;
use crate::send::{MessageDraft, SendJob, SendProgress, SendQueue, SendReceipt};
use crate::state::InboxState;

/// A handle to one client; clones are the same client.
///
/// The client lives until [`close`](Self::close), until its [`EventStream`] are dropped, or until a
/// terminal event. Without handles it goes on receiving.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<ClientCommand>,
    token: CancellationToken,
    tracker: TaskTracker,
    options: Arc<ClientOptions>,
    api: Option<ApiClient>,
}

impl Client {
    /// Starts a client and returns its handle and its events. It connects in the background and
    /// keeps trying; the events report the state of the connection.
    ///
    /// # Errors
    /// The options are invalid, or the cursor cannot be read.
    pub async fn connect(options: ClientOptions) -> Result<(Self, EventStream), ClientError> {
        options.check()?;
        let api = match &options.grpc {
            Some(url) => {
                let trust = options.trust.clone().unwrap_or_default();
                let api = ApiClient::with_trust(url, &trust)?;
                Some(api.signed_in(options.credentials.clone()))
            }
            None => None,
        };
        let start = match &options.cursor {
            None => None,
            Some(store) => {
                let store = Arc::clone(store);
                let loaded = spawn_blocking(move || store.load()).await;
                loaded
                    .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                    .map_err(ClientError::Cursor)?
            }
        };
        let start = start.unwrap_or_default();
        let (commands, asked) = mpsc::channel(options.max_in_flight);
        let (items_in, items) = mpsc::channel(options.event_capacity);
        let (handled, seen) = watch::channel(start);
        let token = CancellationToken::new();
        let tracker = TaskTracker::new();
        let engine = ClientEngine {
            token: token.clone(),
            commands: asked,
            events: EventChannel::new(items_in),
            cursor_saver: CursorSaver::new(seen, options.cursor.clone(), options.ack_every),
            state: InboxState::new(start),
            sends: SendQueue::new(options.max_in_flight, options.backoff_base),
            room: RoomSubscription::default(),
            backoff: ReconnectBackoff::new(options.backoff_base, options.backoff_cap),
            options: options.clone(),
        };
        tracker.spawn(engine.run());
        tracker.close();
        let events = EventStream {
            items,
            handled,
            finished: None,
            _end: token.clone().drop_guard(),
        };
        let client = Self {
            commands,
            token,
            tracker,
            options: Arc::new(options),
            api,
        };
        Ok((client, events))
    }

    /// Sends a message that is stored, with a new id. See [`send_draft`](Self::send_draft).
    ///
    /// # Errors
    /// The errors of [`send_draft`](Self::send_draft).
    pub async fn send(
        &self,
        to: MessageTarget,
        content: MessageContent,
    ) -> Result<SendReceipt, ClientError> {
        self.send_draft(MessageDraft::new(to, content)).await
    }

    /// Sends a message and waits until it is stored or the deadline passes, over any number of
    /// connections and always with the same id. Sends of one task, each awaited before the next,
    /// are stored in that order. Dropping the future stops the waiting; a message that was already
    /// written may still be stored.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server refused it; [`ClientError::Deadline`] without a final
    /// answer in time; others as named.
    pub async fn send_draft(&self, draft: MessageDraft) -> Result<SendReceipt, ClientError> {
        let persist = draft.persist;
        let data = draft.encode()?;
        let progress = Arc::<SendProgress>::default();
        let (reply, answer) = oneshot::channel();
        let job = SendJob::new(data, persist, reply, Arc::clone(&progress));
        let answered = self.ask(ClientCommand::Send(job), answer).await;
        answered.unwrap_or_else(|| {
            let (maybe_done, last) = progress.get();
            Err(ClientError::Deadline {
                after: self.options.deadline,
                maybe_done,
                last,
            })
        })
    }

    /// Subscribes to a room and to no other from now on; the subscription is renewed after
    /// reconnects, from the last message seen. `from` is the first kept message wanted, 0 for live
    /// messages only.
    ///
    /// # Errors
    /// [`ClientError::Refused`], or [`ClientError::Deadline`] without a connection in time; in that
    /// case the subscription is made as soon as there is one.
    pub async fn subscribe(&self, room: i64, from: i64) -> Result<(), ClientError> {
        if room <= 0 || from < 0 {
            let text = "a room's id starts at 1, and the first message wanted at 0";
            return Err(ClientError::Invalid(text.to_owned()));
        }
        self.room(room, from).await
    }

    /// Ends the subscription to a room.
    ///
    /// # Errors
    /// The errors of [`subscribe`](Self::subscribe).
    pub async fn unsubscribe(&self) -> Result<(), ClientError> {
        self.room(0, 0).await
    }

    async fn room(&self, id: i64, from: i64) -> Result<(), ClientError> {
        let (reply, answer) = oneshot::channel();
        let command = ClientCommand::Subscribe(RoomSubscription::new(id, from, reply));
        let answered = self.ask(command, answer).await;
        answered.unwrap_or_else(|| {
            Err(ClientError::Deadline {
                after: self.options.deadline,
                maybe_done: true,
                last: None,
            })
        })
    }

    /// Sends a command to the engine and awaits its answer; `None` if the deadline came first.
    async fn ask<T>(
        &self,
        command: ClientCommand,
        answer: oneshot::Receiver<Result<T, ClientError>>,
    ) -> Option<Result<T, ClientError>> {
        let work = async {
            self.commands
                .send(command)
                .await
                .map_err(|_| ClientError::Closed)?;
            answer.await.unwrap_or(Err(ClientError::Closed))
        };
        let until = Instant::now() + self.options.deadline;
        timeout_at(until, work).await.ok()
    }

    /// Returns the gRPC services as this user, if the options named their address.
    #[must_use]
    pub const fn api(&self) -> Option<&ApiClient> {
        self.api.as_ref()
    }

    /// Returns the options that the client was started with.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// Closes the connection, saves the cursor, and ends the background task. Sends without an
    /// answer end with [`ClientError::Closed`]; the server may still store those that were written.
    pub async fn close(&self) {
        self.token.cancel();
        self.tracker.wait().await;
    }
}

/// The events of a client, in order. An event counts as handled when the next one is requested, and
/// the cursor moves then: an application that dies while it handles a message gets it again.
///
/// Ends after a terminal event or [`Client::close`]; dropping it ends the client.
#[derive(Debug)]
pub struct EventStream {
    items: mpsc::Receiver<QueuedEvent>,
    handled: watch::Sender<ClientCursor>,
    finished: Option<ClientCursor>,
    _end: DropGuard,
}

impl EventStream {
    /// Returns the next event. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for EventStream {
    type Item = ClientEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        loop {
            // The previous event is handled: publish its mark before the next event is taken.
            if let Some(mark) = self.finished.take() {
                self.handled.send_replace(mark);
            }
            let Some(item) = ready!(self.items.poll_recv(cx)) else {
                return Poll::Ready(None);
            };
            self.finished = item.mark;
            if item.event.is_some() {
                return Poll::Ready(item.event);
            }
        }
    }
}
