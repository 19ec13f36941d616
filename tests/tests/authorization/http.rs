//! The operations of the HTTP API, called by every kind of caller.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gimlet_core::scope::{ApiScope, ApiScopes};
use gimlet_tests::waiting::soon;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::callers::{CellUsers, HOOK, KEY_COLUMNS, TOKEN_COLUMNS, TestedServer, parts};
use crate::table::{AccessTable, WrongCell, outcome_of_code};

/// Operations that this server refuses to everybody with 501, behind the check of rights: it has no
/// push service, and takes files itself.
const UNSUPPORTED: [&str; 5] = [
    "completeFile",
    "getWebPushKey",
    "presignFile",
    "registerPush",
    "removePush",
];

/// An operation, as docs/openapi.json describes it.
#[derive(Clone, Debug)]
struct DescribedOperation {
    method: String,
    path: String,
    /// The scope that a key needs.
    scope: Option<ApiScope>,
}

fn described() -> BTreeMap<String, DescribedOperation> {
    let document: Value =
        serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("JSON");
    let mut operations = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let schemes = operation["security"].as_array().expect("security");
            let scope = schemes.iter().find_map(|it| it["apiKey"][0].as_str());
            let described = DescribedOperation {
                method: method.to_uppercase(),
                path: path.clone(),
                scope: scope.map(|name| ApiScope::named(name).expect("a scope")),
            };
            let id = operation["operationId"].as_str().expect("an id");
            operations.insert(id.to_owned(), described);
        }
    }
    operations
}

/// Returns the names of the operations.
pub(crate) fn operations() -> Vec<String> {
    described().into_keys().collect()
}

/// Returns the body of a valid request, and what follows the path.
fn request(row: &str, server: &TestedServer, users: &CellUsers) -> (Value, &'static str) {
    let (third, guest) = (&users.third, &users.guest);
    let content = json!({"type": "text", "text": "hi"});
    let body = match row {
        "addMembers" => json!({"user_ids": [guest.id]}),
        "ackInbox" => json!({"seq": "0"}),
        "banUser" | "disconnectUser" => json!({"reason": "test"}),
        "broadcast" | "publishToRoom" => json!({"content": content}),
        "changeFriend" | "changeMember" => json!({"remarks": "x"}),
        "changeGroup" => json!({"name": "x"}),
        "changeMe" => json!({"nickname": "x"}),
        "changeMembers" => json!({"changes": [
            {"group_id": users.group, "operator_id": third.id, "add": [guest.id]},
        ]}),
        "completeFile" => json!({"name": "a.txt"}),
        "createGroup" => json!({"name": "x", "member_ids": [guest.id]}),
        "createKey" => json!({"name": "x", "scopes": ["stats:read"]}),
        "createUser" => json!({"phone_number": server.phone()}),
        "importGroups" => json!({"groups": [{"owner_id": third.id, "name": "x"}]}),
        "importUsers" => json!({"users": [{"phone_number": server.phone()}]}),
        "issueTokens" => json!({"tokens": [{"user_id": third.id}]}),
        "presignFile" => json!({"size": "4"}),
        "registerPush" => json!({"provider": "fcm", "token": "x"}),
        "removeMembers" => json!({"user_ids": [third.id]}),
        "requestFriend" => json!({"user_id": guest.id}),
        "revokeJwts" => json!({"issued_before": 1}),
        "sendMessage (to a user)" => json!({"to_user": guest.id, "content": content}),
        "sendMessage (to a group)" => json!({"to_group": users.group, "content": content}),
        "signIn" => json!({"phone_number": server.phone(), "code": "000000"}),
        "searchUsers" => return (Value::Null, "?key=x"),
        // The name makes it a text, whatever its content is.
        "uploadFile" => return (json!("text"), "?name=a.txt"),
        _ => Value::Null,
    };
    (body, "")
}

/// The keys of one operation: without its scope, and with it alone.
struct OperationKeys([String; 2]);

impl OperationKeys {
    async fn new(server: &TestedServer, scope: Option<ApiScope>) -> Self {
        let scope = scope.unwrap_or(ApiScope::Admin);
        let without = ApiScope::ALL.iter().copied().filter(|it| {
            let alone: ApiScopes = [*it].into_iter().collect();
            !alone.allow(scope)
        });
        let sets: [ApiScopes; 2] = [without.collect(), [scope].into_iter().collect()];
        let mut keys = [String::new(), String::new()];
        for (key, set) in keys.iter_mut().zip(sets) {
            let created = server.key(set).await;
            created["key"].as_str().expect("a key").clone_into(key);
        }
        Self(keys)
    }
}

