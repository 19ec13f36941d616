//! The adapters over sockets: every kind of bad target, and the signature.
#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::before_send::{HookFailureMode, SendQuestion};
use gimlet_core::error::RequestRefusal;
use gimlet_core::events::{EventKind, HookName, MessageFilter};
use gimlet_core::hook_delivery::{
    DeliveryOutcome, HookDefinition, HookNotification, NotificationBody,
};
use gimlet_core::id::UserId;
use gimlet_core::message::{MessageContent, MessageReceiver, MessageSender};
use gimlet_core::time::{ManualClock, UnixTimestamp};
use gimlet_kit::http_target::{HttpTarget, TargetAnswer};
use gimlet_outbound::signature::{SigningSecret, WebhookSigner};
use gimlet_webhooks::{BeforeSendSettings, HookConnection, OutboundPolicy, WebhookSettings};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW_MS: i64 = 1_700_000_000_000;

fn connection(url: &str) -> HookConnection {
    HookConnection {
        name: HookName::new("crm").unwrap(),
        url: url.to_owned(),
        secrets: vec![SECRET.into()],
        allow_private: true,
        timeout: Duration::from_millis(500),
        concurrency: 2,
    }
}

fn webhook(connection: HookConnection) -> HookDefinition {
    let settings = WebhookSettings {
        connection,
        events: BTreeSet::from([EventKind::UserOnline]),
        messages: MessageFilter::ALL,
        batch: 10,
        retry_for: Duration::from_hours(1),
    };
    let clock = Arc::new(ManualClock::at(UnixTimestamp(NOW_MS)));
    settings.open(&OutboundPolicy::default(), clock).unwrap()
}

fn online(id: u64) -> HookNotification {
    HookNotification {
        id: format!("id-{id}"),
        at: UnixTimestamp(NOW_MS),
        body: NotificationBody::UserOnline(UserId::new(id).unwrap()),
    }
}

async fn attempt(url: &str) -> DeliveryOutcome {
    webhook(connection(url))
        .endpoint
        .deliver(&[online(7)])
        .await
}

#[tokio::test]
async fn a_request_is_signed_json_with_the_id_of_its_event() {
    let target = HttpTarget::start().await;
    assert_eq!(attempt(&target.url()).await, DeliveryOutcome::Delivered);
    let request = target.requests().remove(0);
    assert_eq!(request.path, "/hook");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-id"), "id-7");
    assert_eq!(request.header("webhook-timestamp"), "1700000000");
    assert_eq!(
        request.text(),
        r#"{"events":[{"id":"id-7","type":"user.online","time":"2023-11-14T22:13:20.000Z","data":{"user_id":"7"}}]}"#
    );
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = request.header(name).parse().unwrap();
        headers.insert(http::HeaderName::from_static(name), value);
    }
    let secret: SigningSecret = SECRET.parse().unwrap();
    let signer = WebhookSigner::new([secret]);
    assert_eq!(
        signer.verify(&headers, &request.body, 1_700_000_000, 300),
        Ok(())
    );
}

#[tokio::test]
async fn every_bad_target_has_its_outcome() {
    let target = HttpTarget::start().await;
    let is_failed = |outcome: &DeliveryOutcome| matches!(outcome, DeliveryOutcome::Failed(_));
    for answer in [
        TargetAnswer::Status(500, "oops".into()),
        TargetAnswer::Hang,
        TargetAnswer::Endless,
        TargetAnswer::Status(200, "x".repeat(1 << 20)),
        TargetAnswer::Close,
    ] {
        target.answer(answer.clone());
        let outcome = attempt(&target.url()).await;
        assert!(is_failed(&outcome), "{outcome:?}");
    }
    let elsewhere = HttpTarget::start().await;
    let moved = format!("Location: {}", elsewhere.url());
    target.answer(TargetAnswer::Header(308, moved));
    let outcome = attempt(&target.url()).await;
    let DeliveryOutcome::Unreachable { error, .. } = outcome else {
        panic!("a redirect is not followed: {outcome:?}");
    };
    assert!(error.contains("308"), "{error}");
    assert!(elsewhere.requests().is_empty());
    target.answer(TargetAnswer::Header(429, "Retry-After: 9".into()));
    let busy = attempt(&target.url()).await;
    assert!(
        matches!(busy, DeliveryOutcome::Unreachable { retry_after, .. }
            if retry_after == Some(Duration::from_secs(9)))
    );
    let address = target.address();
    drop(target);
    let gone = attempt(&format!("http://{address}/hook")).await;
    assert!(
        matches!(gone, DeliveryOutcome::Unreachable { .. }),
        "{gone:?}"
    );
}

#[tokio::test]
async fn private_addresses_are_refused_unless_they_are_allowed() {
    let target = HttpTarget::start().await;
    let port = target.address().port();
    for url in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://localhost:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let public = HookConnection {
            allow_private: false,
            ..connection(&url)
        };
        let outcome = webhook(public).endpoint.deliver(&[online(7)]).await;
        let DeliveryOutcome::Unreachable { error, .. } = outcome else {
            panic!("{url}: {outcome:?}");
        };
        assert!(error.contains("not public"), "{url}: {error}");
    }
    // The addresses at which clouds answer questions about themselves stay forbidden.
    let outcome = attempt("http://169.254.169.254/latest/meta-data").await;
    assert!(
        matches!(outcome, DeliveryOutcome::Unreachable { .. }),
        "{outcome:?}"
    );
    assert!(target.requests().is_empty());
}

fn question(content: &MessageContent) -> SendQuestion<'_> {
    SendQuestion {
        sender: MessageSender::User {
            user: UserId::new(1).unwrap(),
            device: None,
        },
        receiver: MessageReceiver::User(UserId::new(2).unwrap()),
        mentions: &[],
        kind: 99,
        content,
    }
}

#[tokio::test]
async fn the_question_before_a_send_has_the_message_and_the_answer_counts() {
    let target = HttpTarget::start().await;
    let settings = BeforeSendSettings {
        connection: connection(&target.url()),
        failure: HookFailureMode::Closed,
    };
    let clock = Arc::new(ManualClock::at(UnixTimestamp(NOW_MS)));
    let policy = settings
        .open(&OutboundPolicy::default(), clock, 1_000)
        .unwrap();
    let content = MessageContent::copied_from(b"hi");
    assert_eq!(policy.decide(question(&content)).await, Ok(None));
    let request = target.requests().remove(0);
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["type"], "message.before_send");
    assert_eq!(body["id"], request.header("webhook-id"));
    let message = &body["data"]["message"];
    assert_eq!(message["sender"]["user_id"], "1");
    assert_eq!(message["receiver"]["user_id"], "2");
    assert_eq!(message["content"]["data"], "aGk=");
    assert_eq!(message.get("id"), None);
    let refuse = r#"{"action":"refuse","reason":"no links"}"#;
    target.answer(TargetAnswer::Status(200, refuse.into()));
    let refused = policy.decide(question(&content)).await;
    assert_eq!(refused, Err(RequestRefusal::Rejected("no links".into())));
    target.answer(TargetAnswer::Status(500, String::new()));
    let failed = policy.decide(question(&content)).await;
    assert_eq!(failed, Err(RequestRefusal::Unavailable));
    target.answer(TargetAnswer::Hang);
    let hung = policy.decide(question(&content)).await;
    assert_eq!(hung, Err(RequestRefusal::Unavailable));
}
