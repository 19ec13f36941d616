//! One client connection on any wire: a single task that reads packets, calls the gateway, and
//! writes answers and pushes.
//!
//! There is no second task and no channel: [`step`] polls everything the connection waits for in
//! one place and returns one packet at a time, which [`requests`] answers. Reading and writing do
//! not block each other: acks are read from a client that does not read, and pushes are written to
//! a client that does not send. The link bounds what is buffered for a client, and beyond that the
//! hub does.

mod pacing;
mod requests;
mod step;
#[cfg(test)]
mod tests;
mod throttle;
mod work;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::SinkExt as _;
use gimlet_core::gateway::{Connection, Gateway};
use gimlet_core::seq::Seq;
use gimlet_proto::pb::CloseCode;
use tokio::time::{Instant, Sleep, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{Instrument as _, Span};

use self::pacing::Pacing;
use self::requests::Slow;
use self::step::Step;
use self::throttle::Throttle;
use self::work::Backlog;
use crate::close::Close;
use crate::dispatch::Packet;
use crate::failures::Failures;
use crate::link::{Greeting, Link, LinkError, Opened};
use crate::serve::Serve;
use crate::settings::SessionSettings;
use crate::stats::Stats;

/// The state shared by all sessions of a node.
#[derive(Debug)]
pub struct Sessions {
    gateway: Gateway,
    settings: SessionSettings,
    failures: Arc<Failures>,
    stats: Arc<Stats>,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Sessions {
    /// Creates sessions on this gateway. When `stop` is cancelled, connections that have not signed
    /// in are closed; signed-in ones are closed by [`Gateway::close_all`], which must be called
    /// after it.
    #[must_use]
    pub fn new(gateway: Gateway, settings: SessionSettings, stop: CancellationToken) -> Self {
        Self {
            gateway,
            failures: Arc::new(Failures::new(settings.failed_sign_ins)),
            settings,
            stats: Arc::default(),
            stop,
            cut: CancellationToken::new(),
        }
    }

    /// Sets the token that ends the closing of connections: once `cut` is cancelled, none is waited
    /// for.
    #[must_use]
    pub fn cut_by(mut self, cut: CancellationToken) -> Self {
        self.cut = cut;
        self
    }

    /// Returns the failed sign-ins, for other parts that check tokens of the same clients.
    #[must_use]
    pub const fn failures(&self) -> &Arc<Failures> {
        &self.failures
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl<L: Link> Serve<L> for Sessions {
    fn serve(&self, opened: Opened<L>, addr: SocketAddr) -> impl Future<Output = ()> + Send {
        let span = tracing::debug_span!(
            "connection",
            peer = %addr,
            conn = tracing::field::Empty,
            user = tracing::field::Empty,
            device = tracing::field::Empty,
        );
        let Opened { link, greeting } = opened;
        self.stats.opened.fetch_add(1, Ordering::Relaxed);
        // Boxed, and created before the first await: otherwise the session would be part of the
        // task's future, in some states more than once. The task itself stays small, because its
        // memory grows in steps of 128 bytes.
        let mut session = Box::new(Session::new(self, link, addr));
        session.greeting = greeting;
        session.span = (!span.is_disabled()).then(|| Box::new(span));
        async move {
            if let Some(span) = session.span.take() {
                Box::pin(session.run().instrument(*span)).await;
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
enum End {
    /// The client has disconnected, or its socket has failed.
    Gone(Option<Box<LinkError>>),
    /// The server closes the connection.
    Close(Box<Close>),
}

impl End {
    fn close(code: CloseCode, text: impl Into<String>) -> Self {
        Self::Close(Box::new(Close::new(code, text)))
    }
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::TooLarge { .. } => Self::close(CloseCode::FrameTooLarge, error.to_string()),
            error => Self::Gone(Some(Box::new(error))),
        }
    }
}

/// Progress of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not attempted to sign in.
    Silent,
    /// It has attempted to sign in, with or without success.
    Open,
    /// It has ended its side: no more input will come.
    Ended,
}

/// Output that is pending because the client does not read.
struct Blocked {
    /// Bytes that the operating system had accepted at the last progress, and the time of it.
    written: u32,
    since: Instant,
}

/// One connection. Kept small: state that only busy connections need is boxed in `backlog`.
struct Session<'s, L> {
    shared: &'s Sessions,
    link: L,
    addr: SocketAddr,
    greeting: Greeting,
    /// Set until the session runs in it; `None` if connections are not traced.
    span: Option<Box<Span>>,
    connection: Option<Arc<Connection>>,
    /// True if the client speaks our extension.
    extended: bool,
    /// Set for a legacy client, that is one of gim over TCP: it gets one frame at a time.
    pacing: Option<Box<Pacing>>,
    stage: Stage,
    /// Packets that could not be decoded.
    undecodable: u8,
    /// Packets handled since the last flush.
    unflushed: u8,
    /// Time of the last input; before the first sign-in attempt, the time of connecting.
    heard: Instant,
    /// Set while output is pending.
    blocked: Option<Box<Blocked>>,
    timer: Pin<Box<Sleep>>,
    /// The packet to answer next.
    packet: Option<Box<Packet>>,
    backlog: Option<Box<Backlog>>,
    /// Set while the client is refused for its rate.
    throttle: Option<Box<Throttle>>,
    /// Set until the client has signed in.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<'s, L: Link> Session<'s, L> {
    fn new(shared: &'s Sessions, link: L, addr: SocketAddr) -> Self {
        let heard = Instant::now();
        let silent = heard + shared.settings.silent;
        Self {
            shared,
            link,
            addr,
            greeting: Greeting::BySignIn,
            span: None,
            connection: None,
            extended: false,
            pacing: None,
            stage: Stage::Silent,
            undecodable: 0,
            unflushed: 0,
            heard,
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
    async fn serve(&mut self) -> Result<Infallible, End> {
        if let Greeting::FromUrl(url) = std::mem::take(&mut self.greeting) {
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

    fn take(&mut self, step: Step) -> Result<Option<Slow<'_>>, End> {
        match step {
            Step::Packet(packet) => self.handle(&packet),
            Step::End(end) => Err(end),
        }
    }

    /// Queues an answer.
    fn write(&mut self, frame: Bytes) -> Result<(), End> {
        self.queue(frame)?;
        if let Some(pacing) = self.pacing.as_mut() {
            pacing.wrote_answer(Instant::now());
        }
        Ok(())
    }

    /// Queues a push, or a page that is not empty; the client acks it with this seq.
    fn write_acked(&mut self, frame: Bytes, seq: Seq) -> Result<(), End> {
        self.queue(frame)?;
        if let Some(pacing) = self.pacing.as_mut() {
            pacing.wrote_acked(seq.to_wire(), Instant::now());
        }
        Ok(())
    }

    fn queue(&mut self, frame: Bytes) -> Result<(), End> {
        self.shared.stats.frames_out.fetch_add(1, Ordering::Relaxed);
        Ok(self.link.start_send_unpin(frame)?)
    }

    /// Closes the connection in an orderly way, but not longer than the shutdown's grace period.
    async fn finish(&mut self, end: End) {
        let cut = self.shared.cut.clone();
        if cut.run_until_cancelled(self.part(end)).await.is_none() {
            tracing::debug!("shutdown grace period over, connection dropped");
        }
    }

    /// The order matters: answers to pending sends first, because a client without its answer sends
    /// again; then `PT_CLOSE`, as the last frame; then the connection is dropped, so that the hub
    /// releases the device; only then the socket is closed, which may take up to `linger`.
    async fn part(&mut self, end: End) {
        let linger = self.shared.settings.linger;
        match end {
            End::Gone(None) => tracing::debug!("client disconnected"),
            End::Gone(Some(error)) => {
                tracing::debug!(error = &*error as &dyn std::error::Error, "connection lost");
                // A client that violated the protocol of its wire gets a close frame, if the wire
                // has one.
                if !matches!(*error, LinkError::Protocol { .. }) {
                    return;
                }
            }
            End::Close(close) => {
                tracing::debug!(
                    code = close.number(true),
                    text = close.text,
                    "closing connection"
                );
                if timeout(linger, self.last_answers()).await.is_err() {
                    tracing::debug!("connection closed with unanswered sends");
                }
                if self.extended && self.link.start_send_unpin(close.frame()).is_err() {
                    return;
                }
                let number = close.number(self.extended);
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
