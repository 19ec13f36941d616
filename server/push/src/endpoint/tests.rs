//! The endpoint over a push service that answers as it is told.

use std::sync::Mutex;

use gimlet_core::envelope::Envelope;
use gimlet_core::id::DeviceId;
use gimlet_core::memory;
use gimlet_core::message::MessageReceiver;
use gimlet_core::store::{PushAddress, PushProvider};
use gimlet_core::time::{SystemClock, TimeSource as _};

use super::*;
use crate::collapse::CollapseKeys;
use crate::fixture::{fcm, registration, text, user};
use crate::wording::NotificationLanguage;

/// A push service that answers as it is told.
#[derive(Debug)]
struct FakeSender {
    keys: CollapseKeys,
    outcomes: Mutex<HashMap<u64, SendOutcome>>,
    sent: Mutex<Vec<(u64, Option<String>)>>,
}

impl FakeSender {
    fn answer(&self, device: u64, outcome: SendOutcome) {
        self.outcomes.lock().unwrap().insert(device, outcome);
    }

    /// Returns the devices that were notified since the last call, sorted, with the texts.
    fn take_sent(&self) -> Vec<(u64, String)> {
        let mut sent = std::mem::take(&mut *self.sent.lock().unwrap());
        sent.sort();
        sent.into_iter()
            .map(|(device, text)| (device, text.unwrap_or_default()))
            .collect()
    }
}

#[async_trait]
impl PushSender for FakeSender {
    fn provider(&self) -> PushProvider {
        PushProvider::Fcm
    }

    fn address(&self) -> String {
        "fake".into()
    }

    fn collapse(&self) -> &CollapseKeys {
        &self.keys
    }

    async fn send(
        &self,
        registration: &PushRegistration,
        notification: &DeviceNotification,
    ) -> SendOutcome {
        let device = registration.device.get();
        let told = self.outcomes.lock().unwrap().get(&device).cloned();
        let outcome = told.unwrap_or(SendOutcome::Sent);
        if outcome == SendOutcome::Sent {
            let text = notification.text.clone();
            self.sent.lock().unwrap().push((device, text));
        }
        outcome
    }

    async fn check(&self) -> Result<(), String> {
        match self.outcomes.lock().unwrap().get(&0) {
            Some(outcome) => Err(format!("{outcome:?}")),
            None => Ok(()),
        }
    }
}

struct EndpointFixture {
    sender: Arc<FakeSender>,
    tokens: Arc<dyn PushTokenStore>,
    endpoint: PushEndpoint,
}

impl EndpointFixture {
    fn new() -> Self {
        let sender = Arc::new(FakeSender {
            keys: CollapseKeys::of_private_key(b"key"),
            outcomes: Mutex::default(),
            sent: Mutex::default(),
        });
        let rules = NotificationRules {
            may_show_content: true,
            language: NotificationLanguage::English,
            ttl: Duration::from_hours(1),
        };
        let tokens = memory::stores().push_token;
        let parts = (Arc::clone(&sender) as _, Arc::clone(&tokens));
        let endpoint = PushEndpoint::new(parts.0, parts.1, Arc::new(SystemClock), rules);
        Self {
            sender,
            tokens,
            endpoint,
        }
    }

    async fn register(&self, owner: u64, device: u64, address: PushAddress) {
        let mut registration = registration(device, address);
        registration.shows_content = true;
        let put = self.tokens.put(user(owner), &registration, 20);
        put.await.unwrap();
    }

    async fn deliver(&self, messages: &[(u64, &[Arc<Envelope>])]) -> DeliveryOutcome {
        let notifications: Vec<_> = messages
            .iter()
            .map(|(to, messages)| HookNotification {
                id: "id".into(),
                at: SystemClock.now(),
                body: NotificationBody::MessageOffline {
                    user: user(*to),
                    messages: messages.to_vec(),
                },
            })
            .collect();
        self.endpoint.deliver(&notifications).await
    }
}

fn direct(from: u64, to: u64, words: &str) -> Arc<Envelope> {
    text(user(from), MessageReceiver::User(user(to)), words)
}

#[tokio::test]
async fn each_device_of_the_service_is_notified_once_for_a_conversation() {
    let fixture = EndpointFixture::new();
    fixture.register(1, 11, fcm("a")).await;
    fixture.register(1, 12, fcm("b")).await;
    let apns = PushAddress::Apns {
        token: "aa".into(),
        topic: "t".into(),
        is_sandbox: false,
    };
    fixture.register(1, 13, apns).await;
    let messages = [direct(2, 1, "one"), direct(2, 1, "two"), direct(3, 1, "x")];
    let outcome = fixture.deliver(&[(1, &messages), (9, &messages)]).await;
    assert_eq!(outcome, DeliveryOutcome::Delivered);
    let sent = fixture.sender.take_sent();
    let sent: Vec<_> = sent.iter().map(|(at, text)| (*at, &**text)).collect();
    assert_eq!(sent, [(11, "two"), (11, "x"), (12, "two"), (12, "x")]);
    assert_eq!(fixture.endpoint.counters().read().sent, 4);
}

