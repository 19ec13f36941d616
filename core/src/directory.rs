//! The directory: a short-lived cache of user profiles from the business backend.
//!
//! Serves all code that shows a sender or checks that a user exists. It holds profiles only, no
//! tokens and no messages.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use moka::Expiry;
use moka::future::Cache;
use tokio::time::timeout;

use crate::business::{BusinessBackend, ProfileObserver, UserInfo};
use crate::error::RequestRefusal;
use crate::id::UserId;
use crate::limits::Limits;
use crate::map::FastHashState;
use crate::message::{MessageSender, UserProfile};

/// Timeout of one call to the backend.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after a failed call in which inbox pages use only cached profiles.
const BACKEND_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Lifetime of the cached fact that a user does not exist. It is short, so that a new user becomes
/// reachable soon.
const ABSENT_USER_TTL: Duration = Duration::from_secs(2);
/// Largest profile in bytes. Such a profile fits into a frame together with the largest content and
/// the maximum number of mentions.
pub const MAX_PROFILE_BYTES: usize = 1_900;
/// Users requested in one call to the backend.
const USERS_PER_CALL: usize = 500;

/// Cached state of a user; `None` means that the user does not exist.
pub type CachedUser = Option<Arc<DirectoryEntry>>;

/// A user, with the profile ready to be shared by envelopes.
#[derive(Debug)]
pub struct DirectoryEntry {
    /// The user as the backend returned it.
    pub info: UserInfo,
    /// The profile, truncated to [`MAX_PROFILE_BYTES`].
    pub profile: Arc<UserProfile>,
}

/// The profile cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProfileDirectory {
    business: Arc<dyn BusinessBackend>,
    cache: Arc<ProfileCache>,
    /// The empty profile, shared by all senders without a profile.
    nobody: Arc<UserProfile>,
    /// End of the pause after a failed call, in which pages do not call the backend.
    away: Arc<Mutex<Option<tokio::time::Instant>>>,
}

/// The cached profiles. The backend holds them, to drop those that change, and they do not hold the
/// backend.
#[derive(Debug)]
struct ProfileCache {
    /// Cached users, including those that are known not to exist.
    known: Cache<UserId, CachedUser, FastHashState>,
    /// Users whose profiles are being loaded.
    loading: Mutex<HashMap<UserId, UserLoads>>,
}

impl ProfileCache {
    // Counts stay consistent after a panic, so poisoning is ignored.
    fn loading(&self) -> MutexGuard<'_, HashMap<UserId, UserLoads>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ProfileObserver for ProfileCache {
    async fn profile_changed(&self, user: UserId) {
        // The loads come first: a load that ends between the two steps then removes the profile
        // itself.
        if let Some(loading) = self.loading().get_mut(&user) {
            loading.forgotten += 1;
        }
        self.known.invalidate(&user).await;
    }
}

/// The loads in progress of one user's profile.
#[derive(Debug, Default)]
struct UserLoads {
    loads: usize,
    /// Number of times that the user was forgotten during these loads.
    forgotten: u64,
}

/// A load of profiles. It must live until the profiles are in the cache: dropping it removes those
/// of users that were forgotten meanwhile.
struct ProfileLoad<'a> {
    cache: &'a ProfileCache,
    /// The users, each with its value of `forgotten` when this load began.
    users: Vec<(UserId, u64)>,
}

impl ProfileLoad<'_> {
    /// Returns whether one of the users was forgotten since the load began.
    fn is_outdated(&self) -> bool {
        let loading = self.cache.loading();
        let mut users = self.users.iter();
        users.any(|(user, before)| {
            let it = loading.get(user);
            it.is_some_and(|it| it.forgotten != *before)
        })
    }
}

impl Drop for ProfileLoad<'_> {
    fn drop(&mut self) {
        let mut forgotten = Vec::new();
        {
            let mut loading = self.cache.loading();
            for (user, before) in &self.users {
                if let Entry::Occupied(mut it) = loading.entry(*user) {
                    if it.get().forgotten != *before {
                        forgotten.push(*user);
                    }
                    it.get_mut().loads -= 1;
                    if it.get().loads == 0 {
                        it.remove();
                    }
                }
            }
        }
        for user in forgotten {
            // The first poll removes the entry, and `now_or_never` polls once.
            let _ = self.cache.known.invalidate(&user).now_or_never();
        }
    }
}

#[derive(Debug)]
struct ProfileExpiry(Duration);

impl Expiry<UserId, CachedUser> for ProfileExpiry {
    fn expire_after_create(&self, _: &UserId, known: &CachedUser, _: Instant) -> Option<Duration> {
        Some(if known.is_some() {
            self.0
        } else {
            self.0.min(ABSENT_USER_TTL)
        })
    }

