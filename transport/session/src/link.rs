//! What a wire gives the session: a connection of frames, and a listener that makes them.
//!
//! Serves the accept loop and the session, which are generic over these traits: they run per frame
//! and never mix, so nothing is boxed. A frame is the bytes of one `pb.Input` or `pb.Output`; what
//! is in it, a link does not know.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::time::Instant;

/// A kind of wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// TCP with gim's framing.
    Tcp,
    /// WebSocket.
    WebSocket,
}

/// One client connection of frames.
///
/// Reading gives whole frames. Writing copies frames into one pending buffer: `start_send` never
/// touches the socket, `poll_flush` writes everything that is pending with as few writes as it can,
/// and `poll_ready` waits while more than a fixed number of bytes is pending.
///
/// An idle link owns no buffer worth mentioning: what is read is handed out, and what was written
/// is given back.
pub trait Link:
    Stream<Item = Result<Bytes, LinkError>> + Sink<Bytes, Error = LinkError> + Unpin + Send + 'static
{
    /// Which wire this is.
    fn wire(&self) -> Wire;

    /// Queues frames that others are sent as well; like `start_send`, it follows a `poll_ready`.
    fn put_all(&mut self, frames: &[Bytes]) -> Result<(), LinkError>;

    /// Whether everything that was sent has been handed to the system.
    fn is_flushed(&self) -> bool;

    /// Gives memory back that a burst has left behind; called when the connection goes idle.
    fn release_buffers(&mut self);

    /// Bytes that the system has taken so far, modulo 2^32: whether an output that waits moves on.
    fn written(&self) -> u32;

    /// Queues a sign of life if the wire has one and `silence` has gone by without anything written;
    /// returns when it is to be called again. The first call starts the clock.
    fn keep_alive(&mut self, silence: Duration, now: Instant) -> Option<Instant>;

    /// Gives up what waits to be written: the system forgets it, and the client sees a reset.
    fn abort(&mut self);

    /// Says why the connection will be closed, for wires that can carry it (WebSocket's close
    /// frame). It is written by `poll_close`.
    fn set_close(&mut self, code: u16, reason: &str);
}

/// Accepts connections.
pub trait Listener: Send + 'static {
    /// A connection before its handshake.
    type Pending: Pending;

    /// The next connection. The handshake is not done here: one slow client would hold up all.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Pending, SocketAddr)>> + Send;

    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// An accepted connection before its handshake.
pub trait Pending: Send + 'static {
    /// What it becomes.
    type Link: Link;

    /// Does the handshake, in the connection's own task.
    fn open(self) -> impl Future<Output = Result<Opened<Self::Link>, LinkError>> + Send;

    /// Turns the client away and says when to come back, as far as the wire can say it.
    fn refuse(self, after: Duration) -> impl Future<Output = ()> + Send;
}

/// A connection that can carry frames.
#[derive(Debug)]
pub struct Opened<L> {
    /// The connection.
    pub link: L,
    /// What the client said while connecting.
    pub greeting: Greeting,
}

/// How a client introduces itself.
#[derive(Debug, Default)]
pub enum Greeting {
    /// By a `SIGN_IN` packet, which is still to come.
    #[default]
    BySignIn,
    /// In the URL of a WebSocket, as gim's clients of 2020 did.
    FromUrl(Box<UrlSignIn>),
}

/// The sign-in of a WebSocket URL: numbers as text, checked like those of a packet.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UrlSignIn {
    /// `user_id`.
    pub user_id: String,
    /// `device_id`.
    pub device_id: String,
    /// `token`; never logged.
    pub token: String,
    /// `request_id`, if given.
    pub request_id: Option<String>,
}

impl std::fmt::Debug for UrlSignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UrlSignIn")
            .field("user_id", &self.user_id)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// Why a connection of frames ended other than by a clean close.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A frame's declared length is over the limit; nothing of it was read.
    #[error("a frame of {declared} bytes is over the limit of {limit}")]
    TooLarge {
        /// The length the client declared.
        declared: usize,
        /// The limit.
        limit: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The handshake was not finished in time.
    #[error("no handshake within {} ms", .0.as_millis())]
    HandshakeTimeout(Duration),
    /// The socket failed.
    #[error("the socket failed")]
    Io(#[from] io::Error),
    /// The client broke the rules of the wire.
    #[error("{text}")]
    Protocol {
        /// What it did.
        text: String,
        /// What the wire's library said, if it was the one that noticed.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl LinkError {
    /// The client broke the rules of the wire, in the words given.
    #[must_use]
    pub fn protocol(text: impl Into<String>) -> Self {
        Self::Protocol {
            text: text.into(),
            source: None,
        }
    }
}
