//! A WebSocket connection of frames: one message is one frame.
//!
//! The library reads, answers pings and closes. This module writes data frames itself, because the
//! library keeps the largest write buffer that it ever needed for the rest of the connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use gimlet_transport::{FrameCodec, FrameLink, LinkError, WireKind};
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use crate::gather::{FINAL_BINARY, FINAL_TEXT, GatheringSocket};

/// Size up to which a received message is copied; a larger one keeps the buffer it was read into.
const MAX_COPIED_BYTES: usize = 1024;

/// Largest number of bytes of a close frame's reason: a control frame holds 125 bytes, and the code
/// takes two.
const MAX_REASON_BYTES: usize = 123;

/// One WebSocket connection of frames.
#[derive(Debug)]
pub struct WsLink {
    stream: WebSocketStream<GatheringSocket>,
    codec: FrameCodec,
    /// The last large message. While this clone exists, the library cannot reuse the large buffer
    /// and takes a small one for its next read.
    large: Option<Bytes>,
    close: Option<Box<CloseFrame>>,
    closing: bool,
    ended: bool,
    /// True if something was written since [`FrameLink::keep_alive`] last checked, and the time of
    /// its next check.
    wrote: bool,
    look_at: Option<Instant>,
}

impl WsLink {
    pub(crate) fn new(stream: WebSocketStream<GatheringSocket>, codec: FrameCodec) -> Self {
        Self {
            stream,
            codec,
            large: None,
            close: None,
            closing: false,
            ended: false,
            wrote: false,
            look_at: None,
        }
    }

    /// Returns the first byte of the messages that carry frames.
    const fn first_byte(&self) -> u8 {
        match self.codec {
            FrameCodec::Protobuf => FINAL_BINARY,
            FrameCodec::Json => FINAL_TEXT,
        }
    }

    fn take(&mut self, payload: Bytes) -> Bytes {
        if payload.len() <= MAX_COPIED_BYTES {
            // Copied: a small message would otherwise keep the whole read buffer alive.
            return Bytes::copy_from_slice(&payload);
        }
        self.large = Some(payload.clone());
        payload
    }
}

impl Stream for WsLink {
    type Item = Result<Bytes, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            // Checked before each read: a client that pings but does not read is not read from
            // either.
            if let Err(error) = ready!(this.stream.get_mut().poll_control_room(cx)) {
                this.ended = true;
                return Poll::Ready(Some(Err(error.into())));
            }
            let next = Pin::new(&mut this.stream).poll_next(cx);
            this.large = None;
            match ready!(next) {
                Some(Ok(Message::Binary(payload))) => {
                    return Poll::Ready(Some(Ok(this.take(payload))));
                }
                Some(Ok(Message::Text(text))) => {
                    return Poll::Ready(Some(Ok(this.take(Bytes::from(text)))));
                }
                // The library answers pings and closes by itself, on the next read.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) => this.closing = true,
                None => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    this.ended = true;
                    this.close = violation(&error).map(Box::new);
                    return Poll::Ready(ended_by(error).map(Err));
                }
            }
        }
    }
}

impl Sink<Bytes> for WsLink {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.stream.get_mut().poll_room(cx).map_err(LinkError::from)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), LinkError> {
        if !self.closing {
            self.wrote = true;
            let first = self.first_byte();
            self.stream.get_mut().put_message(first, &frame);
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Pin::new(self.stream.get_mut())
            .poll_flush(cx)
            .map_err(LinkError::from)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let this = &mut *self;
        if !this.closing {
            this.closing = true;
            let frame = this.close.take().map_or(
                CloseFrame {
                    code: CloseCode::Normal,
                    reason: "".into(),
                },
                |frame| *frame,
            );
            match Pin::new(&mut this.stream).start_send(Message::Close(Some(frame))) {
                Ok(()) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => {}
                Err(error) => return Poll::Ready(ended_by(error).map_or(Ok(()), Err)),
            }
        }
        if let Err(error) = ready!(Pin::new(&mut this.stream).poll_close(cx))
            && let Some(error) = ended_by(error)
        {
            return Poll::Ready(Err(error));
        }
        this.stream.get_mut().poll_end(cx).map_err(LinkError::from)
    }
}

impl FrameLink for WsLink {
    fn wire(&self) -> WireKind {
        WireKind::WebSocket
    }

    fn codec(&self) -> FrameCodec {
        self.codec
    }

    fn put_all(&mut self, frames: &[Bytes]) -> Result<(), LinkError> {
        if !self.closing {
            self.wrote = true;
            let first = self.first_byte();
            for frame in frames {
                self.stream.get_mut().put_message(first, frame);
            }
        }
        Ok(())
    }

    fn is_flushed(&self) -> bool {
        self.stream.get_ref().is_flushed()
    }

