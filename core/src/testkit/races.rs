//! Cases that try to break the laws with 64 concurrent tasks and readers that poll without a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::StoreFixture;
use super::helpers::{
    append, change, contents, found, group, head, inbox, keyed, last, page, put, roster, send,
    stored, to_group, together, user, users,
};
use crate::id::UserId;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{AppendOutcome, GroupChange, GroupChangeOutcome, StoreSet};

/// Messages of the race for all inboxes.
const SENDS: u64 = 150;

/// Changes of the races for a group.
const CHANGES: u64 = 60;

/// Reads an inbox with a cursor, as a client does, up to the entry `until`. Checks that no hole is
/// skipped and that no entry arrives late (laws 2 and 3).
async fn follow(s: &StoreSet, who: UserId, until: u64) {
    let mut cursor = Seq::ZERO;
    while cursor.get() < until {
        let before = head(s, who).await.head;
        assert!(
            before >= cursor,
            "{who}: the head went behind what was given"
        );
        let items = page(s, who, cursor, PageLimit::items(7)).await;
        assert!(
            before == cursor || !items.is_empty(),
            "{who}: the head {before} is above {cursor}, but nothing is there"
        );
        if let Some(first) = items.first() {
            assert_eq!(
                first.seq,
                cursor.next(),
                "{who}: an entry will come late (law 2)"
            );
        }
        cursor = items.last().map_or(cursor, |it| it.seq);
        tokio::task::yield_now().await;
    }
}

/// M-1 and M-2: gim gives one number twice, and shows n + 1 before n.
pub(super) async fn two_hundred_sends_to_one_user_leave_no_hole(it: StoreFixture) {
    let s = it.stores;
    let (reader, other) = (s.clone(), s.clone());
    let (made, (), ()) = tokio::join!(
        together(200, |n| {
            let s = s.clone();
            async move { put(&s, &[user(1)], format!("{n}")).await[0].1.get() }
        }),
        async move { follow(&reader, user(1), 200).await },
        async move { follow(&other, user(1), 200).await },
    );
    let mut made = made;
    made.sort_unstable();
    assert_eq!(made, (1..=200).collect::<Vec<_>>());
    assert_eq!(inbox(&s, user(1)).await.len(), 200);
}

/// 64 tasks send batches to overlapping users, in every order of recipients.
pub(super) async fn many_senders_and_readers_agree(it: StoreFixture) {
    let s = it.stores;
    let readers = {
        let s = s.clone();
        together(4, move |n| {
            let s = s.clone();
            async move { follow(&s, user(n + 1), 64 * 5 * 3 / 4).await }
        })
    };
    let senders = together(64, |i| {
        let s = s.clone();
        async move {
            for round in 0..5 {
                // Leave out one of users 1 to 4, so that each gets three of four sends.
                let mut to: Vec<_> = users(1..=4);
                to.remove(usize::try_from((i + round) % 4).unwrap());
                if i % 2 == 0 {
                    to.reverse();
                }
                let aside = send(&[user(10 + i), user(10 + (i + 1) % 64)], "aside");
                let batch = [aside.clone(), send(&to, format!("{i}")), aside];
                for outcome in s.inbox.append(&batch).await.unwrap() {
                    stored(outcome);
                }
            }
        }
    });
    tokio::join!(readers, senders);
    for who in users(1..=4) {
        assert_eq!(inbox(&s, who).await.len(), 64 * 5 * 3 / 4);
    }
    for who in users(10..=73) {
        assert_eq!(inbox(&s, who).await.len(), 20);
    }
}

/// Appends with disjoint recipients run concurrently, as on a node; appends that do not wait for
/// locks store the same as the others.
pub(super) async fn appends_side_by_side_keep_the_laws(it: StoreFixture) {
    const ROUNDS: u64 = 20;
    let s = it.stores;
    let tasks = s.inbox.append_concurrency().max(4) as u64;
    let readers = {
        let s = s.clone();
        together(2, move |n| {
            let s = s.clone();
            async move { follow(&s, user(2 + n * 10), ROUNDS * 2).await }
        })
    };
    let senders = together(tasks, |i| {
        let s = s.clone();
        async move {
            let (one, two, three) = (user(1 + i * 10), user(2 + i * 10), user(3 + i * 10));
            for round in 0..ROUNDS {
                let batch = [
                    keyed(
                        send(&[one, two], format!("{round} a")),
                        &format!("{i} {round}"),
                    ),
                    send(&[three, two, one], format!("{round} b")),
                ];
                let outcomes = if round % 2 == 0 {
                    s.inbox.append_now(&batch).await
                } else {
                    s.inbox.append(&batch).await
                };
                let outcomes = outcomes.unwrap();
                assert_eq!(outcomes.len(), 2);
                for outcome in outcomes {
                    stored(outcome);
                }
            }
        }
    });
    tokio::join!(readers, senders);
    for i in 0..tasks {
        let texts = contents(&s, user(2 + i * 10)).await;
        let expected: Vec<String> = (0..ROUNDS)
            .flat_map(|round| [format!("{round} a"), format!("{round} b")])
            .collect();
        assert_eq!(texts, expected);
    }
}

