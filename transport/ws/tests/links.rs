//! Tests WebSocket over loopback sockets: the upgrade, frames in both directions, pings and
//! closing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gimlet_listen::admission::ConnectionLimiter;
use gimlet_listen::forwarded::{ForwardedHeader, ForwardedHeaders};
use gimlet_listen::origins::AllowedOrigins;
use gimlet_listen::{
    AcceptLimits, AdmittedConnection, ListenerEntrance, TrustedNetwork, TrustedProxies, accept,
};
use gimlet_transport::serve::{ServeLink, SessionProtocol};
use gimlet_transport::{
    FrameCodec, FrameLink, LinkError, OpenedLink, SignInSource, WireFraming, WireKind,
};
use gimlet_transport_ws::{WsFrameListener, WsLink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type WebSocketClient = WebSocketStream<MaybeTlsStream<TcpStream>>;

const LIMIT: usize = 65_535;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn open(
    listener: TcpListener,
    frames: &WsFrameListener,
) -> Result<OpenedLink<WsLink>, LinkError> {
    let (socket, addr) = listener.accept().await.unwrap();
    let permit = ConnectionLimiter::new(1, 1).enter(addr).unwrap();
    let connected = frames
        .open(AdmittedConnection::plain(socket, addr, permit))
        .await;
    connected.map(|it| it.opened)
}

async fn pair(limit: usize, query: &str) -> (OpenedLink<WsLink>, WebSocketClient) {
    let (listener, addr) = listen().await;
    let url = format!("ws://{addr}/ws{query}");
    let client = TaskTracker::new().spawn(async move { connect_async(url).await.unwrap().0 });
    let frames = WsFrameListener::new(limit, AllowedOrigins::any());
    let opened = open(listener, &frames).await.unwrap();
    (opened, client.await.unwrap())
}

/// Sends a raw request; returns the answer, and the result on the server's side.
async fn request(
    head: &str,
    origins: AllowedOrigins,
) -> (String, Result<OpenedLink<WsLink>, LinkError>) {
    request_of(head, origins, false).await
}

async fn request_of(
    head: &str,
    origins: AllowedOrigins,
    development: bool,
) -> (String, Result<OpenedLink<WsLink>, LinkError>) {
    let (listener, addr) = listen().await;
    let frames = WsFrameListener::new(LIMIT, origins).development(development);
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let opened = open(listener, &frames).await;
    let refused = opened.is_err();
    let mut answer = vec![0; 4096];
    let mut length = 0;
    loop {
        let read = client.read(&mut answer[length..]).await.unwrap();
        length += read;
        if read == 0 || (!refused && answer[..length].ends_with(b"\r\n\r\n")) {
            break;
        }
    }
    answer.truncate(length);
    (String::from_utf8(answer).unwrap(), opened)
}

fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Otherwise the clients of a proxy that writes another header than the configured one would be
/// counted for no address, and would have no limit at all.
#[tokio::test]
async fn a_trusted_proxy_that_names_no_client_is_counted_itself() {
    let limiter = ConnectionLimiter::new(10, 1);
    let network = "10.0.0.0/8".parse::<TrustedNetwork>().unwrap();
    let frames = WsFrameListener::new(LIMIT, AllowedOrigins::any()).forwarding(ForwardedHeaders {
        trusted: TrustedProxies::new(&[network]),
        header: ForwardedHeader::XForwardedFor,
    });
    let open = async |headers: &str| {
        let (listener, addr) = listen().await;
        let mut client = TcpStream::connect(addr).await.unwrap();
        let request = upgrade("/ws", headers);
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let permit = limiter.enter_uncounted().unwrap();
        let proxy = "10.0.0.1:5000".parse().unwrap();
        let opened = frames
            .open(AdmittedConnection::plain(socket, proxy, permit))
            .await;
        let mut status = [0; 12];
        client.read_exact(&mut status).await.unwrap();
        (String::from_utf8_lossy(&status).into_owned(), opened)
    };
    let (status, first) = open("").await;
    assert_eq!(status, "HTTP/1.1 101");
    // The header that is not configured names nobody either.
    for headers in ["", "Forwarded: for=203.0.113.1\r\n"] {
        assert_eq!(open(headers).await.0, "HTTP/1.1 503", "{headers}");
    }
    let (status, _named) = open("X-Forwarded-For: 203.0.113.1\r\n").await;
    assert_eq!(status, "HTTP/1.1 101");
    drop(first);
    assert_eq!(open("").await.0, "HTTP/1.1 101");
}

#[tokio::test]
async fn a_development_run_refuses_what_came_through_a_proxy() {
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"] {
        let head = upgrade("/ws", &format!("{header}: 192.0.2.1\r\n"));
        let (answer, opened) = request_of(&head, AllowedOrigins::any(), true).await;
        assert!(opened.is_err());
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("development run"), "{answer}");
        let (answer, _) = request_of(&head, AllowedOrigins::any(), false).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    }
}

