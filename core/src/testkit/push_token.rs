//! Cases of `PushTokenStore`: an address belongs to one user on one device, and a user has a bounded
//! number of them.

use super::StoreFixture;
use super::helpers::{NOW, device, together, user};
use crate::id::UserId;
use crate::store::{PushAddress, PushRegistration, StoreSet};
use crate::time::UnixTimestamp;

/// More devices than the case registers.
const MANY: usize = 100;

fn fcm(token: &str) -> PushAddress {
    PushAddress::Fcm {
        token: token.into(),
    }
}

fn apns(token: &str) -> PushAddress {
    PushAddress::Apns {
        token: token.into(),
        topic: "com.example.chat".into(),
        is_sandbox: true,
    }
}

fn webpush(path: &str) -> PushAddress {
    PushAddress::WebPush {
        // As long as an endpoint may be.
        endpoint: format!("https://push.example.net/{path}/{}", "e".repeat(2_000)),
        public_key: (0..65).collect(),
        auth_secret: vec![0xff; 16],
    }
}

fn registered(on: u64, address: PushAddress, at: i64) -> PushRegistration {
    PushRegistration {
        device: device(on),
        address,
        shows_content: false,
        locale: String::new(),
        registered_at: UnixTimestamp(NOW.0 + at),
    }
}

async fn put(s: &StoreSet, who: u64, registration: &PushRegistration) {
    let put = s.push_token.put(user(who), registration, MANY);
    put.await.unwrap();
}

async fn held_by(s: &StoreSet, who: UserId) -> Vec<PushRegistration> {
    let held = s.push_token.of(&[who]).await.unwrap();
    assert!(held.iter().all(|(owner, _)| *owner == who));
    held.into_iter().map(|(_, it)| it).collect()
}

async fn devices_of(s: &StoreSet, who: UserId) -> Vec<u64> {
    let held = held_by(s, who).await;
    held.iter().map(|it| it.device.get()).collect()
}

pub(super) async fn each_kind_of_address_is_as_it_was_registered(it: StoreFixture) {
    let s = &it.stores;
    assert_eq!(held_by(s, user(1)).await, []);
    assert_eq!(s.push_token.of(&[]).await.unwrap(), []);
    let mut all = vec![
        registered(3, apns("00ff"), 1),
        registered(4, fcm("a:b-c_d"), 2),
        registered(200, webpush("sub"), 3),
    ];
    all[1].shows_content = true;
    all[2].locale = "zh-Hant-TW".into();
    for registration in all.iter().rev() {
        put(s, 1, registration).await;
    }
    assert_eq!(held_by(s, user(1)).await, all);
    assert_eq!(held_by(s, user(2)).await, []);
}

pub(super) async fn registrations_of_users_come_by_user_and_device(it: StoreFixture) {
    let s = &it.stores;
    for (who, on) in [(3, 2), (1, 9), (1, 4), (2, 5), (3, 1)] {
        put(s, who, &registered(on, fcm(&format!("{who}-{on}")), 1)).await;
    }
    let asked = [3, 7, 1, 3].map(user);
    let found = s.push_token.of(&asked).await.unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|(owner, it)| (owner.get(), it.device.get()))
        .collect();
    assert_eq!(ids, [(1, 4), (1, 9), (3, 1), (3, 2)]);
}

pub(super) async fn a_new_registration_replaces_the_devices_old_one(it: StoreFixture) {
    let s = &it.stores;
    put(s, 1, &registered(5, webpush("old"), 1)).await;
    let new = registered(5, fcm("new"), 2);
    put(s, 1, &new).await;
    put(s, 1, &new).await;
    assert_eq!(held_by(s, user(1)).await, [new]);
    // The replaced address belongs to no device: another user may register it and keeps both.
    put(s, 2, &registered(6, webpush("old"), 3)).await;
    assert_eq!(devices_of(s, user(1)).await, [5]);
    assert_eq!(devices_of(s, user(2)).await, [6]);
}

