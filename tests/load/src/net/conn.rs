//! One client connection: a socket, the bytes of an unfinished frame, and the bytes that wait to be
//! written. Empty buffers hold no memory while idle.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

use super::connect_target::ConnectTarget;
use super::events::FollowedInbox;
use super::framing::{JSON_PROTOCOL, UPGRADE, WireFraming};

/// Counts of system calls and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrafficCounts {
    /// Reads that gave something.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Waits for events.
    pub waits: u64,
}

/// Largest capacity that an empty buffer keeps, in bytes.
const KEPT: usize = 4096;

/// Stage in the setup of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionStage {
    /// The system connects.
    Connecting,
    /// The upgrade to WebSocket, or the event stream, was requested.
    Upgrading,
    /// Packets can go both ways.
    Open,
}

/// Client connection.
#[derive(Debug)]
pub(super) struct ClientConnection {
    stream: TcpStream,
    pub(super) stage: ConnectionStage,
    /// True while it is in the list of connections to flush.
    pub(super) dirty: bool,
    pub(super) partial: Vec<u8>,
    pub(super) out: Vec<u8>,
    /// Bytes of `out` that are written.
    pub(super) written: usize,
    /// The account of an event stream, and the packet that its first event answers.
    pub(super) follows: Option<Box<FollowedInbox>>,
}

impl ClientConnection {
    /// Begins to connect; `number` chooses the server and the source address.
    pub(super) fn begin(place: &ConnectTarget, number: u64) -> io::Result<Self> {
        let servers = place.to.len().max(1) as u64;
        let turn = usize::try_from(number % servers).unwrap_or(0);
        let to = place.to.get(turn).copied();
        let to = to.ok_or_else(|| io::Error::other("there is no server"))?;
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(from) = place.from.nth(number / servers) {
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            stream: socket.into(),
            stage: ConnectionStage::Connecting,
            dirty: false,
            partial: Vec::new(),
            out: Vec::new(),
            written: 0,
            follows: None,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Handles the end of connecting and enters the next stage.
    pub(super) fn arrived(&mut self, framing: WireFraming) -> io::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match framing {
            WireFraming::Events if self.follows.is_some() => {
                self.stage = ConnectionStage::Upgrading;
            }
            WireFraming::Tcp | WireFraming::Events => self.stage = ConnectionStage::Open,
            WireFraming::Ws | WireFraming::Json => {
                self.stage = ConnectionStage::Upgrading;
                self.out.extend_from_slice(UPGRADE);
                if framing == WireFraming::Json {
                    self.out.extend_from_slice(JSON_PROTOCOL);
                }
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// Answers a WebSocket ping.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap_or(0).min(125);
        self.out
            .extend_from_slice(&[0x8a, 0x80 | length, 0, 0, 0, 0]);
        self.out
            .extend(payload.iter().take(usize::from(length)).copied());
    }

    /// Writes the waiting bytes, as far as the socket takes them.
    pub(super) fn flush(&mut self, traffic: &mut TrafficCounts) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(n) => {
                    self.written += n;
                    traffic.writes += 1;
                    traffic.bytes_out += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
        Ok(())
    }
}

/// `EINPROGRESS`.
const IN_PROGRESS: i32 = 115;
