//! Makes links of accepted TCP connections.

use std::time::Duration;

use gimlet_listen::{AdmittedConnection, ClientStream, socket};
use gimlet_transport::{ConnectedLink, LinkError, OpenedLink, SignInSource, WireFraming};

use crate::frame;
use crate::link::TcpLink;

/// Reason of a connection's end that its client is not told: gim's frames have no answer to a
/// client that has not signed in.
const UNNAMED_PROXY_FULL: &str = "its proxy names no clients and has as many connections as it may";

/// gim's framing: two bytes of length in front of each frame.
#[derive(Clone, Copy, Debug)]
pub struct TcpFrameListener {
    limit: usize,
}

impl TcpFrameListener {
    /// Frames of clients may have `limit` bytes, at most 65,535.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.min(frame::MAX_FRAME_LEN),
        }
    }
}

impl WireFraming for TcpFrameListener {
    type Link = TcpLink;

    /// There is no handshake: the client's first frame may take as long as a session allows.
    async fn open(
        &self,
        mut accepted: AdmittedConnection,
    ) -> Result<ConnectedLink<TcpLink>, LinkError> {
        // Over TCP only a PROXY header, which was read before, names a client.
        if accepted.unnamed().is_err() {
            return Err(LinkError::protocol(UNNAMED_PROXY_FULL));
        }
        let AdmittedConnection {
            stream,
            addr,
            permit,
        } = accepted;
        socket::prepare(stream.socket())?;
        let opened = OpenedLink {
            link: TcpLink::new(stream, self.limit),
            greeting: SignInSource::BySignIn,
        };
        Ok(ConnectedLink {
            opened,
            addr,
            permit,
        })
    }

    async fn refuse(&self, _stream: ClientStream, _after: Duration) {
        // A client that has not signed in has not said that it understands PT_CLOSE; gim's clients
        // reconnect by themselves after some seconds.
    }
}
