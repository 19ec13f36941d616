//! Bridges from gim's framing over TCP to wires that carry JSON, so that every client of the tests can
//! use them: JSON over WebSocket, and HTTP with an event stream.
//!
//! A bridge translates packet by packet and knows nothing of the server's code. It reads from one side
//! only what the other side takes, so a slow client is slow for the server, too.

mod contents;
mod event_stream;
mod events;
mod fields;
mod frames;
mod http;
mod json;
mod packets;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::wire::ByteStream;

/// A wire behind a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgedWire {
    /// JSON over WebSocket.
    Json,
    /// HTTP requests, and an event stream for what the server sends.
    Events,
}

impl BridgedWire {
    /// Carries the packets of one client to the server, until one of them ends the connection.
    ///
    /// # Errors
    /// A connection failed, or one side sent something that the bridge cannot translate.
    pub async fn carry(
        self,
        client: impl ByteStream + 'static,
        server: SocketAddr,
    ) -> io::Result<()> {
        match self {
            Self::Json => json::carry(client, server).await,
            Self::Events => events::carry(client, server).await,
        }
    }
}

/// A running bridge; it stops and ends its connections when it is dropped.
#[derive(Debug)]
pub struct WireBridge {
    /// Address for clients with gim's framing.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl WireBridge {
    /// Starts a bridge to this server.
    ///
    /// # Panics
    /// No port is free.
    pub async fn start(wire: BridgedWire, server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while links.try_join_next().is_some() {}
                if client.set_nodelay(true).is_ok() {
                    links.spawn(async move { drop(wire.carry(client, server).await) });
                }
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}
