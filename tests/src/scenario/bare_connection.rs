//! A connection without a client library, over the wire of the fixture: each step is an
//! expectation that panics if the server does not meet it.

use std::io;
use std::net::SocketAddr;

use gimlet_client::{DeviceCredentials, pb};
use gimlet_kit::bridge::BridgedWire;
use gimlet_kit::wire::{RawClient, is_failure, sign_in};
use pb::PackageType as Kind;
use tokio::task::JoinSet;

use super::fixture::ScenarioFixture;
use super::matrix::ScenarioWire;

pub use gimlet_kit::wire::packet;

/// Bytes between a connection and its bridge: some hundred packets, which a test may write before it
/// reads.
const BRIDGE_BYTES: usize = 64 * 1024;

/// A connection without a client library.
#[derive(Debug)]
pub struct BareConnection {
    client: RawClient,
    /// The bridge of a wire with JSON.
    _bridge: JoinSet<()>,
}

impl ScenarioFixture {
    /// Opens a bare connection over this cell's wire.
    pub async fn bare(&self) -> BareConnection {
        BareConnection::connect(self).await
    }
}

impl BareConnection {
    /// Connects over the fixture's wire.
    pub async fn connect(fixture: &ScenarioFixture) -> Self {
        match fixture.wire() {
            ScenarioWire::Tcp | ScenarioWire::Tls => Self::tcp(fixture).await,
            ScenarioWire::Ws | ScenarioWire::Wss => Self::ws(fixture, "").await,
            ScenarioWire::Json => Self::bridged(BridgedWire::Json, fixture.addrs().ws),
            ScenarioWire::Events => Self::bridged(BridgedWire::Events, fixture.addrs().http),
        }
    }

    fn over(client: RawClient) -> Self {
        Self {
            client,
            _bridge: JoinSet::new(),
        }
    }

    /// Connects through a bridge, which reads only what its other side takes.
    fn bridged(wire: BridgedWire, server: Option<SocketAddr>) -> Self {
        let server = server.expect("embedded servers listen on it");
        let (near, far) = tokio::io::duplex(BRIDGE_BYTES);
        let mut bridge = JoinSet::new();
        bridge.spawn(async move { drop(wire.carry(far, server).await) });
        Self {
            client: RawClient::over(near),
            _bridge: bridge,
        }
    }

    /// Connects over TCP.
    pub async fn tcp(fixture: &ScenarioFixture) -> Self {
        Self::over(RawClient::over(fixture.connect(fixture.tcp()).await))
    }

    /// Connects over WebSocket, with this query.
    pub async fn ws(fixture: &ScenarioFixture, query: &str) -> Self {
        let addr = fixture.addrs().ws.expect("embedded servers listen on it");
        let stream = fixture.connect(addr).await;
        let connected = RawClient::ws_over(stream, &format!("ws://{addr}/ws{query}")).await;
        Self::over(connected.expect("the server upgrades"))
    }

    /// Writes one frame with these bytes.
    pub async fn writes(&mut self, body: &[u8]) {
        let written = self.try_write(body).await;
        written.unwrap_or_else(|error| panic!("cannot write: {error}"));
    }

    /// Writes one frame; the server may have closed the connection.
    pub async fn try_write(&mut self, body: &[u8]) -> io::Result<()> {
        self.client.writer.write_frames(&[body.to_vec()]).await
    }

    /// Writes several frames, over TCP in one write.
    pub async fn writes_at_once(&mut self, bodies: &[Vec<u8>]) {
        let written = self.client.writer.write_frames(bodies).await;
        written.expect("an open connection");
    }

    /// Writes bytes without a frame; TCP only.
    pub async fn try_write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.writer.write_bytes(bytes).await
    }

    /// Sends a packet.
    pub async fn says(&mut self, kind: Kind, id: i64, data: &impl prost::Message) {
        self.writes(&packet(kind.into(), id, data)).await;
    }

    /// Sends a packet and waits for its answer; pushes are kept for [`Self::pushed`].
    pub async fn asks(&mut self, kind: Kind, id: i64, data: &impl prost::Message) -> pb::Output {
        self.says(kind, id, data).await;
        self.answer().await
    }

    /// Waits for the next answer; pushes are kept for [`Self::pushed`].
    pub async fn answer(&mut self) -> pb::Output {
        let answer = self.client.answer().await;
        answer.unwrap_or_else(|error| panic!("no answer: {error}; close: {:?}", self.client.close))
    }

    /// Signs in as a client of this protocol number; a refusal panics.
    pub async fn signs_in(&mut self, who: &DeviceCredentials, protocol: u32) -> pb::Output {
        let output = self.tries_to_sign_in(who, protocol).await;
        assert_eq!(output.code, 0, "sign-in: {}", output.message);
        output
    }

    /// Signs in and returns the answer.
    pub async fn tries_to_sign_in(&mut self, who: &DeviceCredentials, protocol: u32) -> pb::Output {
        self.asks(Kind::PtSignIn, 1, &sign_in(who, protocol)).await
    }

    /// Returns one page of the inbox.
    pub async fn page(&mut self, seq: i64) -> pb::SyncOutput {
        let page = self.client.page(seq).await;
        page.unwrap_or_else(|error| panic!("no page: {error}"))
    }

    /// Returns everything above a seq, read page by page.
    pub async fn syncs(&mut self, seq: i64) -> Vec<pb::Message> {
        let entries = self.client.sync(seq).await;
        entries.unwrap_or_else(|error| panic!("no entries: {error}"))
    }

    /// Acknowledges the entries up to a seq.
    pub async fn acks(&mut self, seq: i64) {
        let ack = pb::MessageAck {
            device_ack: seq,
            receive_time: 1,
        };
        self.says(Kind::PtMessage, 3, &ack).await;
    }

    /// Sends a heartbeat and returns its answer.
    pub async fn beats(&mut self) -> pb::Output {
        self.asks(Kind::PtHeartbeat, 4, &pb::Empty {}).await
    }

    /// Waits for the next push.
    pub async fn pushed(&mut self) -> pb::Message {
        let push = self.client.next_push().await;
        push.unwrap_or_else(|error| panic!("no push: {error}; close: {:?}", self.client.close))
    }

    /// Returns the pushes received so far.
    pub fn pushes(&mut self) -> Vec<pb::Message> {
        self.client.pushes.drain(..).collect()
    }

    /// Waits for the end of the connection and returns the server's close packet.
    pub async fn ends(&mut self) -> Option<pb::CloseOutput> {
        self.client.end().await.expect("the connection ends")
    }

    /// Returns the next packet; `None` after the server has closed the connection.
    pub async fn next(&mut self) -> Option<pb::Output> {
        match self.client.next().await {
            Ok(output) => Some(output),
            Err(error) if is_failure(&error) => panic!("no packet: {error}"),
            Err(_) => None,
        }
    }
}
