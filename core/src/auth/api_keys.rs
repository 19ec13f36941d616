//! API keys: made, listed, revoked and checked, for every entry point that backends use.
//!
//! A key is `gk_` and 256 random bits. It is shown once; the store has its hash. A check reads the
//! store at most once in ten seconds for each key, so on every node a revocation takes effect within
//! that time. Uses are gathered and written once a minute ([`ApiKeyService::follow`]), so that a
//! request costs no write.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::auth::api_key_refusal::ApiKeyRefusal;
use crate::auth::backend_identity::BackendIdentity;
use crate::auth::{SignInFailures, client_address};
use crate::digest;
use crate::error::RequestRefusal;
use crate::id::ApiKeyId;
use crate::page::ListPage;
use crate::scope::{ApiScope, ApiScopes};
use crate::store::{ApiKey, ApiKeyBounds, ApiKeyCreateOutcome, ApiKeyStore};
use crate::text_limits::{NAME_MAX_BYTES, text};
use crate::time::{TimeSource, UnixTimestamp};

/// Beginning of every key, by which leaked ones are found.
const KEY_PREFIX: &str = "gk_";
/// Largest number of keys, those that have ended included.
const MAX_KEYS: usize = 1_000;
/// Time for which a key that has ended is still listed.
const ENDED_KEY_SHOWN: Duration = Duration::from_hours(90 * 24);
/// Age at which a cached key is read again: a revocation takes effect within this time.
const CACHE_AGE: Duration = Duration::from_secs(10);
/// Largest number of cached keys; a guesser's wrong keys are cached too.
const MAX_CACHED_KEYS: u64 = 10_000;
/// Interval at which the uses of keys are written.
const USE_WRITE_INTERVAL: Duration = Duration::from_mins(1);
/// Attempts to find a key whose id is free.
const CREATE_ATTEMPTS: u32 = 3;
/// Longest lifetime of a key that expires: ten years.
const MAX_KEY_LIFETIME: Duration = Duration::from_hours(3_650 * 24);
/// Longest time for which a replaced key stays valid.
const MAX_OVERLAP: Duration = Duration::from_hours(90 * 24);

/// A key to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiKey {
    /// A name for people.
    pub name: String,
    /// Its scopes.
    pub scopes: ApiScopes,
    /// Time after which it expires; `None` if it does not.
    pub lifetime: Option<Duration>,
}

/// A created key.
#[derive(Clone)]
pub struct CreatedApiKey {
    /// The stored key.
    pub key: ApiKey,
    /// The key itself, which is shown once and never printed.
    pub secret: String,
}

impl std::fmt::Debug for CreatedApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CreatedApiKey({})", self.key.id)
    }
}

/// A key as it was read; `None` if there is none with this id.
#[derive(Clone, Debug)]
struct CachedKey {
    key: Option<Arc<ApiKey>>,
    /// Time at which the read began.
    since: Instant,
}

/// The service of API keys. Cheap to clone.
#[derive(Clone)]
pub struct ApiKeyService {
    store: Arc<dyn ApiKeyStore>,
    clock: Arc<dyn TimeSource>,
    failures: Arc<SignInFailures>,
    known: Cache<ApiKeyId, CachedKey>,
    /// Uses that are not written yet; an entry for each valid key at most. A plain mutex: it is
    /// held for one operation of the map.
    uses: Arc<Mutex<HashMap<ApiKeyId, UnixTimestamp>>>,
}

impl std::fmt::Debug for ApiKeyService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeyService").finish_non_exhaustive()
    }
}

impl ApiKeyService {
    /// Creates the service over a store. Wrong keys are counted in `failures`.
    #[must_use]
    pub fn new(
        store: Arc<dyn ApiKeyStore>,
        clock: Arc<dyn TimeSource>,
        failures: Arc<SignInFailures>,
    ) -> Self {
        Self {
            store,
            clock,
            failures,
            known: Cache::builder()
                .max_capacity(MAX_CACHED_KEYS)
                .time_to_live(CACHE_AGE)
                .build(),
            uses: Arc::default(),
        }
    }

    /// Returns whether a bearer has the form of a key.
    #[must_use]
    pub fn is_key(bearer: &str) -> bool {
        bearer.starts_with(KEY_PREFIX)
    }

    /// Creates a key, with no scope that its maker does not have.
    ///
    /// # Errors
    /// A name that is empty or too long, no scope, a scope that the maker lacks, a lifetime out of
    /// range, or too many keys.
    pub async fn create(
        &self,
        by: BackendIdentity,
        new: NewApiKey,
    ) -> Result<CreatedApiKey, ApiKeyRefusal> {
        check_new(&new)?;
        by.may_grant(new.scopes)?;
        let created = self.store_new(new).await?;
        let ApiKey { id, scopes, .. } = created.key;
        tracing::info!(key = %id, scopes = scopes.text(), %by, "API key created");
        Ok(created)
    }

