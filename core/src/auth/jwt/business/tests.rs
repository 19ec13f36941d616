//! Tokens that the business role accepts and refuses, with claims in the clear for a signature.

use super::*;
use crate::auth::jwt::authority::JwtSelection;
use crate::auth::jwt::claims::{ClaimedUser, JwtClaims, JwtPolicy, JwtVerifier};
use crate::directory::ProfileDirectory;
use crate::limits::Limits;
use crate::memory;
use crate::store::{StoreSet, UserBan};
use crate::time::{ManualClock, UnixTimestamp};

const NOW_SECS: i64 = 1_000_000;

/// Reads `e.USER,DEVICE,EXP,IAT,JTI,NAME.SIGNATURE`; the signature must be `ok`.
#[derive(Debug)]
struct PlainVerifier;

impl PlainVerifier {
    fn claims(token: &str) -> Option<JwtClaims> {
        let fields: Vec<_> = token.split('.').nth(1)?.split(',').collect();
        let [user, device, exp, iat, id, name] = fields.as_slice() else {
            return None;
        };
        let text = |it: &str| (!it.is_empty()).then(|| it.to_owned());
        let time = |it: &str| it.parse().ok().map(|secs: i64| UnixTimestamp(secs * 1_000));
        Some(JwtClaims {
            user: UserId::new(user.parse().ok()?)?,
            device: device.parse().ok().and_then(DeviceId::new),
            audiences: vec!["gimlet".into()],
            expires_at: time(exp)?,
            not_before: None,
            issued_at: time(iat),
            id: text(id),
            nickname: text(name),
            avatar_url: None,
        })
    }
}

#[async_trait]
impl JwtVerifier for PlainVerifier {
    async fn verify(&self, token: &str) -> Result<JwtClaims, RequestRefusal> {
        let wrong = RequestRefusal::Unauthorized("the signature is wrong");
        if token.rsplit('.').next() != Some("ok") {
            return Err(wrong);
        }
        Self::claims(token).ok_or(wrong)
    }

    fn claimed(&self, token: &str) -> Option<ClaimedUser> {
        let JwtClaims { user, device, .. } = Self::claims(token)?;
        Some(ClaimedUser { user, device })
    }
}

/// A business role that knows user 1 and the token `opaque`.
#[derive(Debug)]
struct OpaqueBusiness;

#[async_trait]
impl BusinessBackend for OpaqueBusiness {
    async fn auth(&self, _: UserId, _: DeviceId, token: &str) -> Result<(), RequestRefusal> {
        match token {
            "opaque" => Ok(()),
            _ => Err(RequestRefusal::Unauthorized("not opaque")),
        }
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        let known = users.iter().filter(|user| user.get() == 1);
        let info = known.map(|user| UserInfo {
            user: *user,
            profile: crate::message::UserProfile::default(),
            sex: 0,
            created_at: UnixTimestamp(7),
            updated_at: UnixTimestamp(7),
        });
        Ok(info.collect())
    }
}

struct JwtFixture {
    business: JwtBusiness,
    authority: JwtAuthority,
    clock: Arc<ManualClock>,
    stores: StoreSet,
}

fn fixture(every_user: bool) -> JwtFixture {
    let stores = memory::stores();
    let clock = Arc::new(ManualClock::at(UnixTimestamp(NOW_SECS * 1_000)));
    let policy = JwtPolicy {
        audience: "gimlet".into(),
        leeway: Duration::ZERO,
        max_lifetime: Duration::from_hours(1),
        every_user,
    };
    let authority = JwtAuthority::new(
        Arc::new(PlainVerifier),
        &stores,
        Arc::clone(&clock) as _,
        policy,
    );
    JwtFixture {
        business: JwtBusiness::new(authority.clone(), Arc::new(OpaqueBusiness)),
        authority,
        clock,
        stores,
    }
}

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

impl JwtFixture {
    /// Signs user 5 in on device 7; returns the remaining seconds or the refusal.
    async fn signs_in(&self, token: &str) -> Result<Option<u64>, String> {
        let device = DeviceId::new(7).unwrap();
        let left = self.business.auth_for(user(5), device, token).await;
        left.map(|left| left.map(|it| it.as_secs()))
            .map_err(|refusal| refusal.to_string())
    }

    async fn nickname(&self, id: u64) -> Option<String> {
        let found = self.business.users(&[user(id)]).await.unwrap();
        found.into_iter().next().map(|it| it.profile.nickname)
    }
}

#[tokio::test]
async fn a_jwt_signs_in_its_user_on_its_device() {
    let it = fixture(false);
    assert_eq!(it.signs_in("e.5,,1000060,,,.ok").await, Ok(Some(60)));
    assert_eq!(it.signs_in("e.5,7,1000060,,,.ok").await, Ok(Some(60)));
    assert_eq!(it.signs_in("opaque").await, Ok(None));
    for (token, why) in [
        ("e.5,,1000060,,,.forged", "signature is wrong"),
        ("e.6,,1000060,,,.ok", "another user"),
        ("e.5,8,1000060,,,.ok", "another device"),
        ("e.5,,1000000,,,.ok", "expired"),
        ("e.5,,1003601,,,.ok", "auth.jwt_max_lifetime"),
        ("other", "not opaque"),
    ] {
        let refusal = it.signs_in(token).await.unwrap_err();
        assert!(refusal.contains(why), "{token}: {refusal}");
    }
    let foreign = it.stores.jwt_user.get(&[user(6)]).await.unwrap();
    assert_eq!(foreign, [], "a refused token makes no user");
}

