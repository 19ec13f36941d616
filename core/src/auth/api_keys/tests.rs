//! Tests of the service of API keys, over a store that is observed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::memory;
use crate::store::{StoreError, StoreErrorKind};
use crate::time::ManualClock;

/// A store that counts reads, records writes of uses, and fails on demand.
#[derive(Debug)]
struct ObservedStore {
    inner: Arc<dyn ApiKeyStore>,
    reads: AtomicUsize,
    touches: Mutex<Vec<usize>>,
    reads_fail: AtomicBool,
    touches_fail: AtomicBool,
}

fn outcome(fails: &AtomicBool) -> Result<(), StoreError> {
    if fails.load(Ordering::Relaxed) {
        return Err(StoreError::new("api_key", StoreErrorKind::Unavailable));
    }
    Ok(())
}

#[async_trait]
impl ApiKeyStore for ObservedStore {
    async fn create(
        &self,
        key: &ApiKey,
        bounds: ApiKeyBounds,
    ) -> Result<ApiKeyCreateOutcome, StoreError> {
        self.inner.create(key, bounds).await
    }

    async fn get(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        outcome(&self.reads_fail)?;
        self.inner.get(id).await
    }

    async fn list(
        &self,
        after: Option<ApiKeyId>,
        limit: usize,
    ) -> Result<ListPage<ApiKey>, StoreError> {
        self.inner.list(after, limit).await
    }

    async fn revoke(&self, id: ApiKeyId, at: UnixTimestamp) -> Result<bool, StoreError> {
        self.inner.revoke(id, at).await
    }

    async fn touch(&self, uses: &[(ApiKeyId, UnixTimestamp)]) -> Result<(), StoreError> {
        locked(&self.touches).push(uses.len());
        outcome(&self.touches_fail)?;
        self.inner.touch(uses).await
    }
}

/// Nodes that share a store and a clock.
struct KeyFixture {
    store: Arc<ObservedStore>,
    clock: Arc<ManualClock>,
    /// The node that makes keys, and another one.
    nodes: [ApiKeyService; 2],
}

impl KeyFixture {
    fn new() -> Self {
        let store = Arc::new(ObservedStore {
            inner: memory::stores().api_key,
            reads: AtomicUsize::new(0),
            touches: Mutex::default(),
            reads_fail: AtomicBool::new(false),
            touches_fail: AtomicBool::new(false),
        });
        let clock = Arc::new(ManualClock::at(UnixTimestamp(1_790_000_000_000)));
        let node = || {
            let failures = Arc::new(SignInFailures::new(2));
            ApiKeyService::new(Arc::clone(&store) as _, Arc::clone(&clock) as _, failures)
        };
        let nodes = [node(), node()];
        Self {
            store,
            clock,
            nodes,
        }
    }

    async fn create(&self, lifetime: Option<Duration>) -> CreatedApiKey {
        let created = self.nodes[0].create(
            BackendIdentity::Operator,
            NewApiKey {
                name: "billing".into(),
                scopes: [ApiScope::UsersRead].into_iter().collect(),
                lifetime,
            },
        );
        created.await.unwrap()
    }

    async fn check(&self, node: usize, secret: &str) -> Result<BackendIdentity, ApiKeyRefusal> {
        self.nodes[node].check(None, secret).await
    }

    fn reads(&self) -> usize {
        self.store.reads.load(Ordering::Relaxed)
    }

