//! Cases of `SeqStore`.

use super::StoreFixture;
use super::helpers::{head, put, together, user};
use crate::id::Epoch;
use crate::seq::Seq;
use crate::store::{Head, IdScope, StoreErrorKind};

pub(super) async fn an_unknown_users_head_is_zero(it: StoreFixture) {
    assert_eq!(head(&it.stores, user(42)).await, Head::default());
    assert_eq!(it.stores.seq.heads(&[]).await.unwrap(), []);
}

pub(super) async fn heads_come_in_the_order_asked(it: StoreFixture) {
    let s = &it.stores;
    for n in 1..=3 {
        for _ in 0..n {
            put(s, &[user(n)], "hi").await;
        }
    }
    let asked = [user(3), user(9), user(1), user(2)];
    let heads = s.seq.heads(&asked).await.unwrap();
    let heads: Vec<_> = heads.into_iter().map(|it| it.head.get()).collect();
    assert_eq!(heads, [3, 0, 1, 2]);
}

/// Law 10, as far as one run can show it.
pub(super) async fn the_epoch_stays_the_same(it: StoreFixture) {
    let s = &it.stores;
    let epoch = s.seq.epoch().await.unwrap();
    assert_ne!(epoch.0, 0, "the wire reads zero as none");
    assert!(epoch.0 < 1 << Epoch::BITS, "{epoch:?} has more bits");
    put(s, &[user(1)], "hi").await;
    s.inbox.trim(user(1), Seq::new(1)).await.unwrap();
    assert_eq!(s.seq.epoch().await.unwrap(), epoch);
}

/// Law 10: an epoch ends once, even if several nodes notice it, and only the epoch changes.
pub(super) async fn a_new_epoch_replaces_the_old_one_once(it: StoreFixture) {
    let s = it.stores;
    put(&s, &[user(1)], "hi").await;
    let old = s.seq.epoch().await.unwrap();
    let drawn = together(16, |_| {
        let s = s.clone();
        async move { s.seq.new_epoch(old).await.unwrap() }
    })
    .await;
    let new = s.seq.epoch().await.unwrap();
    assert_ne!(new, old);
    assert_ne!(new.0, 0, "the wire reads zero as none");
    assert!(drawn.iter().all(|it| *it == new), "{drawn:?}, {new:?}");
    assert_eq!(s.seq.new_epoch(old).await.unwrap(), new, "old is over");
    assert_ne!(s.seq.new_epoch(new).await.unwrap(), new);
    assert_eq!(put(&s, &[user(1)], "on").await, [(user(1), Seq::new(2))]);
}

pub(super) async fn reserved_numbers_only_increase(it: StoreFixture) {
    let seq = &it.stores.seq;
    for scope in [IdScope::User, IdScope::Device, IdScope::Group] {
        let mut next = 1;
        for n in [1, 1, 1_000, 7, 1] {
            let first = seq.reserve(scope, n).await.unwrap();
            assert!(first >= next, "{scope:?}: {first} was given before");
            next = first + n;
        }
    }
}

pub(super) async fn reserved_blocks_never_overlap(it: StoreFixture) {
    let s = it.stores;
    let blocks = together(64, |i| {
        let s = s.clone();
        async move {
            let mut mine = Vec::new();
            for k in 0..10 {
                let n = 1 + (i * 7 + k * 13) % 50;
                let first = s.seq.reserve(IdScope::User, n).await.unwrap();
                assert!(
                    mine.last().is_none_or(|(_, end)| first >= *end),
                    "went back"
                );
                mine.push((first, first + n));
            }
            mine
        }
    })
    .await;
    let mut blocks: Vec<_> = blocks.into_iter().flatten().collect();
    blocks.sort_unstable();
    for pair in blocks.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "overlap: {pair:?}");
    }
}

pub(super) async fn a_block_out_of_bounds_is_misuse(it: StoreFixture) {
    for n in [0, 1_001, u64::MAX] {
        let refused = it.stores.seq.reserve(IdScope::Group, n).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Misuse, "{n}");
    }
}

pub(super) async fn skipped_numbers_are_not_reserved(it: StoreFixture) {
    let seq = &it.stores.seq;
    seq.skip(IdScope::User, 1_234_567).await.unwrap();
    let first = seq.reserve(IdScope::User, 1).await.unwrap();
    assert!(first > 1_234_567, "{first}");
    seq.skip(IdScope::User, 3).await.unwrap();
    assert!(seq.reserve(IdScope::User, 1).await.unwrap() > first);
    let other = seq.reserve(IdScope::Group, 1).await.unwrap();
    assert!(other < 1_234_567, "each scope has its own counter");
}
