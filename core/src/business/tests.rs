//! The built-in business service over in-memory storage.

use std::sync::Arc;
use std::time::Duration;

use super::{BuiltinBusiness, BuiltinConfig, BusinessBackend, FixedCode, SignIn, SignedIn};
use crate::error::RequestRefusal;
use crate::id::{DeviceId, UserId};
use crate::memory;
use crate::store::{AccountChange, DeviceInfo, JwtProfileChange, StoreSet};
use crate::time::{ManualClock, UnixTimestamp};

struct BusinessFixture {
    builtin: BuiltinBusiness,
    stores: StoreSet,
    clock: Arc<ManualClock>,
}

async fn town(config: BuiltinConfig) -> BusinessFixture {
    let stores = memory::stores();
    let clock = Arc::new(ManualClock::at(UnixTimestamp(1_000_000)));
    let verifier = Arc::new(FixedCode::default());
    let builtin = BuiltinBusiness::new(&stores, Arc::clone(&clock) as _, verifier, config);
    for n in 1..=3 {
        let info = DeviceInfo {
            kind: 1,
            brand: "b".into(),
            model: "m".into(),
            system_version: "s".into(),
            sdk_version: "k".into(),
        };
        let at = UnixTimestamp(1);
        stores.device.register(device(n), &info, at).await.unwrap();
    }
    BusinessFixture {
        builtin,
        stores,
        clock,
    }
}

fn device(n: u64) -> DeviceId {
    DeviceId::new(n).unwrap()
}

async fn enter(town: &BusinessFixture, phone: &str, on: u64) -> Result<SignedIn, RequestRefusal> {
    enter_as(town, phone, on, None).await
}

/// Signs in and presents the token of an earlier sign-in.
async fn enter_as(
    town: &BusinessFixture,
    phone: &str,
    on: u64,
    shown: Option<&SignedIn>,
) -> Result<SignedIn, RequestRefusal> {
    let request = SignIn {
        phone: phone.into(),
        code: "000000".into(),
        device: device(on),
        holder: shown.map(|it| (it.user, it.token.clone())),
    };
    town.builtin.sign_in(request).await
}

async fn welcome(town: &BusinessFixture, who: &SignedIn, on: u64) -> bool {
    let auth = town.builtin.auth(who.user, device(on), &who.token).await;
    assert!(matches!(
        auth,
        Ok(()) | Err(RequestRefusal::Unauthorized(_))
    ));
    auth.is_ok()
}

#[tokio::test]
async fn a_backend_creates_users_and_issues_their_tokens() {
    let town = town(BuiltinConfig::default()).await;
    let builtin = &town.builtin;
    let (alice, is_new) = builtin.create("13800000001".into()).await.unwrap();
    assert!(is_new);
    let again = builtin.create("13800000001".into()).await.unwrap();
    assert_eq!(again, (alice, false));
    let bob = enter(&town, "13800000002", 1).await.unwrap();
    let token = builtin.issue_token(alice, device(1)).await.unwrap();
    assert_eq!(builtin.auth(alice, device(1), &token).await, Ok(()));
    assert!(welcome(&town, &bob, 1).await, "another user's token stays");
    let newer = builtin.issue_token(alice, device(1)).await.unwrap();
    assert!(builtin.auth(alice, device(1), &token).await.is_err());
    assert_eq!(builtin.auth(alice, device(1), &newer).await, Ok(()));
    let unknown = UserId::new(99).unwrap();
    let refused = builtin.issue_token(unknown, device(1)).await;
    assert_eq!(refused, Err(RequestRefusal::NoSuchUser(unknown)));
    let refused = builtin.issue_token(alice, device(99)).await;
    assert_eq!(refused, Err(RequestRefusal::NoSuchDevice(device(99))));
    assert!(builtin.create("x".into()).await.is_err());
}

#[tokio::test]
async fn a_token_is_valid_for_its_device_until_it_expires_or_is_revoked() {
    let town = town(BuiltinConfig::default()).await;
    let alice = enter(&town, "13800000001", 1).await.unwrap();
    assert!(alice.is_new);
    assert_eq!(alice.token.len(), 64);
    assert!(welcome(&town, &alice, 1).await);
    assert!(!welcome(&town, &alice, 2).await);
    let again = enter(&town, "13800000001", 2).await.unwrap();
    assert!(!again.is_new);
    assert_eq!(again.user, alice.user);
    assert_ne!(again.token, alice.token);
    town.builtin.sign_out(alice.user, device(2)).await.unwrap();
    assert!(!welcome(&town, &again, 2).await);
    assert!(welcome(&town, &alice, 1).await);
    town.clock.advance(Duration::from_hours(90 * 24));
    assert!(!welcome(&town, &alice, 1).await);
}