    async fn store_new(&self, new: NewApiKey) -> Result<CreatedApiKey, RequestRefusal> {
        let now = self.clock.now();
        let bounds = ApiKeyBounds {
            max: MAX_KEYS,
            forget_before: now.before(ENDED_KEY_SHOWN),
        };
        for _ in 0..CREATE_ATTEMPTS {
            let secret = format!("{KEY_PREFIX}{}", digest::random_hex());
            let hash = digest::sha256(&secret);
            let key = ApiKey {
                id: ApiKeyId::of_hash(&hash),
                hash,
                name: new.name.clone(),
                scopes: new.scopes,
                created_at: now,
                expires_at: new.lifetime.map(|lifetime| now.after(lifetime)),
                revoked_at: None,
                used_at: None,
            };
            match self.store.create(&key, bounds).await? {
                ApiKeyCreateOutcome::Created => return Ok(CreatedApiKey { key, secret }),
                ApiKeyCreateOutcome::Taken => {}
                ApiKeyCreateOutcome::Full => {
                    return Err(RequestRefusal::Exhausted(format!(
                        "there are {MAX_KEYS} API keys, as many as allowed; keys that ended are \
                         removed after 90 days"
                    )));
                }
            }
        }
        Err(RequestRefusal::Internal)
    }

    /// Returns a page of the keys, ascending by id.
    pub async fn list(
        &self,
        after: Option<ApiKeyId>,
        limit: usize,
    ) -> Result<ListPage<ApiKey>, RequestRefusal> {
        let mut page = self.store.list(after, limit).await?;
        page.items.iter_mut().for_each(|key| self.add_use(key));
        Ok(page)
    }

    /// Adds a use on this node that is not written yet.
    fn add_use(&self, key: &mut ApiKey) {
        let unwritten = locked(&self.uses).get(&key.id).copied();
        key.used_at = key.used_at.max(unwritten);
    }

    /// Returns a key, also one that has ended.
    ///
    /// # Errors
    /// There is no such key.
    pub async fn get(&self, id: ApiKeyId) -> Result<ApiKey, ApiKeyRefusal> {
        let key = self.store.get(id).await.map_err(RequestRefusal::from)?;
        let mut key = key.ok_or(ApiKeyRefusal::NoSuchKey(id))?;
        self.add_use(&mut key);
        Ok(key)
    }

    /// Returns whether a key has neither expired nor been revoked.
    #[must_use]
    pub fn is_valid(&self, key: &ApiKey) -> bool {
        let now = self.clock.now();
        key.ends_at().is_none_or(|at| at > now)
    }

    /// Revokes a key: at once on this node, and within ten seconds on all nodes.
    ///
    /// # Errors
    /// There is no such key.
    pub async fn revoke(&self, by: BackendIdentity, id: ApiKeyId) -> Result<(), ApiKeyRefusal> {
        self.end(id, self.clock.now()).await?;
        tracing::info!(key = %id, %by, "API key revoked");
        Ok(())
    }

    /// Creates a key with the name, the scopes and the lifetime of another one, which stays valid
    /// for `overlap`, so that a backend can change from one to the other without a gap.
    ///
    /// # Errors
    /// There is no such key, it has ended, it has a scope that the maker lacks, or the overlap is
    /// too long.
    pub async fn rotate(
        &self,
        by: BackendIdentity,
        id: ApiKeyId,
        overlap: Duration,
    ) -> Result<CreatedApiKey, ApiKeyRefusal> {
        if overlap > MAX_OVERLAP {
            let detail = format!(
                "the overlap is {} s; it must be at most {} s",
                overlap.as_secs(),
                MAX_OVERLAP.as_secs()
            );
            return Err(RequestRefusal::bad(detail).into());
        }
        let old = self.get(id).await?;
        if !self.is_valid(&old) {
            let detail = format!("API key {id} has ended; create a new one instead");
            return Err(RequestRefusal::bad(detail).into());
        }
        by.may_grant(old.scopes)?;
        let lifetime = old.expires_at.map(|at| {
            let ms = at.0.saturating_sub(old.created_at.0);
            Duration::from_millis(u64::try_from(ms).unwrap_or(0))
        });
        let new = NewApiKey {
            name: old.name,
            scopes: old.scopes,
            lifetime,
        };
        let created = self.store_new(new).await?;
        self.end(id, self.clock.now().after(overlap)).await?;
        let replaced_by = created.key.id;
        tracing::info!(key = %id, %replaced_by, overlap_s = overlap.as_secs(), %by, "API key rotated");
        Ok(created)
    }

