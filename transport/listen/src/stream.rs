//! The socket of one connection: plain, or with TLS on top.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The socket of one connection.
#[derive(Debug)]
pub enum ClientStream {
    /// Without encryption.
    Plain(TcpStream),
    /// With TLS. Boxed, because a TLS session takes some KB that a plain connection must not carry.
    Tls(Box<TlsStream<CountedSocket>>),
}

impl ClientStream {
    /// Returns the TCP socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.get_ref().0.socket,
        }
    }

    /// Returns whether the system has taken everything that was written: TLS keeps encrypted bytes
    /// while the socket is full.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => !tls.get_ref().1.wants_write(),
        }
    }

    /// Returns the encrypted bytes that the system has taken, modulo 2^32; `None` for a plain
    /// socket, whose writers count for themselves. What TLS accepts says nothing about the client:
    /// up to 64 KiB of it wait here.
    #[must_use]
    pub fn encrypted_written(&self) -> Option<u32> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(tls.get_ref().0.written),
        }
    }

    /// Waits for the first bytes and copies them to `buf` without taking them; 0 is the end.
    ///
    /// # Errors
    /// The socket or the TLS session failed.
    pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.peek(buf).await,
            Self::Tls(tls) => {
                let tls = &mut **tls;
                poll_fn(|cx| {
                    let bytes = match ready!(Pin::new(&mut *tls).poll_fill_buf(cx)) {
                        Ok(bytes) => bytes,
                        Err(error) => return Poll::Ready(end_of_stream(error).map(|()| 0)),
                    };
                    let copied = bytes.len().min(buf.len());
                    if let (Some(to), Some(from)) = (buf.get_mut(..copied), bytes.get(..copied)) {
                        to.copy_from_slice(from);
                    }
                    Poll::Ready(Ok(copied))
                })
                .await
            }
        }
    }

    /// Writes what fits without waiting: a last answer to a connection that nobody polls again.
    pub fn write_without_waiting(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(socket) => {
                // An error means that the client has already left, so it is ignored.
                let _ = socket.try_write(bytes);
            }
            Self::Tls(tls) => {
                let mut cx = Context::from_waker(Waker::noop());
                let tls = &mut **tls;
                if let Poll::Ready(Ok(_)) = Pin::new(&mut *tls).poll_write(&mut cx, bytes) {
                    let _ = Pin::new(tls).poll_flush(&mut cx);
                }
            }
        }
    }
}

/// Takes an end without TLS's own goodbye for a plain end: most clients just close the socket, and
/// the protocols above say themselves where a message ends.
fn end_of_stream(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        Ok(())
    } else {
        Err(error)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => {
                let read = ready!(Pin::new(&mut **tls).poll_read(cx, buf));
                Poll::Ready(read.or_else(end_of_stream))
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}

/// A TCP socket that counts what the system has taken.
#[derive(Debug)]
pub struct CountedSocket {
    socket: TcpStream,
    written: u32,
}

impl CountedSocket {
    pub(crate) const fn new(socket: TcpStream) -> Self {
        Self { socket, written: 0 }
    }

    fn count(&mut self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            let bytes = u32::try_from(*bytes).unwrap_or(u32::MAX);
            self.written = self.written.wrapping_add(bytes);
        }
    }
}

impl AsyncRead for CountedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.count(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.count(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred thousand idle connections hold a hundred thousand of these.
    #[test]
    fn a_plain_connection_is_no_larger_than_its_socket() {
        assert_eq!(size_of::<ClientStream>(), size_of::<TcpStream>());
    }
}
