//! TLS as clients meet it: on every listener, with certificates made for the test, replaced while
//! connections are open.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gimlet_client::{
    ApiClient, Client, ClientEvent, ClientOptions, EventStream, MessageContent, MessageTarget,
    TrustedRoots,
};
use gimlet_server::config::ListenerName;
use gimlet_server::{Config, Server};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// An authority made for a test.
struct TestAuthority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl TestAuthority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Writes a new certificate for localhost and its key into a folder, over those that are there.
    fn issue(&self, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    }

    fn trust(&self) -> TrustedRoots {
        TrustedRoots::with_pem(self.pem.as_bytes()).unwrap()
    }

    fn connector(&self, alpn: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(&self, addr: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        self.connector(alpn).connect(name, socket).await.unwrap()
    }
}

struct TlsServer {
    server: Server,
    authority: TestAuthority,
    folder: tempfile::TempDir,
}

impl TlsServer {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let (authority, folder) = (TestAuthority::new(), tempfile::tempdir().unwrap());
        authority.issue(folder.path());
        let path = |name: &str| Some(folder.path().join(name).display().to_string());
        let mut config = Config::embedded();
        config.tls.cert = path("cert.pem");
        config.tls.key = path("key.pem");
        config.tls.listeners.push(ListenerName::Ops);
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        Self {
            server,
            authority,
            folder,
        }
    }

    /// Signs a user in by gRPC and connects it by TCP or WebSocket, all with TLS.
    async fn client(&self, phone: &str, is_ws: bool) -> (Client, EventStream) {
        let addrs = self.server.addrs();
        let grpc = format!("https://localhost:{}", addrs.grpc[0].port());
        let api = ApiClient::with_trust(&grpc, &self.authority.trust()).unwrap();
        let who = gimlet_kit::sign_in(&api, phone).await.unwrap();
        let address = if is_ws {
            format!("wss://localhost:{}/ws", addrs.ws.unwrap().port())
        } else {
            format!("tls://localhost:{}", addrs.tcp.unwrap().port())
        };
        let mut options = ClientOptions::new(address.parse().unwrap(), who);
        options.trust = Some(self.authority.trust());
        let (client, mut events) = Client::connect(options).await.unwrap();
        while !matches!(events.next().await, Some(ClientEvent::CaughtUp { .. })) {}
        (client, events)
    }
}

fn user_of(client: &Client) -> i64 {
    client.options().credentials.user_id
}

/// Returns the text of the next message of somebody else; a lost connection is a failure.
async fn receives(events: &mut EventStream) -> String {
    loop {
        match events.next().await.unwrap() {
            ClientEvent::Message(message) if !message.own => match message.content {
                MessageContent::Text(text) => return text,
                other => panic!("{other:?}"),
            },
            ClientEvent::Disconnected { reason, .. } => panic!("disconnected: {reason}"),
            _ => {}
        }
    }
}