/// A phone that was handed on must not show its former user's messages.
pub(super) async fn an_address_belongs_to_the_user_who_registered_it_last(it: StoreFixture) {
    let s = &it.stores;
    put(s, 1, &registered(5, fcm("phone"), 1)).await;
    put(s, 1, &registered(6, fcm("tablet"), 1)).await;
    put(s, 2, &registered(5, fcm("phone"), 2)).await;
    assert_eq!(devices_of(s, user(1)).await, [6]);
    assert_eq!(devices_of(s, user(2)).await, [5]);
    // The same user on another device: an app that was installed anew.
    put(s, 2, &registered(9, fcm("phone"), 3)).await;
    assert_eq!(devices_of(s, user(2)).await, [9]);
    // The same token of another provider is another address.
    put(s, 3, &registered(5, apns("phone"), 4)).await;
    assert_eq!(devices_of(s, user(2)).await, [9]);
}

pub(super) async fn two_users_on_one_device_have_addresses_of_their_own(it: StoreFixture) {
    let s = &it.stores;
    put(s, 1, &registered(5, fcm("one"), 1)).await;
    put(s, 2, &registered(5, fcm("two"), 1)).await;
    assert_eq!(devices_of(s, user(1)).await, [5]);
    assert_eq!(devices_of(s, user(2)).await, [5]);
    assert!(s.push_token.remove(user(1), device(5), None).await.unwrap());
    assert_eq!(devices_of(s, user(1)).await, [0; 0]);
    assert_eq!(devices_of(s, user(2)).await, [5]);
}

pub(super) async fn beyond_the_limit_the_first_registrations_end(it: StoreFixture) {
    let s = &it.stores;
    // In another order than that of the ids.
    for (on, at) in [(7, 1), (3, 2), (9, 3), (1, 4)] {
        let registration = registered(on, fcm(&format!("token {on}")), at);
        s.push_token.put(user(1), &registration, 3).await.unwrap();
    }
    assert_eq!(devices_of(s, user(1)).await, [1, 3, 9]);
    // A device that registers again is the newest.
    s.push_token
        .put(user(1), &registered(3, fcm("token 3"), 5), 3)
        .await
        .unwrap();
    s.push_token
        .put(user(1), &registered(8, fcm("token 8"), 6), 3)
        .await
        .unwrap();
    assert_eq!(devices_of(s, user(1)).await, [1, 3, 8]);
    // An ended registration leaves its address free, and other users are not counted.
    s.push_token
        .put(user(2), &registered(7, fcm("token 7"), 7), 3)
        .await
        .unwrap();
    assert_eq!(devices_of(s, user(1)).await, [1, 3, 8]);
    assert_eq!(devices_of(s, user(2)).await, [7]);
}

pub(super) async fn a_removal_can_be_bound_to_an_address(it: StoreFixture) {
    let s = &it.stores;
    let (old, new) = (fcm("old"), fcm("new"));
    put(s, 1, &registered(5, new.clone(), 1)).await;
    let remove = |only| s.push_token.remove(user(1), device(5), only);
    assert!(!remove(Some(old.fingerprint())).await.unwrap());
    assert_eq!(devices_of(s, user(1)).await, [5]);
    assert!(remove(Some(new.fingerprint())).await.unwrap());
    assert_eq!(devices_of(s, user(1)).await, [0; 0]);
    assert!(!remove(Some(new.fingerprint())).await.unwrap());
    assert!(!remove(None).await.unwrap());
    let foreign = s.push_token.remove(user(2), device(5), None);
    assert!(!foreign.await.unwrap());
}

/// One phone that many users register at once ends with one of them.
pub(super) async fn registrations_at_once_leave_one_owner(it: StoreFixture) {
    let s = it.stores;
    together(24, |i| {
        let s = s.clone();
        async move {
            let at = i64::try_from(i).unwrap();
            put(&s, i + 1, &registered(5, fcm("phone"), at)).await;
        }
    })
    .await;
    let mut owners = 0;
    for n in 1..=24 {
        owners += devices_of(&s, user(n)).await.len();
    }
    assert_eq!(owners, 1);
}

/// Many devices that one user registers at once stay within the limit.
pub(super) async fn registrations_at_once_keep_the_limit(it: StoreFixture) {
    let s = it.stores;
    together(24, |i| {
        let s = s.clone();
        async move {
            let registration = registered(i + 1, fcm(&format!("token {i}")), 1);
            s.push_token.put(user(1), &registration, 5).await.unwrap();
        }
    })
    .await;
    assert_eq!(devices_of(&s, user(1)).await.len(), 5);
}
