//! Clients behind proxies: the proxies whose report of a client's address counts, and its effects.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

use std::net::SocketAddr;

use gimlet_kit::wire::{self, RawClient};
use gimlet_proto::pb;
use gimlet_proto::pb::logic_ext_client::LogicExtClient;
use gimlet_server::config::{CodeVerifier, ListenerName, SecretString};
use gimlet_server::{Config, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Starts a server that trusts this network and is not a development run; an address may have
/// `each` connections.
async fn server(trusted: &str, protocol: &[ListenerName], each: usize) -> Server {
    let mut config = Config::embedded();
    config.business.code_verifier = CodeVerifier::Fixed(SecretString::new("1"));
    config.limits.per_address = each;
    config.limits.node.failed_sign_ins = 3;
    config.proxies.trusted_proxies = vec![trusted.parse().unwrap()];
    config.proxies.proxy_protocol = protocol.to_vec();
    Server::start(config).await.unwrap()
}

/// A PROXY header of version 2 that names this client.
fn header(client: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend(client);
    bytes.extend([127, 0, 0, 1, 0x13, 0x88, 0, 80]);
    bytes
}

/// Connects behind this header and signs in with a token that nobody has; returns the connection and
/// the answer's code, `None` if the connection was closed.
async fn connect(addr: SocketAddr, header: &[u8]) -> (RawClient, Option<i32>) {
    let sign_in = pb::SignInInput {
        device_id: 1,
        user_id: 1,
        token: "x".into(),
        protocol: 1,
    };
    let packet = wire::packet(pb::PackageType::PtSignIn.into(), 1, &sign_in);
    let bytes = [header, &wire::frame(&packet).unwrap()].concat();
    let mut raw = RawClient::tcp(addr).await.unwrap();
    raw.writer.write_bytes(&bytes).await.unwrap();
    let code = raw.next().await.ok().map(|answer| answer.code);
    (raw, code)
}

/// Sends bytes and returns everything that comes back.
async fn answer(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_trusted_proxys_header_names_who_is_counted() {
    let server = server("127.0.0.0/8", &[ListenerName::Tcp], 1).await;
    let tcp = server.addrs().tcp.unwrap();
    let (first, code) = connect(tcp, &header([192, 0, 2, 1])).await;
    assert_eq!(code, Some(10_000));
    let (_, code) = connect(tcp, &header([192, 0, 2, 1])).await;
    assert_eq!(code, None, "it has the one connection it may have");
    let line = b"PROXY TCP4 192.0.2.2 127.0.0.1 5000 8080\r\n";
    let (_second, code) = connect(tcp, line).await;
    assert_eq!(code, Some(10_000), "another one is not concerned");
    drop(first);
    // Connections of the proxy itself, which checks the port, are not counted for any client.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for _ in 0..3 {
        assert_eq!(connect(tcp, local).await.1, Some(10_000));
    }
}

#[tokio::test]
async fn a_header_that_is_missing_malformed_or_not_trusted_is_refused_with_the_reason() {
    let all = [
        ListenerName::Tcp,
        ListenerName::Ws,
        ListenerName::Http,
        ListenerName::Grpc,
    ];
    let trusting = server("127.0.0.0/8", &all, 100).await;
    let distrusting = server("10.0.0.0/8", &all, 100).await;
    let addrs = |server: &Server| {
        let addrs = server.addrs();
        [
            addrs.tcp.unwrap(),
            addrs.ws.unwrap(),
            addrs.http.unwrap(),
            addrs.grpc[0],
        ]
    };
    for addr in addrs(&trusting) {
        let missing = answer(addr, b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(
            missing.contains("does not begin with a PROXY header"),
            "{missing}"
        );
        let malformed = answer(addr, b"PROXY TCP4 192.0.2.1 nonsense\r\n").await;
        assert!(
            malformed.contains("the PROXY header is malformed"),
            "{malformed}"
        );
    }
    for addr in addrs(&distrusting) {
        for spoof in [
            &header([192, 0, 2, 1])[..],
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        ] {
            let refused = answer(addr, spoof).await;
            assert!(
                refused.contains("listen.trusted_proxies"),
                "{addr} {refused}"
            );
        }
    }
    // Without a header it may come by itself.
    let (_stream, code) = connect(distrusting.addrs().tcp.unwrap(), b"").await;
    assert_eq!(code, Some(10_000));
}

fn upgrade(forwarded: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         X-Forwarded-For: {forwarded}\r\n\r\n"
    )
}

async fn status(addr: SocketAddr, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 12];
    stream.read_exact(&mut head).await.unwrap();
    (stream, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn a_forwarded_address_counts_for_a_websocket_if_the_proxy_is_trusted() {
    let trusting = server("127.0.0.0/8", &[], 1).await;
    let ws = trusting.addrs().ws.unwrap();
    let (_first, answer) = status(ws, &upgrade("203.0.113.1")).await;
    assert_eq!(answer, "HTTP/1.1 101");
    for same in [
        "203.0.113.1",
        "9.9.9.9, 203.0.113.1",
        "9.9.9.9, 203.0.113.1, 127.0.0.9",
    ] {
        let (_, answer) = status(ws, &upgrade(same)).await;
        assert_eq!(answer, "HTTP/1.1 503", "{same}");
    }
    let (_other, answer) = status(ws, &upgrade("203.0.113.2")).await;
    assert_eq!(answer, "HTTP/1.1 101");
    let distrusting = server("10.0.0.0/8", &[], 1).await;
    let ws = distrusting.addrs().ws.unwrap();
    let mut open = Vec::new();
    for _ in 0..3 {
        let (stream, answer) = status(ws, &upgrade("203.0.113.1")).await;
        assert_eq!(
            answer, "HTTP/1.1 101",
            "an untrusted claim counts for nothing"
        );
        open.push(stream);
    }
}

/// Calls with a wrong token for user 1; returns gim's code.
async fn wrong_call(server: &Server, forwarded: Option<&'static str>) -> String {
    let url = format!("http://{}", server.addrs().grpc[0]);
    let mut logic = LogicExtClient::connect(url).await.unwrap();
    let mut request = tonic::Request::new(pb::GetFriendsReq::default());
    let metadata = request.metadata_mut();
    metadata.insert("user_id", 1.into());
    metadata.insert("device_id", 1.into());
    metadata.insert("token", "x".parse().unwrap());
    if let Some(forwarded) = forwarded {
        metadata.insert("x-forwarded-for", forwarded.parse().unwrap());
    }
    let refused = logic.get_friends(request).await.unwrap_err();
    let code = refused.metadata().get("gimlet-code");
    code.map_or_else(String::new, |code| code.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn lock_outs_see_the_address_that_a_trusted_proxy_names() {
    let trusting = server("127.0.0.0/8", &[], 1).await;
    for _ in 0..3 {
        assert_eq!(wrong_call(&trusting, Some("203.0.113.1")).await, "10000");
    }
    for guesser in ["203.0.113.1", "9.9.9.9, 203.0.113.1"] {
        assert_eq!(wrong_call(&trusting, Some(guesser)).await, "8", "{guesser}");
    }
    assert_eq!(wrong_call(&trusting, Some("203.0.113.2")).await, "10000");
    // A socket from there is locked out as well.
    let tcp = server("127.0.0.0/8", &[ListenerName::Tcp], 100).await;
    for _ in 0..3 {
        let (_, code) = connect(tcp.addrs().tcp.unwrap(), &header([203, 0, 113, 1])).await;
        assert_eq!(code, Some(10_000));
    }
    let (_, code) = connect(tcp.addrs().tcp.unwrap(), &header([203, 0, 113, 1])).await;
    assert_eq!(code, Some(8));
    assert_eq!(wrong_call(&tcp, Some("203.0.113.1")).await, "8");
}

#[tokio::test]
async fn a_claim_without_a_trusted_proxy_changes_nothing() {
    let distrusting = server("10.0.0.0/8", &[], 1).await;
    let mut codes = Vec::new();
    for claim in [
        "1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6",
    ] {
        codes.push(wrong_call(&distrusting, Some(claim)).await);
    }
    assert!(codes.contains(&"8".to_owned()), "{codes:?}");
}
