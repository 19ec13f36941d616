//! The audit log: each change by a key has one line, and nothing else has any.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Mutex;

use gimlet_core::auth::AUDIT_TARGET;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};

use super::*;
use crate::audit::{AuditLine, AuditedRequest};
use crate::call::ApiCaller;
use crate::json::RequestFields;
use crate::operation::BodyKind;

/// Keeps the lines of the audit log.
#[derive(Clone, Debug, Default)]
struct CapturedLines(Arc<Mutex<Vec<String>>>);

impl CapturedLines {
    /// Keeps the lines of this thread until the guards are dropped. The second subscriber gets none: while
    /// there is only one, tracing asks the thread that is first at a line whether anybody wants it, and
    /// the threads of other tests have no subscriber.
    fn begin() -> (Self, (Dispatch, DefaultGuard)) {
        let second = Dispatch::new(Self::default());
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(lines.clone());
        (lines, (second, guard))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A line as text.
struct LineText(String);

impl Visit for LineText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for CapturedLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == AUDIT_TARGET
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = LineText(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn every_operation_that_a_key_may_change_something_with_has_one_line() {
    let (lines, _captured) = CapturedLines::begin();
    let api = TestApi::start();
    let user = api.sign_in("100").await;
    let mut seen = 0;
    for operation in crate::operations() {
        if operation.access.scope().is_none() {
            continue;
        }
        let path = format!("/v1{}", operation.path)
            .replace("{user_id}", &user.id)
            .replace("{device_id}", &user.device)
            .replace("{key_id}", "0000000000000001")
            .replace("{name}", "crm")
            .replace("{upload_id}", "none")
            .replace("{group_id}", "1")
            .replace("{room_id}", "1");
        let acting = [("Gimlet-User", user.id.as_str())];
        let headers = if operation.access.acts_for_users() {
            &acting[..]
        } else {
            &[]
        };
        let has_fields = operation.body == BodyKind::Fields && operation.has_body();
        let body = has_fields.then(|| json!({}));
        let method = operation.method.clone();
        let answer = api.respond(method, &path, KEY, headers, body.as_ref());
        let status = answer.await.status().as_u16();
        let lines = lines.take();
        if operation.method == Method::GET {
            assert_eq!(lines, Vec::<String>::new(), "{operation:?}");
            continue;
        }
        let [line] = lines.as_slice() else {
            panic!("{operation:?} has not one line: {lines:?}");
        };
        seen += 1;
        for part in [
            "key=http.api_keys ".to_owned(),
            format!("operation=\"{}\" ", operation.id),
            format!("path=\"{path}\" "),
            format!("status={status} "),
        ] {
            assert!(line.contains(&part), "{part} is missing: {line}");
        }
    }
    assert!(seen > 25, "only {seen} operations were called");
}

#[tokio::test(start_paused = true)]
async fn a_line_names_the_key_the_user_and_the_outcome() {
    let (lines, _captured) = CapturedLines::begin();
    let api = TestApi::start();
    let user = api.sign_in("100").await;
    let created = api.key(ApiScopes::ADMIN, None).await;
    let path = format!("/v1/users/{}/tokens/{}", user.id, user.device);
    api.call(Method::DELETE, &path, &created.secret, None).await;
    let line = lines.take().concat();
    for part in [
        "INFO ".to_owned(),
        format!("key=key {} ", created.key.id),
        "operation=\"revokeToken\" ".to_owned(),
        format!("user=\"{}\" ", user.id),
        format!("device=\"{}\" ", user.device),
        "status=204 ".to_owned(),
    ] {
        assert!(line.contains(&part), "{part} is missing: {line}");
    }
    assert!(!line.contains(&created.secret), "{line}");
    // A device in the body is named as well, and the reason is not: it may be about a person.
    let path = format!("/v1/users/{}/disconnect", user.id);
    let body = json!({"device_id": user.device, "reason": "a secret"});
    api.call(Method::POST, &path, KEY, Some(&body)).await;
    let line = lines.take().concat();
    assert!(line.contains(&format!("device=\"{}\" ", user.device)));
    assert!(!line.contains("secret"), "{line}");
    // Content is logged at DEBUG.
    let content = json!({"type": "text", "text": "a secret"});
    let body = json!({"to_user": user.id, "content": content});
    api.call(Method::POST, "/v1/messages", KEY, Some(&body))
        .await;
    let line = lines.take().concat();
    assert!(
        line.starts_with("DEBUG ") && !line.contains("secret"),
        "{line}"
    );
    // Neither users nor strangers change anything as a backend.
    api.call(Method::POST, "/v1/sign-out", &user.token, None)
        .await;
    api.call(Method::DELETE, &path, "wrong", None).await;
    assert_eq!(lines.take(), Vec::<String>::new());
}

#[test]
fn a_change_whose_caller_has_left_has_a_line_without_a_status() {
    let (lines, _captured) = CapturedLines::begin();
    let begin = || {
        AuditLine::begin(AuditedRequest {
            operation: "banUser",
            method: &Method::PUT,
            scope: Some(ApiScope::UsersWrite),
            path: "/users/7/ban",
            caller: &ApiCaller::Backend {
                identity: BackendIdentity::ConfiguredKey,
                user: UserId::new(7),
            },
            client: None,
            fields: &RequestFields::default(),
        })
    };
    drop(begin());
    let line = lines.take().concat();
    let names = ["operation=\"banUser\" ", "user=\"7\" "];
    assert!(names.iter().all(|name| line.contains(name)), "{line}");
    assert!(!line.contains("status"), "{line}");
    begin().unwrap().end(StatusCode::NO_CONTENT);
    assert!(lines.take().concat().contains("status=204 "));
}
