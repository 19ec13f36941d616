//! Exchanges over sockets with targets that redirect, hang, never end, change their address or show
//! a wrong certificate.
#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod target;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gimlet_listen::pem::PemFile;
use gimlet_outbound::{OutboundClient, OutboundError, OutboundPolicy, OutboundUrl};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use target::{FakeTarget, ScriptedLookup, TargetBehavior};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

fn policy() -> OutboundPolicy {
    OutboundPolicy {
        allowed: vec!["127.0.0.0/8".parse().unwrap()],
        ..OutboundPolicy::default()
    }
}

fn client() -> OutboundClient {
    OutboundClient::new(&policy()).unwrap()
}

fn answer(status: &str, more: &str, body: &str) -> TargetBehavior {
    let length = body.len();
    TargetBehavior::Answers(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n{body}"
    ))
}

async fn post(client: &OutboundClient, url: &OutboundUrl) -> Result<(u16, Bytes), OutboundError> {
    let body = Bytes::from_static(b"{\"a\":1}");
    let answer = client.post_json(url, HeaderMap::new(), body).await?;
    Ok((answer.status.as_u16(), answer.body))
}

#[tokio::test]
async fn a_request_names_gimlet_and_carries_headers_and_body() {
    let target = FakeTarget::start(answer("200 OK", "x-kind: test\r\n", "hello")).await;
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("7"));
    let (client, url) = (client(), target.url("127.0.0.1"));
    let posted = client.post_json(&url, headers, Bytes::from_static(b"{}"));
    let posted = posted.await.unwrap();
    assert_eq!(posted.status, 200);
    assert_eq!(posted.headers["x-kind"], "test");
    assert_eq!(posted.body, "hello");
    let request = target.requests().remove(0).to_lowercase();
    assert!(request.starts_with("post /hook http/1.1\r\n"), "{request}");
    for line in [
        concat!("user-agent: gimlet/", env!("CARGO_PKG_VERSION"), "\r\n"),
        "content-type: application/json\r\n",
        "webhook-id: 7\r\n",
    ] {
        assert!(request.contains(line), "{line:?} is not in {request}");
    }
    assert!(request.ends_with("\r\n\r\n{}"), "{request}");
    let got = client.get(&url, HeaderMap::new()).await.unwrap();
    assert_eq!(got.body, "hello");
    assert_eq!(target.tasks(), 1);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = FakeTarget::start(answer("200 OK", "", "secret")).await;
    let location = format!("location: {}\r\n", elsewhere.url("127.0.0.1").as_str());
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let target = FakeTarget::start(answer(status, &location, "")).await;
        let (given, _) = post(&client(), &target.url("127.0.0.1")).await.unwrap();
        assert_eq!(given.to_string(), status[..3]);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_target_that_hangs_or_closes_is_an_error_in_time() {
    let hanging = FakeTarget::start(TargetBehavior::Hangs).await;
    let limit = Duration::from_millis(100);
    let url = hanging.url("127.0.0.1");
    let error = post(&client().with_timeout(limit), &url).await.unwrap_err();
    let host = "127.0.0.1".to_owned();
    assert_eq!(error, OutboundError::Timeout { host, limit });
    let closing = FakeTarget::start(TargetBehavior::Closes).await;
    let error = post(&client(), &closing.url("127.0.0.1")).await;
    assert_eq!(error.unwrap_err().class(), "broken");
    let gone: OutboundUrl = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        format!("http://127.0.0.1:{port}/").parse().unwrap()
    };
    let error = post(&client(), &gone).await.unwrap_err();
    assert_eq!(error.class(), "connect", "{error}");
    let garbage = FakeTarget::start(TargetBehavior::Answers("SSH-2.0-x\r\n".into())).await;
    let error = post(&client(), &garbage.url("127.0.0.1")).await;
    assert_eq!(error.unwrap_err().class(), "broken");
}

#[tokio::test]
async fn a_large_or_endless_answer_is_cut_off() {
    let small = client().with_max_response(10);
    let ten = FakeTarget::start(answer("200 OK", "", "0123456789")).await;
    assert_eq!(post(&small, &ten.url("127.0.0.1")).await.unwrap().0, 200);
    let eleven = FakeTarget::start(answer("200 OK", "", "0123456789a")).await;
    let error = post(&small, &eleven.url("127.0.0.1")).await.unwrap_err();
    let (host, limit) = ("127.0.0.1".to_owned(), 10);
    assert_eq!(error, OutboundError::TooLarge { host, limit });
    let endless = FakeTarget::start(TargetBehavior::NeverEnds).await;
    let error = post(&client(), &endless.url("127.0.0.1")).await;
    assert_eq!(error.unwrap_err().class(), "too_large");
}

#[tokio::test]
async fn private_addresses_are_refused_by_number_and_by_name() {
    let target = FakeTarget::start(answer("200 OK", "", "")).await;
    let strict = OutboundClient::new(&OutboundPolicy::default()).unwrap();
    for host in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
        let error = post(&strict, &target.url(host)).await.unwrap_err();
        assert_eq!(error.class(), "refused", "{host}: {error}");
        let encrypted = target.url(host).as_str().replace("http:", "https:");
        let error = post(&strict, &encrypted.parse().unwrap()).await;
        let error = error.unwrap_err();
        assert_eq!(error.class(), "refused", "{host}: {error}");
        assert!(error.to_string().contains("outbound.allow"), "{error}");
    }
    assert_eq!(target.connections(), 0);
    // Nothing crosses the internet without TLS.
    let lookup = ScriptedLookup::new(&[&["1.1.1.1"]]);
    let client = OutboundClient::with_lookup(&policy(), lookup).unwrap();
    let error = post(&client, &"http://app.example.com/".parse().unwrap()).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, OutboundError::Unencrypted { .. }),
        "{error}"
    );
}