    async fn end(&self, id: ApiKeyId, at: UnixTimestamp) -> Result<(), ApiKeyRefusal> {
        let found = self.store.revoke(id, at).await;
        // Whatever the outcome is: the next check reads it.
        self.known.invalidate(&id).await;
        if !found.map_err(RequestRefusal::from)? {
            return Err(ApiKeyRefusal::NoSuchKey(id));
        }
        Ok(())
    }

    /// Checks a presented key, and returns the backend with its scopes. `from` is the client's address,
    /// if the entry point knows it.
    ///
    /// # Errors
    /// The key is wrong or has ended, the caller presented too many wrong ones, or the store does
    /// not answer.
    pub async fn check(
        &self,
        from: Option<SocketAddr>,
        presented: &str,
    ) -> Result<BackendIdentity, ApiKeyRefusal> {
        let hash = digest::sha256(presented);
        let key = match self.fresh(ApiKeyId::of_hash(&hash)).await {
            Some(cached) => cached.key,
            None => self.read(from, &hash).await?,
        };
        // An id can be had by chance; the hash decides, in a time that does not depend on it.
        let key = key.filter(|key| key.hash.ct_eq(&hash).into());
        let key = key.ok_or(ApiKeyRefusal::Unknown)?;
        let now = self.clock.now();
        if key.revoked_at.is_some_and(|at| at <= now) {
            return Err(ApiKeyRefusal::Revoked);
        }
        if key.expires_at.is_some_and(|at| at <= now) {
            return Err(ApiKeyRefusal::Expired);
        }
        locked(&self.uses).insert(key.id, now);
        Ok(BackendIdentity::CreatedKey {
            id: key.id,
            scopes: key.scopes,
        })
    }

    /// Returns the cached key, unless it is too old.
    async fn fresh(&self, id: ApiKeyId) -> Option<CachedKey> {
        let cached = self.known.get(&id).await;
        cached.filter(|it| it.since.elapsed() < CACHE_AGE)
    }

    /// Reads a key that is not cached; requests that need it at the same time share the read.
    async fn read(
        &self,
        from: Option<SocketAddr>,
        hash: &[u8; 32],
    ) -> Result<Option<Arc<ApiKey>>, ApiKeyRefusal> {
        let address = from.and_then(|from| client_address(from.ip()));
        let attempt = self.failures.key_attempt(address, hash);
        // First, so that a refused guesser costs the store nothing.
        self.failures.check(&attempt)?;
        let id = ApiKeyId::of_hash(hash);
        // What is cached, if anything, is too old.
        self.known.invalidate(&id).await;
        let load = async {
            let since = Instant::now();
            let key = self.store.get(id).await.map_err(RequestRefusal::from)?;
            Ok::<_, RequestRefusal>(CachedKey {
                key: key.map(Arc::new),
                since,
            })
        };
        let read = self.known.try_get_with(id, load).await;
        let key = read.map_err(|refusal| (*refusal).clone())?.key;
        match &key {
            Some(key) if key.hash.ct_eq(hash).into() => self.failures.right(&attempt),
            _ => self.failures.wrong(&attempt),
        }
        Ok(key)
    }

    /// Writes the gathered uses once a minute, and at the stop.
    pub async fn follow(self, stop: CancellationToken) {
        loop {
            let stopped = timeout(USE_WRITE_INTERVAL, stop.cancelled()).await;
            self.write_uses().await;
            if stopped.is_ok() {
                return;
            }
        }
    }

    async fn write_uses(&self) {
        let uses: Vec<_> = locked(&self.uses).drain().collect();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.touch(&uses).await {
            tracing::debug!(%error, "the last use of API keys was not recorded");
            let mut kept = locked(&self.uses);
            for (id, at) in uses {
                // A key that was used meanwhile has a later time.
                kept.entry(id).or_insert(at);
            }
        }
    }
}

/// Checks the parts of a key to create.
fn check_new(new: &NewApiKey) -> Result<(), RequestRefusal> {
    if new.name.trim().is_empty() || new.name.chars().any(char::is_control) {
        return Err(RequestRefusal::bad(
            "name must have at least one letter and no control characters",
        ));
    }
    text("name", &new.name, NAME_MAX_BYTES)?;
    if new.scopes.is_empty() {
        let names = ApiScope::names();
        let detail = format!("scopes is empty; name at least one of {names}");
        return Err(RequestRefusal::bad(detail));
    }
    match new.lifetime {
        Some(lifetime) if lifetime.is_zero() || lifetime > MAX_KEY_LIFETIME => {
            let detail = format!(
                "the lifetime is {} s; it must be from 1 s to {} s, or left out for a key that does \
                 not expire",
                lifetime.as_secs(),
                MAX_KEY_LIFETIME.as_secs()
            );
            Err(RequestRefusal::bad(detail))
        }
        _ => Ok(()),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
