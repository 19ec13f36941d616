//! A client without a client library, over TCP or WebSocket: no reconnect, no retry, no stored
//! cursor. It writes packets that no library would write and shows every frame as it arrives.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use gimlet_client::DeviceCredentials;
use gimlet_proto::pb;
use pb::PackageType as Kind;
use prost::Message;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf,
    split,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A stream of bytes: a socket, or TLS over one.
pub trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> ByteStream for S {}

type WebSocket = WebSocketStream<Box<dyn ByteStream>>;

/// A connection without a client library.
#[derive(Debug)]
pub struct RawClient {
    /// Receiving half.
    pub reader: PacketReader,
    /// Sending half.
    pub writer: PacketWriter,
    /// Pushes that arrived during the wait for an answer.
    pub pushes: VecDeque<pb::Message>,
    /// Close packet that the server sent before it closed.
    pub close: Option<pb::CloseOutput>,
}

/// The receiving half.
#[derive(Debug)]
pub enum PacketReader {
    /// TCP: frames with a length of two bytes.
    Tcp(BufReader<ReadHalf<Box<dyn ByteStream>>>),
    /// WebSocket: binary messages.
    Ws(SplitStream<WebSocket>),
}

/// The sending half.
#[derive(Debug)]
pub enum PacketWriter {
    /// TCP: frames with a length of two bytes.
    Tcp(WriteHalf<Box<dyn ByteStream>>),
    /// WebSocket: binary messages.
    Ws(SplitSink<WebSocket, WsMessage>),
}

impl RawClient {
    /// Connects over TCP.
    ///
    /// # Errors
    /// Nothing listens there.
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(connect(address).await?))
    }

    /// Uses an open stream with the frames of TCP.
    #[must_use]
    pub fn over(stream: impl ByteStream + 'static) -> Self {
        let (read, write) = split(Box::new(stream) as Box<dyn ByteStream>);
        let reader = PacketReader::Tcp(BufReader::new(read));
        Self::of(reader, PacketWriter::Tcp(write))
    }

    /// Connects over WebSocket to this address, with this path and query.
    ///
    /// # Errors
    /// The server does not upgrade the connection.
    pub async fn ws(address: SocketAddr, path: &str) -> io::Result<Self> {
        let url = format!("ws://{address}{path}");
        Self::ws_over(connect(address).await?, &url).await
    }

    /// Upgrades an open stream to a WebSocket.
    ///
    /// # Errors
    /// The server does not upgrade the connection.
    pub async fn ws_over(stream: impl ByteStream + 'static, url: &str) -> io::Result<Self> {
        let stream: Box<dyn ByteStream> = Box::new(stream);
        let upgraded = client_async(url, stream).await;
        let (sink, stream) = upgraded.map_err(io::Error::other)?.0.split();
        Ok(Self::of(PacketReader::Ws(stream), PacketWriter::Ws(sink)))
    }

    const fn of(reader: PacketReader, writer: PacketWriter) -> Self {
        Self {
            reader,
            writer,
            pushes: VecDeque::new(),
            close: None,
        }
    }

    /// Connects over TCP and signs in, as a client that speaks our extension.
    ///
    /// # Errors
    /// The server refuses, or does not answer in time.
    pub async fn sign_in(address: SocketAddr, who: &DeviceCredentials) -> io::Result<Self> {
        let mut client = Self::tcp(address).await?;
        client.ask(Kind::PtSignIn, 1, &sign_in(who, 1)).await?;
        Ok(client)
    }

    /// Returns everything in the inbox above `seq`, read page by page.
    ///
    /// # Errors
    /// The server refuses, or does not answer in time.
    pub async fn sync(&mut self, mut seq: i64) -> io::Result<Vec<pb::Message>> {
        let mut all = Vec::new();
        loop {
            let page = self.page(seq).await?;
            seq = page.messages.last().map_or(seq, |message| message.seq);
            all.extend(page.messages);
            if !page.has_more {
                return Ok(all);
            }
        }
    }

    /// Returns one page of the inbox.
    ///
    /// # Errors
    /// The server refuses, or does not answer in time.
    pub async fn page(&mut self, seq: i64) -> io::Result<pb::SyncOutput> {
        let output = self.ask(Kind::PtSync, 2, &pb::SyncInput { seq }).await?;
        Ok(pb::SyncOutput::decode(output.data)?)
    }

    /// Sends a packet and waits for its answer, which must not be a refusal; pushes that arrive
    /// meanwhile are kept.
    ///
    /// # Errors
    /// The server refuses, does not answer in time, or closes the connection.
    pub async fn ask(
        &mut self,
        kind: Kind,
        id: i64,
        data: &impl Message,
    ) -> io::Result<pb::Output> {
        self.writer.write(kind, id, data).await?;
        let output = self.answer().await?;
        if output.code != 0 {
            let text = format!("{kind:?}: {} {}", output.code, output.message);
            return Err(io::Error::other(text));
        }
        Ok(output)
    }

    /// Waits for the next packet that is not a push; pushes that arrive meanwhile are kept.
    ///
    /// # Errors
    /// The server does not answer in time, or closes the connection.
    pub async fn answer(&mut self) -> io::Result<pb::Output> {
        loop {
            let output = self.next().await?;
            if output.r#type != i32::from(Kind::PtMessage) {
                return Ok(output);
            }
            self.pushes.push_back(pushed(output)?);
        }
    }

    /// Waits for the next push.
    ///
    /// # Errors
    /// The next packet is not a push, does not come in time, or the server closes the connection.
    pub async fn next_push(&mut self) -> io::Result<pb::Message> {
        match self.pushes.pop_front() {
            Some(push) => Ok(push),
            None => pushed(self.next().await?),
        }
    }

    /// Returns the next packet, which must arrive within the answer timeout.
    ///
    /// # Errors
    /// It does not come in time, or the server closes the connection.
    pub async fn next(&mut self) -> io::Result<pb::Output> {
        let output = self.reader.next().await?;
        if output.r#type() == Kind::PtClose {
            self.close = pb::CloseOutput::decode(output.data.clone()).ok();
        }
        Ok(output)
    }

    /// Waits for the end of the connection and returns the server's close packet.
    ///
    /// # Errors
    /// The connection does not end in time.
    pub async fn end(&mut self) -> io::Result<Option<pb::CloseOutput>> {
        loop {
            match self.next().await {
                Ok(output) if output.r#type() == Kind::PtMessage => {
                    self.pushes.push_back(pushed(output)?);
                }
                Ok(_) => {}
                Err(error) if is_failure(&error) => return Err(error),
                Err(_) => return Ok(self.close.clone()),
            }
        }
    }
}

