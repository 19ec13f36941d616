//! Cases of a hook's queue: pages, leases, dead letters, bounds.

use super::StoreFixture;
use super::events::{event, hook, lease, positions, rows};
use super::helpers::{LATER, NOW, message, together, user};
use crate::events::{EventBody, NewEvent};
use crate::id::NodeId;
use crate::message::MessageReceiver;
use crate::page::PageLimit;
use crate::store::{
    DeadLetter, FailedDelivery, HookBacklog, HookClaimOutcome, HookLease, LeaseMark, LeasedOutcome,
    MAX_ERROR_BYTES, OutboxBounds, OutboxPosition, StoreSet,
};

/// Stores events of users `from..=to` coming online.
async fn fill(s: &StoreSet, name: &str, from: u64, to: u64) -> Vec<OutboxPosition> {
    let online = |n| event(name, EventBody::Online { user: user(n) });
    let all: Vec<NewEvent> = (from..=to).map(online).collect();
    s.outbox.put(&all).await.unwrap();
    positions(s, name).await
}

/// Returns the users of all events of a hook that come online.
async fn onlines(s: &StoreSet, name: &str) -> Vec<u64> {
    let user = |body| match body {
        EventBody::Online { user } => user.get(),
        other => panic!("{other:?}"),
    };
    let rows = rows(s, name).await;
    rows.into_iter()
        .map(|row| user(row.event.unwrap().body))
        .collect()
}

fn failed(position: OutboxPosition, error: &str) -> FailedDelivery {
    FailedDelivery {
        position,
        error: error.into(),
        attempts: 3,
    }
}

pub(super) async fn known_events_are_left_out(it: StoreFixture) {
    let s = &it.stores;
    let all = fill(s, "a", 1, 10).await;
    let known = [all[0], all[1], all[4], all[9]];
    let page = s.outbox.read(&hook("a"), &known, PageLimit::items(3)).await;
    let page = page.unwrap();
    let read: Vec<_> = page.items.iter().map(|row| row.position).collect();
    assert_eq!(read, [all[2], all[3], all[5]]);
    assert!(page.more);
    let rest = s.outbox.read(&hook("a"), &all, PageLimit::items(3)).await;
    let rest = rest.unwrap();
    assert!(rest.items.is_empty() && !rest.more);
}

pub(super) async fn a_page_of_events_ends_by_bytes(it: StoreFixture) {
    let s = &it.stores;
    let large = |n: u64| {
        let message = message(MessageReceiver::User(user(n)), vec![b'x'; 10_000]);
        let body = EventBody::Message {
            message: message.into(),
            recipients: [].into(),
        };
        event("a", body)
    };
    let all: Vec<NewEvent> = (1..=9).map(large).collect();
    s.outbox.put(&all).await.unwrap();
    let limit = |bytes| PageLimit { items: 99, bytes };
    for (bytes, items) in [(1, 1), (15_000, 2), (25_000, 3), (10 << 20, 9)] {
        let page = s.outbox.read(&hook("a"), &[], limit(bytes)).await.unwrap();
        assert_eq!(page.items.len(), items, "{bytes} bytes");
        assert_eq!(page.more, items < 9);
    }
}

pub(super) async fn a_removed_event_is_gone(it: StoreFixture) {
    let s = &it.stores;
    let all = fill(s, "a", 1, 5).await;
    fill(s, "b", 1, 2).await;
    let lease = lease(s, "a", "node").await;
    for _ in 0..2 {
        let removed = s.outbox.remove(&lease, &[all[1], all[3]]).await;
        assert_eq!(removed.unwrap(), LeasedOutcome::Done, "a repeat too");
        assert_eq!(onlines(s, "a").await, [1, 3, 5]);
    }
    assert_eq!(onlines(s, "b").await, [1, 2]);
    let later = fill(s, "a", 6, 6).await;
    assert!(later[3] > all[4], "a position is not used again");
}

async fn all_changes(s: &StoreSet, lease: &HookLease, at: OutboxPosition) -> Vec<LeasedOutcome> {
    let bury = [failed(at, "x")];
    vec![
        s.outbox.renew(lease).await.unwrap(),
        s.outbox.remove(lease, &[at]).await.unwrap(),
        s.outbox.bury(lease, &bury, NOW).await.unwrap(),
    ]
}

