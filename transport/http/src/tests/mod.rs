//! The API over a node in memory, without sockets.

mod access;
mod acting;
mod admin;
mod audit;
mod bad_input;
mod bulk;
mod chat;
mod files;
mod forward;
mod inspection;
mod keys;
mod push;
mod repeated;
mod revoked;
mod stream;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use futures_util::StreamExt as _;
use gimlet_core::accounts::AccountService;
use gimlet_core::auth::{
    ApiKeyService, BackendIdentity, CreatedApiKey, NewApiKey, SignInFailures, TokenChecker,
};
use gimlet_core::business::{BuiltinBusiness, BuiltinConfig, FixedCode};
use gimlet_core::id::UserId;
use gimlet_core::memory;
use gimlet_core::node::{NodeBuilder, RunningNode};
use gimlet_core::push_registry::{PushRegistry, PushServices};
use gimlet_core::scope::{ApiScope, ApiScopes};
use gimlet_core::time::{ManualClock, SystemClock, TimeSource as _};
use gimlet_files::{FileRules, FileStore, UploadBounds, UploadFolder};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{ApiFiles, ApiKeys, HttpApi, StreamCounter};

/// An API key.
const KEY: &str = "key-0123456789abcdef0123456789abcdef";

/// The server's public key for Web Push.
const WEBPUSH_KEY: &str = "BServersPublicKey";

/// The API over a node in memory.
#[derive(Debug)]
struct TestApi {
    router: Router,
    node: RunningNode,
    stop: CancellationToken,
    keys: ApiKeyService,
    /// The clock of the keys.
    clock: Arc<ManualClock>,
}

/// Makes a node in memory, the API of all its roles, and the clock of its keys.
fn parts() -> (HttpApi, RunningNode, Arc<ManualClock>) {
    let stores = memory::stores();
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let failures = Arc::new(SignInFailures::new(100));
    let keys = ApiKeyService::new(
        Arc::clone(&stores.api_key),
        Arc::clone(&clock) as _,
        Arc::clone(&failures),
    );
    let builtin = BuiltinBusiness::new(
        &stores,
        Arc::new(SystemClock),
        Arc::new(FixedCode::new("000000")),
        BuiltinConfig::default(),
    );
    let services = PushServices {
        apns_topics: vec!["com.example.chat".into()],
        has_fcm: true,
        webpush_key: Some(WEBPUSH_KEY.into()),
        webpush_hosts: vec!["push.example.net".into()],
        allow_private: false,
    };
    let pushes = PushRegistry::new(&stores, Arc::new(SystemClock), services);
    let node = NodeBuilder::new(stores, Arc::new(builtin.clone())).start();
    let service = node.service().clone();
    let accounts = AccountService::new(builtin.clone(), 100, Arc::clone(&failures))
        .with_directory(Some(service.directory().clone()))
        .with_fanout(Some(service.fanout().clone()))
        .with_push_registry(Some(pushes.clone()));
    let api = HttpApi {
        service: Some(service),
        gateway: Some(node.gateway().clone()),
        tokens: Some(TokenChecker::new(Arc::new(builtin), Arc::clone(&failures))),
        failures,
        accounts: Some(accounts),
        push: Some(pushes),
        files: Some(stored_files()),
        hooks: None,
        api_keys: ApiKeys::new([KEY]),
        keys: Some(keys),
        nodes: None,
        streams: StreamCounter::default(),
        stop: CancellationToken::new(),
    };
    (api, node, clock)
}

/// Makes files of at most 100,000 bytes in a temporary folder, 300,000 of a user in a day.
fn stored_files() -> ApiFiles {
    let rules = FileRules {
        max: 100_000,
        anonymous: false,
        bounds: UploadBounds {
            min_free: 0,
            each: 300_000,
        },
        thumbnail_side: 64,
    };
    ApiFiles {
        store: FileStore::new(UploadFolder::temporary(), rules),
        base: "http://files.example".into(),
    }
}

/// An answer: its status, and its content.
#[derive(Debug)]
struct TestAnswer {
    status: StatusCode,
    json: Value,
}

impl TestApi {
    fn start() -> Self {
        let (api, node, clock) = parts();
        let keys = api.keys.clone().unwrap();
        Self::of(api, node, clock, keys)
    }

    fn of(api: HttpApi, node: RunningNode, clock: Arc<ManualClock>, keys: ApiKeyService) -> Self {
        Self {
            stop: api.stop.clone(),
            router: crate::router(api),
            node,
            keys,
            clock,
        }
    }

