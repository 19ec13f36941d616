//! One signed-in connection, from its first SYNC to its end. Results go into the engine's state, so
//! that the next connection continues from there.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gimlet_proto::pb;
use gimlet_proto::pb::PackageType as Kind;
use prost::Message as _;
use tokio::time::{Instant, sleep_until, timeout};

use crate::cursor_store::ClientCursor;
use crate::engine::{ClientCommand, ClientEngine};
use crate::error::ClientError;
use crate::event::{self, ClientEvent};
use crate::handshake::{SIGN_IN_ID, SignedInLink, closed, input, read, unreadable};
use crate::link::{ConnectionError, FrameStream, OutgoingFrames};
use crate::reconnect_decision::ConnectionEnd;
use crate::state::{CursorStep, SyncResult};

/// Time that an entry may be missing before it is fetched: pushes may overtake each other.
const GAP_WAIT: Duration = Duration::from_millis(50);
/// Pause after a refused SYNC.
const SYNC_RETRY_WAIT: Duration = Duration::from_millis(500);
/// Time limit for closing, and for reading the server's reason to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The kind of a pending request; the sends themselves are in the engine.
#[derive(Clone, Copy, Debug)]
enum RequestKind {
    Sync,
    Heartbeat,
    Subscribe(i64),
    Send,
}

/// State that ends with the connection.
pub(crate) struct ClientSession<'a> {
    engine: &'a mut ClientEngine,
    frames: FrameStream,
    out: OutgoingFrames,
    requests: HashMap<i64, RequestKind>,
    last_id: i64,
    caught_up: bool,
    acked: i64,
    sync_at: Option<Instant>,
    heartbeat_at: Instant,
    /// Time since an answer is due without any input.
    quiet_since: Option<Instant>,
}

impl<'a> ClientSession<'a> {
    pub(crate) fn new(engine: &'a mut ClientEngine, greeted: SignedInLink) -> Self {
        let heartbeat_at = Instant::now() + engine.options.heartbeat;
        let mut session = Self {
            engine,
            frames: greeted.frames,
            out: greeted.out,
            requests: HashMap::new(),
            last_id: SIGN_IN_ID,
            caught_up: false,
            acked: 0,
            sync_at: None,
            heartbeat_at,
            quiet_since: None,
        };
        let pb::SignInOutput { epoch, head } = greeted.answer;
        let changed = session.engine.state.signed_in(epoch, head);
        session.note_history(changed);
        let mark = session.engine.state.cursor();
        let connected = ClientEvent::Connected { epoch, head };
        session.engine.events.put_change(connected, Some(mark));
        session
    }

    /// Runs until the connection ends.
    pub(crate) async fn run(mut self) -> ConnectionEnd {
        self.plan();
        self.subscribe();
        loop {
            let end = match self.run_once().await {
                Ok(()) => continue,
                Err(end) => end,
            };
            return match end {
                ConnectionEnd::Closed => {
                    self.keep().await;
                    // Only a courtesy: the server detects the end anyway.
                    drop(timeout(CLOSE_TIMEOUT, self.out.close()).await);
                    ConnectionEnd::Closed
                }
                other => other,
            };
        }
    }

    /// Waits for one event and handles it.
    async fn run_once(&mut self) -> Result<(), ConnectionEnd> {
        self.plan();
        let wake = self.next_wake();
        let reading = self.is_reading();
        let room = self.engine.sends.has_room();
        // Biased, in this order: closing; writing, so that input cannot delay queued requests;
        // handled events and the queue to the application, so that they make room before more is
        // read; commands; input; the clock. Every branch may be dropped half-way without losing
        // anything.
        tokio::select! {
            biased;
            () = self.engine.token.cancelled() => return Err(ConnectionEnd::Closed),
            written = self.out.pump(), if self.out.is_busy() => {
                if let Err(broken) = written {
                    return Err(self.last_words(broken).await);
                }
            }
            () = self.engine.cursor_saver.noticed() => {}
            () = self.engine.events.drain(), if self.engine.events.is_full() => {}
            Some(command) = self.engine.commands.recv(), if room => {
                let is_room = matches!(command, ClientCommand::Subscribe(_));
                self.engine.accept(command);
                if is_room {
                    self.subscribe();
                }
            }
            frame = self.frames.next(), if reading => {
                self.take(frame.unwrap_or(Err(ConnectionError::Ended))?)?;
            }
            () = sleep_until(wake) => {}
        }
        self.check_time().await
    }

