//! Rooms on a live connection: following one, its history, and who is held up by whom.

use bytes::Bytes;

use super::*;
use crate::envelope::Envelope;
use crate::message::Content;
use crate::service::RoomDraft;
use crate::store::{RoomHistory, RoomItem, RoomSink, RoomStore, StoreError};

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
        envelope: Arc<Envelope>,
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
