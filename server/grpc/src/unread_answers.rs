//! Bounds the data that clients leave unread: answers that wait for an HTTP/2 window, and streams
//! that stay open.
//!
//! An HTTP/2 client decides when it takes an answer. One with a window of zero could leave as many
//! answers in this process as it may make calls, 256 at a time: 2.85 GB from one connection. So an
//! answer is encoded at once, and its bytes count for its connection and for the node until the
//! client has taken it. An answer beyond the bound is replaced by code 8. A connection whose client
//! takes next to nothing for a minute is closed (see `accept`).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tonic::Status;
use tonic::body::Body;

/// Largest number of bytes of the unread answers of one connection.
const MAX_CONNECTION_BYTES: usize = 16 << 20;
/// Bytes of the unread answers of a listener above which only small answers are given out.
const MAX_LISTENER_BYTES: usize = 256 << 20;
/// Largest answer that is given out even above `MAX_LISTENER_BYTES`: the size of a usual answer.
const SMALL_ANSWER_BYTES: usize = 16 << 10;
/// Open streams of unauthenticated services (health, reflection): per connection, and per listener.
const MAX_OPEN_STREAMS: (usize, usize) = (8, 1_024);

/// Answers and streams that the clients of one listener have not taken.
#[derive(Debug, Default)]
pub struct ListenerUnread {
    bytes: AtomicUsize,
    streams: AtomicUsize,
}

/// Answers and streams that the client of one connection has not taken.
#[derive(Debug)]
pub(crate) struct ConnectionUnread {
    listener: Arc<ListenerUnread>,
    answers: AtomicUsize,
    bytes: AtomicUsize,
    streams: AtomicUsize,
}

impl ConnectionUnread {
    pub(crate) fn new(listener: Arc<ListenerUnread>) -> Arc<Self> {
        Arc::new(Self {
            listener,
            answers: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
        })
    }

    /// Returns whether an answer waits to be taken.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }

    /// Counts an answer until the permit is dropped. `None` if the bound is exceeded.
    pub(crate) fn reserve_answer(self: &Arc<Self>, bytes: usize) -> Option<AnswerPermit> {
        // Counted before it is judged: the permit made below takes the bytes back when it is
        // dropped, also when the answer does not fit. So two calls at once can never both pass the
        // bound unseen.
        let mine = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let all = self.listener.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.answers.fetch_add(1, Ordering::Relaxed);
        let permit = AnswerPermit {
            connection: Arc::clone(self),
            bytes,
        };
        let fits = mine <= MAX_CONNECTION_BYTES
            && (all <= MAX_LISTENER_BYTES || bytes <= SMALL_ANSWER_BYTES);
        fits.then_some(permit)
    }

    /// Counts a stream until the permit is dropped. `None` if there are too many.
    pub(super) fn open_stream(self: &Arc<Self>) -> Option<StreamPermit> {
        let mine = self.streams.fetch_add(1, Ordering::Relaxed);
        let all = self.listener.streams.fetch_add(1, Ordering::Relaxed);
        let permit = StreamPermit(Arc::clone(self));
        (mine < MAX_OPEN_STREAMS.0 && all < MAX_OPEN_STREAMS.1).then_some(permit)
    }
}

/// Permit of one counted answer.
#[derive(Debug)]
pub(crate) struct AnswerPermit {
    connection: Arc<ConnectionUnread>,
    bytes: usize,
}

impl Drop for AnswerPermit {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.answers.fetch_sub(1, Ordering::Relaxed);
        connection.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        let all = &connection.listener.bytes;
        all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Permit of one counted stream.
#[derive(Debug)]
pub(super) struct StreamPermit(Arc<ConnectionUnread>);

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.listener.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that holds a permit until the client has taken it.
struct PermittedBody<P> {
    /// First frame, encoded ahead.
    first: Option<Frame<Bytes>>,
    rest: Body,
    _permit: P,
}

impl<P: Unpin> http_body::Body for PermittedBody<P> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Encodes the answer of a call and counts it for its connection.
pub(super) async fn count(
    response: Response<Body>,
    connection: &Arc<ConnectionUnread>,
) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    let (head, mut rest) = response.into_parts();
    let first = match rest.frame().await.transpose() {
        Ok(first) => first,
        Err(status) => return status.into_http(),
    };
    let data = first.as_ref().and_then(Frame::data_ref);
    let Some(permit) = connection.reserve_answer(data.map_or(0, Bytes::len)) else {
        return too_much().into_http();
    };
    let body = PermittedBody {
        first,
        rest,
        _permit: permit,
    };
    Response::from_parts(head, Body::new(body))
}

