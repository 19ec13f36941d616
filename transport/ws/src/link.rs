//! A WebSocket connection of frames: one message is one frame.
//!
//! Reading, pings and closing are the library's. Writing is ours, because the library keeps the
//! largest buffer it ever needed for as long as the connection lives.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use gimlet_transport::{Link, LinkError, Wire};
use tokio::io::AsyncWrite;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use crate::gather::Gather;

/// A received message above this size must not pin the buffer it was read into.
const LARGE: usize = 1024;

/// Bytes of a close frame's reason: a control frame holds 125, two of them are the code.
const REASON: usize = 123;

/// One WebSocket connection of frames.
#[derive(Debug)]
pub struct WsLink {
    stream: WebSocketStream<Gather>,
    /// The last large message. While it is held, the library takes a fresh small buffer for what
    /// comes next instead of keeping the large one.
    large: Option<Bytes>,
    close: Option<Box<CloseFrame>>,
    closing: bool,
    ended: bool,
}

impl WsLink {
    pub(crate) fn new(stream: WebSocketStream<Gather>) -> Self {
        Self {
            stream,
            large: None,
            close: None,
            closing: false,
            ended: false,
        }
    }

    fn take(&mut self, payload: Bytes) -> Bytes {
        if payload.len() <= LARGE {
            // A copy: a small message would otherwise hold the whole read buffer.
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
            self.stream.get_mut().put_binary(&frame);
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

impl Link for WsLink {
    fn wire(&self) -> Wire {
        Wire::WebSocket
    }

    fn put_all(&mut self, frames: &[Bytes]) -> Result<(), LinkError> {
        if !self.closing {
            for frame in frames {
                self.stream.get_mut().put_binary(frame);
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

    fn set_close(&mut self, code: u16, reason: &str) {
        let mut end = reason.len().min(REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.close = Some(Box::new(CloseFrame {
            code: CloseCode::from(code),
            reason: reason.get(..end).unwrap_or_default().into(),
        }));
    }
}

/// What an error of the library means; `None` for a plain end.
fn ended_by(error: WsError) -> Option<LinkError> {
    match error {
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        // A client that is just gone, without a close frame, is the usual case.
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Io(error) => Some(LinkError::Io(error)),
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            Some(LinkError::TooLarge {
                declared: size,
                limit: max_size,
            })
        }
        error => Some(LinkError::Protocol {
            text: "the client broke the rules of WebSocket".into(),
            source: Some(Box::new(error)),
        }),
    }
}
