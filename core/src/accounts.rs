//! Accounts as every entry point serves them: sign-in, profile, search and sign-out, with their limits.
//!
//! [`BuiltinBusiness`] stores accounts and tokens. This service adds the steps that belong to each
//! change: it limits sign-ins of an address, closes the connections of a revoked token, and drops
//! cached profiles. It knows no wire.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::auth::{JwtAuthority, PresentedToken, SignInFailures, client_address, is_jwt};
use crate::business::{BuiltinBusiness, BusinessBackend as _, SignIn, SignedIn, UserInfo};
use crate::directory::ProfileDirectory;
use crate::error::RequestRefusal;
use crate::fanout::MessageFanout;
use crate::hub::{DEVICE_SWITCHED, SIGNED_OUT};
use crate::id::{DeviceId, UserId};
use crate::push_registry::PushRegistry;
use crate::rate::RateLimiter;
use crate::store::{AccountChange, UserBan};

/// Reason that a client is told whose user was banned.
const BANNED: &str = "this user is banned";

/// A sign-in as a client requests it.
#[derive(Clone, Debug)]
pub struct AccountSignIn {
    /// The phone number.
    pub phone: String,
    /// The verification code that was sent to it.
    pub code: String,
    /// The registered device.
    pub device: DeviceId,
    /// The token that the client already has, valid or not. A valid one of the same device proves
    /// that the client holds the device, and other users' sign-ins on it end.
    pub presented: Option<PresentedToken>,
}

/// The service of accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccountService {
    builtin: BuiltinBusiness,
    /// Profile cache of the logic role in this process.
    directory: Option<ProfileDirectory>,
    /// Fan-out, to close connections.
    fanout: Option<MessageFanout>,
    /// Push addresses, which end with the sign-in.
    pushes: Option<PushRegistry>,
    /// JWTs, which a sign-out revokes.
    jwts: Option<JwtAuthority>,
    /// Rate limit of sign-ins per address; a successful one is refunded.
    attempts: Arc<RateLimiter<IpAddr>>,
    /// Wrong-token counts; a token made here is recorded as valid.
    failures: Arc<SignInFailures>,
}

impl AccountService {
    /// Creates the service over the built-in business service. An address may fail
    /// `failed_sign_ins` times in a minute.
    #[must_use]
    pub fn new(
        builtin: BuiltinBusiness,
        failed_sign_ins: u32,
        failures: Arc<SignInFailures>,
    ) -> Self {
        Self {
            builtin,
            directory: None,
            fanout: None,
            pushes: None,
            jwts: None,
            attempts: Arc::new(RateLimiter::per_minute(failed_sign_ins)),
            failures,
        }
    }

    /// Drops changed profiles from this cache.
    #[must_use]
    pub fn with_directory(self, directory: Option<ProfileDirectory>) -> Self {
        Self { directory, ..self }
    }

    /// Closes the connections of revoked tokens through this fan-out.
    #[must_use]
    pub fn with_fanout(self, fanout: Option<MessageFanout>) -> Self {
        Self { fanout, ..self }
    }

    /// Removes the push addresses of ended sign-ins from this registry.
    #[must_use]
    pub fn with_push_registry(self, pushes: Option<PushRegistry>) -> Self {
        Self { pushes, ..self }
    }

    /// Revokes the JWTs of callers that sign out at this authority.
    #[must_use]
    pub fn with_jwts(self, jwts: Option<JwtAuthority>) -> Self {
        Self { jwts, ..self }
    }

