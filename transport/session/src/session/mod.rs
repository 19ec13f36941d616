//! One client connection, whatever its wire: a single task that reads packets, asks the gateway,
//! and writes answers and pushes.
//!
//! There is no second task and no channel: [`step`] polls everything the connection waits for, in
//! one place, and hands out one packet at a time; [`requests`] answers it. A client that does not
//! read does not stop us reading its acks, and one that does not write still gets its pushes; what
//! is buffered for it is bounded by the link, and beyond that by the hub.

mod pacing;
mod requests;
mod step;
#[cfg(test)]
mod tests;
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
use self::work::Backlog;
use crate::close::Close;
use crate::dispatch::Packet;
use crate::failures::Failures;
use crate::link::{Greeting, Link, LinkError, Opened};
use crate::serve::Serve;
use crate::settings::SessionSettings;
use crate::stats::Stats;

/// Serves connections: what all sessions of a node share.
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
    /// Sessions on this gateway. When `stop` is cancelled, connections that have not signed in are
    /// closed; those that have are closed by [`Gateway::close_all`], which is called after it.
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

    /// When `cut` is cancelled, connections that are being closed are not waited for any longer.
    #[must_use]
    pub fn cut_by(mut self, cut: CancellationToken) -> Self {
        self.cut = cut;
        self
    }

    /// Who has failed to sign in; for others that check tokens of the same clients.
    #[must_use]
    pub const fn failures(&self) -> &Arc<Failures> {
        &self.failures
    }

    /// What was counted so far.
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
        // Boxed, and before anything is waited for: the task would hold it more than once. What the
        // task holds itself is little: its memory comes in steps of 128 bytes.
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

/// How a session ends.
#[derive(Debug)]
enum End {
    /// The client has gone, or its socket has failed.
    Gone(Option<Box<LinkError>>),
    /// The server closes it.
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

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not tried to sign in.
    Silent,
    /// It has.
    Open,
    /// It has ended its side: nothing more will be read.
    Ended,
}

/// An output that waits for the client to read.
struct Blocked {
    /// What the system had taken when it last took something, and when that was.
    written: u32,
    since: Instant,
}

/// One connection. Small on purpose: what only busy connections need is boxed in `backlog`.
struct Session<'s, L> {
    shared: &'s Sessions,
    link: L,
    addr: SocketAddr,
    greeting: Greeting,
    /// Until the session runs in it; `None` if connections are not traced.
    span: Option<Box<Span>>,
    connection: Option<Arc<Connection>>,
    /// It speaks our extension.
    extended: bool,
    /// For a legacy client, one of gim over TCP: it gets one frame at a time.
    pacing: Option<Box<Pacing>>,
    stage: Stage,
    /// Packets of it that could not be read.
    undecodable: u8,
    /// Packets handled since the last flush.
    unflushed: u8,
    /// When something came in; until it has tried to sign in, when it connected.
    heard: Instant,
    /// While output waits for the client.
    blocked: Option<Box<Blocked>>,
    timer: Pin<Box<Sleep>>,
    /// The packet that is to be answered next.
    packet: Option<Box<Packet>>,
    backlog: Option<Box<Backlog>>,
    /// Set until it has signed in.
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
            stop: Some(Box::pin(shared.stop.clone().cancelled_owned())),
        }
    }

    async fn run(&mut self) {
        let Err(end) = self.serve().await;
        Box::pin(self.finish(end)).await;
    }

    /// Serves until the end. Nothing but what is waited for is kept over a wait.
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

    /// Queues a push, or a page that is not empty; the client acks it with this number.
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

    /// Says goodbye as far as the client can hear it, and lets go.
    async fn finish(&mut self, end: End) {
        let cut = self.shared.cut.clone();
        if cut.run_until_cancelled(self.part(end)).await.is_none() {
            tracing::debug!("cut off at the end of the stop's grace");
        }
    }

    async fn part(&mut self, end: End) {
        let linger = self.shared.settings.linger;
        match end {
            End::Gone(None) => tracing::debug!("the client has gone"),
            End::Gone(Some(error)) => {
                tracing::debug!(
                    error = &*error as &dyn std::error::Error,
                    "the connection is lost"
                );
                // A client that broke the rules of its wire is told so, as far as the wire can.
                if !matches!(*error, LinkError::Protocol { .. }) {
                    return;
                }
            }
            End::Close(close) => {
                tracing::debug!(code = close.number(true), text = close.text, "closing");
                if timeout(linger, self.last_answers()).await.is_err() {
                    tracing::debug!("sends were still waiting for their answers");
                }
                if self.extended && self.link.start_send_unpin(close.frame()).is_err() {
                    return;
                }
                let number = close.number(self.extended);
                self.link.set_close(number, &close.text);
            }
        }
        // The hub forgets the connection now; the socket may take its time.
        self.connection = None;
        self.backlog = None;
        if timeout(linger, self.link.close()).await.is_err() {
            tracing::debug!("the client did not let go");
            self.link.abort();
        }
    }

    /// Writes the answers to sends that are under way: the client would have to ask again.
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
