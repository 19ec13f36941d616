//! Cases of `ApiKeyStore`: creation within bounds, pages, revocation and last use.

use super::StoreFixture;
use super::helpers::{API_KEY_BOUNDS as WIDE, LATER, NOW, api_key as key, together};
use crate::scope::{ApiScope, ApiScopes};
use crate::store::{ApiKey, ApiKeyBounds, ApiKeyCreateOutcome, StoreSet};
use crate::time::UnixTimestamp;

async fn create(s: &StoreSet, key: &ApiKey, bounds: ApiKeyBounds) -> ApiKeyCreateOutcome {
    s.api_key.create(key, bounds).await.unwrap()
}

pub(super) async fn a_created_key_is_found_as_it_was(it: StoreFixture) {
    let s = &it.stores;
    let mut plain = key(7);
    assert_eq!(s.api_key.get(plain.id).await.unwrap(), None);
    let full = ApiKey {
        name: "x".repeat(255),
        scopes: ApiScope::ALL.iter().copied().collect(),
        expires_at: Some(LATER),
        revoked_at: Some(UnixTimestamp(LATER.0 + 1)),
        used_at: Some(UnixTimestamp(NOW.0 + 1)),
        ..key(crate::id::MAX_ID)
    };
    for it in [&plain, &full] {
        assert_eq!(create(s, it, WIDE).await, ApiKeyCreateOutcome::Created);
        assert_eq!(s.api_key.get(it.id).await.unwrap().as_ref(), Some(it));
    }
    plain.scopes = ApiScopes::ADMIN;
    assert_eq!(create(s, &plain, WIDE).await, ApiKeyCreateOutcome::Taken);
    let kept = s.api_key.get(plain.id).await.unwrap();
    assert_eq!(kept, Some(key(7)), "a taken id changes nothing");
}

pub(super) async fn one_of_many_creations_of_an_id_wins(it: StoreFixture) {
    let s = it.stores;
    let outcomes = together(16, |n| {
        let s = s.clone();
        async move {
            let named = ApiKey {
                name: format!("{n}"),
                ..key(7)
            };
            (create(&s, &named, WIDE).await, named)
        }
    })
    .await;
    let mut created = outcomes
        .iter()
        .filter(|(outcome, _)| *outcome == ApiKeyCreateOutcome::Created);
    let (_, winner) = created.next().unwrap();
    assert!(created.next().is_none());
    assert_eq!(
        s.api_key.get(winner.id).await.unwrap().as_ref(),
        Some(winner)
    );
}

pub(super) async fn keys_are_paged_by_id(it: StoreFixture) {
    let s = &it.stores;
    for number in [9, 2, 5, 1, 7] {
        create(s, &key(number), WIDE).await;
    }
    let (mut after, mut read) = (None, Vec::new());
    for (size, more) in [(2, true), (2, true), (1, false)] {
        let page = s.api_key.list(after, 2).await.unwrap();
        assert_eq!((page.items.len(), page.more), (size, more));
        read.extend(page.items);
        after = read.last().map(|it: &ApiKey| it.id);
    }
    assert_eq!(read, [1, 2, 5, 7, 9].map(key));
    let least = s.api_key.list(None, 0).await.unwrap();
    assert_eq!((least.items.len(), least.more), (1, true));
}

pub(super) async fn the_number_of_keys_is_bounded_and_old_ones_make_room(it: StoreFixture) {
    let s = &it.stores;
    let bounds = ApiKeyBounds {
        max: 3,
        forget_before: NOW,
    };
    let expired = ApiKey {
        expires_at: Some(UnixTimestamp(NOW.0 - 1)),
        ..key(1)
    };
    let still_shown = ApiKey {
        expires_at: Some(LATER),
        revoked_at: Some(NOW),
        ..key(2)
    };
    for it in [&expired, &still_shown, &key(3)] {
        assert_eq!(create(s, it, WIDE).await, ApiKeyCreateOutcome::Created);
    }
    assert_eq!(
        create(s, &key(4), bounds).await,
        ApiKeyCreateOutcome::Created
    );
    assert_eq!(s.api_key.get(expired.id).await.unwrap(), None);
    assert_eq!(create(s, &key(5), bounds).await, ApiKeyCreateOutcome::Full);
    assert_eq!(s.api_key.get(key(5).id).await.unwrap(), None);
    let left = s.api_key.list(None, 9).await.unwrap();
    assert_eq!(left.items, [still_shown, key(3), key(4)]);
}

pub(super) async fn the_earlier_revocation_counts(it: StoreFixture) {
    let s = &it.stores;
    assert!(!s.api_key.revoke(key(1).id, NOW).await.unwrap());
    for number in [1, 2] {
        create(s, &key(number), WIDE).await;
    }
    let revoked = |at| {
        let s = s.clone();
        async move {
            assert!(s.api_key.revoke(key(1).id, at).await.unwrap());
            s.api_key.get(key(1).id).await.unwrap().unwrap().revoked_at
        }
    };
    assert_eq!(revoked(LATER).await, Some(LATER));
    assert_eq!(revoked(NOW).await, Some(NOW));
    assert_eq!(revoked(LATER).await, Some(NOW));
    assert_eq!(s.api_key.get(key(2).id).await.unwrap(), Some(key(2)));
}

pub(super) async fn a_use_is_recorded_and_never_goes_back(it: StoreFixture) {
    let s = &it.stores;
    s.api_key.touch(&[]).await.unwrap();
    for number in [1, 2, 3] {
        create(s, &key(number), WIDE).await;
    }
    let uses = [(key(1).id, LATER), (key(2).id, NOW), (key(9).id, NOW)];
    s.api_key.touch(&uses).await.unwrap();
    s.api_key.touch(&[(key(1).id, NOW)]).await.unwrap();
    let page = s.api_key.list(None, 9).await.unwrap();
    let recorded: Vec<_> = page.items.iter().map(|it| it.used_at).collect();
    assert_eq!(recorded, [Some(LATER), Some(NOW), None]);
}

/// Keys outlive the process; so do their ends.
pub(super) async fn keys_stay(mut it: StoreFixture) {
    for number in [1, 2] {
        create(&it.stores, &key(number), WIDE).await;
    }
    let revoked = it.stores.api_key.revoke(key(1).id, LATER).await.unwrap();
    assert!(revoked);
    it.reopen().await;
    let page = it.stores.api_key.list(None, 9).await.unwrap();
    let first = ApiKey {
        revoked_at: Some(LATER),
        ..key(1)
    };
    assert_eq!(page.items, [first, key(2)]);
}
