//! Tests of the properties that in-memory storage adds to the contract: its limits and its use of
//! the clock.

use std::sync::Arc;
use std::time::Duration;

use super::{InboxRetention, MemoryConfig, MemoryRoom, RoomBounds};
use crate::envelope::Envelope;
use crate::id::{RoomId, UserId};
use crate::message::{Message, MessageReceiver, MessageSender, UserProfile};
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{
    AppendOutcome, AppendRequest, IdempotencyKey, RoomSink, RoomStore as _, StoreSet,
};
use crate::testkit::helpers::{self, room};
use crate::time::{ManualClock, TimeSource as _};

fn me() -> UserId {
    UserId::new(1).unwrap()
}

fn message(size: usize) -> Arc<Message> {
    Arc::new(Message {
        sender: MessageSender::System,
        ..helpers::message(MessageReceiver::User(me()), vec![b'x'; size])
    })
}

fn send(size: usize) -> AppendRequest {
    AppendRequest {
        message: message(size),
        ..helpers::send(&[me()], "")
    }
}

/// Returns the floor and head of the inbox, after checking them against its entries.
async fn span(s: &StoreSet) -> (u64, u64) {
    let head = s.seq.heads(&[me()]).await.unwrap()[0];
    let all = PageLimit::items(usize::MAX);
    let page = s.inbox.after(me(), Seq::ZERO, all).await.unwrap();
    assert_eq!(page.items[0].seq, head.floor.next());
    assert_eq!(page.items.last().unwrap().seq, head.head);
    (head.floor.get(), head.head.get())
}

#[tokio::test]
async fn the_oldest_entries_go_beyond_the_count() {
    let s = MemoryConfig {
        retention: InboxRetention {
            entries: 10,
            ..InboxRetention::default()
        },
        ..MemoryConfig::default()
    }
    .stores();
    for n in 1..=25 {
        s.inbox.append(&[send(10)]).await.unwrap();
        assert_eq!(span(&s).await, (25_u64.min(n).saturating_sub(10), n));
    }
}

#[tokio::test]
async fn the_oldest_entries_go_beyond_the_bytes() {
    let s = MemoryConfig {
        retention: InboxRetention {
            bytes: 10_000,
            ..InboxRetention::default()
        },
        ..MemoryConfig::default()
    }
    .stores();
    for _ in 0..5 {
        s.inbox.append(&[send(3_000)]).await.unwrap();
    }
    assert_eq!(span(&s).await, (2, 5));
    // The newest entry is kept even if it is larger than the limit, because its send was answered.
    s.inbox.append(&[send(60_000)]).await.unwrap();
    assert_eq!(span(&s).await, (5, 6));
    s.inbox.append(&[send(10)]).await.unwrap();
    assert_eq!(span(&s).await, (6, 7));
}

#[tokio::test]
async fn a_key_lasts_as_long_as_its_window() {
    let clock = Arc::new(ManualClock::default());
    let s = MemoryConfig {
        clock: Arc::clone(&clock) as _,
        ..MemoryConfig::default()
    }
    .stores();
    let keyed = |window| {
        let mut send = send(1);
        send.key = Some(IdempotencyKey {
            id: vec![1],
            digest: [0; 16],
            window,
        });
        [send]
    };
    let minute = Duration::from_mins(1);
    s.inbox.append(&keyed(minute)).await.unwrap();
    clock.advance(Duration::from_millis(59_999));
    assert_eq!(s.inbox.sweep(9).await.unwrap(), 0);
    let again = s.inbox.append(&keyed(minute)).await.unwrap();
    assert!(matches!(again[0], AppendOutcome::Repeated { .. }));
    clock.advance(Duration::from_millis(1));
    // The window ends without a sweep, and a late sweep leaves the new key alone.
    let anew = s.inbox.append(&keyed(minute)).await.unwrap();
    assert!(matches!(anew[0], AppendOutcome::Stored { .. }));
    assert_eq!(s.inbox.sweep(9).await.unwrap(), 0);
    let again = s.inbox.append(&keyed(minute)).await.unwrap();
    assert!(matches!(again[0], AppendOutcome::Repeated { .. }));
    clock.advance(minute);
    assert_eq!(s.inbox.sweep(9).await.unwrap(), 1);
}

#[derive(Debug)]
struct NullRoomSink;

impl RoomSink for NullRoomSink {
    fn deliver(&self, _item: &Arc<crate::store::RoomItem>) {}
    fn interrupted(&self, _room: RoomId) {}
}

fn rooms(bounds: RoomBounds) -> (StoreSet, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let memory = MemoryConfig {
        clock: Arc::clone(&clock) as _,
        room: bounds,
        ..MemoryConfig::default()
    };
    (memory.stores(), clock)
}

async fn say(s: &StoreSet, to: RoomId, size: usize) -> Arc<crate::store::RoomItem> {
    let profile = Arc::new(UserProfile::default());
    let envelope = Arc::new(Envelope::new(message(size), profile, 0));
    s.room.publish(to, envelope, true).await.unwrap()
}

async fn kept(s: &StoreSet, of: RoomId) -> Vec<u64> {
    let history = s
        .room
        .history(of, Seq::ZERO, PageLimit::items(10_000))
        .await
        .unwrap();
    history.items.iter().map(|it| it.seq.get()).collect()
}

