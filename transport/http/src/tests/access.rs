//! Each operation × each kind of caller: an operation without a row fails.

use std::collections::BTreeMap;

use super::forward::NodeOfCluster;
use super::*;
use crate::operation::{ApiOperation, OperationAccess};

/// The right access of each operation, apart from the code on purpose: a change has to be made twice.
const ACCESS: &[(&str, OperationAccess)] = &[
    (
        "acceptFriend",
        OperationAccess::User(ApiScope::FriendsWrite),
    ),
    ("ackInbox", OperationAccess::Device),
    ("addMembers", OperationAccess::User(ApiScope::GroupsWrite)),
    ("banUser", OperationAccess::Backend(ApiScope::UsersWrite)),
    (
        "broadcast",
        OperationAccess::Backend(ApiScope::BroadcastsSend),
    ),
    (
        "changeFriend",
        OperationAccess::User(ApiScope::FriendsWrite),
    ),
    ("changeGroup", OperationAccess::User(ApiScope::GroupsWrite)),
    ("changeMe", OperationAccess::User(ApiScope::UsersWrite)),
    ("changeMember", OperationAccess::User(ApiScope::GroupsWrite)),
    (
        "changeMembers",
        OperationAccess::Backend(ApiScope::GroupsWrite),
    ),
    ("completeFile", OperationAccess::User(ApiScope::FilesWrite)),
    ("createKey", OperationAccess::Backend(ApiScope::Admin)),
    ("createGroup", OperationAccess::User(ApiScope::GroupsWrite)),
    ("createUser", OperationAccess::Backend(ApiScope::UsersWrite)),
    (
        "disconnectUser",
        OperationAccess::Backend(ApiScope::DevicesWrite),
    ),
    (
        "dropDeadLetters",
        OperationAccess::Backend(ApiScope::WebhooksWrite),
    ),
    ("followInbox", OperationAccess::Connection),
    ("getBan", OperationAccess::Backend(ApiScope::UsersRead)),
    ("getDevice", OperationAccess::Backend(ApiScope::DevicesRead)),
    ("getFile", OperationAccess::Open),
    ("getGroup", OperationAccess::User(ApiScope::GroupsRead)),
    (
        "getInboxState",
        OperationAccess::Backend(ApiScope::DevicesRead),
    ),
    ("getKey", OperationAccess::Backend(ApiScope::Admin)),
    ("getMe", OperationAccess::User(ApiScope::UsersRead)),
    (
        "getStatistics",
        OperationAccess::Backend(ApiScope::StatsRead),
    ),
    ("getUser", OperationAccess::Backend(ApiScope::UsersRead)),
    ("getWebPushKey", OperationAccess::Open),
    (
        "importGroups",
        OperationAccess::Backend(ApiScope::GroupsWrite),
    ),
    (
        "importUsers",
        OperationAccess::Backend(ApiScope::UsersWrite),
    ),
    (
        "issueToken",
        OperationAccess::Backend(ApiScope::TokensWrite),
    ),
    (
        "issueTokens",
        OperationAccess::Backend(ApiScope::TokensWrite),
    ),
    ("liftBan", OperationAccess::Backend(ApiScope::UsersWrite)),
    (
        "listConnections",
        OperationAccess::Backend(ApiScope::DevicesRead),
    ),
    (
        "listDeadLetters",
        OperationAccess::Backend(ApiScope::WebhooksRead),
    ),
    ("listFriends", OperationAccess::User(ApiScope::FriendsRead)),
    ("listGroups", OperationAccess::User(ApiScope::GroupsRead)),
    ("listKeys", OperationAccess::Backend(ApiScope::Admin)),
    ("listMembers", OperationAccess::User(ApiScope::GroupsRead)),
    ("listNodes", OperationAccess::Backend(ApiScope::StatsRead)),
    (
        "listWebhooks",
        OperationAccess::Backend(ApiScope::WebhooksRead),
    ),
    ("presignFile", OperationAccess::User(ApiScope::FilesWrite)),
    (
        "publishToRoom",
        OperationAccess::UserOrBackend(ApiScope::RoomsWrite),
    ),
    ("readInbox", OperationAccess::User(ApiScope::MessagesRead)),
    ("registerDevice", OperationAccess::Open),
    (
        "registerPush",
        OperationAccess::User(ApiScope::DevicesWrite),
    ),
    ("removeMember", OperationAccess::User(ApiScope::GroupsWrite)),
    (
        "removeMembers",
        OperationAccess::User(ApiScope::GroupsWrite),
    ),
    ("removePush", OperationAccess::User(ApiScope::DevicesWrite)),
    (
        "replayDeadLetters",
        OperationAccess::Backend(ApiScope::WebhooksWrite),
    ),
    (
        "requestFriend",
        OperationAccess::User(ApiScope::FriendsWrite),
    ),
    ("revokeJwts", OperationAccess::Backend(ApiScope::Admin)),
    ("revokeKey", OperationAccess::Backend(ApiScope::Admin)),
    (
        "revokeToken",
        OperationAccess::Backend(ApiScope::TokensWrite),
    ),
    ("rotateKey", OperationAccess::Backend(ApiScope::Admin)),
    ("searchUsers", OperationAccess::User(ApiScope::UsersRead)),
    (
        "sendMessage",
        OperationAccess::UserOrBackend(ApiScope::MessagesSend),
    ),
    ("signIn", OperationAccess::Open),
    ("signOut", OperationAccess::Device),
    (
        "testWebhook",
        OperationAccess::Backend(ApiScope::WebhooksWrite),
    ),
    ("uploadFile", OperationAccess::User(ApiScope::FilesWrite)),
];

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallerKind {
    Nobody,
    WrongToken,
    AnotherUsersToken,
    RevokedToken,
    NearlyAKey,
    User,
    Backend,
    BackendForUser,
    UnknownKey,
    ExpiredKey,
    RevokedKey,
    KeyWithoutScope,
    KeyWithScope,
}