#[tokio::test]
async fn a_proxy_line_is_refused_with_the_reason() {
    let head = format!(
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{}",
        upgrade("/ws", "")
    );
    let (answer, _) = request(&head, AllowedOrigins::any()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("PROXY protocol"), "{answer}");
}

#[tokio::test]
async fn the_upgrade_is_at_ws_and_nowhere_else() {
    let (answer, opened) = request(&upgrade("/ws?a=b", ""), AllowedOrigins::any()).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    assert!(matches!(opened.unwrap().greeting, SignInSource::BySignIn));
    let (answer, _) = request(&upgrade("/ws/", ""), AllowedOrigins::any()).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    for path in ["/", "/wss", "/ws//", "/WS", "/other?path=/ws"] {
        let (answer, opened) = request(&upgrade(path, ""), AllowedOrigins::any()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(
            answer.ends_with("unknown path: the WebSocket is at /ws\n"),
            "{answer}"
        );
        assert!(opened.is_err());
    }
}

#[tokio::test]
async fn a_request_without_an_upgrade_is_answered_with_the_right_form() {
    let plain = "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n";
    let (answer, _) = request(plain, AllowedOrigins::any()).await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("Upgrade: websocket\r\n"), "{answer}");
    assert!(answer.contains("Sec-WebSocket-Version: 13\r\n"), "{answer}");
    for (nonsense, status) in [
        ("POST /ws HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("\0\x01\x02\r\n\r\n", 400),
    ] {
        let (answer, opened) = request(nonsense, AllowedOrigins::any()).await;
        let begins = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&begins), "{answer}");
        assert!(opened.is_err());
    }
    let long = upgrade("/ws", &format!("X: {}\r\n", "x".repeat(9000)));
    let (answer, _) = request(&long, AllowedOrigins::any()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let (answer, opened) = request("GET /ws HT", AllowedOrigins::any()).await;
    assert_eq!(answer, "");
    assert!(matches!(opened, Err(LinkError::Truncated)));
}

