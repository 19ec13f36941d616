//! Key sets from an address: new keys, outages, and targets that hang, redirect or talk nonsense.
#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimlet_core::auth::JwtVerifier as _;
use gimlet_identity::jwt::{JwksSource, SignatureVerifier};
use gimlet_identity::outbound::{OutboundClient, OutboundPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const RS256: &str = include_str!("samples/rs256.jwt");
const ES256: &str = include_str!("samples/es256.jwt");
const HS256: &str = include_str!("samples/hs256.jwt");
const KEYS: &str = include_str!("samples/keys.json");

/// A server of key sets. It answers with the text of the moment; `None` hangs.
struct KeyServer {
    answer: Arc<Mutex<Option<String>>>,
    loads: Arc<Mutex<u32>>,
    verifier: SignatureVerifier,
    _tasks: JoinSet<()>,
}

impl KeyServer {
    async fn start(answer: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(answer));
        let loads = Arc::<Mutex<u32>>::default();
        let mut tasks = JoinSet::new();
        let (given, counted) = (Arc::clone(&answer), Arc::clone(&loads));
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                let text = given.lock().unwrap().clone();
                served.spawn(serve(socket, text));
            }
        });
        let policy = OutboundPolicy {
            allowed: vec!["127.0.0.0/8".parse().unwrap()],
            ..OutboundPolicy::default()
        };
        let client = OutboundClient::new(&policy).unwrap();
        let source = JwksSource::new(&client, url.parse().unwrap());
        Self {
            answer,
            loads,
            verifier: SignatureVerifier::new(Vec::new(), Some(source)),
            _tasks: tasks,
        }
    }

    fn answers(&self, answer: Option<String>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn loads(&self) -> u32 {
        *self.loads.lock().unwrap()
    }

    /// Returns 0 for an accepted token, or the code of its refusal.
    async fn code(&self, token: &str) -> i32 {
        let verified = self.verifier.verify(token.trim()).await;
        verified.map_or_else(|refusal| refusal.code(), |_| 0)
    }
}

async fn serve(mut socket: TcpStream, answer: Option<String>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    match answer {
        // An error means that the client has left.
        Some(answer) => drop(socket.write_all(answer.as_bytes()).await),
        None => drop(socket.read(&mut [0; 1]).await),
    }
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// A set with the first `count` keys of the sample.
fn set(count: usize) -> String {
    let mut set: serde_json::Value = serde_json::from_str(KEYS).unwrap();
    set.get_mut("keys")
        .unwrap()
        .as_array_mut()
        .unwrap()
        .truncate(count);
    set.to_string()
}

#[tokio::test]
async fn keys_are_loaded_once_and_serve_every_token() {
    let server = KeyServer::start(Some(ok(KEYS))).await;
    for token in [RS256, ES256, RS256] {
        assert_eq!(server.code(token).await, 0);
    }
    assert_eq!(server.loads(), 1);
    // A secret is no secret at an address: not even the set's own.
    assert_eq!(server.code(HS256).await, 10_000);
    assert_eq!(server.loads(), 1);
}

#[tokio::test]
async fn unknown_keys_cause_one_load_in_an_interval() {
    let server = KeyServer::start(Some(ok(&set(1)))).await;
    assert_eq!(server.code(RS256).await, 0);
    server.answers(Some(ok(KEYS)));
    for _ in 0..20 {
        assert_eq!(server.code(ES256).await, 10_000);
    }
    assert_eq!(server.loads(), 1, "the first load was a moment ago");
}

#[tokio::test]
async fn an_address_that_gives_no_keys_makes_tokens_unavailable_and_is_asked_rarely() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
    for answer in [
        ok("<html>"),
        ok("{\"keys\":[]}"),
        ok(&format!(
            "{{\"keys\":[],\"x\":\"{}\"}}",
            "x".repeat(70 * 1024)
        )),
        redirect.to_owned(),
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        String::new(),
    ] {
        let server = KeyServer::start(Some(answer.clone())).await;
        for _ in 0..5 {
            assert_eq!(server.code(RS256).await, 14, "{answer:?}");
        }
        assert_eq!(server.loads(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn an_address_that_hangs_is_given_up_and_holds_up_no_later_token() {
    let server = KeyServer::start(None).await;
    let begun = tokio::time::Instant::now();
    let both = tokio::join!(server.code(RS256), server.code(ES256));
    assert_eq!(both, (14, 14));
    assert_eq!(server.code(RS256).await, 14);
    let waited = begun.elapsed();
    assert!(
        waited < Duration::from_secs(4),
        "{waited:?}: one load, not three"
    );
    assert_eq!(server.loads(), 1);
}