const KINDS: [CallerKind; 13] = [
    CallerKind::Nobody,
    CallerKind::WrongToken,
    CallerKind::AnotherUsersToken,
    CallerKind::RevokedToken,
    CallerKind::NearlyAKey,
    CallerKind::User,
    CallerKind::Backend,
    CallerKind::BackendForUser,
    CallerKind::UnknownKey,
    CallerKind::ExpiredKey,
    CallerKind::RevokedKey,
    CallerKind::KeyWithoutScope,
    CallerKind::KeyWithScope,
];

/// Returns whether the caller gets past the credentials.
fn may(access: OperationAccess, kind: CallerKind) -> bool {
    match kind {
        CallerKind::Nobody
        | CallerKind::WrongToken
        | CallerKind::AnotherUsersToken
        | CallerKind::RevokedToken
        | CallerKind::NearlyAKey
        | CallerKind::UnknownKey
        | CallerKind::ExpiredKey
        | CallerKind::RevokedKey
        | CallerKind::KeyWithoutScope => access == OperationAccess::Open,
        CallerKind::User => !matches!(access, OperationAccess::Backend(_)),
        CallerKind::Backend | CallerKind::BackendForUser | CallerKind::KeyWithScope => {
            ![OperationAccess::Device, OperationAccess::Connection].contains(&access)
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_for_its_callers_and_nobody_else() {
    check_access(&TestApi::start(), true).await;
}

/// A node that passes requests on grants the same rights.
#[tokio::test(start_paused = true)]
async fn every_operation_is_for_its_callers_at_a_node_without_the_role_too() {
    for node in NodeOfCluster::ALL {
        let has_streams = node == NodeOfCluster::Connect;
        check_access(&TestApi::of_cluster(node), has_streams).await;
    }
}

/// Returns all scopes but `admin` and those that allow what needs `scope`.
fn all_but(scope: ApiScope) -> ApiScopes {
    let others = ApiScope::ALL.iter().copied().filter(|it| {
        let alone: ApiScopes = [*it].into_iter().collect();
        !alone.allow(scope)
    });
    others.collect()
}

/// The keys of one operation.
struct OperationKeys {
    unknown: String,
    expired: String,
    revoked: String,
    without: String,
    with: String,
}

impl OperationKeys {
    async fn of(api: &TestApi, scope: ApiScope) -> Self {
        let only = [scope].into_iter().collect();
        let hour = Duration::from_hours(1);
        let expired = api.key(only, Some(hour)).await.secret;
        api.clock.advance(hour);
        let revoked = api.key(only, None).await;
        let gone = api.keys.revoke(BackendIdentity::Operator, revoked.key.id);
        gone.await.unwrap();
        let with = api.key(only, None).await.secret;
        Self {
            // Keys have hexadecimal digits only.
            unknown: format!("{}x", &with[..with.len() - 1]),
            expired,
            revoked: revoked.secret,
            without: api.key(all_but(scope), None).await.secret,
            with,
        }
    }
}

/// `has_streams` is false for a node without the connect role, which opens no stream for anybody.
async fn check_access(api: &TestApi, has_streams: bool) {
    let (alice, bob) = (api.sign_in("100").await, api.sign_in("200").await);
    let gone = api.sign_in("300").await;
    api.call(Method::POST, "/v1/sign-out", &gone.token, None)
        .await;
    let access: BTreeMap<_, _> = ACCESS.iter().copied().collect();
    let operations = crate::operations();
    assert_eq!(operations.len(), access.len(), "each operation has one row");
    let secret = alice.token.rsplit('.').next().unwrap();
    for operation in &operations {
        let access = access[operation.id];
        if access == OperationAccess::Connection && !has_streams {
            continue;
        }
        let scope = access.scope().unwrap_or(ApiScope::Admin);
        let keys = OperationKeys::of(api, scope).await;
        for kind in KINDS {
            // A fresh one each time: a sign-out ends it.
            let user = api.sign_in("100").await;
            let wrong = format!("{}.{}.wrong", user.id, user.device);
            let foreign = format!("{}.{}.{secret}", bob.id, bob.device);
            let nearly = KEY.replace("key", "kez");
            let bearer = match kind {
                CallerKind::Nobody => "",
                CallerKind::WrongToken => &wrong,
                CallerKind::AnotherUsersToken => &foreign,
                CallerKind::RevokedToken => &gone.token,
                CallerKind::NearlyAKey => &nearly,
                CallerKind::User => &user.token,
                CallerKind::Backend | CallerKind::BackendForUser => KEY,
                CallerKind::UnknownKey => &keys.unknown,
                CallerKind::ExpiredKey => &keys.expired,
                CallerKind::RevokedKey => &keys.revoked,
                CallerKind::KeyWithoutScope => &keys.without,
                CallerKind::KeyWithScope => &keys.with,
            };
            let acting = [("Gimlet-User", user.id.as_str())];
            let headers = if kind == CallerKind::BackendForUser {
                &acting[..]
            } else {
                &[]
            };
            let path = format!("/v1{}", operation.path)
                .replace("{user_id}", &user.id)
                .replace("{device_id}", &user.device)
                .replace("{group_id}", "1")
                .replace("{room_id}", "1")
                .replace("{key_id}", "0000000000000001")
                .replace("{file_id}", "none.png")
                .replace("{upload_id}", "none")
                .replace("{name}", "crm");
            let method = operation.method.clone();
            let response = api.respond(method, &path, bearer, headers, None).await;
            let status = response.status();
            // An answer without an end is not a refusal.
            let code = if status.is_success() {
                Value::Null
            } else {
                TestAnswer::of(response).await.json
            };
            let allowed = ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
                || is_refused_by_the_group(status, &code);
            check_key_refusal(operation, kind, status, &code);
            assert_eq!(
                allowed,
                may(access, kind),
                "{operation:?} {kind:?}: {status}"
            );
            let needs_user = matches!(access, OperationAccess::User(_));
            if [CallerKind::Backend, CallerKind::KeyWithScope].contains(&kind) && needs_user {
                assert_eq!(
                    status,
                    StatusCode::BAD_REQUEST,
                    "{operation:?} needs Gimlet-User"
                );
            }
        }
    }
}

/// Returns whether the service refused: the caller passed, and is no member of the group.
fn is_refused_by_the_group(status: StatusCode, problem: &Value) -> bool {
    status == StatusCode::FORBIDDEN && problem["code"] == 10_011
}

/// Checks the status and the words with which a key is refused.
fn check_key_refusal(
    operation: &ApiOperation,
    kind: CallerKind,
    status: StatusCode,
    problem: &Value,
) {
    let Some(scope) = operation.access.scope() else {
        return;
    };
    let (wanted, words) = match kind {
        CallerKind::UnknownKey => (401, "the API key is unknown".to_owned()),
        CallerKind::ExpiredKey => (401, "the API key has expired".to_owned()),
        CallerKind::RevokedKey => (401, "the API key was revoked".to_owned()),
        CallerKind::KeyWithoutScope => {
            let has = all_but(scope).list();
            (
                403,
                format!("does not have the scope {scope}, it has {has}: use"),
            )
        }
        _ => return,
    };
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert_eq!(status.as_u16(), wanted, "{operation:?} {kind:?}");
    assert!(detail.contains(&words), "{operation:?} {kind:?}: {detail}");
}