    fn expire_after_update(
        &self,
        user: &UserId,
        known: &CachedUser,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(user, known, at)
    }
}

impl ProfileDirectory {
    /// Creates an empty directory over this backend.
    #[must_use]
    pub fn new(business: Arc<dyn BusinessBackend>, limits: &Limits) -> Self {
        let known = Cache::builder()
            .max_capacity(limits.profiles)
            .expire_after(ProfileExpiry(limits.profile_ttl))
            .build_with_hasher(FastHashState::default());
        let cache = Arc::new(ProfileCache {
            known,
            loading: Mutex::default(),
        });
        business.observe(&(Arc::clone(&cache) as Arc<dyn ProfileObserver>));
        Self {
            business,
            cache,
            nobody: Arc::default(),
            away: Arc::default(),
        }
    }

    /// Returns the profile of a message's sender. It is empty if the sender is not a user, does not
    /// exist, or cannot be loaded now.
    pub async fn sender(&self, sender: MessageSender) -> Arc<UserProfile> {
        match sender.user() {
            Some(user) => match self.person(user).await {
                Ok(Some(person)) => Arc::clone(&person.profile),
                Ok(None) | Err(_) => Arc::clone(&self.nobody),
            },
            None => Arc::clone(&self.nobody),
        }
    }

    /// Returns the cached state of a user without a call to the backend: `Some(None)` means that
    /// the user does not exist, `None` that nothing is cached.
    #[must_use]
    pub fn remembered(&self, user: UserId) -> Option<CachedUser> {
        self.cache.known.get(&user).now_or_never().flatten()
    }

    /// Returns `true` if the user exists; a backend that does not answer is
    /// [`RequestRefusal::Unavailable`].
    pub async fn exists(&self, user: UserId) -> Result<bool, RequestRefusal> {
        Ok(self.person(user).await?.is_some())
    }

    /// Returns the user; concurrent lookups of one user share one call.
    pub async fn person(
        &self,
        user: UserId,
    ) -> Result<Option<Arc<DirectoryEntry>>, RequestRefusal> {
        // Set if this call loads the profile. It is dropped when this method returns, after the
        // profile has entered the cache.
        let mut load = None;
        let ask = async {
            let first = load.insert(self.begin_load(&[user]));
            let mut found = self.ask(&[user]).await?;
            if first.is_outdated() {
                // Callers that came after the profile had changed share this load, so it is read
                // again.
                load = Some(self.begin_load(&[user]));
                found = self.ask(&[user]).await?;
            }
            Ok::<_, RequestRefusal>(found.remove(&user))
        };
        match self.cache.known.try_get_with(user, ask).await {
            Ok(known) => Ok(known),
            Err(refusal) => Err(RequestRefusal::clone(&refusal)),
        }
    }

    /// Returns those of these users that exist. Users that are not cached are loaded in one call
    /// for every 500 of them.
    pub async fn people(
        &self,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Arc<DirectoryEntry>>, RequestRefusal> {
        let mut found = HashMap::with_capacity(users.len());
        self.find(users, &mut found, true).await?;
        Ok(found)
    }

    /// Adds these users to `found`, up to the first call that fails. Without `ask`, adds only those
    /// that are cached.
    async fn find(
        &self,
        users: &[UserId],
        found: &mut HashMap<UserId, Arc<DirectoryEntry>>,
        ask: bool,
    ) -> Result<(), RequestRefusal> {
        let mut missing = Vec::new();
        for user in users {
            match self.cache.known.get(user).await {
                Some(Some(person)) => _ = found.insert(*user, person),
                Some(None) => {}
                None => missing.push(*user),
            }
        }
        if !ask {
            return Ok(());
        }
        missing.sort_unstable();
        missing.dedup();
        for part in missing.chunks(USERS_PER_CALL) {
            // Dropped at the end of this iteration, when the profiles are in the cache.
            let _load = self.begin_load(part);
            let mut answer = self.ask(part).await?;
            for user in part {
                let known = answer.remove(user);
                self.cache.known.insert(*user, known.clone()).await;
                if let Some(person) = known {
                    found.insert(*user, person);
                }
            }
        }
        Ok(())
    }

    /// Returns the profiles of these users. Users that are unknown or cannot be loaded now are left
    /// out.
    pub async fn profiles(&self, users: &[UserId]) -> HashMap<UserId, Arc<UserProfile>> {
        let mut people = HashMap::with_capacity(users.len());
        // A failed call keeps the profiles found so far.
        let _ = self.find(users, &mut people, !self.is_away()).await;
        people
            .into_iter()
            .map(|(user, person)| (user, Arc::clone(&person.profile)))
            .collect()
    }

    /// Returns the shared empty profile.
    #[must_use]
    pub fn nobody(&self) -> Arc<UserProfile> {
        Arc::clone(&self.nobody)
    }

    /// Removes a user from the cache after its profile has changed. A load in progress does not
    /// leave the old profile in the cache.
    pub async fn forget(&self, user: UserId) {
        self.cache.profile_changed(user).await;
    }

    /// Notes that these users' profiles are being loaded.
    fn begin_load(&self, users: &[UserId]) -> ProfileLoad<'_> {
        let mut loading = self.cache.loading();
        let noted = users.iter().map(|user| {
            let it = loading.entry(*user).or_default();
            it.loads += 1;
            (*user, it.forgotten)
        });
        ProfileLoad {
            users: noted.collect(),
            cache: &self.cache,
        }
    }