#[tokio::test]
async fn a_caller_without_a_valid_token_ends_no_other_sign_in() {
    let town = town(BuiltinConfig::default()).await;
    let alice = enter(&town, "13800000001", 1).await.unwrap();
    let mallory = enter(&town, "13800000002", 2).await.unwrap();
    // No token, a token of another device, and a guessed token.
    let guess = SignedIn {
        token: "guess".into(),
        ..alice.clone()
    };
    for shown in [None, Some(&mallory), Some(&guess)] {
        let there = enter_as(&town, "13800000002", 1, shown).await.unwrap();
        assert_eq!(there.ended, []);
        assert!(welcome(&town, &there, 1).await);
        assert!(welcome(&town, &alice, 1).await);
    }
}

#[tokio::test]
async fn a_caller_with_a_valid_token_ends_the_previous_users_sign_in() {
    let town = town(BuiltinConfig::default()).await;
    let alice = enter(&town, "13800000001", 1).await.unwrap();
    let bob = enter_as(&town, "13800000002", 1, Some(&alice))
        .await
        .unwrap();
    assert_eq!(bob.ended, [alice.user]);
    assert!(!welcome(&town, &alice, 1).await);
    assert!(welcome(&town, &bob, 1).await);
}

#[tokio::test]
async fn the_switch_hands_out_zero() {
    let config = BuiltinConfig {
        fixed_token: true,
        ..BuiltinConfig::default()
    };
    let town = town(config).await;
    let alice = enter(&town, "13800000001", 1).await.unwrap();
    assert_eq!(alice.token, "0");
    assert!(welcome(&town, &alice, 1).await);
    let unknown = UserId::new(99).unwrap();
    assert!(town.builtin.auth(unknown, device(1), "0").await.is_err());
    // For every existing user, in any order of sign-ins, and on any device.
    let bob = enter(&town, "13800000002", 1).await.unwrap();
    for who in [&alice, &bob] {
        assert!(welcome(&town, who, 1).await);
        assert!(welcome(&town, who, 3).await);
    }
}

#[tokio::test]
async fn a_phone_number_is_digits() {
    let town = town(BuiltinConfig::default()).await;
    for wrong in ["", "+", "12", "12a45", "+ 123", "123456789012345678901"] {
        assert_eq!(enter(&town, wrong, 1).await.unwrap_err().code(), 10001);
    }
    assert!(enter(&town, "+491701234567", 1).await.is_ok());
    let no_device = enter(&town, "13800000001", 9).await.unwrap_err();
    assert_eq!(no_device, RequestRefusal::NoSuchDevice(device(9)));
    let kept = town.stores.account.by_phone("13800000001").await.unwrap();
    assert!(kept.is_none());
}

