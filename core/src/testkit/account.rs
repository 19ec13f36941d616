//! Cases of `AccountStore`: users, search and tokens.

use futures_util::future::join_all;

use super::StoreFixture;
use super::helpers::{LATER, NOW, device, together, user};
use crate::id::UserId;
use crate::store::{
    AccountChange, NewAccount, NicknameMatch, StoreSet, TokenRecord, UserAccount, UserBan,
};
use crate::time::UnixTimestamp;

fn new(id: u64, phone: &str) -> NewAccount {
    NewAccount {
        user: user(id),
        phone: phone.into(),
        at: NOW,
    }
}

async fn named(s: &StoreSet, id: u64, nickname: &str) {
    let phone = format!("+4812345{id:04}");
    s.account.find_or_create(&new(id, &phone)).await.unwrap();
    let change = AccountChange {
        nickname: Some(nickname.into()),
        ..AccountChange::default()
    };
    assert!(s.account.update(user(id), &change, NOW).await.unwrap());
}

async fn found(s: &StoreSet, key: &str) -> Vec<u64> {
    let page = s
        .account
        .search(key, NicknameMatch::Begin, None, 100)
        .await
        .unwrap();
    assert!(!page.more);
    page.items.iter().map(|it| it.user.get()).collect()
}

pub(super) async fn a_phone_is_one_user(it: StoreFixture) {
    let s = &it.stores.account;
    assert_eq!(s.by_phone("+48111").await.unwrap(), None);
    let (made, is_new) = s.find_or_create(&new(5, "+48111")).await.unwrap();
    let want = UserAccount {
        user: user(5),
        phone: "+48111".into(),
        nickname: String::new(),
        sex: 0,
        avatar_url: String::new(),
        extra: String::new(),
        created_at: NOW,
        updated_at: NOW,
    };
    assert_eq!((made, is_new), (want.clone(), true));
    let again = s.find_or_create(&new(6, "+48111")).await.unwrap();
    assert_eq!(again, (want.clone(), false));
    assert_eq!(s.by_phone("+48111").await.unwrap(), Some(want));
    assert_eq!(s.by_phone("+4811").await.unwrap(), None);
    assert_eq!(s.get(&[user(6)]).await.unwrap(), []);
}

pub(super) async fn two_callers_with_one_phone_get_one_user(it: StoreFixture) {
    let s = it.stores;
    let made = together(32, |i| {
        let s = s.clone();
        async move {
            s.account
                .find_or_create(&new(i + 1, "+48111"))
                .await
                .unwrap()
        }
    })
    .await;
    assert_eq!(made.iter().filter(|(_, is_new)| *is_new).count(), 1);
    assert!(
        made.iter()
            .all(|(account, _)| account.user == made[0].0.user)
    );
}

pub(super) async fn users_come_in_the_order_asked(it: StoreFixture) {
    let s = &it.stores;
    for n in 1..=4 {
        named(s, n, "ann").await;
    }
    let asked = [user(3), user(9), user(1)];
    let accounts = s.account.get(&asked).await.unwrap();
    let ids: Vec<_> = accounts.iter().map(|it| it.user).collect();
    assert_eq!(ids, [user(3), user(1)], "an unknown one is left out");
    assert_eq!(s.account.get(&[]).await.unwrap(), []);
}

/// gim wipes fields that are not sent, and fails on emoji.
pub(super) async fn an_update_leaves_unset_fields(it: StoreFixture) {
    let s = &it.stores.account;
    assert!(
        !s.update(user(1), &AccountChange::default(), NOW)
            .await
            .unwrap()
    );
    s.find_or_create(&new(1, "+48111")).await.unwrap();
    let full = AccountChange {
        nickname: Some("Zoë 😀".into()),
        sex: Some(2),
        avatar_url: Some("https://example.org/z".into()),
        extra: Some("{}".into()),
    };
    assert!(s.update(user(1), &full, NOW).await.unwrap());
    let less = AccountChange {
        extra: Some(String::new()),
        ..AccountChange::default()
    };
    assert!(s.update(user(1), &less, LATER).await.unwrap());
    let want = UserAccount {
        user: user(1),
        phone: "+48111".into(),
        nickname: "Zoë 😀".into(),
        sex: 2,
        avatar_url: "https://example.org/z".into(),
        extra: String::new(),
        created_at: NOW,
        updated_at: LATER,
    };
    assert_eq!(
        s.get(&[user(1)]).await.unwrap(),
        std::slice::from_ref(&want)
    );
    assert_eq!(s.by_phone("+48111").await.unwrap(), Some(want));
}

