//! An event stream on its raw socket.
//!
//! hyper keeps some 16 KB of buffers for each HTTP/1 connection, and takes up to sixteen parts of an
//! answer ahead of the socket. An event stream lasts for hours and is mostly idle, so it is written
//! without hyper: its next events are made only when the system has taken the former ones, and an idle
//! stream has no buffer at all.

use std::fmt::Write as _;
use std::io;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use gimlet_core::time::{SystemClock, TimeSource as _};
use http::response::Parts;
use http::{HeaderMap, Method, Version, header};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes that a client may send on a stream before it is disconnected: it has nothing to say there.
const MAX_IGNORED_BYTES: usize = 64 << 10;
/// Bytes of what a client sends that are read at a time.
const IGNORED_CHUNK: usize = 64;

/// An event stream that leaves hyper.
#[derive(Debug)]
pub(crate) struct RawEventStream {
    response: Response,
    /// False for a client of HTTP/1.0, which reads until the end of the connection.
    is_chunked: bool,
}

impl RawEventStream {
    /// Takes the answer to a request out of hyper if it is an event stream; returns any other one.
    pub(crate) fn of(
        method: &Method,
        version: Version,
        response: Response,
    ) -> Result<Self, Box<Response>> {
        // The answer to a HEAD has the same headers and no content.
        if *method != Method::GET || !is_event_stream(response.headers()) {
            return Err(Box::new(response));
        }
        Ok(Self {
            response,
            is_chunked: version == Version::HTTP_11,
        })
    }

    /// Writes the answer until it ends or the client leaves.
    ///
    /// # Errors
    /// The socket failed, or the client left.
    pub(crate) async fn write<S>(self, mut stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (parts, mut body) = self.response.into_parts();
        stream.write_all(&head(&parts, self.is_chunked)).await?;
        drop(parts);
        while let Some(events) = next_events(&mut body, &mut stream).await? {
            // One write for each part: the client's kernel sees whole events.
            let written = if self.is_chunked {
                chunk(&events)
            } else {
                events
            };
            stream.write_all(&written).await?;
        }
        if self.is_chunked {
            stream.write_all(b"0\r\n\r\n").await?;
        }
        stream.shutdown().await
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind == "text/event-stream")
}

/// Waits for the next events, and for the client to leave meanwhile.
async fn next_events<S>(body: &mut Body, stream: &mut S) -> io::Result<Option<Bytes>>
where
    S: AsyncRead + Unpin + Send,
{
    let mut left = pin!(until_left(stream));
    loop {
        // The events first: the last ones of a stream say why it ends.
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            left = left.as_mut() => return Err(left),
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(io::Error::other(error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads until the client closes its side, or sends more than it should.
async fn until_left<S: AsyncRead + Unpin + Send>(stream: &mut S) -> io::Error {
    let (mut chunk, mut ignored) = ([0; IGNORED_CHUNK], 0);
    while ignored < MAX_IGNORED_BYTES {
        match stream.read(&mut chunk).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(read) => ignored += read,
            Err(error) => return error,
        }
    }
    io::Error::other("the client sends data on an event stream")
}

fn chunk(data: &[u8]) -> Bytes {
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.reserve_exact(data.len() + 2);
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk.into()
}

/// Writes the head of the answer. The connection ends with the stream, because it has become a
/// client's connection.
fn head(parts: &Parts, is_chunked: bool) -> Vec<u8> {
    let status = parts.status;
    let version = if is_chunked { "1.1" } else { "1.0" };
    let mut head = format!(
        "HTTP/{version} {} {}\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    );
    let now = u64::try_from(SystemClock.now().0).unwrap_or_default();
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now);
    let _ = write!(head, "date: {}\r\n", httpdate::fmt_http_date(now));
    let _ = write!(head, "connection: close\r\n");
    if is_chunked {
        let _ = write!(head, "transfer-encoding: chunked\r\n");
    }
    let mut head = head.into_bytes();
    for (name, value) in &parts.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    fn response(body: Body) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-store")
            .body(body)
            .unwrap()
    }

    fn raw(version: Version, body: Body) -> RawEventStream {
        RawEventStream::of(&Method::GET, version, response(body)).unwrap()
    }

    #[tokio::test]
    async fn a_stream_is_one_whole_answer() {
        let (server, mut client) = tokio::io::duplex(4_096);
        let stream = raw(Version::HTTP_11, Body::from("data: 1\n\n"));
        stream.write(server).await.unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        let (head, body) = got.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ndate: "), "{head}");
        assert!(
            head.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        assert!(head.ends_with("\r\ncache-control: no-store"), "{head}");
        assert_eq!(body, "9\r\ndata: 1\n\n\r\n0\r\n\r\n");
    }

    #[tokio::test]
    async fn a_client_of_http_1_0_gets_no_chunks() {
        let (server, mut client) = tokio::io::duplex(4_096);
        let stream = raw(Version::HTTP_10, Body::from("data: 1\n\n"));
        stream.write(server).await.unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        assert!(got.starts_with("HTTP/1.0 200 OK\r\n"), "{got}");
        assert!(got.ends_with("\r\n\r\ndata: 1\n\n"), "{got}");
    }

    #[test]
    fn other_answers_stay_with_hyper() {
        let of = |method, response| RawEventStream::of(&method, Version::HTTP_11, response);
        assert!(of(Method::HEAD, response(Body::empty())).is_err());
        assert!(of(Method::GET, Response::new(Body::empty())).is_err());
    }

    /// A body that counts its parts; it has as many as are asked for, or none.
    struct TestEvents {
        made: Arc<Mutex<usize>>,
        is_silent: bool,
    }

    impl http_body::Body for TestEvents {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.is_silent {
                return Poll::Pending;
            }
            *self.made.lock().unwrap() += 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; 1_024])))))
        }
    }

    fn events(is_silent: bool) -> (Arc<Mutex<usize>>, Body) {
        let made = Arc::<Mutex<usize>>::default();
        let count = Arc::clone(&made);
        let body = TestEvents {
            made: count,
            is_silent,
        };
        (made, Body::new(body))
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_made_ahead_of_the_socket() {
        let (server, client) = tokio::io::duplex(4_096);
        let (made, body) = events(false);
        let writing = raw(Version::HTTP_11, body).write(server);
        let writing = tokio::time::timeout(Duration::from_mins(1), writing).await;
        assert!(writing.is_err(), "the client does not read");
        let made = *made.lock().unwrap();
        assert!(made <= 4, "{made} parts of 1 KB for a buffer of 4 KB");
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_leaves_or_floods_ends_the_stream() {
        for flood in [false, true] {
            let (server, mut client) = tokio::io::duplex(4_096);
            let writing = raw(Version::HTTP_11, events(true).1).write(server);
            let leaving = async {
                if flood {
                    while client.write_all(&[0; 1_024]).await.is_ok() {}
                } else {
                    client.shutdown().await.unwrap();
                }
                client
            };
            let (written, _client) = tokio::join!(writing, leaving);
            assert!(written.is_err());
        }
    }
}