    /// Decides whether to read the socket: not while the application is slow, unless it waits for
    /// an answer. Without that exception, an application that sends while it handles an event would
    /// wait for itself.
    fn is_reading(&self) -> bool {
        let waited_for = || self.engine.room.reply.is_some() || self.engine.sends.are_flying();
        !self.engine.events.is_full() || waited_for()
    }

    /// Queues the requests that are due.
    fn plan(&mut self) {
        let now = Instant::now();
        if self.engine.state.wants_sync() && !self.engine.events.is_full() {
            // A gap in live pushes is often filled by a push on its way, so a SYNC waits for that;
            // while catching up it is sent at once.
            let live = self.engine.state.is_live();
            let wait = if live { GAP_WAIT } else { Duration::ZERO };
            if *self.sync_at.get_or_insert(now + wait) <= now {
                let seq = self.engine.state.ask();
                self.request(RequestKind::Sync, &pb::SyncInput { seq });
            }
        } else {
            self.sync_at = None;
        }
        while let Some(data) = self.engine.sends.write_next(self.last_id + 1, now) {
            self.put(RequestKind::Send, data);
        }
        if self.heartbeat_at <= now {
            self.heartbeat_at = now + self.engine.options.heartbeat;
            if !self
                .requests
                .values()
                .any(|asked| matches!(asked, RequestKind::Heartbeat))
            {
                self.put(RequestKind::Heartbeat, Bytes::new());
            }
        }
        if !self.is_reading() || self.requests.is_empty() {
            self.quiet_since = None;
        } else {
            self.quiet_since.get_or_insert(now);
        }
    }

    fn next_wake(&self) -> Instant {
        let quiet = self
            .quiet_since
            .map(|since| since + self.engine.options.answer_timeout);
        [
            self.sync_at,
            quiet,
            self.engine.cursor_saver.due(),
            self.engine.sends.next_retry(),
        ]
        .into_iter()
        .flatten()
        .fold(self.heartbeat_at, Instant::min)
    }