    /// Creates a key with these scopes, and returns it.
    async fn key(&self, scopes: ApiScopes, lifetime: Option<Duration>) -> CreatedApiKey {
        let new = NewApiKey {
            name: "billing".into(),
            scopes,
            lifetime,
        };
        let created = self.keys.create(BackendIdentity::Operator, new).await;
        created.unwrap()
    }

    async fn raw(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn respond(
        &self,
        method: Method,
        path: &str,
        bearer: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if !bearer.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.raw(request.body(body).unwrap()).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        bearer: &str,
        body: Option<&Value>,
    ) -> TestAnswer {
        let response = self.respond(method, path, bearer, &[], body).await;
        TestAnswer::of(response).await
    }

    async fn get(&self, path: &str, bearer: &str) -> Value {
        self.call(Method::GET, path, bearer, None).await.ok()
    }

    async fn post(&self, path: &str, bearer: &str, body: Value) -> Value {
        self.call(Method::POST, path, bearer, Some(&body))
            .await
            .ok()
    }

    /// Signs a user in by this phone number.
    async fn sign_in(&self, phone: &str) -> TestUser {
        let body = json!({"phone_number": phone, "code": "000000"});
        let signed_in = self.post("/v1/sign-in", "", body).await;
        let text = |name: &str| signed_in[name].as_str().unwrap().to_owned();
        TestUser {
            id: text("user_id"),
            device: text("device_id"),
            token: text("token"),
        }
    }

    async fn send_text(&self, from: &TestUser, to: &TestUser, text: &str) -> Value {
        let content = json!({"type": "text", "text": text});
        let body = json!({"to_user": to.id, "content": content});
        self.post("/v1/messages", &from.token, body).await
    }

    async fn events(&self, path: &str, user: &TestUser, last: Option<&str>) -> EventReader {
        let headers = last.map(|id| ("Last-Event-ID", id));
        let headers: Vec<_> = headers.into_iter().collect();
        let response = self
            .respond(Method::GET, path, &user.token, &headers, None)
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        EventReader {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }
}

impl TestAnswer {
    async fn of(response: Response) -> Self {
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self { status, json }
    }

    #[track_caller]
    fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.json
    }

    #[track_caller]
    fn refused(self, status: u16, words: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        let detail = self.json["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
        assert!(self.json["code"].is_i64(), "{self:?}");
    }
}

/// A signed-in user.
#[derive(Clone, Debug)]
struct TestUser {
    id: String,
    device: String,
    token: String,
}

/// A stream of events.
struct EventReader {
    body: BodyDataStream,
    text: String,
}

/// One event.
#[derive(Debug, Default)]
struct ReceivedEvent {
    id: Option<String>,
    name: Option<String>,
    data: Value,
}

impl ReceivedEvent {
    fn text(&self) -> &str {
        self.data["message"]["content"]["text"].as_str().unwrap()
    }
}

impl EventReader {
    /// Returns the next event; `None` at the end of the stream. Comments are skipped.
    async fn next(&mut self) -> Option<ReceivedEvent> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = Self::event(block);
                self.text = rest.to_owned();
                match event {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let chunk = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    fn event(block: &str) -> Option<ReceivedEvent> {
        let mut event = ReceivedEvent::default();
        let mut has_data = false;
        for line in block.lines() {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "id" => event.id = Some(value.into()),
                "event" => event.name = Some(value.into()),
                "data" => {
                    event.data = serde_json::from_str(value).unwrap();
                    has_data = true;
                }
                "" | "retry" => {}
                other => panic!("an event has no field {other}"),
            }
        }
        has_data.then_some(event)
    }

    /// Returns the next entry's id and text.
    async fn entry(&mut self) -> (String, String) {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name.is_none() {
                let text = event.text().to_owned();
                assert_eq!(event.data["seq"].as_str(), event.id.as_deref());
                return (event.id.unwrap(), text);
            }
        }
    }

    /// Returns the next event of this name.
    async fn named(&mut self, name: &str) -> ReceivedEvent {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name.as_deref() == Some(name) {
                return event;
            }
        }
    }
}

#[test]
fn the_description_names_every_reference() {
    let document = crate::openapi();
    let text = document.to_string();
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once("#/components/schemas/") {
        let (name, after) = after.split_once('"').unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
        rest = after;
    }
    let ids = text.matches("\"operationId\"").count();
    assert_eq!(ids, crate::operations().len());
    for operation in crate::operations() {
        let path = format!("/v1{}", operation.path);
        let method = operation.method.as_str().to_lowercase();
        assert!(
            document["paths"][&path][&method].is_object(),
            "{operation:?}"
        );
    }
}