    fn is_away(&self) -> bool {
        self.away()
            .is_some_and(|until| tokio::time::Instant::now() < until)
    }

    // A panic elsewhere cannot leave this time half-written, so poisoning is ignored.
    fn away(&self) -> MutexGuard<'_, Option<tokio::time::Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(
        &self,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Arc<DirectoryEntry>>, RequestRefusal> {
        let answer = timeout(BACKEND_TIMEOUT, self.business.users(users)).await;
        let Ok(Ok(infos)) = answer else {
            *self.away() = Some(tokio::time::Instant::now() + BACKEND_RETRY_PAUSE);
            crate::warn_rated!(
                users = users.len(),
                "the business server returned no profiles"
            );
            return Err(RequestRefusal::Unavailable);
        };
        *self.away() = None;
        let people = infos.into_iter().map(|info| {
            let profile = Arc::new(fit(info.profile.clone()));
            (info.user, Arc::new(DirectoryEntry { info, profile }))
        });
        Ok(people.collect())
    }
}

/// Truncates a profile to [`MAX_PROFILE_BYTES`], so that long data of a backend cannot push a
/// message over the frame limit. Drops the extra data first, then the picture, and then shortens
/// the name.
fn fit(mut profile: UserProfile) -> UserProfile {
    let size = |p: &UserProfile| p.nickname.len() + p.avatar_url.len() + p.extra.len();
    if size(&profile) > MAX_PROFILE_BYTES {
        profile.extra.clear();
    }
    if size(&profile) > MAX_PROFILE_BYTES {
        profile.avatar_url.clear();
    }
    if size(&profile) > MAX_PROFILE_BYTES {
        let end = profile.nickname.floor_char_boundary(MAX_PROFILE_BYTES);
        profile.nickname.truncate(end);
    }
    profile
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::id::DeviceId;
    use crate::time::UnixTimestamp;

    /// A backend that reads a profile at once and answers after it gets a permit.
    #[derive(Debug)]
    struct SlowProfileSource {
        name: Mutex<String>,
        read: Semaphore,
        answer: Semaphore,
    }

    #[async_trait]
    impl BusinessBackend for SlowProfileSource {
        async fn auth(&self, _: UserId, _: DeviceId, _: &str) -> Result<(), RequestRefusal> {
            Ok(())
        }

        async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
            let nickname = self.name.lock().unwrap().clone();
            self.read.add_permits(1);
            self.answer.acquire().await.unwrap().forget();
            let infos = users.iter().map(|user| UserInfo {
                user: *user,
                profile: UserProfile {
                    nickname: nickname.clone(),
                    ..UserProfile::default()
                },
                sex: 0,
                created_at: UnixTimestamp(0),
                updated_at: UnixTimestamp(0),
            });
            Ok(infos.collect())
        }
    }

    /// Regression: the old profile stayed in the cache for `profile_ttl`.
    #[tokio::test(start_paused = true)]
    async fn a_profile_that_changes_while_it_is_loaded_is_not_cached() {
        for alone in [true, false] {
            let backend = Arc::new(SlowProfileSource {
                name: Mutex::new("old".to_owned()),
                read: Semaphore::new(0),
                answer: Semaphore::new(0),
            });
            let directory = ProfileDirectory::new(Arc::clone(&backend) as _, &Limits::default());
            let user = UserId::new(1).unwrap();
            let load = async {
                if alone {
                    directory.person(user).await.map(drop)
                } else {
                    directory.people(&[user]).await.map(drop)
                }
            };
            let change = async {
                backend.read.acquire().await.unwrap().forget();
                "new".clone_into(&mut backend.name.lock().unwrap());
                directory.forget(user).await;
                backend.answer.add_permits(10);
            };
            let (loaded, ()) = tokio::join!(load, change);
            loaded.unwrap();
            let person = directory.person(user).await.unwrap().unwrap();
            assert_eq!(person.info.profile.nickname, "new");
            assert!(directory.cache.loading().is_empty());
        }
    }
}
