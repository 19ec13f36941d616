//! The server under test, its users, and the kinds of callers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use gimlet_client::DeviceCredentials;
use gimlet_core::events::EventKind;
use gimlet_core::scope::{ApiScope, ApiScopes};
use gimlet_server::config::{SecretString, WebhookConfig, WebhookEvent};
use gimlet_server::{Config, Server};
use gimlet_tests::http_api::{ApiAnswer, ApiUser, call, post, sign_in};
use serde_json::{Value, json};

/// A key of the configuration.
pub(crate) const KEY: &str = "key-0123456789abcdef0123456789abcdef";
/// The secret of the internal listener.
pub(crate) const CLUSTER_SECRET: &str = "cluster-0123456789abcdef0123456789";
/// The webhook of the configuration.
pub(crate) const HOOK: &str = "crm";
/// The secret of JWTs.
const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A JWT of user 4000000 that expired in the year 2000.
const EXPIRED_JWT: &str = "4000000.7.eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJzdWIiOiI0MDAwMDAwIiwiYXVkIjoiZ2ltbGV0IiwiaWF0Ijo5NDY2ODQ4MDAsImV4cCI6OTQ2Njg4NDAwfQ.\
    -VGrfakPcvV3OpQglyRj9ss9xkBBNVA21dJJJHdNdfI";

/// Columns of users' tokens, in the order of the page.
pub(crate) const TOKEN_COLUMNS: [&str; 9] = [
    "no token",
    "wrong token",
    "expired",
    "revoked",
    "another's",
    "non-member",
    "removed",
    "member",
    "group admin",
];
/// Columns of API keys.
pub(crate) const KEY_COLUMNS: [&str; 2] = ["key without scope", "key with scope"];

/// A server in memory that knows tokens, JWTs and keys.
#[derive(Debug)]
pub(crate) struct TestedServer {
    server: Server,
    phones: AtomicU64,
}

impl TestedServer {
    pub(crate) async fn start() -> Self {
        let mut config = Config::embedded();
        config.http.api_keys = vec![SecretString::new(KEY)];
        config.auth.jwt_audience = Some("gimlet".into());
        config.auth.jwt_secrets = vec![SecretString::new(JWT_SECRET)];
        config.cluster.secret = Some(SecretString::new(CLUSTER_SECRET));
        // All callers, wrong ones included, are of one address.
        config.limits.node.failed_sign_ins = 1_000_000;
        config.webhooks = vec![WebhookConfig {
            name: Some(HOOK.into()),
            // Nothing listens there: a test of the hook is answered at once.
            url: Some("http://127.0.0.1:9/".into()),
            events: vec![WebhookEvent::Event(EventKind::FriendRequested)],
            secrets: vec![SecretString::new(
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            )],
            allow_private: true,
            ..WebhookConfig::default()
        }];
        let server = Server::start(config).await.expect("a server");
        Self {
            server,
            phones: AtomicU64::new(13_800_000_000),
        }
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.server.addrs().http.expect("a listener")
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        self.server.addrs().tcp.expect("a listener")
    }

    pub(crate) fn grpc(&self) -> SocketAddr {
        *self.server.addrs().grpc.first().expect("a listener")
    }

    pub(crate) fn internal(&self) -> SocketAddr {
        self.server.addrs().internal.expect("a listener")
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await.expect("a stop");
    }

    /// Returns a phone number that nobody has.
    pub(crate) fn phone(&self) -> String {
        self.phones.fetch_add(1, Ordering::Relaxed).to_string()
    }

    async fn user(&self) -> ApiUser {
        sign_in(self.http(), &self.phone()).await
    }

    /// Creates a key with these scopes; returns its answer.
    pub(crate) async fn key(&self, scopes: ApiScopes) -> Value {
        let scopes: Vec<_> = scopes.iter().map(ApiScope::name).collect();
        let body = json!({"name": "test", "scopes": scopes});
        post(self.http(), "/v1/keys", KEY, &body).await
    }
}

#[track_caller]
fn expect_success(answer: &ApiAnswer) {
    assert!((200..300).contains(&answer.status), "{answer:?}");
}

