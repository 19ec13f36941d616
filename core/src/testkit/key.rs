//! Cases of law 4: a send is recognised by its key, and a repeat is answered like the first.

use std::time::Duration;

use super::StoreFixture;
use super::helpers::{
    answer, append, change, contents, found, group, keyed, last, put, roster, send, stored,
    to_group, together, user, users, work,
};
use crate::seq::Seq;
use crate::store::{AppendOutcome, AppendRequest, GroupChange};

/// gim stores every retry again (M-6).
pub(super) async fn a_repeat_returns_the_first_result(it: StoreFixture) {
    let s = &it.stores;
    put(s, &[user(1)], "before").await;
    let first = keyed(send(&[user(1), user(2)], "hi"), "k");
    let made = stored(append(s, first.clone()).await);
    put(s, &[user(1)], "between").await;
    for _ in 0..3 {
        // A repeat is a new message with a new id, as a client's retry makes it.
        let again = append(s, keyed(send(&[user(1), user(2)], "hi"), "k")).await;
        let want = AppendOutcome::Repeated {
            message: first.message.id,
            seq: made[0].1,
        };
        assert_eq!(again, want);
    }
    assert_eq!(contents(s, user(1)).await, ["before", "hi", "between"]);
    assert_eq!(contents(s, user(2)).await, ["hi"]);
}

pub(super) async fn a_repeat_inside_a_batch_returns_the_first_result(it: StoreFixture) {
    let s = &it.stores;
    let batch = [
        keyed(send(&[user(1), user(2)], "a"), "a"),
        keyed(send(&[user(1), user(2)], "b"), "b"),
        keyed(send(&[user(1), user(2)], "a"), "a"),
        keyed(send(&[user(1), user(2)], "a"), "a"),
        send(&[user(1)], "c"),
    ];
    let outcomes = s.inbox.append(&batch).await.unwrap();
    assert_eq!(answer(&outcomes[0]).get(), 1);
    assert_eq!(answer(&outcomes[1]).get(), 2);
    for repeat in &outcomes[2..4] {
        let want = AppendOutcome::Repeated {
            message: batch[0].message.id,
            seq: Seq::new(1),
        };
        assert_eq!(*repeat, want);
    }
    assert_eq!(answer(&outcomes[4]).get(), 3, "a repeat leaves no hole");
    assert_eq!(contents(s, user(1)).await, ["a", "b", "c"]);
    assert_eq!(contents(s, user(2)).await, ["a", "b"]);
}

pub(super) async fn another_content_is_a_conflict(it: StoreFixture) {
    let s = &it.stores;
    stored(append(s, keyed(send(&[user(1)], "hi"), "k")).await);
    for _ in 0..2 {
        let other = append(s, keyed(send(&[user(1)], "ho"), "k")).await;
        assert_eq!(other, AppendOutcome::Conflict);
    }
    let batch = [
        keyed(send(&[user(2)], "hi"), "l"),
        keyed(send(&[user(2)], "ho"), "l"),
        keyed(send(&[user(2)], "ho"), "k"),
        keyed(send(&[user(2)], "on"), "m"),
    ];
    let outcomes = s.inbox.append(&batch).await.unwrap();
    assert_eq!(
        outcomes[1..3],
        [AppendOutcome::Conflict, AppendOutcome::Conflict]
    );
    assert_eq!(answer(&outcomes[3]).get(), 2);
    assert_eq!(contents(s, user(1)).await, ["hi"]);
    assert_eq!(contents(s, user(2)).await, ["hi", "on"]);
}

/// Keys are bytes: no case folding, no padding, no terminator, up to 96 bytes.
pub(super) async fn keys_are_compared_byte_by_byte(it: StoreFixture) {
    let s = &it.stores;
    let mut keys: Vec<Vec<u8>> = ["", "k", "K", "k ", "k\0", "\0k", "ḱ"]
        .map(|it| it.as_bytes().to_vec())
        .to_vec();
    keys.push(vec![0xff; 96]);
    keys.push([vec![0xff; 95], vec![0xfe]].concat());
    let sends = || {
        keys.iter()
            .map(|id| with_id(keyed(send(&[user(1)], "hi"), ""), id))
    };
    for (n, one) in sends().enumerate() {
        assert_eq!(stored(append(s, one).await)[0].1.get(), n as u64 + 1);
    }
    for (n, one) in sends().enumerate() {
        let AppendOutcome::Repeated { seq, .. } = append(s, one).await else {
            panic!("key {n} was forgotten");
        };
        assert_eq!(seq.get(), n as u64 + 1);
    }
}

fn with_id(mut send: AppendRequest, id: &[u8]) -> AppendRequest {
    if let Some(key) = &mut send.key {
        key.id = id.to_vec();
    }
    send
}

fn for_a(mut send: AppendRequest, window: Duration) -> AppendRequest {
    if let Some(key) = &mut send.key {
        key.window = window;
    }
    send
}