/// S-10: a part of a phone number finds no user.
pub(super) async fn search_is_by_phone_or_beginning_of_a_name(it: StoreFixture) {
    let s = &it.stores;
    for (id, name) in [
        (1, "anna"),
        (2, "joanna"),
        (3, "annabel"),
        (4, "100%_a"),
        (5, "100xya"),
    ] {
        named(s, id, name).await;
    }
    assert_eq!(found(s, "anna").await, [1, 3]);
    assert_eq!(found(s, "joa").await, [2]);
    assert_eq!(found(s, "nna").await, [0; 0]);
    assert_eq!(found(s, "+48123450002").await, [2]);
    assert_eq!(found(s, "+4812345000").await, [0; 0]);
    assert_eq!(found(s, "100%_").await, [4], "a name is no pattern");
    assert_eq!(found(s, "%an").await, [0; 0]);
}

/// G8: a name of any length is found as a whole; longer names that begin with it are not.
pub(super) async fn a_whole_name_is_found_whatever_its_length(it: StoreFixture) {
    let s = &it.stores;
    let long = "long".repeat(50);
    for (id, name) in [
        (1, "张三"),
        (2, "张三丰"),
        (3, "o"),
        (4, "ok"),
        (5, "o%"),
        (6, &long),
    ] {
        named(s, id, name).await;
    }
    for (key, want) in [
        ("张三", &[1][..]),
        ("张", &[]),
        ("o", &[3]),
        ("o%", &[5]),
        ("+48123450004", &[4]),
        (&long, &[6]),
        (&long[..100], &[]),
    ] {
        let page = s
            .account
            .search(key, NicknameMatch::Equal, None, 100)
            .await
            .unwrap();
        let found: Vec<_> = page.items.iter().map(|it| it.user.get()).collect();
        assert_eq!(found, want, "{key}");
    }
}

/// Regression: an index by name and id took the first byte of an id for 0, and took the first bytes
/// of a large id for letters of the name.
pub(super) async fn a_whole_name_is_found_with_the_largest_ids(it: StoreFixture) {
    let s = &it.stores;
    let spelled = |letter: u8| u64::from(letter) << 56;
    let same = [
        1,
        (1 << 56) - 1,
        1 << 56,
        spelled(b'a') + 5,
        spelled(b'k'),
        spelled(b'z'),
        UserId::MAX.get(),
    ];
    for id in same {
        named(s, id, "o").await;
    }
    for (id, name) in [
        (2, "ok"),
        (3, "okay, a longer name"),
        (spelled(b'b'), "ob"),
        // Its id begins with the letter of the name that is searched.
        (spelled(b'o'), ""),
    ] {
        named(s, id, name).await;
    }
    for (key, want) in [("o", &same[..]), ("ok", &[2])] {
        let page = s.account.search(key, NicknameMatch::Equal, None, 100).await;
        let whole: Vec<_> = page.unwrap().items.iter().map(|it| it.user.get()).collect();
        assert_eq!(whole, want, "{key}");
    }
    let mut begin = [&same[..], &[2, 3, spelled(b'b')]].concat();
    begin.sort_unstable();
    assert_eq!(found(s, "o").await, begin);
}

/// After a change of name only the new name is found.
pub(super) async fn search_follows_a_change_of_name(it: StoreFixture) {
    let s = &it.stores;
    named(s, 1, "anna").await;
    named(s, 1, "bella").await;
    assert_eq!(found(s, "anna").await, [0; 0]);
    assert_eq!(found(s, "bell").await, [1]);
}

pub(super) async fn search_is_paged_by_id(it: StoreFixture) {
    let s = &it.stores;
    for n in 1..=12 {
        named(s, n, &format!("same {}", 99 - n)).await;
    }
    let (mut after, mut read) = (None, Vec::<UserId>::new());
    for (size, more) in [(5, true), (5, true), (2, false)] {
        let page = s
            .account
            .search("same", NicknameMatch::Begin, after, 5)
            .await
            .unwrap();
        assert_eq!((page.items.len(), page.more), (size, more));
        read.extend(page.items.iter().map(|it| it.user));
        after = read.last().copied();
    }
    assert_eq!(read, super::helpers::users(1..=12));
}

fn token(n: u8) -> TokenRecord {
    TokenRecord {
        hash: [n; 32],
        expires_at: UnixTimestamp(LATER.0 + i64::from(n)),
    }
}

pub(super) async fn a_token_is_of_one_user_and_device(it: StoreFixture) {
    let s = &it.stores.account;
    assert_eq!(s.token(user(1), device(1)).await.unwrap(), None);
    s.put_token(user(1), device(1), &token(1), false)
        .await
        .unwrap();
    s.put_token(user(1), device(2), &token(2), false)
        .await
        .unwrap();
    assert_eq!(s.token(user(1), device(1)).await.unwrap(), Some(token(1)));
    assert_eq!(s.token(user(1), device(2)).await.unwrap(), Some(token(2)));
    assert_eq!(s.token(user(2), device(1)).await.unwrap(), None);
    s.put_token(user(1), device(1), &token(3), false)
        .await
        .unwrap();
    assert_eq!(s.token(user(1), device(1)).await.unwrap(), Some(token(3)));
}

