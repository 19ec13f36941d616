//! One connection as two streams of frames, the same for TCP and WebSocket. Frames are not
//! interpreted here.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::future::{poll_fn, ready};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::options::{ClientOptions, ServerEndpoint};
use crate::tls::TrustedRoots;

/// The longest frame that either side may send: the maximum of a two-byte length.
pub(crate) const MAX_FRAME: usize = 65_535;

/// Reasons that a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Ws(Box<tokio_tungstenite::tungstenite::Error>),
    #[error("the server closed the connection")]
    Ended,
    /// A WebSocket close frame with a code.
    #[error("the server closed the connection: {reason} ({code})")]
    Closed { code: u16, reason: String },
}

impl From<tokio_tungstenite::tungstenite::Error> for ConnectionError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        match error {
            tokio_tungstenite::tungstenite::Error::Io(error) => Self::Io(error),
            other => Self::Ws(Box::new(other)),
        }
    }
}

/// The incoming frames. Dropping a pending `next` loses nothing.
pub(crate) type FrameStream = Pin<Box<dyn Stream<Item = Result<Bytes, ConnectionError>> + Send>>;
type FrameSink = Pin<Box<dyn Sink<Bytes, Error = ConnectionError> + Send>>;

/// The outgoing frames: a queue, and the wire that takes from it.
pub(crate) struct OutgoingFrames {
    queue: VecDeque<Bytes>,
    sink: FrameSink,
    flushed: bool,
}

impl OutgoingFrames {
    /// Appends a frame to the queue; the caller bounds it by counting requests.
    pub(crate) fn put(&mut self, frame: Bytes) {
        self.queue.push_back(frame);
        self.flushed = false;
    }

    /// Returns whether frames are not on the wire yet.
    pub(crate) const fn is_busy(&self) -> bool {
        !self.flushed
    }

    /// Writes all frames. Dropping the future loses nothing: the next call continues.
    pub(crate) async fn pump(&mut self) -> Result<(), ConnectionError> {
        while !self.queue.is_empty() {
            poll_fn(|cx| self.sink.as_mut().poll_ready(cx)).await?;
            // The frame leaves the queue only when the sink is ready to take it, without an await
            // between: a dropped future cannot lose it.
            if let Some(frame) = self.queue.pop_front() {
                self.sink.as_mut().start_send(frame)?;
            }
        }
        self.sink.flush().await?;
        self.flushed = true;
        Ok(())
    }

    /// Writes all frames and closes the sending half.
    pub(crate) async fn close(&mut self) -> Result<(), ConnectionError> {
        self.pump().await?;
        self.sink.close().await
    }
}

/// Connects to the endpoint of these options.
pub(crate) async fn connect(
    options: &ClientOptions,
) -> Result<(FrameStream, OutgoingFrames), ConnectionError> {
    let (frames, sink) = match &options.endpoint {
        ServerEndpoint::Tcp(address) => tcp(open(address.as_str()).await?),
        ServerEndpoint::Tls(address) => {
            let host = address
                .rsplit_once(':')
                .map_or(address.as_str(), |(host, _)| host);
            let stream = open(address.as_str()).await?;
            // Boxed: the handshake takes some 20 KB, which a connection without TLS need not carry.
            let host = without_brackets(host);
            tcp(Box::pin(trust(options).connect(host, stream)).await?)
        }
        ServerEndpoint::Ws(url) => {
            let uri = http::Uri::try_from(url).map_err(io::Error::other)?;
            let tls = uri.scheme_str() == Some("wss");
            let host = without_brackets(uri.host().unwrap_or_default());
            let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
            let stream = open((host, port)).await?;
            if tls {
                let stream = Box::pin(trust(options).connect(host, stream)).await?;
                Box::pin(ws(url, stream)).await?
            } else {
                ws(url, stream).await?
            }
        }
    };
    let outgoing = OutgoingFrames {
        queue: VecDeque::new(),
        sink,
        flushed: true,
    };
    Ok((frames, outgoing))
}

async fn open(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn trust(options: &ClientOptions) -> TrustedRoots {
    options.trust.clone().unwrap_or_default()
}

/// Returns the host without the brackets of an IPv6 address.
fn without_brackets(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

fn tcp<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> (FrameStream, FrameSink) {
    let codec = LengthDelimitedCodec::builder()
        .big_endian()
        .length_field_length(2)
        .max_frame_length(MAX_FRAME)
        .new_codec();
    let (sink, frames) = Framed::new(stream, codec).split();
    let frames = frames.map(|frame| frame.map(BytesMut::freeze).map_err(ConnectionError::from));
    (
        Box::pin(frames),
        Box::pin(sink.sink_map_err(ConnectionError::from)),
    )
}

async fn ws<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    url: &str,
    stream: S,
) -> Result<(FrameStream, FrameSink), ConnectionError> {
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME));
    let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
    let (sink, frames) = socket.split();
    let frames = frames.filter_map(|message| {
        ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(Message::Text(text)) => Some(Ok(text.into())),
            Ok(Message::Close(Some(frame))) => Some(Err(ConnectionError::Closed {
                code: frame.code.into(),
                reason: frame.reason.to_string(),
            })),
            Ok(Message::Close(None)) => Some(Err(ConnectionError::Ended)),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => None,
            Err(error) => Some(Err(error.into())),
        })
    });
    let sink = sink
        .with(|frame: Bytes| {
            ready(Ok::<_, tokio_tungstenite::tungstenite::Error>(
                Message::Binary(frame),
            ))
        })
        .sink_map_err(ConnectionError::from);
    Ok((Box::pin(frames), Box::pin(sink)))
}
