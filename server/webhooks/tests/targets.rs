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
use gimlet_files::{
    FileParts, FileRefusal, FileRules, FileStore, ScanPolicy, UploadBounds, UploadFolder,
};
use gimlet_kit::http_target::{HttpTarget, TargetAnswer};
use gimlet_outbound::signature::{SigningSecret, WebhookSigner};
use gimlet_webhooks::{
    BeforeSendSettings, HookConnection, OutboundPolicy, ScanSettings, WebhookSettings,
};

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

fn settings(connection: HookConnection) -> WebhookSettings {
    WebhookSettings {
        connection,
        events: BTreeSet::from([EventKind::UserOnline]),
        messages: MessageFilter::ALL,
        batch: 10,
        retry_for: Duration::from_hours(1),
    }
}

fn webhook(connection: HookConnection) -> HookDefinition {
    let settings = settings(connection);
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
    // A name is looked up at each connect.
    let public = HookConnection {
        allow_private: false,
        ..connection(&format!("https://localhost:{port}/"))
    };
    let outcome = webhook(public).endpoint.deliver(&[online(7)]).await;
    let DeliveryOutcome::Unreachable { error, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(error.contains("allow_private = true"), "{error}");
    // An address that is written out is refused at the start. Those at which clouds answer questions
    // about themselves stay forbidden.
    for (url, allow_private) in [
        (format!("https://127.0.0.1:{port}/"), false),
        (format!("https://[::ffff:127.0.0.1]:{port}/"), false),
        ("https://169.254.169.254/latest/meta-data".into(), false),
        ("http://169.254.169.254/latest/meta-data".into(), true),
    ] {
        let settings = settings(HookConnection {
            allow_private,
            ..connection(&url)
        });
        let clock = Arc::new(ManualClock::at(UnixTimestamp(NOW_MS)));
        let opened = settings.open(&OutboundPolicy::default(), clock);
        assert!(opened.is_err(), "{url}");
    }
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

fn scanner(url: &str, failure: HookFailureMode) -> ScanPolicy {
    let settings = ScanSettings {
        url: url.to_owned(),
        secret: SECRET.into(),
        timeout: Duration::from_millis(500),
        failure,
    };
    let policy = OutboundPolicy {
        allowed: vec!["127.0.0.0/8".parse().unwrap()],
        ..OutboundPolicy::default()
    };
    let clock = Arc::new(ManualClock::at(UnixTimestamp(NOW_MS)));
    settings.open(&policy, clock).unwrap()
}

/// Uploads a text to a store with this scanner.
async fn upload(scan: ScanPolicy) -> (Result<(), FileRefusal>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let rules = FileRules {
        max: 1_000_000,
        anonymous: false,
        bounds: UploadBounds {
            min_free: 0,
            each: 0,
        },
        thumbnail_side: 0,
    };
    let parts = FileParts {
        spool: UploadFolder::under(folder.path()),
        storage: None,
        scan: Some(scan),
    };
    let store = FileStore::with_parts(parts, rules);
    let mut upload = store.begin(UserId::new(7)).unwrap();
    upload.name("caf\u{e9}.txt");
    upload.write(b"the content").await.unwrap();
    let stored = match upload.finish().await {
        Ok(complete) => complete.store(async { Ok(()) }).await.map(|_| ()),
        Err(refusal) => Err(refusal),
    };
    let files = std::fs::read_dir(folder.path().join("files")).unwrap();
    (stored, files.count())
}

#[tokio::test]
async fn a_scanner_gets_the_file_signed_and_decides() {
    let target = HttpTarget::start().await;
    let (stored, files) = upload(scanner(&target.url(), HookFailureMode::Closed)).await;
    assert!(stored.is_ok() && files == 1, "{stored:?}");
    let request = target.requests().remove(0);
    assert_eq!(request.text(), "the content");
    assert_eq!(request.header("content-type"), "text/plain");
    assert_eq!(request.header("gimlet-file-name"), "caf%C3%A9.txt");
    assert_eq!(request.header("gimlet-user"), "7");
    let signer = WebhookSigner::new([SECRET.parse::<SigningSecret>().unwrap()]);
    let id = request.header("webhook-id");
    let expected = signer.sign(id, 1_700_000_000, &request.body).unwrap();
    let signature = expected["webhook-signature"].to_str().unwrap();
    assert_eq!(request.header("webhook-signature"), signature);

    let refusal = r#"{"action":"refuse","reason":"EICAR"}"#;
    target.answer(TargetAnswer::Status(200, refusal.into()));
    let (refused, files) = upload(scanner(&target.url(), HookFailureMode::Open)).await;
    assert_eq!(refused.unwrap_err().to_string(), "EICAR");
    assert_eq!(files, 0, "nothing of a refused file stays");
}

#[tokio::test]
async fn a_scanner_without_a_verdict_is_open_or_closed() {
    let target = HttpTarget::start().await;
    for answer in [
        TargetAnswer::Status(500, String::new()),
        TargetAnswer::Status(200, "clean".into()),
        TargetAnswer::Close,
        TargetAnswer::Hang,
    ] {
        target.answer(answer.clone());
        let (open, _) = upload(scanner(&target.url(), HookFailureMode::Open)).await;
        assert!(open.is_ok(), "{answer:?}: {open:?}");
        let (closed, files) = upload(scanner(&target.url(), HookFailureMode::Closed)).await;
        assert!(matches!(closed, Err(FileRefusal::Unscanned)), "{answer:?}");
        assert_eq!(files, 0);
    }
    // An address that outbound.allow does not name is not reached.
    let settings = ScanSettings {
        url: target.url(),
        secret: SECRET.into(),
        timeout: Duration::from_secs(5),
        failure: HookFailureMode::Closed,
    };
    let clock = Arc::new(ManualClock::at(UnixTimestamp(NOW_MS)));
    let policy = settings.open(&OutboundPolicy::default(), clock).unwrap();
    let before = target.requests().len();
    let (refused, _) = upload(policy).await;
    assert!(matches!(refused, Err(FileRefusal::Unscanned)));
    assert_eq!(target.requests().len(), before);
}
