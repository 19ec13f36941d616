//! JWTs as bearers of the HTTP API, of event streams and of JSON over WebSocket: what is accepted, what is
//! refused, and revocation.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gimlet_process::GimletProcess;
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const KEY: &str = "key-0123456789abcdef0123456789abcdef";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[expect(
    clippy::disallowed_methods,
    reason = "tokens have the time of this machine"
)]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

/// Returns good claims of a user.
fn claims(user: &str) -> Value {
    json!({"sub": user, "aud": "gimlet", "iat": now() - 10, "exp": now() + 600, "name": "Ada"})
}

fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

fn sign_with(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn sign(claims: &Value) -> String {
    sign_with(
        &json!({"alg": "HS256", "typ": "JWT"}),
        claims,
        SECRET.as_bytes(),
    )
}

fn public_key() -> String {
    let path = "../server/identity/tests/samples/rsa.pem";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    path.display().to_string()
}

fn start(env: &[(&str, &str)]) -> GimletProcess {
    let key = public_key();
    let mut all = vec![
        ("GIMLET_AUTH__JWT_AUDIENCE", "gimlet"),
        ("GIMLET_AUTH__JWT_SECRETS", SECRET),
        ("GIMLET_AUTH__JWT_PUBLIC_KEYS", &key),
        ("GIMLET_HTTP__API_KEYS", KEY),
        ("GIMLET_LIMITS__FAILED_SIGN_INS", "1000"),
    ];
    all.extend(env);
    GimletProcess::start(&all).0
}

fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
    stream
}

/// Calls an operation; returns the status and the content.
fn call(addr: &str, method: &str, path: &str, bearer: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = connect(addr);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(content).unwrap_or(Value::Null))
}

fn inbox(addr: &str, bearer: &str) -> (u16, Value) {
    call(addr, "GET", "/v1/inbox", bearer, &Value::Null)
}

/// An open event stream.
struct EventLines(BufReader<TcpStream>);

impl EventLines {
    /// Opens a stream, with the token in the query as `EventSource` has it; returns the status.
    fn open(addr: &str, token: &str) -> (Self, String) {
        let mut stream = connect(addr);
        let request = format!(
            "GET /v1/inbox/events?after=head&access_token={token} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = Self(BufReader::new(stream));
        let status = lines.next();
        (lines, status)
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads up to a line with this text.
    fn until(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = self.0.read_line(&mut line).unwrap();
            assert!(read > 0, "the stream ended before {text:?}");
        }
        line.trim_end().to_owned()
    }
}

/// Opens a WebSocket with JSON and sends one packet; returns the first answer.
fn websocket_answer(addr: &str, packet: &Value) -> Value {
    let mut stream = connect(addr);
    let handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: gimlet.json.v1\r\n\r\n";
    stream.write_all(handshake.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0);
    }
    let text = packet.to_string();
    // A whole text frame with a length of two bytes, masked by zeros.
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    let mut frame = vec![0x81, 0xfe, length[0], length[1], 0, 0, 0, 0];
    frame.extend(text.as_bytes());
    stream.get_mut().write_all(&frame).unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            usize::from(u16::from_be_bytes(length))
        }
        short => usize::from(short),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_bare_jwt_is_a_bearer_on_http_streams_and_websockets() {
    let gimlet = start(&[]);
    let addr = gimlet.addr("http");
    let (ada, bob) = (sign(&claims("5")), sign(&with(claims("6"), "device", "9")));
    assert_eq!(inbox(&addr, &ada).0, 200);
    let (mut events, status) = EventLines::open(&addr, &bob);
    assert!(status.contains("200"), "{status}");
    events.until("event: start");
    let body = json!({"to_user": "6", "content": {"type": "text", "text": "hi, bob"}});
    let (status, sent) = call(&addr, "POST", "/v1/messages", &ada, &body);
    assert_eq!(status, 200, "{sent}");
    let line = events.until("hi, bob");
    assert!(line.contains("\"nickname\":\"Ada\""), "{line}");
    // Operations of a device need one: in the JWT, or in front of it.
    let ack = json!({"seq": "1"});
    assert_eq!(call(&addr, "POST", "/v1/inbox/ack", &bob, &ack).0, 204);
    let (status, refused) = call(&addr, "POST", "/v1/inbox/ack", &ada, &ack);
    assert_eq!(status, 403, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("USER.DEVICE.JWT"), "{detail}");
    let in_front = format!("5.9.{ada}");
    assert_eq!(call(&addr, "POST", "/v1/inbox/ack", &in_front, &ack).0, 204);
    let (_, status) = EventLines::open(&addr, &ada);
    assert!(status.contains("403"), "{status}");
    let packet = json!({"type": "sign_in", "request_id": 1, "token": bob});
    let answer = websocket_answer(&addr, &packet);
    assert!(answer["error"].is_null(), "{answer}");
    let packet = json!({"type": "sign_in", "request_id": 1, "token": ada});
    let answer = websocket_answer(&addr, &packet);
    assert!(answer.to_string().contains("the claim device"), "{answer}");
}

