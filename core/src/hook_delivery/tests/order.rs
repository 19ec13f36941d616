//! Order, batches, several hooks and nodes.

use super::*;
use crate::id::{DeviceId, Generation};
use crate::message::{MessageDraft, MessageSender};
use crate::node::NodeBuilder;
use crate::store::Route;

#[tokio::test(start_paused = true)]
async fn events_arrive_in_order_in_batches_and_are_removed() {
    let endpoint = ScriptedEndpoint::new();
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let fixture = start(memory::stores(), &hooks, RULES);
    fixture.request(&numbered(&[2, 3], 20)).await;
    let delivered = endpoint.wait_for(40).await;
    assert_in_order(&delivered, &[2, 3], 20);
    assert_eq!(endpoint.attempts().len(), 4, "batches of ten");
    let status = fixture.delivery.list().await.unwrap().remove(0);
    assert_eq!(
        (status.backlog.events, status.statistics.delivered),
        (0, 40)
    );
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_batches_never_share_a_receiver() {
    let endpoint = ScriptedEndpoint::new();
    *endpoint.delay.lock().unwrap() = Duration::from_millis(50);
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let rules = DeliveryRules {
        batch: 3,
        concurrency: 8,
        ..RULES
    };
    let fixture = start(memory::stores(), &hooks, rules);
    let receivers: Vec<u64> = (2..22).collect();
    let begun = Instant::now();
    fixture.request(&numbered(&receivers, 10)).await;
    let delivered = endpoint.wait_for(200).await;
    assert_eq!(delivered.len(), 200, "each once");
    assert_in_order(&delivered, &receivers, 10);
    let alone = Duration::from_millis(50) * 67;
    assert!(begun.elapsed() < alone / 3, "{:?}", begun.elapsed());
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn events_gather_into_batches_while_one_is_under_way() {
    let endpoint = ScriptedEndpoint::new();
    *endpoint.delay.lock().unwrap() = Duration::from_millis(50);
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let rules = DeliveryRules {
        batch: 100,
        concurrency: 16,
        ..RULES
    };
    let fixture = start(memory::stores(), &hooks, rules);
    for receiver in 2..102 {
        fixture.request(&numbered(&[receiver], 1)).await;
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    endpoint.wait_for(100).await;
    let attempts = endpoint.attempts();
    assert!(
        attempts.len() <= 12,
        "a batch each 10 ms at most: {attempts:?}"
    );
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_hook_does_not_delay_another() {
    let (slow, fast) = (ScriptedEndpoint::new(), ScriptedEndpoint::new());
    *slow.delay.lock().unwrap() = Duration::from_secs(10);
    slow.decide(|_| DeliveryOutcome::Failed("too slow".into()));
    let hooks = [
        (wants("slow", REQUESTED), Arc::clone(&slow)),
        (wants("fast", REQUESTED), Arc::clone(&fast)),
    ];
    let fixture = start(memory::stores(), &hooks, RULES);
    let begun = Instant::now();
    fixture.request(&numbered(&[2, 3, 4], 50)).await;
    let delivered = fast.wait_for(150).await;
    assert_in_order(&delivered, &[2, 3, 4], 50);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(slow.delivered().len(), 0);
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_node_is_found_without_a_notification() {
    let endpoint = ScriptedEndpoint::new();
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let fixture = start(memory::stores(), &hooks, RULES);
    tokio::time::sleep(Duration::from_secs(30)).await;
    // Another table of the same hooks notifies nobody here.
    let elsewhere = EventSubscriptions::new(vec![wants("crm", REQUESTED)]).unwrap();
    let body = EventBody::FriendRequested {
        user: user(1),
        friend: user(2),
        description: "0".into(),
    };
    let hooks = elsewhere.of(EventKind::FriendRequested);
    let event = NewEvent::at(UnixTimestamp(1_000_000), &hooks, || body).unwrap();
    let begun = Instant::now();
    fixture.stores.outbox.put(&[event]).await.unwrap();
    endpoint.wait_for(1).await;
    assert!(begun.elapsed() <= Duration::from_secs(2));
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_hands_the_hook_to_another_node_at_once() {
    let (first, second) = (ScriptedEndpoint::new(), ScriptedEndpoint::new());
    let stores = memory::stores();
    let hook = wants("crm", REQUESTED);
    let one = [(hook.clone(), Arc::clone(&first))];
    let one = start_as("one", stores.clone(), &one, RULES);
    one.request(&numbered(&[2], 5)).await;
    first.wait_for(5).await;
    let two = [(hook, Arc::clone(&second))];
    let two = start_as("two", stores, &two, RULES);
    // The second node looks at the lease, which the first one holds.
    tokio::time::sleep(Duration::from_mins(1)).await;
    one.request(&numbered(&[3], 5)).await;
    first.wait_for(10).await;
    assert_eq!(second.delivered().len(), 0);
    one.stop().await;
    let begun = Instant::now();
    two.request(&numbered(&[4], 5)).await;
    second.wait_for(5).await;
    assert!(
        begun.elapsed() <= Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn users_without_a_connection_get_one_notification_for_a_batch() {
    let endpoint = ScriptedEndpoint::new();
    let kinds = [EventKind::MessageOffline];
    let hooks = [(wants("push", &kinds), Arc::clone(&endpoint))];
    let stores = memory::stores();
    let mut node = NodeBuilder::new(stores.clone(), Arc::new(OpenBusiness));
    let fixture = start(stores.clone(), &hooks, RULES);
    node.events = fixture.events.clone();
    let node = node.start();
    let home = NodeId::boot("home");
    stores.route.renew(&home).await.unwrap();
    let route = Route {
        device: DeviceId::new(3).unwrap(),
        user: user(3),
        generation: Generation::default(),
        node: home,
        client: None,
    };
    stores.route.claim(&route).await.unwrap();
    *endpoint.delay.lock().unwrap() = Duration::from_secs(1);
    let sender = MessageSender::User {
        user: user(1),
        device: None,
    };
    for (to, text) in [(2, "a"), (3, "b"), (2, "c"), (2, "d")] {
        let draft = MessageDraft::text(user(to), text);
        node.service().send(sender, draft).await.unwrap();
    }
    // The first message is under way alone; those that follow meanwhile come together. User 3 is
    // connected, and the sender does not hear of its own messages.
    let delivered = endpoint.wait_for(2).await;
    assert_eq!(delivered, ["offline 2 1", "offline 2 2"]);
    node.stop().await;
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_test_goes_beside_the_queue() {
    let endpoint = ScriptedEndpoint::new();
    let hooks = [(wants("crm", REQUESTED), Arc::clone(&endpoint))];
    let fixture = start(memory::stores(), &hooks, RULES);
    let crm = HookName::new("crm").unwrap();
    let result = fixture.delivery.test(&crm).await.unwrap();
    assert_eq!(result.error, None);
    assert_eq!(endpoint.delivered(), ["webhook.test"]);
    endpoint.decide(|_| DeliveryOutcome::Refused("no".into()));
    let result = fixture.delivery.test(&crm).await.unwrap();
    assert_eq!(result.error.as_deref(), Some("no"));
    let other = HookName::new("other").unwrap();
    assert_eq!(fixture.delivery.test(&other).await, None);
    fixture.stop().await;
}
