//! Delivery over storage in memory, in virtual time.

mod failures;
mod order;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::business::OpenBusiness;
use crate::directory::ProfileDirectory;
use crate::events::{
    EventBody, EventKind, EventSubscriptions, HookName, HookSubscription, MessageFilter, NewEvent,
};
use crate::id::NodeId;
use crate::limits::Limits;
use crate::memory;
use crate::store::{OutboxBounds, StoreSet};
use crate::testkit::helpers::user;
use crate::time::{ManualClock, UnixTimestamp};

/// An attempt that an endpoint got: its time, and the ids or users of its notifications.
#[derive(Clone, Debug)]
struct DeliveryAttempt {
    at: Instant,
    texts: Vec<String>,
    is_delivered: bool,
}

type OutcomeChoice = Box<dyn Fn(&[String]) -> DeliveryOutcome + Send + Sync>;

/// An endpoint that answers as it is told.
struct ScriptedEndpoint {
    decide: Mutex<OutcomeChoice>,
    delay: Mutex<Duration>,
    attempts: watch::Sender<Vec<DeliveryAttempt>>,
}

impl std::fmt::Debug for ScriptedEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedEndpoint")
    }
}

impl ScriptedEndpoint {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            decide: Mutex::new(Box::new(|_| DeliveryOutcome::Delivered)),
            delay: Mutex::default(),
            attempts: watch::Sender::new(Vec::new()),
        })
    }

    fn decide(&self, decide: impl Fn(&[String]) -> DeliveryOutcome + Send + Sync + 'static) {
        *self.decide.lock().unwrap() = Box::new(decide);
    }

    fn attempts(&self) -> Vec<DeliveryAttempt> {
        self.attempts.borrow().clone()
    }

    /// Returns what was delivered, in the order of the deliveries.
    fn delivered(&self) -> Vec<String> {
        delivered_of(&self.attempts.borrow())
    }

    /// Waits until this many notifications are delivered.
    async fn wait_for(&self, count: usize) -> Vec<String> {
        let mut attempts = self.attempts.subscribe();
        let reached = attempts.wait_for(|attempts| delivered_of(attempts).len() >= count);
        let reached = tokio::time::timeout(Duration::from_hours(72), reached).await;
        let attempts = reached.expect("delivered within three days").unwrap();
        delivered_of(&attempts)
    }
}

fn delivered_of(attempts: &[DeliveryAttempt]) -> Vec<String> {
    let delivered = attempts.iter().filter(|attempt| attempt.is_delivered);
    delivered
        .flat_map(|attempt| attempt.texts.clone())
        .collect()
}

/// Describes a notification: `friend:text` of a friend request, or the user of another event.
fn text_of(notification: &HookNotification) -> String {
    match &notification.body {
        NotificationBody::FriendRequested {
            friend,
            description,
            ..
        } => format!("{}:{description}", friend.get()),
        NotificationBody::MessageCreated(envelope) => {
            format!(
                "created {}",
                String::from_utf8_lossy(&envelope.message.content.0)
            )
        }
        NotificationBody::MessageOffline { user, messages } => {
            format!("offline {} {}", user.get(), messages.len())
        }
        other => other.name().to_owned(),
    }
}

#[async_trait]
impl HookEndpoint for ScriptedEndpoint {
    async fn deliver(&self, notifications: &[HookNotification]) -> DeliveryOutcome {
        let texts: Vec<String> = notifications.iter().map(text_of).collect();
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let outcome = (self.decide.lock().unwrap())(&texts);
        let attempt = DeliveryAttempt {
            at: Instant::now(),
            texts,
            is_delivered: outcome == DeliveryOutcome::Delivered,
        };
        self.attempts.send_modify(|attempts| attempts.push(attempt));
        outcome
    }

    fn address(&self) -> String {
        "scripted".into()
    }
}

