//! A socket whose writes are gathered until they are flushed.
//!
//! Serves the WebSocket link: frames and the library's control frames land here in order, leave in
//! one write, and the memory is given back when they have left.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes pending for the socket at which the link takes no more frames.
const PENDING: usize = 64 * 1024;

/// Bytes at which even control frames (answers to pings) have to wait.
const FULL: usize = 2 * PENDING + 64 * 1024;

/// The first byte of an unfragmented binary frame (RFC 6455, 5.2).
const FINAL_BINARY: u8 = 0x82;

/// A TCP socket with gathered writes.
#[derive(Debug)]
pub(crate) struct Gather {
    stream: TcpStream,
    output: BytesMut,
}

impl Gather {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            output: BytesMut::new(),
        }
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty()
    }

    /// Appends one binary message as the server's side writes it: one frame, without a mask.
    pub(crate) fn put_binary(&mut self, payload: &[u8]) {
        self.output.reserve(10 + payload.len());
        self.output.put_u8(FINAL_BINARY);
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length @ ..=125), _) => self.output.put_u8(length),
            (_, Ok(length)) => {
                self.output.put_u8(126);
                self.output.put_u16(length);
            }
            _ => {
                self.output.put_u8(127);
                self.output.put_u64(payload.len() as u64);
            }
        }
        self.output.put_slice(payload);
    }

    /// Waits until there is room for another frame.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.len() < PENDING {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx, PENDING - 1)
    }

    /// Writes what is pending, ends our side, and waits for the client to end its own: a socket
    /// closed with unread input resets, which can destroy the last frames on their way.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx, 0))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        loop {
            let mut scratch = [0; 512];
            let mut rest = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest));
            if read.is_err() || rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes until at most `left` bytes are pending.
    fn poll_drain(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        while self.output.len() > left {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
        }
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gather {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gather {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.output.len() >= FULL {
            ready!(self.poll_drain(cx, FULL - 1))?;
        }
        self.output.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx, 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx, 0))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
