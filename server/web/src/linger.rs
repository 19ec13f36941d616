//! Lets a client read the answer to a request whose body was not read.
//!
//! Closing a socket with unread input resets the connection, and a reset can destroy an answer on
//! its way: a client whose upload is refused early would see a broken connection, and a proxy in
//! front of gimlet would answer 502. So such a connection ends its own side first, and then takes
//! what the client still sends, within bounds, until the client ends its side as well.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest time for the rest of a body.
const DRAIN_TIME: Duration = Duration::from_secs(30);
/// A client that sends nothing for this long is not waited for.
const DRAIN_SILENCE: Duration = Duration::from_secs(5);
/// Largest size in bytes of the rest of a body: three times the default of `http.upload_max`.
const DRAIN_BYTES: usize = 60 << 20;
/// Bytes read at a time.
const DRAIN_CHUNK: usize = 8 << 10;

/// Tells whether the body of a connection's last request was read to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnreadBody(Arc<AtomicBool>);

impl UnreadBody {
    /// Returns the body of a new request, which reports here how far it is read.
    pub(crate) fn watch(&self, body: Body) -> Body {
        self.0.store(false, Ordering::Relaxed);
        Body::new(WatchedBody {
            ended: body.is_end_stream(),
            body,
            unread: self.clone(),
        })
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that reports when it is dropped before its end.
struct WatchedBody {
    body: Body,
    ended: bool,
    unread: UnreadBody,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.ended = polled.is_none() || self.body.is_end_stream();
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        if !self.ended {
            self.unread.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A stream that is closed so that the client can read the last answer.
#[derive(Debug)]
pub(crate) struct LingeringStream<S> {
    stream: S,
    unread: UnreadBody,
    drain: DrainState,
}

#[derive(Debug)]
enum DrainState {
    /// The answer may not be complete yet.
    NotBegun,
    /// This side has ended, and the client's input is discarded.
    Begun(Box<InputDrain>),
    /// The client has ended its side, or a bound is reached.
    Done,
}

#[derive(Debug)]
struct InputDrain {
    bytes_left: usize,
    end: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl InputDrain {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            bytes_left: DRAIN_BYTES,
            end: now + DRAIN_TIME,
            alarm: Box::pin(sleep_until(now + DRAIN_SILENCE)),
        }
    }

    /// Discards input until the client ends its side or a bound is reached.
    fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; DRAIN_CHUNK];
        while self.bytes_left > 0 {
            let mut chunk = ReadBuf::new(&mut space);
            match Pin::new(&mut *stream).poll_read(cx, &mut chunk) {
                // An error: the client is gone and reads no answer.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if chunk.filled().is_empty() => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    self.bytes_left = self.bytes_left.saturating_sub(chunk.filled().len());
                    let silent = Instant::now() + DRAIN_SILENCE;
                    self.alarm.as_mut().reset(silent.min(self.end));
                }
                Poll::Pending => return self.alarm.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl<S> LingeringStream<S> {
    /// Wraps the stream of a connection whose requests report to `unread`.
    pub(crate) const fn new(stream: S, unread: UnreadBody) -> Self {
        Self {
            stream,
            unread,
            drain: DrainState::NotBegun,
        }
    }
}

impl<S> LingeringStream<S> {
    /// Returns the stream below.
    pub(crate) const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream below, which lingers no more.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LingeringStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LingeringStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends this side first, and then drains the client's: in the other order a client that waits
    /// for the end of the answer would never end its own side.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.drain {
                DrainState::NotBegun => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    this.drain = if this.unread.is_set() {
                        DrainState::Begun(Box::new(InputDrain::new()))
                    } else {
                        DrainState::Done
                    };
                }
                DrainState::Begun(draining) => {
                    ready!(draining.poll(&mut this.stream, cx));
                    this.drain = DrainState::Done;
                }
                DrainState::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// Closes a connection whose request has an unread body, and returns the time that it took.
    async fn close(server: DuplexStream) -> Duration {
        let unread = UnreadBody::default();
        drop(unread.watch(Body::from("unread")));
        let begun = Instant::now();
        let mut stream = LingeringStream::new(server, unread);
        stream.shutdown().await.unwrap();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_body_is_taken_until_the_client_ends() {
        let (server, mut client) = tokio::io::duplex(1_024);
        let sending = async {
            client.write_all(&vec![0; 1 << 20]).await.unwrap();
            // The end of the server's side comes before the client's.
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            client.shutdown().await.unwrap();
        };
        let (took, ()) = tokio::join!(close(server), sending);
        assert_eq!(took, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_a_slow_and_an_endless_client_are_left() {
        let (server, _silent) = tokio::io::duplex(1_024);
        assert_eq!(close(server).await, DRAIN_SILENCE);
        let (server, mut slow) = tokio::io::duplex(1_024);
        let trickle = async {
            while slow.write_all(&[0]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (took, ()) = tokio::join!(close(server), trickle);
        assert_eq!(took, DRAIN_TIME);
        let (server, mut endless) = tokio::io::duplex(DRAIN_CHUNK);
        let flood = async {
            let mut sent = 0;
            while endless.write_all(&[0; DRAIN_CHUNK]).await.is_ok() {
                sent += DRAIN_CHUNK;
            }
            sent
        };
        let (took, sent) = tokio::join!(close(server), flood);
        assert_eq!(took, Duration::ZERO);
        assert!(
            (DRAIN_BYTES..DRAIN_BYTES + 4 * DRAIN_CHUNK).contains(&sent),
            "{sent}"
        );
    }

    #[tokio::test]
    async fn a_body_that_was_read_or_is_empty_is_not_waited_for() {
        let unread = UnreadBody::default();
        drop(unread.watch(Body::empty()));
        assert!(!unread.is_set());
        let body = unread.watch(Body::from("read"));
        assert_eq!(axum::body::to_bytes(body, 100).await.unwrap(), "read");
        assert!(!unread.is_set());
        drop(unread.watch(Body::from("unread")));
        assert!(unread.is_set());
        // The next request of the connection begins anew.
        drop(unread.watch(Body::empty()));
        assert!(!unread.is_set());
    }
}