pub(super) async fn an_old_lease_of_a_hook_changes_nothing(it: StoreFixture) {
    let s = &it.stores;
    let all = fill(s, "a", 1, 3).await;
    let old = lease(s, "a", "node").await;
    // A later run of the same node takes over at once.
    let new = lease(s, "a", "node").await;
    assert!(new.generation > old.generation);
    let lost = [LeasedOutcome::Lost; 3];
    assert_eq!(all_changes(s, &old, all[0]).await, lost);
    let keep = OutboxBounds {
        events: 0,
        dead_letters: 0,
    };
    assert_eq!(s.outbox.trim(&old, keep).await.unwrap(), keep);
    s.outbox.release(&old).await.unwrap();
    assert_eq!(onlines(s, "a").await, [1, 2, 3]);
    assert_eq!(s.outbox.renew(&new).await.unwrap(), LeasedOutcome::Done);
    s.outbox.release(&new).await.unwrap();
    assert_eq!(all_changes(s, &new, all[0]).await, lost, "it was released");
    assert_eq!(onlines(s, "a").await, [1, 2, 3]);
}

async fn held(s: &StoreSet, node: &str, expired: Option<LeaseMark>) -> LeaseMark {
    let claimed = s
        .outbox
        .claim(&hook("a"), &NodeId::boot(node), expired)
        .await;
    match claimed.unwrap() {
        HookClaimOutcome::Held(mark) => mark,
        HookClaimOutcome::Claimed(lease) => panic!("{lease:?}"),
    }
}

pub(super) async fn a_lease_is_taken_if_its_mark_stays(it: StoreFixture) {
    let s = &it.stores;
    let first = lease(s, "a", "one").await;
    let mark = held(s, "two", None).await;
    assert_eq!(held(s, "two", None).await, mark, "asking changes nothing");
    s.outbox.renew(&first).await.unwrap();
    let renewed = held(s, "two", Some(mark)).await;
    assert_ne!(renewed, mark, "a renewal changes the mark");
    let claimed = s
        .outbox
        .claim(&hook("a"), &NodeId::boot("two"), Some(renewed))
        .await;
    let HookClaimOutcome::Claimed(second) = claimed.unwrap() else {
        panic!("the mark is the present one");
    };
    assert_eq!(s.outbox.renew(&first).await.unwrap(), LeasedOutcome::Lost);
    held(s, "one", Some(renewed)).await;
    s.outbox.release(&second).await.unwrap();
    lease(s, "a", "one").await;
    // Another hook has a lease of its own.
    lease(s, "b", "two").await;
}

pub(super) async fn one_of_many_claims_holds_the_lease(it: StoreFixture) {
    let s = it.stores.clone();
    let claims = together(20, |n| {
        let s = s.clone();
        async move {
            let node = NodeId::boot(format!("node {n}"));
            s.outbox.claim(&hook("a"), &node, None).await.unwrap()
        }
    })
    .await;
    let won = claims
        .iter()
        .filter(|it| matches!(it, HookClaimOutcome::Claimed(_)));
    assert_eq!(won.count(), 1);
}

async fn letters(s: &StoreSet, name: &str) -> Vec<DeadLetter> {
    let page = s.outbox.dead_letters(&hook(name), None, 1_000).await;
    page.unwrap().items
}

pub(super) async fn a_given_up_event_is_a_dead_letter(it: StoreFixture) {
    let s = &it.stores;
    let all = fill(s, "a", 1, 4).await;
    let lease = lease(s, "a", "node").await;
    let reason = "é".repeat(MAX_ERROR_BYTES);
    let failures = [failed(all[2], "500 of the target"), failed(all[0], &reason)];
    for _ in 0..2 {
        let buried = s.outbox.bury(&lease, &failures, LATER).await.unwrap();
        assert_eq!(buried, LeasedOutcome::Done, "a repeat too");
    }
    assert_eq!(onlines(s, "a").await, [2, 4]);
    let dead = letters(s, "a").await;
    let [first, second] = dead.as_slice() else {
        panic!("{dead:?}");
    };
    assert_eq!((first.position, second.position), (all[0], all[2]));
    assert_eq!(first.error, "é".repeat(MAX_ERROR_BYTES / 2));
    assert_eq!(second.error, "500 of the target");
    assert_eq!((second.attempts, second.died_at), (3, LATER));
    let body = &second.event.as_ref().unwrap().body;
    assert_eq!(*body, EventBody::Online { user: user(3) });
    let backlog = HookBacklog {
        events: 2,
        oldest: Some(NOW),
        dead_letters: 2,
    };
    assert_eq!(s.outbox.backlog(&hook("a")).await.unwrap(), backlog);
    assert!(letters(s, "b").await.is_empty());
}

