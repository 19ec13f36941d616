//! The gateway over in-memory stores: what connections are served, and when.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::business::Open;
use crate::envelope::Delivery;
use crate::hub::Work;
use crate::id::MessageId;
use crate::memory;
use crate::message::{Content, Draft, Message, Receiver, Sender};
use crate::node::{Node, NodeBuilder};
use crate::seq::Seq;
use crate::service::RoomDraft;
use crate::store::{Append, RoomHistory, RoomItem, RoomSink, RoomStore, StoreError, Stores};
use crate::time::Timestamp;

fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

fn node(stores: &Stores) -> Node {
    NodeBuilder::new(stores.clone(), Arc::new(Open)).start()
}

async fn sign_in(node: &Node, who: u64, on: u64, protocol: u32, fragile: bool) -> Connection {
    let request = SignInRequest {
        user: user(who),
        device: DeviceId::new(on).unwrap(),
        token: "any".to_owned(),
        client: None,
        protocol,
        fragile,
    };
    node.gateway().sign_in(request).await.unwrap()
}

/// Signs in, syncs from `seq`, and returns what came.
async fn live(node: &Node, who: u64, on: u64, seq: u64) -> (Connection, Vec<u64>) {
    let connection = sign_in(node, who, on, 1, false).await;
    let got = sync(&connection, seq).await;
    (connection, got)
}

async fn sync(connection: &Connection, mut seq: u64) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        let page = connection.sync(Seq::new(seq)).await.unwrap();
        got.extend(page.items.iter().map(|(seq, _)| seq.get()));
        connection.synced(Seq::new(seq), page.upto, page.more);
        seq = page.upto.get();
        if !page.more {
            return got;
        }
    }
}

async fn work(connection: &Connection) -> Work {
    loop {
        let deadline = connection.next_deadline();
        tokio::select! {
            work = poll_fn(|cx| connection.poll_work(cx, Instant::now())) => match work {
                Work::Read => connection.read().await.unwrap(),
                other => return other,
            },
            () = async { tokio::time::sleep_until(deadline.unwrap()).await }, if deadline.is_some() => {}
        }
    }
}

/// The seqs of the next `n` deliveries; inbox reads are made as the session would.
async fn next(connection: &Connection, n: usize) -> Vec<u64> {
    let mut got = Vec::new();
    while got.len() < n {
        let Work::Deliver(batch) = work(connection).await else {
            panic!("closed")
        };
        got.extend(batch.iter().flat_map(Delivery::seqs).map(Seq::get));
    }
    got
}

async fn send(node: &Node, from: u64, on: u64, to: u64) -> u64 {
    let sender = Sender::User {
        user: user(from),
        device: DeviceId::new(on),
    };
    // gim's clients without an id are recognised by their content: make each its own.
    let text = format!("{}", rand::random::<u64>());
    node.service()
        .send(sender, Draft::text(user(to), &text))
        .await
        .unwrap()
        .seq
        .get()
}

/// Stores an entry that nobody is told of: a lost push.
async fn store_silently(stores: &Stores, from: u64, to: u64) {
    let message = Message {
        id: MessageId::generate(),
        sender: Sender::User {
            user: user(from),
            device: None,
        },
        receiver: Receiver::User(user(to)),
        mentions: Vec::new(),
        kind: 1,
        content: Content(Bytes::from_static(b"silent")),
        sent_at: Timestamp(0),
    };
    let append = Append {
        message: Arc::new(message),
        recipients: Arc::from([user(to)]),
        key: None,
        roster: None,
    };
    stores.inbox.append(&[append]).await.unwrap();
}