/// Lets a stream hold its permit.
pub(super) fn stream(response: Response<Body>, permit: StreamPermit) -> Response<Body> {
    response.map(|rest| {
        Body::new(PermittedBody {
            first: None,
            rest,
            _permit: permit,
        })
    })
}

fn too_much() -> Status {
    Status::resource_exhausted(format!(
        "the answers that this connection has not read are more than {} MiB, or those of all are \
         more than {} MiB: read them, or ask for smaller pages",
        MAX_CONNECTION_BYTES >> 20,
        MAX_LISTENER_BYTES >> 20
    ))
}

/// The refusal of a stream beyond the bound.
pub(super) fn too_many_streams() -> Status {
    Status::resource_exhausted(format!(
        "a connection may have {} open streams of health and reflection, all together {}: close one",
        MAX_OPEN_STREAMS.0, MAX_OPEN_STREAMS.1
    ))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn answer(bytes: usize) -> Response<Body> {
        let body = Full::new(Bytes::from(vec![0; bytes]));
        Response::new(Body::new(body))
    }

    fn is_refused(response: &Response<Body>) -> bool {
        response.headers().get("grpc-status").is_some()
    }

    #[tokio::test]
    async fn a3_the_unread_answers_of_a_connection_are_bounded() {
        let connection = ConnectionUnread::new(Arc::default());
        let mut unread = Vec::new();
        for _ in 0..16 {
            let answer = count(answer(1 << 20), &connection).await;
            assert!(!is_refused(&answer));
            unread.push(answer);
        }
        assert!(is_refused(&count(answer(1), &connection).await));
        assert!(connection.is_waited_for());
        // One answer is taken, so another one fits.
        let taken = unread.pop().unwrap().into_body().collect().await;
        assert_eq!(taken.unwrap().to_bytes().len(), 1 << 20);
        assert!(!is_refused(&count(answer(1 << 20), &connection).await));
        drop(unread);
        assert!(!connection.is_waited_for());
        assert_eq!(connection.listener.bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a3_those_of_a_listener_are_bounded_and_small_ones_still_given_out() {
        let listener = Arc::<ListenerUnread>::default();
        let mut unread = Vec::new();
        for _ in 0..16 {
            let connection = ConnectionUnread::new(Arc::clone(&listener));
            let answer = count(answer(16 << 20), &connection).await;
            assert!(!is_refused(&answer));
            unread.push(answer);
        }
        let polite = ConnectionUnread::new(listener);
        assert!(is_refused(&count(answer(1 << 20), &polite).await));
        assert!(!is_refused(&count(answer(1_000), &polite).await));
        drop(unread);
        assert!(!is_refused(&count(answer(1 << 20), &polite).await));
    }

    #[test]
    fn a3_streams_of_strangers_are_bounded() {
        let listener = Arc::<ListenerUnread>::default();
        let connection = || ConnectionUnread::new(Arc::clone(&listener));
        let one = connection();
        let open: Vec<_> = (0..MAX_OPEN_STREAMS.0)
            .map(|_| one.open_stream().unwrap())
            .collect();
        assert!(one.open_stream().is_none());
        drop(open);
        assert!(one.open_stream().is_some());
        let connections: Vec<_> = (0..MAX_OPEN_STREAMS.1 / MAX_OPEN_STREAMS.0)
            .map(|_| connection())
            .collect();
        let all: Vec<_> = connections
            .iter()
            .flat_map(|it| (0..MAX_OPEN_STREAMS.0).map(|_| it.open_stream().unwrap()))
            .collect();
        assert!(one.open_stream().is_none());
        drop(all);
        assert!(one.open_stream().is_some());
    }
}