    async fn check_time(&mut self) -> Result<(), ConnectionEnd> {
        let now = Instant::now();
        if self.engine.cursor_saver.due().is_some_and(|due| due <= now) {
            self.keep().await;
        }
        let wait = self.engine.options.answer_timeout;
        match self.quiet_since {
            Some(since) if since + wait <= now => {
                Err(ConnectionEnd::Lost(format!("no answer for {wait:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Saves the handled cursor and acknowledges it to the server.
    async fn keep(&mut self) {
        let ClientCursor { epoch, seq } = self.engine.cursor_saver.keep().await;
        // A cursor of an earlier epoch must not be acknowledged in the present one.
        if seq > self.acked && epoch == self.engine.state.cursor().epoch {
            self.acked = seq;
            let ack = pb::MessageAck {
                device_ack: seq,
                receive_time: 0,
            };
            let data = ack.encode_to_vec().into();
            self.out.put(input(Kind::PtMessage, 0, data));
        }
    }

    fn subscribe(&mut self) {
        let room = &mut self.engine.room;
        room.resumed();
        if room.id != 0 || room.reply.is_some() {
            let request = pb::SubscribeRoomInput {
                room_id: room.id,
                seq: room.from,
            };
            self.request(RequestKind::Subscribe(request.room_id), &request);
        }
    }

    fn request(&mut self, asked: RequestKind, data: &impl prost::Message) {
        self.put(asked, data.encode_to_vec().into());
    }

    fn put(&mut self, asked: RequestKind, data: Bytes) {
        let kind = match asked {
            RequestKind::Sync => Kind::PtSync,
            RequestKind::Heartbeat => Kind::PtHeartbeat,
            RequestKind::Subscribe(_) => Kind::PtSubscribeRoom,
            RequestKind::Send => Kind::PtSend,
        };
        self.last_id += 1;
        self.requests.insert(self.last_id, asked);
        self.out.put(input(kind, self.last_id, data));
    }

    /// Handles a frame.
    fn take(&mut self, frame: Bytes) -> Result<(), ConnectionEnd> {
        self.quiet_since = None;
        let output = read(frame)?;
        match output.r#type() {
            Kind::PtMessage => {
                let push = pb::MessageSend::decode(output.data).map_err(|_| unreadable())?;
                self.pushed(push.message.unwrap_or_default());
                Ok(())
            }
            Kind::PtClose => Err(closed(output)),
            _ => self.answered(output),
        }
    }

    fn pushed(&mut self, message: pb::Message) {
        let is_room = message.receiver_type() == pb::ReceiverType::RtRoom;
        if is_room || message.seq <= 0 {
            let of_room = is_room && message.receiver_id != 0;
            if !of_room || self.engine.room.is_news(&message, Instant::now()) {
                let event = event::event(message, &self.engine.options.credentials);
                self.engine.events.put_best_effort(event, None);
            }
        } else if self.engine.events.is_full() {
            // The application is slow: the entry is only noted, and fetched by SYNC once there is
            // room.
            self.engine.state.missed(message.seq);
        } else {
            let steps = self.engine.state.pushed(message);
            self.give_out(steps);
        }
    }

    fn answered(&mut self, output: pb::Output) -> Result<(), ConnectionEnd> {
        let Some(asked) = self.requests.remove(&output.request_id) else {
            if output.r#type() == Kind::PtUnknown && output.code != 0 {
                return Err(ConnectionEnd::Lost(format!(
                    "not understood: {}",
                    output.message
                )));
            }
            return Ok(());
        };
        match asked {
            RequestKind::Send => {
                if let Some(seq) = self.engine.sends.answered(&output, Instant::now()) {
                    let steps = self.engine.state.sent(seq);
                    self.give_out(steps);
                }
            }
            RequestKind::Sync if output.code == 0 => {
                let page = pb::SyncOutput::decode(output.data).map_err(|_| unreadable())?;
                self.page(page);
            }
            RequestKind::Sync => {
                tracing::debug!(code = output.code, "sync refused");
                self.engine.state.sync_failed();
                self.sync_at = Some(Instant::now() + SYNC_RETRY_WAIT);
            }
            RequestKind::Heartbeat if output.code == 0 => {
                let answer = pb::HeartbeatOutput::decode(output.data).map_err(|_| unreadable())?;
                let pb::HeartbeatOutput { epoch, head } = answer;
                let changed = self.engine.state.heartbeat(epoch, head);
                self.note_history(changed);
            }
            RequestKind::Heartbeat => tracing::debug!(code = output.code, "heartbeat refused"),
            RequestKind::Subscribe(room) if room == self.engine.room.id => {
                let reply = self.engine.room.reply.take();
                let result = match output.code {
                    0 => Ok(()),
                    code => {
                        self.engine.room = crate::room::RoomSubscription::default();
                        let message = output.message;
                        Err(ClientError::Refused { code, message })
                    }
                };
                match (reply, result) {
                    (Some(reply), result) => drop(reply.send(result)),
                    (None, Err(error)) => tracing::warn!(%error, "room not joined again"),
                    (None, Ok(())) => {}
                }
            }
            RequestKind::Subscribe(_) => {}
        }
        Ok(())
    }

    fn page(&mut self, page: pb::SyncOutput) {
        match self.engine.state.page(page) {
            SyncResult::HistoryChanged => self.note_history(true),
            SyncResult::Steps(steps) => self.give_out(steps),
        }
        if self.engine.state.is_live() && !self.caught_up {
            self.caught_up = true;
            self.engine.backoff.reset();
            let seq = self.engine.state.cursor().seq;
            let caught_up = ClientEvent::CaughtUp { seq };
            self.engine.events.put_change(caught_up, None);
        }
    }

    fn give_out(&mut self, steps: Vec<CursorStep>) {
        let epoch = self.engine.state.cursor().epoch;
        for step in steps {
            let seq = step.seq();
            let event = match step {
                CursorStep::Deliver(message) => {
                    Some(event::event(message, &self.engine.options.credentials))
                }
                CursorStep::Trimmed(up_to) => Some(ClientEvent::Trimmed { up_to }),
                CursorStep::Own(_) => None,
            };
            self.engine
                .events
                .put(event, Some(ClientCursor { epoch, seq }));
        }
    }

    fn note_history(&mut self, changed: bool) {
        if changed {
            self.acked = 0;
            self.caught_up = false;
            let mark = self.engine.state.cursor();
            let event = ClientEvent::HistoryChanged { epoch: mark.epoch };
            self.engine.events.put(Some(event), Some(mark));
        }
    }

    /// Returns the end after a failed write: the server may have sent its reason before it closed.
    async fn last_words(&mut self, broken: ConnectionError) -> ConnectionEnd {
        let look = async {
            while let Some(Ok(frame)) = self.frames.next().await {
                match read(frame) {
                    Ok(output) if output.r#type() == Kind::PtClose => return Some(closed(output)),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
            None
        };
        let reason = timeout(CLOSE_TIMEOUT, look).await.ok().flatten();
        reason.unwrap_or_else(|| broken.into())
    }
}