#[tokio::test(start_paused = true)]
async fn wrong_codes_are_limited_per_phone() {
    let town = town(BuiltinConfig::default()).await;
    let wrong = |phone: &str| {
        let request = SignIn {
            phone: phone.into(),
            code: "123456".into(),
            device: device(1),
            holder: None,
        };
        town.builtin.sign_in(request)
    };
    for _ in 0..10 {
        assert_eq!(
            wrong("13800000001").await.unwrap_err(),
            RequestRefusal::BadCode
        );
    }
    // Even the right code is refused now; other phone numbers are not.
    assert_eq!(enter(&town, "13800000001", 1).await.unwrap_err().code(), 8);
    assert_eq!(
        wrong("13800000002").await.unwrap_err(),
        RequestRefusal::BadCode
    );
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(enter(&town, "13800000001", 1).await.is_ok());
    // Successful sign-ins are not limited.
    for _ in 0..20 {
        assert!(enter(&town, "13800000003", 1).await.is_ok());
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let town = town(BuiltinConfig::default()).await;
    let alice = enter(&town, "13800000001", 1).await.unwrap().user;
    let named = AccountChange {
        nickname: Some("alice".into()),
        sex: Some(2),
        ..AccountChange::default()
    };
    town.builtin.update(alice, named).await.unwrap();
    let pictured = AccountChange {
        avatar_url: Some("http://a/b.png".into()),
        ..AccountChange::default()
    };
    town.builtin.update(alice, pictured).await.unwrap();
    let shown = town.builtin.get(alice).await.unwrap();
    assert_eq!(shown.profile.nickname, "alice");
    assert_eq!(shown.profile.avatar_url, "http://a/b.png");
    assert_eq!(shown.sex, 2);
    let too_long = AccountChange {
        nickname: Some("x".repeat(256)),
        ..AccountChange::default()
    };
    let refusal = town.builtin.update(alice, too_long).await.unwrap_err();
    assert_eq!(refusal.code(), 10001);
    let nobody = UserId::new(99).unwrap();
    let refusal = town.builtin.get(nobody).await.unwrap_err();
    assert_eq!(refusal, RequestRefusal::NoSuchUser(nobody));
}

#[tokio::test]
async fn a_search_needs_a_key() {
    let town = town(BuiltinConfig::default()).await;
    let alice = enter(&town, "13800000001", 1).await.unwrap().user;
    assert_eq!(town.builtin.search("").await.unwrap_err().code(), 10001);
    let found = town.builtin.search("13800000001").await.unwrap();
    assert_eq!(found.iter().map(|u| u.user).collect::<Vec<_>>(), [alice]);
    assert!(town.builtin.search("1380").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_short_key_finds_whole_names_and_two_cjk_characters_are_not_short() {
    let town = town(BuiltinConfig::default()).await;
    for (n, name) in ["张三", "张三丰", "o", "ok", "okay"].iter().enumerate() {
        let phone = format!("1380000000{n}");
        let user = enter(&town, &phone, 1).await.unwrap().user;
        let change = AccountChange {
            nickname: Some((*name).to_owned()),
            ..AccountChange::default()
        };
        town.builtin.update(user, change).await.unwrap();
    }
    for (key, names) in [
        ("张三", &["张三", "张三丰"][..]),
        ("张", &[]),
        ("o", &["o"]),
        ("ok", &["ok"]),
        ("oka", &["okay"]),
    ] {
        let found = town.builtin.search(key).await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|it| it.profile.nickname.as_str())
            .collect();
        assert_eq!(found, names, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_searches_only_so_often() {
    let town = town(BuiltinConfig::default()).await;
    let alice = enter(&town, "13800000001", 1).await.unwrap().user;
    let bob = enter(&town, "13800000002", 2).await.unwrap().user;
    for _ in 0..20 {
        assert!(town.builtin.search_for(alice, "nobody").await.is_ok());
    }
    let refused = town.builtin.search_for(alice, "nobody").await;
    assert_eq!(refused.unwrap_err().code(), 8);
    assert!(town.builtin.search_for(bob, "nobody").await.is_ok());
}

/// Two people must never share an inbox.
#[tokio::test]
async fn a_new_account_gets_no_id_that_a_jwt_has_named() {
    let town = town(BuiltinConfig::default()).await;
    let named = JwtProfileChange {
        nickname: Some("ann".into()),
        avatar_url: None,
    };
    for id in [1, 3] {
        let user = UserId::new(id).unwrap();
        let set = town
            .stores
            .jwt_user
            .set_profile(user, &named, UnixTimestamp(1));
        set.await.unwrap();
    }
    let made = enter(&town, "13800000001", 1).await.unwrap().user;
    assert!(![1, 3].contains(&made.get()), "{made}");
    let ann = UserId::new(1).unwrap();
    let found = town.builtin.users(&[ann, made]).await.unwrap();
    assert_eq!(found.len(), 2);
    let info = town.builtin.get(ann).await.unwrap();
    assert_eq!(info.profile.nickname, "ann");
    let change = AccountChange::default();
    let refused = town.builtin.update(ann, change.clone()).await.unwrap_err();
    assert!(
        refused.to_string().contains("claims name and avatar"),
        "{refused}"
    );
    let nobody = UserId::new(99).unwrap();
    let refused = town.builtin.update(nobody, change).await.unwrap_err();
    assert_eq!(refused.code(), 10_016);
}

#[test]
fn nothing_secret_is_printed() {
    let request = SignIn {
        phone: "13800000001".into(),
        code: "123456".into(),
        device: device(1),
        holder: Some((UserId::new(1).unwrap(), "secret".into())),
    };
    let signed = SignedIn {
        is_new: true,
        user: UserId::new(1).unwrap(),
        token: "secret".into(),
        ended: Vec::new(),
    };
    let printed = format!("{request:?} {signed:?} {:?}", FixedCode::default());
    for secret in ["138", "123456", "secret", "000000"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
