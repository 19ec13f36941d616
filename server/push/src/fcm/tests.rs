//! Meanings of the answers of FCM, and files of service accounts.

use super::*;

fn answer(status: u16, body: &Value) -> OutboundResponse {
    OutboundResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.to_string().into(),
    }
}

fn error(code: &str) -> Value {
    json!({"error": {"details": [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code},
    ]}})
}

#[test]
fn each_answer_has_its_meaning() {
    let means = |status, body: Value| super::outcome(&answer(status, &body));
    assert_eq!(means(200, json!({"name": "n"})), SendOutcome::Sent);
    assert_eq!(means(404, error("UNREGISTERED")), SendOutcome::Gone);
    assert_eq!(means(403, error("SENDER_ID_MISMATCH")), SendOutcome::Gone);
    let violated = |field: &str| {
        json!({"error": {"details": [
            {"errorCode": "INVALID_ARGUMENT"},
            {"fieldViolations": [{"field": field}]},
        ]}})
    };
    assert_eq!(means(400, violated("message.token")), SendOutcome::Gone);
    let rejected = means(400, violated("message.data[0].value"));
    assert!(matches!(rejected, SendOutcome::Rejected(_)), "{rejected:?}");
    for (status, body) in [
        // A project that does not exist must not end every registration.
        (404, json!({"error": {"status": "NOT_FOUND"}})),
        (403, json!({"error": {"status": "PERMISSION_DENIED"}})),
        (429, error("QUOTA_EXCEEDED")),
        (500, error("INTERNAL")),
        (503, error("UNAVAILABLE")),
        (503, json!("<html>")),
    ] {
        let outcome = means(status, body.clone());
        assert!(matches!(outcome, SendOutcome::Failed { .. }), "{body}");
    }
}

#[test]
fn a_file_that_is_not_a_service_account_is_refused_by_what_it_lacks() {
    for (file, words) in [
        (json!("text"), "Firebase console"),
        (json!({"type": "authorized_user"}), "Firebase console"),
        (json!({"type": "service_account"}), "project_id"),
        (
            json!({"type": "service_account", "project_id": "../x"}),
            "not the id of a project",
        ),
        (
            json!({"type": "service_account", "project_id": "p"}),
            "token_uri",
        ),
        (
            json!({"type": "service_account", "project_id": "p", "token_uri": "x",
                "private_key_id": "i", "private_key": "k"}),
            "PEM file",
        ),
    ] {
        let refused = ServiceAccount::parse(file.to_string().as_bytes()).unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    }
    let not_json = ServiceAccount::parse(b"-----BEGIN").unwrap_err();
    assert_eq!(not_json, ServiceAccountError::Malformed);
}
