//! Cases of `RoomStore`: streams, history and sinks. A sink may receive an item shortly after
//! `publish` has returned, so cases wait for the expected items.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::StoreFixture;
use super::helpers::{message, room, together};
use crate::envelope::Envelope;
use crate::id::RoomId;
use crate::message::{MessageReceiver, UserProfile};
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{RoomItem, RoomSink, RoomStore};

/// A sink that records the items it receives.
#[derive(Debug, Default)]
struct RecordingRoomSink {
    received: Mutex<Vec<Arc<RoomItem>>>,
    news: Notify,
}

impl RoomSink for RecordingRoomSink {
    fn deliver(&self, item: &Arc<RoomItem>) {
        self.received.lock().unwrap().push(Arc::clone(item));
        self.news.notify_waiters();
    }

    fn interrupted(&self, room: RoomId) {
        panic!("{room} was interrupted");
    }
}

impl RecordingRoomSink {
    /// Waits until `n` items have arrived, and returns their seqs.
    async fn wait_for(&self, n: usize) -> Vec<u64> {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            {
                let received = self.received.lock().unwrap();
                if received.len() >= n {
                    return received.iter().map(|it| it.seq.get()).collect();
                }
            }
            news.await;
        }
    }
}

fn envelope(id: RoomId, content: impl Into<String>) -> Arc<Envelope> {
    let message = message(MessageReceiver::Room(id), content.into());
    let profile = UserProfile {
        nickname: "Zoë 😀".into(),
        ..UserProfile::default()
    };
    Arc::new(Envelope::new(Arc::new(message), Arc::new(profile), 7))
}

async fn say(rooms: &dyn RoomStore, id: RoomId, content: impl Into<String>) -> Arc<RoomItem> {
    rooms
        .publish(id, envelope(id, content), true)
        .await
        .unwrap()
}

/// Returns the seqs in the history at or above `from`.
async fn kept(rooms: &dyn RoomStore, id: RoomId, from: u64) -> Vec<u64> {
    let history = rooms
        .history(id, Seq::new(from), PageLimit::items(10_000))
        .await
        .unwrap();
    assert!(!history.more);
    history.items.iter().map(|it| it.seq.get()).collect()
}

pub(super) async fn a_stream_counts_from_one(it: StoreFixture) {
    let rooms = &*it.stores.room;
    let first = say(rooms, room(1), "1").await;
    assert_eq!((first.room, first.seq.get()), (room(1), 1));
    for n in 2..=5 {
        let item = say(rooms, room(1), format!("{n}")).await;
        assert_eq!((item.stream, item.seq.get()), (first.stream, n));
    }
    let other = say(rooms, room(2), "1").await;
    assert_eq!(other.seq.get(), 1, "each room has its own");
    assert_ne!(other.stream, first.stream);
    let history = rooms
        .history(room(1), Seq::ZERO, PageLimit::items(10))
        .await
        .unwrap();
    assert_eq!((history.stream, history.head.get()), (first.stream, 5));
    assert_eq!(kept(rooms, room(2), 0).await, [1]);
}

