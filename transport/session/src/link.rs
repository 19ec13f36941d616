//! The interface of a wire to the session: a connection that carries frames, made from an accepted
//! socket.
//!
//! The session is generic over these traits, which avoids boxing on the path of every frame. A
//! frame is the bytes of one packet, in the encoding of the link ([`FrameCodec`]); a link does not
//! interpret them.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use gimlet_listen::admission::ConnectionPermit;
use gimlet_listen::{AdmittedConnection, ClientStream};
use tokio::time::Instant;

/// A kind of wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireKind {
    /// TCP with gim's framing.
    Tcp,
    /// WebSocket.
    WebSocket,
}

/// The encoding of a connection's frames, which the client chooses. It decides neither what is
/// delivered nor which rules apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameCodec {
    /// Protobuf: `pb.Input` and `pb.Output`.
    #[default]
    Protobuf,
    /// JSON text.
    Json,
}

/// One client connection of frames.
///
/// Reading returns whole frames. Writing copies frames into one pending buffer: `start_send` never
/// touches the socket, `poll_flush` writes everything that is pending with as few writes as
/// possible, and `poll_ready` waits while more than a fixed number of bytes is pending.
///
/// An idle link holds almost no buffer memory: read frames are handed out, and the write buffer is
/// released once it is flushed.
pub trait FrameLink:
    Stream<Item = Result<Bytes, LinkError>> + Sink<Bytes, Error = LinkError> + Unpin + Send + 'static
{
    /// Returns the wire of this link.
    fn wire(&self) -> WireKind;

    /// Returns the encoding of its frames. It does not change while the link lives.
    fn codec(&self) -> FrameCodec {
        FrameCodec::Protobuf
    }

    /// Queues frames that are shared with other connections; like `start_send`, it requires a
    /// preceding `poll_ready`.
    fn put_all(&mut self, frames: &[Bytes]) -> Result<(), LinkError>;

    /// Returns whether everything sent has been handed to the operating system.
    fn is_flushed(&self) -> bool;

    /// Releases memory that a burst left behind; called when the connection becomes idle.
    fn release_buffers(&mut self);

    /// Returns the bytes that the operating system has accepted so far, modulo 2^32, which shows
    /// whether pending output makes progress.
    fn written(&self) -> u32;

    /// Queues a ping, on wires that have one, if nothing was written for `silence`; returns the
    /// time of the next call. The first call starts the clock.
    fn keep_alive(&mut self, silence: Duration, now: Instant) -> Option<Instant>;

    /// Discards pending output: the operating system drops it, and the client sees a reset.
    fn abort(&mut self);

    /// Sets the close code and reason for wires that carry them (WebSocket's close frame);
    /// `poll_close` writes them.
    fn set_close(&mut self, code: u16, reason: &str);
}

/// A wire: turns accepted sockets into links.
pub trait WireFraming: Send + Sync + 'static {
    /// The link that a socket becomes.
    type Link: FrameLink;

    /// `true` if [`refuse`](Self::refuse) writes an answer.
    const ANSWERS_REFUSED: bool = false;

    /// Performs the handshake, in the connection's own task.
    fn open(
        &self,
        accepted: AdmittedConnection,
    ) -> impl Future<Output = Result<ConnectedLink<Self::Link>, LinkError>> + Send;

    /// Rejects a client and tells it when to reconnect, if the wire can express that.
    fn refuse(&self, stream: ClientStream, after: Duration) -> impl Future<Output = ()> + Send;
}

/// A connection that can carry frames, with all that belongs to it.
#[derive(Debug)]
pub struct ConnectedLink<L> {
    /// The connection.
    pub opened: OpenedLink<L>,
    /// The client's address.
    pub addr: SocketAddr,
    /// The connection's place in the limits, until it is dropped.
    pub permit: ConnectionPermit,
}

/// A connection that can carry frames.
#[derive(Debug)]
pub struct OpenedLink<L> {
    /// The connection.
    pub link: L,
    /// The sign-in data that the client gave while connecting.
    pub greeting: SignInSource,
}

/// The way a client signs in.
#[derive(Debug, Default)]
pub enum SignInSource {
    /// With a `SIGN_IN` packet, which has not arrived yet.
    #[default]
    BySignIn,
    /// With the URL of a WebSocket, as gim's clients of 2020 did.
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

/// Reasons a link ended without a clean close.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The declared length of a frame exceeds the limit; none of it was read.
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
    /// The socket failed.
    #[error("the socket failed")]
    Io(#[from] io::Error),
    /// The client violated the protocol of the wire.
    #[error("{text}")]
    Protocol {
        /// A description of the violation.
        text: String,
        /// The error of the wire's library, if the library detected it.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl LinkError {
    /// Returns a protocol violation with this description.
    #[must_use]
    pub fn protocol(text: impl Into<String>) -> Self {
        Self::Protocol {
            text: text.into(),
            source: None,
        }
    }
}
