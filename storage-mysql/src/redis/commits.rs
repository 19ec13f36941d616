//! Publishes the latest commits of all nodes in Redis, so that a node that meets another MySQL
//! server can tell whether the server has them (law 10). Best effort: without Redis, a node
//! compares only its own commits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::id::{Epoch, UserId};
use gimlet_core::seq::Seq;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connection::RedisConnection;
use super::keys::RedisKeys;
use crate::mysql::{CommitLog, CommitMark};

/// Interval at which a node publishes at most one commit, its latest.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);
/// Number of kept commits. The newest commits of the cluster are among them, whichever node made
/// them.
const KEPT_COMMITS: isize = 64;
/// Expiry of the list, in seconds, after its newest commit: longer than any failover takes.
const COMMITS_EXPIRY_SECONDS: i64 = 7 * 24 * 3_600;

/// The list of commits in Redis, and the commit that waits to be published.
#[derive(Debug)]
pub(crate) struct RedisCommitLog {
    wire: RedisConnection,
    key: String,
    waiting: Mutex<Option<CommitMark>>,
    some: Notify,
}

impl RedisCommitLog {
    pub(super) fn new(wire: RedisConnection, keys: &RedisKeys) -> Self {
        Self {
            wire,
            key: keys.commits(),
            waiting: Mutex::default(),
            some: Notify::new(),
        }
    }

    /// Publishes the waiting commit, at most one per interval, until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            // Woken by `publish`. A commit that arrives during the sleep below stays in `waiting`,
            // where a later one replaces it, and `Notify` keeps its notification.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.some.notified() => {}
            }
            let mark = self
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(mark) = mark
                && let Err(error) = self.leave(mark).await
            {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "commit not shared"
                );
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PUBLISH_INTERVAL) => {}
            }
        }
    }

    async fn leave(&self, mark: CommitMark) -> Result<(), crate::error::EngineError> {
        let mut push = redis::cmd("LPUSH");
        push.arg(&self.key).arg(spell(mark));
        let mut trim = redis::cmd("LTRIM");
        trim.arg(&self.key).arg(0).arg(KEPT_COMMITS - 1);
        let mut expire = redis::cmd("EXPIRE");
        expire.arg(&self.key).arg(COMMITS_EXPIRY_SECONDS);
        let done = self.wire.commands::<redis::Value>(vec![push, trim, expire]);
        done.await.map(drop)
    }
}

#[async_trait]
impl CommitLog for RedisCommitLog {
    fn publish(&self, mark: CommitMark) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(mark);
        drop(waiting);
        self.some.notify_one();
    }

    async fn recent(&self) -> Vec<CommitMark> {
        let mut range = redis::cmd("LRANGE");
        range.arg(&self.key).arg(0).arg(-1);
        match self.wire.command::<Vec<String>>(&range).await {
            Ok(spelt) => spelt.iter().filter_map(|it| read(it)).collect(),
            Err(error) => {
                gimlet_core::warn_rated!(
                    error = &error as &dyn std::error::Error,
                    "a new MySQL connection is checked without the other nodes' commits: Redis does \
                     not answer"
                );
                Vec::new()
            }
        }
    }
}

fn spell(mark: CommitMark) -> String {
    format!("{}:{}:{}", mark.epoch.0, mark.user.get(), mark.seq.get())
}

fn read(spelt: &str) -> Option<CommitMark> {
    let mut parts = spelt.split(':').map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    Some(CommitMark {
        epoch: Epoch(next()?),
        user: UserId::new(next()?)?,
        seq: Seq::new(next()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_round_trips_and_malformed_texts_are_rejected() {
        let mark = CommitMark {
            epoch: Epoch(7),
            user: UserId::new(3).unwrap(),
            seq: Seq::new(9),
        };
        assert_eq!(read(&spell(mark)), Some(mark));
        for nonsense in ["", "1:2", "a:b:c", "1:0:3"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
