//! The directory: who users are, asked of the business backend and remembered briefly.
//!
//! Serves everything that shows a sender or needs to know whether a user exists. It knows profiles,
//! and neither tokens nor messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use moka::Expiry;
use moka::future::Cache;
use tokio::time::timeout;

use crate::business::{Business, UserInfo};
use crate::error::Refusal;
use crate::id::UserId;
use crate::limits::Limits;
use crate::map::Seeded;
use crate::message::{Profile, Sender};

/// How long the backend may take.
const WAIT: Duration = Duration::from_secs(1);
/// How long pages do without new profiles after it did not answer.
const AWAY: Duration = Duration::from_secs(1);
/// How long it is remembered that a user does not exist: a new one is reachable soon.
const ABSENT_TTL: Duration = Duration::from_secs(2);
/// Bytes of a profile that surely fit a frame beside the largest content and the most mentions.
pub const PROFILE_BYTES: usize = 1_900;
/// Users asked for in one call.
const ASK: usize = 500;

/// What is remembered of a user; `None`: there is none.
pub type Known = Option<Arc<Person>>;

/// A user, with the profile ready to be shared by envelopes.
#[derive(Debug)]
pub struct Person {
    /// What the backend said.
    pub info: UserInfo,
    /// Its profile, cut to [`PROFILE_BYTES`].
    pub profile: Arc<Profile>,
}

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    business: Arc<dyn Business>,
    known: Cache<UserId, Known, Seeded>,
    nobody: Arc<Profile>,
    /// Until when pages do not wait for a backend that did not answer.
    away: Arc<Mutex<Option<tokio::time::Instant>>>,
}

#[derive(Debug)]
struct Ttl(Duration);

impl Expiry<UserId, Known> for Ttl {
    fn expire_after_create(&self, _: &UserId, known: &Known, _: Instant) -> Option<Duration> {
        Some(if known.is_some() {
            self.0
        } else {
            self.0.min(ABSENT_TTL)
        })
    }

    fn expire_after_update(
        &self,
        user: &UserId,
        known: &Known,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(user, known, at)
    }
}

impl Directory {
    /// An empty directory over this backend.
    #[must_use]
    pub fn new(business: Arc<dyn Business>, limits: &Limits) -> Self {
        let known = Cache::builder()
            .max_capacity(limits.profiles)
            .expire_after(Ttl(limits.profile_ttl))
            .build_with_hasher(Seeded::default());
        Self {
            business,
            known,
            nobody: Arc::default(),
            away: Arc::default(),
        }
    }

    /// The profile of a message's sender; empty if it is no user, or nobody can say now.
    pub async fn sender(&self, sender: Sender) -> Arc<Profile> {
        match sender.user() {
            Some(user) => match self.person(user).await {
                Ok(Some(person)) => Arc::clone(&person.profile),
                Ok(None) | Err(_) => Arc::clone(&self.nobody),
            },
            None => Arc::clone(&self.nobody),
        }
    }

    /// What is remembered of a user, without asking anybody: `Some(None)` is that there is none.
    #[must_use]
    pub fn remembered(&self, user: UserId) -> Option<Known> {
        self.known.get(&user).now_or_never().flatten()
    }

    /// Whether there is such a user; a backend that cannot say is [`Refusal::Unavailable`].
    pub async fn exists(&self, user: UserId) -> Result<bool, Refusal> {
        Ok(self.person(user).await?.is_some())
    }

    /// The user; concurrent askers share one call.
    pub async fn person(&self, user: UserId) -> Result<Option<Arc<Person>>, Refusal> {
        let load = async {
            let mut found = self.ask(&[user]).await?;
            Ok::<_, Refusal>(found.remove(&user))
        };
        match self.known.try_get_with(user, load).await {
            Ok(known) => Ok(known),
            Err(refusal) => Err(Refusal::clone(&refusal)),
        }
    }

    /// These users; unknown ones are left out. Those not remembered are asked for in one call.
    pub async fn people(&self, users: &[UserId]) -> Result<HashMap<UserId, Arc<Person>>, Refusal> {
        let mut found = HashMap::with_capacity(users.len());
        self.find(users, &mut found, true).await?;
        Ok(found)
    }

    /// Adds these users to what is found, up to the first call that fails; without `ask` those that
    /// are remembered.
    async fn find(
        &self,
        users: &[UserId],
        found: &mut HashMap<UserId, Arc<Person>>,
        ask: bool,
    ) -> Result<(), Refusal> {
        let mut missing = Vec::new();
        for user in users {
            match self.known.get(user).await {
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
        for part in missing.chunks(ASK) {
            let mut answer = self.ask(part).await?;
            for user in part {
                let known = answer.remove(user);
                self.known.insert(*user, known.clone()).await;
                if let Some(person) = known {
                    found.insert(*user, person);
                }
            }
        }
        Ok(())
    }

    /// The profiles of these users; who is unknown, or cannot be asked for now, is left out.
    pub async fn profiles(&self, users: &[UserId]) -> HashMap<UserId, Arc<Profile>> {
        let mut people = HashMap::with_capacity(users.len());
        // A fault leaves what was found so far.
        let _ = self.find(users, &mut people, !self.is_away()).await;
        people
            .into_iter()
            .map(|(user, person)| (user, Arc::clone(&person.profile)))
            .collect()
    }

    /// The empty profile, shared.
    #[must_use]
    pub fn nobody(&self) -> Arc<Profile> {
        Arc::clone(&self.nobody)
    }

    /// Forgets a user: its profile has changed.
    pub async fn forget(&self, user: UserId) {
        self.known.invalidate(&user).await;
    }

    fn is_away(&self) -> bool {
        self.away()
            .is_some_and(|until| tokio::time::Instant::now() < until)
    }

    // A time is whole whatever panicked.
    fn away(&self) -> MutexGuard<'_, Option<tokio::time::Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, users: &[UserId]) -> Result<HashMap<UserId, Arc<Person>>, Refusal> {
        let answer = timeout(WAIT, self.business.users(users)).await;
        let Ok(Ok(infos)) = answer else {
            *self.away() = Some(tokio::time::Instant::now() + AWAY);
            crate::warn_rated!(
                users = users.len(),
                "the business backend did not say who they are"
            );
            return Err(Refusal::Unavailable);
        };
        *self.away() = None;
        let people = infos.into_iter().map(|info| {
            let profile = Arc::new(fit(info.profile.clone()));
            (info.user, Arc::new(Person { info, profile }))
        });
        Ok(people.collect())
    }
}

/// Cuts a profile to [`PROFILE_BYTES`]: a backend's long data must not push a message over a frame.
fn fit(mut profile: Profile) -> Profile {
    let size = |p: &Profile| p.nickname.len() + p.avatar_url.len() + p.extra.len();
    if size(&profile) > PROFILE_BYTES {
        profile.extra.clear();
    }
    if size(&profile) > PROFILE_BYTES {
        profile.avatar_url.clear();
    }
    if size(&profile) > PROFILE_BYTES {
        let end = profile.nickname.floor_char_boundary(PROFILE_BYTES);
        profile.nickname.truncate(end);
    }
    profile
}