/// In gim a replay makes one call per message, without a bound.
pub(super) async fn history_is_inclusive_and_paged(it: StoreFixture) {
    let rooms = &*it.stores.room;
    for n in 1..=10 {
        say(rooms, room(1), format!("{n}")).await;
    }
    assert_eq!(kept(rooms, room(1), 1).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(
        kept(rooms, room(1), 8).await,
        [8, 9, 10],
        "from is among them"
    );
    assert_eq!(kept(rooms, room(1), 11).await, [0; 0]);
    let (mut from, mut read) = (Seq::ZERO, Vec::new());
    for (size, more) in [(4, true), (4, true), (2, false)] {
        let page = rooms
            .history(room(1), from, PageLimit::items(4))
            .await
            .unwrap();
        assert_eq!((page.items.len(), page.more), (size, more));
        from = page.items.last().unwrap().seq.next();
        read.extend(page.items);
    }
    for (n, item) in read.iter().enumerate() {
        assert_eq!(item.seq.get(), n as u64 + 1);
        assert_eq!(item.envelope.message.content.0, format!("{}", n + 1));
        assert_eq!(item.envelope.profile.nickname, "Zoë 😀");
        assert_eq!(item.room, room(1));
    }
}

/// D2: a reader pays for the page that it gets, not for the whole history of the room.
pub(super) async fn a_page_of_history_ends_by_bytes(it: StoreFixture) {
    let rooms = &*it.stores.room;
    for size in [60_000, 60_000, 60_000, 10, 10, 60_000] {
        say(rooms, room(1), "x".repeat(size)).await;
    }
    let mut from = Seq::ZERO;
    for (seqs, more) in [(vec![1, 2], true), (vec![3, 4, 5, 6], false)] {
        let limit = PageLimit {
            items: 100,
            bytes: 100_000,
        };
        let page = rooms.history(room(1), from, limit).await.unwrap();
        let read: Vec<u64> = page.items.iter().map(|it| it.seq.get()).collect();
        assert_eq!((read, page.more), (seqs, more));
        from = page.items.last().unwrap().seq.next();
    }
    let limit = PageLimit { items: 1, bytes: 1 };
    let page = rooms.history(room(1), Seq::ZERO, limit).await.unwrap();
    assert_eq!((page.items.len(), page.more), (1, true), "one at least");
}

/// As in an inbox, the page ends with the item that passes the limit, not with one that reaches it.
pub(super) async fn a_page_of_history_goes_on_at_its_exact_limit(it: StoreFixture) {
    let rooms = &*it.stores.room;
    for _ in 0..3 {
        say(rooms, room(1), "x".repeat(1_000)).await;
    }
    // A store decides how much a message counts, so the least limits are searched: that of two
    // items is the size of the first, and that of three the size of the first two.
    let least = async |count: usize| {
        let (mut low, mut high) = (1, 100_000);
        while low < high {
            let bytes = usize::midpoint(low, high);
            let limit = PageLimit { items: 9, bytes };
            let page = rooms.history(room(1), Seq::ZERO, limit).await.unwrap();
            if page.items.len() >= count {
                high = bytes;
            } else {
                low = bytes + 1;
            }
        }
        low
    };
    let (two, three) = (least(2).await, least(3).await);
    assert_eq!(three, 2 * two);
}

pub(super) async fn a_silent_room_has_no_history(it: StoreFixture) {
    let rooms = &*it.stores.room;
    let history = rooms
        .history(room(1), Seq::ZERO, PageLimit::items(10))
        .await
        .unwrap();
    assert!(history.items.is_empty() && !history.more);
    assert_eq!(history.head, Seq::ZERO);
}

pub(super) async fn live_only_takes_a_seq_but_is_not_kept(it: StoreFixture) {
    let rooms = &*it.stores.room;
    let ear = Arc::new(RecordingRoomSink::default());
    rooms
        .subscribe(room(1), Arc::clone(&ear) as _)
        .await
        .unwrap();
    for keep in [true, false, true, false] {
        rooms
            .publish(room(1), envelope(room(1), "hi"), keep)
            .await
            .unwrap();
    }
    assert_eq!(ear.wait_for(4).await, [1, 2, 3, 4]);
    assert_eq!(kept(rooms, room(1), 0).await, [1, 3]);
    let history = rooms
        .history(room(1), Seq::new(2), PageLimit::items(10))
        .await
        .unwrap();
    assert_eq!(history.head.get(), 4);
    assert_eq!(history.items[0].seq.get(), 3);
}

/// in gim room messages overtake each other.
pub(super) async fn a_sink_receives_a_room_in_order(it: StoreFixture) {
    let s = it.stores;
    let subscribers = [
        Arc::new(RecordingRoomSink::default()),
        Arc::new(RecordingRoomSink::default()),
    ];
    for ear in &subscribers {
        s.room
            .subscribe(room(1), Arc::clone(ear) as _)
            .await
            .unwrap();
    }
    let said = together(64, |i| {
        let s = s.clone();
        async move {
            let mut mine = Vec::new();
            for n in 0..5 {
                mine.push(say(&*s.room, room(1), format!("{i} {n}")).await.seq.get());
                say(&*s.room, room(2), "aside").await;
            }
            assert!(mine.is_sorted());
            mine
        }
    })
    .await;
    let mut said: Vec<_> = said.into_iter().flatten().collect();
    said.sort_unstable();
    let want: Vec<u64> = (1..=320).collect();
    assert_eq!(said, want);
    for ear in &subscribers {
        assert_eq!(ear.wait_for(320).await, want);
        let received = ear.received.lock().unwrap();
        assert!(
            received.iter().all(|it| it.room == room(1)),
            "another room's message"
        );
    }
    assert_eq!(kept(&*s.room, room(1), 0).await, want);
}

pub(super) async fn a_second_subscription_changes_nothing(it: StoreFixture) {
    let rooms = &*it.stores.room;
    let (ear, other) = (
        Arc::new(RecordingRoomSink::default()),
        Arc::new(RecordingRoomSink::default()),
    );
    for _ in 0..3 {
        rooms
            .subscribe(room(1), Arc::clone(&ear) as _)
            .await
            .unwrap();
    }
    rooms
        .subscribe(room(1), Arc::clone(&other) as _)
        .await
        .unwrap();
    say(rooms, room(1), "1").await;
    say(rooms, room(1), "2").await;
    assert_eq!(other.wait_for(2).await, [1, 2]);
    assert_eq!(ear.wait_for(2).await, [1, 2]);
    // One unsubscribe ends the subscription, even if it was made several times.
    rooms
        .unsubscribe(room(1), Arc::clone(&ear) as _)
        .await
        .unwrap();
    say(rooms, room(1), "3").await;
    assert_eq!(other.wait_for(3).await, [1, 2, 3]);
    assert_eq!(ear.wait_for(2).await, [1, 2]);
}

pub(super) async fn an_ended_subscription_receives_no_item(it: StoreFixture) {
    let rooms = &*it.stores.room;
    let (ear, witness) = (
        Arc::new(RecordingRoomSink::default()),
        Arc::new(RecordingRoomSink::default()),
    );
    rooms
        .unsubscribe(room(1), Arc::clone(&ear) as _)
        .await
        .unwrap();
    rooms
        .subscribe(room(1), Arc::clone(&witness) as _)
        .await
        .unwrap();
    let mut received = 0;
    for n in 0..50 {
        rooms
            .subscribe(room(1), Arc::clone(&ear) as _)
            .await
            .unwrap();
        say(rooms, room(1), "in").await;
        received += 1;
        ear.wait_for(received).await;
        rooms
            .unsubscribe(room(1), Arc::clone(&ear) as _)
            .await
            .unwrap();
        say(rooms, room(1), "out").await;
        witness.wait_for(2 * n + 2).await;
        assert_eq!(ear.wait_for(0).await.len(), received);
    }
}

/// Subscribe, then read the history: no message is lost between the two.
pub(super) async fn history_and_live_leave_no_hole(it: StoreFixture) {
    let s = it.stores;
    let speaker = async {
        for n in 1..=400 {
            say(&*s.room, room(1), format!("{n}")).await;
            tokio::task::yield_now().await;
        }
    };
    let listeners = together(8, |i| {
        let s = s.clone();
        async move {
            let ear = Arc::new(RecordingRoomSink::default());
            // Each subscriber joins at another point.
            while s
                .room
                .history(room(1), Seq::ZERO, PageLimit::items(1))
                .await
                .unwrap()
                .head
                .get()
                < i * 20
            {
                tokio::task::yield_now().await;
            }
            s.room
                .subscribe(room(1), Arc::clone(&ear) as _)
                .await
                .unwrap();
            let mut seen = kept(&*s.room, room(1), 0).await;
            let until = seen.last().copied().unwrap_or_default();
            loop {
                let live = ear.wait_for(0).await;
                if until == 400 || live.last() == Some(&400) {
                    seen.extend(live.into_iter().filter(|it| *it > until));
                    return seen;
                }
                ear.wait_for(live.len() + 1).await;
            }
        }
    });
    let (seen, ()) = tokio::join!(listeners, speaker);
    for seen in seen {
        assert_eq!(seen, (1..=400).collect::<Vec<_>>());
    }
}

/// C-16, C-17: in gim a subscription that races with a push ends the process or receives nothing.
pub(super) async fn coming_and_going_loses_no_listener(it: StoreFixture) {
    let s = it.stores;
    let talk = {
        let s = s.clone();
        together(2, move |_| {
            let s = s.clone();
            async move {
                for _ in 0..100 {
                    let spoken = envelope(room(1), "hi");
                    s.room.publish(room(1), spoken, false).await.unwrap();
                }
            }
        })
    };
    let come_and_go = together(16, |_| {
        let s = s.clone();
        async move {
            for _ in 0..20 {
                let ear = Arc::new(RecordingRoomSink::default());
                s.room
                    .subscribe(room(1), Arc::clone(&ear) as _)
                    .await
                    .unwrap();
                say(&*s.room, room(1), "me").await;
                ear.wait_for(1).await;
                s.room
                    .unsubscribe(room(1), Arc::clone(&ear) as _)
                    .await
                    .unwrap();
                assert!(ear.wait_for(0).await.is_sorted());
            }
        }
    });
    tokio::join!(talk, come_and_go);
    let ear = Arc::new(RecordingRoomSink::default());
    s.room
        .subscribe(room(1), Arc::clone(&ear) as _)
        .await
        .unwrap();
    let last = say(&*s.room, room(1), "last").await;
    assert_eq!(ear.wait_for(1).await, [last.seq.get()]);
}
