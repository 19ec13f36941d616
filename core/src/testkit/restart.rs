//! Cases of durable engines: everything is still there after closing and opening.

use super::StoreFixture;
use super::events::{hooked, lease, rows, texts};
use super::helpers::{
    LATER, NOW, answer, append, change, contents, device, found, group, head, keyed, last, put,
    roster, send, stored, to_group, user, users, work,
};
use crate::id::Generation;
use crate::seq::Seq;
use crate::store::{
    AccountChange, AppendOutcome, DeviceInfo, FailedDelivery, FriendAcceptOutcome,
    FriendRequestOutcome, GroupChange, Head, IdScope, JobStepOutcome, JwtProfileChange,
    JwtRevocation, LeasedOutcome, NewAccount, NicknameMatch, PushAddress, PushRegistration,
    RevokedJwt, TokenRecord, UserBan,
};

/// Laws 1 and 3: answered sends are still there, and the numbers continue.
pub(super) async fn answered_sends_are_there(mut it: StoreFixture) {
    for round in 0..4 {
        let s = &it.stores;
        put(s, &users(1..=1), format!("{round}: one")).await;
        put(s, &users(1..=2), vec![b'x'; 60 * 1024]).await;
        put(s, &users(1..=5), format!("{round}: five")).await;
        it.reopen().await;
    }
    let s = &it.stores;
    let large = "x".repeat(60 * 1024);
    let want: Vec<String> = (0..4)
        .flat_map(|n| [format!("{n}: one"), large.clone(), format!("{n}: five")])
        .collect();
    assert_eq!(contents(s, user(1)).await, want);
    assert_eq!(last(s, user(2)).await, 8);
    assert_eq!(last(s, user(5)).await, 4);
    assert_eq!(put(s, &[user(5)], "on").await, [(user(5), Seq::new(5))]);
}

/// Law 10: a restart does not change the epoch.
pub(super) async fn the_epoch_stays_the_same(mut it: StoreFixture) {
    let epoch = it.stores.seq.epoch().await.unwrap();
    it.reopen().await;
    assert_eq!(it.stores.seq.epoch().await.unwrap(), epoch);
    let new = it.stores.seq.new_epoch(epoch).await.unwrap();
    it.reopen().await;
    assert_eq!(it.stores.seq.epoch().await.unwrap(), new);
}

/// Law 4: a repeat is recognised across restarts.
pub(super) async fn keys_are_remembered(mut it: StoreFixture) {
    let first = keyed(send(&users(1..=2), "hi"), "k");
    stored(append(&it.stores, first.clone()).await);
    it.reopen().await;
    let s = &it.stores;
    let want = AppendOutcome::Repeated {
        message: first.message.id,
        seq: Seq::new(1),
    };
    assert_eq!(append(s, keyed(send(&users(1..=2), "hi"), "k")).await, want);
    let other = append(s, keyed(send(&users(1..=2), "ho"), "k")).await;
    assert_eq!(other, AppendOutcome::Conflict);
    assert_eq!(last(s, user(1)).await, 1);
}

pub(super) async fn reserved_numbers_go_on(mut it: StoreFixture) {
    let mut next = 1;
    for n in [1, 500, 3] {
        let first = it.stores.seq.reserve(IdScope::Device, n).await.unwrap();
        assert!(first >= next, "{first} was given before");
        next = first + n;
        it.reopen().await;
    }
}

/// Law 3: entries that retention has removed stay removed, and the numbers continue.
pub(super) async fn floors_stay(mut it: StoreFixture) {
    for _ in 0..5 {
        put(&it.stores, &users(1..=3), "hi").await;
    }
    it.stores.inbox.trim(user(1), Seq::new(2)).await.unwrap();
    it.stores.inbox.trim(user(2), Seq::new(5)).await.unwrap();
    it.reopen().await;
    let s = &it.stores;
    for (who, floor) in [(1, 2), (2, 5), (3, 0)] {
        let want = Head {
            head: Seq::new(5),
            floor: Seq::new(floor),
        };
        assert_eq!(head(s, user(who)).await, want);
        assert_eq!(contents(s, user(who)).await.len() as u64, 5 - floor);
    }
    assert_eq!(put(s, &[user(2)], "on").await, [(user(2), Seq::new(6))]);
}

