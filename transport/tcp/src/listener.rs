//! Makes links of accepted TCP connections.

use std::time::Duration;

use gimlet_listen::{AdmittedConnection, ClientStream, socket};
use gimlet_transport::{ConnectedLink, LinkError, OpenedLink, SignInSource, WireFraming};

use crate::frame;
use crate::link::TcpLink;

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
        accepted: AdmittedConnection,
    ) -> Result<ConnectedLink<TcpLink>, LinkError> {
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
        // come back by themselves after some seconds.
    }
}