#[tokio::test]
async fn a_device_that_fails_neither_delays_nor_repeats_the_others() {
    let fixture = EndpointFixture::new();
    for device in [11, 12] {
        fixture.register(1, device, fcm(&device.to_string())).await;
    }
    let delayed = SendOutcome::Delayed("busy".into());
    fixture.sender.answer(12, delayed);
    let messages = [direct(2, 1, "one"), direct(2, 1, "two")];
    let outcome = fixture.deliver(&[(1, &messages)]).await;
    assert_eq!(outcome, DeliveryOutcome::Refused("busy".into()));
    assert_eq!(fixture.sender.take_sent(), [(11, "two".into())]);
    // The worker splits the batch: the older message alone must not replace the newer one.
    for part in messages.chunks(1) {
        let outcome = fixture.deliver(&[(1, part)]).await;
        assert!(matches!(outcome, DeliveryOutcome::Refused(_)));
    }
    assert_eq!(fixture.sender.take_sent(), []);
    fixture.sender.answer(12, SendOutcome::Sent);
    let outcome = fixture.deliver(&[(1, &messages)]).await;
    assert_eq!(outcome, DeliveryOutcome::Delivered);
    assert_eq!(fixture.sender.take_sent(), [(12, "two".into())]);
}

#[tokio::test]
async fn a_failure_of_the_service_ends_the_batch_with_its_pause() {
    let fixture = EndpointFixture::new();
    fixture.register(1, 11, fcm("a")).await;
    let pause = Some(Duration::from_secs(30));
    let failed = SendOutcome::Failed {
        error: "closed".into(),
        retry_after: pause,
    };
    fixture.sender.answer(11, failed);
    let outcome = fixture.deliver(&[(1, &[direct(2, 1, "one")])]).await;
    let expected = DeliveryOutcome::Unreachable {
        error: "closed".into(),
        retry_after: pause,
    };
    assert_eq!(outcome, expected);
    assert_eq!(fixture.endpoint.counters().read().failed, 1);
}

#[tokio::test]
async fn an_address_that_is_gone_is_removed_unless_the_client_has_a_new_one() {
    let fixture = EndpointFixture::new();
    fixture.register(1, 11, fcm("old")).await;
    let old = fixture.tokens.of(&[user(1)]).await.unwrap().remove(0).1;
    fixture.sender.answer(11, SendOutcome::Gone);
    let messages = [direct(2, 1, "one")];
    let outcome = fixture.deliver(&[(1, &messages)]).await;
    assert_eq!(outcome, DeliveryOutcome::Delivered);
    assert_eq!(fixture.tokens.of(&[user(1)]).await.unwrap(), []);
    assert_eq!(fixture.endpoint.counters().read().removed, 1);
    // The answer about the old address comes after the client registered a new one.
    fixture.register(1, 11, fcm("new")).await;
    fixture.endpoint.remove(user(1), &old).await;
    let kept = fixture.tokens.of(&[user(1)]).await.unwrap();
    assert_eq!(kept[0].1.address, fcm("new"));
    assert_eq!(kept[0].1.device, DeviceId::new(11).unwrap());
}

#[tokio::test]
async fn a_rejected_notification_is_not_repeated() {
    let fixture = EndpointFixture::new();
    fixture.register(1, 11, fcm("a")).await;
    let rejected = SendOutcome::Rejected("no".into());
    fixture.sender.answer(11, rejected);
    let outcome = fixture.deliver(&[(1, &[direct(2, 1, "one")])]).await;
    assert_eq!(outcome, DeliveryOutcome::Delivered);
    assert_eq!(fixture.endpoint.counters().read().rejected, 1);
    assert_eq!(fixture.tokens.of(&[user(1)]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_test_by_the_operator_checks_the_credentials() {
    let fixture = EndpointFixture::new();
    let test = [HookNotification {
        id: "id".into(),
        at: SystemClock.now(),
        body: NotificationBody::Test,
    }];
    let outcome = fixture.endpoint.deliver(&test).await;
    assert_eq!(outcome, DeliveryOutcome::Delivered);
    fixture.sender.answer(0, SendOutcome::Gone);
    let outcome = fixture.endpoint.deliver(&test).await;
    assert!(matches!(outcome, DeliveryOutcome::Unreachable { .. }));
}