/// Law 7: generations keep rising across restarts.
pub(super) async fn generations_go_on(mut it: StoreFixture) {
    let info = DeviceInfo {
        kind: 1,
        brand: "b".into(),
        model: "m".into(),
        system_version: "s".into(),
        sdk_version: "v".into(),
    };
    it.stores
        .device
        .register(device(1), &info, NOW)
        .await
        .unwrap();
    for n in 1..=3 {
        for on in [1, 2] {
            let raised = it
                .stores
                .device
                .raise(&[(device(on), user(n))], LATER)
                .await
                .unwrap();
            assert_eq!(raised, [Generation(n)]);
        }
        it.reopen().await;
    }
    let now = it.stores.device.get(device(1)).await.unwrap().unwrap();
    assert_eq!(
        (now.info, now.user, now.generation.0),
        (info, Some(user(3)), 3)
    );
}

/// Law 5: any later worker finishes a job that was begun.
pub(super) async fn jobs_go_on(mut it: StoreFixture) {
    let plan = found(&it.stores, group(1), &users(1..=2_500)).await;
    for content in ["a", "b"] {
        let outcome = append(&it.stores, to_group(group(1), &plan, content)).await;
        assert!(matches!(outcome, AppendOutcome::Stored { job: true, .. }));
        answer(&outcome);
    }
    let old = it.stores.inbox.claim_job(None).await.unwrap().unwrap();
    let part = it.stores.inbox.advance_job(&old).await.unwrap();
    assert!(matches!(part, JobStepOutcome::Entries { done: false, .. }));
    it.reopen().await;
    let s = &it.stores;
    let new = s.inbox.claim_job(None).await.unwrap().unwrap();
    assert!(new.generation > old.generation);
    assert_eq!(
        s.inbox.advance_job(&old).await.unwrap(),
        JobStepOutcome::Lost
    );
    work(s, group(1)).await;
    let heads = s.seq.heads(&users(1..=2_500)).await.unwrap();
    assert!(heads.iter().all(|it| it.head.get() == 2));
    assert_eq!(contents(s, user(2_500)).await, ["a", "b"]);
    assert_eq!(s.inbox.claim_job(None).await.unwrap(), None);
}

