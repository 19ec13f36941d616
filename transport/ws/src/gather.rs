//! A socket that gathers writes until they are flushed.
//!
//! Used by the WebSocket link: data frames and the library's control frames are appended here in
//! order and leave in one write, after which the memory is released. The library answers each ping
//! and keeps reading while its answers are pending, so those answers are counted here, and the link
//! stops reading while there are too many.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use gimlet_listen::{ClientStream, socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Pending bytes at which the link takes no more frames.
const MAX_PENDING_BYTES: usize = 64 * 1024;

/// Pending bytes at which even control frames (answers to pings) have to wait.
const MAX_OUTPUT_BYTES: usize = 2 * MAX_PENDING_BYTES + 64 * 1024;

/// Pending bytes of the library's own answers at which the socket is no longer read.
pub(crate) const MAX_CONTROL_BYTES: usize = 4 * 1024;

/// The first byte of an unfragmented frame (RFC 6455, 5.2): text, and binary.
pub(crate) const FINAL_TEXT: u8 = 0x81;
pub(crate) const FINAL_BINARY: u8 = 0x82;

/// A ping without data.
const PING: [u8; 2] = [0x89, 0];

/// A socket with gathered writes.
#[derive(Debug)]
pub(crate) struct GatheringSocket {
    stream: ClientStream,
    output: BytesMut,
    /// Pending bytes of the library's own frames, and the end of the last of them in `output`.
    control: usize,
    control_end: usize,
    /// Bytes that the operating system has accepted, modulo 2^32.
    written: u32,
}

impl GatheringSocket {
    pub(crate) fn new(stream: ClientStream) -> Self {
        Self {
            stream,
            output: BytesMut::new(),
            control: 0,
            control_end: 0,
            written: 0,
        }
    }

    /// Returns whether no output is pending.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.stream.is_flushed()
    }

    /// Appends one message as a server writes it: one frame that begins with this byte, without a mask.
    pub(crate) fn put_message(&mut self, first: u8, payload: &[u8]) {
        self.output.reserve(10 + payload.len());
        self.output.put_u8(first);
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

    /// Returns the pending bytes of the library's own frames.
    #[cfg(test)]
    pub(crate) const fn waiting_control(&self) -> usize {
        self.control
    }

    pub(crate) fn written(&self) -> u32 {
        self.stream.encrypted_written().unwrap_or(self.written)
    }

    pub(crate) fn forget_unwritten(&self) {
        socket::forget_unwritten(self.stream.socket());
    }

    /// Appends a ping.
    pub(crate) fn put_ping(&mut self) {
        self.output.extend_from_slice(&PING);
    }

    /// Waits while too many bytes of the library's answers are pending.
    pub(crate) fn poll_control_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.control >= MAX_CONTROL_BYTES {
            ready!(self.poll_write_some(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until another frame may be appended.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.len() < MAX_PENDING_BYTES {
            return Poll::Ready(Ok(()));
        }
        self.poll_drain(cx, MAX_PENDING_BYTES - 1)
    }

    /// Writes the pending output, shuts down the sending side, and reads until the client ends its
    /// own: closing a socket with unread input sends a reset, which can destroy the last frames in
    /// transit.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain_all(cx))?;
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

    /// Writes once.
    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.output.advance(written);
        let taken = u32::try_from(written).unwrap_or(u32::MAX);
        self.written = self.written.wrapping_add(taken);
        // The counter falls only when the last control frame has left: one count for all of them is
        // enough to bound them.
        self.control_end = self.control_end.saturating_sub(written);
        if self.control_end == 0 {
            self.control = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes until at most `left` bytes are pending.
    fn poll_drain(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        while self.output.len() > left {
            ready!(self.poll_write_some(cx))?;
        }
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes everything. Bytes that TLS has taken may still wait there: only a flush of the stream
    /// moves it on.
    fn poll_drain_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx, 0))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl AsyncRead for GatheringSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for GatheringSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.output.len() >= MAX_OUTPUT_BYTES {
            ready!(self.poll_drain(cx, MAX_OUTPUT_BYTES - 1))?;
        }
        self.output.extend_from_slice(buf);
        self.control += buf.len();
        self.control_end = self.output.len();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain_all(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain_all(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