/// Returns the parts of a token: user, device, secret.
pub(crate) fn parts(token: &str) -> (&str, &str, &str) {
    let mut parts = token.splitn(3, '.');
    let mut part = || parts.next().expect("USER.DEVICE.TOKEN");
    (part(), part(), part())
}

/// The users of one cell, which no other cell changes: a group, and people in it and beside it.
#[derive(Clone, Debug)]
pub(crate) struct CellUsers {
    pub(crate) group: String,
    admin: ApiUser,
    member: ApiUser,
    removed: ApiUser,
    outsider: ApiUser,
    revoked: ApiUser,
    /// A member that calls are about.
    pub(crate) third: ApiUser,
    /// A user beside the group that calls are about.
    pub(crate) guest: ApiUser,
}

impl CellUsers {
    pub(crate) async fn new(server: &TestedServer) -> Self {
        let http = server.http();
        let admin = server.user().await;
        let (member, removed) = (server.user().await, server.user().await);
        let (outsider, revoked) = (server.user().await, server.user().await);
        let (third, guest) = (server.user().await, server.user().await);
        let ids = [&member, &removed, &third].map(|it| &it.id);
        let body = json!({"name": "group", "member_ids": ids});
        let created = post(http, "/v1/groups", &admin.token, &body).await;
        let group = created["group_id"].as_str().expect("an id").to_owned();
        let path = format!("/v1/groups/{group}/members/{}", removed.id);
        let gone = call(http, "DELETE", &path, &admin.token, &Value::Null).await;
        expect_success(&gone);
        let out = call(http, "POST", "/v1/sign-out", &revoked.token, &Value::Null).await;
        expect_success(&out);
        Self {
            group,
            admin,
            member,
            removed,
            outsider,
            revoked,
            third,
            guest,
        }
    }

    /// Returns the user that a caller is, or pretends to be.
    pub(crate) fn caller(&self, column: &str) -> &ApiUser {
        match column {
            "group admin" | "key without scope" | "key with scope" => &self.admin,
            "removed" => &self.removed,
            "non-member" => &self.outsider,
            "revoked" => &self.revoked,
            _ => &self.member,
        }
    }

    /// Returns the token that a caller presents.
    pub(crate) fn token(&self, column: &str) -> String {
        let (user, device, _) = parts(&self.member.token);
        match column {
            "no token" => String::new(),
            "wrong token" => format!("{user}.{device}.wrong"),
            "expired" => EXPIRED_JWT.to_owned(),
            "another's" => format!("{user}.{device}.{}", parts(&self.outsider.token).2),
            _ => self.caller(column).token.clone(),
        }
    }

    /// Returns the credentials that a caller presents on a socket.
    pub(crate) fn credentials(&self, column: &str) -> DeviceCredentials {
        let token = self.token(column);
        let (user_id, device_id, token) = parts(&token);
        DeviceCredentials {
            user_id: user_id.parse().expect("an id"),
            device_id: device_id.parse().expect("an id"),
            token: token.to_owned(),
        }
    }

    /// Uploads a file, and returns its id.
    pub(crate) async fn file(&self, server: &TestedServer) -> String {
        let text = json!("text");
        let path = "/v1/files?name=a.txt";
        let stored = post(server.http(), path, &self.guest.token, &text).await;
        stored["file_id"].as_str().expect("an id").to_owned()
    }

    /// Does what must have happened before the operation: `acceptFriend` needs a request, and
    /// `changeFriend` a friend.
    pub(crate) async fn prepare(&self, server: &TestedServer, operation: &str, caller: &ApiUser) {
        let http = server.http();
        let needs_friend = ["changeFriend", "SetFriend"].contains(&operation);
        if !needs_friend && !["acceptFriend", "AgreeAddFriend"].contains(&operation) {
            return;
        }
        let body = json!({"user_id": caller.id});
        let asked = call(http, "POST", "/v1/friends", &self.third.token, &body).await;
        expect_success(&asked);
        if needs_friend && caller.id != self.revoked.id {
            let path = format!("/v1/friends/{}/accept", self.third.id);
            let accepted = call(http, "POST", &path, &caller.token, &json!({})).await;
            expect_success(&accepted);
        }
    }
}
