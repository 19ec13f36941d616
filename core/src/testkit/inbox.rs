//! Cases of `InboxStore`: entries, pages and trimming.

use std::sync::Arc;

use super::StoreFixture;
use super::helpers::{
    append, contents, device, group, head, inbox, last, message, page, put, send, stored, user,
    users,
};
use crate::limits::FANOUT_CHUNK;
use crate::message::{MessageReceiver, MessageSender};
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{AppendRequest, Head, StoreErrorKind};
use crate::time::UnixTimestamp;

/// Law 3: an inbox begins at 1 and continues without a hole.
pub(super) async fn the_first_entry_is_one(it: StoreFixture) {
    let s = &it.stores;
    for n in 1..=5 {
        assert_eq!(put(s, &[user(1)], "hi").await, [(user(1), Seq::new(n))]);
    }
    assert_eq!(inbox(s, user(1)).await.len(), 5);
}

pub(super) async fn seqs_follow_the_recipients(it: StoreFixture) {
    let s = &it.stores;
    put(s, &[user(2)], "before").await;
    put(s, &[user(2)], "before").await;
    // Not sorted by id: the entries are returned in the order of the recipients.
    let made = put(s, &[user(3), user(1), user(2)], "hi").await;
    let want = [(3, 1), (1, 1), (2, 3)].map(|(who, seq)| (user(who), Seq::new(seq)));
    assert_eq!(made, want);
}

pub(super) async fn a_batch_keeps_its_order(it: StoreFixture) {
    let s = &it.stores;
    let batch: Vec<AppendRequest> = (0..40)
        .map(|n| match n % 3 {
            0 => send(&[user(1), user(2)], format!("{n}")),
            1 => send(&[user(2), user(1)], format!("{n}")),
            _ => send(&[user(3), user(1), user(2)], format!("{n}")),
        })
        .collect();
    let outcomes = s.inbox.append(&batch).await.unwrap();
    let want: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(contents(s, user(1)).await, want);
    assert_eq!(contents(s, user(2)).await, want);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let seqs = stored(outcome);
        let (_, mine) = seqs.iter().find(|(who, _)| *who == user(1)).unwrap();
        assert_eq!(
            mine.get(),
            n as u64 + 1,
            "the outcomes stand in the batch's order"
        );
    }
}

/// Law 1: an answered entry is visible to the next read.
pub(super) async fn a_stored_send_is_read_at_once(it: StoreFixture) {
    let s = &it.stores;
    for n in 1..=50 {
        put(s, &[user(1), user(2)], format!("{n}")).await;
        assert_eq!(last(s, user(1)).await, n);
        let seen = page(s, user(2), Seq::new(n - 1), PageLimit::items(9)).await;
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].message.content.0, format!("{n}"));
    }
}

pub(super) async fn an_empty_batch_is_nothing(it: StoreFixture) {
    assert_eq!(it.stores.inbox.append(&[]).await.unwrap(), []);
}

pub(super) async fn a_send_to_nobody_is_misuse(it: StoreFixture) {
    let s = &it.stores;
    let batch = [send(&[user(1)], "hi"), send(&[], "to nobody")];
    let refused = s.inbox.append(&batch).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Misuse);
    assert_eq!(last(s, user(1)).await, 0, "nothing of the batch was stored");
}

pub(super) async fn a_large_send_needs_a_group(it: StoreFixture) {
    let s = &it.stores;
    let many = users(1..=FANOUT_CHUNK as u64 + 1);
    let batch = [send(&[user(1)], "hi"), send(&many, "to many")];
    let refused = s.inbox.append(&batch).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Misuse);
    assert_eq!(last(s, user(1)).await, 0, "nothing of the batch was stored");
}

/// A batch at its limits: 512 sends, nearly 5,000 entries.
pub(super) async fn a_full_batch_is_one_step(it: StoreFixture) {
    let s = &it.stores;
    let batch: Vec<AppendRequest> = (0..512)
        .map(|n| send(&users(n + 1..=n + 9), format!("{n}")))
        .collect();
    let outcomes = s.inbox.append(&batch).await.unwrap();
    assert_eq!(outcomes.len(), 512);
    assert!(outcomes.into_iter().all(|it| stored(it).len() == 9));
    let everyone = users(1..=520);
    let heads = s.seq.heads(&everyone).await.unwrap();
    let entries: u64 = heads.iter().map(|it| it.head.get()).sum();
    assert_eq!(entries, 512 * 9);
    let want: Vec<_> = (291..300).map(|n| n.to_string()).collect();
    assert_eq!(contents(s, user(300)).await, want);
}

