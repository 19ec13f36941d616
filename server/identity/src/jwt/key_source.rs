//! Keys from the address of a key set. They are loaded when a token needs them.
//!
//! A token whose key is not known may come from a new key, so it causes a load, but never more than
//! one in [`LOAD_INTERVAL`]: strangers can name any key. When the address does not answer, the keys
//! of the last answer count for [`KEPT_FOR`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gimlet_core::error::RequestRefusal;
use gimlet_outbound::{OutboundClient, OutboundUrl};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::key::{JwtAlgorithm, VerificationKey};
use super::key_set::read_key_set;

/// Time of a load. A sign-in waits for it.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two loads.
const LOAD_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two loads while no keys are known.
const FIRST_LOAD_INTERVAL: Duration = Duration::from_secs(3);
/// Age of keys at which they are loaded again.
const FRESH_FOR: Duration = Duration::from_mins(10);
/// Age of keys at which they no longer count: a key that was withdrawn ends then at the latest.
const KEPT_FOR: Duration = Duration::from_hours(24);

type KeyList = Arc<[VerificationKey]>;

/// Keys from the address of a key set.
#[derive(Debug)]
pub struct JwksSource {
    client: OutboundClient,
    url: OutboundUrl,
    /// A plain mutex: it is held for a few assignments and never over an await.
    state: Mutex<SourceState>,
    /// Held during a load. Callers that need its result wait for it.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct SourceState {
    keys: Option<(KeyList, Instant)>,
    last_load: Option<Instant>,
}

impl JwksSource {
    /// Creates a source that has loaded nothing yet.
    #[must_use]
    pub fn new(client: &OutboundClient, url: OutboundUrl) -> Self {
        Self {
            client: client.with_timeout(LOAD_TIMEOUT),
            url,
            state: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the keys, which include those for a token with this algorithm and key id if the
    /// address has them.
    ///
    /// # Errors
    /// [`RequestRefusal::Unavailable`] if no keys are known.
    pub(crate) async fn keys(
        &self,
        algorithm: JwtAlgorithm,
        id: Option<&str>,
    ) -> Result<KeyList, RequestRefusal> {
        let known = self.known();
        let fits = |keys: &KeyList| keys.iter().any(|key| key.fits(algorithm, id));
        match known {
            Some((keys, age)) if fits(&keys) => {
                // Only one caller waits for the keys to become fresh: the others have good ones.
                if age >= FRESH_FOR
                    && let Ok(turn) = self.loading.try_lock()
                {
                    self.load().await;
                    drop(turn);
                }
            }
            _ => {
                let turn = self.loading.lock().await;
                self.load().await;
                drop(turn);
            }
        }
        let known = self.known();
        known
            .map(|(keys, _)| keys)
            .ok_or(RequestRefusal::Unavailable)
    }

    /// Returns the keys that count now, and their age.
    fn known(&self) -> Option<(KeyList, Duration)> {
        let state = self.state();
        let (keys, at) = state.keys.as_ref()?;
        let age = at.elapsed();
        (age < KEPT_FOR).then(|| (Arc::clone(keys), age))
    }

    /// Loads the keys, unless that was tried a moment ago. The caller holds `loading`.
    async fn load(&self) {
        {
            let mut state = self.state();
            let interval = match state.keys {
                Some(_) => LOAD_INTERVAL,
                None => FIRST_LOAD_INTERVAL,
            };
            if state.last_load.is_some_and(|at| at.elapsed() < interval) {
                return;
            }
            // Before the load: a caller that gives up and drops it must not let the next one
            // through at once.
            state.last_load = Some(Instant::now());
        }
        let fetched = self.fetch().await;
        self.state().last_load = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                let count = keys.len();
                tracing::debug!(url = %self.url, keys = count, "keys of JWTs loaded");
                self.state().keys = Some((keys.into(), Instant::now()));
            }
            Err(error) => {
                gimlet_core::warn_rated!(url = %self.url, error, "the keys of JWTs could not be loaded");
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<VerificationKey>, String> {
        let answer = self.client.get(&self.url, HeaderMap::new()).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status.is_redirection() {
            return Err(format!(
                "it answered {}, and redirects are not followed; set auth.jwt_keys_url to the \
                 address behind it",
                answer.status.as_u16()
            ));
        }
        if answer.status != StatusCode::OK {
            return Err(format!("it answered {}", answer.status.as_u16()));
        }
        read_key_set(&answer.body, false)
    }

    fn state(&self) -> MutexGuard<'_, SourceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