pub(super) async fn tokens_asked_for_together_are_each_their_own(it: StoreFixture) {
    let s = &it.stores.account;
    let own = |n: u64| token(u8::try_from(n).unwrap());
    let puts = (1..=200).map(|n| async move {
        s.put_token(user(n), device(n), &own(n), false)
            .await
            .unwrap();
    });
    join_all(puts).await;
    // Ask for each device with its own user and with another; some devices have no token.
    let asks = (1..=300).flat_map(|n| [(n, n), (n, n + 1)]);
    let found = asks.map(|(device_of, who)| async move {
        let found = s.token(user(who), device(device_of)).await.unwrap();
        let want = (who == device_of && who <= 200).then(|| own(who));
        assert_eq!(found, want, "device {device_of}, user {who}");
    });
    join_all(found).await;
}

/// D1: anyone who knows a device's id can sign in on it; the token of its user stays.
pub(super) async fn another_user_on_the_device_takes_no_token(it: StoreFixture) {
    let s = &it.stores.account;
    s.put_token(user(1), device(1), &token(1), false)
        .await
        .unwrap();
    let gone = s.put_token(user(2), device(1), &token(3), false).await;
    assert_eq!(gone.unwrap(), []);
    assert_eq!(s.token(user(1), device(1)).await.unwrap(), Some(token(1)));
    assert_eq!(s.token(user(2), device(1)).await.unwrap(), Some(token(3)));
    s.revoke_token(user(2), device(1)).await.unwrap();
    assert_eq!(s.token(user(1), device(1)).await.unwrap(), Some(token(1)));
}

/// S-14: gim leaves the previous user's token valid on a device that changes hands.
pub(super) async fn who_holds_the_device_is_alone_on_it(it: StoreFixture) {
    let s = &it.stores.account;
    s.put_token(user(1), device(1), &token(1), false)
        .await
        .unwrap();
    s.put_token(user(1), device(2), &token(2), false)
        .await
        .unwrap();
    s.put_token(user(3), device(1), &token(4), false)
        .await
        .unwrap();
    let mut gone = s
        .put_token(user(2), device(1), &token(3), true)
        .await
        .unwrap();
    gone.sort_unstable();
    assert_eq!(gone, [user(1), user(3)]);
    assert_eq!(s.token(user(1), device(1)).await.unwrap(), None);
    assert_eq!(s.token(user(2), device(1)).await.unwrap(), Some(token(3)));
    assert_eq!(s.token(user(1), device(2)).await.unwrap(), Some(token(2)));
    let again = s.put_token(user(2), device(1), &token(5), true).await;
    assert_eq!(again.unwrap(), [], "its own was replaced, not taken");
}

pub(super) async fn a_revoked_token_is_gone(it: StoreFixture) {
    let s = &it.stores.account;
    s.revoke_token(user(1), device(1)).await.unwrap();
    s.put_token(user(1), device(1), &token(1), false)
        .await
        .unwrap();
    s.revoke_token(user(2), device(1)).await.unwrap();
    assert_eq!(s.token(user(1), device(1)).await.unwrap(), Some(token(1)));
    s.revoke_token(user(1), device(1)).await.unwrap();
    assert_eq!(s.token(user(1), device(1)).await.unwrap(), None);
}

fn ban(reason: &str, at: UnixTimestamp) -> UserBan {
    let reason = reason.into();
    UserBan { reason, at }
}

/// A token that is set during a ban, by a sign-in that began before it, is not valid either.
pub(super) async fn a_banned_user_has_no_token(it: StoreFixture) {
    let s = &it.stores.account;
    for n in 1..=2 {
        s.put_token(user(n), device(1), &token(1), false)
            .await
            .unwrap();
    }
    s.ban(user(1), &ban("spam", NOW)).await.unwrap();
    s.put_token(user(1), device(2), &token(2), false)
        .await
        .unwrap();
    let held = async |of, on| s.token(user(of), device(on)).await.unwrap();
    assert_eq!((held(1, 1).await, held(1, 2).await), (None, None));
    assert_eq!(
        held(2, 1).await,
        Some(token(1)),
        "another user on the device"
    );
    s.revoke_token(user(1), device(2)).await.unwrap();
    s.lift_ban(user(1)).await.unwrap();
    assert_eq!((held(1, 1).await, held(1, 2).await), (Some(token(1)), None));
}

pub(super) async fn a_ban_is_of_one_user_and_is_replaced(it: StoreFixture) {
    let s = &it.stores.account;
    assert_eq!(s.ban_of(user(1)).await.unwrap(), None);
    s.lift_ban(user(1)).await.unwrap();
    s.ban(user(1), &ban("spam", NOW)).await.unwrap();
    assert_eq!(s.ban_of(user(1)).await.unwrap(), Some(ban("spam", NOW)));
    assert_eq!(s.ban_of(user(2)).await.unwrap(), None);
    let second = ban("more spam 😀", LATER);
    s.ban(user(1), &second).await.unwrap();
    assert_eq!(s.ban_of(user(1)).await.unwrap(), Some(second));
    s.lift_ban(user(1)).await.unwrap();
    assert_eq!(s.ban_of(user(1)).await.unwrap(), None);
}