/// Calls each operation of the table as each kind of caller; returns the wrong cells.
pub(crate) async fn wrong_cells(server: &TestedServer, table: &AccessTable) -> Vec<WrongCell> {
    let described = described();
    let mut wrong = Vec::new();
    for row in table.rows.keys() {
        let operation = &described[AccessTable::operation(row)];
        let keys = OperationKeys::new(server, operation.scope).await;
        for column in TOKEN_COLUMNS.iter().chain(&KEY_COLUMNS) {
            let outcome = outcome(server, row, operation, column, &keys).await;
            wrong.extend(table.compare(row, column, &outcome));
        }
    }
    wrong
}

async fn outcome(
    server: &TestedServer,
    row: &str,
    operation: &DescribedOperation,
    column: &str,
    OperationKeys(keys): &OperationKeys,
) -> String {
    let users = CellUsers::new(server).await;
    let caller = users.caller(column);
    users
        .prepare(server, AccessTable::operation(row), caller)
        .await;
    let at = KEY_COLUMNS.iter().position(|it| *it == column);
    let bearer = at.map_or_else(|| users.token(column), |at| keys[at].clone());
    // An address of push is set by its own device.
    let device = if operation.path.ends_with("/push") {
        parts(&caller.token).1
    } else {
        parts(&users.third.token).1
    };
    let mut path = operation.path.clone();
    if path.contains("{key_id}") {
        let key = server
            .key([ApiScope::StatsRead].into_iter().collect())
            .await;
        path = path.replace("{key_id}", key["key_id"].as_str().expect("an id"));
    }
    if path.contains("{file_id}") {
        path = path.replace("{file_id}", &users.file(server).await);
    }
    let (body, query) = request(row, server, &users);
    let path = path
        .replace("{user_id}", &users.third.id)
        .replace("{device_id}", device)
        .replace("{group_id}", &users.group)
        .replace("{room_id}", "1")
        .replace("{upload_id}", "none")
        .replace("{name}", HOOK);
    let target = format!("{} {path}{query}", operation.method);
    let acts_for = at.map(|_| caller.id.as_str());
    let (status, problem) = answer(server, &target, &bearer, acts_for, &body).await;
    let code = problem["code"].as_i64().unwrap_or(0);
    if problem["type"] == "urn:gimlet:missing-scope" {
        assert_eq!((status, code), (403, 7), "{target}");
        return "403 scope".to_owned();
    }
    let refused = outcome_of_code(code);
    // An unsupported operation is answered the same way to everybody who may call it.
    let is_unsupported = status == 501 && UNSUPPORTED.contains(&row);
    match (status, refused) {
        (401, Some("401")) | (403, Some("403" | "403 member")) => {
            if column == "expired" {
                assert_expired(&target, &problem);
            }
            refused.unwrap_or_default().to_owned()
        }
        _ if (200..300).contains(&status) || is_unsupported => "yes".to_owned(),
        _ => format!("{target} is answered {status}: {problem}"),
    }
}

/// The expired token is refused for its age, where it is looked at.
fn assert_expired(target: &str, problem: &Value) {
    let detail = problem["detail"].as_str().unwrap_or_default();
    let for_backends = detail.contains("for backends");
    assert!(
        for_backends || detail.contains("has expired"),
        "{target}: {detail}"
    );
}

/// Returns the status of an answer, and the content of a refusal.
async fn answer(
    server: &TestedServer,
    target: &str,
    bearer: &str,
    acts_for: Option<&str>,
    body: &Value,
) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut request = format!("{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if !bearer.is_empty() {
        let _ = write!(request, "Authorization: Bearer {bearer}\r\n");
    }
    if let Some(user) = acts_for {
        let _ = write!(request, "Gimlet-User: {user}\r\n");
    }
    if !body.is_empty() {
        let length = body.len();
        let _ = write!(
            request,
            "Content-Type: application/json\r\nContent-Length: {length}\r\n"
        );
    }
    let request = format!("{request}\r\n{body}");
    let answered = soon(target, async {
        let mut stream = BufReader::new(TcpStream::connect(server.http()).await?);
        stream.get_mut().write_all(request.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let mut content = String::new();
        // A success may be a stream without an end.
        if !line.starts_with("HTTP/1.1 2") {
            stream.read_to_string(&mut content).await?;
        }
        std::io::Result::Ok((line, content))
    });
    let (line, content) = answered.await.expect("an answer");
    let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
    let problem = content.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let problem = serde_json::from_str(problem).unwrap_or(Value::Null);
    (status.expect("a status"), problem)
}
