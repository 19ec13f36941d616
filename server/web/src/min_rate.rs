//! A minimum pace for connections: each request has a time limit, and each byte that moves extends
//! it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Time for a request and its answer, whatever their size.
const REQUEST_TIME: Duration = Duration::from_mins(1);
/// Bytes per second that a client must send or take to stay within the limit after that.
const MIN_BYTES_PER_SECOND: u64 = 8 * 1024;

/// Deadline of a connection, shared with the service that restarts it.
#[derive(Clone, Debug)]
pub(super) struct RequestDeadline(Arc<Mutex<PaceState>>);

#[derive(Debug)]
struct PaceState {
    /// End of the time limit.
    until: Instant,
    /// Set while bytes wait that the socket did not take.
    is_behind: bool,
}

impl Default for RequestDeadline {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(PaceState {
            until: Instant::now() + REQUEST_TIME,
            is_behind: false,
        })))
    }
}

impl RequestDeadline {
    /// Restarts the time limit: a request begins.
    pub(super) fn restart(&self) {
        self.change(|pace| pace.until = Instant::now() + REQUEST_TIME);
    }

    fn moved(&self, bytes: usize) {
        let earned = Duration::from_micros(bytes as u64 * 1_000_000 / MIN_BYTES_PER_SECOND);
        let most = Instant::now() + REQUEST_TIME;
        self.change(|pace| pace.until = (pace.until + earned).min(most));
    }

    fn until(&self) -> Instant {
        self.change(|pace| pace.until)
    }

    /// Returns whether the protocol above has bytes that the socket did not take yet.
    pub(super) fn is_behind(&self) -> bool {
        self.change(|pace| pace.is_behind)
    }

    fn change<T>(&self, change: impl FnOnce(&mut PaceState) -> T) -> T {
        // Each change is one assignment: the value is whole even if a holder of the lock panicked.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stream that keeps its pace or fails.
#[derive(Debug)]
pub(super) struct PacedStream<S> {
    stream: S,
    pace: RequestDeadline,
    alarm: Pin<Box<Sleep>>,
}

impl<S> PacedStream<S> {
    pub(super) fn new(stream: S, pace: RequestDeadline) -> Self {
        let alarm = Box::pin(sleep_until(pace.until()));
        Self {
            stream,
            pace,
            alarm,
        }
    }

    /// Turns a pending poll into an error once the deadline has passed.
    ///
    /// The loop is needed because the deadline may have moved since the timer was set: a timer that
    /// fired is set anew, and polled once more so that it wakes this task.
    fn or_late<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let until = self.pace.until();
            if until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl<S> PacedStream<S> {
    /// Returns the stream below.
    pub(super) const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream below, without a minimum pace.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.pace.moved(buf.filled().len() - before);
        self.or_late(cx, polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        match &polled {
            Poll::Ready(Ok(written)) => self.pace.moved(*written),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pace.change(|pace| pace.is_behind = true),
        }
        self.or_late(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        // hyper flushes when it has written everything.
        if polled.is_ready() {
            self.pace.change(|pace| pace.is_behind = false);
        }
        self.or_late(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.or_late(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_earns_time_and_a_dead_one_does_not() {
        let (server, mut client) = tokio::io::duplex(1_024);
        let begun = Instant::now();
        let mut paced = PacedStream::new(server, RequestDeadline::default());
        let writing = async { paced.write_all(&vec![0; 3 << 20]).await };
        // Twice the minimum rate for a while, then nothing.
        let reading = async {
            let mut bytes = [0; 1_024];
            for _ in 0..2_048 {
                tokio::time::sleep(Duration::from_secs(1) / 16).await;
                client.read_exact(&mut bytes).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = writing => outcome,
            () = reading => unreachable!("it never ends"),
        };
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let took = begun.elapsed();
        assert!((180..200).contains(&took.as_secs()), "{took:?}");
    }
}