    /// Signs a user in on a device, and creates the user if the phone number is new. `from` is the
    /// client's address, if the entry point knows it.
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] for an address with too many attempts; otherwise the
    /// refusals of [`BuiltinBusiness::sign_in`].
    pub async fn sign_in(
        &self,
        from: Option<SocketAddr>,
        request: AccountSignIn,
    ) -> Result<SignedIn, RequestRefusal> {
        let address = from.and_then(|from| client_address(from.ip()));
        if let Some(address) = address {
            self.attempts
                .take(address)
                .map_err(|retry_after| RequestRefusal::RateLimited { retry_after })?;
        }
        let device = request.device;
        let holder = request.presented.filter(|it| it.device == device);
        let sign_in = SignIn {
            phone: request.phone,
            code: request.code,
            device,
            holder: holder.map(|it| (it.user, it.token)),
        };
        let done = self.builtin.sign_in(sign_in).await?;
        let attempt = self.failures.attempt(None, done.user, device, &done.token);
        self.failures.right(&attempt);
        if let Some(address) = address {
            // Refunds one attempt, not all: otherwise the owner of one account could guess at
            // others forever.
            self.attempts.refund(&address);
        }
        for user in &done.ended {
            self.end_pushes(*user, device).await?;
            if let Some(fanout) = &self.fanout {
                fanout
                    .disconnect(*user, Some(device), DEVICE_SWITCHED)
                    .await;
            }
        }
        if done.is_new {
            // The user's absence may have been cached a moment ago.
            self.forget(done.user).await;
        }
        Ok(done)
    }

    /// Returns the user with this phone number, creating it if there is none, and whether it was
    /// created: for a backend, which vouches for the number.
    pub async fn create(&self, phone: String) -> Result<(UserId, bool), RequestRefusal> {
        let (user, is_new) = self.builtin.create(phone).await?;
        if is_new {
            // The user's absence may have been cached a moment ago.
            self.forget(user).await;
        }
        Ok((user, is_new))
    }

    /// Makes a token of the user on the device for a backend, which vouches for the user. An earlier
    /// token of the user on this device ends; a connection that was opened with it stays.
    pub async fn issue_token(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<String, RequestRefusal> {
        let token = self.builtin.issue_token(user, device).await?;
        let attempt = self.failures.attempt(None, user, device, &token);
        self.failures.right(&attempt);
        Ok(token)
    }

    /// Signs out a caller whose token was checked: as [`sign_out`](Self::sign_out), and a JWT that it
    /// has presented is revoked.
    pub async fn sign_out_caller(&self, caller: &PresentedToken) -> Result<(), RequestRefusal> {
        if let Some(jwts) = self.jwts.as_ref().filter(|_| is_jwt(&caller.token)) {
            jwts.sign_out(&caller.token).await?;
        }
        self.sign_out(caller.user, caller.device).await
    }

    /// Revokes the device's token, ends its notifications and closes its connection.
    ///
    /// # Errors
    /// [`RequestRefusal::Unavailable`] if a connect node may still serve the connection; the token
    /// is revoked even then.
    pub async fn sign_out(&self, user: UserId, device: DeviceId) -> Result<(), RequestRefusal> {
        // The token first: whatever the nodes answer, no new connection can be made with it.
        self.builtin.sign_out(user, device).await?;
        self.end_pushes(user, device).await?;
        if let Some(fanout) = &self.fanout {
            let acknowledged = fanout.disconnect(user, Some(device), SIGNED_OUT).await;
            if !acknowledged {
                return Err(RequestRefusal::Unavailable);
            }
        }
        Ok(())
    }

    /// Bans the user and closes its connections. The reason is for operators; clients are not told.
    ///
    /// # Errors
    /// [`RequestRefusal::Unavailable`] if a connect node may still serve a connection; the user is
    /// banned even then.
    pub async fn ban(&self, user: UserId, reason: String) -> Result<(), RequestRefusal> {
        // The ban first: whatever the nodes answer, no new connection can be made.
        self.builtin.ban(user, reason).await?;
        if let Some(fanout) = &self.fanout
            && !fanout.disconnect(user, None, BANNED).await
        {
            return Err(RequestRefusal::Unavailable);
        }
        Ok(())
    }

    /// Lifts the user's ban: its tokens are valid again.
    pub async fn lift_ban(&self, user: UserId) -> Result<(), RequestRefusal> {
        self.builtin.lift_ban(user).await
    }

    /// Returns the user's ban.
    pub async fn ban_of(&self, user: UserId) -> Result<Option<UserBan>, RequestRefusal> {
        self.builtin.ban_of(user).await
    }

    /// Returns a user.
    pub async fn user(&self, user: UserId) -> Result<UserInfo, RequestRefusal> {
        self.builtin.get(user).await
    }

    /// Returns these users, in any order, without the unknown ones.
    pub async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        self.builtin.users(users).await
    }

    /// Changes the user's profile; `None` leaves a field unchanged.
    pub async fn update(&self, user: UserId, change: AccountChange) -> Result<(), RequestRefusal> {
        self.builtin.update(user, change).await?;
        self.forget(user).await;
        Ok(())
    }

    /// Searches users for a user, within that user's rate limit.
    pub async fn search(&self, caller: UserId, key: &str) -> Result<Vec<UserInfo>, RequestRefusal> {
        self.builtin.search_for(caller, key).await
    }

    /// Checks a token for a logic node and returns how long it is still valid, if it expires.
    pub async fn auth(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, RequestRefusal> {
        self.builtin.auth_for(user, device, token).await
    }

    /// Removes the user's push address on a device where the user is no longer signed in.
    async fn end_pushes(&self, user: UserId, device: DeviceId) -> Result<(), RequestRefusal> {
        if let Some(pushes) = &self.pushes {
            pushes.remove(user, device).await?;
        }
        Ok(())
    }

    /// Drops the cached profile of this user.
    async fn forget(&self, user: UserId) {
        if let Some(directory) = &self.directory {
            directory.forget(user).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::business::{BuiltinConfig, FixedCode};
    use crate::delivery::DeliveryBatch;
    use crate::fanout::LocalSink;
    use crate::id::{Generation, NodeId};
    use crate::memory;
    use crate::peer::{PeerNodes, SingleNodePeer};
    use crate::store::{DeviceInfo, StoreSet};
    use crate::time::{SystemClock, UnixTimestamp};

    /// Records the connections that are closed.
    #[derive(Debug, Default)]
    struct RecordingCloses(Mutex<Vec<(UserId, Option<DeviceId>, String)>>);

    impl LocalSink for RecordingCloses {
        fn deliver(&self, _parcels: &[DeliveryBatch]) {}

        fn disconnect(&self, user: UserId, device: Option<DeviceId>, reason: &str) {
            let close = (user, device, reason.to_owned());
            self.0.lock().unwrap().push(close);
        }
    }

    /// Another node that acknowledges nothing.
    #[derive(Debug)]
    struct UnreachablePeer;

    #[async_trait]
    impl PeerNodes for UnreachablePeer {
        async fn nodes(&self) -> Vec<NodeId> {
            vec![NodeId::boot("other")]
        }

        async fn deliver(&self, _: &NodeId, _: Vec<DeliveryBatch>) -> bool {
            false
        }

        async fn supersede(&self, _: &NodeId, _: UserId, _: DeviceId, _: Generation) {}

        async fn disconnect(&self, _: &NodeId, _: UserId, _: Option<DeviceId>, _: &str) -> bool {
            false
        }
    }

    struct AccountFixture {
        accounts: AccountService,
        failures: Arc<SignInFailures>,
        closes: Arc<RecordingCloses>,
    }

    fn device(number: u64) -> DeviceId {
        DeviceId::new(number).unwrap()
    }

    async fn register(stores: &StoreSet, number: u64) {
        let info = DeviceInfo {
            kind: 1,
            brand: "b".into(),
            model: "m".into(),
            system_version: "s".into(),
            sdk_version: "k".into(),
        };
        let registered = stores
            .device
            .register(device(number), &info, UnixTimestamp(1));
        registered.await.unwrap();
    }

    async fn fixture(failed_sign_ins: u32) -> AccountFixture {
        fixture_with(failed_sign_ins, Arc::new(SingleNodePeer)).await
    }

    async fn fixture_with(failed_sign_ins: u32, peer: Arc<dyn PeerNodes>) -> AccountFixture {
        let stores = memory::stores();
        for number in 1..=3 {
            register(&stores, number).await;
        }
        let config = BuiltinConfig {
            failed_sign_ins: 1_000,
            ..BuiltinConfig::default()
        };
        let verifier = Arc::new(FixedCode::default());
        let builtin = BuiltinBusiness::new(&stores, Arc::new(SystemClock), verifier, config);
        let closes = Arc::<RecordingCloses>::default();
        let fanout = MessageFanout::new(
            NodeId::boot("local"),
            Arc::clone(&closes) as _,
            peer,
            Arc::clone(&stores.route),
        );
        let failures = Arc::new(SignInFailures::new(10));
        let accounts = AccountService::new(builtin, failed_sign_ins, Arc::clone(&failures))
            .with_fanout(Some(fanout));
        AccountFixture {
            accounts,
            failures,
            closes,
        }
    }

    fn request(phone: &str, code: &str) -> AccountSignIn {
        AccountSignIn {
            phone: phone.into(),
            code: code.into(),
            device: device(1),
            presented: None,
        }
    }

    fn from(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_guesses_codes_is_refused_and_others_are_not() {
        let fixture = fixture(3).await;
        let sign_in = |address, code| {
            let done = fixture
                .accounts
                .sign_in(Some(from(address)), request("13800000001", code));
            async move { done.await.map_or_else(|refusal| refusal.code(), |_| 0) }
        };
        for _ in 0..3 {
            assert_eq!(sign_in("192.0.2.1", "guess").await, 10_010);
        }
        assert_eq!(sign_in("192.0.2.1", "000000").await, 8);
        assert_eq!(sign_in("192.0.2.2", "000000").await, 0);
        // Loopback stands for many clients: it has no count of its own.
        for _ in 0..5 {
            assert_eq!(sign_in("127.0.0.1", "guess").await, 10_010);
        }
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(sign_in("192.0.2.1", "000000").await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_code_gives_back_one_attempt_and_not_all() {
        let fixture = fixture(3).await;
        let sign_in = |code| {
            let done = fixture
                .accounts
                .sign_in(Some(from("192.0.2.1")), request("13800000001", code));
            async move { done.await.map_or_else(|refusal| refusal.code(), |_| 0) }
        };
        assert_eq!(sign_in("guess").await, 10_010);
        assert_eq!(sign_in("guess").await, 10_010);
        assert_eq!(sign_in("000000").await, 0);
        assert_eq!(sign_in("guess").await, 10_010);
        assert_eq!(sign_in("guess").await, 8);
    }

    #[tokio::test]
    async fn a_new_token_is_known_as_right() {
        let fixture = fixture(10).await;
        let done = fixture
            .accounts
            .sign_in(None, request("13800000001", "000000"));
        let done = done.await.unwrap();
        let address = client_address("192.0.2.1".parse().unwrap());
        let guess = fixture
            .failures
            .attempt(address, done.user, device(1), "guess");
        for _ in 0..10 {
            fixture.failures.wrong(&guess);
        }
        assert!(fixture.failures.check(&guess).is_err());
        let right = fixture
            .failures
            .attempt(address, done.user, device(1), &done.token);
        assert_eq!(fixture.failures.check(&right), Ok(()));
    }

    /// Without the store of devices the old connection cannot be fenced either.
    #[tokio::test]
    async fn a_sign_out_that_a_node_did_not_acknowledge_is_not_answered_as_done() {
        let fixture = fixture_with(10, Arc::new(UnreachablePeer)).await;
        let accounts = &fixture.accounts;
        let done = accounts.sign_in(None, request("13800000001", "000000"));
        let done = done.await.unwrap();
        let refused = accounts.sign_out(done.user, device(1)).await.unwrap_err();
        assert_eq!(refused.code(), 14);
        let auth = accounts.auth(done.user, device(1), &done.token).await;
        assert!(auth.is_err(), "the token is revoked all the same");
    }

    #[tokio::test]
    async fn a_client_that_holds_the_device_ends_the_former_users_connection() {
        let fixture = fixture(10).await;
        let accounts = &fixture.accounts;
        let first = accounts.sign_in(None, request("13800000001", "000000"));
        let first = first.await.unwrap();
        let present = |device| {
            let (user, token) = (first.user, first.token.clone());
            Some(PresentedToken {
                user,
                device,
                token,
            })
        };
        let mut second = request("13800000002", "000000");
        // A token of another device proves nothing about this one.
        second.presented = present(device(2));
        accounts.sign_in(None, second.clone()).await.unwrap();
        assert!(fixture.closes.0.lock().unwrap().is_empty());
        second.presented = present(device(1));
        accounts.sign_in(None, second).await.unwrap();
        let closed = (first.user, Some(device(1)), DEVICE_SWITCHED.to_owned());
        assert_eq!(*fixture.closes.0.lock().unwrap(), [closed]);
    }

    #[tokio::test]
    async fn a_sign_out_revokes_the_token_and_closes_the_connection() {
        let fixture = fixture(10).await;
        let accounts = &fixture.accounts;
        let done = accounts.sign_in(None, request("13800000001", "000000"));
        let done = done.await.unwrap();
        assert!(
            accounts
                .auth(done.user, device(1), &done.token)
                .await
                .is_ok()
        );
        accounts.sign_out(done.user, device(1)).await.unwrap();
        assert!(
            accounts
                .auth(done.user, device(1), &done.token)
                .await
                .is_err()
        );
        let closed = (done.user, Some(device(1)), SIGNED_OUT.to_owned());
        assert_eq!(*fixture.closes.0.lock().unwrap(), [closed]);
    }
}