#[tokio::test]
async fn a_room_keeps_the_newest_by_count_bytes_and_age() {
    let (s, clock) = rooms(RoomBounds {
        messages: 10,
        bytes: 10_000,
        age: Duration::from_secs(10),
        ..RoomBounds::default()
    });
    for _ in 0..15 {
        say(&s, room(1), 1).await;
    }
    assert_eq!(kept(&s, room(1)).await, (6..=15).collect::<Vec<_>>());
    for _ in 0..3 {
        say(&s, room(1), 4_000).await;
    }
    assert_eq!(kept(&s, room(1)).await, [17, 18]);
    clock.advance(Duration::from_secs(9));
    say(&s, room(1), 1).await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(kept(&s, room(1)).await, [19]);
}

/// D10: 58 MiB of 1,000 pushes were still held an hour later.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_although_nobody_calls() {
    let clock = Arc::new(ManualClock::default());
    let bounds = RoomBounds::default();
    let rooms = MemoryRoom::new(Arc::clone(&clock) as _, bounds);
    let profile = Arc::new(UserProfile::default());
    for n in 1..=20 {
        let envelope = Envelope::new(message(1_000), Arc::clone(&profile), 0);
        rooms
            .publish(room(n), Arc::new(envelope), true)
            .await
            .unwrap();
    }
    assert!(rooms.kept_bytes() > 20_000);
    clock.advance(bounds.age);
    tokio::time::timeout(Duration::from_mins(1), async {
        while rooms.kept_bytes() > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await
    .expect("a timer drops it");
}

/// D10: each room was bounded, but their number was not.
#[tokio::test]
async fn all_rooms_together_are_bounded_and_the_oldest_messages_go() {
    let clock = Arc::new(ManualClock::default());
    let bounds = RoomBounds {
        total_bytes: 100_000,
        ..RoomBounds::default()
    };
    let rooms = MemoryRoom::new(Arc::clone(&clock) as _, bounds);
    let profile = Arc::new(UserProfile::default());
    let all = PageLimit::items(1_000);
    for n in 1..=500 {
        let envelope = Envelope::new(message(1_000), Arc::clone(&profile), 0);
        rooms
            .publish(room(n % 50 + 1), Arc::new(envelope), true)
            .await
            .unwrap();
        clock.advance(Duration::from_millis(1));
        assert!(rooms.kept_bytes() <= bounds.total_bytes);
    }
    let newest = rooms.history(room(1), Seq::ZERO, all).await.unwrap();
    assert_eq!(
        newest.items.last().unwrap().seq,
        newest.head,
        "the newest message is kept"
    );
    let mut kept = 0;
    for n in 1..=50 {
        kept += rooms
            .history(room(n), Seq::ZERO, all)
            .await
            .unwrap()
            .items
            .len();
    }
    assert!((20..=90).contains(&kept), "{kept} of 500 fit");
    // Rooms without messages count as well.
    for n in 1_000..2_000 {
        let envelope = Envelope::new(message(1), Arc::clone(&profile), 0);
        rooms
            .publish(room(n), Arc::new(envelope), false)
            .await
            .unwrap();
        clock.advance(Duration::from_millis(1));
    }
    assert!(rooms.kept_bytes() <= bounds.total_bytes);
}

/// P9: after one second of a wrong wall clock, the front of the queue was due in the future and
/// nothing behind it was dropped again.
#[tokio::test]
async fn a_wrong_wall_clock_holds_up_no_sweep() {
    let bounds = RoomBounds::default();
    let (s, clock) = rooms(bounds);
    let keyed = |id| {
        let mut send = send(1);
        send.key = Some(IdempotencyKey {
            id: vec![id],
            digest: [0; 16],
            window: Duration::from_mins(1),
        });
        [send]
    };
    let right = clock.now();
    clock.set(right.after(Duration::from_hours(24 * 365)));
    say(&s, room(1), 1).await;
    s.inbox.append(&keyed(1)).await.unwrap();
    clock.set(right);
    say(&s, room(1), 1).await;
    s.inbox.append(&keyed(2)).await.unwrap();
    clock.advance(bounds.age);
    assert_eq!(kept(&s, room(1)).await, [0; 0]);
    assert_eq!(s.inbox.sweep(9).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_idle_room_is_dropped_and_comes_back_as_another_stream() {
    let bounds = RoomBounds::default();
    let (s, clock) = rooms(bounds);
    let first = say(&s, room(1), 1).await;
    let published = say(&s, room(2), 1).await;
    s.room
        .subscribe(room(2), Arc::new(NullRoomSink))
        .await
        .unwrap();
    clock.advance(Duration::from_millis(119_999));
    assert_eq!(
        say(&s, room(1), 1).await.stream,
        first.stream,
        "not idle yet"
    );
    for _ in 0..2 {
        clock.advance(bounds.age);
        // Lets the timer run.
        tokio::time::sleep(bounds.age).await;
    }
    let back = say(&s, room(1), 1).await;
    assert_ne!(back.stream, first.stream);
    assert_eq!(back.seq.get(), 1);
    let on = say(&s, room(2), 1).await;
    assert_eq!(
        (on.stream, on.seq.get()),
        (published.stream, 2),
        "the room has a subscriber"
    );
}
