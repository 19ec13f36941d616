//! A connection without a client library, over either wire: for packets that no client library
//! would write, and to see every frame as it arrives.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use gimlet_client::{DeviceCredentials, pb};
use pb::PackageType as Kind;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{ScenarioFixture, ScenarioWire, soon};

/// Encodes a packet, without a frame around it.
#[must_use]
pub fn packet(kind: i32, request_id: i64, data: &impl prost::Message) -> Vec<u8> {
    let input = pb::Input {
        r#type: kind,
        request_id,
        data: data.encode_to_vec().into(),
    };
    input.encode_to_vec()
}

#[derive(Debug)]
enum WireStream {
    Tcp(TcpStream, BytesMut),
    Ws(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
}

/// A connection without a client library.
#[derive(Debug)]
pub struct BareConnection {
    line: WireStream,
    /// Pushes that arrived during the wait for an answer.
    pushes: VecDeque<pb::Message>,
    /// Close packet that the server sent before it closed.
    close: Option<pb::CloseOutput>,
}

impl ScenarioFixture {
    /// Opens a bare connection over this cell's wire.
    pub async fn bare(&self) -> BareConnection {
        BareConnection::connect(self).await
    }
}

impl BareConnection {
    /// Connects over the fixture's wire.
    pub async fn connect(world: &ScenarioFixture) -> Self {
        match world.wire() {
            ScenarioWire::Tcp => Self::tcp(world).await,
            ScenarioWire::Ws => Self::ws(world, "").await,
        }
    }

    /// Connects over TCP.
    pub async fn tcp(world: &ScenarioFixture) -> Self {
        let stream = TcpStream::connect(world.tcp())
            .await
            .expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self::over(WireStream::Tcp(stream, BytesMut::new()))
    }

    /// Connects over WebSocket, with this query.
    pub async fn ws(world: &ScenarioFixture, query: &str) -> Self {
        let addr = world.addrs().ws.expect("embedded servers listen on it");
        let url = format!("ws://{addr}/ws{query}");
        let config = WebSocketConfig::default();
        let (stream, _) = connect_async_with_config(url, Some(config), true)
            .await
            .expect("the server upgrades");
        Self::over(WireStream::Ws(Box::new(stream)))
    }

    const fn over(line: WireStream) -> Self {
        Self {
            line,
            pushes: VecDeque::new(),
            close: None,
        }
    }

    /// Writes one frame with these bytes.
    pub async fn writes(&mut self, body: &[u8]) {
        let written = self.try_write(body).await;
        written.unwrap_or_else(|error| panic!("cannot write: {error}"));
    }

    /// Writes one frame; the server may have closed the connection.
    pub async fn try_write(&mut self, body: &[u8]) -> io::Result<()> {
        match &mut self.line {
            WireStream::Tcp(..) => {
                let length = u16::try_from(body.len()).map_err(io::Error::other)?;
                let mut frame = length.to_be_bytes().to_vec();
                frame.extend_from_slice(body);
                self.try_write_bytes(&frame).await
            }
            WireStream::Ws(stream) => {
                let message = WsMessage::binary(body.to_vec());
                stream.send(message).await.map_err(io::Error::other)
            }
        }
    }

    /// Writes several frames, over TCP in one write.
    pub async fn writes_at_once(&mut self, bodies: &[Vec<u8>]) {
        if let WireStream::Ws(stream) = &mut self.line {
            for body in bodies {
                let fed = stream.feed(WsMessage::binary(body.clone())).await;
                fed.expect("an open connection");
            }
            stream.flush().await.expect("an open connection");
            return;
        }
        let mut bytes = Vec::new();
        for body in bodies {
            let length = u16::try_from(body.len()).expect("a frame that fits");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(body);
        }
        let written = self.try_write_bytes(&bytes).await;
        written.expect("an open connection");
    }

    /// Writes bytes without a frame; TCP only.
    pub async fn try_write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.line {
            WireStream::Tcp(stream, _) => stream.write_all(bytes).await,
            WireStream::Ws(_) => panic!("bytes without a frame are for TCP"),
        }
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
        loop {
            let output = self.next().await;
            let output =
                output.unwrap_or_else(|| panic!("closed before an answer: {:?}", self.close));
            if output.r#type != i32::from(Kind::PtMessage) {
                return output;
            }
            self.pushes.push_back(message(output));
        }
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
        let output = self.asks(Kind::PtSync, 2, &pb::SyncInput { seq }).await;
        assert_eq!(output.code, 0, "sync: {}", output.message);
        pb::SyncOutput::decode(output.data).expect("a page")
    }

    /// Returns everything above a seq, read page by page.
    pub async fn syncs(&mut self, mut seq: i64) -> Vec<pb::Message> {
        let mut all = Vec::new();
        loop {
            let page = self.page(seq).await;
            seq = page.messages.last().map_or(seq, |last| last.seq);
            all.extend(page.messages);
            if !page.has_more {
                return all;
            }
        }
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
        if let Some(push) = self.pushes.pop_front() {
            return push;
        }
        let output = self.next().await;
        let output = output.unwrap_or_else(|| panic!("closed before a push: {:?}", self.close));
        assert_eq!(output.r#type(), Kind::PtMessage, "a push: {output:?}");
        message(output)
    }

    /// Returns the pushes received so far.
    pub fn pushes(&mut self) -> Vec<pb::Message> {
        self.pushes.drain(..).collect()
    }

    /// Waits for the end of the connection and returns the server's close packet.
    pub async fn ends(&mut self) -> Option<pb::CloseOutput> {
        while let Some(output) = self.next().await {
            if output.r#type() == Kind::PtMessage {
                self.pushes.push_back(message(output));
            }
        }
        self.close.clone()
    }

    /// Returns the next packet; `None` after the server has closed the connection.
    pub async fn next(&mut self) -> Option<pb::Output> {
        let frame = soon("a frame", self.frame()).await?;
        let output = pb::Output::decode(frame).expect("an Output");
        if output.r#type() == Kind::PtClose {
            self.close = pb::CloseOutput::decode(output.data.clone()).ok();
        }
        Some(output)
    }

    async fn frame(&mut self) -> Option<Bytes> {
        match &mut self.line {
            WireStream::Tcp(stream, read) => loop {
                if let Some(head) = read.first_chunk::<2>() {
                    let length = usize::from(u16::from_be_bytes(*head));
                    if read.len() >= 2 + length {
                        read.advance(2);
                        return Some(read.split_to(length).freeze());
                    }
                }
                if stream.read_buf(read).await.unwrap_or(0) == 0 {
                    return None;
                }
            },
            WireStream::Ws(stream) => loop {
                match stream.next().await {
                    Some(Ok(WsMessage::Binary(body))) => return Some(body),
                    Some(Ok(WsMessage::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            },
        }
    }
}

/// Returns the data of a sign-in packet.
pub(crate) fn sign_in(who: &DeviceCredentials, protocol: u32) -> pb::SignInInput {
    pb::SignInInput {
        device_id: who.device_id,
        user_id: who.user_id,
        token: who.token.clone(),
        protocol,
    }
}

fn message(output: pb::Output) -> pb::Message {
    let push = pb::MessageSend::decode(output.data).expect("a push");
    push.message.expect("a push with a message")
}