/// A batch at its limit of bytes: 4 MiB of the largest messages.
pub(super) async fn a_batch_of_large_messages_is_one_step(it: StoreFixture) {
    let s = &it.stores;
    let batch: Vec<AppendRequest> = (0..68_u8)
        .map(|n| send(&users(1..=u64::from(n % 3) + 1), vec![n; 60 * 1024]))
        .collect();
    for outcome in s.inbox.append(&batch).await.unwrap() {
        stored(outcome);
    }
    let read = inbox(s, user(1)).await;
    assert_eq!(read.len(), 68);
    for (entry, sent) in read.iter().zip(&batch) {
        assert!(
            entry.message == sent.message,
            "{} came back changed",
            entry.seq
        );
    }
}

pub(super) async fn entries_are_what_was_sent(it: StoreFixture) {
    let s = &it.stores;
    let senders = [
        MessageSender::System,
        MessageSender::Business,
        MessageSender::User {
            user: user(crate::id::MAX_ID),
            device: None,
        },
        MessageSender::User {
            user: user(1),
            device: Some(device(crate::id::MAX_ID)),
        },
    ];
    let mut sent = Vec::new();
    for sender in senders {
        for (receiver, kind) in [
            (MessageReceiver::User(user(7)), 0),
            (MessageReceiver::Group(group(7)), -3),
        ] {
            let mut message = message(receiver, "hi");
            message.sender = sender;
            message.kind = kind;
            message.mentions = users(1..=200);
            message.mentions.reverse();
            message.sent_at = UnixTimestamp(1_790_000_000_001 - i64::from(kind));
            let message = Arc::new(message);
            let mut one = send(&[user(7), user(8), user(9)], "");
            one.message = Arc::clone(&message);
            stored(append(s, one).await);
            sent.push(message);
        }
    }
    for who in [7, 8, 9] {
        let read = inbox(s, user(who)).await;
        let read: Vec<_> = read.into_iter().map(|it| it.message).collect();
        assert_eq!(read, sent);
    }
}

/// Content is opaque: empty, NUL bytes, emoji, and up to the limit of 60 KiB.
pub(super) async fn any_content_comes_back(it: StoreFixture) {
    let s = &it.stores;
    let large: Vec<u8> = (0..60 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let mut contents: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0; 10],
        "😀 łódź 𝕏".into(),
        vec![0xff, 0x00, 0xfe, 0xc0],
        large,
    ];
    // Sizes around those at which an engine may split a body.
    for size in [255, 256, 4_095, 4_096, 4_097, 8_192, 12_289] {
        contents.push((0..size).map(|n: u32| (n % 253) as u8).collect());
    }
    let recipients = [users(1..=1), users(2..=3), users(4..=6)];
    for to in &recipients {
        for content in &contents {
            put(s, to, content.clone()).await;
        }
    }
    for who in users(1..=6) {
        let read = inbox(s, who).await;
        let read: Vec<_> = read
            .iter()
            .map(|it| it.message.content.0.to_vec())
            .collect();
        assert_eq!(read, contents);
    }
}

/// An engine may store a body inside the entries of two recipients, and separately for three;
/// readers see no difference.
pub(super) async fn one_two_and_three_recipients_read_the_same(it: StoreFixture) {
    let s = &it.stores;
    for round in 0..3 {
        put(s, &users(1..=1), format!("{round}: one")).await;
        put(s, &users(1..=2), format!("{round}: two")).await;
        put(s, &users(1..=3), format!("{round}: three")).await;
        put(s, &users(1..=40), format!("{round}: forty")).await;
    }
    let of = |kinds: &[&str]| -> Vec<String> {
        let rounds = (0..3).flat_map(|n| kinds.iter().map(move |it| format!("{n}: {it}")));
        rounds.collect()
    };
    assert_eq!(
        contents(s, user(1)).await,
        of(&["one", "two", "three", "forty"])
    );
    assert_eq!(contents(s, user(2)).await, of(&["two", "three", "forty"]));
    assert_eq!(contents(s, user(3)).await, of(&["three", "forty"]));
    assert_eq!(contents(s, user(40)).await, of(&["forty"]));
}

/// Law 12; gim's SYNC has no order (M-15).
pub(super) async fn pages_come_in_order(it: StoreFixture) {
    let s = &it.stores;
    for n in 1..=25 {
        put(s, &[user(1), user(2)], format!("{n}")).await;
    }
    let mut cursor = Seq::ZERO;
    for (size, more) in [(10, true), (10, true), (5, false)] {
        let page = s
            .inbox
            .after(user(1), cursor, PageLimit::items(10))
            .await
            .unwrap();
        assert_eq!((page.items.len(), page.more), (size, more));
        for entry in page.items {
            assert_eq!(entry.seq, cursor.next());
            assert_eq!(entry.message.content.0, entry.seq.to_string());
            cursor = entry.seq;
        }
    }
}

