//! Cases of engines whose flush can be held: a change is neither answered nor visible before it is
//! durable (law 1).

use super::StoreFixture;
use super::events::{hooked, texts};
use super::helpers::{
    NOW, append, contents, found, group, head, page, put, roster, send, user, users,
};
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::GroupChange;

/// Reads made while the flush is held.
const LOOKS: usize = 50;

pub(super) async fn readers_stop_at_the_durable_head(it: StoreFixture) {
    let s = it.stores.clone();
    let flush = it.held();
    put(&s, &users(1..=2), "durable").await;
    flush.hold();
    let sending = async {
        append(&s, send(&users(1..=2), "not yet")).await;
    };
    tokio::pin!(sending);
    tokio::select! {
        () = &mut sending => panic!("answered before it was durable"),
        () = flush.reached() => {}
    }
    for _ in 0..LOOKS {
        for who in users(1..=2) {
            assert_eq!(head(&s, who).await.head.get(), 1, "the head runs ahead");
            let all = page(&s, who, Seq::ZERO, PageLimit::items(9)).await;
            assert_eq!(all.len(), 1, "an entry is seen before it is durable");
            assert!(
                page(&s, who, Seq::new(1), PageLimit::items(9))
                    .await
                    .is_empty()
            );
        }
        tokio::select! {
            biased;
            () = &mut sending => panic!("answered before it was durable"),
            () = tokio::task::yield_now() => {}
        }
    }
    flush.release();
    sending.await;
    assert_eq!(contents(&s, user(2)).await, ["durable", "not yet"]);
}

pub(super) async fn a_change_is_not_seen_before_it_is_durable(it: StoreFixture) {
    let s = it.stores.clone();
    let flush = it.held();
    let before = found(&s, group(1), &users(1..=2)).await;
    flush.hold();
    let pushes = [send(&[user(3)], "welcome")];
    let add = GroupChange::Add(vec![user(3)]);
    let adding = s
        .group
        .update(group(1), before.version, &add, &pushes, &[], NOW);
    tokio::pin!(adding);
    tokio::select! {
        _ = &mut adding => panic!("answered before it was durable"),
        () = flush.reached() => {}
    }
    for _ in 0..LOOKS {
        assert_eq!(roster(&s, group(1)).await, before);
        assert_eq!(s.group.get(group(1)).await.unwrap().unwrap().members, 2);
        assert_eq!(
            s.group
                .members(group(1), None, 9)
                .await
                .unwrap()
                .items
                .len(),
            2
        );
        assert!(
            s.group
                .groups_of(user(3), None, 9)
                .await
                .unwrap()
                .items
                .is_empty()
        );
        assert_eq!(head(&s, user(3)).await.head, Seq::ZERO);
    }
    flush.release();
    adding.await.unwrap();
    assert_eq!(roster(&s, group(1)).await.members.len(), 3);
    assert_eq!(contents(&s, user(3)).await, ["welcome"]);
}

pub(super) async fn an_event_is_not_seen_before_it_is_durable(it: StoreFixture) {
    let s = it.stores.clone();
    let flush = it.held();
    append(&s, hooked(send(&users(1..=2), "durable"), &["a"])).await;
    flush.hold();
    let sending = append(&s, hooked(send(&users(1..=2), "not yet"), &["a"]));
    tokio::pin!(sending);
    tokio::select! {
        _ = &mut sending => panic!("answered before it was durable"),
        () = flush.reached() => {}
    }
    for _ in 0..LOOKS {
        assert_eq!(texts(&s, "a").await, ["durable"]);
    }
    flush.release();
    sending.await;
    assert_eq!(texts(&s, "a").await, ["durable", "not yet"]);
}