impl PacketReader {
    /// Returns the next packet, which must arrive within the answer timeout.
    ///
    /// # Errors
    /// It does not come in time, or the server closes the connection.
    pub async fn next(&mut self) -> io::Result<pb::Output> {
        timeout(ANSWER, self.whenever()).await?
    }

    /// Returns the next packet, without a time limit.
    ///
    /// # Errors
    /// The server closes the connection.
    pub async fn whenever(&mut self) -> io::Result<pb::Output> {
        let frame = match self {
            Self::Tcp(stream) => {
                let length = stream.read_u16().await?;
                let mut body = vec![0; usize::from(length)];
                stream.read_exact(&mut body).await?;
                Bytes::from(body)
            }
            Self::Ws(stream) => loop {
                match stream.next().await {
                    Some(Ok(WsMessage::Binary(body))) => break body,
                    Some(Ok(WsMessage::Close(_)) | Err(_)) | None => {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    Some(Ok(_)) => {}
                }
            },
        };
        Ok(pb::Output::decode(frame)?)
    }
}

impl PacketWriter {
    /// Writes one packet.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn write(&mut self, kind: Kind, id: i64, data: &impl Message) -> io::Result<()> {
        self.write_frames(&[packet(kind.into(), id, data)]).await
    }

    /// Writes frames with these bytes, over TCP in one write.
    ///
    /// # Errors
    /// The connection has ended, or a body does not fit a frame.
    pub async fn write_frames(&mut self, bodies: &[Vec<u8>]) -> io::Result<()> {
        match self {
            Self::Tcp(_) => {
                let mut bytes = Vec::new();
                for body in bodies {
                    bytes.extend(frame(body)?);
                }
                self.write_bytes(&bytes).await
            }
            Self::Ws(sink) => {
                for body in bodies {
                    let fed = sink.feed(WsMessage::binary(body.clone())).await;
                    fed.map_err(io::Error::other)?;
                }
                sink.flush().await.map_err(io::Error::other)
            }
        }
    }

    /// Writes bytes without a frame; TCP only.
    ///
    /// # Errors
    /// The connection has ended, or is not TCP.
    pub async fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.write_all(bytes).await?;
                // TLS keeps what the socket did not take.
                stream.flush().await
            }
            Self::Ws(_) => Err(io::Error::other("bytes without a frame are for TCP")),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(ANSWER, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns true for an error that is not the end of the connection: nothing came in time, or it was
/// not a packet.
#[must_use]
pub fn is_failure(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::InvalidData)
}

/// Encodes a packet, without a frame around it.
#[must_use]
pub fn packet(kind: i32, request_id: i64, data: &impl Message) -> Vec<u8> {
    let input = pb::Input {
        r#type: kind,
        request_id,
        data: data.encode_to_vec().into(),
    };
    input.encode_to_vec()
}

/// Puts a body into a frame of the TCP wire.
///
/// # Errors
/// The body is longer than a frame can be.
pub fn frame(body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(body.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), body].concat())
}

/// Returns the data of a sign-in packet.
#[must_use]
pub fn sign_in(who: &DeviceCredentials, protocol: u32) -> pb::SignInInput {
    pb::SignInInput {
        device_id: who.device_id,
        user_id: who.user_id,
        token: who.token.clone(),
        protocol,
    }
}

/// Returns the message of a push.
fn pushed(output: pb::Output) -> io::Result<pb::Message> {
    if output.r#type() != Kind::PtMessage {
        return Err(io::Error::other(format!("{output:?} is not a push")));
    }
    let push = pb::MessageSend::decode(output.data)?;
    push.message
        .ok_or_else(|| io::Error::other("a push without a message"))
}