pub(super) async fn a_page_ends_by_items(it: StoreFixture) {
    let s = &it.stores;
    for _ in 0..10 {
        put(s, &[user(1)], "hi").await;
    }
    for (items, more) in [(1, true), (9, true), (10, false), (11, false)] {
        let page = s
            .inbox
            .after(user(1), Seq::ZERO, PageLimit::items(items))
            .await
            .unwrap();
        assert_eq!((page.items.len(), page.more), (items.min(10), more));
    }
}

/// The page ends with the item that passes the limit of bytes (in gim it shrinks to nothing: M-12).
pub(super) async fn a_page_ends_by_bytes(it: StoreFixture) {
    let s = &it.stores;
    for _ in 0..10 {
        put(s, &[user(1), user(2), user(3)], vec![b'x'; 1_000]).await;
    }
    for (bytes, items) in [
        (999, 1),
        (1_000, 2),
        (1_500, 2),
        (2_000, 3),
        (2_500, 3),
        (8_999, 9),
        (9_999, 10),
        (90_000, 10),
    ] {
        let limit = PageLimit { items: 50, bytes };
        let page = s.inbox.after(user(2), Seq::ZERO, limit).await.unwrap();
        assert_eq!(page.items.len(), items, "{bytes} bytes");
        assert_eq!(page.more, items < 10);
    }
}

/// M-12: a large message does not block the sync.
pub(super) async fn a_page_has_at_least_one_item(it: StoreFixture) {
    let s = &it.stores;
    for _ in 0..3 {
        put(s, &[user(1)], vec![b'x'; 60 * 1024]).await;
    }
    let mut cursor = Seq::ZERO;
    for n in 1..=3 {
        let limit = PageLimit { items: 1, bytes: 1 };
        let page = s.inbox.after(user(1), cursor, limit).await.unwrap();
        assert_eq!((page.items.len(), page.more), (1, n < 3));
        cursor = page.items[0].seq;
    }
    assert_eq!(cursor.get(), 3);
}

pub(super) async fn above_the_head_is_nothing(it: StoreFixture) {
    let s = &it.stores;
    put(s, &[user(1)], "hi").await;
    put(s, &[user(1)], "hi").await;
    for seq in [2, 3, 1_000, i64::MAX as u64, u64::MAX] {
        let limit = PageLimit::items(10);
        let page = s.inbox.after(user(1), Seq::new(seq), limit).await.unwrap();
        assert!(page.items.is_empty() && !page.more, "{seq}");
    }
    assert!(
        page(s, user(9), Seq::ZERO, PageLimit::items(10))
            .await
            .is_empty()
    );
}

pub(super) async fn trim_raises_the_floor(it: StoreFixture) {
    let s = &it.stores;
    for n in 1..=10 {
        put(s, &[user(1), user(2), user(3)], format!("{n}")).await;
    }
    s.inbox.trim(user(1), Seq::new(4)).await.unwrap();
    let want = Head {
        head: Seq::new(10),
        floor: Seq::new(4),
    };
    assert_eq!(head(s, user(1)).await, want);
    // A page that is asked for from below the floor starts right above the floor.
    for below in 0..=4 {
        let items = page(s, user(1), Seq::new(below), PageLimit::items(2)).await;
        assert_eq!(items[0].seq.get(), 5);
    }
    assert_eq!(contents(s, user(1)).await, ["5", "6", "7", "8", "9", "10"]);
    assert_eq!(put(s, &[user(1)], "11").await, [(user(1), Seq::new(11))]);
}

/// Law 3: an emptied inbox does not start over.
pub(super) async fn trim_never_passes_the_head(it: StoreFixture) {
    let s = &it.stores;
    for _ in 0..3 {
        put(s, &[user(1)], "hi").await;
    }
    s.inbox.trim(user(1), Seq::new(1_000_000)).await.unwrap();
    let want = Head {
        head: Seq::new(3),
        floor: Seq::new(3),
    };
    assert_eq!(head(s, user(1)).await, want);
    assert!(inbox(s, user(1)).await.is_empty());
    assert_eq!(put(s, &[user(1)], "on").await, [(user(1), Seq::new(4))]);
    s.inbox.trim(user(9), Seq::new(7)).await.unwrap();
    assert_eq!(head(s, user(9)).await, Head::default());
}

