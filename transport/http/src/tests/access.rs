//! Each operation × each kind of caller: an operation without a row fails.

use std::collections::BTreeMap;

use super::forward::NodeOfCluster;
use super::*;
use crate::operation::OperationAccess;

/// The right access of each operation, apart from the code on purpose: a change has to be made twice.
const ACCESS: &[(&str, OperationAccess)] = &[
    ("acceptFriend", OperationAccess::User),
    ("ackInbox", OperationAccess::Device),
    ("addMembers", OperationAccess::User),
    ("banUser", OperationAccess::Backend),
    ("broadcast", OperationAccess::Backend),
    ("changeFriend", OperationAccess::User),
    ("changeGroup", OperationAccess::User),
    ("changeMe", OperationAccess::User),
    ("changeMember", OperationAccess::User),
    ("createGroup", OperationAccess::User),
    ("createUser", OperationAccess::Backend),
    ("disconnectUser", OperationAccess::Backend),
    ("dropDeadLetters", OperationAccess::Backend),
    ("followInbox", OperationAccess::Connection),
    ("getBan", OperationAccess::Backend),
    ("getDevice", OperationAccess::Backend),
    ("getGroup", OperationAccess::User),
    ("getMe", OperationAccess::User),
    ("getStatistics", OperationAccess::Backend),
    ("getUser", OperationAccess::Backend),
    ("getWebPushKey", OperationAccess::Open),
    ("importUsers", OperationAccess::Backend),
    ("issueToken", OperationAccess::Backend),
    ("liftBan", OperationAccess::Backend),
    ("listConnections", OperationAccess::Backend),
    ("listDeadLetters", OperationAccess::Backend),
    ("listFriends", OperationAccess::User),
    ("listGroups", OperationAccess::User),
    ("listMembers", OperationAccess::User),
    ("listWebhooks", OperationAccess::Backend),
    ("publishToRoom", OperationAccess::UserOrBackend),
    ("readInbox", OperationAccess::User),
    ("registerDevice", OperationAccess::Open),
    ("registerPush", OperationAccess::User),
    ("removeMember", OperationAccess::User),
    ("removeMembers", OperationAccess::User),
    ("removePush", OperationAccess::User),
    ("replayDeadLetters", OperationAccess::Backend),
    ("requestFriend", OperationAccess::User),
    ("revokeToken", OperationAccess::Backend),
    ("searchUsers", OperationAccess::User),
    ("sendMessage", OperationAccess::UserOrBackend),
    ("signIn", OperationAccess::Open),
    ("signOut", OperationAccess::Device),
    ("testWebhook", OperationAccess::Backend),
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
}

const KINDS: [CallerKind; 8] = [
    CallerKind::Nobody,
    CallerKind::WrongToken,
    CallerKind::AnotherUsersToken,
    CallerKind::RevokedToken,
    CallerKind::NearlyAKey,
    CallerKind::User,
    CallerKind::Backend,
    CallerKind::BackendForUser,
];

/// Returns whether the caller gets past the credentials.
fn may(access: OperationAccess, kind: CallerKind) -> bool {
    match kind {
        CallerKind::Nobody
        | CallerKind::WrongToken
        | CallerKind::AnotherUsersToken
        | CallerKind::RevokedToken
        | CallerKind::NearlyAKey => access == OperationAccess::Open,
        CallerKind::User => access != OperationAccess::Backend,
        CallerKind::Backend | CallerKind::BackendForUser => {
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
                .replace("{name}", "crm");
            let method = operation.method.clone();
            let response = api.respond(method, &path, bearer, headers, None).await;
            let status = response.status();
            let allowed = ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
                || is_refused_by_the_group(response).await;
            assert_eq!(
                allowed,
                may(access, kind),
                "{operation:?} {kind:?}: {status}"
            );
            if kind == CallerKind::Backend && access == OperationAccess::User {
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
async fn is_refused_by_the_group(response: Response) -> bool {
    if response.status() != StatusCode::FORBIDDEN {
        return false;
    }
    TestAnswer::of(response).await.json["code"] == 10_011
}
