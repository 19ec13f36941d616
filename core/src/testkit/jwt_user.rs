//! Cases of `JwtUserStore`: profiles and revocations.

use super::StoreFixture;
use super::helpers::{LATER, NOW, together, user, users};
use crate::store::{
    JwtProfile, JwtProfileChange, JwtRevocation, JwtUser, JwtUserStore, MAX_REVOKED_JWTS,
    RevokedJwt,
};
use crate::time::UnixTimestamp;

fn named(nickname: Option<&str>, avatar_url: Option<&str>) -> JwtProfileChange {
    JwtProfileChange {
        nickname: nickname.map(str::to_owned),
        avatar_url: avatar_url.map(str::to_owned),
    }
}

fn token(n: u8, expires_at: UnixTimestamp) -> RevokedJwt {
    RevokedJwt {
        id: [n; 32],
        expires_at,
    }
}

async fn one(s: &dyn JwtUserStore, id: u64) -> Option<JwtUser> {
    s.get(&[user(id)]).await.unwrap().pop()
}

pub(super) async fn a_profile_begins_with_the_first_token(it: StoreFixture) {
    let s = &it.stores.jwt_user;
    assert_eq!(one(s.as_ref(), 5).await, None);
    let first = named(Some("Zoë 😀"), Some("https://example.org/z"));
    s.set_profile(user(5), &first, NOW).await.unwrap();
    let mut want = JwtProfile {
        nickname: "Zoë 😀".into(),
        avatar_url: "https://example.org/z".into(),
        created_at: NOW,
        updated_at: NOW,
    };
    let stored = one(s.as_ref(), 5).await.unwrap();
    assert_eq!((stored.user, stored.profile), (user(5), Some(want.clone())));
    let second = named(None, Some(""));
    s.set_profile(user(5), &second, LATER).await.unwrap();
    want.avatar_url.clear();
    want.updated_at = LATER;
    let stored = one(s.as_ref(), 5).await.unwrap();
    assert_eq!(stored.profile, Some(want));
    assert_eq!((stored.issued_before, stored.revoked), (None, vec![]));
}

pub(super) async fn jwt_users_come_in_the_order_asked(it: StoreFixture) {
    let s = &it.stores.jwt_user;
    for id in users(1..=4) {
        s.set_profile(id, &named(None, None), NOW).await.unwrap();
    }
    let found = s.get(&[user(3), user(9), user(1)]).await.unwrap();
    let ids: Vec<_> = found.iter().map(|it| it.user).collect();
    assert_eq!(ids, [user(3), user(1)]);
    assert_eq!(s.get(&[]).await.unwrap(), []);
}

pub(super) async fn a_revocation_is_of_one_user_and_makes_none(it: StoreFixture) {
    let s = &it.stores.jwt_user;
    let revoked = token(1, LATER);
    s.revoke(user(5), JwtRevocation::Token(revoked), NOW)
        .await
        .unwrap();
    let stored = one(s.as_ref(), 5).await.unwrap();
    assert_eq!((stored.profile, stored.revoked), (None, vec![revoked]));
    assert_eq!(one(s.as_ref(), 6).await, None);
    s.set_profile(user(5), &named(Some("ann"), None), NOW)
        .await
        .unwrap();
    let stored = one(s.as_ref(), 5).await.unwrap();
    assert_eq!(stored.revoked, [revoked], "a profile keeps the revocations");
    assert_eq!(stored.profile.unwrap().nickname, "ann");
}

pub(super) async fn the_latest_time_of_a_revocation_counts(it: StoreFixture) {
    let s = &it.stores.jwt_user;
    for at in [LATER, NOW] {
        let all = JwtRevocation::IssuedBefore(at);
        s.revoke(user(5), all, NOW).await.unwrap();
        let stored = one(s.as_ref(), 5).await.unwrap();
        assert_eq!(stored.issued_before, Some(LATER));
    }
}

pub(super) async fn expired_revocations_are_removed(it: StoreFixture) {
    let s = &it.stores.jwt_user;
    let (early, late) = (token(1, LATER), token(2, UnixTimestamp(LATER.0 + 1)));
    for it in [early, late, early] {
        let revoked = s.revoke(user(5), JwtRevocation::Token(it), NOW).await;
        revoked.unwrap();
    }
    let stored = one(s.as_ref(), 5).await.unwrap();
    assert_eq!(stored.revoked, [late, early], "each once");
    let last = token(3, UnixTimestamp(LATER.0 + 2));
    let revoked = s.revoke(user(5), JwtRevocation::Token(last), LATER).await;
    revoked.unwrap();
    let stored = one(s.as_ref(), 5).await.unwrap();
    assert_eq!(stored.revoked, [late, last]);
}

pub(super) async fn revoked_tokens_of_a_user_are_bounded(it: StoreFixture) {
    let s = &it.stores.jwt_user;
    let limit = u8::try_from(MAX_REVOKED_JWTS).unwrap();
    for n in 0..=limit {
        let before = one(s.as_ref(), 5).await;
        let held = before.map_or(0, |it| it.revoked.len());
        assert_eq!(held, usize::from(n));
        let revoked = JwtRevocation::Token(token(n, LATER));
        s.revoke(user(5), revoked, NOW).await.unwrap();
    }
    let stored = one(s.as_ref(), 5).await.unwrap();
    assert_eq!((stored.revoked, stored.issued_before), (vec![], Some(NOW)));
}

pub(super) async fn concurrent_revocations_are_all_kept(it: StoreFixture) {
    let s = it.stores;
    together(32, |n| {
        let s = s.clone();
        let id = u8::try_from(n).unwrap();
        async move {
            let revoked = JwtRevocation::Token(token(id, LATER));
            s.jwt_user.revoke(user(5), revoked, NOW).await.unwrap();
        }
    })
    .await;
    let mut stored = one(s.jwt_user.as_ref(), 5).await.unwrap().revoked;
    stored.sort_unstable_by_key(|it| it.id);
    let want: Vec<_> = (0..32).map(|n| token(n, LATER)).collect();
    assert_eq!(stored, want);
}