pub(super) async fn dead_letters_are_paged(it: StoreFixture) {
    let s = &it.stores;
    let all = fill(s, "a", 1, 25).await;
    let lease = lease(s, "a", "node").await;
    let failures: Vec<_> = all.iter().map(|at| failed(*at, "x")).collect();
    s.outbox.bury(&lease, &failures, NOW).await.unwrap();
    let (mut after, mut read) = (None, Vec::new());
    for (size, more) in [(10, true), (10, true), (5, false)] {
        let page = s.outbox.dead_letters(&hook("a"), after, 10).await.unwrap();
        assert_eq!((page.items.len(), page.more), (size, more));
        read.extend(page.items.iter().map(|it| it.position));
        after = read.last().copied();
    }
    assert_eq!(read, all);
}

pub(super) async fn a_replayed_letter_is_last_in_the_queue(it: StoreFixture) {
    let s = &it.stores;
    let all = fill(s, "a", 1, 5).await;
    let lease = lease(s, "a", "node").await;
    let failures: Vec<_> = all[..3].iter().map(|at| failed(*at, "x")).collect();
    s.outbox.bury(&lease, &failures, NOW).await.unwrap();
    let again = [all[2], all[0], all[4], OutboxPosition(u64::MAX)];
    let replayed = s.outbox.replay(&hook("a"), &again).await.unwrap();
    assert_eq!(replayed, 2, "the others are not dead letters");
    assert_eq!(onlines(s, "a").await, [4, 5, 1, 3]);
    assert_eq!(s.outbox.replay(&hook("a"), &again).await.unwrap(), 0);
    assert_eq!(s.outbox.replay(&hook("b"), &again).await.unwrap(), 0);
    let left: Vec<_> = letters(s, "a").await.iter().map(|it| it.position).collect();
    assert_eq!(left, [all[1]]);
    let dropped = s.outbox.drop_letters(&hook("a"), &[all[1], all[0]]).await;
    assert_eq!(dropped.unwrap(), 1);
    assert!(letters(s, "a").await.is_empty());
}

pub(super) async fn the_oldest_are_removed_above_the_bounds(it: StoreFixture) {
    let s = &it.stores;
    let all = fill(s, "a", 1, 1_500).await;
    fill(s, "b", 1, 3).await;
    let lease = lease(s, "a", "node").await;
    let failures: Vec<_> = all[1_490..].iter().map(|at| failed(*at, "x")).collect();
    s.outbox.bury(&lease, &failures, NOW).await.unwrap();
    let bounds = |events, dead_letters| OutboxBounds {
        events,
        dead_letters,
    };
    let none = s.outbox.trim(&lease, bounds(1_490, 10)).await.unwrap();
    assert_eq!(none, bounds(0, 0), "at the bounds nothing is removed");
    let removed = s.outbox.trim(&lease, bounds(5, 4)).await.unwrap();
    assert_eq!(removed, bounds(1_485, 6));
    assert_eq!(onlines(s, "a").await, [1_486, 1_487, 1_488, 1_489, 1_490]);
    assert_eq!(letters(s, "a").await[0].position, all[1_496]);
    assert_eq!(onlines(s, "b").await, [1, 2, 3]);
}

pub(super) async fn a_cleared_hook_is_empty(it: StoreFixture) {
    let s = &it.stores;
    let all = fill(s, "a", 1, 1_200).await;
    fill(s, "b", 1, 2).await;
    let lease = lease(s, "a", "node").await;
    let buried = s.outbox.bury(&lease, &[failed(all[0], "x")], NOW).await;
    assert_eq!(buried.unwrap(), LeasedOutcome::Done);
    assert_eq!(s.outbox.clear(&hook("a")).await.unwrap(), 1_200);
    assert_eq!(s.outbox.hooks().await.unwrap(), [hook("b")]);
    assert_eq!(s.outbox.clear(&hook("a")).await.unwrap(), 0);
    assert_eq!(onlines(s, "b").await, [1, 2]);
}