    async fn advance(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::advance(time).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_shown_once_and_kept_as_its_hash() {
    let it = KeyFixture::new();
    let created = it.create(None).await;
    assert!(ApiKeyService::is_key(&created.secret) && created.secret.len() == 67);
    assert_eq!(created.key.hash, digest::sha256(&created.secret));
    let kept = it.nodes[0].list(None, 10).await.unwrap();
    assert_eq!(kept.items, std::slice::from_ref(&created.key));
    let shown = format!("{created:?} {kept:?} {:?}", it.nodes[0]);
    assert!(!shown.contains(&created.secret));
    let scopes = it.check(0, &created.secret).await.unwrap().scopes();
    assert!(scopes.allow(ApiScope::UsersRead) && !scopes.allow(ApiScope::UsersWrite));
    let other = it.create(None).await;
    assert_ne!(created.secret, other.secret);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_unknown_and_one_that_ended_is_refused_by_its_reason() {
    let it = KeyFixture::new();
    let (hour, created) = (Duration::from_hours(1), it.create(None).await);
    let short = it.create(Some(hour)).await;
    let nearly = created.secret.replace("gk_", "gk-");
    for wrong in [nearly.as_str(), "gk_", "", &created.secret[..66]] {
        let node = it.nodes[1].clone();
        // From a different address each time: guesses are counted elsewhere.
        let from = format!("192.0.2.{}:1", wrong.len()).parse().unwrap();
        let refused = node.check(Some(from), wrong).await.unwrap_err();
        assert_eq!(refused, ApiKeyRefusal::Unknown, "{wrong}");
    }
    it.check(0, &short.secret).await.unwrap();
    it.advance(hour).await;
    let refused = it.check(0, &short.secret).await.unwrap_err();
    assert_eq!(refused, ApiKeyRefusal::Expired);
    it.check(0, &created.secret).await.unwrap();
    it.nodes[0]
        .revoke(BackendIdentity::Operator, created.key.id)
        .await
        .unwrap();
    let refused = it.check(0, &created.secret).await.unwrap_err();
    assert_eq!(refused, ApiKeyRefusal::Revoked);
    let unknown = ApiKeyId::new(7).unwrap();
    let refused = it.nodes[0]
        .revoke(BackendIdentity::Operator, unknown)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("0000000000000007"),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_another_node_within_ten_seconds() {
    let it = KeyFixture::new();
    let created = it.create(None).await;
    for _ in 0..100 {
        it.check(1, &created.secret).await.unwrap();
    }
    assert_eq!(it.reads(), 1, "checks share a read");
    it.advance(Duration::from_secs(5)).await;
    it.nodes[0]
        .revoke(BackendIdentity::Operator, created.key.id)
        .await
        .unwrap();
    it.check(0, &created.secret).await.unwrap_err();
    it.check(1, &created.secret).await.unwrap();
    it.advance(Duration::from_secs(5)).await;
    let refused = it.check(1, &created.secret).await.unwrap_err();
    assert_eq!(refused, ApiKeyRefusal::Revoked);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_key_stays_valid_for_the_overlap() {
    let it = KeyFixture::new();
    let hour = Duration::from_hours(1);
    let old = it.create(Some(24 * hour)).await;
    let new = it.nodes[0]
        .rotate(BackendIdentity::Operator, old.key.id, hour)
        .await
        .unwrap();
    assert_eq!(
        (&new.key.name, new.key.scopes),
        (&old.key.name, old.key.scopes)
    );
    assert_eq!(new.key.expires_at, old.key.expires_at);
    for created in [&old, &new] {
        it.check(0, &created.secret).await.unwrap();
    }
    it.advance(hour).await;
    let refused = it.check(0, &old.secret).await.unwrap_err();
    assert_eq!(refused, ApiKeyRefusal::Revoked);
    it.check(0, &new.secret).await.unwrap();
    let refused = it.nodes[0]
        .rotate(BackendIdentity::Operator, old.key.id, hour)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("has ended"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn uses_are_written_once_a_minute_and_at_the_stop() {
    let it = KeyFixture::new();
    let created = it.create(None).await;
    let stop = CancellationToken::new();
    let followed = it.nodes[0].clone().follow(stop.clone());
    let used = async {
        for _ in 0..50 {
            it.check(0, &created.secret).await.unwrap();
        }
        it.advance(Duration::from_secs(30)).await;
        it.check(0, &created.secret).await.unwrap();
        // The node that was used shows it before it is written, others afterwards.
        let shown = it.nodes[0].get(created.key.id).await.unwrap();
        assert_eq!(shown.used_at, Some(it.clock.now()));
        let elsewhere = it.nodes[1].get(created.key.id).await.unwrap();
        assert_eq!(elsewhere.used_at, None);
        tokio::time::sleep(Duration::from_secs(31)).await;
        // The second write fails; its uses are written by the last one.
        it.store.touches_fail.store(true, Ordering::Relaxed);
        it.advance(Duration::from_secs(1)).await;
        it.check(0, &created.secret).await.unwrap();
        tokio::time::sleep(USE_WRITE_INTERVAL).await;
        it.store.touches_fail.store(false, Ordering::Relaxed);
        stop.cancel();
    };
    tokio::join!(followed, used);
    assert_eq!(*locked(&it.store.touches), [1, 1, 1]);
    let kept = it.store.get(created.key.id).await.unwrap().unwrap();
    assert_eq!(kept.used_at, Some(it.clock.now()));
}

#[tokio::test(start_paused = true)]
async fn a_guesser_is_refused_and_known_keys_are_not() {
    let it = KeyFixture::new();
    let created = it.create(None).await;
    let from = Some("192.0.2.1:1".parse().unwrap());
    let node = &it.nodes[0];
    node.check(from, &created.secret).await.unwrap();
    for guess in ["gk_1", "gk_2"] {
        let refused = node.check(from, guess).await.unwrap_err();
        assert_eq!(refused, ApiKeyRefusal::Unknown);
    }
    let before = it.reads();
    let refused = node.check(from, "gk_3").await.unwrap_err();
    assert!(matches!(
        refused,
        ApiKeyRefusal::Refused(RequestRefusal::RateLimited { .. })
    ));
    assert_eq!(it.reads(), before, "a refused guess costs no read");
    // Also when it has to be read again.
    it.advance(CACHE_AGE).await;
    node.check(from, &created.secret).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_refuses_and_is_asked_again() {
    let it = KeyFixture::new();
    let created = it.create(None).await;
    it.store.reads_fail.store(true, Ordering::Relaxed);
    let refused = it.check(1, &created.secret).await.unwrap_err();
    assert_eq!(refused, ApiKeyRefusal::Refused(RequestRefusal::Unavailable));
    it.store.reads_fail.store(false, Ordering::Relaxed);
    it.check(1, &created.secret).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_key_is_refused_with_what_can() {
    let it = KeyFixture::new();
    let new = |name: &str, scopes| NewApiKey {
        name: name.into(),
        scopes,
        lifetime: None,
    };
    let lasting = |lifetime| NewApiKey {
        lifetime: Some(lifetime),
        ..new("x", ApiScopes::ADMIN)
    };
    let long = "x".repeat(256);
    for (wrong, words) in [
        (new(" ", ApiScopes::ADMIN), "name must have"),
        (new("a\nb", ApiScopes::ADMIN), "no control characters"),
        (new(&long, ApiScopes::ADMIN), "name is 256 bytes"),
        (new("x", ApiScopes::default()), "at least one of admin, "),
        (lasting(Duration::ZERO), "the lifetime is 0 s"),
        (
            lasting(MAX_KEY_LIFETIME + Duration::from_secs(1)),
            "from 1 s to 315360000 s",
        ),
    ] {
        let refused = it.nodes[0]
            .create(BackendIdentity::Operator, wrong)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    }
    let none = it.nodes[0].list(None, 10).await.unwrap();
    assert!(none.items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_makes_and_replaces_no_key_with_more_rights_than_it_has() {
    let it = KeyFixture::new();
    let node = &it.nodes[0];
    let by = BackendIdentity::CreatedKey {
        id: ApiKeyId::new(7).unwrap(),
        scopes: [ApiScope::UsersWrite].into_iter().collect(),
    };
    let new = |scope| NewApiKey {
        name: "x".into(),
        scopes: [scope].into_iter().collect(),
        lifetime: None,
    };
    node.create(by, new(ApiScope::UsersRead)).await.unwrap();
    let admin = node.create(BackendIdentity::Operator, new(ApiScope::Admin));
    let admin = admin.await.unwrap();
    let hour = Duration::from_hours(1);
    for refused in [
        node.create(by, new(ApiScope::MessagesRead)).await,
        node.create(by, new(ApiScope::Admin)).await,
        node.rotate(by, admin.key.id, hour).await,
    ] {
        assert!(
            matches!(refused, Err(ApiKeyRefusal::TooManyRights { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(node.list(None, 10).await.unwrap().items.len(), 2);
    it.advance(hour).await;
    it.check(0, &admin.secret).await.unwrap();
    let long = node.rotate(BackendIdentity::Operator, admin.key.id, hour * 24 * 91);
    let refused = long.await.unwrap_err().to_string();
    assert!(refused.contains("at most 7776000 s"), "{refused}");
}
