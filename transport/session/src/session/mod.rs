//! One client connection on any wire: a single task that reads packets, calls the gateway, and
//! writes answers and pushes.
//!
//! There is no second task and no channel: [`step`] polls everything the connection waits for in
//! one place and returns one packet at a time, which [`requests`] answers. Reading and writing do
//! not block each other: acks are read from a client that does not read, and pushes are written to
//! a client that does not send. The link bounds what is buffered for a client, and beyond that the
//! hub does.

mod pacing;
mod pending_work;
mod requests;
mod step;
#[cfg(test)]
mod tests;
mod throttle;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::SinkExt as _;
use gimlet_core::auth::SignInFailures;
use gimlet_core::frame_form::FrameForm;
use gimlet_core::gateway::{ClientConnection, ConnectGateway};
use gimlet_core::seq::Seq;
use gimlet_core::trace;
use gimlet_proto::pb::CloseCode;
use tokio::time::{Instant, Sleep, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{Instrument as _, Span};

use self::pacing::FramePacing;
use self::pending_work::PendingWork;
use self::throttle::RefusalThrottle;
use crate::close::ConnectionClose;
use crate::codec;
use crate::dispatch::ClientPacket;
use crate::link::{FrameCodec, FrameLink, LinkError, OpenedLink, SignInSource};
use crate::serve::ServeLink;
use crate::settings::SessionSettings;
use crate::stats::SessionStats;

/// The state shared by all sessions of a node.
#[derive(Debug)]
pub struct SessionServer {
    gateway: ConnectGateway,
    settings: SessionSettings,
    failures: Arc<SignInFailures>,
    stats: Arc<SessionStats>,
    stop: CancellationToken,
    abort_closing: CancellationToken,
}

impl SessionServer {
    /// Creates sessions on this gateway. When `stop` is cancelled, connections that have not signed
    /// in are closed; signed-in ones are closed by [`ConnectGateway::close_all`], which must be
    /// called after it.
    #[must_use]
    pub fn new(
        gateway: ConnectGateway,
        settings: SessionSettings,
        stop: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            failures: Arc::new(SignInFailures::new(settings.failed_sign_ins)),
            settings,
            stats: Arc::default(),
            stop,
            abort_closing: CancellationToken::new(),
        }
    }

    /// Sets the token that ends the closing of connections: once `cut` is cancelled, none is waited
    /// for.
    #[must_use]
    pub fn abort_closing_by(mut self, cut: CancellationToken) -> Self {
        self.abort_closing = cut;
        self
    }

    /// Returns the failed sign-ins, for other parts that check tokens of the same clients.
    #[must_use]
    pub const fn failures(&self) -> &Arc<SignInFailures> {
        &self.failures
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> &SessionStats {
        &self.stats
    }
}

impl<L: FrameLink> ServeLink<L> for SessionServer {
    fn serve(&self, opened: OpenedLink<L>, addr: SocketAddr) -> impl Future<Output = ()> + Send {
        let span = tracing::debug_span!(
            target: trace::TARGET,
            "connection",
            peer = %addr,
            conn = tracing::field::Empty,
            user = tracing::field::Empty,
            device = tracing::field::Empty,
        );
        let OpenedLink { link, greeting } = opened;
        self.stats.opened.fetch_add(1, Ordering::Relaxed);
        // Boxed, and created before the first await: otherwise the session would be part of the
        // task's future, in some states more than once. The task itself stays small, because its
        // memory grows in steps of 128 bytes.
        let mut session = Box::new(ConnectionSession::new(self, link, addr));
        session.greeting = greeting;
        session.span = (!span.is_disabled()).then(|| Box::new(span));
        async move {
            if let Some(span) = session.span.as_deref().cloned() {
                Box::pin(session.run().instrument(span)).await;
            } else {
                session.run().await;
            }
            let stats = &session.shared.stats;
            stats.closed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The end of a session.
#[derive(Debug)]
enum SessionEnd {
    /// The client has disconnected, or its socket has failed.
    Gone(Option<Box<LinkError>>),
    /// The server closes the connection.
    Close(Box<ConnectionClose>),
}

impl SessionEnd {
    fn close(code: CloseCode, text: impl Into<String>) -> Self {
        Self::Close(Box::new(ConnectionClose::new(code, text)))
    }
}

impl From<LinkError> for SessionEnd {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::TooLarge { .. } => Self::close(CloseCode::FrameTooLarge, error.to_string()),
            error => Self::Gone(Some(Box::new(error))),
        }
    }
}

/// The next action of the connection.
enum SessionStep {
    /// Answer this packet.
    Packet(Box<ClientPacket>),
    /// End the connection.
    End(SessionEnd),
}

impl From<SessionEnd> for SessionStep {
    fn from(end: SessionEnd) -> Self {
        Self::End(end)
    }
}

/// The answer to a packet that needs an await.
type RequestFuture<'a> = Pin<Box<dyn Future<Output = Result<(), SessionEnd>> + Send + 'a>>;

/// Progress of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionPhase {
    /// It has not attempted to sign in.
    AwaitingSignIn,
    /// It has attempted to sign in, with or without success.
    Open,
    /// It has ended its side: no more input will come.
    Ended,
}

/// Output that is pending because the client does not read.
struct StalledOutput {
    /// Bytes that the operating system had accepted at the last progress, and the time of it.
    written: u32,
    since: Instant,
}

/// One connection. Kept small: state that only busy connections need is boxed in `backlog`.
struct ConnectionSession<'s, L> {
    shared: &'s SessionServer,
    link: L,
    addr: SocketAddr,
    greeting: SignInSource,
    /// The span in which the session runs; `None` if connections are not traced.
    span: Option<Box<Span>>,
    connection: Option<Arc<ClientConnection>>,
    /// True if the client speaks our extension.
    extension_client: bool,
    /// Set for a legacy client, that is one of gim over TCP: it gets one frame at a time.
    pacing: Option<Box<FramePacing>>,
    phase: SessionPhase,
    /// Packets that could not be decoded.
    undecodable: u8,
    /// Packets handled since the last flush.
    unflushed: u8,
    /// Time of the last input; before the first sign-in attempt, the time of connecting.
    last_activity: Instant,
    /// Set while output is pending.
    blocked: Option<Box<StalledOutput>>,
    timer: Pin<Box<Sleep>>,
    /// The packet to answer next.
    packet: Option<Box<ClientPacket>>,
    backlog: Option<Box<PendingWork>>,
    /// Set while the client is refused for its rate.
    throttle: Option<Box<RefusalThrottle>>,
    /// Set until the client has signed in.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<'s, L: FrameLink> ConnectionSession<'s, L> {
    fn new(shared: &'s SessionServer, link: L, addr: SocketAddr) -> Self {
        let now = Instant::now();
        let silent = now + shared.settings.silent_before_sign_in;
        Self {
            shared,
            link,
            addr,
            greeting: SignInSource::BySignIn,
            span: None,
            connection: None,
            extension_client: false,
            pacing: None,
            phase: SessionPhase::AwaitingSignIn,
            undecodable: 0,
            unflushed: 0,
            last_activity: now,
            blocked: None,
            timer: Box::pin(tokio::time::sleep_until(silent)),
            packet: None,
            backlog: None,
            throttle: None,
            stop: Some(Box::pin(shared.stop.clone().cancelled_owned())),
        }
    }

    async fn run(&mut self) {
        let Err(end) = self.serve().await;
        Box::pin(self.finish(end)).await;
    }

    /// Serves until the end. Only a pending request is kept across an await, to keep the future
    /// small.
    async fn serve(&mut self) -> Result<Infallible, SessionEnd> {
        if let SignInSource::FromUrl(url) = std::mem::take(&mut self.greeting) {
            Box::pin(self.sign_in_by_url(*url)).await?;
        }
        loop {
            let step = poll_fn(|cx| self.poll_step(cx)).await;
            let Some(slow) = self.take(step)? else {
                continue;
            };
            slow.await?;
        }
    }

    fn take(&mut self, step: SessionStep) -> Result<Option<RequestFuture<'_>>, SessionEnd> {
        match step {
            SessionStep::Packet(packet) => self.handle(*packet),
            SessionStep::End(end) => Err(end),
        }
    }

    /// Returns the form of this connection's frames.
    fn form(&self) -> FrameForm {
        match self.link.codec() {
            FrameCodec::Json => FrameForm::Json,
            FrameCodec::Protobuf if self.extension_client => FrameForm::Extension,
            FrameCodec::Protobuf => FrameForm::Legacy,
        }
    }

    /// Queues an answer.
    fn write(&mut self, frame: Bytes) -> Result<(), SessionEnd> {
        self.queue(frame)?;
        if let Some(pacing) = self.pacing.as_mut() {
            pacing.wrote_answer(Instant::now());
        }
        Ok(())
    }

    /// Queues a push, or a page that is not empty; the client acks it with this seq.
    fn write_acked(&mut self, frame: Bytes, seq: Seq) -> Result<(), SessionEnd> {
        self.queue(frame)?;
        if let Some(pacing) = self.pacing.as_mut() {
            pacing.wrote_acked(seq.to_wire(), Instant::now());
        }
        Ok(())
    }

    fn queue(&mut self, frame: Bytes) -> Result<(), SessionEnd> {
        self.shared.stats.frames_out.fetch_add(1, Ordering::Relaxed);
        Ok(self.link.start_send_unpin(frame)?)
    }

    /// Closes the connection in an orderly way, but not longer than the shutdown's grace period.
    async fn finish(&mut self, end: SessionEnd) {
        let cut = self.shared.abort_closing.clone();
        if cut
            .run_until_cancelled(self.close_connection(end))
            .await
            .is_none()
        {
            tracing::debug!("shutdown grace period over, connection dropped");
        }
    }

    /// The order matters: answers to pending sends first, because a client without its answer sends
    /// again; then the close packet, as the last frame; then the connection is dropped, so that the hub
    /// releases the device; only then the socket is closed, which may take up to `linger`.
    async fn close_connection(&mut self, end: SessionEnd) {
        let linger = self.shared.settings.close_timeout;
        match end {
            SessionEnd::Gone(None) => tracing::debug!("client disconnected"),
            SessionEnd::Gone(Some(error)) => {
                tracing::debug!(error = &*error as &dyn std::error::Error, "connection lost");
                // A client that violated the protocol of its wire gets a close frame, if the wire
                // has one.
                if !matches!(*error, LinkError::Protocol { .. }) {
                    return;
                }
            }
            SessionEnd::Close(close) => {
                tracing::debug!(
                    code = close.number(true),
                    text = close.text,
                    "closing connection"
                );
                if timeout(linger, self.last_answers()).await.is_err() {
                    tracing::debug!("connection closed with unanswered sends");
                }
                let form = self.form();
                if let Some(frame) = codec::close(form, &close)
                    && self.link.start_send_unpin(frame).is_err()
                {
                    return;
                }
                let number = close.number(form.is_extended());
                self.link.set_close(number, &close.text);
            }
        }
        // Dropping the connection removes it from the hub now, while the socket may take its time.
        self.connection = None;
        self.backlog = None;
        if timeout(linger, self.link.close()).await.is_err() {
            tracing::debug!("client did not close in time, connection aborted");
            self.link.abort();
        }
    }

    /// Writes the answers to pending sends, which the client would otherwise have to repeat.
    async fn last_answers(&mut self) {
        while let Some(backlog) = self.backlog.as_mut() {
            let Some((id, answer)) = backlog.next_answer().await else {
                return;
            };
            let frame = self.sent(id, answer);
            if self.link.feed(frame).await.is_err() {
                return;
            }
        }
    }
}