#[tokio::test]
async fn a_list_of_origins_keeps_other_pages_out_and_lets_programs_in() {
    let origins = || AllowedOrigins::new(&["https://chat.example".to_owned()], false);
    for (header, status) in [
        ("Origin: https://chat.example\r\n", "101"),
        ("", "101"),
        ("Origin: https://evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
    ] {
        let (answer, _) = request(&upgrade("/ws", header), origins()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{header}: {answer}"
        );
    }
}

/// A browser that offers subprotocols continues only if one is chosen.
#[tokio::test]
async fn a_known_subprotocol_is_chosen_and_an_unknown_one_is_not() {
    let json = FrameCodec::Json;
    for (offered, chosen, codec) in [
        ("gim, chat", Some("gim"), FrameCodec::Protobuf),
        ("chat,gimlet", Some("gimlet"), FrameCodec::Protobuf),
        (
            "gimlet.v1, gimlet.json.v1",
            Some("gimlet.v1"),
            FrameCodec::Protobuf,
        ),
        ("gimlet.json.v1, gimlet.v1", Some("gimlet.json.v1"), json),
        ("chat, gimlet.json.v1", Some("gimlet.json.v1"), json),
        ("chat", None, FrameCodec::Protobuf),
        ("", None, FrameCodec::Protobuf),
    ] {
        let header = format!("Sec-WebSocket-Protocol: {offered}\r\n");
        let (answer, opened) = request(&upgrade("/ws", &header), AllowedOrigins::any()).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(line, chosen, "{answer}");
        assert_eq!(opened.unwrap().link.codec(), codec, "{offered}");
    }
}

/// Otherwise a client of a later version would speak JSON to a connection of protobuf.
#[tokio::test]
async fn an_unknown_version_of_the_protocol_is_refused() {
    for offered in ["gimlet.json.v2", "chat, gimlet.v9"] {
        let header = format!("Sec-WebSocket-Protocol: {offered}\r\n");
        let (answer, opened) = request(&upgrade("/ws", &header), AllowedOrigins::any()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("gimlet.json.v1"), "{answer}");
        assert!(opened.is_err(), "{offered}");
    }
}

#[tokio::test]
async fn json_frames_are_texts_of_up_to_128_kib() {
    let (listener, addr) = listen().await;
    let mut request = format!("ws://{addr}/ws").into_client_request().unwrap();
    let name = HeaderValue::from_static("gimlet.json.v1");
    request.headers_mut().insert("sec-websocket-protocol", name);
    let client = TaskTracker::new().spawn(async { connect_async(request).await.unwrap().0 });
    let frames = WsFrameListener::new(LIMIT, AllowedOrigins::any());
    let mut link = open(listener, &frames).await.unwrap().link;
    let mut client = client.await.unwrap();
    let longest = "x".repeat(128 * 1024);
    for message in [
        Message::text(longest.clone()),
        Message::binary(longest.clone()),
    ] {
        client.send(message).await.unwrap();
        assert_eq!(link.next().await.unwrap().unwrap().len(), longest.len());
    }
    link.send(Bytes::from_static(b"{}")).await.unwrap();
    link.put_all(&[Bytes::from_static(b"[]")]).unwrap();
    link.flush().await.unwrap();
    for text in ["{}", "[]"] {
        let message = client.next().await.unwrap().unwrap();
        assert_eq!(message, Message::text(text));
    }
    client.send(Message::text(longest + "x")).await.unwrap();
    let refused = link.next().await.unwrap().unwrap_err();
    assert!(
        matches!(refused, LinkError::TooLarge { limit: 131_072, .. }),
        "{refused}"
    );
}

/// RFC 6455, 7.4.1.
#[tokio::test]
async fn a_protocol_violation_is_closed_with_its_reason() {
    let oversize = [0x82, 0xfe, 0x00, 0x65, 0, 0, 0, 0];
    for (frame, code) in [
        (&[0x83, 0x80, 0, 0, 0, 0][..], CloseCode::Protocol),
        (&[0xc2, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        (&[0x82, 0x00], CloseCode::Protocol),
        (&[0x80, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        (&[0x09, 0x80, 0, 0, 0, 0], CloseCode::Protocol),
        (&[0x88, 0x81, 0, 0, 0, 0, 3], CloseCode::Protocol),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], CloseCode::Invalid),
        (&oversize, CloseCode::Size),
    ] {
        let (opened, mut client) = pair(100, "").await;
        let mut link = opened.link;
        client.get_mut().write_all(frame).await.unwrap();
        link.next().await.unwrap().unwrap_err();
        let closing = TaskTracker::new().spawn(async move { link.close().await });
        let Message::Close(Some(close)) = client.next().await.unwrap().unwrap() else {
            panic!("a close frame");
        };
        assert_eq!(close.code, code, "{frame:x?}");
        assert!(!close.reason.is_empty());
        drop(client);
        closing.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_ping_goes_out_only_if_nothing_else_did() {
    let (opened, mut client) = pair(LIMIT, "").await;
    let mut link = opened.link;
    let silence = Duration::from_secs(50);
    let mut now = link.keep_alive(silence, Instant::now()).unwrap();
    assert!(link.is_flushed(), "the first call starts the clock");
    // Silent: a ping, and none at the next check.
    for pinged in [true, false, true, false] {
        let next = link.keep_alive(silence, now).unwrap();
        assert_eq!(next - now, silence / 2);
        assert_eq!(link.is_flushed(), !pinged);
        link.flush().await.unwrap();
        assert_eq!(link.keep_alive(silence, now), Some(next), "not before");
        now = next;
    }
    link.send(Bytes::from_static(b"push")).await.unwrap();
    now = link.keep_alive(silence, now).unwrap();
    assert!(link.is_flushed(), "a push replaces the ping");
    link.keep_alive(silence, now);
    link.flush().await.unwrap();
    let ping = || Message::Ping(Bytes::new());
    let push = Message::Binary("push".into());
    for expected in [ping(), ping(), push, ping()] {
        assert_eq!(client.next().await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_url_may_bring_a_sign_in() {
    let (opened, _client) = pair(LIMIT, "?user_id=2&device_id=7&token=t").await;
    let SignInSource::FromUrl(sign_in) = opened.greeting else {
        panic!("all three are there");
    };
    assert_eq!(
        (sign_in.user_id.as_str(), sign_in.token.as_str()),
        ("2", "t")
    );
}

#[tokio::test]
async fn messages_are_frames_both_ways_in_every_size() {
    let (opened, mut client) = pair(LIMIT, "").await;
    let mut link = opened.link;
    assert_eq!(link.wire(), WireKind::WebSocket);
    for size in [0, 1, 125, 126, 1000, 1024, 1025, 65_535] {
        let body = Bytes::from(vec![b'x'; size]);
        client.send(Message::Binary(body.clone())).await.unwrap();
        assert_eq!(link.next().await.unwrap().unwrap(), body);
        let text = "y".repeat(size);
        client
            .send(Message::Text(text.as_str().into()))
            .await
            .unwrap();
        assert_eq!(link.next().await.unwrap().unwrap(), text);
        link.send(body.clone()).await.unwrap();
        assert!(link.is_flushed());
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(body));
    }
}

#[tokio::test]
async fn pings_are_answered_and_are_no_frames() {
    let (opened, mut client) = pair(LIMIT, "").await;
    let mut link = opened.link;
    client
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    let reading = TaskTracker::new().spawn(async move { link.next().await });
    assert_eq!(
        client.next().await.unwrap().unwrap(),
        Message::Pong("are you there".into())
    );
    client.send(Message::Binary("frame".into())).await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap().unwrap(), "frame");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_its_declared_length() {
    let (opened, mut client) = pair(100, "").await;
    let mut link = opened.link;
    client
        .feed(Message::Binary(vec![0; 101].into()))
        .await
        .unwrap();
    client.flush().await.unwrap();
    let error = link.next().await.unwrap().unwrap_err();
    assert!(matches!(
        error,
        LinkError::TooLarge {
            declared: 101,
            limit: 100
        }
    ));
    assert!(link.next().await.is_none());
}

#[tokio::test]
async fn a_close_carries_its_code_and_reason() {
    let (opened, mut client) = pair(LIMIT, "").await;
    let mut link = opened.link;
    let reason = "ä".repeat(100);
    link.set_close(4300, &reason);
    link.start_send_unpin(Bytes::from_static(b"last")).unwrap();
    let closing = TaskTracker::new().spawn(async move { link.close().await });
    assert_eq!(
        client.next().await.unwrap().unwrap(),
        Message::Binary("last".into())
    );
    let Message::Close(Some(close)) = client.next().await.unwrap().unwrap() else {
        panic!("a close frame");
    };
    assert_eq!(close.code, CloseCode::Library(4300));
    assert_eq!(
        close.reason.as_str(),
        "ä".repeat(61),
        "cut between characters"
    );
    while client.next().await.is_some() {}
    drop(client);
    closing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_closes_gets_its_close_back() {
    let (opened, mut client) = pair(LIMIT, "").await;
    let mut link = opened.link;
    client.send(Message::Binary("last".into())).await.unwrap();
    client.close(None).await.unwrap();
    assert_eq!(link.next().await.unwrap().unwrap(), "last");
    assert!(link.next().await.is_none());
    let closing = TaskTracker::new().spawn(async move { link.close().await });
    while let Some(message) = client.next().await {
        assert!(message.unwrap().is_close());
    }
    drop(client);
    closing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_just_goes_is_a_plain_end() {
    let (opened, client) = pair(LIMIT, "").await;
    let mut link = opened.link;
    drop(client);
    assert!(
        link.next()
            .await
            .is_none_or(|error| matches!(error, Err(LinkError::Io(_))))
    );
    assert!(link.next().await.is_none());
}

/// Reads and drops every frame.
#[derive(Debug)]
struct DrainingService;

impl<L: FrameLink> ServeLink<L> for DrainingService {
    async fn serve(&self, opened: OpenedLink<L>, _addr: SocketAddr) {
        let mut link = opened.link;
        while let Some(Ok(_)) = link.next().await {}
    }
}

async fn serve(connections: usize, handshake: Duration) -> SocketAddr {
    let (listener, addr) = listen().await;
    let limits = AcceptLimits {
        handshake,
        ..AcceptLimits::default()
    };
    let tasks = TaskTracker::new();
    let admission = ConnectionLimiter::new(connections, 1000);
    let stop = CancellationToken::new();
    let frames = WsFrameListener::new(LIMIT, AllowedOrigins::any());
    let entrance = ListenerEntrance {
        limits,
        ..ListenerEntrance::plain(listener, admission)
    };
    let protocol = SessionProtocol::new(frames, Arc::new(DrainingService));
    tasks.spawn(accept(entrance, protocol, tasks.clone(), stop));
    addr
}

#[tokio::test]
async fn a_handshake_has_a_time_limit() {
    let addr = serve(10, Duration::from_millis(50)).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"GET /ws HTTP/1.1\r\n").await.unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"");
}

#[tokio::test]
async fn a_connection_over_the_limit_gets_a_retry_time() {
    let addr = serve(1, Duration::from_secs(5)).await;
    let first = connect_async(format!("ws://{addr}/ws")).await.unwrap();
    let mut second = TcpStream::connect(addr).await.unwrap();
    second
        .write_all(upgrade("/ws", "").as_bytes())
        .await
        .unwrap();
    second.shutdown().await.unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("Retry-After: 5\r\n"), "{answer}");
    drop(first);
}
