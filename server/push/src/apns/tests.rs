//! Meanings of the answers of APNs, and the age of its tokens.

use gimlet_core::time::ManualClock;
use gimlet_outbound::OutboundPolicy;

use super::*;

fn answer(status: u16, body: &Value) -> OutboundResponse {
    OutboundResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.to_string().into(),
    }
}

#[test]
fn each_answer_has_its_meaning() {
    let registered = UnixTimestamp(1_000);
    let means = |status, body: Value| super::outcome(&answer(status, &body), registered);
    assert_eq!(means(200, json!({})), SendOutcome::Sent);
    for (status, body) in [
        (400, json!({"reason": "BadDeviceToken"})),
        (400, json!({"reason": "DeviceTokenNotForTopic"})),
        (410, json!({"reason": "Unregistered", "timestamp": 1_000})),
        (410, json!({"reason": "ExpiredToken"})),
    ] {
        assert_eq!(means(status, body.clone()), SendOutcome::Gone, "{body}");
    }
    for (status, body) in [
        (400, json!({"reason": "BadTopic"})),
        (413, json!({"reason": "PayloadTooLarge"})),
        // The app registered after APNs had noticed the end of its earlier installation.
        (410, json!({"reason": "Unregistered", "timestamp": 999})),
    ] {
        let outcome = means(status, body.clone());
        assert!(
            matches!(outcome, SendOutcome::Rejected(_)),
            "{body}: {outcome:?}"
        );
    }
    let busy = means(429, json!({"reason": "TooManyRequests"}));
    assert!(matches!(busy, SendOutcome::Delayed(_)), "{busy:?}");
    for (status, reason) in [
        (403, "InvalidProviderToken"),
        (404, "BadPath"),
        (429, "TooManyProviderTokenUpdates"),
        (500, "InternalServerError"),
        (503, "Shutdown"),
    ] {
        let outcome = means(status, json!({ "reason": reason }));
        assert!(matches!(outcome, SendOutcome::Failed { .. }), "{reason}");
    }
}

#[test]
fn a_token_is_kept_between_20_and_60_minutes() {
    let clock = Arc::new(ManualClock::at(UnixTimestamp(5_000)));
    let pem = EcSigningKey::generate_pem().unwrap();
    let url: OutboundUrl = "https://api.push.example.com".parse().unwrap();
    let settings = ApnsSettings {
        key: Arc::new(EcSigningKey::from_pem(pem.as_bytes()).unwrap()),
        key_id: "KEY".into(),
        team_id: "TEAM".into(),
        topics: vec!["com.example".into()],
        url: url.clone(),
        sandbox_url: url,
    };
    let client = OutboundClient::new(&OutboundPolicy::default()).unwrap();
    let sender = ApnsSender::new(settings, client, Arc::clone(&clock) as _);
    let first = sender.token().unwrap();
    assert!(!sender.forget(&first), "a new token does not help");
    clock.advance(Duration::from_mins(21));
    let second = sender.token().unwrap();
    assert_eq!(second.text, first.text);
    assert!(sender.forget(&first));
    assert_ne!(sender.token().unwrap().text, first.text);
    let third = sender.token().unwrap();
    clock.advance(TOKEN_TIME);
    assert_ne!(sender.token().unwrap().text, third.text);
}