async fn publish(node: &Node, room: u64, persist: bool) {
    let draft = RoomDraft {
        room: RoomId::new(room).unwrap(),
        mentions: Vec::new(),
        kind: 1,
        content: Content(Bytes::from_static(b"room")),
        persist,
    };
    node.service()
        .push_room(Sender::Business, draft)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_is_live_on_every_device_but_the_one_that_sent_it() {
    let stores = memory::stores();
    let node = node(&stores);
    let (phone, _) = live(&node, 1, 11, 0).await;
    let (laptop, _) = live(&node, 1, 12, 0).await;
    let (bob, _) = live(&node, 2, 21, 0).await;
    assert_eq!(send(&node, 1, 11, 2).await, 1);
    send(&node, 2, 21, 1).await;
    assert_eq!(
        next(&phone, 1).await,
        [2],
        "its own send is a step without a body"
    );
    assert_eq!(next(&laptop, 2).await, [1, 2]);
    assert_eq!(next(&bob, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn m13_a_lost_last_push_is_found_by_the_heartbeat() {
    let stores = memory::stores();
    let node = node(&stores);
    let (bob, _) = live(&node, 2, 21, 0).await;
    store_silently(&stores, 1, 2).await;
    let _ = bob.heartbeat();
    assert_eq!(next(&bob, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_push_before_another_is_read_from_the_inbox() {
    let stores = memory::stores();
    let node = node(&stores);
    let (bob, _) = live(&node, 2, 21, 0).await;
    store_silently(&stores, 1, 2).await;
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&bob, 2).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn m16_what_is_sent_between_sign_in_and_sync_is_not_lost() {
    let stores = memory::stores();
    let node = node(&stores);
    let bob = sign_in(&node, 2, 21, 1, false).await;
    send(&node, 1, 11, 2).await;
    let page = bob.sync(Seq::ZERO).await.unwrap();
    send(&node, 1, 11, 2).await;
    assert_eq!(page.items.len(), 1);
    bob.synced(Seq::ZERO, page.upto, page.more);
    assert_eq!(
        next(&bob, 1).await,
        [2],
        "it came after the page was read, before it was live"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ignores_has_more_is_pushed_the_rest() {
    let stores = memory::stores();
    let node = node(&stores);
    for _ in 0..120 {
        send(&node, 1, 11, 2).await;
    }
    let bob = sign_in(&node, 2, 21, 0, false).await;
    let page = bob.sync(Seq::ZERO).await.unwrap();
    assert!(page.more);
    bob.synced(Seq::ZERO, page.upto, page.more);
    assert_eq!(next(&bob, 70).await, (51..=120).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_syncs_is_pushed_what_is_new_since_sign_in() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    let bob = sign_in(&node, 2, 21, 0, false).await;
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&bob, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn a_seq_above_the_head_sets_the_cursor_to_the_head() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    let (bob, got) = live(&node, 2, 21, 1_000).await;
    assert!(got.is_empty());
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&bob, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn m10_fims_own_sends_do_not_hide_pushes_it_has_missed() {
    let stores = memory::stores();
    let node = node(&stores);
    let fim = sign_in(&node, 2, 21, 0, true).await;
    sync(&fim, 0).await;
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&fim, 1).await, [1]);
    fim.ack(Seq::new(1));
    send(&node, 1, 11, 2).await; // 2: pushed, and lost with the connection
    send(&node, 2, 21, 1).await; // 3: its own, which fim now names
    drop(fim);
    let fim = sign_in(&node, 2, 21, 0, true).await;
    assert_eq!(sync(&fim, 3).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn m8_m11_acks_are_per_device_and_only_go_forward() {
    let stores = memory::stores();
    let node = node(&stores);
    for _ in 0..3 {
        send(&node, 1, 11, 2).await;
    }
    let (phone, _) = live(&node, 2, 21, 0).await;
    phone.ack(Seq::new(3));
    phone.ack(Seq::new(1));
    phone.ack(Seq::new(100));
    drop(phone);
    node.stop().await;
    let device = |n| DeviceId::new(n).unwrap();
    assert_eq!(
        stores.device.acked(user(2)).await.unwrap(),
        [(device(21), Seq::new(3))]
    );
}

#[tokio::test(start_paused = true)]
async fn c4_a_superseded_connection_can_neither_send_nor_sync() {
    let stores = memory::stores();
    let node = node(&stores);
    let (old, _) = live(&node, 2, 21, 0).await;
    let (_new, _) = live(&node, 2, 21, 0).await;
    assert_eq!(old.sync(Seq::ZERO).await.unwrap_err().code(), 10000);
    assert_eq!(
        old.send(Draft::text(user(1), "x"))
            .await
            .unwrap_err()
            .code(),
        10000
    );
}

#[tokio::test(start_paused = true)]
async fn c18_subscribing_to_another_room_moves_the_subscription() {
    let stores = memory::stores();
    let node = node(&stores);
    let (bob, _) = live(&node, 2, 21, 0).await;
    let room = |n| RoomId::new(n);
    bob.subscribe(room(1), Seq::ZERO).await.unwrap();
    bob.subscribe(room(2), Seq::ZERO).await.unwrap();
    publish(&node, 1, false).await;
    publish(&node, 2, false).await;
    publish(&node, 2, false).await;
    assert_eq!(next(&bob, 2).await, [1, 2]);
    bob.subscribe(None, Seq::ZERO).await.unwrap();
    publish(&node, 2, false).await;
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&bob, 1).await, [1], "only the inbox goes on");
}

#[tokio::test(start_paused = true)]
async fn r6_history_and_live_meet_without_hole_or_repeat() {
    let stores = memory::stores();
    let node = node(&stores);
    for _ in 0..150 {
        publish(&node, 1, true).await;
    }
    let (bob, _) = live(&node, 2, 21, 0).await;
    bob.subscribe(RoomId::new(1), Seq::new(20)).await.unwrap();
    for _ in 0..10 {
        publish(&node, 1, true).await;
    }
    assert_eq!(next(&bob, 141).await, (20..=160).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_history_larger_than_the_budget_comes_whole() {
    let stores = memory::stores();
    let node = node(&stores);
    for _ in 0..20 {
        let draft = RoomDraft {
            room: RoomId::new(1).unwrap(),
            mentions: Vec::new(),
            kind: 1,
            content: Content(Bytes::from(vec![b'x'; 30_000])),
            persist: true,
        };
        node.service()
            .push_room(Sender::Business, draft)
            .await
            .unwrap();
    }
    let (bob, _) = live(&node, 2, 21, 0).await;
    bob.subscribe(RoomId::new(1), Seq::new(1)).await.unwrap();
    assert_eq!(next(&bob, 20).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_place_in_a_lost_stream_of_a_room_starts_over() {
    let stores = memory::stores();
    let node = node(&stores);
    publish(&node, 1, true).await;
    let (bob, _) = live(&node, 2, 21, 0).await;
    bob.subscribe(RoomId::new(1), Seq::new(500)).await.unwrap();
    assert_eq!(next(&bob, 1).await, [1], "500 was in a stream that is gone");
    publish(&node, 1, true).await;
    assert_eq!(next(&bob, 1).await, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c16_c17_subscribing_races_with_pushing() {
    let stores = memory::stores();
    let node = node(&stores);
    let (bob, _) = live(&node, 2, 21, 0).await;
    let pusher = {
        let node = node.clone();
        tokio_util::task::TaskTracker::new().spawn(async move {
            for _ in 0..500 {
                publish(&node, 1, false).await;
            }
        })
    };
    for _ in 0..500 {
        bob.subscribe(RoomId::new(1), Seq::ZERO).await.unwrap();
        bob.subscribe(None, Seq::ZERO).await.unwrap();
    }
    pusher.await.unwrap();
    bob.subscribe(RoomId::new(1), Seq::ZERO).await.unwrap();
    publish(&node, 1, false).await;
    while next(&bob, 1).await.last() != Some(&501) {}
}

#[tokio::test(start_paused = true)]
async fn the_node_going_away_tells_everyone_when_to_come_back() {
    let stores = memory::stores();
    let node = node(&stores);
    let (bob, _) = live(&node, 2, 21, 0).await;
    node.gateway().close_all(Duration::from_secs(5));
    let Work::Close(CloseReason::Shutdown { after }) = work(&bob).await else {
        panic!("it should be closed")
    };
    assert!(after <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_nothing_is_served_before_the_routes_are_compared() {
    let stores = memory::stores();
    let node = node(&stores);
    let (moved, _) = live(&node, 1, 10, 0).await;
    let (stayed, _) = live(&node, 2, 20, 0).await;
    // The process stands still; the device signs in elsewhere, and a push is in the socket.
    let elsewhere = crate::store::Route {
        device: DeviceId::new(10).unwrap(),
        user: user(1),
        generation: crate::id::Generation(99),
        node: NodeId::boot("elsewhere"),
        client: None,
    };
    stores.route.renew(&elsewhere.node).await.unwrap();
    stores.route.claim(&elsewhere).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    for who in [1, 2] {
        send(&node, 3, 30, who).await;
    }
    assert!(matches!(
        work(&moved).await,
        Work::Close(CloseReason::Superseded)
    ));
    assert_eq!(next(&stayed, 1).await, [1]);
    assert!(moved.send(Draft::text(user(2), "x")).await.is_err());
    drop((moved, stayed));
    node.stop().await;
}

/// A room store in which room 1 cannot be subscribed to before it is let go.
#[derive(Debug)]
struct Hanging {
    inner: Arc<dyn RoomStore>,
    gate: Semaphore,
}

#[async_trait::async_trait]
impl RoomStore for Hanging {
    async fn publish(
        &self,
        room: RoomId,
        envelope: Arc<crate::envelope::Envelope>,
        keep: bool,
    ) -> Result<Arc<RoomItem>, StoreError> {
        self.inner.publish(room, envelope, keep).await
    }

    async fn history(&self, r: RoomId, from: Seq, n: usize) -> Result<RoomHistory, StoreError> {
        self.inner.history(r, from, n).await
    }

    async fn subscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        if room.get() == 1 {
            let _turn = self.gate.acquire().await;
        }
        self.inner.subscribe(room, sink).await
    }

    async fn unsubscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        self.inner.unsubscribe(room, sink).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_that_cannot_be_opened_holds_up_no_other() {
    let mut stores = memory::stores();
    let hanging = Arc::new(Hanging {
        inner: Arc::clone(&stores.room),
        gate: Semaphore::new(0),
    });
    stores.room = Arc::clone(&hanging) as _;
    let node = node(&stores);
    let room = |n| Some(RoomId::new(n).unwrap());
    let (one, _) = live(&node, 1, 10, 0).await;
    let (two, _) = live(&node, 2, 20, 0).await;
    let (three, _) = live(&node, 3, 30, 0).await;
    let begun = Instant::now();
    {
        let hung = one.subscribe(room(1), Seq::ZERO);
        let behind = three.subscribe(room(1), Seq::ZERO);
        let mut both = std::pin::pin!(async { tokio::join!(hung, behind) });
        tokio::select! {
            biased;
            _ = &mut both => panic!("it hangs"),
            () = tokio::task::yield_now() => {}
        }
        two.subscribe(room(2), Seq::ZERO).await.unwrap();
        two.subscribe(None, Seq::ZERO).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        hanging.gate.add_permits(1);
        let (first, second) = both.await;
        first.and(second).unwrap();
    }
    drop((one, two, three));
    node.stop().await;
    assert_eq!(node.gateway().inner.rooms.gates_open(), 0);
}

#[tokio::test]
async fn a_sign_in_that_was_overtaken_is_no_wrong_token() {
    let stores = memory::stores();
    let node = node(&stores);
    let device = DeviceId::new(10).unwrap();
    let newer = crate::store::Route {
        device,
        user: user(1),
        generation: crate::id::Generation(99),
        node: NodeId::boot("elsewhere"),
        client: None,
    };
    stores.route.renew(&newer.node).await.unwrap();
    stores.route.claim(&newer).await.unwrap();
    let request = SignInRequest {
        user: user(1),
        device,
        token: "any".to_owned(),
        client: None,
        protocol: 1,
        fragile: false,
    };
    let refusal = node.gateway().sign_in(request).await.unwrap_err();
    assert!(was_overtaken(&refusal), "{refusal}");
    assert_eq!(refusal.code(), 10_000);
    assert!(!was_overtaken(&Refusal::Unauthorized("the token is wrong")));
    node.stop().await;
}