const RULES: DeliveryRules = DeliveryRules {
    batch: 10,
    concurrency: 1,
    retry_for: Duration::from_hours(24),
};

/// Hooks over storage in memory. The wall clock is advanced together with tokio's.
struct DeliveryFixture {
    stores: StoreSet,
    clock: Arc<ManualClock>,
    events: EventSubscriptions,
    delivery: HookDelivery,
    tracker: TaskTracker,
    token: CancellationToken,
}

/// Returns a hook that wants these events.
fn wants(name: &str, kinds: &[EventKind]) -> HookSubscription {
    HookSubscription {
        name: HookName::new(name).unwrap(),
        events: kinds.iter().copied().collect(),
        messages: MessageFilter::ALL,
    }
}

fn start(
    stores: StoreSet,
    hooks: &[(HookSubscription, Arc<ScriptedEndpoint>)],
    rules: DeliveryRules,
) -> DeliveryFixture {
    start_as("here", stores, hooks, rules)
}

fn start_as(
    node: &str,
    stores: StoreSet,
    hooks: &[(HookSubscription, Arc<ScriptedEndpoint>)],
    rules: DeliveryRules,
) -> DeliveryFixture {
    let subscriptions = hooks.iter().map(|(hook, _)| hook.clone()).collect();
    let events = EventSubscriptions::new(subscriptions).unwrap();
    let clock = Arc::new(ManualClock::at(UnixTimestamp(1_000_000)));
    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    let definitions = hooks.iter().map(|(hook, endpoint)| HookDefinition {
        name: hook.name.clone(),
        endpoint: Arc::clone(endpoint) as _,
        rules,
    });
    let parts = HookDeliveryParts {
        outbox: Arc::clone(&stores.outbox),
        routes: Arc::clone(&stores.route),
        directory: ProfileDirectory::new(Arc::new(OpenBusiness), &Limits::default()),
        events: events.clone(),
        node: NodeId::boot(node),
        clock: Arc::clone(&clock) as _,
        bounds: OutboxBounds {
            events: 100_000,
            dead_letters: 100_000,
        },
        hooks: definitions.collect(),
    };
    let delivery = HookDelivery::start(parts, &tracker, &token);
    DeliveryFixture {
        stores,
        clock,
        events,
        delivery,
        tracker,
        token,
    }
}

impl DeliveryFixture {
    /// Stores friend requests, `(to, text)`, which are events of the receiver `to`.
    async fn request(&self, requests: &[(u64, String)]) {
        let hooks = self.events.of(EventKind::FriendRequested);
        let at = crate::time::TimeSource::now(&*self.clock);
        let events = requests.iter().filter_map(|(to, text)| {
            let body = EventBody::FriendRequested {
                user: user(1),
                friend: user(*to),
                description: text.clone(),
            };
            NewEvent::at(at, &hooks, || body)
        });
        let events: Vec<_> = events.collect();
        self.stores.outbox.put(&events).await.unwrap();
        hooks.notify();
    }

    async fn stop(self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Returns requests to these receivers in turn, numbered for each receiver.
fn numbered(receivers: &[u64], each: usize) -> Vec<(u64, String)> {
    let numbers = 0..each;
    numbers
        .flat_map(|number| receivers.iter().map(move |to| (*to, format!("{number}"))))
        .collect()
}

/// Asserts that each receiver got its events in their order, with repeats only where they stood.
fn assert_in_order(delivered: &[String], receivers: &[u64], each: usize) {
    for receiver in receivers {
        let prefix = format!("{receiver}:");
        let mut next = 0;
        for text in delivered.iter().filter_map(|it| it.strip_prefix(&prefix)) {
            let number: usize = text.parse().unwrap();
            assert!(number <= next, "{receiver} misses {next} before {number}");
            next = next.max(number + 1);
        }
        assert_eq!(next, each, "events of {receiver}");
    }
}

const REQUESTED: &[EventKind] = &[EventKind::FriendRequested];
