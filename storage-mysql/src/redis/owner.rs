//! Binds the keys under a prefix to one cluster.
//!
//! Two clusters on one Redis with the same prefix would take each other's nodes and routes for
//! their own, and deliver messages to each other's users. Therefore the identity of the database is
//! stored under the prefix, and compared before keys are used and periodically after that. If Redis
//! was emptied, the first node of the running cluster writes the identity again. That moment also
//! tells every node that routes may be missing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Script, ScriptInvocation};
use tokio::time::Instant;

use super::keys::RedisKeys;
use crate::config::RedisConfig;
use crate::error::EngineError;

static OWNER_SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/stamp.lua")));

/// Interval at which another cluster's keys are checked again: an operator may have resolved it.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Knowledge about the owner of the keys.
#[derive(Debug)]
pub(super) struct PrefixOwner {
    prefix: String,
    keys: [String; 2],
    /// Identity of this cluster's database; `None` in a node without a database, which accepts the
    /// first identity that it finds.
    own: Option<u64>,
    /// Cluster to which this node belongs, for its callers; 0 while it is unknown.
    cluster: Arc<AtomicU64>,
    lease: Duration,
    state: Mutex<OwnerState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OwnerState {
    owner: Option<u64>,
    look_at: Option<Instant>,
}

impl PrefixOwner {
    pub(super) fn new(config: &RedisConfig, keys: &RedisKeys, own: Option<u64>) -> Self {
        Self {
            prefix: config.prefix.clone(),
            keys: [keys.stamp(), keys.young()],
            own,
            cluster: Arc::new(AtomicU64::new(own.unwrap_or(0))),
            lease: config.lease,
            state: Mutex::default(),
        }
    }

    /// Returns the cluster to which this node belongs; 0 while it is unknown.
    pub(super) const fn cluster(&self) -> &Arc<AtomicU64> {
        &self.cluster
    }

    /// Returns the script that asks Redis; its answer goes to [`note`](Self::note).
    pub(super) fn question(&self) -> ScriptInvocation<'static> {
        let mut call = OWNER_SCRIPT.prepare_invoke();
        call.key(&self.keys[0])
            .key(&self.keys[1])
            .arg(self.own.unwrap_or(0))
            .arg(u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX));
        call
    }

    /// Notes an answer; fails if the keys belong to another cluster.
    pub(super) fn note(&self, owner: &str) -> Result<(), EngineError> {
        let owner = owner
            .parse()
            .map_err(|_| EngineError::Corrupt("redis returned a malformed cluster identity"))?;
        if self.own.is_none() && owner != 0 {
            let known = self.cluster.load(Ordering::Relaxed);
            if known == 0 {
                self.cluster.store(owner, Ordering::Relaxed);
            }
        }
        let other = self.is_other(owner);
        let wait = if other {
            RECHECK_INTERVAL
        } else {
            self.lease / 3
        };
        *self.lock() = OwnerState {
            owner: Some(owner),
            look_at: Some(Instant::now() + wait),
        };
        self.verdict()
    }

    /// Makes the next call ask Redis: it did not answer, and may have come back empty.
    pub(super) fn doubt(&self) {
        self.lock().look_at = None;
    }

    /// Returns whether Redis must be asked now. Returns true to one caller; the others continue
    /// with the last answer.
    pub(super) fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let due = state.look_at.is_none_or(|at| at <= now);
        // Without any answer yet, every caller asks, because `verdict` would refuse it otherwise.
        if due && state.owner.is_some() {
            state.look_at = Some(now + RECHECK_INTERVAL);
        }
        due
    }

    /// Fails if the keys belong to another cluster, or if their owner is unknown.
    pub(super) fn verdict(&self) -> Result<(), EngineError> {
        let state = *self.lock();
        match state.owner {
            None => Err(EngineError::Down),
            Some(owner) if self.is_other(owner) => Err(EngineError::OtherCluster(format!(
                "the keys under storage.redis_prefix = {} belong to the cluster {owner:016x}, and \
                 this is {:016x}: set storage.redis_prefix to a value of this cluster's own, or \
                 delete the key {} if the other cluster is gone",
                self.prefix,
                self.cluster.load(Ordering::Relaxed),
                self.keys[0],
            ))),
            Some(_) => Ok(()),
        }
    }

    fn is_other(&self, owner: u64) -> bool {
        let cluster = self.cluster.load(Ordering::Relaxed);
        owner != 0 && cluster != 0 && owner != cluster
    }

    fn lock(&self) -> MutexGuard<'_, OwnerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
