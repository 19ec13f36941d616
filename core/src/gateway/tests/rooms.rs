//! Rooms on a live connection: subscriptions, history, and independence of slow rooms.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;

use super::*;
use crate::envelope::Envelope;
use crate::id::RoomId;
use crate::message::MessageContent;
use crate::page::PageLimit;
use crate::service::RoomDraft;
use crate::store::{RoomHistory, RoomItem, RoomSink, RoomStore, StoreError, StoreErrorKind};

async fn publish(node: &RunningNode, room: u64, persist: bool) {
    let draft = RoomDraft {
        room: RoomId::new(room).unwrap(),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(Bytes::from_static(b"room")),
        persist,
    };
    node.service()
        .push_room(MessageSender::Business, draft)
        .await
        .unwrap();
}

/// A room store in which a subscription to room 1 waits for a permit.
#[derive(Debug)]
struct BlockingRoomStore {
    inner: Arc<dyn RoomStore>,
    gate: Semaphore,
}

#[async_trait::async_trait]
impl RoomStore for BlockingRoomStore {
    async fn publish(
        &self,
        room: RoomId,
        envelope: Arc<Envelope>,
        keep: bool,
    ) -> Result<Arc<RoomItem>, StoreError> {
        self.inner.publish(room, envelope, keep).await
    }