#[tokio::test]
async fn a_revoked_jwt_is_refused() {
    let it = fixture(false);
    let one = "e.5,,1000060,999990,one,.ok";
    let two = "e.5,,1000060,999990,two,.ok";
    let bare = "e.5,,1000060,,,.ok";
    let id = |id: &str| JwtSelection::Id(id.to_owned());
    let before = |secs: i64| JwtSelection::IssuedBefore(UnixTimestamp(secs * 1_000));
    it.authority.revoke(user(5), &id("one")).await.unwrap();
    it.authority.revoke(user(6), &id("two")).await.unwrap();
    let refusal = it.signs_in(one).await.unwrap_err();
    assert!(refusal.contains("revoked"), "{refusal}");
    assert!(it.signs_in(two).await.is_ok(), "another user's");
    it.authority.sign_out(two).await.unwrap();
    assert!(it.signs_in(two).await.is_err());
    assert!(it.signs_in(bare).await.is_ok());
    let other = "e.5,,1000061,,,.ok";
    it.authority.sign_out(other).await.unwrap();
    assert!(it.signs_in(other).await.is_err(), "without an id");
    assert!(it.signs_in(bare).await.is_ok(), "another token");
    it.authority
        .revoke(user(5), &before(999_989))
        .await
        .unwrap();
    let three = "e.5,,1000060,999990,three,.ok";
    assert!(it.signs_in(three).await.is_ok(), "issued after it");
    assert!(it.signs_in(bare).await.is_err(), "issued at no time");
    it.authority
        .revoke(user(5), &before(NOW_SECS))
        .await
        .unwrap();
    let now = "e.5,,1000060,1000000,now,.ok";
    for token in [bare, three, now] {
        let refusal = it.signs_in(token).await.unwrap_err();
        assert!(refusal.contains("revoked"), "{token}: {refusal}");
    }
    it.clock.advance(Duration::from_secs(1));
    let next = "e.5,,1000060,1000001,four,.ok";
    assert!(it.signs_in(next).await.is_ok(), "issued after it");
    let empty = it.authority.revoke(user(5), &id("")).await.unwrap_err();
    assert!(empty.to_string().contains("jti"), "{empty}");
    let future = it.authority.revoke(user(5), &before(NOW_SECS + 2)).await;
    let future = future.unwrap_err().to_string();
    assert!(future.contains("in the future"), "{future}");
}

#[tokio::test]
async fn a_banned_user_has_no_valid_jwt() {
    let it = fixture(false);
    let token = "e.5,,1000060,,,.ok";
    let ban = UserBan {
        reason: "spam".into(),
        at: UnixTimestamp(1),
    };
    it.stores.account.ban(user(5), &ban).await.unwrap();
    let refusal = it.signs_in(token).await.unwrap_err();
    assert!(refusal.contains("banned"), "{refusal}");
    it.stores.account.lift_ban(user(5)).await.unwrap();
    assert!(it.signs_in(token).await.is_ok());
}

#[tokio::test]
async fn the_claims_are_the_profile_of_a_user_without_account() {
    let it = fixture(false);
    assert_eq!(it.nickname(5).await, None);
    it.signs_in("e.5,,1000060,,,ann.ok").await.unwrap();
    assert_eq!(it.nickname(5).await.unwrap(), "ann");
    it.signs_in("e.5,,1000060,,,.ok").await.unwrap();
    assert_eq!(it.nickname(5).await.unwrap(), "ann", "it is kept");
    it.signs_in("e.5,,1000060,,,bella.ok").await.unwrap();
    assert_eq!(it.nickname(5).await.unwrap(), "bella");
    let long = format!("e.5,,1000060,,,{}.ok", "x".repeat(256));
    let refusal = it.signs_in(&long).await.unwrap_err();
    assert!(refusal.contains("claim name"), "{refusal}");
    // An account of the business role is not replaced.
    let account = it.business.users(&[user(1)]).await.unwrap();
    assert_eq!(account[0].created_at, UnixTimestamp(7));
}

/// Regression: a new user was unknown to others for two seconds, and a new name for a minute.
#[tokio::test]
async fn a_profile_that_a_token_sets_is_seen_at_once() {
    let it = fixture(false);
    let business = Arc::new(it.business.clone());
    let directory = ProfileDirectory::new(business, &Limits::default());
    assert!(!directory.exists(user(5)).await.unwrap());
    for name in ["ann", "bella"] {
        let token = format!("e.5,,1000060,,,{name}.ok");
        it.signs_in(&token).await.unwrap();
        let person = directory.person(user(5)).await.unwrap();
        assert_eq!(person.unwrap().profile.nickname, name);
    }
}

#[tokio::test]
async fn every_id_is_a_user_if_the_policy_says_so() {
    let it = fixture(true);
    assert_eq!(it.nickname(9).await.unwrap(), "");
    it.signs_in("e.5,,1000060,,,ann.ok").await.unwrap();
    let found = it.business.users(&[user(1), user(5), user(9)]).await;
    let mut ids: Vec<_> = found.unwrap().iter().map(|it| it.user.get()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 5, 9]);
}
