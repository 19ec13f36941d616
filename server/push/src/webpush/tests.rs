//! Meanings of the answers of browsers' push services, against a local one.

use std::time::Duration;

use gimlet_core::time::{SystemClock, UnixTimestamp};
use gimlet_kit::http_target::{HttpTarget, TargetAnswer};
use gimlet_outbound::OutboundPolicy;

use super::*;
use crate::fixture::registration;

/// A point of P-256 with its secret, of RFC 8291.
const P256DH: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

fn sender(hosts: &[&str]) -> WebPushSender {
    let pem = EcSigningKey::generate_pem().unwrap();
    let settings = WebPushSettings {
        key: Arc::new(EcSigningKey::from_pem(pem.as_bytes()).unwrap()),
        contact: "mailto:ops@example.com".into(),
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
    };
    let policy = OutboundPolicy {
        allowed: vec!["127.0.0.0/8".parse().unwrap()],
        ..OutboundPolicy::default()
    };
    let client = OutboundClient::new(&policy).unwrap();
    WebPushSender::new(settings, client, Arc::new(SystemClock))
}

fn subscription(endpoint: String) -> PushRegistration {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let address = PushAddress::WebPush {
        endpoint,
        public_key: URL_SAFE_NO_PAD.decode(P256DH).unwrap(),
        auth_secret: vec![7; 16],
    };
    registration(1, address)
}

fn notification() -> DeviceNotification {
    DeviceNotification {
        title: "New message".into(),
        text: None,
        data: vec![("type", "message".into())],
        collapse: "c".repeat(32),
        expires_at: UnixTimestamp(0),
        ttl: Duration::from_secs(90),
    }
}

#[tokio::test]
async fn each_answer_has_its_meaning_and_a_failing_host_is_left_alone() {
    for (status, meaning) in [
        (201, "Sent"),
        (404, "Gone"),
        (410, "Gone"),
        (400, "Rejected"),
        (413, "Rejected"),
        (429, "Delayed"),
        (500, "Delayed"),
    ] {
        let target = HttpTarget::start().await;
        target.decide(move |_| TargetAnswer::Status(status, String::new()));
        let sender = sender(&["127.0.0.1"]);
        let registration = subscription(target.url());
        for _ in 0..2 {
            let outcome = sender.send(&registration, &notification()).await;
            let shown = format!("{outcome:?}");
            assert!(shown.starts_with(meaning), "{status}: {shown}");
        }
        let requests = target.requests();
        let expected = if meaning == "Delayed" { 1 } else { 2 };
        assert_eq!(requests.len(), expected, "{status}");
        let request = &requests[0];
        assert_eq!(request.header("ttl"), "90");
        assert_eq!(request.header("content-encoding"), "aes128gcm");
        assert!(request.body.len() <= 4_096);
    }
}

#[tokio::test]
async fn a_host_that_breaks_the_connection_is_left_alone() {
    let target = HttpTarget::start().await;
    target.answer(TargetAnswer::Close);
    let sender = sender(&["127.0.0.1"]);
    let registration = subscription(target.url());
    for _ in 0..3 {
        let outcome = sender.send(&registration, &notification()).await;
        assert!(matches!(outcome, SendOutcome::Delayed(_)), "{outcome:?}");
    }
    assert_eq!(target.requests().len(), 1);
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_that_is_not_a_push_service() {
    let target = HttpTarget::start().await;
    let sender = sender(&["push.example.net"]);
    let registration = subscription(target.url());
    let outcome = sender.send(&registration, &notification()).await;
    assert_eq!(outcome, SendOutcome::Gone);
    assert!(target.requests().is_empty());
}
