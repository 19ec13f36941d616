//! A TCP connection of frames, without a buffer of its own while it is idle.
//!
//! Reads go through one scratch buffer per thread; only the bytes read are kept, and only until
//! their last frame is taken. Writes gather frames, so that many of them take one system call: the
//! cost is the call, not the bytes.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use gimlet_listen::wrong_port::{self, ForeignProtocol};
use gimlet_listen::{ClientStream as Socket, socket};
use gimlet_transport::{FrameLink, LinkError, WireKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::frame;

/// Bytes read from a socket at a time.
const READ_BUFFER_LEN: usize = 16 * 1024;

/// Pending bytes at which the link takes no more frames.
const MAX_PENDING_BYTES: usize = 64 * 1024;

/// Text for clients of another protocol: names this port and the other ones.
const WRONG_PORT: &str = "This is gimlet's TCP port: it takes gim's binary frames, not HTTP. WebSocket \
    is on listen.ws (by default 8081, path /ws), gRPC on listen.grpc (50100), files on listen.http \
    (8085), health and metrics on listen.ops (8086). TLS is set by tls.cert: docs/tls.md.";

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER_LEN]);
}

/// One TCP connection of frames.
#[derive(Debug)]
pub struct TcpLink {
    stream: Socket,
    input: BytesMut,
    output: BytesMut,
    limit: usize,
    /// Bytes that the operating system has accepted, modulo 2^32.
    written: u32,
    /// The client has ended its side.
    input_ended: bool,
    /// Too few bytes have arrived to tell whether the client speaks gim's framing.
    unrecognised: bool,
    /// The stream has returned its last item.
    ended: bool,
}

impl TcpLink {
    /// Creates a link over this socket; a declared length above `limit` is an error.
    #[must_use]
    pub fn new(stream: Socket, limit: usize) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            limit: limit.min(frame::MAX_FRAME_LEN),
            written: 0,
            input_ended: false,
            unrecognised: true,
            ended: false,
        }
    }

    /// Reads once into `input`; sets `input_ended` at the end of the stream. Data that arrived
    /// together with the end is returned first.
    ///
    /// A read that does not fill the buffer has emptied the socket, and `poll_read` lets tokio
    /// remember that, which saves a second call; `try_read` does not.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        READ_BUFFER.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            self.input_ended |= read.filled().is_empty();
            self.input.extend_from_slice(read.filled());
            Poll::Ready(Ok(()))
        })
    }

    /// Returns the error, if there is one, as the last item of the stream.
    fn end(&mut self, error: Option<LinkError>) -> Poll<Option<Result<Bytes, LinkError>>> {
        self.ended = true;
        self.input = BytesMut::new();
        Poll::Ready(error.map(Err))
    }

    /// Writes until at most `left` bytes are pending. Bytes that TLS has taken may still wait
    /// there: only a flush of the stream moves it on.
    fn poll_drain(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<Result<(), LinkError>> {
        while self.output.len() > left {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.output.advance(written);
            let taken = u32::try_from(written).unwrap_or(u32::MAX);
            self.written = self.written.wrapping_add(taken);
        }
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drain_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        ready!(self.poll_drain(cx, 0))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }
}

impl Stream for TcpLink {
    type Item = Result<Bytes, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            match frame::take(&mut this.input, this.limit) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if this.input_ended => {
                    let truncated = !this.input.is_empty();
                    return this.end(truncated.then_some(LinkError::Truncated));
                }
                Ok(None) => {}
                // After a bad length, frame boundaries are lost: the rest of the input is unusable.
                Err(error) => return this.end(Some(error)),
            }
            if let Err(error) = ready!(this.poll_fill(cx)) {
                this.input_ended = true;
                return this.end(Some(error.into()));
            }
            // Checked before the first frame is parsed: "GE" would be a length of 18,245.
            if this.unrecognised && this.input.len() >= wrong_port::LEAST {
                this.unrecognised = false;
                if let Some(foreign) = ForeignProtocol::of(&this.input) {
                    // The socket's send buffer is empty, so the answer is written as a whole or not
                    // at all.
                    this.stream
                        .write_without_waiting(&foreign.answer(WRONG_PORT));
                    let text = format!("{} on the TCP port", foreign.name());
                    return this.end(Some(LinkError::protocol(text)));
                }
            }
        }
    }
}

impl Sink<Bytes> for TcpLink {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if self.output.len() < MAX_PENDING_BYTES {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx, MAX_PENDING_BYTES - 1)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), LinkError> {
        frame::put(&mut self.output, &frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.poll_drain_all(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        ready!(self.poll_drain_all(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        // Reads to the end of the stream: closing a socket with unread input sends a reset, which
        // can destroy the last frames in transit.
        while !self.input_ended {
            if ready!(self.poll_fill(cx)).is_err() {
                break;
            }
            self.input = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl FrameLink for TcpLink {
    fn wire(&self) -> WireKind {
        WireKind::Tcp
    }

    fn put_all(&mut self, frames: &[Bytes]) -> Result<(), LinkError> {
        self.output
            .reserve(frames.iter().map(|it| frame::PREFIX_LEN + it.len()).sum());
        frames
            .iter()
            .try_for_each(|it| frame::put(&mut self.output, it))
    }

    fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.stream.is_flushed()
    }

    fn release_buffers(&mut self) {
        // A TCP link keeps no buffer between frames.
    }

    fn written(&self) -> u32 {
        self.stream.encrypted_written().unwrap_or(self.written)
    }

    fn keep_alive(&mut self, _silence: Duration, _now: Instant) -> Option<Instant> {
        // gim's framing has no frame that a client would not take for an answer.
        None
    }

    fn abort(&mut self) {
        socket::forget_unwritten(self.stream.socket());
    }

    fn set_close(&mut self, _code: u16, _reason: &str) {
        // TCP carries no close reason; PT_CLOSE tells it to clients that understand it.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle memory is counted in blocks: a link and its session (136 bytes) fill one of 256.
    #[test]
    fn an_idle_link_is_small() {
        assert!(size_of::<TcpLink>() <= 120, "{}", size_of::<TcpLink>());
    }
}