    async fn history(
        &self,
        room: RoomId,
        from: Seq,
        limit: PageLimit,
    ) -> Result<RoomHistory, StoreError> {
        self.inner.history(room, from, limit).await
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
    assert_eq!(next(&bob, 1).await, [1], "only inbox entries arrive");
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
            content: MessageContent(Bytes::from(vec![b'x'; 30_000])),
            persist: true,
        };
        node.service()
            .push_room(MessageSender::Business, draft)
            .await
            .unwrap();
    }
    let (bob, _) = live(&node, 2, 21, 0).await;
    bob.subscribe(RoomId::new(1), Seq::new(1)).await.unwrap();
    assert_eq!(next(&bob, 20).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_position_in_a_lost_stream_starts_over() {
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
async fn a_room_that_cannot_be_opened_holds_up_no_other() {
    let mut stores = memory::stores();
    let hanging = Arc::new(BlockingRoomStore {
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

/// Polls a subscription until it waits for something else, and drops it.
async fn give_up(subscription: impl Future<Output = Result<(), RequestRefusal>>) {
    let mut subscription = std::pin::pin!(subscription);
    for _ in 0..10 {
        tokio::select! {
            biased;
            done = &mut subscription => panic!("it waits: {done:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
}

/// The client of the room's first member on a node disconnects while the node subscribes: the next
/// member was counted as the second one, and the node was never subscribed.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_given_up_leaves_the_next_member_its_messages() {
    let mut stores = memory::stores();
    let hanging = Arc::new(BlockingRoomStore {
        inner: Arc::clone(&stores.room),
        gate: Semaphore::new(0),
    });
    stores.room = Arc::clone(&hanging) as _;
    let node = node(&stores);
    let room = Some(RoomId::new(1).unwrap());
    let (first, _) = live(&node, 1, 10, 0).await;
    let (second, _) = live(&node, 2, 20, 0).await;
    give_up(first.subscribe(room, Seq::ZERO)).await;
    let joined = async {
        tokio::task::yield_now().await;
        drop(first);
        hanging.gate.add_permits(1);
    };
    let (joined, ()) = tokio::join!(second.subscribe(room, Seq::ZERO), joined);
    joined.unwrap();
    publish(&node, 1, false).await;
    let got = tokio::time::timeout(Duration::from_mins(1), next(&second, 1)).await;
    assert_eq!(got, Ok(vec![1]));
    drop(second);
    node.stop().await;
    assert_eq!(node.gateway().inner.rooms.rooms_open(), 0);
}

/// A move that is given up before it has left the old room left the connection in that room.
#[tokio::test(start_paused = true)]
async fn a_move_to_another_room_that_is_given_up_still_leaves_the_old_room() {
    let stores = memory::stores();
    let node = node(&stores);
    let room = |n| Some(RoomId::new(n).unwrap());
    let (bob, _) = live(&node, 2, 21, 0).await;
    bob.subscribe(room(1), Seq::ZERO).await.unwrap();
    {
        let _busy = node
            .gateway()
            .inner
            .rooms
            .gate(RoomId::new(1).unwrap())
            .await;
        give_up(bob.subscribe(room(2), Seq::ZERO)).await;
    }
    drop(bob);
    node.stop().await;
    assert_eq!(node.gateway().inner.rooms.rooms_open(), 0);
}

/// A room store that counts the history it reads, and can block the reads or fail them.
#[derive(Debug)]
struct CountingRoomStore {
    inner: Arc<dyn RoomStore>,
    gate: Semaphore,
    fails: AtomicBool,
    reads: AtomicUsize,
    items: AtomicUsize,
    reads_in_progress: AtomicUsize,
    most: AtomicUsize,
}

impl CountingRoomStore {
    /// Returns stores with this room store; `permits` reads may run.
    fn stores(permits: usize) -> (StoreSet, Arc<Self>) {
        let mut stores = memory::stores();
        let watched = Arc::new(Self {
            inner: Arc::clone(&stores.room),
            gate: Semaphore::new(permits),
            fails: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            reads_in_progress: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        stores.room = Arc::clone(&watched) as _;
        (stores, watched)
    }
}

#[async_trait::async_trait]
impl RoomStore for CountingRoomStore {
    async fn publish(
        &self,
        room: RoomId,
        envelope: Arc<Envelope>,
        keep: bool,
    ) -> Result<Arc<RoomItem>, StoreError> {
        self.inner.publish(room, envelope, keep).await
    }

    async fn history(
        &self,
        room: RoomId,
        from: Seq,
        limit: PageLimit,
    ) -> Result<RoomHistory, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let under_way = self.reads_in_progress.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(under_way, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(1);
        self.reads_in_progress.fetch_sub(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::new("room.history", StoreErrorKind::Unavailable));
        }
        let page = self.inner.history(room, from, limit).await?;
        self.items.fetch_add(page.items.len(), Ordering::SeqCst);
        Ok(page)
    }

    async fn subscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        self.inner.subscribe(room, sink).await
    }

    async fn unsubscribe(&self, room: RoomId, sink: Arc<dyn RoomSink>) -> Result<(), StoreError> {
        self.inner.unsubscribe(room, sink).await
    }
}

async fn publish_large(node: &RunningNode, room: u64, bytes: usize) {
    let draft = RoomDraft {
        room: RoomId::new(room).unwrap(),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(Bytes::from(vec![b'x'; bytes])),
        persist: true,
    };
    let pushed = node
        .service()
        .push_room(MessageSender::Business, draft)
        .await;
    pushed.unwrap();
}

/// D2: each of 60 subscribers read the whole history for itself.
#[tokio::test(start_paused = true)]
async fn d2_a_page_is_read_once_for_all_who_wait_for_it() {
    let (stores, watched) = CountingRoomStore::stores(1);
    let node = node(&stores);
    for _ in 0..64 {
        publish_large(&node, 1, 60 * 1024).await;
    }
    let mut followers = Vec::new();
    for n in 1..=60 {
        let (follower, _) = live(&node, n, n, 0).await;
        follower
            .subscribe(RoomId::new(1), Seq::new(1))
            .await
            .unwrap();
        followers.push(follower);
    }
    let all: Vec<u64> = (1..=64).collect();
    futures_util::future::join_all(followers.iter().map(async |follower| {
        assert_eq!(next(follower, 64).await, all);
    }))
    .await;
    let items = watched.items.load(Ordering::SeqCst);
    assert!(items <= 4 * 64, "{items} messages were read for 64");
}

/// D2: reads of histories used all of Redis.
#[tokio::test(start_paused = true)]
async fn d2_a_few_histories_are_read_at_a_time() {
    let (stores, watched) = CountingRoomStore::stores(0);
    let node = node(&stores);
    let mut followers = Vec::new();
    for n in 1..=30 {
        publish(&node, n, true).await;
        let (follower, _) = live(&node, n, n, 0).await;
        follower
            .subscribe(RoomId::new(n), Seq::new(1))
            .await
            .unwrap();
        follower.read().await.unwrap();
        followers.push(follower);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    watched.gate.add_permits(1);
    for follower in &followers {
        assert_eq!(next(follower, 1).await, [1]);
    }
    let most = watched.most.load(Ordering::SeqCst);
    assert!((1..=4).contains(&most), "{most} at a time");
}

/// D2: a connection got nothing else while it waited for a history.
#[tokio::test(start_paused = true)]
async fn d2_a_history_that_hangs_holds_up_no_message() {
    let (stores, watched) = CountingRoomStore::stores(0);
    let node = node(&stores);
    publish(&node, 1, true).await;
    let (bob, _) = live(&node, 2, 21, 0).await;
    bob.subscribe(RoomId::new(1), Seq::new(1)).await.unwrap();
    let begun = tokio::time::Instant::now();
    for n in 1..=3 {
        send(&node, 1, 11, 2).await;
        assert_eq!(next(&bob, 1).await, [n]);
    }
    // Time is paused: it passes only while nothing else can go on, so a wait for the history's
    // time-out would show here.
    let waited = begun.elapsed();
    assert!(waited < Duration::from_millis(100), "{waited:?}");
    watched.gate.add_permits(1);
    assert_eq!(next(&bob, 1).await, [1]);
}

/// D2: every subscriber repeated a read that had timed out twice a second.
#[tokio::test(start_paused = true)]
async fn d2_a_history_that_fails_is_requested_less_and_less() {
    let (stores, watched) = CountingRoomStore::stores(1);
    let node = node(&stores);
    publish(&node, 1, true).await;
    watched.fails.store(true, Ordering::SeqCst);
    let (bob, _) = live(&node, 2, 21, 0).await;
    bob.subscribe(RoomId::new(1), Seq::new(1)).await.unwrap();
    let minute = tokio::time::timeout(Duration::from_mins(1), work(&bob)).await;
    assert!(minute.is_err(), "there is nothing to write");
    let reads = watched.reads.load(Ordering::SeqCst);
    assert!((4..=16).contains(&reads), "{reads} in a minute");
    // Meanwhile the inbox goes on; at the end the room does as well.
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&bob, 1).await, [1]);
    watched.fails.store(false, Ordering::SeqCst);
    assert_eq!(next(&bob, 1).await, [1]);
}

/// D2: a connection could request subscriptions, pages and heads as fast as it could write.
#[tokio::test(start_paused = true)]
async fn d2_requests_of_a_user_have_a_rate() {
    let stores = memory::stores();
    let mut builder = NodeBuilder::new(stores, Arc::new(OpenBusiness));
    builder.limits.request_rate = 1;
    builder.limits.request_burst = 4;
    let node = builder.start();
    let (bob, _) = live(&node, 2, 21, 0).await;
    let other = sign_in(&node, 2, 22, 1, false).await;
    bob.subscribe(RoomId::new(1), Seq::ZERO).await.unwrap();
    bob.heartbeat().unwrap();
    other.heartbeat().unwrap();
    let refused = [
        bob.heartbeat().map(drop),
        other.sync(Seq::ZERO).await.map(drop),
        bob.subscribe(None, Seq::ZERO).await,
    ];
    for refusal in refused {
        let Err(RequestRefusal::RateLimited { retry_after }) = refusal else {
            panic!("{refusal:?}");
        };
        assert_eq!(retry_after, Duration::from_secs(1));
    }
    let (alice, _) = live(&node, 1, 11, 0).await;
    alice.heartbeat().unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    bob.heartbeat().unwrap();
}