    fn release_buffers(&mut self) {
        self.large = None;
    }

    fn written(&self) -> u32 {
        self.stream.get_ref().written()
    }

    /// Checks twice per `silence`: a ping is then never late, and an idle client gets one at every
    /// other check.
    fn keep_alive(&mut self, silence: Duration, now: Instant) -> Option<Instant> {
        let next = *self.look_at.get_or_insert(now + silence / 2);
        if now < next || self.closing {
            return (!self.closing).then_some(next);
        }
        if !self.wrote {
            self.stream.get_mut().put_ping();
        }
        // A ping counts as output.
        self.wrote = !self.wrote;
        self.look_at = Some(now + silence / 2);
        self.look_at
    }

    fn abort(&mut self) {
        self.stream.get_ref().forget_unwritten();
    }

    fn set_close(&mut self, code: u16, reason: &str) {
        self.close = Some(Box::new(CloseFrame {
            code: CloseCode::from(code),
            reason: truncate_reason(reason).into(),
        }));
    }
}

/// Returns the close frame for a client that violated the protocol (RFC 6455, 7.4.1).
fn violation(error: &WsError) -> Option<CloseFrame> {
    let (code, reason) = match error {
        WsError::Utf8(_) => (
            CloseCode::Invalid,
            "a text message must be UTF-8".to_owned(),
        ),
        WsError::Capacity(_) => (CloseCode::Size, error.to_string()),
        WsError::Protocol(_) => (CloseCode::Protocol, error.to_string()),
        _ => return None,
    };
    Some(CloseFrame {
        code,
        reason: truncate_reason(&reason).into(),
    })
}

/// Cuts a reason to the size of a close frame, between characters.
fn truncate_reason(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}

/// Converts an error of the library; `None` for an ordinary end.
fn ended_by(error: WsError) -> Option<LinkError> {
    match error {
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        // A client that disappears without a close frame is the usual case.
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Io(error) => Some(LinkError::Io(error)),
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            Some(LinkError::TooLarge {
                declared: size,
                limit: max_size,
            })
        }
        error => Some(LinkError::Protocol {
            text: "the client violated the WebSocket protocol".into(),
            source: Some(Box::new(error)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::StreamExt as _;
    use gimlet_listen::ClientStream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::gather::MAX_CONTROL_BYTES;

    /// A ping of 125 bytes, masked with zeros, and a message of one byte.
    const PING_PAYLOAD_LEN: usize = 125;
    const MESSAGE_FRAME: [u8; 7] = [0x82, 0x81, 0, 0, 0, 0, b'x'];

    fn pings(count: usize) -> Vec<u8> {
        let mut ping = vec![0x89, 0x80 | 0x7d, 0, 0, 0, 0];
        ping.resize(6 + PING_PAYLOAD_LEN, b'p');
        ping.repeat(count)
    }

    #[tokio::test]
    async fn p1_a_client_that_pings_and_does_not_read_is_not_read_until_it_does() {
        const PING_COUNT: usize = 100_000;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (mut reads, mut writes) = client.unwrap().into_split();
        let gather = GatheringSocket::new(ClientStream::Plain(listener.accept().await.unwrap().0));
        let config = WebSocketConfig::default()
            .write_buffer_size(0)
            .max_write_buffer_size(512);
        let stream = WebSocketStream::from_raw_socket(gather, Role::Server, Some(config)).await;
        let mut link = WsLink::new(stream, FrameCodec::Protobuf);
        let writing = TaskTracker::new().spawn(async move {
            writes.write_all(&pings(PING_COUNT)).await.unwrap();
            writes.write_all(&MESSAGE_FRAME).await.unwrap();
            writes
        });
        // The operating system takes some megabytes of answers before they become pending here.
        let mut refused = 0;
        while refused < 1_000 {
            let polled = poll_fn(|cx| Poll::Ready(link.poll_next_unpin(cx))).await;
            assert!(polled.is_pending(), "{polled:?}");
            let held = link.stream.get_ref().waiting_control();
            assert!(
                held <= MAX_CONTROL_BYTES + 2 + PING_PAYLOAD_LEN,
                "{held} bytes"
            );
            refused += usize::from(held >= MAX_CONTROL_BYTES);
            tokio::task::yield_now().await;
        }
        assert!(!writing.is_finished(), "everything was read");
        let reading = TaskTracker::new().spawn(async move {
            let mut pongs = vec![0; 1_000 * (2 + PING_PAYLOAD_LEN)];
            reads.read_exact(&mut pongs).await.unwrap();
            tokio::io::copy(&mut reads, &mut tokio::io::sink())
                .await
                .unwrap();
        });
        assert_eq!(link.next().await.unwrap().unwrap(), "x");
        drop((writing.await.unwrap(), link));
        reading.await.unwrap();
    }
}