#[test]
fn a_wrong_jwt_is_refused_with_its_reason() {
    let gimlet = start(&[]);
    let addr = gimlet.addr("http");
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    // With a device, so that streams accept the form of the token.
    let good = with(claims("5"), "device", "9");
    let secret = SECRET.as_bytes();
    let pem = std::fs::read(public_key()).unwrap();
    let none = {
        let signed = sign_with(&header("none"), &good, secret);
        let (signed, _) = signed.rsplit_once('.').unwrap();
        format!("{signed}.")
    };
    let mut other_claims = sign(&good);
    let (_, signature) = other_claims.rsplit_once('.').unwrap();
    let stolen = sign(&with(claims("6"), "device", "9"));
    let (signed, _) = stolen.rsplit_once('.').unwrap();
    other_claims = format!("{signed}.{signature}");
    for (token, why) in [
        (none, "not one of HS256, RS256"),
        (
            sign_with(&header("None"), &good, secret),
            "not one of HS256",
        ),
        (
            sign_with(&header("HS512"), &good, secret),
            "not one of HS256",
        ),
        (
            sign_with(&header("HS256"), &good, b"another secret of 32 characters."),
            "the signature of the JWT is wrong",
        ),
        // The public key, which everybody knows, as the secret of an HMAC.
        (
            sign_with(&header("HS256"), &good, &pem),
            "the signature of the JWT is wrong",
        ),
        // An HMAC that claims to be a signature of the public key.
        (
            sign_with(&header("RS256"), &good, &pem),
            "the signature of the JWT is wrong",
        ),
        (
            sign_with(&header("ES256"), &good, secret),
            "no key is configured",
        ),
        (other_claims, "the signature of the JWT is wrong"),
        (
            sign(&with(good.clone(), "aud", "another")),
            "for another service",
        ),
        (sign(&with(good.clone(), "aud", Value::Null)), "claim aud"),
        (sign(&with(good.clone(), "exp", now() - 60)), "has expired"),
        (sign(&with(good.clone(), "exp", Value::Null)), "claim exp"),
        (
            sign(&with(good.clone(), "exp", now() + 86_400 * 31)),
            "expires too late",
        ),
        (
            sign(&with(good.clone(), "nbf", now() + 120)),
            "not valid yet",
        ),
        (
            sign(&with(good.clone(), "iat", now() + 120)),
            "issued in the future",
        ),
        (
            sign(&with(good.clone(), "sub", "ada")),
            "nor a JWT whose sub is a user's id",
        ),
        (format!("6.9.{}", sign(&good)), "for another user"),
        (format!("5.8.{}", sign(&good)), "for another device"),
    ] {
        let (status, refused) = inbox(&addr, &token);
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert_eq!(
            (status, &refused["code"]),
            (401, &json!(10_000)),
            "{why}: {refused}"
        );
        assert!(detail.contains(why), "{why}: {detail}");
        let (_, status) = EventLines::open(&addr, &token);
        assert!(status.contains("401"), "{why}: {status}");
    }
    assert_eq!(inbox(&addr, &sign(&good)).0, 200, "the right one");
}