async fn get(secure: &TlsServer, addr: SocketAddr, path: &str) -> String {
    let mut stream = secure.authority.connect(addr, &["http/1.1"]).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn people_talk_over_tls_on_every_listener() {
    let secure = TlsServer::start().await;
    let (alice, mut alice_events) = secure.client("13800000001", false).await;
    let (bob, mut bob_events) = secure.client("13800000002", true).await;
    // Longer than one record of TLS.
    let long = "0123456789".repeat(4_000);
    for text in ["hi", long.as_str()] {
        let to_bob = MessageTarget::User(user_of(&bob));
        alice
            .send(to_bob, MessageContent::text(text))
            .await
            .unwrap();
        assert_eq!(receives(&mut bob_events).await, text);
        let to_alice = MessageTarget::User(user_of(&alice));
        bob.send(to_alice, MessageContent::text(text))
            .await
            .unwrap();
        assert_eq!(receives(&mut alice_events).await, text);
    }
    let addrs = secure.server.addrs().clone();
    let ready = get(&secure, addrs.ops.unwrap(), "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    let missing = get(&secure, addrs.http.unwrap(), "/file/none.png").await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    drop((alice, bob, alice_events, bob_events));
    secure.server.stop().await.unwrap();
}

#[tokio::test]
async fn the_client_chooses_http_2_inside_tls() {
    let secure = TlsServer::start().await;
    let http = secure.server.addrs().http.unwrap();
    let stream = secure.authority.connect(http, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    // Several requests at a time on the one connection.
    let asked = ["/v1/openapi.json", "/v1/nowhere"].map(|path| {
        let request = http::Request::get(format!("https://localhost{path}"));
        sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap())
    });
    for (asked, status) in asked.into_iter().zip([200, 404]) {
        let answer = asked.await.unwrap();
        assert_eq!(
            (answer.version(), answer.status().as_u16()),
            (http::Version::HTTP_2, status)
        );
        answer.into_body().collect().await.unwrap();
    }
    drop(sender);
    tasks.join_next().await.unwrap().unwrap().unwrap();
    // A client that knows HTTP/1.1 only gets that.
    let stream = secure.authority.connect(http, &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    drop(stream);
    secure.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load_and_no_connection_drops() {
    let mut secure = TlsServer::start().await;
    let (alice, _alice_events) = secure.client("13800000001", false).await;
    let (bob, mut bob_events) = secure.client("13800000002", true).await;
    let to_bob = MessageTarget::User(user_of(&bob));
    let mut expected = 0;
    for round in 0..5 {
        let former = secure.authority.trust();
        if round == 4 {
            // Another CA: a client that trusts only the previous one no longer accepts it.
            secure.authority = TestAuthority::new();
        }
        secure.authority.issue(secure.folder.path());
        let sending = async {
            for number in 0..100 {
                let text = format!("{round} {number}");
                alice
                    .send(to_bob, MessageContent::text(text))
                    .await
                    .unwrap();
            }
        };
        let reloading = async {
            for _ in 0..10 {
                secure.server.certificates().reload();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(sending, reloading);
        for number in 0..100 {
            assert_eq!(receives(&mut bob_events).await, format!("{round} {number}"));
            expected += 1;
        }
        // New handshakes get the new certificate.
        let (carol, _events) = secure.client("13800000003", round % 2 == 0).await;
        drop(carol);
        if round == 4 {
            let grpc = secure.server.addrs().grpc[0].port();
            let api = ApiClient::with_trust(&format!("https://localhost:{grpc}"), &former).unwrap();
            assert!(api.register_device("test").await.is_err());
        }
    }
    assert_eq!(expected, 500);
    // Files that cannot be used change nothing.
    std::fs::write(secure.folder.path().join("key.pem"), "nonsense").unwrap();
    secure.server.certificates().reload();
    secure.client("13800000004", false).await;
}

#[tokio::test]
async fn what_is_not_tls_gets_an_answer_of_its_own() {
    let secure = TlsServer::start().await;
    let addrs = secure.server.addrs().clone();
    let sockets = [
        addrs.tcp.unwrap(),
        addrs.ws.unwrap(),
        addrs.http.unwrap(),
        addrs.grpc[0],
    ];
    for addr in sockets {
        for (request, answer) in [
            (
                &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
                "HTTP/1.1 400 ",
            ),
            (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                "speaks TLS",
            ),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
                "listen.proxy_protocol",
            ),
        ] {
            let mut socket = TcpStream::connect(addr).await.unwrap();
            socket.write_all(request).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut bytes = Vec::new();
            socket.read_to_end(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(answer), "{addr} {text}");
        }
    }
    // An HTTP/1 client on the gRPC port, inside TLS, gets an answer in text.
    let mut stream = secure.authority.connect(addrs.grpc[0], &["http/1.1"]).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("one of gimlet's gRPC ports"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_closed_and_frees_its_place() {
    let secure = TlsServer::start().await;
    let mut socket = TcpStream::connect(secure.server.addrs().tcp.unwrap())
        .await
        .unwrap();
    // A record that promises more than comes.
    socket
        .write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc])
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut bytes));
    closed.await.unwrap().unwrap();
    assert_eq!(bytes, b"", "no word to somebody who may be slow");
    secure.client("13800000001", false).await;
}

/// A browser that finds no place learns when to come back, also inside TLS.
#[tokio::test]
async fn a_websocket_client_over_the_limit_gets_a_retry_time_inside_tls() {
    let secure = TlsServer::start_with(|config| config.limits.max_connections = 1).await;
    let (first, events) = secure.client("13800000001", true).await;
    let ws = secure.server.addrs().ws.unwrap();
    let mut second = secure.authority.connect(ws, &["http/1.1"]).await;
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    second.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("Retry-After: 5\r\n"), "{answer}");
    drop((first, events));
}

#[tokio::test]
async fn an_unfinished_handshake_takes_a_place_and_the_next_client_gets_an_alert() {
    let secure = TlsServer::start_with(|config| config.limits.max_connections = 1).await;
    let tcp = secure.server.addrs().tcp.unwrap();
    let silent = TcpStream::connect(tcp).await.unwrap();
    let mut socket = TcpStream::connect(tcp).await.unwrap();
    socket.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    // A fatal alert: internal_error.
    assert_eq!(answer, [0x15, 3, 1, 0, 2, 2, 80]);
    drop(silent);
}