/// DNS rebinding: the name is harmless when it is checked and private when it is used.
#[tokio::test]
async fn a_name_that_changes_its_address_is_checked_at_each_connect() {
    let target = FakeTarget::start(answer("200 OK", "", "")).await;
    let lookup = ScriptedLookup::new(&[&["127.0.0.1"], &["169.254.169.254"], &["10.0.0.1"]]);
    let client = OutboundClient::with_lookup(&policy(), lookup).unwrap();
    let url = target.url("rebound.test");
    assert_eq!(post(&client, &url).await.unwrap().0, 200);
    let error = post(&client, &url).await.unwrap_err();
    assert!(error.to_string().contains("169.254.169.254"), "{error}");
    assert_eq!(error.class(), "refused");
    assert_eq!(post(&client, &url).await.unwrap_err().class(), "refused");
    assert_eq!(post(&client, &url).await.unwrap_err().class(), "dns");
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn of_several_addresses_only_permitted_ones_are_used() {
    let target = FakeTarget::start(answer("200 OK", "", "")).await;
    let lookup = ScriptedLookup::new(&[&["10.0.0.1", "::1", "127.0.0.1"], &[]]);
    let client = OutboundClient::with_lookup(&policy(), lookup).unwrap();
    let url = target.url("several.test");
    assert_eq!(post(&client, &url).await.unwrap().0, 200);
    assert_eq!(target.connections(), 1);
    assert_eq!(post(&client, &url).await.unwrap_err().class(), "dns");
}

#[tokio::test]
async fn a_slow_host_has_a_largest_number_of_exchanges_and_slows_no_other() {
    let slow = FakeTarget::start(TargetBehavior::Hangs).await;
    let fast = FakeTarget::start(answer("200 OK", "", "")).await;
    let two = OutboundPolicy {
        exchanges_per_host: 2,
        exchanges: 3,
        ..policy()
    };
    let client = OutboundClient::new(&two).unwrap();
    let exchange = |client: &OutboundClient| {
        let (client, url) = (client.clone(), slow.url("127.0.0.1"));
        async move { post(&client, &url).await.unwrap_err().class() }
    };
    let mut holding = JoinSet::new();
    holding.spawn(exchange(&client));
    holding.spawn(exchange(&client));
    slow.reaches(2).await;
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        waiting.spawn(exchange(&client.with_timeout(Duration::from_millis(50))));
    }
    for _ in 0..5 {
        let answered = post(&client, &fast.url("127.0.0.1")).await;
        assert_eq!(answered.unwrap().0, 200);
    }
    while let Some(class) = waiting.join_next().await {
        assert_eq!(class.unwrap(), "timeout");
    }
    assert_eq!(slow.connections(), 2);
}

/// A server with TLS and HTTP/2 whose certificate is for `localhost`, signed by the CA in the file.
struct TlsTarget {
    port: u16,
    ca: PemFile,
    _folder: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl TlsTarget {
    async fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(gimlet_listen::tls::provider());
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let mut config = config
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                served.spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service_fn(version));
                        // Ends with the client's connection.
                        let _ = served.await;
                    }
                });
            }
        });
        Self {
            port,
            ca: PemFile {
                setting: "outbound.ca",
                path,
            },
            _folder: folder,
            _tasks: tasks,
        }
    }

    fn url(&self, host: &str) -> OutboundUrl {
        format!("https://{host}:{}/", self.port).parse().unwrap()
    }
}

async fn version(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    Ok(Response::new(Full::new(version.into())))
}

#[tokio::test]
async fn a_certificate_must_be_valid_for_the_host_and_signed_by_a_trusted_authority() {
    let target = TlsTarget::start().await;
    let lookup = || ScriptedLookup::new(&[&["127.0.0.1"]]);
    let trusting = OutboundPolicy {
        ca: Some(target.ca.clone()),
        ..policy()
    };
    let client = OutboundClient::with_lookup(&trusting, lookup()).unwrap();
    let (status, body) = post(&client, &target.url("localhost")).await.unwrap();
    assert_eq!((status, &*body), (200, &b"HTTP/2.0"[..]));
    let client = OutboundClient::with_lookup(&trusting, lookup()).unwrap();
    let error = post(&client, &target.url("other.test")).await.unwrap_err();
    assert_eq!(error.class(), "tls", "another name: {error}");
    let client = OutboundClient::with_lookup(&policy(), lookup()).unwrap();
    let error = post(&client, &target.url("localhost")).await.unwrap_err();
    assert_eq!(error.class(), "tls", "another authority: {error}");
    let missing = OutboundPolicy {
        ca: Some(PemFile {
            path: "/nonexistent/ca.pem".into(),
            ..target.ca.clone()
        }),
        ..policy()
    };
    let error = OutboundClient::new(&missing).unwrap_err().to_string();
    assert!(error.contains("outbound.ca"), "{error}");
}