#[test]
fn revoked_jwts_are_refused_and_their_connections_close() {
    let gimlet = start(&[]);
    let addr = gimlet.addr("http");
    let device = |jti: &str| with(with(claims("5"), "device", "9"), "jti", jti);
    let (one, two) = (sign(&device("one")), sign(&device("two")));
    let (mut events, _) = EventLines::open(&addr, &one);
    events.until("event: start");
    let path = "/v1/users/5/jwts/revoke";
    let revoke = |body: Value| call(&addr, "POST", path, KEY, &body);
    let (status, refused) = revoke(json!({"jti": "one"}));
    assert_eq!(status, 204, "{refused}");
    events.until("event: close");
    let close = events.until("data: ");
    assert!(close.contains("4200"), "{close}");
    let (status, refused) = inbox(&addr, &one);
    assert_eq!(status, 401, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("the JWT was revoked"), "{refused}");
    assert_eq!(inbox(&addr, &two).0, 200, "another token");
    // All that were issued until five seconds ago: both.
    assert_eq!(revoke(json!({"issued_before": now() - 5})).0, 204);
    assert_eq!(inbox(&addr, &two).0, 401);
    let fresh = sign(&with(device("three"), "iat", now()));
    assert_eq!(inbox(&addr, &fresh).0, 200, "issued after it");
    let other = sign(&claims("6"));
    assert_eq!(inbox(&addr, &other).0, 200, "another user");
    for (body, why) in [
        (json!({}), "jti and issued_before are missing"),
        (json!({"jti": "x", "issued_before": 1}), "both set"),
        (json!({"jti": ""}), "jti is empty"),
        (json!({"issued_before": now() + 100}), "in the future"),
    ] {
        let (status, refused) = revoke(body);
        let detail = refused["detail"].as_str().unwrap();
        assert!(status == 400 && detail.contains(why), "{refused}");
    }
    let (status, _) = call(&addr, "POST", path, &fresh, &json!({"jti": "three"}));
    assert_eq!(status, 403, "a user may not revoke");
}

#[test]
fn a_sign_out_revokes_the_jwt_of_the_device() {
    let gimlet = start(&[]);
    let addr = gimlet.addr("http");
    let of_device = |device: &str| sign(&with(claims("5"), "device", device));
    // Without a claim jti: a token is known by its signed text.
    let (phone, laptop) = (of_device("9"), of_device("10"));
    let (mut events, _) = EventLines::open(&addr, &phone);
    events.until("event: start");
    let (status, refused) = call(&addr, "POST", "/v1/sign-out", &phone, &Value::Null);
    assert_eq!(status, 204, "{refused}");
    events.until("event: close");
    assert_eq!(inbox(&addr, &phone).0, 401);
    assert_eq!(inbox(&addr, &format!("5.9.{phone}")).0, 401);
    assert_eq!(inbox(&addr, &laptop).0, 200, "the other device");
}

#[test]
fn without_keys_no_jwt_is_accepted() {
    let (gimlet, _) = GimletProcess::start(&[("GIMLET_HTTP__API_KEYS", KEY)]);
    let addr = gimlet.addr("http");
    let (status, refused) = inbox(&addr, &sign(&claims("5")));
    assert_eq!(status, 401);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("this server accepts no JWTs"), "{refused}");
    let path = "/v1/users/5/jwts/revoke";
    let (status, refused) = call(&addr, "POST", path, KEY, &json!({"jti": "x"}));
    assert_eq!(status, 501, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("[auth]"), "{detail}");
}