pub(super) async fn groups_stay(mut it: StoreFixture) {
    found(&it.stores, group(1), &users(1..=5)).await;
    change(&it.stores, group(1), &GroupChange::Remove(user(5))).await;
    change(&it.stores, group(1), &GroupChange::Add(vec![user(9)])).await;
    let before = (
        it.stores.group.get(group(1)).await.unwrap(),
        roster(&it.stores, group(1)).await,
    );
    it.reopen().await;
    let s = &it.stores;
    assert_eq!(
        (
            s.group.get(group(1)).await.unwrap(),
            roster(s, group(1)).await
        ),
        before
    );
    assert_eq!(before.1.version.0, 3);
    assert_eq!(
        s.group
            .groups_of(user(9), None, 9)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert!(
        s.group
            .groups_of(user(5), None, 9)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(
        stored(append(s, to_group(group(1), &before.1, "hi")).await).len(),
        5
    );
}

pub(super) async fn friends_and_accounts_stay(mut it: StoreFixture) {
    let s = &it.stores;
    s.friend
        .request(user(1), user(2), "two", &[], &[], NOW)
        .await
        .unwrap();
    s.friend
        .agree(user(2), user(1), "one", &[], &[], NOW)
        .await
        .unwrap();
    s.friend
        .request(user(3), user(1), "", &[], &[], NOW)
        .await
        .unwrap();
    let new = NewAccount {
        user: user(1),
        phone: "+48111".into(),
        at: NOW,
    };
    s.account.find_or_create(&new).await.unwrap();
    let named = AccountChange {
        nickname: Some("Zoë".into()),
        ..AccountChange::default()
    };
    s.account.update(user(1), &named, NOW).await.unwrap();
    let token = TokenRecord {
        hash: [7; 32],
        expires_at: LATER,
    };
    s.account
        .put_token(user(1), device(1), &token, false)
        .await
        .unwrap();
    let ban = UserBan {
        reason: "spam".into(),
        at: NOW,
    };
    s.account.ban(user(2), &ban).await.unwrap();
    it.reopen().await;

    let s = &it.stores;
    assert!(s.friend.are_friends(user(1), user(2)).await.unwrap());
    let asked = s
        .friend
        .request(user(3), user(1), "", &[], &[], NOW)
        .await
        .unwrap();
    assert_eq!(asked, FriendRequestOutcome::Pending);
    let agreed = s
        .friend
        .agree(user(1), user(3), "", &[], &[], NOW)
        .await
        .unwrap();
    assert_eq!(agreed, FriendAcceptOutcome::Now(Vec::new()));
    let account = s.account.by_phone("+48111").await.unwrap().unwrap();
    assert_eq!((account.user, account.nickname.as_str()), (user(1), "Zoë"));
    assert_eq!(
        s.account
            .search("Zo", NicknameMatch::Begin, None, 9)
            .await
            .unwrap()
            .items,
        [account]
    );
    assert_eq!(
        s.account.token(user(1), device(1)).await.unwrap(),
        Some(token)
    );
    assert_eq!(s.account.ban_of(user(2)).await.unwrap(), Some(ban));
}

/// Events, dead letters and leases of hooks are still there, and positions continue.
pub(super) async fn events_stay(mut it: StoreFixture) {
    for n in ["one", "two", "three"] {
        stored(append(&it.stores, hooked(send(&users(1..=2), n), &["a*"])).await);
    }
    let all = rows(&it.stores, "a").await;
    let old = lease(&it.stores, "a", "node").await;
    let failed = FailedDelivery {
        position: all[0].position,
        error: "gone".into(),
        attempts: 2,
    };
    let buried = it.stores.outbox.bury(&old, &[failed], NOW).await;
    assert_eq!(buried.unwrap(), LeasedOutcome::Done);
    let dead = it.stores.outbox.dead_letters(&old.hook, None, 9).await;
    it.reopen().await;
    let s = &it.stores;
    assert_eq!(rows(s, "a").await, all[1..]);
    let found = s.outbox.dead_letters(&old.hook, None, 9).await.unwrap();
    assert_eq!(found, dead.unwrap());
    assert_eq!(s.outbox.renew(&old).await.unwrap(), LeasedOutcome::Done);
    let new = lease(s, "a", "node").await;
    assert!(new.generation > old.generation);
    s.outbox
        .replay(&old.hook, &[all[0].position])
        .await
        .unwrap();
    assert_eq!(texts(s, "a").await, ["two", "three", "one"]);
}

pub(super) async fn push_addresses_stay(mut it: StoreFixture) {
    let address = |token: &str| PushAddress::Fcm {
        token: token.into(),
    };
    let registered = |on, token| PushRegistration {
        device: device(on),
        address: address(token),
        shows_content: true,
        locale: "de".into(),
        registered_at: NOW,
    };
    let (kept, ended) = (registered(1, "kept"), registered(2, "ended"));
    for registration in [&kept, &ended] {
        let put = it.stores.push_token.put(user(1), registration, 9);
        put.await.unwrap();
    }
    let removed = it.stores.push_token.remove(user(1), device(2), None);
    assert!(removed.await.unwrap());
    it.reopen().await;
    let s = &it.stores.push_token;
    assert_eq!(s.of(&[user(1)]).await.unwrap(), [(user(1), kept)]);
    // The owner of an address is still known.
    s.put(user(2), &registered(7, "kept"), 9).await.unwrap();
    assert_eq!(s.of(&[user(1)]).await.unwrap(), []);
}

pub(super) async fn jwt_users_stay(mut it: StoreFixture) {
    let named = JwtProfileChange {
        nickname: Some("Zoë".into()),
        avatar_url: None,
    };
    let revoked = RevokedJwt {
        id: [7; 32],
        expires_at: LATER,
    };
    let s = &it.stores.jwt_user;
    s.set_profile(user(1), &named, NOW).await.unwrap();
    for revocation in [
        JwtRevocation::Token(revoked),
        JwtRevocation::IssuedBefore(NOW),
    ] {
        s.revoke(user(1), revocation, NOW).await.unwrap();
    }
    it.reopen().await;

    let found = it.stores.jwt_user.get(&[user(1)]).await.unwrap();
    let profile = found[0].profile.as_ref().unwrap();
    assert_eq!(profile.nickname, "Zoë");
    assert_eq!(found[0].revoked, [revoked]);
    assert_eq!(found[0].issued_before, Some(NOW));
}