pub(super) async fn trim_never_goes_back(it: StoreFixture) {
    let s = &it.stores;
    for _ in 0..9 {
        put(s, &[user(1)], "hi").await;
    }
    for upto in [5, 3, 0, 5] {
        s.inbox.trim(user(1), Seq::new(upto)).await.unwrap();
        assert_eq!(head(s, user(1)).await.floor.get(), 5);
        assert_eq!(inbox(s, user(1)).await.len(), 4);
    }
}

/// A body that other recipients still need is kept, even by a sweep.
pub(super) async fn trim_leaves_other_inboxes_alone(it: StoreFixture) {
    let s = &it.stores;
    for n in 1..=5 {
        put(s, &users(1..=2), format!("{n}")).await;
        put(s, &users(1..=5), format!("{n}")).await;
    }
    for gone in [1, 3] {
        s.inbox.trim(user(gone), Seq::new(100)).await.unwrap();
    }
    while s.inbox.sweep(100).await.unwrap() > 0 {}
    assert_eq!(
        contents(s, user(2)).await,
        ["1", "1", "2", "2", "3", "3", "4", "4", "5", "5"]
    );
    assert_eq!(contents(s, user(5)).await, ["1", "2", "3", "4", "5"]);
    for gone in [2, 4, 5] {
        s.inbox.trim(user(gone), Seq::new(100)).await.unwrap();
    }
    while s.inbox.sweep(100).await.unwrap() > 0 {}
    for who in 1..=5 {
        assert!(inbox(s, user(who)).await.is_empty());
    }
    put(s, &users(1..=5), "again").await;
    assert_eq!(contents(s, user(3)).await, ["again"]);
}

/// An inbox of any length is trimmed, even while sends continue.
pub(super) async fn a_long_inbox_is_trimmed_whole(it: StoreFixture) {
    let s = &it.stores;
    let batch: Vec<AppendRequest> = (0..500).map(|_| send(&users(1..=3), "hi")).collect();
    for _ in 0..5 {
        s.inbox.append(&batch).await.unwrap();
    }
    let trim = async { s.inbox.trim(user(1), Seq::new(2_490)).await.unwrap() };
    let on = async {
        for _ in 0..10 {
            put(s, &[user(1)], "on").await;
        }
    };
    tokio::join!(trim, on);
    let want = Head {
        head: Seq::new(2_510),
        floor: Seq::new(2_490),
    };
    assert_eq!(head(s, user(1)).await, want);
    assert_eq!(inbox(s, user(1)).await.len(), 20);
    assert_eq!(last(s, user(2)).await, 2_500);
    while s.inbox.sweep(1_000).await.unwrap() > 0 {}
    assert_eq!(inbox(s, user(3)).await.len(), 2_500);
}

/// Law 3: an imported inbox continues with the next seq, and its page has no hole.
pub(super) async fn an_inbox_begins_at_a_seq(it: StoreFixture) {
    let s = &it.stores;
    let begun = [(user(2), Seq::new(41)), (user(1), Seq::new(7))];
    s.inbox.begin(&begun).await.unwrap();
    for (who, at) in begun {
        let want = Head {
            head: at,
            floor: at,
        };
        assert_eq!(head(s, who).await, want);
        assert!(inbox(s, who).await.is_empty());
    }
    // It may begin later as long as it has no entries.
    s.inbox.begin(&[(user(1), Seq::new(9))]).await.unwrap();
    let made = put(s, &[user(1), user(2), user(3)], "first").await;
    let want = [(1, 10), (2, 42), (3, 1)].map(|(who, seq)| (user(who), Seq::new(seq)));
    assert_eq!(made, want);
    let items = page(s, user(1), Seq::ZERO, PageLimit::items(9)).await;
    assert_eq!(items[0].seq.get(), 10);
    // A trimmed inbox has no entries either.
    s.inbox.trim(user(2), Seq::new(42)).await.unwrap();
    s.inbox.begin(&[(user(2), Seq::new(50))]).await.unwrap();
    assert_eq!(put(s, &[user(2)], "on").await, [(user(2), Seq::new(51))]);
}

/// Law 10: no head goes back, and no entry disappears.
pub(super) async fn an_inbox_with_entries_does_not_begin(it: StoreFixture) {
    let s = &it.stores;
    put(s, &[user(1)], "hi").await;
    s.inbox.begin(&[(user(2), Seq::new(5))]).await.unwrap();
    for (who, at) in [(1, 1), (1, 9), (2, 4)] {
        let batch = [(user(3), Seq::new(5)), (user(who), Seq::new(at))];
        let refused = s.inbox.begin(&batch).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Misuse, "{who} at {at}");
    }
    assert_eq!(contents(s, user(1)).await, ["hi"]);
    assert_eq!(last(s, user(2)).await, 5);
    assert_eq!(last(s, user(3)).await, 0, "nothing of a batch was stored");
}