/// A storm of retries makes one message, and all get the same answer.
pub(super) async fn twenty_parallel_repeats_make_one_message(it: StoreFixture) {
    let s = it.stores;
    for round in 0..10 {
        let outcomes = together(20, |i| {
            let s = s.clone();
            async move {
                let one = keyed(send(&[user(1), user(2)], "hi"), &format!("{round}"));
                // Some arrive in a batch with others, as on a busy node.
                let with = send(&[user(100 + i)], "other");
                let id = one.message.id;
                let batch = if i % 2 == 0 {
                    vec![one]
                } else {
                    vec![with, one]
                };
                (id, s.inbox.append(&batch).await.unwrap().pop().unwrap())
            }
        })
        .await;
        let mut first = None;
        for (id, outcome) in &outcomes {
            if let AppendOutcome::Stored { seqs, job: false } = outcome {
                assert_eq!(first.replace((*id, seqs[0].1)), None, "stored twice");
            }
        }
        let (message, seq) = first.expect("one of them was stored");
        let repeat = AppendOutcome::Repeated { message, seq };
        let repeats = outcomes.iter().filter(|(_, it)| *it == repeat).count();
        assert_eq!(repeats, 19);
        assert_eq!(last(&s, user(1)).await, round + 1);
        assert_eq!(last(&s, user(2)).await, round + 1);
    }
}

/// The key is checked before the roster: a repeat of a stored send is answered even if members have
/// left since.
pub(super) async fn a_repeat_is_known_after_the_roster_changed(it: StoreFixture) {
    let s = &it.stores;
    let old = found(s, group(1), &users(1..=4)).await;
    let first = keyed(to_group(group(1), &old, "hi"), "k");
    let made = stored(append(s, first.clone()).await);
    change(s, group(1), &GroupChange::Remove(user(4))).await;
    let new = roster(s, group(1)).await;
    for plan in [&old, &new] {
        let again = append(s, keyed(to_group(group(1), plan, "hi"), "k")).await;
        let want = AppendOutcome::Repeated {
            message: first.message.id,
            seq: made[0].1,
        };
        assert_eq!(again, want);
    }
}

pub(super) async fn a_stale_send_leaves_its_key_unused(it: StoreFixture) {
    let s = &it.stores;
    let old = found(s, group(1), &users(1..=4)).await;
    change(s, group(1), &GroupChange::Remove(user(4))).await;
    let stale = append(s, keyed(to_group(group(1), &old, "hi"), "k")).await;
    assert_eq!(stale, AppendOutcome::Stale);
    let new = roster(s, group(1)).await;
    let made = stored(append(s, keyed(to_group(group(1), &new, "hi"), "k")).await);
    assert_eq!(made.len(), 3);
}

pub(super) async fn a_repeat_of_a_job_gets_its_first_answer(it: StoreFixture) {
    let s = &it.stores;
    put(s, &[user(1)], "before").await;
    let members = found(s, group(1), &users(1..=1_500)).await;
    let first = keyed(to_group(group(1), &members, "hi"), "k");
    assert_eq!(answer(&append(s, first.clone()).await).get(), 2);
    let want = AppendOutcome::Repeated {
        message: first.message.id,
        seq: Seq::new(2),
    };
    let again = keyed(to_group(group(1), &members, "hi"), "k");
    assert_eq!(append(s, again.clone()).await, want);
    work(s, group(1)).await;
    assert_eq!(append(s, again).await, want);
    assert_eq!(s.inbox.claim_job(None).await.unwrap(), None);
    assert_eq!(contents(s, user(1_500)).await, ["hi"]);
}

pub(super) async fn a_repeat_is_known_after_its_entry_was_trimmed(it: StoreFixture) {
    let s = &it.stores;
    let first = keyed(send(&users(1..=3), "hi"), "k");
    stored(append(s, first.clone()).await);
    for who in users(1..=3) {
        s.inbox.trim(who, Seq::new(1)).await.unwrap();
    }
    while s.inbox.sweep(100).await.unwrap() > 0 {}
    let want = AppendOutcome::Repeated {
        message: first.message.id,
        seq: Seq::new(1),
    };
    assert_eq!(append(s, keyed(send(&users(1..=3), "hi"), "k")).await, want);
}

/// An empty window has passed at once, so only the sweep is left to check.
pub(super) async fn a_key_is_forgotten_after_its_window(it: StoreFixture) {
    let s = &it.stores;
    for round in 1..=2 {
        for n in 0..25 {
            let one = keyed(send(&[user(1)], format!("{n}")), &format!("{n}"));
            stored(append(s, for_a(one, Duration::ZERO)).await);
        }
        let lasting = append(s, keyed(send(&[user(2)], "hi"), "lasting")).await;
        assert_eq!(matches!(lasting, AppendOutcome::Stored { .. }), round == 1);
        let mut forgotten = 0;
        loop {
            let swept = s.inbox.sweep(10).await.unwrap();
            assert!(swept <= 10, "a sweep is a slice");
            forgotten += swept;
            if swept == 0 {
                break;
            }
        }
        assert!(forgotten >= 25, "{forgotten}");
    }
    assert_eq!(last(s, user(1)).await, 50);
    assert_eq!(last(s, user(2)).await, 1);
}