/// Law 5: a message appears in all inboxes at once.
pub(super) async fn an_entry_is_in_all_inboxes_or_in_none(it: StoreFixture) {
    let s = it.stores;
    let readers = {
        let s = s.clone();
        together(3, move |i| {
            let s = s.clone();
            async move {
                loop {
                    let seen = last(&s, user(i + 1)).await;
                    for other in users(1..=3) {
                        let there = last(&s, other).await;
                        assert!(there >= seen, "{other} has {there}, another had {seen}");
                    }
                    if seen == SENDS {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
        })
    };
    let senders = together(SENDS, |n| {
        let s = s.clone();
        async move {
            let mut to = users(1..=3);
            to.rotate_left(usize::try_from(n % 3).unwrap());
            put(&s, &to, "hi").await;
        }
    });
    tokio::join!(readers, senders);
}

/// Messages to the same users have the same order in all their inboxes.
pub(super) async fn recipients_agree_on_the_order(it: StoreFixture) {
    let s = it.stores;
    let plan = found(&s, group(1), &users(1..=5)).await;
    together(64, |i| {
        let (s, plan) = (s.clone(), plan.clone());
        async move {
            let mut send = to_group(group(1), &plan, format!("{i}"));
            let mut to = send.recipients.to_vec();
            to.rotate_left(usize::try_from(i % 5).unwrap());
            send.recipients = to.into();
            stored(append(&s, send).await);
        }
    })
    .await;
    let first = contents(&s, user(1)).await;
    assert_eq!(first.len(), 64);
    for who in users(2..=5) {
        assert_eq!(contents(&s, who).await, first);
    }
}

/// Waits until this many sends have begun, so that the next step runs in the middle of them.
async fn begun(sends: &AtomicU64, n: u64) {
    while sends.load(Ordering::SeqCst) < n {
        tokio::task::yield_now().await;
    }
}

/// Law 11, a hundred times: a removed member gets no message that was accepted after the removal
/// was answered.
pub(super) async fn a_removed_member_gets_nothing_after_the_removal(it: StoreFixture) {
    let s = it.stores;
    found(&s, group(1), &users(1..=4)).await;
    for round in 0..100 {
        let sends = Arc::new(AtomicU64::new(0));
        let senders = together(4, |i| {
            let (s, sends) = (s.clone(), Arc::clone(&sends));
            async move {
                for n in 0..4 {
                    let plan = roster(&s, group(1)).await;
                    sends.fetch_add(1, Ordering::SeqCst);
                    let outcome = append(&s, to_group(group(1), &plan, format!("{i} {n}"))).await;
                    assert!(matches!(
                        outcome,
                        AppendOutcome::Stored { .. } | AppendOutcome::Stale
                    ));
                }
            }
        });
        let removal = async {
            begun(&sends, 1 + round % 12).await;
            change(&s, group(1), &GroupChange::Remove(user(4))).await;
            last(&s, user(4)).await
        };
        let (_, at_removal) = tokio::join!(senders, removal);
        assert_eq!(last(&s, user(4)).await, at_removal);
        change(&s, group(1), &GroupChange::Add(vec![user(4)])).await;
    }
}

/// Law 11: a new member gets every message that was accepted after the addition was answered.
pub(super) async fn a_new_member_gets_everything_after_its_addition(it: StoreFixture) {
    let s = it.stores;
    found(&s, group(1), &users(1..=3)).await;
    for round in 0..50 {
        let new = user(100 + round);
        let added = Arc::new(AtomicBool::new(false));
        let sends = Arc::new(AtomicU64::new(0));
        let senders = together(4, |i| {
            let (s, added, sends) = (s.clone(), Arc::clone(&added), Arc::clone(&sends));
            async move {
                let mut after = Vec::new();
                // Keep using an old plan, as a cache would.
                let mut plan = roster(&s, group(1)).await;
                for n in 0..5 {
                    let was_added = added.load(Ordering::SeqCst);
                    sends.fetch_add(1, Ordering::SeqCst);
                    let content = format!("{round} {i} {n}");
                    match append(&s, to_group(group(1), &plan, content.clone())).await {
                        AppendOutcome::Stored { .. } if was_added => after.push(content),
                        AppendOutcome::Stored { .. } => {}
                        AppendOutcome::Stale => plan = roster(&s, group(1)).await,
                        other => panic!("{other:?}"),
                    }
                }
                after
            }
        });
        let addition = async {
            begun(&sends, 1 + round % 12).await;
            change(&s, group(1), &GroupChange::Add(vec![new])).await;
            added.store(true, Ordering::SeqCst);
        };
        let (after, ()) = tokio::join!(senders, addition);
        let got = contents(&s, new).await;
        for content in after.into_iter().flatten() {
            assert!(got.contains(&content), "{new} misses {content}");
        }
    }
}

/// A push is neither missing after its change nor visible before it.
pub(super) async fn a_change_and_its_push_are_seen_together(it: StoreFixture) {
    let s = it.stores;
    found(&s, group(1), &[user(1)]).await;
    let writer = async {
        for n in 1..=CHANGES {
            let version = roster(&s, group(1)).await.version;
            let add = GroupChange::Add(vec![user(100 + n)]);
            let push = [send(&[user(1)], "added")];
            let changed = s
                .group
                .update(group(1), version, &add, &push, &[], super::helpers::NOW)
                .await;
            assert!(matches!(changed.unwrap(), GroupChangeOutcome::Done { .. }));
            tokio::task::yield_now().await;
        }
    };
    let readers = together(2, |_| {
        let s = s.clone();
        async move {
            loop {
                let changes = roster(&s, group(1)).await.version.0 - 1;
                let pushes = last(&s, user(1)).await;
                assert!(pushes >= changes, "a change without its push");
                let changes = s.group.get(group(1)).await.unwrap().unwrap().version.0 - 1;
                assert!(changes >= pushes, "a push without its change");
                if changes == CHANGES {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    tokio::join!(readers, writer);
}

/// The members of one version never change: a roster is read as one value.
pub(super) async fn a_roster_is_of_one_version(it: StoreFixture) {
    let s = it.stores;
    found(&s, group(1), &[user(1)]).await;
    let writer = async {
        for n in 1..=CHANGES {
            change(&s, group(1), &GroupChange::Add(vec![user(100 + n)])).await;
            tokio::task::yield_now().await;
        }
    };
    let readers = together(4, |_| {
        let s = s.clone();
        async move {
            loop {
                let now = roster(&s, group(1)).await;
                assert_eq!(now.members.len() as u64, now.version.0, "a torn roster");
                if now.version.0 > CHANGES {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    tokio::join!(readers, writer);
}

/// Trimming while senders send and readers read: the floor rises, and no hole appears above it.
pub(super) async fn trimming_opens_no_hole(it: StoreFixture) {
    let s = it.stores;
    let writer = async {
        for n in 0..150 {
            put(&s, &users(1..=3), format!("{n}")).await;
            tokio::task::yield_now().await;
        }
    };
    let trimmer = async {
        loop {
            let now = head(&s, user(1)).await;
            assert!(now.floor <= now.head);
            s.inbox.trim(user(1), now.head.prev().prev()).await.unwrap();
            s.inbox.sweep(10).await.unwrap();
            if now.head.get() == 150 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let reader = async {
        let mut cursor = Seq::ZERO;
        while cursor.get() < 150 {
            let items = page(&s, user(1), cursor, PageLimit::items(5)).await;
            if let Some(first) = items.first()
                && first.seq != cursor.next()
            {
                let floor = head(&s, user(1)).await.floor;
                assert!(first.seq.prev() <= floor, "a hole above the floor {floor}");
            }
            cursor = items.last().map_or(cursor, |it| it.seq);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writer, trimmer, reader);
    assert_eq!(last(&s, user(1)).await, 150);
    assert_eq!(inbox(&s, user(2)).await.len(), 150);
}
